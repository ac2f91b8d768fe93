"""evaluate: everything measured of a student's predictions against the oracle's labels, and the gates' answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from filterkit.errors import InputError, PluginError
from filterkit.filters import Filter
from filterkit.manifest import Gate
from filterkit.metrics.bootstrap import F64, Resamples
from filterkit.metrics.measure import as_matrix, measure
from filterkit.metrics.measure import overall as weighted
from filterkit.metrics.paired import Pair, differences
from filterkit.metrics.records import Difference, Metrics, Reference, Slice
from filterkit.metrics.slices import slices_of
from filterkit.metrics.tiers import Tiers
from filterkit.overall import overall
from filterkit.pipeline.gates import ask
from filterkit.policy import make_postfilter
from filterkit.records import Article
from filterkit.spec import FilterSpec, Gates

AnyFilter = Filter | FilterSpec | Sequence[str]
LENGTHS = ((500, "under 500"), (2_000, "500 to 1,999"), (8_000, "2,000 to 7,999"))
LONGEST = "8,000 or more"
_USUAL = (0.0, 10.0)
"""The scale of a bare list of names, where the labels lie in it."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of predictions, and each gate's answer to them. `left_out`: gates that mean nothing here, and why."""

    metrics: Metrics
    gates: tuple[Gate, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(g.passed for g in self.gates)


class _Question(NamedTuple):
    """What is asked of an array of scores."""

    names: tuple[str, ...]
    counted: tuple[int, ...]
    spec: FilterSpec | None

    @property
    def weights(self) -> F64:
        if self.spec is None:
            return np.ones(len(self.names))
        return np.asarray(self.spec.weights, np.float64)


def evaluate(
    predictions: ArrayLike,
    labels: ArrayLike,
    filter: AnyFilter,
    *,
    gates: Gates | None = None,
    intervals: ArrayLike | None = None,
    overall_intervals: ArrayLike | None = None,
    missing_intervals: str | None = None,
    groups: Sequence[str] | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Metrics of predictions [n, d] against labels [n, d], and the gates' answers.

    `filter` is a filter or a list of dimension names (then all count alike, under the default gates). A NaN label is
    unknown and left out; a NaN prediction is a row that failed, and fails a gate. intervals [n, d, 2] and
    overall_intervals [n, 2]: the student's 90 % prediction intervals, NaN where there is none; `missing_intervals`
    says why. groups [n]: articles that share one are near-duplicates, drawn together. `rounds` resamples, the same
    for the same `seed`. InputError on other shapes, infinities, and labels outside of the scale.
    """
    asked = _question(filter)
    p, t = as_matrix(predictions, asked.names, "predictions"), as_matrix(labels, asked.names, "labels")
    if p.shape != t.shape:
        raise InputError(f"predictions have shape {p.shape}, labels {t.shape}")
    scale = _scale(t, asked.spec)
    decided, left_out = _decide(p, t, asked.spec)
    metrics = measure(
        p,
        t,
        asked.names,
        asked.counted,
        weights=asked.weights.tolist(),
        scale=scale,
        flags=_flags(asked.spec),
        threshold=asked.spec.threshold if asked.spec else None,
        decided=decided,
        tiers_left_out=left_out,
        intervals=intervals,
        overall_intervals=overall_intervals,
        missing_intervals=missing_intervals,
        groups=groups,
        rounds=rounds,
        seed=seed,
    )
    answers, skipped = ask(
        metrics, gates or (asked.spec.gates if asked.spec else Gates()), missing_intervals=missing_intervals
    )
    return Evaluation(metrics, answers, skipped)


def slices(
    articles: Sequence[Article],
    predictions: ArrayLike,
    labels: ArrayLike,
    filter: AnyFilter,
    *,
    groups: Sequence[str] | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> tuple[Slice, ...]:
    """Errors by language, source and length of the n articles, the worst slice of each kind first.

    `filterkit.metrics.slices.worst` names the one that is surely worse than the rest.
    """
    asked = _question(filter)
    p, t = as_matrix(predictions, asked.names, "predictions"), as_matrix(labels, asked.names, "labels")
    if not len(articles) == len(p) == len(t):
        raise InputError(f"{len(articles)} articles, {len(p)} predictions and {len(t)} labels do not belong together")
    error = (p - t)[:, list(asked.counted)]
    resamples = Resamples(len(p), groups, rounds, seed)
    return (
        *slices_of("language", [a.language or "unknown" for a in articles], error, resamples),
        *slices_of("source", [a.source or "unknown" for a in articles], error, resamples),
        *slices_of("length", [_length(a) for a in articles], error, resamples),
    )


def reference(
    who: str,
    kind: Literal["oracle", "repeat", "people"],
    theirs: ArrayLike,
    labels: ArrayLike,
    predictions: ArrayLike,
    filter: AnyFilter,
    *,
    groups: Sequence[str] | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> Reference:
    """Other labels [n, d] of the same articles held against the oracle's, and the student's error on just these."""
    asked = _question(filter)
    other, oracle = as_matrix(theirs, asked.names, who), as_matrix(labels, asked.names, "labels")
    student = as_matrix(predictions, asked.names, "predictions")
    rows = np.flatnonzero((~np.isnan(other) & ~np.isnan(oracle)).any(axis=1))
    both = np.where(np.isnan(other), np.nan, oracle)[rows]
    some = None if groups is None else [groups[int(i)] for i in rows]
    found = measure(other[rows], both, asked.names, asked.counted, groups=some, rounds=rounds, seed=seed)
    ours = measure(student[rows], both, asked.names, asked.counted, groups=some, rounds=rounds, seed=seed)
    intervals = {name: found.intervals[name] for name in ("mae", "spearman") if name in found.intervals}
    if "mae" in ours.intervals:
        intervals["student_mae"] = ours.intervals["mae"]
    undefined = {name: found.undefined[name] for name in ("mae", "spearman") if name in found.undefined}
    if ours.mae is None:
        undefined["student_mae"] = ours.undefined.get("mae", "")
    return Reference(
        who=who,
        kind=kind,
        n=len(rows),
        mae=found.mae,
        spearman=found.spearman,
        student_mae=ours.mae,
        per_dimension={name: m.mae for name, m in found.per_dimension.items()},
        intervals=intervals,
        undefined=undefined,
    )


def compare_students(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    filter: AnyFilter,
    *,
    groups: Sequence[str] | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> tuple[Difference, ...]:
    """Paired differences of two students' predictions [n, d] of the same articles, over what both scored.

    Named mae, overall_mae, spearman, tier_accuracy, recall:TIER (the best), ndcg@k, and mae:DIMENSION.
    """
    asked = _question(filter)
    one, two = as_matrix(first, asked.names, "first"), as_matrix(second, asked.names, "second")
    t = as_matrix(labels, asked.names, "labels")
    if not one.shape == two.shape == t.shape:
        raise InputError(f"predictions have shapes {one.shape} and {two.shape}, labels {t.shape}")
    scale = _scale(t, asked.spec)
    decided = [_decide(p, t, asked.spec)[0] for p in (one, two)]
    tiers = (decided[0], decided[1]) if decided[0] is not None and decided[1] is not None else None
    totals = [weighted(scores, asked.weights) for scores in (one, two, t)]
    pair = Pair(one, two, t, (totals[0], totals[1], totals[2]), tiers)
    least = scale[0] if scale else None
    return differences(pair, asked.names, asked.counted, least, Resamples(len(t), groups, rounds, seed))


def _question(filter: AnyFilter) -> _Question:
    spec = filter.spec if isinstance(filter, Filter) else filter
    if isinstance(spec, FilterSpec):
        return _Question(spec.names, spec.scored, spec)
    names = tuple(spec)
    if len(set(names)) < len(names):
        raise InputError(f"two dimensions have one name: {', '.join(names)}")
    return _Question(names, tuple(range(len(names))), None)


def _scale(labels: F64, spec: FilterSpec | None) -> tuple[float, float] | None:
    """The ends of the scale; InputError when a label lies outside of a filter's."""
    known = labels[~np.isnan(labels)]
    low, high = (spec.scale.min, spec.scale.max) if spec else _USUAL
    outside = known[(known < low) | (known > high)]
    if outside.size and spec:
        raise InputError(f"label {outside[0]:g} lies outside of {low:g} to {high:g}")
    return None if outside.size else (low, high)


def _flags(spec: FilterSpec | None) -> dict[str, float]:
    """The threshold of every flag."""
    if spec is None:
        return {}
    middle = (spec.scale.min + spec.scale.max) / 2
    return {d.name: middle if d.threshold is None else d.threshold for d in spec.dimensions if d.role == "flag"}


def _decide(predictions: F64, labels: F64, spec: FilterSpec | None) -> tuple[Tiers | None, str | None]:
    """Tiers by the filter's own policy of both; or None and why there are none."""
    if spec is None:
        return None, "a list of names has no tiers"
    try:
        postfilter = make_postfilter(spec)
    except PluginError as error:
        return None, str(error)
    try:
        if not postfilter.tiers:
            return None, f"the postfilter {spec.postfilter.use!r} knows no tiers"
        scores, oracle = predictions.astype(np.float32), labels.astype(np.float32)
        ours = postfilter.judge(None, scores, overall(scores, spec.weights), None)
        theirs = postfilter.judge(None, oracle, overall(oracle, spec.weights), None)
        return Tiers(postfilter.tiers, ours.tier, theirs.tier, ours.overall.astype(np.float64)), None
    finally:
        postfilter.close()


def _length(article: Article) -> str:
    size = len(article.text)
    return f"{next((name for most, name in LENGTHS if size < most), LONGEST)} characters"
