"""Calibration: whether a monotone map per dimension makes the student's scores better, decided by cross-validation.

"none" is always among the choices and wins ties: calibration is not always a gain. A method must beat it by
more than one standard error of the paired difference (Hastie, Tibshirani, Friedman, The Elements of
Statistical Learning, 7.10: the one-standard-error rule).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from filterkit.calibrator import Calibrator, DimensionMap
from filterkit.errors import InputError

F64 = NDArray[np.float64]

FOLDS = 5
MIN_PAIRS = 20
MAX_KNOTS = 50


def fit_calibrator(predictions: ArrayLike, labels: ArrayLike, *, seed: int = 0) -> Calibrator:
    """The calibrator for predictions [n, d] of labels [n, d], chosen per dimension by cross-validated MAE.

    Rows where either is NaN are left out; a dimension with fewer than 20 pairs is not calibrated.
    InputError on shapes that do not fit.
    """
    try:
        p, t = np.asarray(predictions, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"predictions and labels must be numbers ({error})") from error
    if p.ndim != 2 or p.shape != t.shape:
        raise InputError(f"predictions {list(p.shape)} and labels {list(t.shape)} must have one shape [n, d]")
    chosen = [_fit_one(p[:, i], t[:, i], seed) for i in range(p.shape[1])]
    return Calibrator(maps=tuple(m for m, _ in chosen), gain=tuple(g for _, g in chosen))


def _fit_one(p: F64, t: F64, seed: int) -> tuple[DimensionMap, float]:
    known = np.isfinite(p) & np.isfinite(t)
    p, t = p[known], t[known]
    if len(p) < MIN_PAIRS or np.ptp(p) == 0:
        return DimensionMap(), 0.0
    plain = np.abs(p - t)
    best, best_gain = DimensionMap(), 0.0
    for fit in (_shift, _affine, _isotonic):
        saved = plain - np.abs(_out_of_fold(fit, p, t, seed) - t)
        gain = float(saved.mean())
        error = float(saved.std(ddof=1) / np.sqrt(len(saved)))
        if gain > error and gain > best_gain + 1e-9:
            best, best_gain = fit(p, t), gain
    return best, best_gain


def _out_of_fold(fit: Callable[[F64, F64], DimensionMap], p: F64, t: F64, seed: int) -> F64:
    """Calibrated value of every row by a map that did not see it."""
    fold = np.random.default_rng(seed).permutation(len(p)) % FOLDS
    out = np.empty_like(p)
    for k in range(FOLDS):
        one = fit(p[fold != k], t[fold != k])
        out[fold == k] = np.interp(p[fold == k], one.x, one.y)
    return out


def _shift(p: F64, t: F64) -> DimensionMap:
    """Add the median error: the constant that minimises the absolute error."""
    return _line("shift", p, 1.0, float(np.median(t - p)))


def _affine(p: F64, t: F64) -> DimensionMap:
    """Least absolute deviations line, by iteratively reweighted least squares (Schlossmacher 1973)."""
    weights = np.ones_like(p)
    slope, offset = 1.0, 0.0
    for _ in range(30):
        mean_p, mean_t = np.average(p, weights=weights), np.average(t, weights=weights)
        spread = np.average((p - mean_p) ** 2, weights=weights)
        if spread <= 0:
            break
        slope = max(0.0, float(np.average((p - mean_p) * (t - mean_t), weights=weights) / spread))
        offset = float(mean_t - slope * mean_p)
        weights = 1 / np.maximum(np.abs(t - slope * p - offset), 1e-3)
    return _line("affine", p, slope, offset)


def _line(method: str, p: F64, slope: float, offset: float) -> DimensionMap:
    """A line as two points, so far out that a score higher than any of these few still lies between them."""
    reach = 1000 * (float(np.abs(p).max()) + 1.0)
    x = (float(p.min()) - reach, float(p.max()) + reach)
    return DimensionMap.model_validate({"method": method, "x": x, "y": tuple(slope * v + offset for v in x)})


def _isotonic(p: F64, t: F64) -> DimensionMap:
    """Isotonic least squares by pooling adjacent violators, thinned to at most 50 points."""
    x, inverse = np.unique(p, return_inverse=True)
    count = np.bincount(inverse).astype(np.float64)
    y = _pool_adjacent_violators(np.bincount(inverse, weights=t) / count, count)
    if len(x) > MAX_KNOTS:
        keep = np.unique(np.linspace(0, len(x) - 1, MAX_KNOTS).round().astype(int))
        x, y = x[keep], y[keep]
    return DimensionMap(method="isotonic", x=tuple(x.tolist()), y=tuple(y.tolist()))


def _pool_adjacent_violators(values: F64, weights: F64) -> F64:
    blocks: list[tuple[float, float, int]] = []  # mean, weight, how many values
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, wa, na), (b, wb, nb) = blocks[-2], blocks[-1]
            blocks[-2:] = [((a * wa + b * wb) / (wa + wb), wa + wb, na + nb)]
    return np.repeat([b[0] for b in blocks], [b[2] for b in blocks])
