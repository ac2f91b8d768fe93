"""Who is trained together: global batches of articles of like length, and their parts for processes and memory.

A batch depends on (seed, epoch) alone, never on the number of processes or on the memory: those only cut it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

_POOL = 16
"""So many batches' worth of articles are sorted by length at once: enough to be alike, few enough to stay random."""


class GlobalBatches(Sampler[list[int]]):
    """Row numbers of every global batch of `epoch`; each row once, the last batch of the data set may be smaller."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        """Batches of an epoch, which are its optimizer steps."""
        return -(-len(self._lengths) // self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self._seed, self.epoch])
        order = random.permutation(len(self._lengths))
        size = self._batch_size
        batches: list[list[int]] = []
        for start in range(0, len(order), size * _POOL):
            pool = order[start : start + size * _POOL]
            pool = pool[np.argsort(-self._lengths[pool], kind="stable")]
            batches += [[int(row) for row in pool[at : at + size]] for at in range(0, len(pool), size)]
        for number in random.permutation(len(batches)):
            yield batches[number]


def share(rows: Sequence[int], lengths: Sequence[int], rank: int, world: int) -> list[int]:
    """The rows of one process, longest first. Dealt like cards, so that all get as much; may be empty."""
    return longest_first(rows, lengths)[rank::world]


def cut(rows: Sequence[int], lengths: Sequence[int], budget: int | None) -> list[list[int]]:
    """Rows in micro-batches, longest first, each of at most `budget` tokens padding included (None: all in one).

    A row longer than the budget is a micro-batch of its own.
    """
    if budget is None:
        return [longest_first(rows, lengths)] if rows else []
    parts: list[list[int]] = []
    width = 0
    for row in longest_first(rows, lengths):
        if not parts or width * (len(parts[-1]) + 1) > budget:
            parts.append([])
            width = lengths[row]
        parts[-1].append(row)
    return parts


def longest_first(rows: Sequence[int], lengths: Sequence[int]) -> list[int]:
    """Rows by falling length; rows of one length keep their order."""
    return sorted(rows, key=lambda row: -lengths[row])
