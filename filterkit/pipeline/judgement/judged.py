"""Labels as `prepare` takes them: one for each article, made of the answers about it, and the record of how."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from filterkit.manifest import Judgement
from filterkit.pipeline.judgement.consensus import Rule, agree
from filterkit.pipeline.judgement.samples import Rows, merge_samples, sample_of
from filterkit.pipeline.judgement.weights import pooled_spread, row_weights, with_weights
from filterkit.records import Article
from filterkit.spec import FilterSpec


@dataclass(frozen=True)
class Manner:
    """How several answers about an article become one label.

    samples: the "median" of an oracle's answers, or the "first" of them. consensus: of which judges, if of several.
    weighted: whether the spread of the answers becomes the row's weight in training.
    """

    samples: Literal["median", "first"] = "median"
    consensus: Rule | None = None
    weighted: bool = True


@dataclass
class Judged:
    """Rows of one answer each, as they were given (`merged` False), or made of all answers about an article.

    same, contradictions: as `Merged` has them; left_out: as `Agreed` has it.
    """

    rows: Rows
    merged: bool = False
    same: int = 0
    contradictions: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def judge(spec: FilterSpec, rows: Rows, manner: Manner) -> Judged:
    """Make one label of each article's answers. Where every one has a single answer, rows stay as they are."""
    rule, first = manner.consensus, manner.samples == "first"
    if rule is None and (first or not any(sample_of(article) for article, _ in rows)):
        return Judged(rows)
    merged = merge_samples(spec, rows, first=first)
    if rule is None:
        return Judged(merged.rows, True, merged.same, merged.contradictions) if merged.repeated else Judged(rows)
    agreed = agree(spec, merged.rows, rule)
    return Judged(agreed.rows, True, merged.same, merged.contradictions, agreed.left_out)


def weigh(spec: FilterSpec, judged: Judged, rows: Rows, manner: Manner, repeated: int) -> tuple[Rows, Judgement | None]:
    """The rows that are left of `judged` with their weights, and what their labels are.

    repeated: later answers that were left out. None: every label is the one answer that there is.
    """
    if not judged.merged:
        told = Judgement(rule="first", answers={"1": len(rows)}, left_out={"samples": repeated}) if repeated else None
        return rows, told
    rule = manner.consensus
    pooled = pooled_spread(spec, rows, "samples" if rule is None else "judges")
    weights = row_weights(spec, rows, pooled, "samples" if rule is None else "judges")
    told = Judgement(
        rule="median" if rule is None else "consensus",
        answers={str(n): count for n, count in sorted(Counter(_samples(article) for article, _ in rows).items())},
        spread=pooled,
        weighted=manner.weighted,
        left_out=dict(sorted(judged.left_out.items())),
    )
    if rule is not None:
        told = told.model_copy(
            update={
                "judges": tuple(str(judge) for judge in rule.judges),
                "referee": None if rule.referee is None else str(rule.referee),
                "tolerance": rule.tolerance,
                "refereed": sum(article.extra["refereed"] is True for article, _ in rows),
            }
        )
    return (with_weights(rows, weights) if manner.weighted else rows), told


def _samples(article: Article) -> int:
    return int(article.extra["samples"])
