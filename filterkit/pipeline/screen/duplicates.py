"""Which texts nearly repeat another one that is kept.

Texts are compared by their MinHash signatures, candidates found in 16 bands of 8 of its 128 places: a pair of Jaccard
similarity 0.75 becomes a candidate in 82 % of cases, one of 0.8 in 95 %, one of 0.85 in 99.4 %, one of 0.9 in 99.99 %,
one of 0.3 in 0.1 %.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from filterkit.pipeline.nearby import HASHES, SHINGLE, buckets

BANDS, ROWS = 16, 8
FEW_CHARS = 50 + SHINGLE
"""Shorter texts are near-duplicates only where nothing but case and white space differs: a word is a large part."""
WITH_NUMBERS = 1 / 3
"""Texts of which so much are words with digits in them are compared as they are."""
MOST_COMPARED = 256
"""Texts of one bucket that a text is compared with, the latest: else what a passage fills would take quadratic time."""

_NUMBER = re.compile(r"(?<![a-z\d])[a-z]*+\d[a-z\d]*+")

U16 = NDArray[np.uint16]
U64 = NDArray[np.uint64]


@dataclass(frozen=True)
class Columns:
    """Texts to compare, a row each: signed [n, 128] the low halves of signatures; plain [n] a hash of what is compared;
    template [n] a hash of it without its numbers; few [n] whether it is too short for signatures."""

    signed: U16
    plain: U64
    template: U64
    few: NDArray[np.bool_]


@dataclass(frozen=True)
class Like:
    """The row that is kept, and the estimated Jaccard similarity of their character 5-grams."""

    row: int
    similarity: float


def hashes(plain: str) -> tuple[int, int]:
    """For a text as `nearby.plain` gives it: a hash of it, and one of it without its numbers.

    Two texts with the second alone in common are a template that was filled with other numbers: results, weather,
    prices. These are different news.
    """
    whole = _hash(plain)
    template, numbers = _NUMBER.subn("0", plain)
    taken_out = len(plain) - len(template) + numbers
    return whole, _hash(template) if 0 < taken_out <= WITH_NUMBERS * len(plain) else whole


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def near_duplicates(columns: Columns, order: Sequence[int], always: Iterable[int], similar: float) -> dict[int, Like]:
    """The rows that are left out, each with the kept one that it is most like.

    Rows are decided about in `order` (a part of all rows, each once): one stays if it is not `similar` (0 to 1) to one
    that stayed before; those in `always` stay whatever they are like. So nobody is left out for being like somebody who
    is left out, too.
    """
    keeps, leader = set(always), _Leaders(columns, np.asarray(order, dtype=np.int64), similar)
    out: dict[int, Like] = {}
    for row in leader.suspects:
        like = None if row in keeps else leader.like(row)
        if like is None:
            leader.keep(row)
        else:
            out[row] = like
    return out


class _Leaders:
    """The rows that are kept so far, found again by band. `suspects`: the rows that share anything with another."""

    def __init__(self, columns: Columns, order: NDArray[np.int64], similar: float) -> None:
        self._columns, self._similar = columns, similar
        self._equal: dict[int, int] = {}
        self._kept: dict[int, list[int]] = {}
        self._buckets = np.full((len(columns.plain), BANDS), -1, dtype=np.int32)
        compared = order[~columns.few[order]]
        count = 0
        for band in range(BANDS):
            part = columns.signed[:, band * ROWS : (band + 1) * ROWS][compared]
            for bucket in buckets(part):
                self._buckets[compared[bucket], band] = count
                count += 1
        _, which, counts = np.unique(columns.plain[order], return_inverse=True, return_counts=True)
        several = counts[which] > 1
        suspicious = several | (self._buckets[order] >= 0).any(axis=1)
        self.suspects: list[int] = order[suspicious].tolist()

    def like(self, row: int) -> Like | None:
        """The kept row that this one is most like, the first of several, if it is similar enough to any."""
        equal = self._equal.get(int(self._columns.plain[row]))
        if equal is not None:
            return Like(equal, 1.0)
        met = [self._kept[bucket][-MOST_COMPARED:] for bucket in self._of(row) if bucket in self._kept]
        if not met:
            return None
        columns = self._columns
        others = np.unique(np.concatenate(met))
        shares = (columns.signed[others] == columns.signed[row]).sum(axis=1) / HASHES
        shares[columns.template[others] == columns.template[row]] = 0.0  # other numbers, or they would be equal
        best = int(shares.argmax())
        return Like(int(others[best]), float(shares[best])) if shares[best] >= self._similar else None

    def keep(self, row: int) -> None:
        """Let others be compared with the row."""
        self._equal.setdefault(int(self._columns.plain[row]), row)
        for bucket in self._of(row):
            self._kept.setdefault(bucket, []).append(row)

    def _of(self, row: int) -> list[int]:
        return [bucket for bucket in self._buckets[row].tolist() if bucket >= 0]
