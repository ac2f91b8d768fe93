"""Prediction intervals: how far from the calibrated score a new label may lie.

Cross-conformal (Vovk 2015; CV+ of Barber, Candès, Ramdas, Tibshirani 2021, Predictive inference with the jackknife+):
every error is that of a map that did not see its row. Locally wide, as in conformalized quantile regression (Romano,
Patterson, Candès 2019): a coarse curve of the errors' quantile over the score, fitted without the row, plus one number
that makes the promise true. What holds is the share of all articles; of articles with high scores alone it may be less.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from filterkit.calibrator import Spread

F64 = NDArray[np.float64]
Folds = NDArray[np.intp]

ROWS_PER_KNOT = 40
MAX_KNOTS = 6
ATOM = 1e-6
"""An error below this share of the score (or this, below 1) is none: float32 tells no more."""


def too_few(n: int, coverage: float) -> str | None:
    """Why n errors give no interval of this coverage, or None: the finite-sample quantile must be one of them."""
    if rank(n, coverage) <= n:
        return None
    least = math.ceil(coverage / (1 - coverage) - 1e-9)
    return f"{n} {'pair' if n == 1 else 'pairs'} of score and label; an interval of {coverage:.0%} needs {least}"


def rank(n: int, coverage: float) -> int:
    """Which of n sorted errors is the bound: the smallest that a new one stays below with this probability."""
    return math.ceil((n + 1) * coverage - 1e-9)


def fit_spread(scores: F64, labels: F64, folds: Folds, coverage: float) -> Spread:
    """Half widths over calibrated scores, from scores [r, n] that no map made that saw their row, and labels [n].

    `folds` [r, n] are those of the maps; r repeats of cross-validation. n must not be `too_few`.
    """
    errors = np.abs(scores - labels)
    errors[errors <= ATOM * np.maximum(1.0, np.abs(labels))] = 0.0
    n = len(labels)
    local = np.stack([_held_out(s, e, f, coverage) for s, e, f in zip(scores, errors, folds, strict=True)])
    beyond = np.where(errors == 0, -np.inf, errors - local)  # what is exactly right lies inside without any width
    level = _quantile(beyond, coverage, len(scores))
    x, y = _local(scores.ravel(), errors.ravel(), coverage, n)
    exact = np.zeros(len(y), dtype=np.bool_)
    if np.isneginf(level):  # a floor that is exactly right keeps the promise alone: the others get one of their own
        level = max(0.0, _quantile(beyond[local > 0], coverage, len(scores)))
        exact = y == 0
    half = np.where(exact, 0.0, np.maximum(y + level, 0.0))
    return Spread(x=tuple(x.tolist()), y=tuple(half.tolist()))


def _quantile(beyond: F64, coverage: float, repeats: int) -> float:
    """The bound of `beyond`, which holds every row `repeats` times; the greatest where there are too few."""
    if not beyond.size:
        return 0.0
    return float(np.sort(beyond, axis=None)[min(rank(beyond.size // repeats, coverage) * repeats, beyond.size) - 1])


def _held_out(scores: F64, errors: F64, folds: Folds, coverage: float) -> F64:
    """The local spread [n] at every row, by one that did not see it."""
    out = np.empty_like(errors)
    for fold in np.unique(folds):
        held = folds == fold
        x, y = _local(scores[~held], errors[~held], coverage, int((~held).sum()))
        out[held] = np.interp(scores[held], x, y)
    return out


def _local(scores: F64, errors: F64, coverage: float, n: int) -> tuple[F64, F64]:
    """Knots: the errors' quantile in up to six groups of like scores, each of at least 40 of the n rows."""
    count = int(np.clip(n // ROWS_PER_KNOT, 1, MAX_KNOTS))
    edges = np.unique(np.quantile(scores, np.arange(1, count) / count))
    group = np.searchsorted(edges, scores, side="left")
    x: list[float] = []
    y: list[float] = []
    for one in np.unique(group):
        inside = group == one
        x.append(float(np.median(scores[inside])))
        y.append(float(np.quantile(errors[inside], coverage)))
    return np.array(x), np.array(y)
