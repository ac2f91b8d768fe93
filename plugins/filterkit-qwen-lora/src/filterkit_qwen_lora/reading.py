"""Texts as token rows with their targets, and what a network's heads read of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filterkit.api import ConfigError
from filterkit_qwen_lora.batches import cut, share
from filterkit_qwen_lora.losses import F32
from filterkit_qwen_lora.network import Network
from filterkit_qwen_lora.processes import Machine, out_of_memory
from filterkit_qwen_lora.tokens import Reader, Row

_PAD_TO = 8
"""On a GPU rows are padded to multiples of this: matrix units work in such blocks."""


@dataclass(frozen=True)
class Rows:
    """A split as the network reads it: tokens [n], targets [n, d] in scale units, NaN where unknown, weights [n]."""

    tokens: Sequence[Row]
    targets: F32
    weights: F32

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(row) for row in self.tokens]

    def take(self, rows: NDArray[np.intp]) -> Rows:
        """The given rows, in their order."""
        return Rows([self.tokens[row] for row in rows], self.targets[rows], self.weights[rows])


def padded(reader: Reader, tokens: Sequence[Row], device: torch.device) -> tuple[Tensor, Tensor]:
    """input_ids and attention_mask of some rows, on the device."""
    ids, mask = reader.pad(tokens, multiple=_PAD_TO if device.type == "cuda" else 1)
    return ids.to(device, non_blocking=True), mask.to(device, non_blocking=True)


def features_of(network: Network, reader: Reader, tokens: Sequence[Row], machine: Machine) -> F32:
    """What the heads read [n, h] of some rows, in their order; each process reads its share, and all get the whole.

    ConfigError when it is no numbers: the base is broken, or what it learnt.
    """
    network.eval()
    lengths = [len(row) for row in tokens]
    processes = machine.processes
    mine = share(range(len(tokens)), lengths, processes.rank, processes.world)
    parts = cut(mine, lengths, machine.inference_tokens)
    done: list[tuple[list[int], F32]] = []
    while parts:
        part = parts.pop()
        try:
            done.append((part, _features(network, reader, [tokens[row] for row in part], machine)))
        except RuntimeError as error:
            if len(part) == 1 or not out_of_memory(error):
                raise
            half = len(part) // 2
            parts += [part[:half], part[half:]]
    found: F32 = np.empty((len(tokens), network.head.in_features), dtype=np.float32)
    for part, values in processes.gather(done):
        found[part] = values
    if not np.isfinite(found).all():
        raise ConfigError(
            "the base model answers with what is no number",
            where="trainer qwen-lora",
            fix="Set precision: fp32 or a lower learning_rate, or take another base_model",
        )
    return found


@torch.no_grad()
def _features(network: Network, reader: Reader, tokens: Sequence[Row], machine: Machine) -> F32:
    ids, mask = padded(reader, tokens, machine.device)
    with machine.autocast():
        features, _ = network(ids, mask)
    found: F32 = features.float().cpu().numpy()
    return found
