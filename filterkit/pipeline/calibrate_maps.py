"""The maps that a calibrator may be made of, each fitted to one dimension.

Every fitter takes scores and labels without gaps. That a map is fitted says nothing of whether it helps: `calibrate`
decides.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from filterkit.calibrator import DimensionMap, Method

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

MAX_KNOTS = 50
ROUNDS = 30
NEAR = 1e-3
"""Errors below this share of the usual one count as this much in reweighting, or one exact fit would outweigh all."""


def fit_shift(p: F64, t: F64) -> DimensionMap:
    """Scores p [n] plus the median error: the constant that minimises the absolute error."""
    return _line("shift", p, 1.0, float(np.median(t - p)))


def fit_shift_scale(p: F64, t: F64) -> DimensionMap:
    """The line, never falling, of least absolute errors."""
    [(offset, slope)] = lines(p, t, np.ones((1, len(p))))
    return _line("shift_scale", p, slope, offset)


def lines(p: F64, t: F64, weights: F64) -> F64:
    """Offset and slope [b, 2] of the line of least absolute errors through (p, t) [n], for each of weights [b, n]."""
    centre, width = float(p.mean()), float(p.std())
    if not width:
        return np.stack([_medians(t, weights), np.zeros(len(weights))], axis=1)
    x = np.stack([np.ones_like(p), (p - centre) / width], axis=1)
    found = least_absolute(x, t, weights, np.zeros(2))
    slope = found[:, 1] / width
    out = np.stack([found[:, 0] - slope * centre, slope], axis=1)
    out[slope < 0, 0] = _medians(t, weights[slope < 0])
    out[slope < 0, 1] = 0.0
    return out


def _medians(t: F64, weights: F64) -> F64:
    return np.array([np.median(t[w > 0]) for w in weights])


def least_absolute(x: F64, t: F64, weights: F64, ridge: F64) -> F64:
    """Coefficients [b, k] of t [n] on columns x [n, k] that minimise weighted absolute errors, for weights [b, n].

    By iteratively reweighted least squares (Schlossmacher 1973), all b at once. `ridge` [k] or [b, k] pulls
    coefficients towards 0: a column of unit variance with ridge 1 counts as much as its pull.
    """
    n, k = x.shape
    products = (x[:, :, None] * x[:, None, :]).reshape(n, k * k)
    target = x * t[:, None]
    pull = np.eye(k) * np.broadcast_to(ridge, (len(weights), k))[:, None, :]
    now = weights
    near = NEAR * max(float(np.abs(t - np.median(t)).mean()), 1e-9)
    found = np.zeros((len(weights), k))
    for _ in range(ROUNDS):
        total = now.sum(axis=1)[:, None]
        gram = (now @ products / total).reshape(-1, k, k) + pull
        gram += 1e-9 * np.eye(k)  # columns that say the same share the coefficient
        found = np.linalg.solve(gram, (now @ target / total)[:, :, None])[:, :, 0]
        now = weights / np.maximum(np.abs(t - found @ x.T), near)
    return found


def _line(method: Method, p: F64, slope: float, offset: float) -> DimensionMap:
    """A line as two points, so far out that a score higher than any of these few still lies between them."""
    reach = 1000 * (float(np.abs(p).max()) + 1.0)
    x = (float(p.min()) - reach, float(p.max()) + reach)
    return DimensionMap(method=method, x=x, y=(slope * x[0] + offset, slope * x[1] + offset))


def fit_isotonic(p: F64, t: F64) -> DimensionMap:
    """Monotone least squares by pooling adjacent violators, thinned to at most 50 points."""
    x, inverse = np.unique(p, return_inverse=True)
    count = np.bincount(inverse).astype(np.float64)
    return _steps("isotonic", x, _pool_adjacent_violators(np.bincount(inverse, weights=t) / count, count))


def _pool_adjacent_violators(values: F64, weights: F64) -> F64:
    blocks: list[tuple[float, float, int]] = []  # mean, weight, how many values
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, wa, na), (b, wb, nb) = blocks[-2], blocks[-1]
            blocks[-2:] = [((a * wa + b * wb) / (wa + wb), wa + wb, na + nb)]
    return np.repeat([b[0] for b in blocks], [b[2] for b in blocks])


def fit_l1_isotonic(p: F64, t: F64) -> DimensionMap:
    """Monotone median regression (isotonic under the absolute error), thinned to at most 50 points.

    Medians of few labels are seldom unique; this is the mean of the least and the greatest of the best monotone fits,
    which is a best monotone fit too.
    """
    order = np.argsort(p, kind="stable")
    x, first = np.unique(p[order], return_index=True)
    groups = np.split(t[order], first[1:])
    least = _monotone_medians([g.tolist() for g in groups])
    greatest = [-v for v in reversed(_monotone_medians([(-g).tolist() for g in reversed(groups)]))]
    return _steps("l1_isotonic", x, np.maximum.accumulate((np.array(least) + np.array(greatest)) / 2))


def _monotone_medians(groups: list[list[float]]) -> list[float]:
    """The values, never falling, one per group of labels, of least absolute error.

    By slope trick: `heap` holds (negated) the breakpoints of the least error so far as a function of the last
    value (Rote 2019, Isotonic regression by dynamic programming). O(n log n), where pooling with medians is O(n²).
    """
    heap: list[float] = []
    tops: list[float] = []
    for group in groups:
        for label in group:
            heapq.heappush(heap, -label)
            heapq.heappush(heap, -label)
        for _ in group:
            heapq.heappop(heap)
        tops.append(-heap[0])
    for i in range(len(tops) - 2, -1, -1):
        tops[i] = min(tops[i], tops[i + 1])
    return tops


def _steps(method: Method, x: F64, y: F64) -> DimensionMap:
    """A monotone curve by the ends of its level pieces: all there is to it, unless that is more than 50 points."""
    rises = np.diff(y) > 0
    ends = np.concatenate([[True], rises]) | np.concatenate([rises, [True]])
    x, y = x[ends], y[ends]
    if len(x) > MAX_KNOTS:
        keep = _telling(x, y)
        x, y = x[keep], y[keep]
    return DimensionMap(method=method, x=tuple(x.tolist()), y=tuple(y.tolist()))


def _telling(x: F64, y: F64) -> Mask:
    """Which 50 points to keep: again and again the one that lies farthest from the curve through those kept."""
    keep = np.zeros(len(x), dtype=np.bool_)
    keep[[0, -1]] = True
    for _ in range(MAX_KNOTS - 2):
        keep[np.argmax(np.abs(np.interp(x, x[keep], y[keep]) - y))] = True
    return keep


MONOTONE: dict[Method, Callable[[F64, F64], DimensionMap]] = {
    "shift": fit_shift,
    "shift_scale": fit_shift_scale,
    "isotonic": fit_isotonic,
    "l1_isotonic": fit_l1_isotonic,
}
"""The maps of a dimension's own score."""


class L1Maps:
    """Fits l1_map: one dimension's labels t [n] from all scores p [n, d], of which only the own is without gaps.

    Own slope and offset are free, so that the others, of which ridge makes little, are left with what the own score
    cannot say. Columns are measured in their standard deviation.
    """

    def __init__(self, p: F64, t: F64, own: int) -> None:
        self.own, self.t = own, t
        missing = np.isnan(p)
        self.centres = np.array([np.median(c[~np.isnan(c)]) if (~np.isnan(c)).any() else 0.0 for c in p.T])
        filled = np.where(missing, self.centres, p)
        self.low, self.high = filled.min(axis=0), filled.max(axis=0)
        self.width = np.where(filled.std(axis=0) > 0, filled.std(axis=0), np.inf)
        self.x = np.column_stack([np.ones(len(t)), (filled - self.centres) / self.width])
        self.scores = p

    def coefficients(self, weights: F64, ridge: float) -> F64:
        """[b, 1 + d] for weights [b, n]; the own score's slope is never negative."""
        pull = np.full(self.x.shape[1], ridge)
        pull[[0, 1 + self.own]] = 0.0
        found = least_absolute(self.x, self.t, weights, pull)
        found[:, 1 + self.own] = np.maximum(found[:, 1 + self.own], 0.0)
        return found

    def fit(self, ridge: float) -> DimensionMap:
        [found] = self.coefficients(np.ones((1, len(self.t))), ridge)
        weights = found[1:] / self.width
        weights[self.own] -= 1.0
        return DimensionMap(
            method="l1_map",
            offset=float(found[0] - self.centres[self.own]),
            weights=tuple(weights.tolist()),
            centres=tuple(self.centres.tolist()),
            low=tuple(self.low.tolist()),
            high=tuple(self.high.tolist()),
        )
