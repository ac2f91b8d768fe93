"""A strategy, or a mix of several: `diverse`, `random:0.5,uncertain:0.5`."""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import NamedTuple

from filterkit.errors import ConfigError

STRATEGIES = {
    "random": "drawn evenly from all",
    "stratified": "as many of each source and language as all articles have",
    "diverse": "what together tells most about all the others, by embedding",
    "near": "nearest to the articles in --near FILE, by embedding",
    "uncertain": "where the student in --student DIR is least sure",
}
"""Name -> what it chooses."""


class Part(NamedTuple):
    """One strategy's share of the choice; shares sum to 1."""

    strategy: str
    share: float


def parse_mix(text: str) -> tuple[Part, ...]:
    """`random:0.5,uncertain:0.5` as parts. ConfigError says what is wrong with it. A single name needs no share."""
    parts = [_part(word.strip()) for word in text.split(",")]
    names = [part.strategy for part in parts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(f"{twice} is named twice", where="--select")
    total = sum(part.share for part in parts)
    if len(parts) > 1 and not math.isclose(total, 1, abs_tol=0.01):
        raise ConfigError(
            f"the shares sum to {total:g}, not to 1", where="--select", fix="For example random:0.5,uncertain:0.5"
        )
    return tuple(Part(part.strategy, part.share / total) for part in parts)


def _part(word: str) -> Part:
    name, colon, given = word.partition(":")
    if name not in STRATEGIES:
        near = get_close_matches(name, list(STRATEGIES), 1)
        guess = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"there is no strategy {name[:40]!r}", where="--select", fix=f"{guess}Known: {', '.join(STRATEGIES)}"
        )
    try:
        share = float(given) if colon else 1.0
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise ConfigError(f"{name}: a share is a number above 0 and at most 1, not {given[:20]!r}", where="--select")
    return Part(name, share)


def shared_out(parts: tuple[Part, ...], count: int) -> list[int]:
    """How many of `count` each part gets: its share, rounded so that they sum up (largest remainders)."""
    exact = [part.share * count for part in parts]
    whole = [math.floor(number) for number in exact]
    order = sorted(range(len(parts)), key=lambda i: (whole[i] - exact[i], i))
    for i in order[: count - sum(whole)]:
        whole[i] += 1
    return whole
