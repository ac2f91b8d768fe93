"""How fast a scorer answers: single articles one after the other, and batches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from filterkit.contracts import Scorer

WARM_UP = 3
PERCENTILES = (50, 95, 99)

T = TypeVar("T")


@dataclass(frozen=True)
class Speed:
    """latency_ms: p50, p95 and p99 of single articles, each a latency that was measured; per_second: articles in
    batches."""

    latency_ms: dict[str, float]
    per_second: float


def measure(scorer: Scorer, texts: Sequence[str]) -> Speed:
    """Time every text by itself, after a warm-up, then all in the scorer's batches; n > 0 texts, one at a time."""
    for text in texts[:WARM_UP]:
        scorer.predict(scorer.encode([text]))
    singles = [_seconds(scorer, [text]) for text in texts]
    batches = sum(_seconds(scorer, part) for part in in_batches(texts, scorer.max_batch))
    found = np.percentile(np.array(singles) * 1000, PERCENTILES, method="higher")
    latency = {f"p{p}": float(value) for p, value in zip(PERCENTILES, found, strict=True)}
    return Speed(latency, len(texts) / max(batches, 1e-9))


def _seconds(scorer: Scorer, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    scorer.predict(scorer.encode(list(texts)))
    return time.perf_counter() - started


def in_batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in pieces of at most `size`."""
    step = max(1, size)
    for start in range(0, len(items), step):
        yield items[start : start + step]
