"""What a training needs of a device's memory, and what is done so that it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch

from filterkit_qwen_lora.blueprint import Blueprint
from filterkit_qwen_lora.options import QwenLoraOptions, bytes_of
from filterkit_qwen_lora.processes import bf16_is_quick
from filterkit_qwen_lora.simulate import Footprint

STANDING_RESERVE = 800_000_000
"""Bytes for what no tensor shows: CUDA's context and its libraries' workspaces; on a CPU Python and its libraries."""
FRAGMENTATION = 0.05
"""Share of the activations by which an allocator's rounding and gaps exceed them."""
_ENOUGH_TOKENS = 512
"""Micro-batches of fewer tokens leave a device idle; checkpointing then costs less than they do."""
_GRADIENT = 4
_ADAMW = 8


@dataclass(frozen=True)
class Hardware:
    """What to plan for. bytes: of memory that may be used; bf16: whether matrix products run in bf16 on it."""

    name: str
    bytes: int
    cuda: bool
    bf16: bool


@dataclass(frozen=True)
class Memory:
    """Bytes that live at the worst moment of a step. activations: the peak beside all that stays."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    reserve: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations + self.reserve


@dataclass(frozen=True)
class Decision:
    """How a batch is taken. micro_batch_tokens: most tokens at once, padding included; fits: whether it is enough."""

    checkpointing: bool
    micro_batch_tokens: int
    fits: bool
    memory: Memory


def hardware_for(options: QwenLoraOptions, device: torch.device | None = None) -> Hardware:
    """options.gpu_memory where it is given, else `device`; None: the card at hand, and without one this computer.

    With precision auto, a card that is not at hand counts as one that computes in float32 only.
    """
    if device is None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cuda = device.type == "cuda"
    bf16 = options.precision == "bf16"
    if options.gpu_memory is not None:
        quick = options.precision == "auto" and cuda and bf16_is_quick(device)
        return Hardware(f"a GPU of {options.gpu_memory}", bytes_of(options.gpu_memory), cuda=True, bf16=bf16 or quick)
    bf16 = bf16 or (options.precision == "auto" and bf16_is_quick(device))
    if cuda:
        return Hardware(torch.cuda.get_device_name(device), torch.cuda.mem_get_info(device)[0], cuda=True, bf16=bf16)
    return Hardware("this computer, without a CUDA GPU", psutil.virtual_memory().available, cuda=False, bf16=bf16)


def decide(
    options: QwenLoraOptions, config: Any, max_tokens: int, hardware: Hardware, *, processes: int = 1
) -> Decision:
    """How to train the base of `config` (base.load_config's) on articles of at most `max_tokens` tokens.

    processes: so many share a batch, each with hardware of its own. Runs a few layers without data: a second or two.
    """
    blueprint = Blueprint(options, config, bf16=hardware.bf16, cuda=hardware.cuda)
    return decide_for(blueprint, max_tokens, hardware, processes=processes)


def decide_for(blueprint: Blueprint, max_tokens: int, hardware: Hardware, *, processes: int = 1) -> Decision:
    """As `decide`. The whole batch at once where it fits; else micro-batches; else checkpointing, and these."""
    options = blueprint.options
    batch = -(-options.batch_size // processes)
    standing = _standing(blueprint)
    free = hardware.bytes - standing.total
    asked = None if options.micro_batch_tokens is None else min(batch, max(1, options.micro_batch_tokens // max_tokens))
    found = []
    for checkpointing in _choices(options):
        each = blueprint.footprint(max_tokens, checkpointing=checkpointing)
        rows = asked or min(batch, _rows_that_fit(each, free))
        fits = rows >= 1 and each.peak(rows) * (1 + FRAGMENTATION) <= free
        found.append(_decision(each, checkpointing, max(1, rows), max_tokens, fits, standing))
        if fits and (rows == batch or asked or rows * max_tokens >= _ENOUGH_TOKENS):
            break
    return next((one for one in reversed(found) if one.fits), found[-1])


def _choices(options: QwenLoraOptions) -> tuple[bool, ...]:
    """Whether to checkpoint, in the order of preference."""
    if options.freeze == "encoder":
        return (False,)
    return (False, True) if options.checkpointing is None else (options.checkpointing,)


def _standing(blueprint: Blueprint) -> Memory:
    """What is there all the time."""
    sizes = blueprint.sizes
    learning = sizes.trainable + sizes.histogram
    return Memory(sizes.weight_bytes, _GRADIENT * learning, _ADAMW * learning, 0.0, STANDING_RESERVE)


def _rows_that_fit(footprint: Footprint, free: float) -> int:
    room = free / (1 + FRAGMENTATION)
    if room < footprint.embedding:
        return 0
    return int(min(max(0.0, room - line.fixed) // line.each for line in (footprint.forward, footprint.backward)))


def _decision(
    footprint: Footprint, checkpointing: bool, rows: int, max_tokens: int, fits: bool, standing: Memory
) -> Decision:
    peak = footprint.peak(rows)
    memory = Memory(
        standing.weights,
        standing.gradients,
        standing.optimizer,
        peak,
        standing.reserve + FRAGMENTATION * peak,
    )
    return Decision(checkpointing, rows * max_tokens, fits, memory)
