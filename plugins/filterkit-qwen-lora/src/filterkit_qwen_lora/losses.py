"""What training minimises: losses with masks and weights, as sums that do not depend on how a batch is cut.

Every loss is a sum over rows and known dimensions, divided by what the whole global batch counts on average. So the
gradients of its parts (processes, micro-batches) add up to those of the whole, whatever the parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

F32 = NDArray[np.float32]
PlainLoss = Literal["l1", "huber", "mse"]

_MOST_RARE = 10.0
"""No article weighs more than so many times one that scores lowest."""
_SCALE = 10.0
"""Errors are measured as on a scale of 0 to 10, so that learning rates mean the same on every scale."""


def plain_losses(kind: PlainLoss, scores: Tensor, targets: Tensor, span: float) -> Tensor:
    """Loss [n, d] of scores [n, d] in scale units; `span` is the length of the scale.

    What is unknown (NaN) is taken as 0, to be masked: a NaN would reach the gradient through any mask.
    """
    unit = _SCALE / span
    scores, targets = scores * unit, torch.nan_to_num(targets) * unit
    if kind == "l1":
        return (scores - targets).abs()
    if kind == "huber":
        return functional.huber_loss(scores, targets, reduction="none")
    return (scores - targets).square()


def histogram_losses(log_probs: Tensor, soft_targets: Tensor) -> Tensor:
    """Cross-entropy [n, d] of log-probabilities [n, d, b] against histograms [n, d, b]."""
    return -(soft_targets * log_probs).sum(-1)


def masked_sum(losses: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum of losses [n, d] over known targets [n, d], each row by its weight [n]. Zero where nothing is known."""
    return (losses * torch.isfinite(targets) * weights[:, None]).sum()


@dataclass(frozen=True)
class Counted:
    """How much an average row of a data set counts: the constant that losses are divided by."""

    per_row: float

    @classmethod
    def of(cls, targets: F32, weights: F32) -> Counted:
        """targets [n, d] with NaN where unknown, weights [n]. A set without any known target counts as 1 a row."""
        known = np.isfinite(targets).sum(axis=1)
        total = float(known @ weights.astype(np.float64))
        return cls(total / len(weights) if total else 1.0)

    def of_batch(self, rows: int) -> float:
        """The divisor of a global batch of so many rows: the same for all its parts."""
        return self.per_row * rows


def overall(targets: F32, shares: NDArray[np.floating]) -> F32:
    """Weighted overall [n] of targets [n, d] by `shares` [d], over what is known of a row; NaN where nothing is."""
    known = np.isfinite(targets) * np.asarray(shares, dtype=np.float32)
    mass = known.sum(axis=1)
    total = (np.nan_to_num(targets) * known).sum(axis=1)
    found: F32 = np.divide(total, mass, out=np.full(len(targets), np.nan, dtype=np.float32), where=mass > 0)
    return found


def row_weights(overalls: F32, given: F32, rarity: float) -> F32:
    """Weights [n] of mean 1: the given ones times (share of rows that score at least as high) ** -rarity.

    overalls [n] in any unit; a row whose overall is unknown (NaN) counts as a common one. No row counts more than
    10 times a common one, so that a single outlier does not become the data set.
    """
    known = np.isfinite(overalls)
    raw = np.ones(len(overalls))
    if rarity and known.any():
        ordered = np.sort(overalls[known])
        as_high = len(ordered) - np.searchsorted(ordered, overalls[known], side="left")
        raw[known] = np.minimum((as_high / len(ordered)) ** -rarity, _MOST_RARE)
    raw *= given
    weights: F32 = (raw / raw.mean()).astype(np.float32)
    return weights
