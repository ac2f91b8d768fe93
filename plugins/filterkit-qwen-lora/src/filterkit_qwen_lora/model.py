"""Model `hf-sequence-classification`: scores with a student that plain transformers loads too."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from filterkit.api import ConfigError, Model, Options, Prediction, Scorer
from filterkit_qwen_lora.artifact import ABOUT, Loaded, load_student
from filterkit_qwen_lora.histogram import medians
from filterkit_qwen_lora.options import HfModelOptions
from filterkit_qwen_lora.tokens import Row

_CPU_ROWS, _GPU_ROWS = 64, 512
_CPU_TOKENS, _GPU_TOKENS = 4096, 32768
"""Rows a call, and tokens (padding included) that go through the model at once. On a CPU more at once is no quicker."""


class HfScorer(Scorer):
    """One student on one device. `bound` is the scale, to which scores are cut; None: the plain head's own numbers."""

    def __init__(
        self, student: Loaded, device: str, threads: int | None, *, best: bool, bound: tuple[float, float]
    ) -> None:
        self._student: Loaded | None = student
        self._device = device
        self._threads = threads
        self._histogram = best and student.bins is not None
        self._bound = bound if best else None
        on_cpu = device == "cpu"
        self.max_batch = _CPU_ROWS if on_cpu else _GPU_ROWS
        self._tokens = _CPU_TOKENS if on_cpu else _GPU_TOKENS
        self.share_key = student.reader.key

    def encode(self, texts: Sequence[str]) -> list[Row]:
        """Token ids, one row per text."""
        return self._loaded.reader.encode(texts)

    def predict(self, encoded: list[Row]) -> Prediction:
        """Scores and, with a histogram, its probabilities. A row whose numbers are not finite becomes an error."""
        student = self._loaded
        dimensions = student.network.head.out_features
        bins = None if student.bins is None or not self._histogram else student.bins
        scores = np.full((len(encoded), dimensions), np.nan, dtype=np.float32)
        probs = (
            None if bins is None else np.full((len(encoded), dimensions, len(bins)), 1 / len(bins), dtype=np.float16)
        )
        with torch.inference_mode(), _threads(self._threads):
            for rows in inner_batches([len(row) for row in encoded], self._tokens):
                self._fill(rows, encoded, scores, probs)
        failed = np.flatnonzero(~np.isfinite(scores).all(axis=1))
        scores[failed] = np.nan
        if self._bound is not None:
            scores = scores.clip(*self._bound).astype(np.float32)
        return Prediction(
            scores=scores,
            bins=None if bins is None else bins.numpy(),
            probs=probs,
            errors={int(row): "the model's answer is not a finite number" for row in failed},
        )

    def close(self) -> None:
        """Free the weights, unless another scorer shares them."""
        self._student = None
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()

    @property
    def _loaded(self) -> Loaded:
        if self._student is None:
            raise RuntimeError("the scorer is closed")
        return self._student

    def _fill(self, rows: list[int], encoded: list[Row], scores: NDArray[Any], probs: NDArray[Any] | None) -> None:
        """Scores (and probabilities) of some rows; where they are too many for the memory, one half after the other."""
        try:
            found, distribution = self._forward([encoded[i] for i in rows])
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
            torch.cuda.empty_cache()
            self._tokens = len(rows) * len(encoded[rows[0]]) // 2
            for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
                self._fill(half, encoded, scores, probs)
            return
        scores[rows] = found
        if probs is not None and distribution is not None:
            finite = np.isfinite(found).all(axis=1)
            probs[np.asarray(rows)[finite]] = distribution[finite]

    def _forward(self, rows: list[Row]) -> tuple[NDArray[Any], NDArray[Any] | None]:
        student = self._loaded
        ids, mask = student.reader.pad(rows)
        features, plain = student.network(ids.to(self._device), mask.to(self._device))
        if not self._histogram or student.network.histogram is None or student.bins is None:
            return plain.cpu().numpy(), None
        distribution = student.network.histogram(features).exp().cpu()
        found = medians(distribution, student.bins)
        found[~torch.isfinite(distribution).all(dim=-1)] = torch.nan
        return found.numpy(), distribution.to(torch.float16).numpy()


class HfModel(Model[HfModelOptions]):
    """Reads an artifact folder."""

    Options: ClassVar[type[Options]] = HfModelOptions

    def load(
        self,
        ref: str,
        *,
        device: str = "auto",
        threads: int | None = None,
        shared: MutableMapping[str, Any] | None = None,
    ) -> HfScorer:
        """The scorer; filters that share a folder share its weights. Raises ArtifactError, ConfigError (device)."""
        folder = Path(ref)
        where = pick_device(device)
        dtype = self._dtype(where)

        def load() -> Loaded:
            return load_student(folder, self.spec, dtype=dtype, device=where)

        if shared is None:
            student = load()
        else:
            key = _key(folder, where, dtype, self.spec.target_hash)
            student = shared[key] if key in shared else shared.setdefault(key, load())
        scale = self.spec.scale
        best = self.options.head == "best"
        return HfScorer(student, where, threads, best=best, bound=(scale.min, scale.max))

    def _dtype(self, device: str) -> torch.dtype | None:
        """Precision to compute in; None: that of the stored weights."""
        precision = self.options.precision
        if precision == "auto":
            return torch.float32 if device == "cpu" else None
        return torch.float32 if precision == "fp32" else torch.bfloat16


def pick_device(device: str) -> str:
    """ "auto" as the best device at hand, any other as it is. ConfigError when this torch has no such device."""
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = " ".join(str(error).split())[:120]
        raise ConfigError(f"cannot be used ({why})", where=f"device {device!r}", fix="Use auto or cpu") from error
    return device


def inner_batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Row numbers in groups of similar length, the longest first; a group padded holds at most `tokens`, or one row."""
    group: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if group and (len(group) + 1) * lengths[group[0]] > tokens:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _key(folder: Path, device: str, dtype: torch.dtype | None, target_hash: str) -> str:
    about = folder / ABOUT
    written = about.stat().st_mtime_ns if about.is_file() else 0
    return f"hf-sequence-classification:{folder.resolve()}:{written}:{device}:{dtype}:{target_hash}"


@contextmanager
def _threads(limit: int | None) -> Iterator[None]:
    """At most `limit` threads of the CPU while the block runs."""
    before = torch.get_num_threads()
    if limit is not None:
        torch.set_num_threads(limit)
    try:
        yield
    finally:
        if limit is not None:
            torch.set_num_threads(before)
