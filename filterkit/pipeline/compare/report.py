"""The whole comparison, and what it means for a student, in sentences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from filterkit.pipeline.compare.agreement import SHARE, Agreement, between, with_itself
from filterkit.pipeline.compare.judges import Judge
from filterkit.records import Article


class Moved(NamedTuple):
    """An article that two judges put into different tiers: `before` is the first one's, `after` the second one's."""

    id: str
    title: str
    before: str
    after: str


@dataclass(frozen=True)
class CompareReport:
    """Judges on n sampled articles: every pair of them, each with itself, and what follows (`meaning`)."""

    n: int
    seed: int
    judges: list[Judge]
    pairs: list[Agreement]
    selves: dict[str, Agreement]
    meaning: list[str]
    articles: Sequence[Article] = ()

    def moved(self, pair: Agreement) -> list[Moved]:
        """The articles that a pair's judges put into different tiers, in the order of the sample."""
        tiers = pair.tiers
        if tiers is None:
            return []
        found = ((self.articles[row], tiers.names[i], tiers.names[j]) for row, i, j in tiers.moved)
        return [Moved(article.id, article.title, before, after) for article, before, after in found]

    @property
    def failed(self) -> int:
        """Questions that got no label finally."""
        return sum(judge.failed for judge in self.judges)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "articles": self.n,
            "seed": self.seed,
            "judges": [self._judge(judge) for judge in self.judges],
            "pairs": [self._pair(pair) for pair in self.pairs],
            "meaning": self.meaning,
        }

    def _pair(self, pair: Agreement) -> dict[str, Any]:
        out = pair.to_dict()
        if out["tiers"] is not None:
            out["tiers"]["moved"] = [one._asdict() for one in self.moved(pair)]
        return out

    def _judge(self, judge: Judge) -> dict[str, Any]:
        own = self.selves.get(judge.name)
        return {
            "name": judge.name,
            "filter": f"{judge.filter.name} {judge.spec.version}",
            "oracle": judge.oracle or None,
            "model": judge.model or None,
            "labelled": judge.labelled,
            "failed": judge.failed,
            "reasons": judge.reasons,
            "usd_per_1000": judge.usd_per_1000,
            "price_how": judge.price_how,
            "spent_usd": judge.spent_usd,
            "requests": judge.requests,
            "self": None if own is None else own.to_dict(),
        }


def compare(judges: Sequence[Judge], articles: Sequence[Article], seed: int) -> CompareReport:
    """Hold all judges against each other and against themselves."""
    pairs = [between(a, b) for a, b in itertools.combinations(judges, 2)]
    found = {judge.name: with_itself(judge) for judge in judges}
    selves = {name: own for name, own in found.items() if own is not None}
    return CompareReport(len(articles), seed, list(judges), pairs, selves, _meaning(pairs, selves), articles)


def _meaning(pairs: Sequence[Agreement], selves: dict[str, Agreement]) -> list[str]:
    said = [_floor(own) for own in selves.values()]
    said += [_distance(pair, selves) for pair in pairs]
    if not selves and pairs:
        said.append("How far an oracle is from itself is not known here: --repeat 2 asks everything twice.")
    return said


def _floor(own: Agreement) -> str:
    """What an oracle's disagreement with itself means."""
    if own.mae is None:
        return f"{own.first}: {own.few or 'nothing was repeated'}."
    if own.mae == 0:
        return f"{own.first} repeats its answers exactly ({own.n} articles): it sets no floor to a student's error."
    words = (
        f"Two answers of {own.first} about one article differ by {_size(own)}. A student is held against one such "
        f"answer, so none can be shown to be closer than that; even the oracle's own mean answer would be about "
        f"{own.mae / math.sqrt(2):.2f} away."
    )
    return f"{words} But {own.few}." if own.few else words


def _distance(pair: Agreement, selves: dict[str, Agreement]) -> str:
    """What the distance of two judges means."""
    if pair.mae is None:
        return f"{pair.first} and {pair.second}: {pair.few or 'they have no dimension in common'}."
    words = (
        f"{pair.first} and {pair.second} differ by {_size(pair)}: a student within that of {pair.first}'s labels is as "
        f"close to {pair.first} as {pair.second} is, which is as good as changing the oracle."
    )
    floors = [own.mae for name in (pair.first, pair.second or "") if (own := selves.get(name)) and own.mae is not None]
    if floors and pair.interval is not None and pair.interval.low <= max(floors) and pair.unit != SHARE:
        words += " They cannot be told from one oracle that was asked twice."
    return f"{words} But {pair.few}." if pair.few else words


def _size(agreement: Agreement) -> str:
    """A mean absolute error with its interval."""
    unit = f" ({SHARE})" if agreement.unit == SHARE else ""
    interval = agreement.interval
    between = "" if interval is None else f" ({interval.low:.2f} to {interval.high:.2f})"
    return f"{agreement.mae:.2f}{between}{unit}"
