"""The pilot: a small sample is labelled first, and tells what the scores look like and what the rest will cost."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from filterkit.errors import PluginError
from filterkit.filters import Filter
from filterkit.overall import overall
from filterkit.pipeline.estimate import Estimate
from filterkit.pipeline.pricing import Pricing
from filterkit.policy import make_postfilter
from filterkit.prompt import sent_text
from filterkit.records import F32, Article, sha256_text
from filterkit.spec import FilterSpec
from filterkit.store import Key, Question, Store
from filterkit.store.history import Told, history

BINS = 10
ALIKE = 0.9
"""A dimension with so large a share in one bin tells nearly nothing apart."""
TIER_ENOUGH = 100
"""Articles of a tier to learn it from and prove it by: a tenth is left for the test, the least that a recall says
anything about."""
FEW = 20
"""Fewer labels than this say nothing about shares."""


class Sample:
    """The `size` texts whose hash is smallest: spread evenly over the whole input, and the same ones every time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, int, Article, str, bool]] = []  # the largest hash on top
        self._number = itertools.count()

    def offer(self, article: Article, sent_hash: str, to_ask: bool) -> None:
        """Take the text if it is among the smallest so far."""
        # hashed once more: a split that goes by the hash of a text must not be where the pilot looks
        rank = -int(sha256_text(f"pilot {sent_hash}")[:16], 16)
        item = (rank, next(self._number), article, sent_hash, to_ask)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, item)
        elif rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, item)

    @property
    def rows(self) -> list[tuple[Article, str, bool]]:
        """Article, hex SHA-256 of what is sent, whether it was to be asked; in the order of the input."""
        return [item[2:] for item in sorted(self._heap, key=lambda item: item[1])]

    @property
    def articles(self) -> list[Article]:
        return [article for article, _, _ in self.rows]


@dataclass
class Rates:
    """How one dimension's scores lie, in scale units. Shares are of the labelled; histogram counts BINS equal bins."""

    name: str
    role: str
    mean: float | None
    median: float | None
    at_floor: float
    at_ceiling: float
    upper_half: float
    histogram: list[int]


@dataclass
class Projection:
    """What the rest is expected to take. usd within (low_usd, high_usd) in 95 of 100 cases; None: unknown.

    estimated: from what was known before, as no request of the sample was answered; budget_usd is then what one answer
    to each costs at most. Else it is high_usd and room for the last request, which leaves only where the budget holds
    its worst case.
    """

    to_ask: int
    usd: float | None = None
    low_usd: float | None = None
    high_usd: float | None = None
    budget_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    estimated: bool = False


@dataclass
class PilotReport:
    """What a pilot showed.

    labelled of `size` sampled texts have scores. overall: mean of the weighted overall, in scale units. tiers: name ->
    articles of the sample, best first; why they are missing stands in tiers_left_out. cost_usd, input_tokens and
    output_tokens are of the whole sample, when it was asked (maybe by an earlier run); None: unknown.
    """

    size: int
    labelled: int
    dimensions: list[Rates]
    overall: float | None
    tiers: dict[str, int]
    tiers_left_out: str
    warnings: list[str]
    cost_usd: float | None
    input_tokens: int | None
    output_tokens: int | None
    attempts: int
    rest: Projection

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def pilot_report(
    filter: Filter,
    sample: Sample,
    estimate: Estimate,
    pricing: Pricing,
    store: Store,
    question: Question,
    answer: int = 0,
) -> PilotReport:
    """What the labels of `sample`, which are in the store now, tell; `estimate` is of the input it was drawn from.

    answer: the number of the answer, where each question is asked more than once.
    """
    rows = sample.rows
    told = history(store, question, [Key(sent_hash, answer) for _, sent_hash, _ in rows])
    scores = _matrix(filter.spec, told)
    rates = [_rates(filter.spec, column, scores[:, column]) for column in range(scores.shape[1])] if len(scores) else []
    total = overall(scores, filter.spec.weights)
    tiers, left_out = _tiers(filter.spec, scores, total)
    texts = estimate.read - estimate.duplicates
    return PilotReport(
        size=len(rows),
        labelled=len(scores),
        dimensions=rates,
        overall=float(np.mean(total)) if len(total) else None,
        tiers=tiers,
        tiers_left_out=left_out,
        warnings=[*_flat(rates, len(scores)), *_rare(tiers, len(scores), texts)],
        cost_usd=_sum([t.cost_usd for t in told if t.attempts]),
        input_tokens=_sum([t.input_tokens for t in told if t.attempts]),
        output_tokens=_sum([t.output_tokens for t in told if t.attempts]),
        attempts=sum(t.attempts for t in told),
        rest=_rest(filter.spec, rows, told, estimate, pricing),
    )


def _sum(values: Sequence[Any]) -> Any:
    """The sum, or None when a part of it is unknown."""
    return None if any(value is None for value in values) else sum(values)


def _matrix(spec: FilterSpec, told: Sequence[Told]) -> F32:
    """Scores [n, d] of those that are labelled, in spec order."""
    rows = [[t.scores.get(name, math.nan) for name in spec.names] for t in told if t.scores is not None]
    return np.asarray(rows, dtype=np.float32).reshape(len(rows), len(spec.names))


def _rates(spec: FilterSpec, column: int, scores: F32) -> Rates:
    known = scores[~np.isnan(scores)].astype(np.float64)
    low, high = spec.scale.min, spec.scale.max
    counts, _ = np.histogram(known, bins=BINS, range=(low, high))
    n = max(1, len(known))
    return Rates(
        name=spec.names[column],
        role=spec.dimensions[column].role,
        mean=float(known.mean()) if len(known) else None,
        median=float(np.median(known)) if len(known) else None,
        at_floor=float((known == low).sum()) / n,
        at_ceiling=float((known == high).sum()) / n,
        upper_half=float((known >= (low + high) / 2).sum()) / n,
        histogram=counts.tolist(),
    )


def _tiers(spec: FilterSpec, scores: F32, total: F32) -> tuple[dict[str, int], str]:
    """Articles per tier of the filter's postfilter, and why that cannot be told."""
    try:
        postfilter = make_postfilter(spec)
    except PluginError as error:
        return {}, f"postfilter {spec.postfilter.use}: {error}"
    try:
        tier = postfilter.judge(None, scores, total, None).tier
        return {name: int((tier == number).sum()) for number, name in enumerate(postfilter.tiers)}, ""
    finally:
        postfilter.close()


def _flat(rates: Sequence[Rates], n: int) -> list[str]:
    """Words about dimensions that tell nothing apart."""
    if n < FEW:
        few = f"only {n} articles of the sample are labelled: too few to judge the scores by" if n else ""
        return [few] if few else ["no article of the sample is labelled: there is nothing to judge the scores by"]
    found = []
    for rate in rates:
        share = max(rate.histogram) / max(1, sum(rate.histogram))
        if rate.role == "flag":
            if rate.upper_half == 0:
                found.append(f"{rate.name} was set for none of {n}: below {_below(n)} of all, likely too few to learn")
            elif rate.upper_half == 1:
                found.append(f"{rate.name} was set for all {n}: it tells nothing apart")
        elif rate.at_floor >= ALIKE:
            found.append(f"{rate.name} is at its floor for {rate.at_floor:.0%}: it tells almost nothing apart")
        elif share >= ALIKE:
            found.append(f"{rate.name} lies within a tenth of the scale for {share:.0%}: it tells almost nothing apart")
    return found


def _rare(tiers: dict[str, int], n: int, texts: int) -> list[str]:
    """Words about tiers that are empty, and about a best tier that stays too small to learn from."""
    if n < FEW:
        return []
    found = [
        f"no article of the sample is in tier {name}: below {_below(n)} of all are"
        for name, count in tiers.items()
        if not count
    ]
    best = next(iter(tiers), None)
    if best is not None and tiers[best]:
        expected = tiers[best] / n * texts
        if expected < TIER_ENOUGH:
            found.append(
                f"about {expected:,.0f} of all {texts:,} articles are in tier {best}: too few to learn it from and "
                f"to prove it by ({TIER_ENOUGH} and more)"
            )
    return found


def _below(n: int) -> str:
    """The share that a thing not seen among n stays below, with 95 % confidence (the rule of three)."""
    return f"{min(1.0, 3 / n):.1%}"


def _rest(
    spec: FilterSpec,
    rows: Sequence[tuple[Article, str, bool]],
    told: Sequence[Told],
    estimate: Estimate,
    pricing: Pricing,
) -> Projection:
    """What labelling the rest will take, by what the sample took in proportion to its estimated input tokens."""
    sizes = np.array([pricing.input_tokens(sent_text(spec, article)) for article, _, _ in rows], dtype=np.float64)
    asked_now = np.array([to_ask for _, _, to_ask in rows], dtype=bool)
    count = max(0, estimate.to_ask - int(asked_now.sum()))
    size = max(0.0, estimate.request_tokens - float(sizes[asked_now].sum()))
    if not sizes.any():  # an oracle that counts no tokens: each article is like any other
        sizes, size = np.ones(len(rows)), float(count)
    asked = np.array([t.attempts > 0 for t in told], dtype=bool)
    out = Projection(count)
    if not count:
        return Projection(0, 0.0, 0.0, 0.0, 0.0, 0, 0)
    if not any(t.attempts and t.scores is not None for t in told):  # imported, or all of them failed
        return _estimated(count, count / estimate.to_ask, estimate)
    share = size / float(sizes[asked].sum())
    took = [t for t in told if t.attempts]
    tokens = _sum([t.input_tokens for t in took]), _sum([t.output_tokens for t in took])
    out.input_tokens, out.output_tokens = (None if t is None else round(t * share) for t in tokens)
    costs = [t.cost_usd for t in took]
    if all(cost is not None for cost in costs):
        out.usd, half = project(np.array(costs, dtype=np.float64), sizes[asked], count, size)
        if half is not None:
            out.low_usd, out.high_usd = max(0.0, out.usd - half), out.usd + half
            out.budget_usd = out.high_usd + (pricing.reserve_usd(float(sizes.max())) or 0.0)
    return out


def _estimated(count: int, share: float, estimate: Estimate) -> Projection:
    """A `share` of what was estimated before anything was asked."""
    usd, most = (None if dollars is None else dollars * share for dollars in (estimate.usd, estimate.most_usd))
    tokens = round(estimate.input_tokens * share), round(estimate.output_tokens * share)
    return Projection(count, usd, None, None, most, *tokens, estimated=True)


def project(
    costs: np.ndarray[Any, np.dtype[np.float64]], sizes: np.ndarray[Any, np.dtype[np.float64]], count: int, size: float
) -> tuple[float, float | None]:
    """Cost of `count` more articles whose sizes sum to `size`, and half the width of its 95 % interval.

    costs, sizes [n] of a random sample. The ratio estimator of survey sampling (Cochran 1977, chapter 6): costs go
    with sizes, and what they scatter around that makes the interval, widened for a small sample as Student's t is.
    None for the half width where n < 2.
    """
    n, total = len(costs), float(sizes.sum())
    ratio = float(costs.sum()) / total
    if n < 2:
        return ratio * size, None
    scatter = float(((costs - ratio * sizes) ** 2).sum()) / (n - 1)
    variance = (size / total) ** 2 * n * scatter + count * scatter
    return ratio * size, _t95(n - 1) * math.sqrt(variance)


def _t95(freedom: int) -> float:
    """Student's t at 97.5 %, by its expansion around the normal (Abramowitz and Stegun 26.7.5)."""
    z = 1.959964
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
