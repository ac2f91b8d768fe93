"""Near-duplicates: texts that share most of their character 5-grams, found by MinHash and banding.

Broder, On the resemblance and containment of documents (1997); banding as in Leskovec, Rajaraman, Ullman, Mining of
Massive Datasets, ch. 3. With 32 bands of 4 rows a pair of Jaccard similarity 0.5 becomes a candidate in 87 % of
cases, one of 0.6 in 99 %, one of 0.7 in 99.98 %; candidates count when their signatures agree in at least 0.45. So
those of 0.6 and more are found, and few of less than 0.4 are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]

SHINGLE = 5
BANDS, ROWS = 32, 4
HASHES = BANDS * ROWS
SIMILAR = 0.45
MAX_CHARS = 200_000
BLOCK = 1024
"""Shingles hashed at a time: what is between stays in the processor's cache."""

_FACTORS, _OFFSETS = np.random.default_rng(20_260_101).integers(0, 2**32, size=(2, HASHES), dtype=np.uint32)
_FACTORS |= np.uint32(1)


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
        for bucket in _buckets(distinct[:, band * ROWS : (band + 1) * ROWS]):
            for one, other in _similar(distinct, bucket):
                _join(parent, int(firsts[one]), int(firsts[other]))
    return [_root(parent, i) for i in range(len(parent))]


def signatures(texts: Iterable[str]) -> U32:
    """MinHash signatures [n, 128] of n texts."""
    return np.array([signature(text) for text in texts], dtype=np.uint32).reshape(-1, HASHES)


def signature(text: str) -> U32:
    """MinHash signature [128] of a text; whitespace and case do not count."""
    codes = np.frombuffer(
        " ".join(text[:MAX_CHARS].lower().split()).encode("utf-32-le", "surrogatepass"), dtype=np.uint32
    )
    codes = np.concatenate([codes, np.zeros(max(0, SHINGLE - len(codes)), dtype=np.uint32)]).astype(np.uint64)
    shingles = np.zeros(len(codes) - SHINGLE + 1, dtype=np.uint64)
    for offset in range(SHINGLE):
        shingles = shingles * np.uint64(0x9E3779B97F4A7C15) + codes[offset : offset + len(shingles)]
    mixed = (_mix(shingles) >> np.uint64(32)).astype(np.uint32)
    out = np.full(HASHES, np.iinfo(np.uint32).max, dtype=np.uint32)
    for start in range(0, len(mixed), BLOCK):
        hashed = mixed[start : start + BLOCK] * _FACTORS[:, None]
        hashed += _OFFSETS[:, None]
        np.minimum(out, hashed.min(axis=1), out=out)
    return out


def agreement(one: U32, others: U32) -> NDArray[np.float64]:
    """Estimated Jaccard similarity [m] of a signature [128] with others [m, 128]."""
    share: NDArray[np.float64] = (others == one).mean(axis=1)
    return share


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _buckets(band: U32) -> Iterator[I64]:
    """The rows of a band [n, 4] that are equal, as arrays of at least two indices."""
    keys = np.ascontiguousarray(band).view(np.dtype((np.void, band.shape[1] * 4))).ravel()
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], keys[order][1:] != keys[order][:-1]]))
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
