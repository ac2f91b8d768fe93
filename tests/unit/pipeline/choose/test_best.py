"""`Best` against the plain way: sort all, take from the top, skip what is too many."""

from __future__ import annotations

import random

import pytest

from filterkit.pipeline.choose.best import Best
from filterkit.pipeline.choose.candidates import Candidate, Rank

SEEDS = range(20)


def drawn(n: int, hosts: int, random: random.Random) -> list[tuple[Rank, Candidate]]:
    """Candidates with hosts of very different sizes, some without one; a tenth of the texts comes twice."""
    found = []
    for key in range(n):
        host = f"h{int(hosts * random.random() ** 3)}" if random.random() < 0.9 else ""
        pair = ((round(random.random(), 2), random.getrandbits(64)), Candidate(key, ("", ""), host))
        found += [pair] * (2 if random.random() < 0.1 else 1)
    random.shuffle(found)
    return found


def by_sorting(found: list[tuple[Rank, Candidate]], size: int, cap: int | None) -> list[int]:
    taken: dict[str, int] = {}
    kept: list[int] = []
    for _, candidate in sorted(found, key=lambda pair: pair[0], reverse=True):
        full = cap is not None and candidate.host and taken.get(candidate.host, 0) == cap
        if candidate.key not in kept and not full and len(kept) < size:
            kept.append(candidate.key)
            taken[candidate.host] = taken.get(candidate.host, 0) + 1
    return kept


@pytest.mark.parametrize("cap", [None, 1, 3])
@pytest.mark.parametrize("size", [1, 17, 1000])
def test_the_best_of_a_stream_are_those_that_sorting_all_of_it_finds(size: int, cap: int | None) -> None:
    for seed in SEEDS:
        found = drawn(300, 12, random.Random(seed))
        best = Best(size, cap)
        out = [best.offer(rank, candidate) for rank, candidate in found]
        assert [candidate.key for candidate in best.ranked()] == by_sorting(found, size, cap)
        assert len(best) == len(found) - sum(one is not None for one in out)


@pytest.mark.parametrize(("hosts", "lasting"), [(3, True), (12, False)])
def test_it_holds_no_more_than_it_keeps_however_long_the_stream_is(hosts: int, lasting: bool) -> None:
    best, draw = Best(50, 30), random.Random(0)
    for key in range(20_000):  # ever better ones, of hosts that stay, or come and go: few are at their cap
        host = f"h{draw.randrange(hosts)}" if lasting else f"h{key // 1000}-{draw.randrange(hosts)}"
        best.offer((key + draw.random(), key), Candidate(key, ("", ""), host))
    held = [best._all, best._kept, best._count, *best._of_host.values()]
    assert sum(map(len, held)) < 6 * 50 + 3 * 1050
    assert len(best._of_host) <= 50


def test_what_cannot_be_kept_is_not_wanted() -> None:
    best = Best(2)
    assert best.wants((0.0, 0))
    for key in (5, 6):
        best.offer((0.0, key), Candidate(key, ("", ""), ""))
    assert not best.wants((0.0, 4))
    assert best.wants((0.0, 7))
