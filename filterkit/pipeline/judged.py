"""The articles that were judged, under the filter's policy, as the report shows them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from filterkit.errors import PluginError
from filterkit.filters import Filter
from filterkit.overall import overall
from filterkit.pipeline.data import Data, Rows
from filterkit.policy import make_postfilter
from filterkit.records import F32
from filterkit.report.contents import Judged
from filterkit.spec import FilterSpec
from filterkit.student import Look

BANDS = 5
"""Of the overall, where a filter has no tiers."""


def judged(filter: Filter, rows: Rows, look: Look) -> Judged:
    """Oracle and student side by side, both under the filter's policy."""
    tiers, tier, after = _decided(filter.spec, look.scores)
    _, oracle_tier, oracle_after = _decided(filter.spec, rows.split.targets)
    return Judged(
        articles=rows.articles,
        labels=rows.split.targets,
        scores=look.scores,
        raw=look.raw,
        intervals=look.intervals,
        overall=after,
        oracle_overall=oracle_after,
        overall_intervals=look.overall_intervals,
        tiers=tiers,
        tier=tier,
        oracle_tier=oracle_tier,
        sure=look.sure,
        evidence=[label.evidence for label in rows.labels],
    )


def prevalence(filter: Filter, data: Data) -> dict[str, Mapping[str, int]]:
    """Split -> tier, or band of the overall, by the oracle's labels -> articles; without those of unknown labels."""
    found: dict[str, Mapping[str, int]] = {}
    for name, rows in data.splits.items():
        tiers, tier, after = _decided(filter.spec, rows.split.targets)
        if tiers:
            found[name] = {t: int((tier == i).sum()) for i, t in enumerate(tiers)}
        else:
            found[name] = _bands(filter.spec, after)
    return found


def _decided(spec: FilterSpec, scores: F32) -> tuple[tuple[str, ...], NDArray[np.int16], F32]:
    """Names of the tiers, the tier and the overall of each row after the policy's caps."""
    before = overall(scores, spec.weights)
    try:
        postfilter = make_postfilter(spec)
    except PluginError:  # not installed: evaluate() says so by name
        return (), np.full(len(scores), -1, dtype=np.int16), before
    verdicts = postfilter.judge(None, scores, before, None)
    postfilter.close()
    return postfilter.tiers, verdicts.tier, verdicts.overall


def _bands(spec: FilterSpec, totals: F32) -> dict[str, int]:
    edges = np.linspace(spec.scale.min, spec.scale.max, BANDS + 1)
    counts, _ = np.histogram(totals[np.isfinite(totals)], edges)
    return {f"{low:g} to {high:g}": int(n) for low, high, n in zip(edges, edges[1:], counts, strict=False)}
