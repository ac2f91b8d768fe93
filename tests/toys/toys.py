"""A trainer that learns in milliseconds, or as slowly as it is told to, and keeps its place when it is killed."""

from __future__ import annotations

import json
import time
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from filterkit.api import (
    F32,
    Article,
    Block,
    Model,
    Options,
    Pass,
    Prediction,
    Prefilter,
    Scorer,
    StoppedEarly,
    TrainedStudent,
    Trainer,
    TrainJob,
    atomic_write,
)


class ToyOptions(Options):
    """How slow it is."""

    steps: int = 3
    pause_s: float = 0.0
    constant: bool = False
    leave: str | None = None


class ToyTrainer(Trainer[ToyOptions]):
    """Remembers mean and variance of every word's targets: a word that varies little says much."""

    Options: ClassVar[type[Options]] = ToyOptions
    produces: ClassVar[tuple[str, ...]] = ("toy",)

    def train(self, job: TrainJob) -> TrainedStudent:
        done = self.ctx.workdir / "steps.json"
        first = json.loads(done.read_bytes()) if done.exists() else 0
        for step in range(first, self.options.steps):
            if self.ctx.stop():
                raise StoppedEarly(f"stopped at step {step}")
            time.sleep(self.options.pause_s)
            self.ctx.emit("training_progress", step=step)
            _write(done, step + 1)
        targets = job.train.targets.astype(np.float64)
        means = _means(targets)
        words: dict[str, Any] = {}
        for word, rows in sorted(_rows_of(job.train.texts).items()):
            known = targets[rows]
            count = (~np.isnan(known)).sum(axis=0)
            mean = np.where(count > 0, np.nansum(known, axis=0) / np.maximum(count, 1), means)
            spread = _means((known - mean) ** 2)
            words[word] = [mean.tolist(), ((count > 1) / (spread + 0.05) ** 3).tolist()]  # one text alone says nothing
        _write(job.out / "toy.json", {"means": means.tolist(), "words": {} if self.options.constant else words})
        if self.options.leave:
            (job.out / self.options.leave).write_bytes(b"\x80\x04.")
        return TrainedStudent(format="toy", hyperparameters=self.options.model_dump(), history=[{"first_step": first}])


def _means(values: Any) -> Any:
    """Mean of every column's known values, 0 where there are none."""
    return np.nansum(values, axis=0) / np.maximum((~np.isnan(values)).sum(axis=0), 1)


def _rows_of(texts: Sequence[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        for word in set(text.split()):
            rows.setdefault(word, []).append(row)
    return rows


def _write(path: Path, value: Any) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(value).encode())


class ToyModel(Model[Options]):
    def load(
        self,
        ref: str,
        *,
        device: str = "auto",
        threads: int | None = None,
        shared: MutableMapping[str, Any] | None = None,
    ) -> Scorer:
        return ToyScorer(json.loads((Path(ref) / "toy.json").read_bytes()))


class ToyScorer(Scorer):
    """The mean of what a text's words mean. A text with the word `unscorable` is a row that fails."""

    max_batch = 256

    def __init__(self, data: dict[str, Any]) -> None:
        self._means = np.array(data["means"])
        self._words = {word: (np.array(mean), np.array(weight)) for word, (mean, weight) in data["words"].items()}

    def predict(self, encoded: Sequence[str]) -> Prediction:
        scores: F32 = np.empty((len(encoded), len(self._means)), dtype=np.float32)
        errors = {}
        for row, text in enumerate(encoded):
            known = [self._words[w] for w in text.split() if w in self._words]
            weights = sum((w for _, w in known), np.full(len(self._means), 1e-9))
            scores[row] = sum((m * w for m, w in known), self._means * 1e-9) / weights
            if "unscorable" in text:
                scores[row], errors[row] = np.nan, "the toy cannot score this"
        return Prediction(scores, errors=errors)


class ShortOptions(Options):
    below: int = 40
    shadow: bool = False


class ShortPrefilter(Prefilter[ShortOptions]):
    Options: ClassVar[type[Options]] = ShortOptions

    def judge(self, articles: Sequence[Article]) -> list[Pass | Block]:
        short = [len(a.content) < self.options.below for a in articles]
        block = Block(rule="short", reason="too short", shadow=self.options.shadow)
        return [block if s else Pass() for s in short]
