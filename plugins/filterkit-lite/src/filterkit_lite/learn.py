"""From texts and scores to a student."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]

from filterkit_lite import stack
from filterkit_lite.encoder import Encoder
from filterkit_lite.features import NgramSpace, Projector, blocks
from filterkit_lite.histogram import centres, soften
from filterkit_lite.ridge import squared_distances
from filterkit_lite.search import block_weights, search
from filterkit_lite.stack import Settings, median_distance
from filterkit_lite.student import Student, scaled

F32 = NDArray[np.float32]

_PIECE = 1024


@dataclass(frozen=True)
class Limits:
    """What bounds time and size, whatever the number of rows."""

    landmarks: int = 2000
    search_rows: int = 1000
    space_rows: int = 5000
    vocabulary: int = 30_000
    components: int = 128
    bins: int = 21
    width: float = 0.04
    """of the softened targets, as a share of the scale"""


def learn(
    encoder: Encoder,
    texts: Sequence[str],
    scores: F32,
    weights: F32,
    scale: tuple[float, float],
    seed: int,
    *,
    limits: Limits,
    report: Callable[[Settings, float], None],
    settings: Settings | None = None,
) -> tuple[Student, Settings]:
    """A student of n >= 1 texts with scores [n, d] in scale units (NaN: unknown) and weights [n].

    Settings are searched for unless given. `report` hears of every candidate and its cross-validated error.
    """
    random = np.random.default_rng(seed)
    some = _sample(random, len(texts), limits.space_rows)
    space = NgramSpace.fit(
        encoder.encode([texts[i] for i in some]).grams,
        vocabulary=limits.vocabulary,
        components=limits.components,
        seed=seed,
    )
    project = Projector(space)
    pieces = [blocks(encoder.encode(texts[start : start + _PIECE]), project) for start in range(0, len(texts), _PIECE)]
    vectors, themes, lengths = (np.concatenate(column) for column in zip(*pieces, strict=True))
    parts = (vectors, themes, lengths)
    medians = [median_distance(part) for part in parts]
    bins = centres(*scale, limits.bins)
    histograms = soften(scores, bins, limits.width * (scale[1] - scale[0]))

    if settings is None:
        chosen = _sample(random, len(texts), limits.search_rows)
        apart = [squared_distances(part[chosen], part[chosen]) / by for part, by in zip(parts, medians, strict=True)]
        with ThreadpoolController().limit(limits=1):
            settings = search(apart, scores[chosen], histograms[chosen], weights[chosen], bins, seed, report)

    shares = block_weights(settings, has_vectors=bool(parts[0].any()))
    block_scale = np.sqrt(np.array(shares) / np.array(medians)).astype(np.float32)
    rows = scaled(parts, block_scale)
    landmarks = _sample(random, len(texts), limits.landmarks)
    marked = rows[landmarks]
    fitted = stack.fit(
        lambda piece: squared_distances(rows[piece], marked),
        landmarks,
        scores,
        histograms,
        weights,
        (scale[0] + scale[1]) / 2,
        settings,
    )
    return Student(space, block_scale, marked, fitted, bins), settings


def _sample(random: np.random.Generator, n: int, most: int) -> NDArray[np.intp]:
    """At most `most` different row numbers, rising."""
    if n <= most:
        return np.arange(n, dtype=np.intp)
    return np.sort(random.choice(n, size=most, replace=False)).astype(np.intp)
