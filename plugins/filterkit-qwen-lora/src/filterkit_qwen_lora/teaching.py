"""What the network is taught, and what it answers: its heads, their losses, their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from filterkit_qwen_lora.evaluate import measure
from filterkit_qwen_lora.histogram import Histogram, medians, soften
from filterkit_qwen_lora.losses import F32, Counted, PlainLoss, histogram_losses, masked_sum, plain_losses
from filterkit_qwen_lora.network import Network
from filterkit_qwen_lora.processes import Machine
from filterkit_qwen_lora.reading import Rows

_FLOOR = 1e-3
"""Probability that the histogram starts with in a bin where no training target lies."""


@dataclass(frozen=True)
class Lesson:
    """How targets are taught. bins [b]: centres of the histogram; width, low and high: in scale units."""

    targets: Literal["histogram", "plain"]
    loss: PlainLoss
    bins: Tensor
    width: float
    low: float
    high: float

    def loss_sum(self, answers: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Loss summed over rows: answers [n, d, b] of the histogram or [n, d] of the plain head, targets [n, d]."""
        if self.targets == "histogram":
            soft = soften(targets, self.bins.to(targets.device), self.width)
            losses = histogram_losses(answers, soft)
        else:
            losses = plain_losses(self.loss, answers, targets, self.high - self.low)
        return masked_sum(losses, targets, weights)

    def scores(self, answers: Tensor) -> Tensor:
        """Scores [n, d] of such answers, on the scale: medians of histograms, plain scores cut to it."""
        if self.targets == "plain":
            return answers.clamp(self.low, self.high)
        return medians(answers.exp(), self.bins.to(answers.device))

    def prior(self, targets: Tensor) -> Tensor:
        """Log-probabilities [d, b] to start with: the mean histogram of each column of targets [n, d]."""
        known = torch.isfinite(targets).sum(0).clamp(min=1)
        mean = soften(targets, self.bins.to(targets.device), self.width).sum(0) / known[:, None]
        return torch.log(mean + _FLOOR)


class Learner(nn.Module):
    """The network under a lesson: a forward pass is the loss of some rows, so that DDP sees one plain module."""

    def __init__(self, network: Network, lesson: Lesson, machine: Machine) -> None:
        super().__init__()
        self.network = network
        self.lesson = lesson
        self.machine = machine

    def forward(self, input_ids: Tensor, attention_mask: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Rows [n, s], targets [n, d], weights [n] -> the loss summed over rows, a scalar."""
        with self.machine.autocast():
            features, plain = self.network(input_ids, attention_mask)
        answers = plain if self.network.histogram is None else self.network.histogram(features)
        return self.lesson.loss_sum(answers, targets, weights)


def answers_of(network: Network, features: Tensor) -> Tensor:
    """What the taught head says of features [n, h]: log-probabilities [n, d, b], or plain scores [n, d]."""
    return network.plain(features) if network.histogram is None else network.histogram(features)


def start_histogram(histogram: Histogram, lesson: Lesson, targets: Tensor) -> None:
    """Let the histogram begin as what the training targets [n, d] look like on the whole, whatever the text."""
    with torch.no_grad():
        histogram.linear.weight.zero_()
        histogram.linear.bias.copy_(lesson.prior(targets).flatten())


@dataclass(frozen=True)
class Judge:
    """How good the network is on the val split: its rows, the dimensions' weights [d] in the overall, k of recall@k."""

    network: Network
    lesson: Lesson
    machine: Machine
    rows: Rows
    shares: NDArray[np.floating]
    recall_at: int

    @torch.no_grad()
    def __call__(self, features: F32) -> dict[str, float]:
        """val_loss, val_mae, val_spearman, val_recall from the rows' features [n, h], without what is undefined."""
        targets, weights = self.rows.targets, self.rows.weights
        if not np.isfinite(targets).any():
            return {}
        answers = answers_of(self.network, torch.from_numpy(features).to(self.machine.device))
        told = [torch.from_numpy(each).to(answers.device) for each in (targets, weights)]
        loss = float(self.lesson.loss_sum(answers, *told)) / Counted.of(targets, weights).of_batch(len(targets))
        scores = self.lesson.scores(answers).cpu().numpy()
        return {"val_loss": loss, **measure(scores, targets, self.shares, self.recall_at)}
