"""Texts as vectors where no embedder is installed: hashed character n-grams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filterkit.records import F32

SIZE = 256
GRAM = 4
MAX_CHARS = 4_000


def hashed_ngrams(texts: Sequence[str]) -> F32:
    """[n, 256] float32, rows of unit length: character 4-grams, hashed with a sign (Weinberger et al. 2009)."""
    out = np.zeros((len(texts), SIZE), dtype=np.float32)
    for row, text in enumerate(texts):
        words = f" {' '.join(text[:MAX_CHARS].lower().split())} ".ljust(GRAM)
        codes = np.frombuffer(words.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
        grams = np.zeros(len(codes) - GRAM + 1, dtype=np.uint64)
        for offset in range(GRAM):
            grams = grams * np.uint64(0x9E3779B97F4A7C15) + codes[offset : offset + len(grams)]
        grams, counts = np.unique(grams, return_counts=True)
        grams = (grams ^ (grams >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
        place = (grams >> np.uint64(40)) % np.uint64(SIZE)
        sign = np.where(grams >> np.uint64(63), 1.0, -1.0)
        out[row] = np.bincount(place.astype(np.int64), sign * np.log1p(counts), minlength=SIZE)
    length = np.linalg.norm(out, axis=1, keepdims=True)
    scaled: F32 = np.divide(out, length, out=out, where=length > 0)
    return scaled
