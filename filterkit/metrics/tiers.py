"""Tiers by the student against tiers by the oracle, both under the filter's policy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filterkit.metrics.bootstrap import F64, FEWEST, Resamples, wilson
from filterkit.metrics.ranking import Search
from filterkit.metrics.records import TierMetrics


@dataclass(frozen=True)
class Tiers:
    """What a policy made of n articles: names best first; tier and oracle_tier [n], -1 not judged; overall [n] by the
    student after caps, NaN where not judged."""

    names: tuple[str, ...]
    tier: NDArray[np.int16]
    oracle_tier: NDArray[np.int16]
    overall: F64


def tiers(found: Tiers, resamples: Resamples) -> TierMetrics:
    """Accuracy, confusion, recall and precision of every tier, average precision of the best."""
    judged = (found.tier >= 0) & (found.oracle_tier >= 0)
    size = len(found.names)
    at = found.oracle_tier[judged].astype(np.intp) * size + found.tier[judged]
    confusion = np.bincount(at, minlength=size * size).reshape(size, size)
    same = judged & (found.tier == found.oracle_tier)
    shares = {"accuracy": (same, judged)}
    for i, name in enumerate(found.names):
        shares[f"recall:{name}"] = (same & (found.tier == i), judged & (found.oracle_tier == i))
        shares[f"precision:{name}"] = (same & (found.tier == i), judged & (found.tier == i))
    values: dict[str, float | None] = {}
    undefined: dict[str, str] = {}
    intervals = {}
    for name, (hits, asked) in shares.items():
        values[name] = float(hits.sum() / asked.sum()) if asked.any() else None
        interval = resamples.share(hits.astype(np.float64), asked.astype(np.float64))
        if interval is None:
            undefined[name] = _why(name)
        else:
            intervals[name] = interval
    best = judged & (found.oracle_tier == 0)
    average = None
    if best.any():
        average, variance = _average_precision(found, judged, best, resamples)
        if (units := resamples.standing_for(best)) >= FEWEST:
            intervals["average_precision"] = wilson(average, variance, units)
    else:
        undefined["average_precision"] = f"the oracle puts no article into {found.names[0]}"
    return TierMetrics(
        names=found.names,
        confusion=tuple(tuple(int(v) for v in row) for row in confusion),
        accuracy=values["accuracy"],
        recall={name: values[f"recall:{name}"] for name in found.names},
        precision={name: values[f"precision:{name}"] for name in found.names},
        average_precision=average,
        intervals=intervals,
        undefined=undefined,
    )


def _why(figure: str) -> str:
    kind, _, tier = figure.partition(":")
    if kind == "accuracy":
        return "no article has a tier by both"
    return f"the {'oracle' if kind == 'recall' else 'student'} puts no article into {tier}"


def _average_precision(
    found: Tiers, judged: NDArray[np.bool_], best: NDArray[np.bool_], resamples: Resamples
) -> tuple[float, float]:
    """Average precision of ranking by the overall, and its variance over resamples."""
    rows = np.flatnonzero(judged)
    search = Search(found.overall[rows], best[rows])
    value = float(search.average_precision(np.ones((1, len(rows))))[0])
    drawn = np.concatenate([search.average_precision(block[:, rows]) for block in resamples.row_blocks()])
    return value, float(np.nanvar(drawn)) if np.isfinite(drawn).any() else 0.0
