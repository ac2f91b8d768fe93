"""From an encoding to numbers: three blocks per text, of which only the n-gram block is fitted.

The n-gram block is latent semantic analysis (Deerwester et al. 1990): TF-IDF, then a truncated singular value
decomposition. Directions are divided by the square root of their singular value, halfway to whitening, because rare
themes tell articles apart and the strongest ones are mostly language and source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

from filterkit_lite.embedding import unit_rows
from filterkit_lite.encoder import Encoded
from filterkit_lite.ngrams import BUCKETS

F32 = NDArray[np.float32]

BLOCKS = ("vectors", "grams", "length")
_MIN_TEXTS = 2
_POWER_STEPS = 4
_OVERSAMPLE = 16


@dataclass(frozen=True)
class NgramSpace:
    """buckets [v], rising: the hashed n-grams that count; projection [v, k]: IDF and the SVD in one."""

    buckets: NDArray[np.int32]
    projection: NDArray[np.float16]

    @staticmethod
    def fit(grams: Any, *, vocabulary: int, components: int, seed: int) -> NgramSpace:
        """From counts CSR [n, buckets]: the most frequent n-grams that at least two texts hold; k <= `components`."""
        texts = grams.shape[0]
        seen = np.bincount(grams.indices, minlength=BUCKETS)
        often = np.argsort(-seen, kind="stable")[:vocabulary]
        buckets = np.sort(often[seen[often] >= _MIN_TEXTS]).astype(np.int32)
        idf = (1 + np.log((1 + texts) / (1 + seen[buckets]))).astype(np.float32)
        weighted = _dampened(grams, _columns(buckets), len(buckets)) @ diags(idf)
        length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
        scale = np.divide(1, length, out=np.zeros_like(length), where=length > 0)
        directions, strengths = _svd((diags(scale) @ weighted).tocsr(), min(components, texts - 1), seed)
        projection = idf[:, None] * directions / np.sqrt(strengths)
        # only directions matter later, so the scale is free: 16 bits want numbers near 1
        largest = np.abs(projection).max(initial=0)
        return NgramSpace(buckets, (projection / (largest or 1)).astype(np.float16))


class Projector:
    """Applies an NgramSpace."""

    def __init__(self, space: NgramSpace) -> None:
        self._columns = _columns(space.buckets)
        self._projection = space.projection.astype(np.float32)

    def __call__(self, grams: Any) -> F32:
        """Counts CSR [n, buckets] to rows [n, k] of unit length; zeros where no known n-gram is."""
        return unit_rows(_dampened(grams, self._columns, len(self._projection)) @ self._projection)


def blocks(encoded: Encoded, project: Projector) -> tuple[F32, F32, F32]:
    """The blocks of n texts, in the order of BLOCKS: [n, e], [n, k], [n, 1]."""
    return encoded.vectors, project(encoded.grams), encoded.length[:, None]


def _columns(buckets: NDArray[np.int32]) -> NDArray[np.int32]:
    """[buckets] the column of every bucket, -1 where it does not count."""
    columns = np.full(BUCKETS, -1, dtype=np.int32)
    columns[buckets] = np.arange(len(buckets), dtype=np.int32)
    return columns


def _dampened(grams: Any, columns: NDArray[np.int32], width: int) -> Any:
    """1 + ln(count) of the n-grams that count: CSR [n, width]."""
    found = columns[grams.indices]
    known = found >= 0
    starts = np.concatenate(([0], np.cumsum(known)))[grams.indptr]
    return csr_matrix((1 + np.log(grams.data[known]), found[known], starts), shape=(grams.shape[0], width))


def _svd(matrix: Any, rank: int, seed: int) -> tuple[F32, F32]:
    """Right singular vectors [v, r] and singular values [r] of a sparse [n, v], r <= rank.

    Randomised with power steps (Halko, Martinsson and Tropp 2011), and without directions that hold nothing.
    """
    rows, width = matrix.shape
    if rank < 1 or not matrix.nnz:
        return np.zeros((width, 0), dtype=np.float32), np.zeros(0, dtype=np.float32)
    draw = np.random.default_rng(seed).standard_normal((rows, min(rank + _OVERSAMPLE, rows)), dtype=np.float32)
    basis = np.linalg.qr(draw)[0]
    for _ in range(_POWER_STEPS):
        basis = np.linalg.qr(matrix @ (matrix.T @ basis))[0]
    wide = matrix.T @ basis
    # the decomposition of [v, r] through its small square [r, r]: v is tens of thousands
    squares, turn = np.linalg.eigh((wide.T @ wide).astype(np.float64))
    strengths = np.sqrt(np.maximum(squares[::-1], 0))[:rank]
    kept = strengths > 1e-3 * strengths[0]
    strengths = strengths[kept]
    directions = wide @ (turn[:, ::-1][:, :rank][:, kept] / strengths).astype(np.float32)
    return directions, strengths.astype(np.float32)
