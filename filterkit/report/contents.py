"""What the report is drawn from: everything that validation saw and found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filterkit.manifest import Manifest
from filterkit.metrics.records import Comparison, Metrics, Reference, Slice
from filterkit.records import F32, Article
from filterkit.spec import FilterSpec


@dataclass(frozen=True)
class Judged:
    """The n articles that were judged, d dimensions, as columns; scores in scale units.

    labels NaN where unknown, scores NaN where the student failed. raw: before calibration, or None where not known.
    intervals [n, d, 2] and overall_intervals [n, 2] are the student's 90 % prediction intervals. overall and
    oracle_overall [n] come after the policy's caps. tier and oracle_tier [n] index `tiers` (best first, may be empty);
    -1 not judged. sure [n]: whether the whole interval lies in one tier. evidence: the oracle's, per article.
    """

    articles: Sequence[Article]
    labels: F32
    scores: F32
    raw: F32 | None
    intervals: F32 | None
    overall: F32
    oracle_overall: F32
    overall_intervals: F32 | None
    tiers: tuple[str, ...]
    tier: NDArray[np.int16]
    oracle_tier: NDArray[np.int16]
    sure: NDArray[np.bool_] | None
    evidence: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True)
class LabelCost:
    """What the labels behind the student cost, from the ledger. Money None: unknown."""

    articles: int
    requests: int
    usd: float | None
    input_tokens: int | None
    output_tokens: int | None


@dataclass(frozen=True)
class Contents:
    """One validation. `manifest` holds provenance, history, calibrator and the gate record (`manifest.gates`).

    prevalence: split -> tier (or band of the overall) -> articles. notes: what a reader must know, such as loosened
    gates or a deployment that was forced.
    """

    spec: FilterSpec
    manifest: Manifest
    metrics: Metrics
    judged: Judged
    slices: Sequence[Slice] = ()
    references: Sequence[Reference] = ()
    comparison: Comparison | None = None
    cost: LabelCost | None = None
    prevalence: Mapping[str, Mapping[str, int]] | None = None
    notes: Sequence[str] = ()
