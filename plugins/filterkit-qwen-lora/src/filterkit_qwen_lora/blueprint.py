"""A base with its heads and adapters as it will be trained, on the meta device: shapes without weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoModelForSequenceClassification

from filterkit_qwen_lora.base import Base, recompute_activations, with_lora
from filterkit_qwen_lora.families import Family, backbone_of, family_of, position_limit
from filterkit_qwen_lora.network import Network
from filterkit_qwen_lora.options import QwenLoraOptions
from filterkit_qwen_lora.quiet import quiet
from filterkit_qwen_lora.simulate import CudaFloat32, Footprint, footprint


@dataclass(frozen=True)
class Sizes:
    """Numbers of parameters.

    backbone: the base. head: the plain head, with whatever else stands between it and the base. adapters: LoRA's.
    histogram: the head beside. trainable: what learns of the model that plain transformers loads (adapters, head,
    modules that the checkpoint lacks, or all), the histogram not included. multiplied: what every token is multiplied
    with (all but embeddings). weight_bytes: of all of it.
    """

    backbone: int
    head: int
    adapters: int
    histogram: int
    trainable: int
    multiplied: int
    weight_bytes: int


class UnknownFootprintError(Exception):
    """What this architecture takes cannot be found out without data."""


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # models of any origin, run in a way that nobody wrote them for
        raise UnknownFootprintError(str(error)) from error


class Blueprint:
    """What would be trained. `config` is base.load_config's; `bf16`: matrix products in bf16; `cuda`: on a GPU."""

    def __init__(self, options: QwenLoraOptions, config: Any, *, bf16: bool, cuda: bool) -> None:
        self.options = options
        self.config = copy.deepcopy(config)
        self.bf16 = bf16
        self.cuda = cuda
        if self.config.pad_token_id is None:
            self.config.pad_token_id = 0  # load_base finds the right one, which takes the tokenizer
        self._footprints: dict[tuple[int, bool], Footprint] = {}

    @cached_property
    def _plain(self) -> Any:
        """The model without adapters."""
        return self._classifier(self.config)

    @cached_property
    def _family(self) -> Family:
        return family_of(self._plain)

    @cached_property
    def sizes(self) -> Sizes:
        """Parameters by what they are."""
        plain = self._plain
        backbone, whole = _count(backbone_of(plain)), _count(plain)
        embedded = sum(_count(module) for module in plain.modules() if isinstance(module, nn.Embedding))
        model = self._model(self.config)
        features = Network(model, self._family).head.in_features
        dimensions, bins = self.config.num_labels, self.options.bins
        histogram = dimensions * bins * (features + 1) if self.options.targets == "histogram" else 0
        return Sizes(
            backbone=backbone,
            head=whole - backbone,
            adapters=sum(p.numel() for name, p in model.named_parameters() if "lora_" in name),
            histogram=histogram,
            trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
            multiplied=whole - embedded,
            weight_bytes=sum(p.nbytes for p in model.parameters()) + 4 * histogram,
        )

    def footprint(self, tokens: int, *, checkpointing: bool) -> Footprint:
        """Memory of micro-batches whose rows have `tokens` tokens."""
        key = (tokens, checkpointing)
        if key not in self._footprints:
            with quiet(), _told():
                self._footprints[key] = footprint(
                    lambda config: self._backbone(config, checkpointing),
                    self._on_this_device(self.config),
                    tokens,
                    learns=self.options.freeze == "none",
                    masked=not self._family.causal,
                    bf16=self.bf16,
                    cuda=self.cuda,
                )
        return self._footprints[key]

    @property
    def position_limit(self) -> int | None:
        """Most tokens that the base can read at all; None: no such limit."""
        return position_limit(self._plain)

    @property
    def _dtype(self) -> torch.dtype:
        """Of the base while it is trained: what learns itself stays in float32."""
        return torch.bfloat16 if self.bf16 and self.options.method == "lora" else torch.float32

    def _classifier(self, config: Any) -> Any:
        with torch.device("meta"), quiet():
            return AutoModelForSequenceClassification.from_config(config, dtype=self._dtype)  # type: ignore[no-untyped-call]

    def _model(self, config: Any) -> Any:
        """The model with its adapters; what learns asks for gradients."""
        options, model = self.options, self._classifier(config)
        family = family_of(model)
        if options.freeze == "encoder":
            model.requires_grad_(False)
            model.get_submodule(family.head).requires_grad_(True)
        elif options.method == "lora":
            fresh = _fresh(model, family)
            for name in fresh:
                model.get_submodule(name).float()
            base = Base(model, None, family, fresh, options.base_model, options.revision, self._dtype, None)
            model = with_lora(base, r=options.lora_r, alpha=options.lora_alpha, dropout=options.lora_dropout)
        return model

    def _backbone(self, config: Any, checkpointing: bool) -> Any:
        model = self._model(config)
        model = model.get_base_model() if hasattr(model, "get_base_model") else model
        if checkpointing:
            recompute_activations(model, context_fn=lambda: (nullcontext(), CudaFloat32(self.bf16 and self.cuda)))
        return backbone_of(model)

    def _on_this_device(self, config: Any) -> Any:
        """CUDA's fused attention drops out without storing the attention matrix. The CPU's, with which this is
        measured, cannot: so where a GPU would use it, it is measured without dropout."""
        if not (self.cuda and self._plain._supports_sdpa):
            return config
        config = copy.deepcopy(config)
        for name in ("attention_dropout", "attention_probs_dropout_prob"):
            if hasattr(config, name):
                setattr(config, name, 0.0)
        return config


def _fresh(model: Any, family: Family) -> tuple[str, ...]:
    """Modules around the backbone that a checkpoint lacks: the head, and what its own architecture does not have."""
    published = getattr(transformers, (getattr(model.config, "architectures", None) or [""])[0], None)
    there: set[str] = set()
    if published is not None:
        with torch.device("meta"), quiet():
            there = set(published(copy.deepcopy(model.config)).state_dict())
    lacking = {key.split(".")[0] for key in model.state_dict() if key not in there}
    return tuple(sorted({family.head.split(".")[0]} | lacking - {model.base_model_prefix}))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
