"""What is right for each architecture, read from the model's own structure: a new one needs no new line here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from transformers.modeling_layers import GenericForSequenceClassification
from transformers.pytorch_utils import Conv1D

Pooling = Literal["last", "eos", "mask"]

_EOS_POOLED = {"bart", "bigbird_pegasus", "led", "mbart", "mt5", "mvp", "plbart", "t5", "umt5"}
"""Model types whose classification heads read the last end-of-sequence token, and refuse a batch whose rows have
different numbers of them."""
_ROUTERS = {"gate", "router", "shared_expert_gate"}
"""Linear layers that choose experts: an adapter there would change who works, not how."""


@dataclass(frozen=True)
class Family:
    """Facts of an architecture.

    name: the config's model_type. head: dotted name of the linear layer that gives the plain scores. pooling: what the
    head reads ("last": the rightmost token that is no pad, of a causal decoder; "eos": the last end of sequence;
    "mask": what the model makes of the attention mask). targets: last names of the linear layers that get adapters;
    excluded: dotted names of layers of the same names elsewhere, which get none.
    """

    name: str
    head: str
    pooling: Pooling
    targets: tuple[str, ...]
    excluded: tuple[str, ...]

    @property
    def causal(self) -> bool:
        """Whether right-padded rows are exact without any attention mask: no token sees what stands to its right."""
        return self.pooling == "last"


def family_of(model: Any) -> Family:
    """Facts of a sequence-classification model of transformers, on the meta device too. ValueError without a head.

    Adapters go on the linear layers inside of numbered blocks: in a decoder the seven of LoRA's usual recipe, in an
    encoder those of attention and feed-forward alike. A pooler or a head stands outside of the blocks.
    """
    config = model.config
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)}
    heads = [
        name
        for name, module in linear.items()
        if not _in_blocks(name) and isinstance(module, nn.Linear) and module.out_features == config.num_labels
    ]
    if not heads:
        raise ValueError(f"{type(model).__name__} has no linear head")
    inside = {name for name in linear if _in_blocks(name) and _leaf(name) not in _ROUTERS}
    targets = {_leaf(name) for name in inside}
    excluded = {name for name in linear if name not in inside and _leaf(name) in targets}
    return Family(config.model_type, heads[-1], _pooling(model), tuple(sorted(targets)), tuple(sorted(excluded)))


def backbone_of(model: Any) -> Any:
    """The model without its head."""
    return getattr(model, model.base_model_prefix)


def position_limit(model: Any) -> int | None:
    """Most tokens that learnt absolute positions allow; None where positions are relative or rotary."""
    limits = list(_position_limits(model))
    return min(limits) if limits else None


def _position_limits(model: Any) -> Iterator[int]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and _leaf(name) in {"position_embeddings", "wpe", "embed_positions"}:
            # some count positions from behind their padding index, some from a fixed offset
            before = getattr(module, "offset", 0) if module.padding_idx is None else module.padding_idx + 1
            yield module.num_embeddings - before


def _pooling(model: Any) -> Pooling:
    if model.config.model_type in _EOS_POOLED:
        return "eos"
    one_way = all(getattr(part, "is_causal", True) for part in (model.config, *model.modules()))
    return "last" if isinstance(model, GenericForSequenceClassification) and one_way else "mask"


def _in_blocks(name: str) -> bool:
    return any(part.isdigit() for part in name.split("."))


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
