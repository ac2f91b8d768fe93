"""What is read of a text, the same for every filter: a vector, n-gram counts, a length."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from filterkit_lite import ngrams
from filterkit_lite.embedding import StaticEmbedding

F32 = NDArray[np.float32]
Keep = Literal["head", "head+tail"]

_USUAL, _MOST = 6, 32
"""Characters per token: enough for ordinary text, and a bound for any."""
_SPOILT = 8
"""Tokens before a cut that may be others than in the whole text, because a word was cut in two."""
_BLIND = 4
"""Characters that count as a token where there is no tokenizer."""


@dataclass(frozen=True)
class Encoded:
    """n texts: vectors [n, e] of unit length (e = 0 without embedding), grams CSR [n, buckets], length [n] = ln(1+c).

    c is the number of characters read.
    """

    vectors: F32
    grams: Any
    length: F32


class Encoder:
    """Reads at most `max_tokens` tokens of a text, from its head or from both ends."""

    def __init__(self, embedding: StaticEmbedding | None, max_tokens: int, keep: Keep) -> None:
        self.embedding = embedding
        self.max_tokens = max_tokens
        self.keep: Keep = keep

    @property
    def key(self) -> str:
        """Equal for encoders that give every text the same encoding."""
        embedding = self.embedding.fingerprint if self.embedding else "none"
        reading = (embedding, self.max_tokens, self.keep, ngrams.SHORTEST, ngrams.LONGEST, ngrams.BITS)
        return hashlib.sha256(repr(reading).encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The encoding of n >= 0 texts; a row depends on its text only."""
        if self.embedding is None:
            read = [cut(_clean(text), self.max_tokens * _BLIND, self.keep) for text in texts]
            vectors = np.zeros((len(texts), 0), dtype=np.float32)
        else:
            read, ids = self._read(self.embedding, texts)
            vectors = self.embedding.pool(ids)
        length = np.log1p(np.array([len(text) for text in read], dtype=np.float32))
        return Encoded(vectors, ngrams.count(read), length)

    def vectors(self, texts: Sequence[str]) -> F32:
        """Only the vectors [n, e] of an encoding."""
        assert self.embedding is not None
        return self.embedding.pool(self._read(self.embedding, texts)[1])

    def _read(self, embedding: StaticEmbedding, texts: Sequence[str]) -> tuple[list[str], list[list[int]]]:
        """The part of each text that is read, and its tokens. The tokenizer never sees much more than that."""
        read = [_clean(cut(text, self.max_tokens * _USUAL, self.keep)) for text in texts]
        ids = embedding.tokenise(read)
        enough = self.max_tokens + _SPOILT
        short = [i for i, text in enumerate(texts) if len(ids[i]) < enough and len(read[i]) < len(text)]
        for i in short:
            read[i] = _clean(cut(texts[i], self.max_tokens * _MOST, self.keep))
        for i, found in zip(short, embedding.tokenise([read[i] for i in short]), strict=True):
            ids[i] = found
        for i, found in enumerate(ids):
            if len(found) > self.max_tokens:
                read[i] = cut(read[i], len(read[i]) * self.max_tokens // len(found), self.keep)
                ids[i] = cut_tokens(found, self.max_tokens, self.keep)
        return read, ids


def cut(text: str, limit: int, keep: Keep) -> str:
    """At most `limit` characters of a text, and a line break where its middle was taken out."""
    if len(text) <= limit:
        return text
    if keep == "head":
        return text[:limit]
    head = limit // 2
    return text[:head] + "\n" + text[len(text) - (limit - head - 1) :]


def cut_tokens(ids: list[int], limit: int, keep: Keep) -> list[int]:
    """At most `limit` tokens, of the head or of both ends."""
    head = limit if keep == "head" else (limit + 1) // 2
    return ids[:head] + ids[len(ids) - (limit - head) :]


def _clean(text: str) -> str:
    """The text with lone surrogates, which no tokenizer takes, replaced by question marks."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
