"""How many labels lie in the student's prediction intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filterkit.metrics.bootstrap import F64, Ratio, Resamples
from filterkit.metrics.means import mean_of, mean_ratio
from filterkit.metrics.ranking import Mask
from filterkit.metrics.records import CoverageMetrics, Interval

_SLACK = 1e-6
"""Scores and ends of intervals are float32: a label on the end lies inside."""


def coverage(
    labels: F64,
    intervals: F64,
    names: Sequence[str],
    counted: Sequence[int],
    resamples: Resamples,
    *,
    overall: tuple[F64, F64] | None = None,
    nominal: float = 0.9,
    missing: str | None = None,
) -> CoverageMetrics:
    """Coverage of intervals [n, d, 2], NaN where there is none; labels [n, d].

    overall: the oracle's overall [n] and the intervals [n, 2] of the student's. `missing`: why intervals are missing.
    """
    why = missing or "no article has both an interval and a label"
    shares = {name: _share(labels[:, i], intervals[:, i]) for i, name in enumerate(names)}
    per_dimension = {name: _value(share) for name, share in shares.items()}
    scored = [shares[names[i]] for i in counted]
    scored = [share for share in scored if share[1].any()]
    asked: dict[str, Ratio] = {n: Ratio(*share) for n, share in shares.items()}
    if scored:
        asked["mean"] = mean_ratio([s[0] for s in scored], [s[1] for s in scored])
    mean = mean_of([per_dimension[names[i]] for i in counted])
    undefined = {name: why for name, value in per_dimension.items() if value is None}
    whole = None
    if overall is not None:
        share = _share(*overall)
        whole, asked["overall"] = _value(share), Ratio(*share)
    if whole is None:
        undefined["overall"] = "there are no intervals of the overall" if overall is None else why
    if mean is None:
        undefined["mean"] = undefined["width"] = why
    found: dict[str, Interval] = {}
    for name, ratio in asked.items():
        interval = resamples.share(ratio.above, ratio.below)
        if interval is not None:
            found[name] = interval
    return CoverageMetrics(
        nominal=nominal,
        mean=mean,
        overall=whole,
        per_dimension=per_dimension,
        width=mean_of([_width(intervals[:, i]) for i in counted]) if mean is not None else None,
        intervals=found,
        undefined=undefined,
    )


def _share(labels: F64, intervals: F64) -> tuple[F64, F64]:
    """Labels inside, and those that were asked, as columns [n] of 0 and 1."""
    low, high = intervals[:, 0], intervals[:, 1]
    asked: Mask = ~(np.isnan(labels) | np.isnan(low) | np.isnan(high))
    inside = asked & (labels >= low - _SLACK) & (labels <= high + _SLACK)
    return inside.astype(np.float64), asked.astype(np.float64)


def _value(share: tuple[F64, F64]) -> float | None:
    return float(share[0].sum() / share[1].sum()) if share[1].any() else None


def _width(intervals: F64) -> float | None:
    widths = intervals[:, 1] - intervals[:, 0]
    known = widths[~np.isnan(widths)]
    return float(known.mean()) if len(known) else None
