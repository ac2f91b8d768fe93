"""How good and how fast the student `lite` is, beside what one would try first.

    python benchmarks/lite.py --labels FILE [--folds 5] [--shuffles 5] [--threads 1] [--ablations | --grow N]

It needs scikit-learn (`pip install -e 'plugins/filterkit-lite[benchmark]'`). FILE holds labelled articles, one JSON
object a line: title, content, scores {dimension: number}, on a scale of 0 to 10. All is five-fold (`--folds`) and
repeated with other shuffles; every hyper-parameter, the ridges' penalties too, is chosen inside the training fold. MAE
is the mean over articles and dimensions, then over shuffles, with the standard deviation over shuffles. Training time
is the median over folds; articles a second are measured end to end, from texts to scores, on all articles of FILE in
batches of 256. The size is that of what scoring needs on disk (of the ridges: float32 arrays and a vocabulary). With
--ablations, parts of lite are left out or changed, one by one. With --grow N instead, lite alone is trained once on N
articles made from FILE's by leaving out words at random: what time and memory it takes, not how good it is.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from filterkit_lite.embedding import find_embedding
from filterkit_lite.encoder import Encoder
from filterkit_lite.features import Projector
from filterkit_lite.learn import Limits, learn
from filterkit_lite.model import LiteModel, LiteModelOptions
from filterkit_lite.stack import Settings
from filterkit_lite.student import save
from filterkit_lite.trainer import LiteOptions, LiteTrainer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from filterkit.api import Context, FilterSpec, Split, TrainJob

BATCH = 256
PENALTIES = [10.0**power for power in (-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2)]
SCALE = (0.0, 10.0)
MAX_TOKENS = 512
FAST = 1e6
"""Articles a second above which the number says nothing: no text was read."""


class Rival(Protocol):
    """fit(texts, targets [n, d]) and predict(texts) -> [n, d], in scale units; megabytes on disk."""

    def fit(self, texts: Sequence[str], targets: Any) -> None: ...
    def predict(self, texts: Sequence[str]) -> Any: ...
    def megabytes(self) -> float: ...


class ConstantMedian:
    """Answers the median of every dimension."""

    def fit(self, texts: Sequence[str], targets: Any) -> None:
        self._answer = np.nanmedian(targets, axis=0)

    def predict(self, texts: Sequence[str]) -> Any:
        return np.tile(self._answer, (len(texts), 1))

    def megabytes(self) -> float:
        return 0.0


class TfidfRidge:
    """Words and pairs of words; squared error; the penalty by leave-one-out, per dimension."""

    def fit(self, texts: Sequence[str], targets: Any) -> None:
        self._tfidf = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
        matrix = self._tfidf.fit_transform(texts)
        self._ridge = RidgeCV(PENALTIES, alpha_per_target=True).fit(matrix.toarray(), targets)

    def predict(self, texts: Sequence[str]) -> Any:
        found = self._tfidf.transform(texts) @ self._ridge.coef_.T + self._ridge.intercept_
        return np.clip(found, *SCALE)

    def megabytes(self) -> float:
        words = sum(len(word.encode()) + 8 for word in self._tfidf.vocabulary_)
        return float(words + 4 * self._ridge.coef_.size) / 1e6


class EmbeddingRidge:
    """The same frozen static embeddings as lite's; squared error; the penalty by leave-one-out, per dimension."""

    def fit(self, texts: Sequence[str], targets: Any) -> None:
        self._encoder = Encoder(find_embedding("wordllama", Path()), MAX_TOKENS, "head")
        self._ridge = RidgeCV(PENALTIES, alpha_per_target=True).fit(self._encoder.vectors(texts), targets)

    def predict(self, texts: Sequence[str]) -> Any:
        return np.clip(self._ridge.predict(self._encoder.vectors(texts)), *SCALE)

    def megabytes(self) -> float:
        embedding = self._encoder.embedding
        assert embedding is not None
        tokenizer = len(embedding.tokenizer_json.encode())
        return float(embedding.stored.nbytes + tokenizer + 4 * self._ridge.coef_.size) / 1e6


class Lite:
    """Trainer and model through the contract: files are written, and scoring starts from them."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._folder = tempfile.TemporaryDirectory()

    def fit(self, texts: Sequence[str], targets: Any) -> None:
        names = [f"dimension_{i}" for i in range(targets.shape[1])]
        dimensions = [{"name": name, "weight": 1 / len(names)} for name in names]
        spec = FilterSpec.model_validate({"schema": 1, "name": "benchmark", "version": "1", "dimensions": dimensions})
        home = Path(self._folder.name)
        out = home / "out"
        out.mkdir(exist_ok=True)
        rows = Split(list(texts), targets, np.ones(len(texts), np.float32), home / "train.jsonl")
        none = Split([], targets[:0], np.ones(0, np.float32), home / "val.jsonl")
        context = Context(workdir=home)
        trainer = LiteTrainer(LiteOptions.model_validate(self._options), spec, context)
        trainer.train(TrainJob(rows, none, out, 0, "benchmark"))
        self._scorer = LiteModel(LiteModelOptions(), spec, context).load(str(out))

    def predict(self, texts: Sequence[str]) -> Any:
        return self._scorer.predict(self._scorer.encode(texts)).scores

    def megabytes(self) -> float:
        return sum(path.stat().st_size for path in (Path(self._folder.name) / "out").iterdir()) / 1e6


class Part:
    """Lite with settings or limits given instead of searched for, straight from the learning code."""

    def __init__(self, settings: Settings, limits: Limits | None = None) -> None:
        self._settings = settings
        self._limits = limits or Limits()

    def fit(self, texts: Sequence[str], targets: Any) -> None:
        self._encoder = Encoder(find_embedding("wordllama", Path()), MAX_TOKENS, "head")
        self._student, _ = learn(
            self._encoder,
            texts,
            targets,
            np.ones(len(texts), np.float32),
            SCALE,
            0,
            limits=self._limits,
            report=lambda _settings, _error: None,
            settings=self._settings,
        )
        self._project = Projector(self._student.space)

    def predict(self, texts: Sequence[str]) -> Any:
        return self._student.scores(self._student.histograms(self._encoder.encode(texts), self._project))

    def megabytes(self) -> float:
        with tempfile.TemporaryDirectory() as folder:
            save(self._student, self._encoder, {}, Path(folder))
            return sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6


@dataclass
class Result:
    errors: list[float] = field(default_factory=list)
    """MAE per shuffle."""
    seconds: list[float] = field(default_factory=list)
    """Training, per fold."""
    rate: float = 0.0
    size: float = 0.0


def measure(make: Callable[[], Rival], texts: list[str], targets: Any, folds: int, shuffles: int) -> Result:
    result = Result()
    rival = make()
    for shuffle in range(shuffles):
        found = np.full_like(targets, np.nan)
        for train, held in KFold(folds, shuffle=True, random_state=shuffle).split(texts):
            rival = make()
            started = time.perf_counter()
            rival.fit([texts[i] for i in train], targets[train])
            result.seconds.append(time.perf_counter() - started)
            found[held] = rival.predict([texts[i] for i in held])
        result.errors.append(float(np.nanmean(np.abs(found - targets))))
    result.rate = rate(rival, texts)
    result.size = rival.megabytes()
    return result


def rate(rival: Rival, texts: list[str]) -> float:
    """Articles a second: the best of five passes of at least a thousand articles, since others may use the machine."""
    many = texts * -(-1000 // len(texts))
    passes = []
    for _ in range(5):
        started = time.perf_counter()
        for at in range(0, len(many), BATCH):
            rival.predict(many[at : at + BATCH])
        passes.append(len(many) / (time.perf_counter() - started))
    return max(passes)


def read(path: Path) -> tuple[list[str], Any, list[str]]:
    """Texts, targets [n, d] with NaN where a score is missing, dimension names."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = sorted({n for row in rows for n, v in row["scores"].items() if isinstance(v, int | float)})
    texts = [f"{row.get('title', '')}\n\n{row['content']}".strip() for row in rows]
    return texts, np.array([[row["scores"].get(n, np.nan) for n in names] for row in rows], np.float32), names


def rivals(ablations: bool) -> Iterator[tuple[str, Callable[[], Rival]]]:
    yield "constant median", ConstantMedian
    yield "TF-IDF + ridge", TfidfRidge
    yield "frozen static embeddings + ridge", EmbeddingRidge
    yield "**lite**", Lite
    if not ablations:
        return
    yield "lite, 0.6 of 10 as width", lambda: Lite(width=0.06)
    yield "lite, nothing searched", lambda: Part(Settings())
    yield "… without embeddings", lambda: Lite(embedding="none", search=False)
    yield "… without n-grams", lambda: Part(Settings(grams=0.0))
    yield "… without length", lambda: Part(Settings(length=0.0))
    yield "… without the first ridge's answers", lambda: Part(Settings(share=0.0))
    yield "… 0.3 of 10 as width", lambda: Part(Settings(), Limits(width=0.03))
    yield "… 0.6 of 10 as width", lambda: Part(Settings(), Limits(width=0.06))
    yield "… 1 of 10 as width", lambda: Part(Settings(), Limits(width=0.1))
    yield "… 64 n-gram directions", lambda: Part(Settings(), Limits(components=64))
    yield "… 256 n-gram directions", lambda: Part(Settings(), Limits(components=256))
    yield "… 10,000 n-grams", lambda: Part(Settings(), Limits(vocabulary=10_000))
    yield "… 100 landmarks", lambda: Part(Settings(), Limits(landmarks=100))


def grow(texts: list[str], targets: Any, rows: int) -> None:
    random = np.random.default_rng(0)
    which = random.integers(0, len(texts), rows)
    words = [text.split(" ") for text in texts]
    many = [" ".join(word for word in words[i] if random.random() < 0.8) for i in which]
    noisy = np.clip(targets[which] + random.normal(0, 0.7, (rows, targets.shape[1])), *SCALE).astype(np.float32)
    lite = Lite()
    started = time.perf_counter()
    lite.fit(many, noisy)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{rows:,} articles: trained in {seconds:.0f} s, peak memory {peak:.1f} GiB (texts included), "
        f"{rate(lite, texts):,.0f} articles/s, {lite.megabytes():.1f} MB"
    )


def main(wanted: argparse.Namespace) -> None:
    texts, targets, names = read(wanted.labels)
    if wanted.grow:
        grow(texts, targets, wanted.grow)
        return
    mean = statistics.mean(len(text) for text in texts)
    print(
        f"{len(texts)} articles of {mean:.0f} characters on average, {len(names)} dimensions, {wanted.folds} folds, "
        f"{wanted.shuffles} shuffles, {wanted.threads} thread(s), {platform.machine()}, Python "
        f"{platform.python_version()}\n"
    )
    print("| | MAE | ± | train, s | articles/s | MB |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, make in rivals(wanted.ablations):
        result = measure(make, texts, targets, wanted.folds, wanted.shuffles)
        speed = f"{result.rate:,.0f}" if result.rate < FAST else ""
        spread = statistics.stdev(result.errors) if len(result.errors) > 1 else 0.0
        print(
            f"| {name} | {statistics.mean(result.errors):.3f} | {spread:.3f} | {statistics.median(result.seconds):.1f} "
            f"| {speed} | {result.size:.1f} |",
            flush=True,
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--labels", type=Path, required=True, help="JSONL with title, content, scores")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--shuffles", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the linear algebra")
    parser.add_argument("--ablations", action="store_true", help="leave parts of lite out, one by one")
    parser.add_argument("--grow", type=int, metavar="N", help="only: the cost of training on N invented articles")
    return parser.parse_args()


if __name__ == "__main__":
    WANTED = arguments()
    with threadpool_limits(WANTED.threads):
        main(WANTED)
