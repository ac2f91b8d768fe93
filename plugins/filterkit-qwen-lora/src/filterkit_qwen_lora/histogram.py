"""Scores as histograms over the scale, in torch: targets softened into them, a head that answers with them, medians."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def centres(low: float, high: float, bins: int) -> Tensor:
    """[bins] equally spaced centres, float32; the first is `low`, the last `high` (scale units)."""
    return torch.linspace(low, high, bins)


def soften(targets: Tensor, bins: Tensor, width: float) -> Tensor:
    """Targets [...] as histograms [..., b] that sum to 1: a Gaussian of standard deviation `width` (scale units).

    An unknown target (NaN) becomes zeros; whoever learns from it has to mask it.
    """
    # the softmax is relative to the nearest bin, so that a narrow Gaussian between two bins does not vanish
    z = (targets[..., None] - bins) / width
    return torch.nan_to_num(torch.softmax(-0.5 * z * z, dim=-1))


def medians(probs: Tensor, bins: Tensor) -> Tensor:
    """Medians [...] of histograms [..., b] in scale units, taking a bin's mass as spread evenly over its width."""
    cumulated = probs.cumsum(dim=-1)
    half = cumulated[..., -1:] / 2
    at = (cumulated < half).sum(dim=-1, keepdim=True).clamp(max=len(bins) - 1)
    inside = probs.gather(-1, at)
    below = cumulated.gather(-1, at) - inside
    share = torch.where(inside > 0, (half - below) / inside.clamp(min=torch.finfo(probs.dtype).tiny), 0.5)
    found = bins[at[..., 0]] + (share[..., 0] - 0.5) * (bins[1] - bins[0])
    return found.clamp(bins[0], bins[-1])


class Histogram(nn.Module):
    """features [n, h] -> log-probabilities [n, d, b], in float32 whatever autocast says. It starts uniform."""

    def __init__(self, features: int, dimensions: int, bins: int) -> None:
        super().__init__()
        self.shape = (dimensions, bins)
        self.linear = nn.Linear(features, dimensions * bins)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """[n, h] -> [n, d, b]."""
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.linear(features.float())
            return logits.view(len(features), *self.shape).log_softmax(dim=-1)
