"""Near-duplicates: texts that share most of their character 5-grams, found by MinHash and banding.

Broder, On the resemblance and containment of documents (1997). One hash of each 5-gram instead of 128: it says which
of 128 places the 5-gram belongs to, and the least hash of each place is kept (Li, Owen, Zhang, One Permutation Hashing,
2012); places without any take another's (Shrivastava, Optimal Densification for Fast and Accurate Minwise Hashing,
2017), so that two signatures still agree in as many places as the texts share of their 5-grams. Banding as in Leskovec,
Rajaraman, Ullman, Mining of Massive Datasets, ch. 3. With 32 bands of 4 rows a pair of Jaccard similarity 0.5 becomes a
candidate in 87 % of cases, one of 0.6 in 99 %, one of 0.7 in 99.98 %; candidates count when their signatures agree in
at least 0.45. So those of 0.6 and more are found, and few of less than 0.4 are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]

SHINGLE = 5
BANDS, ROWS = 32, 4
HASHES = BANDS * ROWS
SIMILAR = 0.45
MAX_CHARS = 200_000
BLOCK_CHARS = 30_000
"""Characters hashed at a time, about: what is between stays in the processor's cache."""

_NONE = np.iinfo(np.uint32).max
_PLACE_BITS = np.uint64(64 - (HASHES - 1).bit_length())
_LENDERS = np.argsort(np.random.default_rng(20_260_101).random((HASHES, HASHES)), axis=1)
"""For each place [128] the places that it takes from when it is empty, in the order in which they are tried."""


def groups(texts: Iterable[str], declared: Sequence[Hashable | None] = ()) -> list[int]:
    """For each text the index of the first text of its group; texts of different groups are not similar.

    Texts whose `declared` name is equal are in one group too, however they read; None declares nothing.
    """
    return grouped(signatures(texts), declared)


def grouped(signed: U32, declared: Sequence[Hashable | None] = ()) -> list[int]:
    """`groups` of texts whose signatures [n, 128] are at hand."""
    parent = list(range(len(signed)))
    first_of: dict[Hashable, int] = {}
    for index, name in enumerate(declared):
        if name is not None:
            _join(parent, first_of.setdefault(name, index), index)
    # equal signatures first, all at once: however many copies there are, one of them is compared
    _, firsts, which = np.unique(signed, axis=0, return_index=True, return_inverse=True)
    for index, first in enumerate(firsts[which.ravel()].tolist()):
        _join(parent, first, index)
    firsts = np.sort(firsts)
    distinct = signed[firsts]
    for band in range(BANDS):
        for bucket in buckets(distinct[:, band * ROWS : (band + 1) * ROWS]):
            for one, other in _similar(distinct, bucket):
                _join(parent, int(firsts[one]), int(firsts[other]))
    return [_root(parent, i) for i in range(len(parent))]


def signatures(texts: Iterable[str]) -> U32:
    """MinHash signatures [n, 128] of n texts; whitespace and case do not count."""
    blocks: list[U32] = []
    waiting: list[str] = []
    chars = 0
    for text in texts:
        waiting.append(plain(text).ljust(SHINGLE, "\0"))
        chars += len(waiting[-1])
        if chars >= BLOCK_CHARS:
            blocks.append(_signed(waiting))
            waiting, chars = [], 0
    if waiting:
        blocks.append(_signed(waiting))
    return np.concatenate(blocks) if blocks else np.empty((0, HASHES), dtype=np.uint32)


def signature(text: str) -> U32:
    """MinHash signature [128] of a text."""
    one: U32 = signatures([text])[0]
    return one


def plain(text: str) -> str:
    """What of a text is compared: without case, its words one space apart, its end cut off where it is gigantic."""
    return " ".join(text[:MAX_CHARS].lower().split())


def _signed(texts: Sequence[str]) -> U32:
    """Signatures [n, 128] of plain texts of at least five characters."""
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    hashed = hashed_shingles("".join(texts))
    values = hashed.astype(np.uint32)  # the low half; the place is told by the high one
    across = np.cumsum(lengths)[:-1, None] - np.arange(1, SHINGLE)
    values[across.ravel()] = _NONE  # these begin in one text and end in the next
    places = np.repeat(np.arange(len(texts)) * HASHES, lengths)[: len(hashed)]
    places += (hashed >> _PLACE_BITS).astype(np.int64)
    out = np.full(len(texts) * HASHES, _NONE, dtype=np.uint32)
    np.minimum.at(out, places, values)
    return _filled(out.reshape(-1, HASHES))


def hashed_shingles(text: str) -> NDArray[np.uint64]:
    """A hash [m - 4] of each five characters in a row, of a text of m of them."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    many = len(codes) - SHINGLE + 1
    shingles = codes[:many].astype(np.uint64)
    for offset in range(1, SHINGLE):
        shingles *= np.uint64(0x9E3779B97F4A7C15)
        shingles += codes[offset : offset + many]
    return _mixed(shingles)


def _filled(signed: U32) -> U32:
    """Signatures [n, 128] whose empty places hold what the first place in their row of lenders has that is not."""
    filled = signed.copy()
    rows, places = np.nonzero(signed == _NONE)
    for turn in range(HASHES):
        if not len(rows):
            break
        lent = signed[rows, _LENDERS[places, turn]]
        filled[rows, places] = lent
        rows, places = rows[lent == _NONE], places[lent == _NONE]
    return filled


def agreement(one: U32, others: U32) -> NDArray[np.float64]:
    """Estimated Jaccard similarity [m] of a signature [128] with others [m, 128]."""
    share: NDArray[np.float64] = (others == one).mean(axis=1)
    return share


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The values, in place, through SplitMix64's finaliser (Steele, Lea, Flood 2014): every bit reaches every bit."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def buckets(band: NDArray[Any]) -> Iterator[I64]:
    """The rows of a band [n, k] that are equal, as arrays of at least two indices in their order.

    By a hash of 64 bits: candidates only, which are compared anyway.
    """
    keys = np.zeros(len(band), dtype=np.uint64)
    for column in band.T:
        keys = _mixed(keys + column)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    ends = np.append(starts[1:], len(keys))
    several = np.flatnonzero(ends - starts > 1)
    for start, end in zip(starts[several].tolist(), ends[several].tolist(), strict=True):
        yield order[start:end]


def _similar(signed: U32, bucket: I64) -> Iterator[tuple[int, int]]:
    """Pairs of a bucket that are similar, enough of them to tell who hangs together with whom.

    Everyone is compared with everyone who is not yet joined to somebody: a bucket that one passage fills, shared by
    texts that are otherwise different, still shows which of them are alike.
    """
    left = bucket
    while len(left) > 1:
        reached, left = [int(left[0])], left[1:]
        while reached and len(left):
            one = reached.pop()
            alike = agreement(signed[one], signed[left]) >= SIMILAR
            for other in left[alike].tolist():
                yield one, other
                reached.append(other)
            left = left[~alike]


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _join(parent: list[int], a: int, b: int) -> None:
    a, b = _root(parent, a), _root(parent, b)
    parent[max(a, b)] = min(a, b)


def deal(order: Sequence[int], shares: Sequence[int], seed: int) -> list[int]:
    """For every position of `order` (items sorted by what to stratify by) the part it is dealt to.

    Each run of sum(shares) neighbours gives shares[k] items to part k, at random places; a last, shorter run
    is dealt from the same hand. So every part gets its share of every level.
    """
    random = np.random.default_rng(seed)
    hand = np.repeat(np.arange(len(shares)), shares)
    parts = [0] * len(order)
    for start in range(0, len(order), len(hand)):
        dealt = random.permutation(hand)
        for offset, item in enumerate(order[start : start + len(hand)]):
            parts[item] = int(dealt[offset])
    return parts
