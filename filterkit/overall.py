"""The weighted overall of an article's scores, and the rounding that both share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from filterkit.records import F32

DECIMALS = 4
"""Of scores and overalls. They are rounded before they are judged, so that nobody reads 7.0 below the tier from 7."""


def overall(scores: F32, weights: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]]) -> F32:
    """Weighted mean [n] of scores [n, d]; columns of weight 0 (flags) do not count, a NaN score makes it NaN.

    Summed in float64 and rounded to 4 decimals, so that a score of exactly 7 everywhere is an overall of 7.
    """
    w = np.asarray(weights, dtype=np.float64)
    counted = np.flatnonzero(w)
    total = np.zeros(len(scores), dtype=np.float64)
    for column in counted:
        total += w[column] * scores[:, column]
    return rounded(total / w.sum())


def rounded(values: np.ndarray[Any, np.dtype[np.float64]]) -> F32:
    """Values to so many decimals as scores have, float32."""
    kept: F32 = np.round(values, DECIMALS).astype(np.float32)
    return kept
