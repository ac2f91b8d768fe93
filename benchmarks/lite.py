"""How good and how fast the student `lite` is, beside what one would try first.

    python benchmarks/lite.py --labels FILE [--folds 5] [--shuffles 5] [--threads 1] [--ablations]

FILE holds labelled articles, one JSON object a line: title, content, scores {dimension: number}. All is five-fold
(`--folds`) and repeated with other shuffles; every hyper-parameter, the ridges' penalties too, is chosen inside the
training fold. MAE is the mean over articles and dimensions, then over shuffles, with the standard deviation over
shuffles. Training time is the median over folds; articles a second are measured end to end, from texts to scores, on
all articles of FILE in batches of 256. The size is that of what scoring needs on disk (the ridges as float32 arrays and a
vocabulary). With --ablations, parts of lite are left out one by one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

BATCH = 256
PENALTIES = [10.0**power for power in (-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2)]
SCALE = (0.0, 10.0)
MAX_TOKENS = 512


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
        # the dual is exact and quick: [n, n] instead of [n, words]
        self._ridge = RidgeCV(PENALTIES, alpha_per_target=True).fit(matrix.toarray(), targets)

    def predict(self, texts: Sequence[str]) -> Any:
        found = self._tfidf.transform(texts) @ self._ridge.coef_.T + self._ridge.intercept_
        return np.clip(found, *SCALE)

    def megabytes(self) -> float:
        words = sum(len(word.encode()) + 8 for word in self._tfidf.vocabulary_)
        return (words + 4 * self._ridge.coef_.size) / 1e6


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
        return (embedding.stored.nbytes + len(embedding.tokenizer_json.encode()) + 4 * self._ridge.coef_.size) / 1e6


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
        trainer = LiteTrainer(LiteTrainer.Options.model_validate(self._options), spec, context)
        trainer.train(TrainJob(rows, none, out, 0, "benchmark"))
        self._scorer = LiteModel(LiteModel.Options(), spec, context).load(str(out))

    def predict(self, texts: Sequence[str]) -> Any:
        return self._scorer.predict(self._scorer.encode(texts)).scores

    def megabytes(self) -> float:
        return sum(path.stat().st_size for path in (Path(self._folder.name) / "out").iterdir()) / 1e6


class Fixed(Lite):
    """Lite with some settings held: the search leaves them alone."""

    def __init__(self, **settings: float) -> None:
        super().__init__()
        self._settings = settings

    def fit(self, texts: Sequence[str], targets: Any) -> None:
        ladders, start = dict(search.LADDERS), search.Settings
        try:
            for name, value in self._settings.items():
                search.LADDERS[name] = (value,)
            search.Settings = lambda: start(**self._settings)  # type: ignore[assignment, misc]
            super().fit(texts, targets)
        finally:
            search.LADDERS.update(ladders)
            search.Settings = start  # type: ignore[misc]


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
    """Articles a second: the median of five passes of at least a thousand articles."""
    many = texts * -(-1000 // len(texts))
    passes = []
    for _ in range(5):
        started = time.perf_counter()
        for at in range(0, len(many), BATCH):
            rival.predict(many[at : at + BATCH])
        passes.append(len(many) / (time.perf_counter() - started))
    return statistics.median(passes)


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
    yield "lite, hyper-parameters not searched", lambda: Lite(search=False)
    yield "lite without embeddings", lambda: Lite(embedding="none")
    yield "lite without n-grams", lambda: Fixed(grams=0.0)
    yield "lite without length", lambda: Fixed(length=0.0)
    yield "lite without the first ridge's answers", lambda: Fixed(share=0.0)
    yield "lite, targets softened by 0.6 of 10", lambda: Lite(width=0.06)
    yield "lite, targets softened by 1 of 10", lambda: Lite(width=0.1)
    yield "lite, 64 n-gram directions", lambda: Lite(components=64)
    yield "lite, 10,000 n-grams", lambda: Lite(vocabulary=10_000)
    yield "lite, 100 landmarks", lambda: Lite(landmarks=100)


def main() -> None:
    texts, targets, names = read(ARGUMENTS.labels)
    mean = statistics.mean(len(text) for text in texts)
    print(
        f"{len(texts)} articles of {mean:.0f} characters on average, {len(names)} dimensions, {ARGUMENTS.folds} folds, "
        f"{ARGUMENTS.shuffles} shuffles, {ARGUMENTS.threads} thread(s), {platform.machine()}, Python "
        f"{platform.python_version()}\n"
    )
    print("| | MAE | ± | train, s | articles/s | MB |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, make in rivals(ARGUMENTS.ablations):
        result = measure(make, texts, targets, ARGUMENTS.folds, ARGUMENTS.shuffles)
        spread = statistics.stdev(result.errors) if len(result.errors) > 1 else 0.0
        print(
            f"| {name} | {statistics.mean(result.errors):.3f} | {spread:.3f} | {statistics.median(result.seconds):.1f} "
            f"| {result.rate:,.0f} | {result.size:.1f} |",
            flush=True,
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--labels", type=Path, required=True, help="JSONL with title, content, scores")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--shuffles", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the linear algebra")
    parser.add_argument("--ablations", action="store_true", help="leave parts of lite out, one by one")
    return parser.parse_args()


if __name__ == "__main__":
    ARGUMENTS = arguments()
    # The libraries read these when they are first imported.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[variable] = str(ARGUMENTS.threads)
    sys.modules.pop("numpy", None)

    import numpy as np
    from filterkit_lite import search
    from filterkit_lite.embedding import find_embedding
    from filterkit_lite.encoder import Encoder
    from filterkit_lite.model import LiteModel
    from filterkit_lite.trainer import LiteTrainer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold

    from filterkit.api import Context, FilterSpec, Split, TrainJob

    main()
