"""Repeated answers of one oracle about one article, made into one label: the median of each dimension.

The median of few answers is not moved by one that went astray (Huber 1964); of an even number it is the middle of the
two in the middle, which may lie between the steps of the scale.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from filterkit.prompt import sent_text
from filterkit.records import Article, Label, canonical_json, sha256_text
from filterkit.spec import FilterSpec

Rows = list[tuple[Article, Label]]
DIGITS = 6
"""Decimals of what is computed from scores: enough for any scale, and equal on every machine."""


class Opinion(NamedTuple):
    """Who labelled one version of an article: its id, SHA-256 of what was sent, oracle and model ("" unknown)."""

    article_id: str
    sent_hash: str
    oracle: str
    model: str


@dataclass
class Merged:
    """Rows with one label each. `answers`: number of answers -> rows made of so many.

    same: rows left out as another one of the same sample; contradictions: ids where such a one had other scores.
    """

    rows: Rows
    answers: Counter[int] = field(default_factory=Counter)
    same: int = 0
    contradictions: list[str] = field(default_factory=list)

    @property
    def repeated(self) -> bool:
        """Whether any label was made of more than one answer."""
        return any(count > 1 for count in self.answers)


def sample_of(article: Article) -> int:
    """The number of the sample, 0 for the first or only one: the field `sample`, as exported labels have it."""
    number = article.extra.get("sample")
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else 0


def opinion_of(spec: FilterSpec, article: Article, label: Label) -> Opinion:
    """Whose opinion about what a row is."""
    return Opinion(article.id, sha256_text(sent_text(spec, article)), label.oracle or "", label.model or "")


def merge_samples(spec: FilterSpec, rows: Iterable[tuple[Article, Label]], *, first: bool = False) -> Merged:
    """One row for each article and oracle, whatever the order of `rows`; with `first`, made of the first answer alone.

    Of a repeated one the scores are medians, and the evidence is that of the answer nearest to them. Its article
    gains the fields `samples` (how many answers) and `spread` (their standard deviation per dimension, in scale
    units; null for fewer than two).
    """
    answers: dict[Opinion, dict[int, Rows]] = {}
    for article, label in rows:
        samples = answers.setdefault(opinion_of(spec, article, label), {})
        samples.setdefault(sample_of(article), []).append((article, label))
    out = Merged([])
    for opinion in sorted(answers):
        samples = answers[opinion]
        chosen = [_one_of(samples[number], out) for number in sorted(samples)[: 1 if first else None]]
        out.answers[len(chosen)] += 1
        out.rows.append(_merged(spec, chosen))
    return out


def _one_of(rows: Rows, out: Merged) -> tuple[Article, Label]:
    """Of rows that should be the same, one that follows from the rows and not from their order."""
    if len(rows) > 1:
        rows = sorted(rows, key=lambda row: canonical_json([dict(row[1].scores), row[0].to_dict()]))
        out.same += len(rows) - 1
        others = sum(dict(label.scores) != dict(rows[0][1].scores) for _, label in rows)
        out.contradictions += [rows[0][0].id] * others
    return rows[0]


def _merged(spec: FilterSpec, rows: Sequence[tuple[Article, Label]]) -> tuple[Article, Label]:
    article, first = rows[0]
    labels = [label for _, label in rows]
    spread = None if len(labels) < 2 else spread_of(spec, [label.scores for label in labels])
    extra = {**article.extra, "samples": len(labels), "spread": spread}
    extra.pop("sample", None)
    if len(labels) > 1:
        scores = medians(spec, [label.scores for label in labels])
        first = replace(first, scores=scores, evidence=nearest(labels, scores).evidence)
    return replace(article, extra=extra), first


def medians(spec: FilterSpec, answers: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of the known scores of each dimension; one that no answer knows is absent."""
    known = {name: [a[name] for a in answers if name in a] for name in spec.names}
    return {name: round(statistics.median(scores), DIGITS) for name, scores in known.items() if scores}


def spread_of(spec: FilterSpec, answers: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    """The sample standard deviation (n - 1) of each dimension's known scores, in scale units; None for fewer than two.

    Its square is what is pooled and what becomes a weight: unlike a deviation from the median, it says the same of two
    answers as of five.
    """
    known = {name: [a[name] for a in answers if name in a] for name in spec.names}
    return {name: round(_deviation(scores), DIGITS) if len(scores) > 1 else None for name, scores in known.items()}


def _deviation(scores: Sequence[float]) -> float:
    mean = math.fsum(scores) / len(scores)
    return math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (len(scores) - 1))


def nearest(labels: Sequence[Label], scores: Mapping[str, float]) -> Label:
    """The label whose scores are nearest to `scores`, by the sum of absolute differences; the first of several."""

    def distance(label: Label) -> float:
        return math.fsum(abs(label.scores[name] - score) for name, score in scores.items() if name in label.scores)

    return min((label for label in labels if label.evidence), key=distance, default=labels[0])
