"""The pass over the articles: what is labelled already counts as had, all others may be chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from filterkit.pipeline.choose.candidates import Candidate, Offer, Stratum
from filterkit.pipeline.choose.mix import Part, shared_out
from filterkit.pipeline.choose.strategies import Cap, Strategy

CHUNK = 500
MOST_STRATA = 10_000
"""Strata that are counted one by one; articles of later ones are counted together."""
OTHERS: Stratum = ("(others)", "(others)")

Stands = Callable[[Sequence[str]], Sequence[str]]
"""Where the questions about texts (hex SHA-256 each) stand: free, labelled, failed …"""


@dataclass
class Choice:
    """What was chosen, best first, of what.

    read = labelled + failed + free articles, exact copies included; strategies: how many each chose; sampled: from how
    many `stratified` and `diverse` chose; of_strata: free articles of each source and language.
    """

    chosen: list[Candidate] = field(default_factory=list)
    strategies: dict[str, int] = field(default_factory=dict)
    read: int = 0
    labelled: int = 0
    failed: int = 0
    free: int = 0
    of_strata: Counter[Stratum] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """As plain data: counts, in all, by strategy and by stratum (those that something was chosen of)."""
        taken = Counter(candidate.stratum for candidate in self.chosen)
        strata = [
            {"source": source, "language": language, "chosen": count, "of": self.of_strata.get((source, language))}
            for (source, language), count in sorted(taken.items(), key=lambda item: (-item[1], item[0]))
        ]
        return {
            "read": self.read,
            "labelled": self.labelled,
            "failed_before": self.failed,
            "free": self.free,
            "chosen": len(self.chosen),
            "strategies": self.strategies,
            "hosts": len({candidate.host for candidate in self.chosen if candidate.host}),
            "strata": strata,
            "strata_in_all": len(self.of_strata),
        }


def choose(
    offers: Iterable[Offer],
    parts: tuple[Part, ...],
    strategies: Mapping[str, Strategy],
    limit: int,
    *,
    cap: int | None = None,
    stands: Stands | None = None,
    retry_failed: bool = False,
) -> Choice:
    """Choose at most `limit` of the articles, in one pass. `strategies` holds one for each part, made for `limit`.

    stands: where questions stand; without it all articles may be chosen. What failed finally is chosen only if it is
    to be asked again. Each text is chosen once.
    """
    choice = Choice()
    source = iter(offers)
    while chunk := list(islice(source, CHUNK)):
        free, had = _sorted_out(chunk, choice, stands, retry_failed)
        for strategy in strategies.values():
            if had:
                strategy.had(had)
            if free:
                strategy.offer(free)
        for one in free:
            known = one.candidate.stratum in choice.of_strata or len(choice.of_strata) < MOST_STRATA
            choice.of_strata[one.candidate.stratum if known else OTHERS] += 1
    counts = shared_out(parts, limit)
    choice.strategies = {part.strategy: 0 for part in parts}
    rankings = {part.strategy: strategies[part.strategy].ranked() for part in parts}
    for name, candidate in _merged(rankings, dict(zip(rankings, counts, strict=True)), limit, Cap(cap)):
        choice.chosen.append(candidate)
        choice.strategies[name] += 1
    return choice


def _sorted_out(
    chunk: Sequence[Offer], choice: Choice, stands: Stands | None, retry_failed: bool
) -> tuple[list[Offer], list[Offer]]:
    """What may be chosen, and what is labelled; all of it is counted."""
    kinds = ["free"] * len(chunk) if stands is None else stands([one.sent_hash for one in chunk])
    free: list[Offer] = []
    had: list[Offer] = []
    for one, kind in zip(chunk, kinds, strict=True):
        if kind == "free" or (kind == "failed" and retry_failed):
            free.append(one)
        elif kind == "failed":
            choice.failed += 1
        else:
            had.append(one)
    choice.read += len(chunk)
    choice.free += len(free)
    choice.labelled += len(had)
    return free, had


def _merged(
    rankings: Mapping[str, Sequence[Candidate]], counts: Mapping[str, int], limit: int, cap: Cap
) -> Iterable[tuple[str, Candidate]]:
    """The rankings as one, each having its share of any beginning; where one has no more, the others fill in."""
    left = {name: iter(ranking) for name, ranking in rankings.items()}
    taken = dict.fromkeys(rankings, 0)
    keys: set[int] = set()
    while left and len(keys) < limit:
        hungry = [name for name in left if taken[name] < counts[name]] or list(left)
        name = min(hungry, key=lambda one: (taken[one] + 1) / max(counts[one], 0.5))
        found = next((one for one in left[name] if one.key not in keys and cap.allows(one)), None)
        if found is None:
            del left[name]
            continue
        keys.add(found.key)
        taken[name] += 1
        yield name, found
