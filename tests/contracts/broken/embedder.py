"""Embedders that break a promise."""

import random
from collections.abc import Sequence

import numpy as np
from catching import caught_by, expose

from filterkit.records import F32
from filterkit.testing import EmbedderContract
from filterkit.testing.toys import ToyEmbedder


@caught_by("test_rows_have_unit_length")
class AnyLength(ToyEmbedder):
    def embed(self, texts: Sequence[str]) -> F32:
        return super().embed(texts) * 2


@caught_by("test_rows_have_unit_length")
class DoublePrecision(ToyEmbedder):
    def embed(self, texts: Sequence[str]) -> F32:
        return super().embed(texts).astype(np.float64)


@caught_by("test_no_texts")
class NeedsAText(ToyEmbedder):
    def embed(self, texts: Sequence[str]) -> F32:
        return np.stack([super(NeedsAText, self).embed([text])[0] for text in texts])


@caught_by("test_any_text_has_a_vector")
class NothingForNothing(ToyEmbedder):
    def embed(self, texts: Sequence[str]) -> F32:
        return super().embed(texts) * np.array([[bool(t.strip())] for t in texts] or np.ones((0, 1)), dtype=np.float32)


@caught_by("test_other_texts_do_not_matter")
class CentresTheBatch(ToyEmbedder):
    def embed(self, texts: Sequence[str]) -> F32:
        rows = super().embed(texts)
        rows = rows - rows.mean(axis=0, keepdims=True) / 2 if len(rows) else rows
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@caught_by("test_different_texts_differ")
class OneVectorForAll(ToyEmbedder):
    def embed(self, texts: Sequence[str]) -> F32:
        return super().embed(["x"] * len(texts))


@caught_by("test_the_same_text_again")
class Noisy(ToyEmbedder):
    def embed(self, texts: Sequence[str]) -> F32:
        return super().embed(texts) + np.float32(random.random() * 1e-4)


@caught_by("test_the_fingerprint_stands_for_the_vectors")
class NewFingerprintEachTime(ToyEmbedder):
    @property
    def fingerprint(self) -> str:
        return str(random.random())


@caught_by("test_the_fingerprint_stands_for_the_vectors")
class OneFingerprintTwoVectors(ToyEmbedder):
    made = 0

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        type(self).made += 1
        self.turn = type(self).made

    def embed(self, texts: Sequence[str]) -> F32:
        return np.roll(super().embed(texts), self.turn, axis=1)


expose(globals(), EmbedderContract)
