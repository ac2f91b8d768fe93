"""How far predictions are from labels, defined as scikit-learn and scipy do; means over dimensions are unweighted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from filterkit.errors import InputError
from filterkit.records import Record

F64 = NDArray[np.float64]


class DimensionMetrics(Record):
    """Errors of one dimension, in scale units. None where undefined: no pair, or (Spearman) a constant column.

    `n` pairs of a finite prediction and a known label; `bias` is the mean of prediction - label;
    `median` is the best constant, `median_mae` its error.
    """

    n: int
    mae: float | None
    rmse: float | None
    bias: float | None
    spearman: float | None
    median: float | None
    median_mae: float | None


class Metrics(Record):
    """Errors over all dimensions: the mean of the per-dimension values that are defined.

    `n` rows given, `failed` rows without a prediction; `median_mae` is the constant-median baseline.
    """

    n: int
    failed: int
    mae: float | None
    rmse: float | None
    spearman: float | None
    median_mae: float | None
    per_dimension: Mapping[str, DimensionMetrics]


def measure(predictions: ArrayLike, labels: ArrayLike, names: Sequence[str], counted: Sequence[int]) -> Metrics:
    """Metrics of predictions [n, d] against labels [n, d] (NaN = unknown, left out).

    `counted` are the columns that the means are over (scores, not flags). InputError on shapes that do not fit.
    """
    p, t = _matrix(predictions, names, "predictions"), _matrix(labels, names, "labels")
    if p.shape != t.shape:
        raise InputError(f"predictions have shape {p.shape}, labels {t.shape}")
    if np.isinf(p).any() or np.isinf(t).any():
        raise InputError("predictions and labels must be finite (NaN marks what is missing)")
    each = {name: _one(p[:, i], t[:, i]) for i, name in enumerate(names)}
    rows = [each[names[i]] for i in counted]
    return Metrics(
        n=len(p),
        failed=int(np.isnan(p).any(axis=1).sum()),
        mae=_mean([r.mae for r in rows]),
        rmse=_mean([r.rmse for r in rows]),
        spearman=_mean([r.spearman for r in rows]),
        median_mae=_mean([r.median_mae for r in rows]),
        per_dimension=each,
    )


def _matrix(values: ArrayLike, names: Sequence[str], what: str) -> F64:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be numbers in an array [n, {len(names)}] ({error})") from error
    if array.ndim != 2 or array.shape[1] != len(names):
        raise InputError(f"{what} must have shape [n, {len(names)}], not {list(array.shape)}")
    return array


def _one(prediction: F64, label: F64) -> DimensionMetrics:
    known = ~(np.isnan(prediction) | np.isnan(label))
    p, t = prediction[known], label[known]
    if not len(p):
        return DimensionMetrics(n=0, mae=None, rmse=None, bias=None, spearman=None, median=None, median_mae=None)
    error = p - t
    median = float(np.median(t))
    return DimensionMetrics(
        n=len(p),
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt((error**2).mean())),
        bias=float(error.mean()),
        spearman=spearman(p, t),
        median=median,
        median_mae=float(np.abs(t - median).mean()),
    )


def spearman(a: F64, b: F64) -> float | None:
    """Rank correlation of two columns, ties at their mean rank; None when one of them is constant."""
    if len(a) < 2 or (a == a[0]).all() or (b == b[0]).all():
        return None
    return float(np.clip(np.corrcoef(ranks(a), ranks(b))[0, 1], -1, 1))


def ranks(values: F64) -> F64:
    """Ranks from 1; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: F64 = (last - (counts - 1) / 2).astype(np.float64)
    return mean[inverse]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None
