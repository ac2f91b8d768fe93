"""Toy backends: one per kind that filterkit builds no default for, as small as their contract allows.

They keep every promise of their contract, so they show an author the shape of a backend; `register_toys`
makes them known under the name `toy`, for tests that need a student without a real trainer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, MutableMapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from filterkit.calibrator import Calibrator, DimensionMap
from filterkit.contracts import (
    Batch,
    BatchItem,
    Context,
    Embedder,
    JobState,
    Model,
    Options,
    Oracle,
    OracleOptions,
    Prefilter,
    Scorer,
    Trainer,
    TrainJob,
)
from filterkit.errors import ArtifactError, Fatal, StoppedEarly
from filterkit.files import read_json, write_json
from filterkit.hookspecs import Register, hookimpl
from filterkit.manifest import DataInfo, Manifest, describe_files, save_manifest, student_hash
from filterkit.plugins import plugins
from filterkit.records import F32, Article, Block, OracleRequest, Pass, Prediction, Reply, TrainedStudent, Usage
from filterkit.spec import FilterSpec
from filterkit.testing.samples import make_split, sample_articles


class ToyOracle(Oracle[OracleOptions]):
    """Scores by a hash of the article: always the same, and meaningless."""

    Options: ClassVar[type[Options]] = OracleOptions
    deterministic: ClassVar[bool] = True

    async def complete(self, request: OracleRequest) -> Reply:
        await asyncio.sleep(0.001)
        scores: dict[str, Any] = {}
        for name, schema in request.json_schema["properties"].items():
            digest = hashlib.sha256((name + request.article).encode("utf-8", "surrogatepass")).digest()
            score = schema["properties"]["score"] if schema["type"] == "object" else schema
            value = int(score["minimum"]) + digest[0] % int(score["maximum"] - score["minimum"] + 1)
            scores[name] = {"evidence": "hashed", "score": value} if schema["type"] == "object" else value
        return Reply(
            text=json.dumps(scores),
            usage=Usage(input=self.count_tokens(request), output=20),
            model_version=f"{request.model}-toy",
        )

    def count_tokens(self, request: OracleRequest) -> int | None:
        return (len(request.system) + len(request.rubric) + len(request.article)) // 4 + 1


class ToyBatchOracle(Batch, ToyOracle):
    """The same in batches; its provider is a folder, which outlives who submitted."""

    def request_bytes(self, request: OracleRequest) -> int:
        return len(request.model_dump_json(exclude={"article"})) + len(request.article.encode("utf-8", "surrogatepass"))

    async def submit(self, requests: Sequence[OracleRequest], token: str) -> str:
        replies = {request.key: (await self.complete(request)).model_dump() for request in requests}
        write_json(self._file(f"job-{token}"), {"cancelled": False, "replies": replies})
        return f"job-{token}"

    async def find(self, token: str, since: float) -> str | None:
        return f"job-{token}" if self._file(f"job-{token}").exists() else None

    async def poll(self, handle: str) -> JobState:
        count = len(self._job(handle)["replies"])
        return JobState(state="ended", done=count, total=count, poll_after_s=0.01)

    async def cancel(self, handle: str) -> None:
        write_json(self._file(handle), {**self._job(handle), "cancelled": True})

    async def collect(self, handle: str) -> AsyncIterator[BatchItem]:
        for key, reply in self._job(handle)["replies"].items():
            yield BatchItem(key, reply=Reply.model_validate(reply))

    def _file(self, handle: str) -> Path:
        return self.ctx.workdir / f"{handle}.json"

    def _job(self, handle: str) -> dict[str, Any]:
        if not self._file(handle).exists():
            raise Fatal(f"there is no job {handle}")
        job: dict[str, Any] = read_json(self._file(handle))
        return job


class ToyTrainer(Trainer[Options]):
    """Remembers the mean target of the texts that hold a word."""

    produces: ClassVar[tuple[str, ...]] = ("toy",)

    def train(self, job: TrainJob) -> TrainedStudent:
        if self.ctx.stop():
            raise StoppedEarly("stopped before the end of training")
        for leftover in job.out.iterdir() if job.out.exists() else ():
            leftover.unlink()
        means = np.nan_to_num(np.nanmean(job.train.targets.astype(np.float64), axis=0))
        rows: dict[str, list[int]] = {}
        for row, text in enumerate(job.train.texts):
            for word in set(text.split()):
                rows.setdefault(word, []).append(row)
        words: dict[str, list[float]] = {}
        for word, at in sorted(rows.items()):
            known = job.train.targets[at]
            counts = (~np.isnan(known)).sum(axis=0)
            # one imagined row at the mean, so that a rare or unlabelled word says little
            words[word] = ((np.nansum(known, axis=0) + means) / (counts + 1)).tolist()
        write_json(job.out / "toy.json", {"means": means.tolist(), "words": words})
        return TrainedStudent(
            format="toy", hyperparameters={"words": len(words)}, history=[{"rows": len(job.train.texts)}]
        )


class ToyModel(Model[Options]):
    """Reads what ToyTrainer wrote."""

    def load(
        self,
        ref: str,
        *,
        device: str = "auto",
        threads: int | None = None,
        shared: MutableMapping[str, Any] | None = None,
    ) -> Scorer:
        path = Path(ref) / "toy.json"
        try:
            return ToyScorer(json.loads(path.read_bytes()), self.spec)
        except (OSError, ValueError) as error:
            raise ArtifactError("is no toy student", where=path) from error


class ToyScorer(Scorer):
    """The mean over a text's known words, with a histogram of two neighbouring bins around it."""

    def __init__(self, data: dict[str, Any], spec: FilterSpec) -> None:
        self._means = np.array(data["means"])
        self._words = {word: np.array(values) for word, values in data["words"].items()}
        self._bins = np.linspace(spec.scale.min, spec.scale.max, 6, dtype=np.float32)

    def encode(self, texts: Sequence[str]) -> Any:
        return [text.split() for text in texts]

    def predict(self, encoded: Any) -> Prediction:
        scores = np.empty((len(encoded), len(self._means)), dtype=np.float32)
        for row, words in enumerate(encoded):
            known = [self._words[w] for w in words if w in self._words]
            scores[row] = np.mean(known, axis=0) if known else self._means
        low, high = self._bins[0], self._bins[-1]
        width = self._bins[1] - low
        scores = np.clip(scores, low, high)
        distance = np.abs(scores[:, :, None] - self._bins) / width
        return Prediction(scores, bins=self._bins, probs=np.clip(1 - distance, 0, 1).astype(np.float16))


class ToyEmbedder(Embedder[Options]):
    """Counts letters."""

    @property
    def fingerprint(self) -> str:
        return "toy-letters-1"

    def embed(self, texts: Sequence[str]) -> F32:
        vectors = np.zeros((len(texts), 33), dtype=np.float32)
        for row, text in enumerate(texts):
            np.add.at(vectors[row], [ord(letter) % 32 for letter in text], 1)
            vectors[row, 32] = 1  # keeps an empty text's row of unit length
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


class ToyPrefilter(Prefilter[Options]):
    """Holds back what is too short to be an article."""

    def judge(self, articles: Sequence[Article]) -> list[Pass | Block]:
        return [
            Pass() if len(a.content) >= 20 else Block(rule="short", reason=f"{len(a.content)} characters")
            for a in articles
        ]


def make_student(folder: Path, spec: FilterSpec, ctx: Context, *, rows: int = 40) -> str:
    """Train a toy student into `folder`, with its manifest; its student hash. Registers the toys."""
    register_toys()
    articles = sample_articles(rows + 10)
    data = folder.parent / f"{folder.name}-data"
    train = make_split(spec, data / "train.jsonl", articles[:rows])
    val = make_split(spec, data / "val.jsonl", articles[rows:])
    folder.mkdir(parents=True, exist_ok=True)
    trained = ToyTrainer(Options(), spec, ctx).train(TrainJob(train, val, folder, seed=0, run_id="toy"))
    files = describe_files(folder)
    calibrator = Calibrator(maps=tuple(DimensionMap() for _ in spec.names))
    manifest = Manifest(
        spec=spec,
        request_hash="0" * 64,
        target_hash=spec.target_hash,
        policy_hash=spec.policy_hash,
        student_hash=student_hash(files, spec.target_hash, calibrator),
        run_id="toy",
        format=trained.format,
        files=files,
        trainer="toy",
        seed=0,
        calibrator=calibrator,
        data=DataInfo(fingerprint="0" * 64, request_hash="0" * 64, train=rows, val=10, test=0),
        created=datetime.now(UTC),
    )
    save_manifest(folder, manifest)
    return manifest.student_hash


@hookimpl
def register_models(register: Register) -> None:
    register("toy", "filterkit.testing.toys:ToyModel", summary="a toy, for tests")


@hookimpl
def register_trainers(register: Register) -> None:
    register("toy", "filterkit.testing.toys:ToyTrainer", summary="a toy, for tests")


def register_toys() -> None:
    """Make trainer and model `toy` known in this process, this module being their plugin. Harmless when repeated."""
    if not plugins().claims("model", "toy"):
        plugins().add(sys.modules[__name__], "filterkit.testing")
