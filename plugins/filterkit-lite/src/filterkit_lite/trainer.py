"""Trainer `lite`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]

from filterkit.api import InputError, Options, Split, StoppedEarly, TrainedStudent, Trainer, TrainJob
from filterkit_lite.embedding import WORDLLAMA, find_embedding
from filterkit_lite.encoder import Encoder
from filterkit_lite.features import Projector
from filterkit_lite.learn import Limits, learn
from filterkit_lite.stack import Settings
from filterkit_lite.student import Student, save

NO_EMBEDDING = "none"
_LIMITS = Limits()
_BATCH = 256
_SMALL = 1000
_EMBEDDING_BYTES = 19e6


class LiteOptions(Options):
    """What bounds the student's time and size. The defaults serve from a dozen labels to half a million."""

    embedding: str = Field(
        WORDLLAMA,
        min_length=1,
        description='static word embeddings: "wordllama" (comes with filterkit-lite), a folder with one .safetensors '
        'file [tokens, numbers] and a tokenizer.json, or "none" (n-grams only)',
    )
    search: bool = Field(True, description="choose hyper-parameters by cross-validation; without, the defaults serve")
    search_rows: int = Field(_LIMITS.search_rows, ge=20, le=5000, description="training articles that the search uses")
    landmarks: int = Field(
        _LIMITS.landmarks,
        ge=10,
        le=20_000,
        description="training articles that the kernels compare with (Nyström); exact where there are fewer articles",
    )
    vocabulary: int = Field(_LIMITS.vocabulary, ge=1, le=200_000, description="character n-grams that count")
    components: int = Field(_LIMITS.components, ge=1, le=1024, description="directions of the n-gram space")
    bins: int = Field(_LIMITS.bins, ge=3, le=201, description="bins of the histogram over the scale")
    width: float = Field(_LIMITS.width, gt=0, le=0.5, description="softening of the targets, as a share of the scale")


class LiteTrainer(Trainer[LiteOptions]):
    """Learns from the train split alone, in seconds; the val split is only scored, for calibration is fitted on it."""

    Options: ClassVar[type[Options]] = LiteOptions
    produces: ClassVar[tuple[str, ...]] = ("lite",)

    def plan(self, job: TrainJob | None) -> dict[str, float]:
        """Roughly, on one core; without a job for 1,000 articles."""
        options = self.options
        rows = len(job.train.texts) if job else 1000
        landmarks, searched = min(rows, options.landmarks), min(rows, options.search_rows) * options.search
        outputs = len(self.spec.names) * (options.bins + 1)
        learnt = landmarks * outputs + options.vocabulary * options.components
        multiplications = 6 * rows * landmarks**2 + 500 * searched**3
        return {
            "parameters": float(learnt),
            "bytes": _EMBEDDING_BYTES * (options.embedding != NO_EMBEDDING) + 2.0 * learnt + 4.0 * landmarks * outputs,
            "seconds": 1 + rows / 1500 + multiplications / 3e10,
            "usd": 0.0,
        }

    def train(self, job: TrainJob) -> TrainedStudent:
        """An artifact of safetensors, a tokenizer and parameters as JSON; equal jobs make equal bytes.

        A stop loses what was done, which is seconds of work: StoppedEarly, and the next run begins anew.
        """
        if not job.train.texts:
            raise InputError("there is no article to learn from", where=job.train.path)
        _empty(job.out)
        self._stop_if_asked()
        options = self.options
        embedding = None if options.embedding == NO_EMBEDDING else find_embedding(options.embedding, self.ctx.root)
        reading = self.spec.input.student
        encoder = Encoder(embedding, reading.max_tokens, reading.keep)
        history: list[dict[str, float]] = []

        def report(settings: Settings, error: float) -> None:
            history.append({**settings.to_dict(), "cv_mae": error})
            self.ctx.emit("training_progress", step=len(history), cv_mae=error)
            self._stop_if_asked()

        # Matrices of few rows are slower on several threads than on one: by a factor of four on two cores.
        with ThreadpoolController().limit(limits=1 if len(job.train.texts) <= _SMALL else None):
            student, settings = learn(
                encoder,
                job.train.texts,
                job.train.targets,
                job.train.weights,
                (self.spec.scale.min, self.spec.scale.max),
                job.seed,
                limits=self._limits(),
                report=report,
                settings=None if options.search else Settings(),
            )
        self._stop_if_asked()
        save(student, encoder, {"dimensions": list(self.spec.names)}, job.out)
        error = _error(student, encoder, job.val)
        if error is not None:
            history.append({"val_mae": error})
            self.ctx.emit("training_progress", step=len(history), val_mae=error)
        return TrainedStudent(
            format="lite",
            hyperparameters={**options.model_dump(), **settings.to_dict(), "seed": job.seed},
            history=history,
            base_model=None if embedding is None else options.embedding,
            trainable=student.size,
            total=student.size + (0 if embedding is None else int(embedding.stored.size)),
        )

    def _limits(self) -> Limits:
        options = self.options
        return Limits(
            landmarks=options.landmarks,
            search_rows=options.search_rows,
            vocabulary=options.vocabulary,
            components=options.components,
            bins=options.bins,
            width=options.width,
        )

    def _stop_if_asked(self) -> None:
        if self.ctx.stop():
            raise StoppedEarly("training was stopped", fix="Run the same command again: it takes seconds")


def _empty(out: Path) -> None:
    """What a killed run left behind must not become part of the student."""
    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _error(student: Student, encoder: Encoder, split: Split) -> float | None:
    """Mean absolute error of the known targets in scale units; None where there is none."""
    project = Projector(student.space)
    total, count = 0.0, 0
    for start in range(0, len(split.texts), _BATCH):
        piece = slice(start, start + _BATCH)
        scores = student.scores(student.histograms(encoder.encode(split.texts[piece]), project))
        errors = np.abs(scores - split.targets[piece])
        total += float(np.nansum(errors, dtype=np.float64))
        count += int(np.isfinite(errors).sum())
    return total / count if count else None
