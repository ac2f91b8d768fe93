"""Two oracles about the same articles, and a referee for those where they are far apart.

Of each dimension the label is the mean of the two where they agree within the tolerance, and the median of all three
where they do not. (The overall needs no tolerance of its own: as a weighted mean of scores it differs by no more than
the dimension that differs most.)
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from filterkit.pipeline.judgement.samples import DIGITS, Opinion, Rows, nearest, opinion_of, spread_of
from filterkit.records import Article, Label
from filterkit.spec import FilterSpec

CONSENSUS = "consensus"
"""The oracle that a label of several judges names."""
TOLERANCE = 2.0
"""Scale units that two judges may differ by."""
_ROUNDING = 1e-9

Scores = Mapping[str, float]


class Judge(NamedTuple):
    """An oracle and the model that it was asked for."""

    oracle: str
    model: str

    def __str__(self) -> str:
        return f"{self.oracle} {self.model}".strip()


@dataclass(frozen=True)
class Rule:
    """Who judges, and how far the first two may differ per dimension, in scale units. `referee` None: nobody."""

    first: Judge
    second: Judge
    referee: Judge | None = None
    tolerance: float = TOLERANCE

    @property
    def judges(self) -> tuple[Judge, ...]:
        """All of them, the referee last."""
        return (self.first, self.second, *((self.referee,) if self.referee else ()))


@dataclass
class Agreed:
    """Rows with one label each, and what became of the others.

    refereed: rows whose label the referee had a part in. left_out: why -> articles (of `others`: rows).
    """

    rows: Rows
    refereed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def differences(spec: FilterSpec, one: Scores, other: Scores) -> dict[str, float]:
    """How far two judges are from each other on each dimension that both know, in scale units."""
    both = [name for name in spec.names if name in one and name in other]
    return {name: round(abs(one[name] - other[name]), DIGITS) for name in both}


def disputed(spec: FilterSpec, one: Scores, other: Scores, tolerance: float) -> bool:
    """Whether two judges differ by more than `tolerance` on any dimension, flags included."""
    return any(apart > tolerance + _ROUNDING for apart in differences(spec, one, other).values())


def agree(spec: FilterSpec, rows: Rows, rule: Rule) -> Agreed:
    """The common label of each article that both judges have labelled; `rows` hold one of each judge (`merge_samples`).

    An article gains the fields `judges`, `disagreement` (of the first two, per dimension) and `refereed`; `samples`
    counts all answers, `spread` is the judges' standard deviation. Left out are articles that only one judge has
    labelled (`one_judge`), those that are disputed without a referee's answer (`undecided`), and rows of anybody else
    (`others`).
    """
    by_article: dict[tuple[str, str], dict[Judge, tuple[Article, Label]]] = {}
    out = Agreed([])
    for article, label in rows:
        opinion = opinion_of(spec, article, label)
        who = Judge(opinion.oracle, opinion.model)
        if who in rule.judges:
            by_article.setdefault(_text_of(opinion), {})[who] = (article, label)
        else:
            out.left_out["others"] += 1
    for key in sorted(by_article):
        _judge(spec, by_article[key], rule, out)
    return out


def _text_of(opinion: Opinion) -> tuple[str, str]:
    return opinion.article_id, opinion.sent_hash


def _judge(spec: FilterSpec, given: Mapping[Judge, tuple[Article, Label]], rule: Rule, out: Agreed) -> None:
    """Add what the judges of one article come to."""
    if rule.first not in given or rule.second not in given:
        out.left_out["one_judge"] += 1
        return
    one, other = given[rule.first][1], given[rule.second][1]
    apart = differences(spec, one.scores, other.scores)
    wide = [name for name, difference in apart.items() if difference > rule.tolerance + _ROUNDING]
    third = given[rule.referee][1] if wide and rule.referee is not None and rule.referee in given else None
    if wide and (third is None or any(name not in third.scores for name in wide)):
        out.left_out["undecided"] += 1
        return
    out.refereed += third is not None
    out.rows.append(_common(spec, given, rule, apart, refereed=third is not None))


def _common(
    spec: FilterSpec,
    given: Mapping[Judge, tuple[Article, Label]],
    rule: Rule,
    apart: Mapping[str, float],
    *,
    refereed: bool,
) -> tuple[Article, Label]:
    judges = rule.judges if refereed else rule.judges[:2]
    labels = [given[judge][1] for judge in judges]
    scores = {}
    for name in spec.names:
        two = [label.scores[name] for label in labels[:2] if name in label.scores]
        if apart.get(name, 0.0) > rule.tolerance + _ROUNDING:
            scores[name] = statistics.median([*two, labels[2].scores[name]])
        elif two:
            scores[name] = round(statistics.fmean(two), DIGITS)
    article = given[rule.first][0]
    extra = {
        **article.extra,
        "samples": sum(int(given[judge][0].extra.get("samples", 1)) for judge in judges),
        "spread": spread_of(spec, [label.scores for label in labels]),
        "judges": [str(judge) for judge in judges],
        "disagreement": dict(apart),
        "refereed": refereed,
    }
    evidence = nearest(labels, scores).evidence
    return replace(article, extra=extra), Label(scores, evidence, CONSENSUS, None)
