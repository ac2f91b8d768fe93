"""Embedder `static`: the mean of a text's static word embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
from pydantic import Field

from filterkit.api import F32, Embedder, Options
from filterkit_lite.embedding import WORDLLAMA, find_embedding
from filterkit_lite.encoder import Encoder

_BATCH = 512


class StaticOptions(Options):
    """Which embeddings, and how much of a text they see."""

    embedding: str = Field(
        WORDLLAMA,
        min_length=1,
        description='"wordllama" (comes with filterkit-lite), or a folder with one .safetensors file '
        "[tokens, numbers] and a tokenizer.json",
    )
    max_tokens: int = Field(512, ge=1, le=131_072, description="tokens read of a text, from its head")


class StaticEmbedder(Embedder[StaticOptions]):
    """Word order is lost, and rewordings of one text stay close. The wordllama vectors have 256 numbers."""

    Options: ClassVar[type[Options]] = StaticOptions

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(find_embedding(self.options.embedding, self.ctx.root), self.options.max_tokens, "head")

    @property
    def fingerprint(self) -> str:
        """Of the matrix, the tokenizer and how a text is read."""
        return self._encoder.key

    def embed(self, texts: Sequence[str]) -> F32:
        """[n, e] float32, rows of unit length. A text without a token gets the first unit vector (1, 0, 0, …)."""
        encoder = self._encoder
        pieces = [encoder.vectors(texts[start : start + _BATCH]) for start in range(0, len(texts) or 1, _BATCH)]
        vectors: F32 = np.concatenate(pieces)
        vectors[~vectors.any(axis=1), 0] = 1
        return vectors
