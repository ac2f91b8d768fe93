"""Hyper-parameters by cross-validation inside the training rows: coordinate descent over coarse ladders.

What is compared is what matters in the end, the mean absolute error of decoded medians on rows held out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from filterkit_lite import stack
from filterkit_lite.histogram import distributions, medians
from filterkit_lite.stack import Settings

F32 = NDArray[np.float32]

LADDERS: dict[str, tuple[float, ...]] = {
    "gamma": (0.25, 0.5, 1.0, 2.0, 4.0),
    "penalty2": (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2),
    "grams": (0.0, 0.12, 0.25, 0.5, 1.0, 2.0, 4.0),
    "penalty": (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2),
    "length": (0.0, 0.01, 0.03, 0.1, 0.3),
    "share": (0.0, 0.25, 0.5, 0.75),
}
FOLDS = 5
FEWEST = 20
"""Rows below which the defaults are kept: five folds of fewer say next to nothing."""
_WORTH = 0.005
"""Relative gain below which a setting is not moved: less is noise (with 0.002 the settings found
were worse on articles held out)."""


def mixed(apart: Sequence[F32], settings: Settings) -> F32:
    """Squared distance over all blocks, from the blocks' own (each with median 1), in the order of BLOCKS."""
    weights = block_weights(settings, has_vectors=bool(apart[0].any()))
    total = np.zeros_like(apart[0])
    for weight, one in zip(weights, apart, strict=True):
        if weight:
            total += np.float32(weight) * one
    return total


def block_weights(settings: Settings, *, has_vectors: bool) -> tuple[float, float, float]:
    """Weights of the blocks, sum 1. Without an embedding the n-grams stand in its place."""
    weights = (1.0, settings.grams, settings.length) if has_vectors else (0.0, 1.0, settings.length)
    return weights[0] / sum(weights), weights[1] / sum(weights), weights[2] / sum(weights)


def search(
    apart: Sequence[F32],
    scores: F32,
    histograms: F32,
    weights: F32,
    bins: F32,
    seed: int,
    report: Callable[[Settings, float], None],
) -> Settings:
    """The best settings found for s rows: apart [s, s] per block, scores [s, d] with NaN, histograms [s, d, b].

    `report` hears of every candidate and its error in scale units, and may raise to stop.
    """
    if len(scores) < FEWEST or not np.isfinite(scores).any():
        return Settings()
    folds = np.random.default_rng(seed).permutation(len(scores)) % FOLDS
    tried: dict[Settings, float] = {}

    def error(settings: Settings) -> float:
        if settings not in tried:
            tried[settings] = cross_validate(apart, scores, histograms, weights, bins, folds, settings)
            report(settings, tried[settings])
        return tried[settings]

    best = Settings()
    for name, ladder in LADDERS.items():
        if not apart[0].any() and name == "grams":
            continue
        for direction in (1, -1):
            while (step := _neighbour(ladder, getattr(best, name), direction)) is not None:
                candidate = replace(best, **{name: step})
                if error(candidate) >= error(best) * (1 - _WORTH):
                    break
                best = candidate
    return best


def cross_validate(
    apart: Sequence[F32],
    scores: F32,
    histograms: F32,
    weights: F32,
    bins: F32,
    folds: NDArray[np.intp],
    settings: Settings,
) -> float:
    """Mean absolute error of the known scores in scale units, each from a fit without its fold [s]."""
    total = mixed(apart, settings)
    found = np.full_like(scores, np.nan)
    middle = float(bins[0] + bins[-1]) / 2
    for fold in range(folds.max() + 1):
        rest, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        own = total[np.ix_(rest, rest)]
        landmarks = np.arange(len(rest), dtype=np.intp)
        fitted = stack.fit(own.__getitem__, landmarks, scores[rest], histograms[rest], weights[rest], middle, settings)
        found[held] = medians(distributions(fitted(total[np.ix_(held, rest)])), bins)
    known = np.isfinite(scores)
    shares = np.broadcast_to(weights[:, None], scores.shape)[known]
    return float(np.average(np.abs(found[known] - scores[known]), weights=shares))


def _neighbour(ladder: tuple[float, ...], value: float, direction: int) -> float | None:
    at = ladder.index(value) + direction
    return ladder[at] if 0 <= at < len(ladder) else None
