"""A student's folder: the merged model at the root, the adapter, the tokenizer, the histogram, the plugin's facts.

There is one way to write it. The root is made anew from the model's config and the merged weights, so that its names
are those of transformers' own checkpoints whatever the network went through; equal students make equal bytes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from filterkit.api import ArtifactError, FilterkitError, FilterSpec
from filterkit_qwen_lora.base import Base, load_tokenizer
from filterkit_qwen_lora.families import family_of
from filterkit_qwen_lora.histogram import Histogram
from filterkit_qwen_lora.network import Network
from filterkit_qwen_lora.quiet import quiet
from filterkit_qwen_lora.tokens import Reader

FORMAT = 1
ABOUT, HISTOGRAM, ADAPTER, CARD = "student.json", "histogram.safetensors", "adapter", "README.md"
_SHARD = "4GB"
_STORED = {str(dtype).removeprefix("torch."): dtype for dtype in (torch.float32, torch.bfloat16, torch.float16)}


@dataclass(frozen=True)
class Loaded:
    """A student off the disk: its network (eval mode), its reader, bins [b] where it has a histogram, stored dtype."""

    network: Network
    reader: Reader
    bins: Tensor | None
    stored: torch.dtype


def save_student(
    folder: Path,
    network: Network,
    base: Base,
    spec: FilterSpec,
    *,
    bins: Tensor | None,
    dtype: torch.dtype,
    card: str,
) -> None:
    """Write the artifact. The network (with or without adapters) is left as it is, on the device where it is.

    bins [b]: the histogram's centres, exactly where the network has a histogram. dtype: precision of the merged weights
    on disk. card: the README.md (card.model_card). Adapters are written to adapter/, where there are any.
    """
    if (bins is None) != (network.histogram is None):
        raise ValueError("bins and a histogram come together")
    folder.mkdir(parents=True, exist_ok=True)
    reading = spec.input.student
    reads = Reader(base.tokenizer, reading.max_tokens, reading.keep, limit=base.limit).max_tokens
    with quiet():
        _save_root(folder, network, dtype)
        _save_tokenizer(folder, base.tokenizer, reads)
        if isinstance(network.model, PeftModel):
            _save_adapter(folder / ADAPTER, network.model)
    if network.histogram is not None and bins is not None:
        tensors = {"bins": bins, **network.histogram.linear.state_dict()}
        save_file({name: _to_disk(tensor, torch.float32) for name, tensor in tensors.items()}, folder / HISTOGRAM)
    facts = {
        "format": FORMAT,
        "dimensions": list(spec.names),
        "scale": [spec.scale.min, spec.scale.max],
        "max_tokens": reading.max_tokens,
        "keep": reading.keep,
        "reads": reads,
        "histogram": bins is not None,
        "weights": str(dtype).removeprefix("torch."),
    }
    (folder / ABOUT).write_text(json.dumps(facts, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8")


def load_student(folder: Path, spec: FilterSpec, *, dtype: torch.dtype | None = None, device: str = "cpu") -> Loaded:
    """The student of `folder` for the filter `spec`; dtype None: as stored. Raises ArtifactError in one line."""
    try:
        facts = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise ArtifactError(
                f"is a student of format {facts['format']}; this version reads format {FORMAT}",
                where=folder,
                fix="Use the filterkit-qwen-lora it was trained with, or train again",
            )
        _check(facts, spec, folder)
        with quiet():
            return _load(folder, facts, dtype, device)
    except (FilterkitError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # damaged files make several libraries fail in ways that are not to be listed
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise ArtifactError(f"is not a readable student ({what})", where=folder, fix="Train it again") from error


def merged_state(network: Network, store: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> dict[str, Tensor]:
    """The weights with the adapters added in, under the names of a plain model; the network is left as it is.

    What is merged is float32, so that the sum is rounded once: by `store`, which each is given as soon as it is there,
    since all of them at once in float32 may not fit.
    """
    layers = {name: part for name, part in network.transformer.named_modules() if isinstance(part, LoraLayer)}
    trained = [name for name, part in network.transformer.named_modules() if isinstance(part, ModulesToSaveWrapper)]
    state: dict[str, Tensor] = {}
    for name, tensor in network.transformer.state_dict().items():
        owner, _, leaf = name.rpartition(".")
        if owner.endswith(".base_layer"):
            plain = owner.removesuffix(".base_layer")
            state[f"{plain}.{leaf}"] = store(_with_adapter(layers[plain], tensor) if leaf == "weight" else tensor)
        elif ".lora_" not in f".{name}":
            state[name] = store(tensor)
    for name in trained:
        for key in [key for key in state if key.startswith(f"{name}.")]:
            tensor, rest = state.pop(key), key.removeprefix(f"{name}.")
            if rest.startswith("modules_to_save.default."):
                state[f"{name}.{rest.removeprefix('modules_to_save.default.')}"] = tensor
    return state


def _with_adapter(layer: Any, weight: Tensor) -> Tensor:
    with torch.no_grad():
        merged = weight.float()
        for adapter in layer.active_adapters:
            merged = merged + layer.get_delta_weight(adapter).float()
        return merged


def _save_root(folder: Path, network: Network, dtype: torch.dtype) -> None:
    config = copy.deepcopy(network.transformer.config)
    with torch.device("meta"):
        plain = type(network.transformer)(config)
    plain.load_state_dict(merged_state(network, lambda tensor: _to_disk(tensor, dtype)), assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder, max_shard_size=_SHARD)
    # whatever the weights are stored in, tools compute in float32 unless told otherwise, and so agree with filterkit
    written = folder / "config.json"
    facts = json.loads(written.read_text(encoding="utf-8"))
    facts["dtype"] = "float32"
    written.write_text(json.dumps(facts, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def _save_tokenizer(folder: Path, tokenizer: Any, reads: int) -> None:
    """Cut at what the student reads, so that any tool that truncates at all truncates there; no templates for chats."""
    before = tokenizer.model_max_length, tokenizer.chat_template
    tokenizer.model_max_length, tokenizer.chat_template = reads, None
    try:
        tokenizer.save_pretrained(folder)
    finally:
        tokenizer.model_max_length, tokenizer.chat_template = before


def _save_adapter(folder: Path, model: Any) -> None:
    """As peft saves it, but in one order, and without its card, which is about nothing and names local folders."""
    folder.mkdir(exist_ok=True)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = {name: _to_disk(tensor, tensor.dtype) for name, tensor in state.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = copy.copy(model.peft_config["default"])
    config.inference_mode = True
    config.target_modules = sorted(config.target_modules)
    config.modules_to_save = sorted(set(config.modules_to_save))
    config.save_pretrained(str(folder))


def _to_disk(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    kept = tensor.to("cpu", dtype if tensor.is_floating_point() else tensor.dtype)
    return kept.detach().contiguous()


def _load(folder: Path, facts: dict[str, Any], dtype: torch.dtype | None, device: str) -> Loaded:
    stored = _STORED[facts["weights"]]
    model, found = AutoModelForSequenceClassification.from_pretrained(
        folder,
        dtype=dtype or stored,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
        trust_remote_code=False,
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found[kind]:
            raise ValueError(f"{kind.replace('_', ' ')}: {min(map(str, found[kind]))}")
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    if names != facts["dimensions"]:
        raise ValueError("its model has other labels than it says")
    reader = Reader(load_tokenizer(str(folder)), int(facts["reads"]), facts["keep"])
    histogram, bins = _load_histogram(folder, len(names)) if facts["histogram"] else (None, None)
    network = Network(model, family_of(model), histogram).eval().requires_grad_(False).to(device)
    if histogram is not None and histogram.linear.in_features != network.head.in_features:
        raise ValueError("its histogram is of another model")
    return Loaded(network, reader, bins, stored)


def _load_histogram(folder: Path, dimensions: int) -> tuple[Histogram, Tensor]:
    tensors = load_file(folder / HISTOGRAM)
    bins, weight = tensors.pop("bins"), tensors["weight"]
    if not all(torch.isfinite(one).all() for one in (bins, *tensors.values())):
        raise ValueError(f"{HISTOGRAM} holds numbers that are not finite")
    histogram = Histogram(weight.shape[1], dimensions, len(bins))
    histogram.linear.load_state_dict(tensors)
    return histogram, bins


def _check(facts: dict[str, Any], spec: FilterSpec, folder: Path) -> None:
    """ArtifactError unless the student was trained for this filter's dimensions, scale and input."""
    reading = spec.input.student
    same = {
        "dimensions": facts["dimensions"] == list(spec.names),
        "scale": facts["scale"] == [spec.scale.min, spec.scale.max],
        "student input": (facts["max_tokens"], facts["keep"]) == (reading.max_tokens, reading.keep),
    }
    other = [name for name, equal in same.items() if not equal]
    if other:
        raise ArtifactError(
            f"was trained for another {' and '.join(other)} than the filter's", where=folder, fix="Train it again"
        )
