"""Whose labels are compared: an oracle's of the store, or those of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from filterkit.errors import InputError
from filterkit.filters import Filter
from filterkit.io import Rejects, read_labelled
from filterkit.metrics.bootstrap import F64
from filterkit.pipeline.compare.draw import sent_hash
from filterkit.pipeline.pricing import Pricing
from filterkit.prompt import sent_text
from filterkit.records import Article, Label
from filterkit.spec import FilterSpec
from filterkit.store import Key, Question, Store
from filterkit.store.history import Told, history

FEW_SAMPLES = 2
"""Answers to one question that are always looked for in the store; more where more were asked for."""


@dataclass(frozen=True)
class Judge:
    """Labels of n articles by one judge: `answers[k]` [n, d] holds its k-th answers, in scale units, NaN where none.

    The first answers are held against other judges, the others against the first. usd_per_1000: what a thousand
    articles cost, None where that is unknown or nothing; `price_how` says how it is known. failed: articles that got
    no label, for `reasons`, each with a count.
    """

    name: str
    filter: Filter
    answers: list[F64]
    oracle: str = ""
    model: str = ""
    usd_per_1000: float | None = None
    price_how: str = ""
    spent_usd: float | None = None
    requests: int = 0
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def spec(self) -> FilterSpec:
        return self.filter.spec

    @property
    def labelled(self) -> int:
        """Articles with a first answer."""
        return int(np.isfinite(self.answers[0]).any(axis=1).sum())


@dataclass(frozen=True)
class Candidate:
    """An oracle whose labels of a filter lie in the store, or will."""

    name: str
    filter: Filter
    question: Question
    pricing: Pricing | None = None

    def keys(self, articles: Sequence[Article], sample: int = 0) -> list[Key]:
        """The questions about these articles."""
        return [Key(sent_hash(self.filter.spec, article), sample) for article in articles]


def from_store(candidate: Candidate, articles: Sequence[Article], store: Store, samples: int) -> Judge:
    """What the store holds of a candidate's answers about the articles, up to `samples` each."""
    spec, question = candidate.filter.spec, candidate.question
    told = [history(store, question, candidate.keys(articles, k)) for k in range(max(samples, FEW_SAMPLES))]
    answers = [_matrix(spec, [t.scores for t in sample]) for sample in told]
    while len(answers) > 1 and not np.isfinite(answers[-1]).any():
        answers.pop()
    states = store.states(question, candidate.keys(articles))
    reasons: dict[str, int] = {}
    for state in states:
        if state.kind == "failed":
            reasons[state.reason] = reasons.get(state.reason, 0) + 1
    asked = [t for sample in told for t in sample if t.attempts]
    usd, how = price_per_1000(candidate, articles, store)
    return Judge(
        candidate.name,
        candidate.filter,
        answers,
        question.oracle,
        question.model,
        usd_per_1000=usd,
        price_how=how,
        spent_usd=spent(asked),
        requests=sum(t.attempts for t in asked),
        failed=sum(reasons.values()),
        reasons=reasons,
    )


def spent(told: Sequence[Told]) -> float | None:
    """Dollars of these answers; None when one's cost is unknown."""
    costs = [t.cost_usd for t in told if t.attempts]
    return None if any(cost is None for cost in costs) else sum(cost for cost in costs if cost is not None)


def price_per_1000(candidate: Candidate, articles: Sequence[Article], store: Store | None) -> tuple[float | None, str]:
    """Dollars for a thousand answers, and how that is known: by the ledger, by its tokens, or by an estimate."""
    used = None if store is None else store.usage(candidate.question)
    pricing = candidate.pricing
    if used is not None:
        answers = f"mean of {used.count:,} answer{'' if used.count == 1 else 's'}"
        if used.cost_usd is not None:
            return used.cost_usd * 1000, answers
        usd = None if pricing is None else pricing.usd(used.input, used.output)
        if usd is not None:
            return usd * 1000, f"tokens, {answers}, at today's price"
    if pricing is None or not articles:
        return None, "no price is known"
    tokens = [pricing.input_tokens(sent_text(candidate.filter.spec, article)) for article in articles]
    usd = pricing.usd(sum(tokens) / len(tokens), pricing.output_tokens())
    return (None, pricing.why_unknown or "no price is known") if usd is None else (usd * 1000, "estimated")


@dataclass(frozen=True)
class LabelFile:
    """One judge's labels out of a file: rows by text and by id, for each number of an answer."""

    name: str
    filter: Filter
    articles: list[Article]
    by_text: dict[tuple[str, int], Label]
    by_id: dict[tuple[str, int], Label]

    def label(self, article: Article, sample: int = 0) -> Label | None:
        """The label of an article, found by its text or else by its id."""
        found = self.by_text.get((sent_hash(self.filter.spec, article), sample))
        return found or self.by_id.get((article.id, sample))

    def judge(self, articles: Sequence[Article]) -> Judge:
        """Its labels of these articles."""
        samples = 1 + max((sample for _, sample in self.by_text), default=0)
        spec = self.filter.spec
        rows = [[self.label(article, k) for article in articles] for k in range(samples)]
        answers = [_matrix(spec, [None if one is None else one.scores for one in sample]) for sample in rows]
        return Judge(self.name, self.filter, answers, price_how="labels of a file")


def read_files(filter: Filter, file: str, rejects: Rejects) -> list[LabelFile]:
    """The judges of a labelled file (or glob): one for each oracle and model in it; else it is named like the file.

    The number of a repeated answer stands in the field `sample`. Of a text that comes twice the first row counts.
    InputError when no row can be used.
    """
    before, first = rejects.count, rejects.first
    found: dict[str, LabelFile] = {}
    for article, label in read_labelled([file], filter.spec, rejects):
        who = ":".join(part for part in (label.oracle, label.model) if part) or Path(file).name.split(".")[0]
        given = article.extra.get("sample")
        sample = given if isinstance(given, int) and 0 < given < 100 else 0
        one = found.setdefault(who, LabelFile(who, filter, [], {}, {}))
        key = (sent_hash(filter.spec, article), sample)
        if key not in one.by_text:
            one.by_text[key] = label
            one.by_id.setdefault((article.id, sample), label)
            if sample == 0:
                one.articles.append(article)
    if not found:
        why = rejects.first if rejects.count > before and first is None else "it holds no labelled article"
        raise InputError(f"no line of it can be used: {why}", where=file)
    return list(found.values())


def _matrix(spec: FilterSpec, rows: Sequence[Mapping[str, float] | None]) -> F64:
    """Scores [n, d] in the order of the spec; None is a row without any."""
    scores = np.full((len(rows), len(spec.names)), np.nan)
    for number, row in enumerate(rows):
        if row is not None:
            scores[number] = [row.get(name, np.nan) for name in spec.names]
    return scores
