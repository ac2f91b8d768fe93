"""Which articles judges are compared on: one random sample, the same for all of them and every time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from filterkit.prompt import sent_text
from filterkit.records import Article, sha256_text
from filterkit.spec import FilterSpec

CHUNK = 500

Covered = Callable[[Sequence[Article]], Sequence[int]]
"""How many judges have labels of each article already."""


def sent_hash(spec: FilterSpec, article: Article) -> str:
    """Hex SHA-256 of what an oracle is sent of an article: what a label is kept under."""
    return sha256_text(sent_text(spec, article))


def draw(
    articles: Iterable[Article], spec: FilterSpec, size: int, seed: int, covered: Covered | None = None
) -> list[Article]:
    """`size` different texts, in the order in which they came, in memory for no more than those.

    They are those with the smallest hash, which is as good as random and the same each time; with seed 0 it is the
    hash of `filterkit label --pilot`, so that what was asked there is not asked again. With `covered`, articles that
    more judges have labels of come first, and those that none has are left out.
    """
    heap: list[tuple[int, int, int, Article]] = []  # the least wanted on top
    taken: set[tuple[int, int]] = set()
    numbers = itertools.count()
    source = iter(articles)
    while chunk := list(islice(source, CHUNK)):
        counts = [0] * len(chunk) if covered is None else covered(chunk)
        for article, count in zip(chunk, counts, strict=True):
            key = (count, -_rank(sent_hash(spec, article), seed))
            if key in taken or (covered is not None and not count):
                continue
            if len(heap) < size:
                heapq.heappush(heap, (*key, next(numbers), article))
                taken.add(key)
            elif key > heap[0][:2]:
                out = heapq.heapreplace(heap, (*key, next(numbers), article))
                taken.remove(out[:2])
                taken.add(key)
    return [article for _, _, _, article in sorted(heap, key=lambda item: item[2])]


def _rank(digest: str, seed: int) -> int:
    words = f"pilot {digest}" if seed == 0 else f"compare {seed} {digest}"
    return int(sha256_text(words)[:16], 16)
