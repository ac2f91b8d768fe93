"""How far judges are from each other, and each from itself, on the articles that both have labels of."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterkit.errors import PluginError
from filterkit.metrics.bootstrap import F64, FEWEST, Resamples
from filterkit.metrics.measure import measure
from filterkit.metrics.records import DimensionMetrics, Interval, Metrics
from filterkit.overall import overall
from filterkit.pipeline.compare.judges import Judge
from filterkit.policy import make_postfilter
from filterkit.spec import FilterSpec

FEW = 20
"""Common articles below which a comparison proves little."""
SHARE = "share of the scale"


@dataclass(frozen=True)
class TierAgreement:
    """How often two judges' scores lead to one tier, each under its own filter's policy.

    confusion[i][j]: articles that the first puts into names[i] and the second into names[j]. kappa is Cohen's (1960):
    the agreement beyond chance, 1 at best; its interval is that of bootstrap percentiles. What is None has its reason
    in `undefined`. moved: (row, i, j) of every article that the two put into different tiers, rows as in the judges'
    answers; empty where a judge is held against itself.
    """

    names: tuple[str, ...]
    n: int
    confusion: list[list[int]]
    accuracy: float | None
    kappa: float | None
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    undefined: Mapping[str, str] = field(default_factory=dict)
    moved: tuple[tuple[int, int, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain data; `moved` is left to who knows the articles."""
        return {
            "names": list(self.names),
            "n": self.n,
            "confusion": self.confusion,
            "accuracy": self.accuracy,
            "kappa": self.kappa,
            "intervals": {name: interval.model_dump() for name, interval in self.intervals.items()},
            "undefined": dict(self.undefined),
        }


@dataclass(frozen=True)
class Agreement:
    """Two judges on `n` common articles; `second` is None where a judge is held against its own later answers.

    metrics: errors of the second against the first, so that its bias is second - first, in `unit`. weighted: both
    have the same dimensions and weights, so that there is one overall to compare. counted: the dimensions (scores,
    not flags) that the means are over; left_out: dimensions that are not compared, and why.
    """

    first: str
    second: str | None
    n: int
    unit: str
    metrics: Metrics | None
    weighted: bool
    counted: tuple[str, ...]
    left_out: Mapping[str, str]
    tiers: TierAgreement | None
    tiers_left_out: str | None

    @property
    def mae(self) -> float | None:
        """Mean over the counted dimensions."""
        return None if self.metrics is None else self.metrics.mae

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of `mae`."""
        return None if self.metrics is None else self.metrics.intervals.get("mae")

    @property
    def few(self) -> str | None:
        """In words, when there are too few articles to say much."""
        if self.n == 0:
            return "no article has labels of both"
        some = "1 article has" if self.n == 1 else f"{self.n} articles have"
        return f"only {some} labels of both: too few to prove much by" if self.n < FEW else None

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        found = self.metrics
        means = ("mae", "rmse", "bias", "spearman")
        return {
            **(dict.fromkeys(means) if found is None else _figures(found, means)),
            "first": self.first,
            "second": self.second,
            "n": self.n,
            "unit": self.unit,
            "few": self.few,
            "dimensions": {} if found is None else {k: _figures(v, means) for k, v in found.per_dimension.items()},
            "overall": _figures(found.overall, means) if found is not None and self.weighted else None,
            "counted": list(self.counted),
            "left_out": dict(self.left_out),
            "tiers": None if self.tiers is None else self.tiers.to_dict(),
            "tiers_left_out": self.tiers_left_out,
        }


def _figures(measured: Metrics | DimensionMetrics, names: Sequence[str]) -> dict[str, Any]:
    out: dict[str, Any] = {name: getattr(measured, name) for name in names}
    out["n"] = measured.n
    out["intervals"] = {k: v.model_dump() for k, v in measured.intervals.items() if k in names}
    out["undefined"] = {k: v for k, v in measured.undefined.items() if k in names}
    return out


def between(first: Judge, second: Judge) -> Agreement:
    """Two judges against each other, by their first answers."""
    names, left_out = _common(first, second)
    same_scale = first.spec.scale == second.spec.scale
    a, b = (_columns(judge, judge.answers[0], names, as_share=not same_scale) for judge in (first, second))
    both = np.flatnonzero((np.isfinite(a) & np.isfinite(b)).any(axis=1))
    counted = [i for i, name in enumerate(names) if _role(first.spec, name) == "score"]
    weights = first.spec.weights if _same_dimensions(first.spec, second.spec) else None
    found = measure(b[both], a[both], names, counted, weights=weights) if len(both) and counted else None
    tiers, why_not = _between_tiers(first, second)
    return Agreement(
        first.name,
        second.name,
        len(both),
        "points" if same_scale else SHARE,
        found,
        weights is not None,
        tuple(names[i] for i in counted),
        left_out,
        tiers,
        why_not,
    )


def with_itself(judge: Judge) -> Agreement | None:
    """A judge's repeated answers against each other; None where there are none.

    Of k answers every pair counts, those about one article as one: they are no independent evidence.
    """
    if len(judge.answers) < 2:
        return None
    spec = judge.spec
    pairs = [(a, b) for a, b in itertools.combinations(judge.answers, 2)]
    a, b = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    article = np.tile(np.arange(len(judge.answers[0])), len(pairs))
    both = np.flatnonzero((np.isfinite(a) & np.isfinite(b)).any(axis=1))
    n = len(np.unique(article[both]))
    groups = [str(number) for number in article[both]]
    found = measure(b[both], a[both], spec.names, spec.scored, weights=spec.weights, groups=groups) if n else None
    tiers, why_not = _tier_agreement(tiers_of(spec, a), tiers_of(spec, b), article)
    counted = tuple(spec.names[i] for i in spec.scored)
    return Agreement(judge.name, None, n, "points", found, True, counted, {}, tiers, why_not)


def _same_dimensions(first: FilterSpec, second: FilterSpec) -> bool:
    """Whether two filters weigh the same dimensions alike."""
    return (first.names, first.weights, first.scored) == (second.names, second.weights, second.scored)


def _common(first: Judge, second: Judge) -> tuple[list[str], dict[str, str]]:
    """The dimensions that both have, in the first one's order, and why others are left out."""
    names, left_out = [], {}
    for name in dict.fromkeys((*first.spec.names, *second.spec.names)):
        roles = {_role(judge.spec, name) for judge in (first, second)}
        if None in roles:
            left_out[name] = _only_one(first if name in first.spec.names else second, name)
        elif len(roles) > 1:
            left_out[name] = "it is a score in one filter and a flag in the other"
        else:
            names.append(name)
    return names, left_out


def _only_one(judge: Judge, name: str) -> str:
    """That only one of two judges scores a dimension, and how."""
    scores = judge.answers[0][:, judge.spec.names.index(name)]
    known = scores[np.isfinite(scores)]
    mean = f" (its mean there is {known.mean():.2f})" if len(known) else ""
    return f"only {judge.name} has it{mean}"


def _role(spec: FilterSpec, name: str) -> str | None:
    return next((d.role for d in spec.dimensions if d.name == name), None)


def _columns(judge: Judge, scores: F64, names: Sequence[str], *, as_share: bool) -> F64:
    columns = scores[:, [judge.spec.names.index(name) for name in names]]
    scale = judge.spec.scale
    return (columns - scale.min) / (scale.max - scale.min) if as_share else columns


# Tiers


@dataclass(frozen=True)
class Tiers:
    """The tier [n] of every article whose scores are all known, as an index into names; -1 where they are not."""

    names: tuple[str, ...]
    tier: NDArray[np.intp]
    why_not: str | None = None


def tiers_of(spec: FilterSpec, scores: F64) -> Tiers:
    none = np.full(len(scores), -1, np.intp)
    try:
        postfilter = make_postfilter(spec)
    except PluginError as error:
        return Tiers((), none, f"postfilter {spec.postfilter.use}: {error}")
    try:
        if not postfilter.tiers:
            return Tiers((), none, f"the postfilter {spec.postfilter.use} makes no tiers")
        whole = np.flatnonzero(np.isfinite(scores).all(axis=1))
        if not len(whole):
            return Tiers(postfilter.tiers, none)
        known = scores[whole].astype(np.float32)
        none[whole] = postfilter.judge(None, known, overall(known, spec.weights), None).tier
        return Tiers(postfilter.tiers, none)
    finally:
        postfilter.close()


def _between_tiers(first: Judge, second: Judge) -> tuple[TierAgreement | None, str | None]:
    a, b = (tiers_of(judge.spec, judge.answers[0]) for judge in (first, second))
    found, why_not = _tier_agreement(a, b, np.arange(len(a.tier)))
    if found is None:
        return None, why_not
    moved = np.flatnonzero((a.tier >= 0) & (b.tier >= 0) & (a.tier != b.tier))
    return replace(found, moved=tuple((int(i), int(a.tier[i]), int(b.tier[i])) for i in moved)), None


def _tier_agreement(a: Tiers, b: Tiers, article: NDArray[np.intp]) -> tuple[TierAgreement | None, str | None]:
    """Both judges' tiers held against each other; or why there is nothing to hold."""
    why_not = a.why_not or b.why_not
    if why_not is None and a.names != b.names:
        why_not = f"the tiers have other names: {', '.join(a.names)} and {', '.join(b.names)}"
    if why_not is not None:
        return None, why_not
    both = np.flatnonzero((a.tier >= 0) & (b.tier >= 0))
    if not len(both):
        return None, "no article has all scores of both"
    groups = [str(number) for number in article[both]]
    return _TierFigures(a.names, a.tier[both], b.tier[both], Resamples(len(both), groups)).agreement(), None


class _TierFigures:
    """Accuracy and kappa of tiers a and b [n]."""

    def __init__(self, names: tuple[str, ...], a: NDArray[np.intp], b: NDArray[np.intp], resamples: Resamples) -> None:
        self._names, self._a, self._b, self._resamples = names, a, b, resamples

    @cached_property
    def _cells(self) -> F64:
        """One row for each article, a 1 in the cell of its two tiers [n, k * k]."""
        k = len(self._names)
        cells = np.zeros((len(self._a), k * k))
        cells[np.arange(len(self._a)), self._a * k + self._b] = 1
        return cells

    def agreement(self) -> TierAgreement:
        k, n = len(self._names), len(self._a)
        confusion = self._cells.sum(axis=0).reshape(1, k, k)
        kappa = float(cohens_kappa(confusion)[0])
        same = (self._a == self._b).astype(np.float64)
        intervals: dict[str, Interval] = {}
        undefined: dict[str, str] = {}
        if self._resamples.units >= FEWEST:
            share = self._resamples.share(same, np.ones(n))
            intervals |= {} if share is None else {"accuracy": share}
        if np.isnan(kappa):
            undefined["kappa"] = "both put every article into the same one tier"
        elif self._resamples.units >= FEWEST:
            intervals |= self._kappa_interval()
        return TierAgreement(
            self._names,
            n,
            confusion[0].astype(int).tolist(),
            float(same.mean()),
            None if np.isnan(kappa) else kappa,
            intervals,
            undefined,
        )

    def _kappa_interval(self) -> dict[str, Interval]:
        """Percentiles over resamples; those in which kappa is not defined say nothing."""
        k, per_unit = len(self._names), self._resamples.per_unit(self._cells)
        drawn = [cohens_kappa((block @ per_unit).reshape(-1, k, k)) for block in self._resamples.blocks()]
        values = np.concatenate(drawn)
        values = values[~np.isnan(values)]
        if len(values) < self._resamples.rounds / 2:
            return {}
        low, high = np.quantile(values, [0.025, 0.975])
        return {"kappa": Interval(low=float(low), high=float(high))}


def cohens_kappa(confusion: F64) -> F64:
    """Cohen's kappa [rounds] of counts [rounds, k, k]; NaN where chance alone would agree always.

    Cohen, A coefficient of agreement for nominal scales, 1960; unweighted.
    """
    total = confusion.sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = np.trace(confusion, axis1=1, axis2=2) / total
        chance = (confusion.sum(axis=2) * confusion.sum(axis=1)).sum(axis=1) / total**2
        return np.where(chance < 1 - 1e-12, (observed - chance) / (1 - chance), np.nan)
