"""What one step of training holds in memory, found by running the very model on tensors that have shapes and no data.

There is no formula to maintain: whatever an architecture keeps for its backward pass is what is counted. Two and three
layers are run and the rest is extrapolated, since every further layer of a stack costs the same.
"""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from transformers import masking_utils

LAYERS = (2, 3)  # the first layer may differ from the others (ModernBERT), so the growth is taken behind it
ROWS = (2, 4)  # not 1, for which some kernels broadcast instead of storing


@dataclass(frozen=True)
class Line:
    """Bytes of a micro-batch of n rows: fixed + each * n."""

    fixed: float
    each: float

    def of(self, rows: int) -> float:
        return self.fixed + self.each * rows


@dataclass(frozen=True)
class Footprint:
    """What a micro-batch needs beside weights, gradients and optimizer.

    saved: bytes that the forward pass leaves for the backward pass. forward, backward: the most that lives at any
    moment of that pass (what was saved included). embedding: bytes of the gradient of the largest embedding that
    learns, which is made at the very end.
    """

    saved: Line
    forward: Line
    backward: Line
    embedding: int

    def peak(self, rows: int) -> float:
        return max(self.forward.of(rows), self.backward.of(rows), self.embedding)


def footprint(
    build: Callable[[Any], Any], config: Any, tokens: int, *, learns: bool, masked: bool, bf16: bool, cuda: bool
) -> Footprint:
    """Of the backbone that `build(config)` makes on the meta device, for rows of `tokens` tokens.

    learns: with a backward pass; otherwise forward only, in eval mode. masked: rows are given with an attention mask.
    bf16: run under autocast; cuda: by CUDA's rules of what autocast computes in float32. The kernels are the CPU's:
    its fused attention keeps what CUDA's does (queries, keys, values, result, logsumexp, mask).
    """
    depth = int(config.num_hidden_layers)
    few, more = LAYERS if depth > LAYERS[1] else (depth, depth)
    points: dict[int, list[tuple[int, ...]]] = {}
    embedding = 0
    for layers in {few, more}:
        backbone = build(_sliced(config, layers))
        embedding = max((w.nbytes for w in _embeddings(backbone) if w.requires_grad), default=0)
        points[layers] = [_run(backbone, n, tokens, learns=learns, masked=masked, bf16=bf16, cuda=cuda) for n in ROWS]
    lines = []
    for few_bytes, more_bytes in zip(zip(*points[few], strict=True), zip(*points[more], strict=True), strict=True):
        at = [a + (b - a) * (depth - few) for a, b in zip(few_bytes, more_bytes, strict=True)]
        each = (at[1] - at[0]) / (ROWS[1] - ROWS[0])
        lines.append(Line(max(0.0, at[0] - each * ROWS[0]), each))
    saved, forward, backward = lines
    return Footprint(saved, forward, backward, embedding)


def _embeddings(model: nn.Module) -> Iterator[Tensor]:
    return (module.weight for module in model.modules() if isinstance(module, nn.Embedding))


def _sliced(config: Any, layers: int) -> Any:
    """The same architecture with so many layers. A decoder of another depth than its encoder stays whole."""
    config, depth = copy.deepcopy(config), config.num_hidden_layers
    config.num_hidden_layers = layers
    if getattr(config, "num_decoder_layers", None) == depth:
        config.num_decoder_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = list(config.layer_types[:layers])
    return config


def _run(
    backbone: Any, rows: int, tokens: int, *, learns: bool, masked: bool, bf16: bool, cuda: bool
) -> tuple[int, int, int]:
    """Bytes saved for the backward pass, the most during the forward pass, the most during the backward pass."""
    saved: dict[int, int] = {}

    def save(tensor: Tensor) -> Tensor:
        saved[_key(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with contextlib.ExitStack() as stack:
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(_without_packing())
        _give_storage(backbone)
        backbone.train(learns)
        inputs = _inputs(backbone, rows, tokens, masked)
        held = {_key(tensor) for tensor in _held(backbone)}
        live = stack.enter_context(_LiveBytes(held))
        stack.enter_context(torch.set_grad_enabled(learns))
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16), CudaFloat32(bf16 and cuda):
            hidden = backbone(**inputs).last_hidden_state
        kept = sum(size for key, size in saved.items() if key not in held)
        forward, live.peak = live.peak, live.now
        if learns:
            hidden[:, -1].float().sum().backward()
        del hidden
    return kept, forward, live.peak


@contextlib.contextmanager
def _without_packing() -> Iterator[None]:
    """Transformers looks whether rows are packed documents. It needs data for that; without any it makes a mask."""
    name = "find_packed_sequence_indices"
    before = getattr(masking_utils, name, None)
    setattr(masking_utils, name, lambda _: None)
    try:
        yield
    finally:
        setattr(masking_utils, name, before)


def _inputs(backbone: Any, rows: int, tokens: int, masked: bool) -> dict[str, Any]:
    ids = torch.zeros((rows, tokens), dtype=torch.long)
    inputs: dict[str, Any] = {"input_ids": ids}
    if masked:
        inputs["attention_mask"] = torch.ones_like(ids)
    if getattr(backbone.config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = ids
    if getattr(backbone.config, "use_cache", None) is not None:
        inputs["use_cache"] = False
    return inputs


def _give_storage(model: nn.Module) -> None:
    """Every weight and buffer gets a CPU storage without data (under FakeTensorMode), every weight its gradient.

    A gradient is there before the first backward pass, as it is in all micro-batches but the first: so it is not
    counted among the activations. Embeddings get none: theirs is made when all layers' memory is free again, and would
    hide the layers' peak in a model cut to a few of them.
    """
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
        for name, weight in module._parameters.items():
            if weight is not None:
                learns = weight.requires_grad and not isinstance(module, nn.Embedding)
                fake = nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype), learns)
                fake.grad = torch.empty_like(fake) if learns else None
                module._parameters[name] = fake


def _held(model: nn.Module) -> Iterator[Tensor]:
    yield from model.buffers()
    for weight in model.parameters():
        yield weight
        if weight.grad is not None:
            yield weight.grad


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all storages made inside it that are still alive; those of `held` do not count."""

    def __init__(self, held: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._held = held
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return out

    def _count(self, tensor: Tensor) -> None:
        key, storage = _key(tensor), tensor.untyped_storage()
        if key in self._held or key in self._alive:
            return
        size = storage.nbytes()

        def gone(_: Any) -> None:
            self.now -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


class CudaFloat32(TorchFunctionMode):
    """CUDA's autocast computes some functions in float32 that the CPU's leaves in bfloat16.

    A mode does not reach the backward pass: layers that are run again there need one of their own.
    """

    _FUNCTIONS = frozenset(
        {
            torch.nn.functional.layer_norm,
            torch.nn.functional.softmax,
            torch.nn.functional.log_softmax,
            torch.softmax,
            torch.log_softmax,
            Tensor.softmax,
        }
    )

    def __init__(self, enabled: bool) -> None:
        super().__init__()
        self._enabled = enabled

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._enabled and func in self._FUNCTIONS:
            args, kwargs = tree_map_only(Tensor, _float32, (args, kwargs))
        return func(*args, **kwargs)


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
