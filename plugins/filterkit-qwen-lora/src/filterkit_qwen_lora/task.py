"""One training, put together: base, network, rows, lesson; and the fingerprint of all that decides its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from filterkit.api import Context, FilterSpec, InputError, Split, TrainJob
from filterkit_qwen_lora.base import Base, load_base, with_lora
from filterkit_qwen_lora.histogram import Histogram, centres
from filterkit_qwen_lora.losses import overall, row_weights
from filterkit_qwen_lora.network import Network
from filterkit_qwen_lora.options import QwenLoraOptions
from filterkit_qwen_lora.processes import Machine
from filterkit_qwen_lora.reading import Rows
from filterkit_qwen_lora.teaching import Judge, Lesson, start_histogram
from filterkit_qwen_lora.tokens import Reader

_SAMPLE = 4096
"""Bytes of every weight that count in a fingerprint, spread over all of it."""


@dataclass(frozen=True)
class Task:
    """What a training works on.

    trainable: parameters of the published recipe that learn (adapters, the plain head, modules the checkpoint lacks, or
    all); total: parameters of the base with its plain head. embeds: fingerprint of what a frozen base makes of rows of
    tokens; key: of everything that decides the student.
    """

    options: QwenLoraOptions
    spec: FilterSpec
    context: Context
    machine: Machine
    seed: int
    base: Base
    network: Network
    reader: Reader
    train: Rows
    val: Rows
    lesson: Lesson
    trainable: int
    total: int
    embeds: str
    key: str

    @property
    def judge(self) -> Judge:
        """Measures the network on the val split."""
        shares = np.asarray(self.spec.weights, dtype=np.float32)
        return Judge(self.network, self.lesson, self.machine, self.val, shares, self.options.recall_at)


def make_task(job: TrainJob, options: QwenLoraOptions, spec: FilterSpec, context: Context, machine: Machine) -> Task:
    """Load the base, read the splits, build the network. Raises ConfigError, InputError."""
    base = load_base(
        base_place(options.base_model, context.root),
        spec.names,
        revision=options.revision,
        # what is trained itself stays in float32, or small steps would be lost in rounding
        dtype=torch.bfloat16 if machine.bf16 and options.method == "lora" else torch.float32,
        seed=job.seed,
    )
    total = sum(parameter.numel() for parameter in base.model.parameters())
    fingerprint = _fingerprint(base.model)
    reading = spec.input.student
    reader = Reader(base.tokenizer, reading.max_tokens, reading.keep, limit=base.limit)
    train, val = (_rows(split, reader, spec, rarity) for split, rarity in ((job.train, options.rarity), (job.val, 0.0)))
    if not np.isfinite(train.targets).any():
        raise InputError("no article has a known score", where=job.train.path, fix="Label some, or prepare again")
    lesson = _lesson(options, spec)
    network = _network(base, options, spec, job.seed)
    trainable = _choose_trained(network, options, base.fresh)
    if network.histogram is not None:
        start_histogram(network.histogram, lesson, torch.from_numpy(train.targets))
    embeds = _digest(fingerprint, reader.key, str(machine.bf16))
    facts = [
        options.model_dump(mode="json", exclude=set(options.aside)),
        spec.target_hash,
        list(spec.weights),
        job.seed,
        embeds,
    ]
    key = _digest(json.dumps(facts, sort_keys=True), *(_content(rows) for rows in (train, val)))
    return Task(
        options=options,
        spec=spec,
        context=context,
        machine=machine,
        seed=job.seed,
        base=base,
        network=network,
        reader=reader,
        train=train,
        val=val,
        lesson=lesson,
        trainable=trainable,
        total=total,
        embeds=embeds,
        key=key,
    )


def base_place(name: str, root: Path) -> str:
    """A folder in the workspace as its path; anything else as it is: a name on the Hub."""
    try:
        folder = root / Path(name).expanduser()
        return str(folder) if folder.is_dir() else name
    except (OSError, RuntimeError, ValueError):  # no name of a file
        return name


def _rows(split: Split, reader: Reader, spec: FilterSpec, rarity: float) -> Rows:
    overalls = overall(split.targets, np.asarray(spec.weights, dtype=np.float32))
    weights = row_weights(overalls, split.weights, rarity) if split.texts else split.weights
    return Rows(reader.encode(split.texts), split.targets, weights)


def _lesson(options: QwenLoraOptions, spec: FilterSpec) -> Lesson:
    low, high = spec.scale.min, spec.scale.max
    bins = centres(low, high, options.bins)
    return Lesson(options.targets, options.loss, bins, options.width * (high - low), low, high)


def _network(base: Base, options: QwenLoraOptions, spec: FilterSpec, seed: int) -> Network:
    model = base.model
    if options.method == "lora" and options.freeze == "none":
        model = with_lora(base, r=options.lora_r, alpha=options.lora_alpha, dropout=options.lora_dropout, seed=seed)
    network = Network(model, base.family)
    if options.targets == "histogram":
        network.histogram = Histogram(network.head.in_features, len(spec.names), options.bins)
    return network


def _hand_on(network: Network, fresh: Sequence[str]) -> None:
    """Let layers that the checkpoint lacks, and that will not learn, hand on what they get instead of noise."""
    with torch.no_grad():
        for name in fresh:
            for layer in network.transformer.get_submodule(name).modules():
                if isinstance(layer, nn.Linear) and layer is not network.head and len(set(layer.weight.shape)) == 1:
                    nn.init.eye_(layer.weight)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)


def _choose_trained(network: Network, options: QwenLoraOptions, fresh: Sequence[str]) -> int:
    """Mark what learns by gradients, in float32; count what learns at all, but for the histogram."""
    if options.freeze == "encoder":
        _hand_on(network, fresh)
        network.model.requires_grad_(False)
        network.head.requires_grad_(True)
    elif options.method == "full":
        network.model.requires_grad_(True)
    learning = [parameter for parameter in network.model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.data = parameter.data.float()
    if network.histogram is not None:  # the plain head is fitted at the end
        network.head.requires_grad_(False)
    return sum(parameter.numel() for parameter in learning)


def _fingerprint(model: nn.Module) -> str:
    """Changes with the base's weights: a hash over some bytes of each, without reading gigabytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().reshape(-1)
        some = flat[:: max(1, flat.numel() // _SAMPLE)].float().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(some.numpy().tobytes())
    return digest.hexdigest()


def _content(rows: Rows) -> str:
    digest = hashlib.sha256()
    for row in rows.tokens:
        digest.update(len(row).to_bytes(8, "little") + np.ascontiguousarray(row, dtype="<i4").tobytes())
    digest.update(np.ascontiguousarray(rows.targets).tobytes() + np.ascontiguousarray(rows.weights).tobytes())
    return digest.hexdigest()


def _digest(*parts: Any) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
