"""Calibration: whether a map per dimension makes the student's scores better, decided by cross-validation.

Calibration is not always a gain, so "none" is among the choices, and whoever wants to replace it must prove more the
more it can bend (the one-standard-error rule: Breiman, Friedman, Olshen, Stone 1984, 3.4.3; Hastie, Tibshirani,
Friedman, The Elements of Statistical Learning, 7.10). benchmarks/calibration.py measures what that costs and saves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from filterkit.calibrator import LARGEST, Calibrator, DimensionMap, Method, OverallInterval, Spread
from filterkit.errors import InputError
from filterkit.pipeline.calibrate_intervals import fit_spread, too_few
from filterkit.pipeline.calibrate_maps import MONOTONE, L1Maps, fit_shift_scale, lines

F64 = NDArray[np.float64]
Folds = NDArray[np.intp]

FOLDS = 10
REPEATS = 2
"""How one draw of the folds falls is noise in the choice; a second draw halves it."""
MIN_PAIRS = 20
MAX_ROWS = 10_000
"""Of more rows this many are drawn: the choice is clear by then, and the time is not."""
RIDGES = (0.003, 0.03, 0.3)
"""How strongly l1_map holds on to the own score; the best is chosen by the same cross-validation."""
EVIDENCE: dict[Method, float] = {"shift": 1.0, "shift_scale": 1.0, "isotonic": 1.5, "l1_isotonic": 1.5, "l1_map": 2.0}
"""By how many standard errors of the paired difference a map must beat none. Maps that can bend have more ways to look
good by chance, so one standard error is not enough for them."""
SMALL = 8.0
"""With n pairs, SMALL / n more of them: the standard error of few pairs is itself uncertain. At n = 20 and errors of 2
points, one standard error alone makes unbiased scores worse by 0.02 in the mean."""
SURPLUS: dict[Method, float] = {"shift": 1.0, "shift_scale": 1.0, "isotonic": 0.25, "l1_isotonic": 0.25, "l1_map": 2.0}
"""By how many standard errors the best map must beat a simpler one; the simplest that it does not beat is taken."""
COMPLEXITY: dict[Method, int] = {"shift": 1, "shift_scale": 2, "isotonic": 3, "l1_isotonic": 3, "l1_map": 4}


@dataclass(frozen=True)
class _Candidate:
    """A kind of map, fitted to all n rows, and what those that did not see a row made of it: [r, n]."""

    map: DimensionMap
    held_out: F64
    errors: F64


@dataclass(frozen=True)
class Fitted:
    """A calibrator, and the calibrated scores [r, n, d] of maps that did not see their row, NaN where unknown."""

    calibrator: Calibrator
    held_out: F64
    labels: F64
    seed: int

    def overall(self, weights: Sequence[float]) -> OverallInterval:
        """The interval of the weighted overall, for these weights alone."""
        w = np.asarray(weights, dtype=np.float64)
        counted = np.flatnonzero(w)
        scores = self.held_out[:, :, counted] @ w[counted] / w.sum()
        labels = self.labels[:, counted] @ w[counted] / w.sum()
        known = np.isfinite(scores).all(axis=0) & np.isfinite(labels)
        reason = too_few(int(known.sum()), self.calibrator.coverage)
        spread = None
        if reason is None:
            folds = _folds(int(known.sum()), len(scores), self.seed)
            spread = fit_spread(scores[:, known], labels[known], folds, self.calibrator.coverage)
        return OverallInterval(weights=tuple(w.tolist()), spread=spread, reason=reason)


def fit_calibrator(
    predictions: ArrayLike,
    labels: ArrayLike,
    *,
    seed: int = 0,
    coverage: float = 0.9,
    scale: tuple[float, float] | None = None,
) -> Calibrator:
    """The calibrator for predictions [n, d] of labels [n, d], chosen per dimension by cross-validated MAE.

    With its intervals, which hold a new label with probability `coverage`. Pairs in which either is NaN are left out,
    per dimension; one with fewer than 20 pairs is not calibrated, and one with too few for the coverage (9 for 90 %)
    has no interval. `scale`: scores are clipped to it afterwards, so errors are those of clipped scores. Of more than
    10,000 rows so many are drawn. InputError on shapes that do not fit.
    """
    return fit(predictions, labels, seed=seed, coverage=coverage, scale=scale).calibrator


def fit(
    predictions: ArrayLike,
    labels: ArrayLike,
    *,
    seed: int = 0,
    coverage: float = 0.9,
    scale: tuple[float, float] | None = None,
) -> Fitted:
    """As fit_calibrator, with what the interval of an overall needs beside it."""
    try:
        p, t = np.asarray(predictions, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"predictions and labels must be numbers ({error})") from error
    if p.ndim != 2 or p.shape != t.shape:
        raise InputError(f"predictions {list(p.shape)} and labels {list(t.shape)} must have one shape [n, d]")
    if not 0 < coverage < 1:
        raise InputError(f"coverage must lie between 0 and 1, not be {coverage:g}")
    p, t = (np.where(np.abs(v) <= LARGEST, v, np.nan) for v in (p, t))
    if len(p) > MAX_ROWS:
        drawn = np.random.default_rng(seed).choice(len(p), MAX_ROWS, replace=False)
        p, t = p[drawn], t[drawn]
    held_out = np.full((REPEATS, *p.shape), np.nan)
    maps: list[DimensionMap] = []
    gain: list[float] = []
    spreads: list[Spread | None] = []
    reasons: list[str | None] = []
    for own in range(p.shape[1]):
        known = ~np.isnan(p[:, own]) & ~np.isnan(t[:, own])
        n = int(known.sum())
        folds = _folds(n, REPEATS, seed)
        best, saved = _choose(p[known], t[known, own], own, folds, scale)
        held_out[:, known, own] = best.held_out
        maps.append(best.map)
        gain.append(saved)
        reasons.append(too_few(n, coverage))
        spreads.append(None if reasons[-1] else fit_spread(best.held_out, t[known, own], folds, coverage))
    made = Calibrator(
        maps=tuple(maps), gain=tuple(gain), coverage=coverage, spreads=tuple(spreads), reasons=tuple(reasons)
    )
    return Fitted(made, held_out, t, seed)


def fit_overall(
    predictions: ArrayLike,
    labels: ArrayLike,
    weights: Sequence[float],
    *,
    seed: int = 0,
    coverage: float = 0.9,
    scale: tuple[float, float] | None = None,
) -> OverallInterval:
    """The interval of the overall under `weights` [d], from the maps that fit_calibrator chooses of the same arguments.

    Only for these weights; where too few rows have all that weighs, none, with the reason.
    """
    return fit(predictions, labels, seed=seed, coverage=coverage, scale=scale).overall(weights)


def _folds(n: int, repeats: int, seed: int) -> Folds:
    """[repeats, n]: the fold of every row, as even as can be."""
    random = np.random.default_rng(seed)
    return np.stack([random.permutation(n) % FOLDS for _ in range(repeats)])


def _choose(p: F64, t: F64, own: int, folds: Folds, scale: tuple[float, float] | None) -> tuple[_Candidate, float]:
    """The map for labels t [n] of dimension `own`, and by how much it lowers the absolute error."""

    def candidate(made: DimensionMap, held_out: F64) -> _Candidate:
        kept = held_out if scale is None else np.clip(held_out, *scale)
        return _Candidate(made, kept, np.abs(kept - t).mean(axis=0))

    none = candidate(DimensionMap(), np.repeat(p[None, :, own], len(folds), axis=0))
    if len(t) < MIN_PAIRS or np.ptp(p[:, own]) == 0:
        return none, 0.0
    asked = SMALL / len(t)
    proven = [
        c
        for c in (candidate(*pair) for pair in _fits(p, t, own, folds))
        if _clear(none.errors - c.errors, EVIDENCE[c.map.method] + asked)
    ]
    if not proven:
        return none, 0.0
    best = min(proven, key=_error)
    surplus = SURPLUS[best.map.method] + asked
    as_good = [c for c in proven if _rank(c) < _rank(best) and not _clear(c.errors - best.errors, surplus)]
    chosen = min([*as_good, best], key=lambda c: (_rank(c), _error(c)))
    return chosen, _error(none) - _error(chosen)


def _error(candidate: _Candidate) -> float:
    return float(candidate.errors.mean())


def _rank(candidate: _Candidate) -> int:
    return COMPLEXITY[candidate.map.method]


def _clear(saved: F64, errors: float) -> bool:
    """Whether the mean of what is saved per row [n] exceeds 0 by more than so many standard errors."""
    return bool(saved.mean() > errors * saved.std(ddof=1) / np.sqrt(len(saved)) + 1e-9)


def _fits(p: F64, t: F64, own: int, folds: Folds) -> Iterator[tuple[DimensionMap, F64]]:
    """Every kind of map, fitted to all rows, with what it makes of rows that it did not see [r, n]."""
    x = p[:, own]
    for name, fit_map in MONOTONE.items():
        if name == "shift_scale":
            yield fit_shift_scale(x, t), _lines_held_out(x, t, folds)
            continue
        held_out = np.empty_like(folds, dtype=np.float64)
        for repeat, fold in _each(folds):
            held = folds[repeat] == fold
            one = fit_map(x[~held], t[~held])
            held_out[repeat, held] = np.interp(x[held], one.x, one.y)
        yield fit_map(x, t), held_out
    if p.shape[1] > 1:
        yield _l1_map(p, t, own, folds)


def _each(folds: Folds) -> list[tuple[int, int]]:
    return [(r, int(f)) for r, row in enumerate(folds) for f in np.unique(row)]


def _masks(folds: Folds) -> F64:
    """[b, n]: 1 where a row is learnt from, for each fold of each repeat."""
    return np.stack([(folds[r] != f).astype(np.float64) for r, f in _each(folds)])


def _held_out(folds: Folds, made: F64) -> F64:
    """[r, n] of made [b, n]: of every row what the map of its own fold made of it."""
    out = np.empty_like(folds, dtype=np.float64)
    for (repeat, fold), values in zip(_each(folds), made, strict=True):
        held = folds[repeat] == fold
        out[repeat, held] = values[held]
    return out


def _lines_held_out(x: F64, t: F64, folds: Folds) -> F64:
    found = lines(x, t, _masks(folds))
    return _held_out(folds, found[:, :1] + found[:, 1:] * x)


def _l1_map(p: F64, t: F64, own: int, folds: Folds) -> tuple[DimensionMap, F64]:
    maps, masks = L1Maps(p, t, own), _masks(folds)
    tried = {ridge: _held_out(folds, maps.coefficients(masks, ridge) @ maps.x.T) for ridge in RIDGES}
    best = min(tried, key=lambda ridge: float(np.abs(tried[ridge] - t).mean()))
    return maps.fit(best), tried[best]
