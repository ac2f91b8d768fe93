"""Two kernel ridges, one on the other's shoulders.

The first learns the scores themselves. The second learns their histograms and sees, beside the text, the first one's
answers for all dimensions: articles that score alike are near each other. On training rows those are the answers of a
fit without the row (Wolpert, "Stacked generalization", 1992), or the second ridge would trust them too much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from filterkit_lite import ridge
from filterkit_lite.ridge import Known, Ridge, squared_distances

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Rows = NDArray[np.intp]
Distances = Callable[[slice | Rows], F32]


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters, in units that do not depend on the data: distances are relative to their median."""

    grams: float = 0.5
    """weight of the n-gram block beside the embedding's 1"""
    length: float = 0.03
    """weight of the length of the text"""
    gamma: float = 1.0
    """the kernel is exp(-gamma · squared distance / median)"""
    penalty: float = 0.2
    """noise variance that the first ridge assumes"""
    share: float = 0.5
    """how much of the second ridge's distance is the first one's answers"""
    penalty2: float = 0.4
    """noise variance that the second ridge assumes"""

    def to_dict(self) -> dict[str, float]:
        """Plain numbers."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Answers:
    """The first ridge's answers as a block of their own: (answer - shift [d]) * scale [d]."""

    shift: F32
    scale: F32
    landmarks: F32

    def block(self, answers: F32) -> F32:
        """[n, d] answers in scale units to numbers with median squared distance 1."""
        return ((answers - self.shift) * self.scale).astype(np.float32)


@dataclass(frozen=True)
class Stack:
    """Both ridges. The landmarks of the text blocks are kept by whoever computes distances to them."""

    gamma: float
    share: float
    first: Ridge
    answers: Answers
    second: Ridge

    def __call__(self, distances: F32) -> F32:
        """Raw histograms [n, d, b] from squared distances [n, m] to the landmarks."""
        answers = self.first(np.exp(-self.gamma * distances))[..., 0]
        apart = squared_distances(self.answers.block(answers), self.answers.landmarks)
        return self.second(np.exp(-self.gamma * ((1 - self.share) * distances + self.share * apart)))


def fit(
    distances: Distances,
    landmarks: Rows,
    scores: F32,
    histograms: F32,
    weights: F32,
    middle: float,
    settings: Settings,
) -> Stack:
    """Learn from n rows.

    distances(rows) [c, m]: squared distances of rows to the landmarks, which are rows too; scores [n, d], NaN where
    unknown; histograms [n, d, b]; weights [n]; a dimension that is wholly unknown answers `middle`, and evenly.
    """
    known: Known = np.isfinite(scores)
    gamma, share = settings.gamma, settings.share
    bins = histograms.shape[-1]
    own = distances(landmarks).astype(np.float64)
    own = (own + own.T) / 2
    np.fill_diagonal(own, 0)

    first, answers = ridge.fit(
        lambda piece: np.exp(-gamma * distances(piece).astype(np.float64)),
        np.exp(-gamma * own),
        np.nan_to_num(scores)[..., None],
        known,
        weights,
        settings.penalty,
        np.array([middle], dtype=np.float32),
        left_out=True,
    )
    assert answers is not None
    block, rows = _block(answers[..., 0], landmarks)

    def both(piece: slice) -> F64:
        apart = squared_distances(rows[piece], block.landmarks)
        return np.exp(-gamma * ((1 - share) * distances(piece).astype(np.float64) + share * apart))

    apart = squared_distances(block.landmarks, block.landmarks).astype(np.float64)
    np.fill_diagonal(apart, 0)
    second, _ = ridge.fit(
        both,
        np.exp(-gamma * ((1 - share) * own + share * apart)),
        histograms,
        known,
        weights,
        settings.penalty2,
        np.full(bins, 1 / bins, dtype=np.float32),
    )
    return Stack(gamma, share, first, block, second)


def _block(answers: F32, landmarks: Rows) -> tuple[Answers, F32]:
    """The block that the answers [n, d] make, and its rows. A dimension that is always answered alike is left out."""
    shift, spread = answers.mean(axis=0), answers.std(axis=0)
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 1e-6)
    scale = scale / np.sqrt(median_distance((answers - shift) * scale))
    found = Answers(shift.astype(np.float32), scale.astype(np.float32), np.zeros((0, len(shift)), dtype=np.float32))
    rows = found.block(answers)
    return Answers(found.shift, found.scale, rows[landmarks]), rows


def median_distance(rows: NDArray[np.floating], most: int = 1000) -> float:
    """Median squared distance between different rows, from at most `most` of them; 1 where all are the same."""
    some = rows[:: max(1, -(-len(rows) // most))].astype(np.float32)
    apart = squared_distances(some, some)[np.triu_indices(len(some), 1)]
    found = float(np.median(apart)) if len(apart) else 0.0
    return found if found > 1e-9 else 1.0
