"""The plain head, one score a dimension: what any Hugging Face tool reads off the student.

Where histograms teach, it is fitted to them in closed form once the base has learnt. Where it is taught itself, it
starts from such a fit to the targets: a head without a bias would spend its first steps on finding the mean.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from filterkit_qwen_lora.losses import F32
from filterkit_qwen_lora.network import Network
from filterkit_qwen_lora.reading import features_of
from filterkit_qwen_lora.ridge import Linear, choose, fit
from filterkit_qwen_lora.task import Task
from filterkit_qwen_lora.teaching import answers_of

_START_ROWS = 256
_FINISH_ROWS = 8192


def start_plain_head(task: Task) -> None:
    """Fit the plain head to targets on some training articles, where it is the one that learns."""
    if task.network.histogram is not None:
        return
    rows = task.train.take(_some(task, _START_ROWS))
    features = features_of(task.network, task.reader, rows.tokens, task.machine)
    fits = _fits(task.network, features, rows.targets, rows.weights)
    _put(task.network, choose(fits, features[:0], rows.targets[:0]))


def finish_plain_head(task: Task, features: F32 | None = None, val_features: F32 | None = None) -> None:
    """Fit the plain head to what the histogram says of the training articles; with no histogram it has learnt itself.

    features [n, h] of the train split, val_features [m, h] of the val split: read anew where they are not given.
    """
    network = task.network
    if network.histogram is None:
        return
    chosen = _some(task, _FINISH_ROWS)
    rows = task.train.take(chosen)
    given = None if features is None else features[chosen]
    features = features_of(network, task.reader, rows.tokens, task.machine) if given is None else given
    if val_features is None:
        val_features = features_of(network, task.reader, task.val.tokens, task.machine)
    with torch.no_grad():
        answers = answers_of(network, torch.from_numpy(features).to(task.machine.device))
        taught: F32 = task.lesson.scores(answers).cpu().numpy()
    _put(network, choose(_fits(network, features, taught, rows.weights), val_features, task.val.targets))


def _some(task: Task, most: int) -> NDArray[np.intp]:
    """Numbers of at most so many training rows, chosen by the seed."""
    count = len(task.train.tokens)
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng([task.seed, most]).choice(count, most, replace=False))


def _fits(network: Network, features: F32, targets: F32, weights: F32) -> dict[float, Linear]:
    return fit(features, targets, weights, bias=network.head.bias is not None)


def _put(network: Network, fitted: Linear) -> None:
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(fitted.weight))
        if network.head.bias is not None:
            network.head.bias.copy_(torch.from_numpy(fitted.bias))
