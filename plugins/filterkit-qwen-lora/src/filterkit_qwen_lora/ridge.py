"""The plain head in closed form: ridge regression of scores on features, its penalty chosen on the val split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filterkit_qwen_lora.losses import F32

F64 = NDArray[np.float64]

_PENALTIES = tuple(10.0**power for power in np.arange(-4, 2.25, 0.5))
"""Penalties tried, in units of the features' mean square."""
_DEFAULT = 1.0
"""Penalty where there is no val split to choose on."""


@dataclass(frozen=True)
class Linear:
    """features [n, h] @ weight.T [h, d] + bias [d]."""

    weight: F32
    bias: F32

    def __call__(self, features: F32) -> F32:
        """Scores [n, d]."""
        scores: F32 = features @ self.weight.T + self.bias
        return scores


def fit(features: F32, targets: F32, weights: F32, *, bias: bool, around: F32 | None = None) -> dict[float, Linear]:
    """For each penalty the linear map that answers targets [n, d] from features [n, h] best, rows weighted by [n].

    NaN targets are unknown and taken as their column's mean. bias: whether the map has one; without, it goes through
    the origin. around: weights [d, h] to shrink to instead of zero. In float64, by one decomposition for all penalties.
    """
    x, y = features.astype(np.float64), _filled(targets, weights)
    root = np.sqrt(weights / weights.sum())[:, None]
    centre = (root * root * x).sum(0) if bias else np.zeros(x.shape[1])
    mean = (root * root * y).sum(0) if bias else np.zeros(y.shape[1])
    prior = np.zeros((y.shape[1], x.shape[1])) if around is None else around.astype(np.float64)
    x = (x - centre) * root
    residual = (y - mean) * root - x @ prior.T
    left, sizes, right = np.linalg.svd(x, full_matrices=False)
    projected = left.T @ residual
    unit = float((sizes**2).sum()) / x.shape[1] or 1.0
    found: dict[float, Linear] = {}
    for penalty in _PENALTIES:
        shrunk = (sizes / (sizes**2 + penalty * unit))[:, None] * projected
        weight = prior + (right.T @ shrunk).T
        found[penalty] = Linear(weight.astype(np.float32), (mean - weight @ centre).astype(np.float32))
    return found


def choose(fits: dict[float, Linear], features: F32, targets: F32) -> Linear:
    """The fit with the least absolute error on features [m, h] with targets [m, d]; a middling one without targets."""
    known = np.isfinite(targets)
    if not known.any():
        return fits[min(fits, key=lambda penalty: abs(np.log(penalty / _DEFAULT)))]
    errors = {penalty: np.abs(fit(features) - targets)[known].mean() for penalty, fit in fits.items()}
    return fits[min(errors, key=lambda penalty: errors[penalty])]


def _filled(targets: F32, weights: F32) -> F64:
    known = np.isfinite(targets)
    mass = (known * weights[:, None]).sum(0)
    means = np.divide((np.nan_to_num(targets) * weights[:, None]).sum(0), mass, out=np.zeros(len(mass)), where=mass > 0)
    filled: F64 = np.where(known, targets, means).astype(np.float64)
    return filled
