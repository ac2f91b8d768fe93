"""Near-duplicates: texts that share most of their character 5-grams, found by MinHash and banding.

Broder, On the resemblance and containment of documents (1997); banding as in Leskovec, Rajaraman, Ullman,
Mining of Massive Datasets, ch. 3. With 16 bands of 4 rows a pair of Jaccard similarity 0.5 becomes a
candidate in 64 % of cases, one of 0.7 in 99 %; candidates count when their signatures agree in at least half.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

SHINGLE = 5
BANDS, ROWS = 16, 4
SIMILAR = 0.5
MAX_CHARS = 20_000

_SEEDS = np.random.default_rng(20_260_101).integers(1, 2**63, size=(2, BANDS * ROWS), dtype=np.uint64)


def groups(texts: Iterable[str], declared: Sequence[Hashable | None] = ()) -> list[int]:
    """For each text the index of the first text of its group; texts of different groups are not similar.

    Texts whose `declared` name is equal are in one group too, however they read; None declares nothing.
    """
    signatures = [signature(t) for t in texts]
    parent = list(range(len(signatures)))
    first_of: dict[Hashable, int] = {}
    for index, name in enumerate(declared):
        if name is not None:
            _join(parent, first_of.setdefault(name, index), index)
    buckets: dict[bytes, int] = {}
    for index, one in enumerate(signatures):
        for band in range(BANDS):
            key = bytes([band]) + one[band * ROWS : (band + 1) * ROWS].tobytes()
            other = buckets.setdefault(key, index)
            if other != index and float((signatures[other] == one).mean()) >= SIMILAR:
                _join(parent, other, index)
    return [_root(parent, i) for i in range(len(parent))]


def signature(text: str) -> U64:
    """MinHash signature [64] of a text; whitespace and case do not count."""
    codes = np.frombuffer(
        " ".join(text[:MAX_CHARS].lower().split()).encode("utf-32-le", "surrogatepass"), dtype=np.uint32
    )
    codes = np.concatenate([codes, np.zeros(max(0, SHINGLE - len(codes)), dtype=np.uint32)]).astype(np.uint64)
    shingles = np.zeros(len(codes) - SHINGLE + 1, dtype=np.uint64)
    for offset in range(SHINGLE):
        shingles = shingles * np.uint64(0x9E3779B97F4A7C15) + codes[offset : offset + len(shingles)]
    shingles = _mix(np.unique(shingles))
    return np.array([_mix(shingles * a + b).min() for a, b in zip(_SEEDS[0] | np.uint64(1), _SEEDS[1], strict=True)])


def _mix(values: U64) -> U64:
    """Finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


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
