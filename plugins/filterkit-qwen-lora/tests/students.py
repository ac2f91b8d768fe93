"""Students of tiny checkpoints, made without training: adapters and heads are moved at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from filterkit_qwen_lora.artifact import save_student
from filterkit_qwen_lora.base import Base, load_base, with_lora
from filterkit_qwen_lora.card import model_card
from filterkit_qwen_lora.histogram import Histogram, centres
from filterkit_qwen_lora.network import Network

from filterkit.api import FilterSpec
from filterkit.testing.samples import tiny_spec

BINS = 21


def small_spec(**changes: Any) -> FilterSpec:
    """A filter whose student reads 64 tokens."""
    return tiny_spec(**{"input": {"student": {"max_tokens": 64, "keep": "head"}}, **changes})


def nudged_network(base: Base, *, lora: bool = True, histogram: bool = True) -> Network:
    """A network on `base` (which is changed) as if it had been trained."""
    model = with_lora(base, r=4, alpha=8, dropout=0.0) if lora else base.model
    width = Network(model, base.family).head.in_features
    beside = Histogram(width, base.model.config.num_labels, BINS) if histogram else None
    network = Network(model, base.family, beside).eval()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return network


def make_student(
    folder: Path,
    checkpoint: Path,
    spec: FilterSpec,
    *,
    lora: bool = True,
    histogram: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """The artifact of a student of `checkpoint` in `folder`."""
    base = load_base(str(checkpoint), spec.names, dtype=dtype)
    network = nudged_network(base, lora=lora, histogram=histogram)
    card = model_card(spec, base_model=base.name, method="lora" if lora else "full", histogram=histogram)
    bins = centres(spec.scale.min, spec.scale.max, BINS) if histogram else None
    save_student(folder, network, base, spec, bins=bins, dtype=dtype, card=card)
    return folder
