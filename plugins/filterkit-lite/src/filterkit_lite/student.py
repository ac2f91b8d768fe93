"""A trained lite student: its parts, what it answers, and how it lies on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from filterkit.api import ArtifactError
from filterkit_lite.embedding import StaticEmbedding
from filterkit_lite.encoder import Encoded, Encoder
from filterkit_lite.features import NgramSpace, Projector, blocks
from filterkit_lite.histogram import distributions, medians
from filterkit_lite.ridge import Ridge, squared_distances
from filterkit_lite.stack import Answers, Stack

F32 = NDArray[np.float32]

FORMAT = 1
WEIGHTS, BASE, TOKENIZER, ABOUT = "lite.safetensors", "embedding.safetensors", "tokenizer.json", "lite.json"
LICENCE = "EMBEDDING-LICENSE.txt"
_BATCH = 64
"""Rows that go through the kernels at once. Always this many, padded: a matrix product rounds differently for other
shapes, and a score must not depend on which texts stand beside it."""


@dataclass(frozen=True)
class Student:
    """bins [b] in scale units; block_scale [3] multiplies the blocks of a text; landmarks [m, p] are scaled texts."""

    space: NgramSpace
    block_scale: F32
    landmarks: F32
    stack: Stack
    bins: F32

    def rows(self, parts: tuple[F32, F32, F32]) -> F32:
        """Blocks of n texts side by side and scaled, [n, p]."""
        return scaled(parts, self.block_scale)

    def histograms(self, encoded: Encoded, project: Projector) -> F32:
        """Distributions [n, d, b] over the bins."""
        rows = self.rows(blocks(encoded, project))
        padded = np.zeros((-(-len(rows) // _BATCH) * _BATCH, rows.shape[1]), dtype=np.float32)
        padded[: len(rows)] = rows
        found = np.zeros((len(padded), self.dimensions, len(self.bins)), dtype=np.float32)
        for start in range(0, len(padded), _BATCH):
            piece = slice(start, start + _BATCH)
            found[piece] = distributions(self.stack(squared_distances(padded[piece], self.landmarks)))
        return found[: len(rows)]

    def scores(self, histograms: F32) -> F32:
        """Scores [n, d] in scale units."""
        return medians(histograms, self.bins)

    @property
    def dimensions(self) -> int:
        """Scores per text."""
        return len(self.stack.first.offset)

    @property
    def size(self) -> int:
        """Numbers learnt."""
        learnt = (self.space.projection, self.stack.first.alpha, self.stack.second.alpha)
        return sum(one.size for one in learnt)


def scaled(parts: tuple[F32, F32, F32], scale: F32) -> F32:
    """Blocks [n, ·] side by side, each times its scale: [n, p]."""
    return np.concatenate([part * by for part, by in zip(parts, scale, strict=True)], axis=1, dtype=np.float32)


def save(student: Student, encoder: Encoder, about: dict[str, Any], folder: Path) -> None:
    """Write the artifact: safetensors, the tokenizer and the parameters as JSON. Equal students, equal bytes."""
    stack = student.stack
    tensors: dict[str, NDArray[Any]] = {
        "bins": student.bins,
        "ngram.buckets": student.space.buckets,
        "ngram.projection": student.space.projection,
        "block_scale": student.block_scale,
        "landmarks": student.landmarks,
        "first.alpha": stack.first.alpha,
        "first.offset": stack.first.offset,
        "answers.shift": stack.answers.shift,
        "answers.scale": stack.answers.scale,
        "answers.landmarks": stack.answers.landmarks,
        "second.alpha": stack.second.alpha,
        "second.offset": stack.second.offset,
    }
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / WEIGHTS)
    if encoder.embedding is not None:
        save_file({"embedding": encoder.embedding.stored}, folder / BASE)
        (folder / TOKENIZER).write_text(encoder.embedding.tokenizer_json, encoding="utf-8")
        if encoder.embedding.licence:
            (folder / LICENCE).write_text(encoder.embedding.licence, encoding="utf-8")
    facts = {
        "format": FORMAT,
        "embedding": encoder.embedding is not None,
        "max_tokens": encoder.max_tokens,
        "keep": encoder.keep,
        "gamma": stack.gamma,
        "share": stack.share,
        **about,
    }
    (folder / ABOUT).write_text(json.dumps(facts, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def load(folder: Path) -> tuple[Student, dict[str, Any]]:
    """The student in a folder, and its facts. ArtifactError when it is none, or is damaged."""
    try:
        facts = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise ArtifactError(
                f"is a lite student of format {facts['format']}; this version reads format {FORMAT}",
                where=folder,
                fix="use the filterkit-lite it was trained with, or train again",
            )
        return _build(load_file(folder / WEIGHTS), facts), facts
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ArtifactError(f"is not a readable lite student ({error})", where=folder, fix="train it again") from error


def load_embedding(folder: Path) -> StaticEmbedding:
    """The embedding of an artifact. ArtifactError when it is damaged."""
    try:
        tokenizer = (folder / TOKENIZER).read_text(encoding="utf-8")
        return StaticEmbedding(load_file(folder / BASE)["embedding"], tokenizer)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ArtifactError(f"has no readable embedding ({error})", where=folder, fix="train it again") from error


def _build(tensors: dict[str, NDArray[Any]], facts: dict[str, Any]) -> Student:
    d, b = tensors["second.offset"].shape
    m = len(tensors["landmarks"])
    wanted = {
        "bins": (b,),
        "ngram.buckets": (len(tensors["ngram.projection"]),),
        "block_scale": (3,),
        "first.alpha": (m, d, 1),
        "first.offset": (d, 1),
        "answers.shift": (d,),
        "answers.scale": (d,),
        "answers.landmarks": (m, d),
        "second.alpha": (m, d, b),
    }
    for name, shape in wanted.items():
        if tensors[name].shape != shape:
            raise ValueError(f"{name} has shape {tensors[name].shape}, not {shape}")
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    stack = Stack(
        float(facts["gamma"]),
        float(facts["share"]),
        Ridge(tensors["first.alpha"], tensors["first.offset"]),
        Answers(tensors["answers.shift"], tensors["answers.scale"], tensors["answers.landmarks"]),
        Ridge(tensors["second.alpha"], tensors["second.offset"]),
    )
    space = NgramSpace(tensors["ngram.buckets"], tensors["ngram.projection"])
    return Student(space, tensors["block_scale"], tensors["landmarks"], stack, tensors["bins"])
