"""Which labels of a new rubric are worth buying first, and how many a budget buys. Nothing is asked.

In this order: the old version's test set, so that the new student is judged on the same articles; articles whose tier
moved, as far as that can be told without asking; those that the old student is least sure of; then any.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from filterkit.articles import to_article
from filterkit.errors import ConfigError
from filterkit.pipeline.choose.best import Best
from filterkit.pipeline.choose.candidates import Candidate, Rank, drawn, key_of, offer
from filterkit.pipeline.estimate import Seen
from filterkit.pipeline.moved import Before
from filterkit.pipeline.pricing import Pricing
from filterkit.prompt import sent_text
from filterkit.records import Article, sha256_text
from filterkit.spec import FilterSpec
from filterkit.store import Key, Question, Store

CHUNK = 500
MOST = 1_000_000
"""Articles of one plan: what costs nothing has no other end."""
TEST, MOVED, UNSURE, ANY = "test set", "moved", "uncertain", "others"
GROUPS = (TEST, MOVED, UNSURE, ANY)
LIKELY = 0.5
"""An article that is as likely as that to have moved counts as moved."""


@dataclass
class Group:
    """One reason to buy labels. found: texts for that reason that have no label of the new rubric yet; chosen: of them,
    within the budget; already: those that have one. usd: of the chosen; cumulative_usd: with all groups before."""

    name: str
    found: int = 0
    already: int = 0
    chosen: int = 0
    usd: float = 0.0
    cumulative_usd: float = 0.0


@dataclass
class LabelPlan:
    """What a budget buys.

    read = labelled + failed_before + duplicates + the `found` of all groups, but for test articles that are not in the
    files. rows: the chosen articles, in the order of their worth. price_how: how the price of a label is known.
    notes: what could not be told, and why.
    """

    budget_usd: float
    price_how: str
    groups: list[Group] = field(default_factory=lambda: [Group(name) for name in GROUPS])
    read: int = 0
    labelled: int = 0
    failed_before: int = 0
    duplicates: int = 0
    notes: list[str] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)

    @property
    def usd(self) -> float:
        """What the chosen labels are expected to cost."""
        return self.groups[-1].cumulative_usd

    @property
    def labels(self) -> int:
        return sum(group.chosen for group in self.groups)

    @property
    def found(self) -> int:
        return sum(group.found for group in self.groups)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, without the articles."""
        counts = (
            "budget_usd",
            "usd",
            "labels",
            "read",
            "labelled",
            "failed_before",
            "duplicates",
            "price_how",
            "notes",
        )
        return {**{name: getattr(self, name) for name in counts}, "groups": [vars(group) for group in self.groups]}


@dataclass(frozen=True)
class LabelPrice:
    """Dollars of one label: `of(text)`, the text being what is sent; `how` it is known."""

    of: Callable[[str], float]
    how: str


def label_price(pricing: Pricing, question: Question, older: Question | None, store: Store | None) -> LabelPrice:
    """What a label is expected to cost, answered at the first attempt.

    By what answers to `question` took so far, or else answers to `older`, or else an estimate. ConfigError where
    nothing tells.
    """
    usage = None if store is None else store.usage(question)
    if usage is not None:
        how = f"mean of {usage.count:,} answer{'' if usage.count == 1 else 's'} so far"
        each = pricing.usd(usage.input, usage.output)
        if each is None and usage.cost_usd is not None:
            each = usage.cost_usd * pricing.batch_share
        if each is not None:
            return LabelPrice(_always(each), how)
    before = None if store is None or older is None else store.usage(older)
    output = pricing.output_tokens() if before is None else before.output
    if pricing.usd(1, 1) is not None:
        how = "estimated" if before is None else f"output as in {before.count:,} answers to the old version"
        return LabelPrice(lambda text: pricing.usd(pricing.input_tokens(text), output) or 0.0, how)
    if before is not None and before.cost_usd is not None:
        how = f"mean of {before.count:,} answers to the old version"
        return LabelPrice(_always(before.cost_usd * pricing.batch_share), how)
    pricing.require()
    raise ConfigError(
        "what a label costs is not known before the first answers", fix="Ask for some first: --pilot measures it"
    )


def _always(usd: float) -> Callable[[str], float]:
    return lambda _: usd


def plan_labels(
    articles: Iterable[Article],
    spec: FilterSpec,
    question: Question,
    store: Store | None,
    before: Before,
    price: LabelPrice,
    budget_usd: float,
    *,
    retry_failed: bool = False,
) -> LabelPlan:
    """Choose what to label, in one pass over the articles and in memory for no more than the budget buys."""
    plan = LabelPlan(budget_usd, price.how, notes=list(before.notes))
    least = price.of("")
    size = MOST if least <= 0 else min(MOST, int(budget_usd / least) + 1)
    pool = _Pool(spec, question, store, before, plan, size, retry_failed)
    pool.take_test(before.test)
    source = iter(articles)
    with pool.seen:
        while chunk := list(itertools.islice(source, CHUNK)):
            pool.take(chunk)
    plan.groups[GROUPS.index(MOVED)].already = before.moved
    _buy(plan, spec, pool.ranked(), price)
    return plan


@dataclass(frozen=True)
class _Text:
    article: Article
    sent_hash: str


class _Pool:
    """The candidates of every group: the best of each, as many as the budget could buy at most."""

    def __init__(
        self,
        spec: FilterSpec,
        question: Question,
        store: Store | None,
        before: Before,
        plan: LabelPlan,
        size: int,
        retry_failed: bool,
    ) -> None:
        self._spec, self._question, self._store = spec, question, store
        self._before, self._plan, self._retry_failed = before, plan, retry_failed
        self._groups = dict(zip(GROUPS, plan.groups, strict=True))
        self._best = {name: Best(size) for name in GROUPS}
        self._test: set[str] = set()
        self.seen = Seen()

    def take_test(self, articles: Iterable[Article]) -> None:
        """The old version's test set, in an order as good as drawn: a part of it is a fair sample of it."""
        for one in self._texts(articles):
            if one.sent_hash in self._test:
                continue
            self._test.add(one.sent_hash)
            if self._kinds([one.sent_hash])[0] == "labelled":
                self._groups[TEST].already += 1
            else:
                self._offer(TEST, 0.0, one)

    def take(self, chunk: Sequence[Article]) -> None:
        """Some articles of the files."""
        fresh = [one for one in self._texts(chunk) if self.seen.add(one.sent_hash)]
        self._plan.read += len(chunk)
        self._plan.duplicates += len(chunk) - len(fresh)
        fresh = [one for one in fresh if one.sent_hash not in self._test]
        left: list[_Text] = []
        for one, kind in zip(fresh, self._kinds([one.sent_hash for one in fresh]), strict=True):
            if kind == "free" or (kind == "failed" and self._retry_failed):
                left.append(one)
            else:
                self._plan.failed_before += kind == "failed"
                self._plan.labelled += kind != "failed"
        if left:
            told = self._before.look([one.article for one in left])
            for one, moved, doubt in zip(left, told.moved, told.doubts, strict=True):
                if moved >= LIKELY:
                    self._offer(MOVED, float(moved), one)
                elif doubt >= 0:
                    self._offer(UNSURE, float(doubt), one)
                else:
                    self._offer(ANY, 0.0, one)

    def ranked(self) -> Iterator[tuple[Group, Candidate]]:
        """Every candidate with its group, the worthiest first."""
        for name in GROUPS:
            for candidate in self._best[name].ranked():
                yield self._groups[name], candidate

    def _offer(self, name: str, worth: float, one: _Text) -> None:
        self._groups[name].found += 1
        rank: Rank = (worth, drawn(f"plan {name}", 0, key_of(one.sent_hash)))
        if self._best[name].wants(rank):
            self._best[name].offer(rank, offer(one.article, one.sent_hash, one.article.to_dict()).candidate)

    def _texts(self, articles: Iterable[Article]) -> list[_Text]:
        return [_Text(article, sha256_text(sent_text(self._spec, article))) for article in articles]

    def _kinds(self, hashes: Sequence[str]) -> list[str]:
        if self._store is None:
            return ["free"] * len(hashes)
        return [state.kind for state in self._store.states(self._question, [Key(one) for one in hashes])]


def _buy(plan: LabelPlan, spec: FilterSpec, ranked: Iterable[tuple[Group, Candidate]], price: LabelPrice) -> None:
    """Take what fits, in this order; one that is too long to fit does not stand in the way of the others."""
    spent = 0.0
    for group, candidate in ranked:
        if plan.labels >= MOST:
            break
        line = candidate.line()
        usd = price.of(sent_text(spec, to_article(json.loads(line))))
        if spent + usd > plan.budget_usd * (1 + 1e-12):
            continue
        spent += usd
        group.chosen, group.usd = group.chosen + 1, group.usd + usd
        plan.rows.append(line)
    for group, total in zip(plan.groups, itertools.accumulate(group.usd for group in plan.groups), strict=True):
        group.cumulative_usd = total
