"""Model `lite`: scores with a trained lite student."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]

from filterkit.api import ArtifactError, Model, Options, Prediction, Scorer
from filterkit_lite.encoder import Encoded, Encoder
from filterkit_lite.features import Projector
from filterkit_lite.student import Student, load, load_embedding


class LiteModelOptions(Options):
    """A lite student has nothing to choose at scoring time."""


class LiteScorer(Scorer):
    """One lite student. `threads` bounds the linear algebra, one unless said otherwise; reading takes one."""

    max_batch = 256

    def __init__(self, student: Student, encoder: Encoder, threads: int | None) -> None:
        self._student = student
        self._encoder = encoder
        self._project = Projector(student.space)
        self._threads = threads or 1
        self._pools = ThreadpoolController()
        self.share_key = encoder.key

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Vectors, n-gram counts and lengths; the same for every student with an equal share_key."""
        return self._encoder.encode(texts)

    def predict(self, encoded: Encoded) -> Prediction:
        """Medians and histograms; every text gets a finite score, an empty one too."""
        with self._pools.limit(limits=self._threads):
            histograms = self._student.histograms(encoded, self._project)
        return Prediction(
            scores=self._student.scores(histograms), bins=self._student.bins, probs=histograms.astype(np.float16)
        )


class LiteModel(Model[LiteModelOptions]):
    """Reads an artifact folder."""

    Options: ClassVar[type[Options]] = LiteModelOptions

    def load(
        self,
        ref: str,
        *,
        device: str = "auto",
        threads: int | None = None,
        shared: MutableMapping[str, Any] | None = None,
    ) -> LiteScorer:
        """The scorer; runs on the CPU whatever the device. Raises ArtifactError."""
        folder = Path(ref)
        student, facts = load(folder)
        self._check(student, facts, folder)
        embedding = load_embedding(folder) if facts["embedding"] else None
        reading = self.spec.input.student
        encoder = Encoder(embedding, reading.max_tokens, reading.keep)
        if shared is not None:  # equal encoders share one copy of the embedding
            encoder = shared.setdefault(f"lite:{encoder.key}", encoder)
        return LiteScorer(student, encoder, threads)

    def _check(self, student: Student, facts: dict[str, Any], folder: Path) -> None:
        """ArtifactError unless it was trained for this filter's dimensions, scale and input."""
        spec = self.spec
        reading = spec.input.student
        found = {
            "dimensions": facts.get("dimensions") == list(spec.names) and student.dimensions == len(spec.names),
            "scale": np.allclose(student.bins[[0, -1]], [spec.scale.min, spec.scale.max], rtol=1e-5),
            "student input": (facts.get("max_tokens"), facts.get("keep")) == (reading.max_tokens, reading.keep),
        }
        other = [name for name, same in found.items() if not same]
        if other:
            raise ArtifactError(
                f"was trained for another {' and '.join(other)} than the filter's", where=folder, fix="Train it again"
            )
