"""Means over the scored dimensions: unweighted, of the values that are defined (scikit-learn's uniform average)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from filterkit.metrics.bootstrap import F64, Ratio, Resamples
from filterkit.metrics.pairs import Column, finished
from filterkit.metrics.ranking import Mask
from filterkit.metrics.records import DimensionMetrics, Interval

FIGURES = ("mae", "rmse", "r2", "bias", "spearman", "within_1", "median_mae")


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are defined."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def average(parts: Sequence[DimensionMetrics]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Every figure's mean over dimensions, and the reasons of those that are None."""
    found = {name: mean_of([getattr(part, name) for part in parts]) for name in FIGURES}
    undefined = {name: _why(parts, name) for name, value in found.items() if value is None}
    mae, median_mae = found["mae"], found["median_mae"]
    found["median_gain"] = None
    if mae is not None and median_mae:
        found["median_gain"] = 1 - mae / median_mae
    else:
        undefined["median_gain"] = undefined.get("mae", "all labels are the same")
    return found, undefined


def _why(parts: Sequence[DimensionMetrics], name: str) -> str:
    reasons = {part.undefined.get(name, "") for part in parts}
    return " or ".join(sorted(reasons)) if reasons else "no dimension is a score"


def mean_ratio(above: Sequence[F64], below: Sequence[F64]) -> Ratio:
    """The mean of the ratios sum(a) / sum(b) of non-negative columns [n], as one ratio of sums.

    Exact in its value and in its derivative by each article, so that its standard error is that of the mean.
    """
    n = len(above[0])
    scaled = [(a * (n / b.sum()), b * (n / b.sum()), a.sum() / b.sum()) for a, b in zip(above, below, strict=True)]
    total = sum(ratio for _, _, ratio in scaled)
    part = [ratio / total if total else 1 / len(scaled) for _, _, ratio in scaled]
    numerator: F64 = np.mean([a for a, _, _ in scaled], axis=0)
    denominator: F64 = np.sum([share * b for share, (_, b, _) in zip(part, scaled, strict=True)], axis=0)
    return Ratio(numerator, denominator, "log")


def mean_intervals(columns: Sequence[Column], resamples: Resamples) -> dict[str, Interval]:
    """Intervals of the means over columns, but for that of Spearman's correlation."""
    known = [c for c in columns if c.n]
    if not known:
        return {}

    def over(numerator: Callable[[Column], F64], denominator: Callable[[Column], F64], some: Sequence[Column]) -> Ratio:
        return mean_ratio([numerator(c) for c in some], [denominator(c) for c in some])

    def ones(c: Column) -> F64:
        return c.ones

    figures = {
        "mae": over(lambda c: c.absolute, ones, known),
        "median_mae": over(lambda c: c.from_median, ones, known),
    }
    bias = mean_over(np.stack([c.spread(c.error) for c in known], axis=1), np.stack([c.known for c in known], axis=1))
    if bias is not None:
        figures["bias"] = bias
    roots = [float(np.sqrt((c.error**2).mean())) for c in known]
    # The mean of roots as the root of a mean: weighted so that it moves with every article as the former does.
    weights = [float(np.mean(roots)) / root if root else 0.0 for root in roots]
    figures["rmse"] = mean_ratio([c.squared * w for c, w in zip(known, weights, strict=True)], [c.ones for c in known])
    varied = [c for c in known if not c.same_labels]
    if varied:
        figures["r2"] = over(lambda c: c.squared, lambda c: c.from_mean, varied)
        figures["median_gain"] = _quotient(figures["mae"], figures["median_mae"])
    r2 = mean_of([float(1 - c.squared.sum() / ((c.t - c.t.mean()) ** 2).sum()) for c in varied])
    found = finished(resamples.studentized(figures), r2)
    within = over(lambda c: c.within_1, ones, known)
    interval = resamples.share(within.above, within.below)
    return found | ({"within_1": interval} if interval else {})


def mean_over(values: F64, known: Mask) -> Ratio | None:
    """The mean over columns of the means of values [n, c] where `known` [n, c], as one ratio of sums over rows.

    Linear in every row, and defined also for values that may be negative; None where nothing is known.
    """
    counts = known.sum(axis=0)
    some = counts > 0
    if not some.any():
        return None
    judged = np.asarray(known.any(axis=1), np.bool_)
    there = np.where(known, np.nan_to_num(values), 0)[:, some]
    means = there.sum(axis=0) / counts[some]
    moved = (there - means * known[:, some]) * (judged.sum() / counts[some])
    return Ratio(np.where(judged, moved.mean(axis=1) + means.mean(), 0), judged.astype(np.float64))


def _quotient(first: Ratio, second: Ratio) -> Ratio:
    """One ratio over another: where both are over the same articles, that of their numerators."""
    above = first.above - (first.above.sum() / first.below.sum()) * (first.below - first.below.mean())
    below = second.above - (second.above.sum() / second.below.sum()) * (second.below - second.below.mean())
    return Ratio(above, below, "log")
