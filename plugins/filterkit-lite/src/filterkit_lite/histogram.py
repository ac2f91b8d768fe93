"""Scores as histograms over the scale: softened targets to learn, distributions and medians to answer.

A histogram is learnt bin by bin with a linear method, so what comes out may dip below 0 or not be a distribution. Its
running sum estimates the distribution function; clipped to [0, 1] and sorted it is one (the rearrangement of
Chernozhukov, Fernández-Val and Galichon, "Quantile and probability curves without crossing", Econometrica 2010). The
median of that is the score: it is what minimises the expected absolute error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


def centres(low: float, high: float, bins: int) -> F32:
    """[bins] equally spaced centres; the first is `low`, the last `high` (scale units)."""
    return np.linspace(low, high, bins, dtype=np.float32)


def soften(targets: F32, bins: F32, width: float) -> F32:
    """Targets [...] as histograms [..., b] that sum to 1: a Gaussian of standard deviation `width` (scale units).

    An unknown target (NaN) becomes zeros; whoever learns from it has to mask it.
    """
    z = (targets[..., None] - bins) / width
    # relative to the nearest bin, so that a narrow Gaussian between two bins does not vanish
    z2 = z * z
    weight = np.exp(-0.5 * (z2 - z2.min(axis=-1, keepdims=True)))
    soft: F32 = np.nan_to_num(weight / weight.sum(axis=-1, keepdims=True)).astype(np.float32)
    return soft


def distributions(raw: NDArray[Any]) -> F32:
    """The nearest proper histograms [..., b] to learnt ones [..., b]: none below 0, sum 1."""
    cumulated = np.clip(np.cumsum(raw, axis=-1, dtype=np.float32), 0, 1)
    cumulated[..., -1] = 1
    cumulated.sort(axis=-1)
    return np.diff(cumulated, axis=-1, prepend=np.float32(0))


def medians(probs: F32, bins: F32) -> F32:
    """Medians [...] of histograms [..., b] in scale units, taking a bin's mass as spread evenly over its width."""
    cumulated = np.cumsum(probs, axis=-1)
    half = cumulated[..., -1:] / 2
    at = (cumulated < half).sum(axis=-1, keepdims=True)
    below = np.take_along_axis(cumulated, np.maximum(at - 1, 0), axis=-1) * (at > 0)
    inside = np.take_along_axis(probs, at, axis=-1)
    share = np.divide(half - below, inside, out=np.full_like(half, 0.5), where=inside > 0)
    step = bins[1] - bins[0]
    found = bins[at[..., 0]] + (share[..., 0] - np.float32(0.5)) * step
    inside_scale: F32 = np.clip(found, bins[0], bins[-1]).astype(np.float32)
    return inside_scale
