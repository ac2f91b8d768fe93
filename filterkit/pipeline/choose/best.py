"""The best of a stream under two limits: so many at all, and so many of one host."""

from __future__ import annotations

import heapq
import itertools

from filterkit.pipeline.choose.candidates import Candidate, Rank


class Best:
    """Keeps the `size` candidates of highest rank, at most `cap` of one host; in memory for no more than those.

    What is allowed to stay together is a matroid, so that to drop the lowest of what a newcomer makes too many leaves
    the best set there is of all that has come (Oxley, Matroid Theory, 1.8), whatever the order it came in. A candidate
    without a host has no cap. A text that is kept already is not kept twice.
    """

    def __init__(self, size: int, cap: int | None = None) -> None:
        self._size, self._cap = size, cap
        self._kept: dict[int, tuple[Rank, Candidate]] = {}
        self._all: list[tuple[Rank, int, int]] = []  # rank, number, key; may name what is gone
        self._of_host: dict[str, list[tuple[Rank, int, int]]] = {}
        self._count: dict[str, int] = {}
        self._numbers = itertools.count()
        self._came = 0  # since what is gone was last forgotten

    def __len__(self) -> int:
        return len(self._kept)

    def wants(self, rank: Rank) -> bool:
        """Whether a candidate of this rank could be kept at all: for who would have to work to make one."""
        return len(self._kept) < self._size or rank > self._lowest(self._all)[0]

    def offer(self, rank: Rank, candidate: Candidate) -> Candidate | None:
        """Take it if it is among the best; returns what is not, be it another or itself, and None where all stay."""
        if candidate.key in self._kept:
            return candidate
        host = candidate.host if self._cap is not None else ""
        if host and self._count.get(host, 0) == self._cap:
            among = self._of_host[host]
        elif len(self._kept) == self._size:
            among = self._all
        else:
            self._keep(rank, candidate, host)
            return None
        lowest = self._lowest(among)
        if rank <= lowest[0]:
            return candidate
        out = self._drop(lowest[2])
        self._keep(rank, candidate, host)
        return out

    def ranked(self) -> list[Candidate]:
        """What is kept, best first."""
        return [candidate for _, candidate in sorted(self._kept.values(), key=lambda kept: kept[0], reverse=True)]

    def _keep(self, rank: Rank, candidate: Candidate, host: str) -> None:
        candidate.pack()
        entry = (rank, next(self._numbers), candidate.key)
        self._kept[candidate.key] = (rank, candidate)
        heapq.heappush(self._all, entry)
        if host:
            heapq.heappush(self._of_host.setdefault(host, []), entry)
            self._count[host] = self._count.get(host, 0) + 1
        self._came += 1
        if self._came > self._size + 1000:
            self._forget_what_is_gone()

    def _drop(self, key: int) -> Candidate:
        _, candidate = self._kept.pop(key)
        if candidate.host in self._count:
            self._count[candidate.host] -= 1
            if not self._count[candidate.host]:
                del self._count[candidate.host], self._of_host[candidate.host]
        return candidate

    def _lowest(self, among: list[tuple[Rank, int, int]]) -> tuple[Rank, int, int]:
        while self._is_gone(among[0]):
            heapq.heappop(among)
        return among[0]

    def _is_gone(self, entry: tuple[Rank, int, int]) -> bool:
        kept = self._kept.get(entry[2])
        return kept is None or kept[0] != entry[0]

    def _forget_what_is_gone(self) -> None:
        """What was dropped for the other limit's sake lies within a heap, where such entries must not gather."""
        self._came = 0
        for heap in (self._all, *self._of_host.values()):
            heap[:] = [entry for entry in heap if not self._is_gone(entry)]
            heapq.heapify(heap)
