"""How many labels a strategy of `--select` needs for what random choice reaches.

    python benchmarks/selection.py --labels FILE [--seeds 20] [--pool 300] [--held-out 100] [--at 60 90 120 150 180]

FILE holds labelled articles, one JSON object a line: title, content, scores {dimension: number} on a scale of 0 to 10,
and source, language and url where known. For each seed, other articles are held out, and every strategy chooses from
the same pool what is then labelled (with FILE's scores) and learnt by `lite`, its search for hyper-parameters included;
what lite reads of a text is computed once, nothing else is cut short. The strategies are those that `filterkit label`
runs, with the embedder `static`; k-center (the farthest point, in the same embeddings) is what one would pick instead.

`uncertain` labels a third of the number at random, trains lite on it, and takes what that student is least sure of; so
does the uncertain half of a mix. `near` gets five examples, drawn from the best tenth of those held out (by the mean of
all dimensions), which then count nowhere. MAE is the mean over articles, dimensions and seeds; ± is the standard error
of the difference from random, seed by seed. The labels needed for the MAE that random choice has at N are read off the
mean curve, made falling and interpolated over the logarithm of the number; intervals hold 95 % of 2,000 bootstraps over
seeds. Seeds share FILE's articles, so they tell of other draws from these articles, not of other articles.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filterkit_lite.embedder import StaticEmbedder, StaticOptions
from filterkit_lite.embedding import find_embedding
from filterkit_lite.encoder import Encoded, Encoder
from filterkit_lite.learn import Limits, learn
from filterkit_lite.model import LiteScorer
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from filterkit.api import Context, FilterSpec
from filterkit.articles import to_article
from filterkit.pipeline.choose.candidates import Candidate, Offer, drawn, offer
from filterkit.pipeline.choose.choice import choose
from filterkit.pipeline.choose.doubts import doubts
from filterkit.pipeline.choose.mix import Part, parse_mix
from filterkit.pipeline.choose.strategies import (
    Diverse,
    Near,
    Random,
    Strategy,
    Stratified,
    Uncertain,
    embedded,
)
from filterkit.prompt import sent_text, student_text
from filterkit.records import F32, sha256_text

SIZES = (30, 60, 90, 120, 180, 240)
SCALE = (0.0, 10.0)
EXAMPLES = 5
BEST = 0.9
"""Quantile of the overall from which an article counts as one of the best."""
BOOTSTRAPS = 2000
RANDOM, K_CENTER = "random", "k-center"
F64 = NDArray[np.float64]
CHOICES = (
    RANDOM,
    "stratified",
    "diverse",
    "random:0.5,diverse:0.5",
    "near",
    "uncertain",
    "random:0.5,uncertain:0.5",
    K_CENTER,
)


@dataclass(frozen=True)
class Data:
    """n articles as they are offered, targets [n, d], what lite reads of each, and who reads and embeds them."""

    spec: FilterSpec
    offers: list[Offer]
    texts: list[str]
    targets: F32
    encoder: Cached
    embedder: StaticEmbedder

    def train(self, rows: Sequence[int], seed: int) -> LiteScorer:
        """lite as `filterkit train` makes it of these rows."""
        texts, ones = [self.texts[row] for row in rows], np.ones(len(rows), np.float32)
        targets = self.targets[list(rows)]
        encoder: Any = self.encoder
        student, _ = learn(encoder, texts, targets, ones, SCALE, seed, limits=Limits(), report=lambda *_: None)
        return LiteScorer(student, encoder, 1)


class Cached:
    """lite's encoder over texts that were read once."""

    def __init__(self, encoder: Encoder, texts: Sequence[str]) -> None:
        self._all = encoder.encode(texts)
        self._row = {text: row for row, text in enumerate(texts)}
        self.key = encoder.key

    def encode(self, texts: Sequence[str]) -> Encoded:
        rows = [self._row[text] for text in texts]
        return Encoded(self._all.vectors[rows], self._all.grams[rows], self._all.length[rows])


@dataclass(frozen=True)
class Taught:
    """What `doubts` asks of a student."""

    spec: FilterSpec
    scorer: LiteScorer


class KCenter(Strategy):
    """The article farthest from all that were chosen before (Gonzalez 1985)."""

    def __init__(self, size: int, seed: int, embedder: StaticEmbedder) -> None:
        self._size, self._seed, self._embedder = size, seed, embedder
        self._offers: list[Offer] = []

    def offer(self, chunk: Sequence[Offer]) -> None:
        self._offers += chunk

    def ranked(self) -> list[Candidate]:
        offers = sorted(self._offers, key=lambda one: drawn("k-center", self._seed, one.candidate.key))
        vectors = embedded(self._embedder.embed, [one.article for one in offers])
        chosen, apart = [0], 2 - 2 * vectors @ vectors[0]
        while len(chosen) < min(self._size, len(offers)):
            apart[chosen[-1]] = -1
            chosen.append(int(apart.argmax()))
            apart = np.minimum(apart, 2 - 2 * vectors @ vectors[chosen[-1]])
        return [offers[row].candidate for row in chosen]


def read(path: Path) -> Data:
    """FILE, read once. A score that is missing is NaN."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    names = sorted({name for row in rows for name, value in row["scores"].items() if isinstance(value, int | float)})
    dimensions = [{"name": f"dimension_{i}", "weight": 1 / len(names)} for i in range(len(names))]
    spec = FilterSpec.model_validate({"schema": 1, "name": "benchmark", "version": "1", "dimensions": dimensions})
    articles = [to_article(row) for row in rows]
    texts = [student_text(spec, article) for article in articles]
    reading = spec.input.student
    return Data(
        spec,
        [offer(article, sha256_text(sent_text(spec, article))) for article in articles],
        texts,
        np.array([[row["scores"].get(name, np.nan) for name in names] for row in rows], np.float32),
        Cached(Encoder(find_embedding("wordllama", Path()), reading.max_tokens, reading.keep), texts),
        StaticEmbedder(StaticOptions(), spec, Context(workdir=Path())),
    )


class Draw:
    """One seed: who is held out, who may be chosen, and which are the examples. Rows are numbers of articles."""

    def __init__(self, data: Data, seed: int, pool: int, held_out: int) -> None:
        order = [int(row) for row in np.random.default_rng(seed).permutation(len(data.offers))]
        overall = np.nanmean(data.targets, axis=1)
        self.data, self.seed = data, seed
        self.best = overall >= np.quantile(overall, BEST)
        self.examples = [row for row in order[:held_out] if self.best[row]][:EXAMPLES]
        self.held = [row for row in order[:held_out] if row not in self.examples]
        self.pool = order[held_out : held_out + pool]
        self._row = {data.offers[row].candidate.key: row for row in self.pool}

    def chosen(self, name: str, sizes: Sequence[int]) -> list[list[int]]:
        """For each size the rows that a strategy chooses, best first."""
        if "uncertain" in name:
            return [self._in_two_steps(parse_mix(name), size) for size in sizes]
        parts = (Part(name, 1.0),) if name == K_CENTER else parse_mix(name)
        order = self._take(
            parts, {part.strategy: self._strategy(part.strategy, sizes[-1]) for part in parts}, sizes[-1]
        )
        return [order[:size] for size in sizes]

    def _in_two_steps(self, parts: tuple[Part, ...], count: int) -> list[int]:
        """A third at random teaches the student whose doubt counts; the rest is chosen by `parts`."""
        first = self.chosen(RANDOM, [count // 3])[0]
        student: Any = Taught(self.data.spec, self.data.train(first, self.seed))
        rest = count - len(first)
        strategies = {part.strategy: self._strategy(part.strategy, rest) for part in parts if part.strategy == RANDOM}
        strategies["uncertain"] = Uncertain(rest, None, self.seed, lambda articles: doubts(student, articles))
        return first + self._take(parts, strategies, rest, had=first)

    def _strategy(self, name: str, count: int) -> Strategy:
        embedder = self.data.embedder
        if name == K_CENTER:
            return KCenter(count, self.seed, embedder)
        if name == "near":
            examples = [self.data.offers[row].article for row in self.examples]
            return Near(count, None, self.seed, embedder.embed, examples)
        if name == "diverse":
            return Diverse(count, None, self.seed, embedder.embed)
        return (Stratified if name == "stratified" else Random)(count, None, self.seed)

    def _take(
        self, parts: tuple[Part, ...], strategies: dict[str, Strategy], count: int, had: Sequence[int] = ()
    ) -> list[int]:
        known = {self.data.offers[row].sent_hash for row in had}
        choice = choose(
            [self.data.offers[row] for row in self.pool],
            parts,
            strategies,
            count,
            stands=lambda hashes: ["labelled" if one in known else "free" for one in hashes],
        )
        return [self._row[candidate.key] for candidate in choice.chosen]

    def judged(self, rows: Sequence[int]) -> tuple[float, float, float]:
        """MAE over those held out, MAE over the best of them, and which share of the pool's best is among `rows`."""
        scorer = self.data.train(rows, self.seed)
        scores = scorer.predict(scorer.encode([self.data.texts[row] for row in self.held])).scores
        errors = np.nanmean(np.abs(scores - self.data.targets[self.held]), axis=1)
        best = self.best[self.held]
        found = self.best[list(rows)].sum() / max(1, self.best[self.pool].sum())
        return float(errors.mean()), float(errors[best].mean()) if best.any() else np.nan, float(found)


def measure(data: Data, wanted: argparse.Namespace) -> dict[str, Any]:
    """For each choice an array [seeds, sizes, 3] of what `judged` says; the last size is the whole pool."""
    sizes = [*(size for size in SIZES if size < wanted.pool), wanted.pool]
    found = {name: np.zeros((wanted.seeds, len(sizes), 3)) for name in CHOICES}
    for seed in range(wanted.seeds):
        draw = Draw(data, seed, wanted.pool, wanted.held_out)
        everything = draw.judged(draw.pool)
        for name in CHOICES:
            for at, rows in enumerate(draw.chosen(name, sizes[:-1])):
                found[name][seed, at] = draw.judged(rows)
            found[name][seed, -1] = everything
    return {"sizes": sizes, **found}


def needed(sizes: Sequence[int], curve: F64, error: float) -> float:
    """How many labels bring a curve [sizes] of errors down to `error`; the most that was tried if none does."""
    falling = np.minimum.accumulate(curve)
    if error >= falling[0]:
        return float(sizes[0])
    return float(np.exp(np.interp(-error, -falling, np.log(sizes))))


def ratio(sizes: Sequence[int], own: F64, random: F64, at: float) -> float:
    """Labels that a strategy needs for what random choice reaches with `at`, as a share; curves [seeds, sizes]."""
    target = float(np.interp(np.log(at), np.log(sizes), np.minimum.accumulate(random.mean(axis=0))))
    return needed(sizes, own.mean(axis=0), target) / at


def with_interval(sizes: Sequence[int], own: F64, random: F64, at: float) -> str:
    draws = np.random.default_rng(0).integers(0, len(own), (BOOTSTRAPS, len(own)))
    low, high = np.quantile([ratio(sizes, own[draw], random[draw], at) for draw in draws], (0.025, 0.975))
    return f"{ratio(sizes, own, random, at):.2f} ({low:.2f}–{high:.2f})"


def table(title: str, head: Sequence[object], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}\n\n| | {' | '.join(map(str, head))} |\n| --- |{' ---: |' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def main(wanted: argparse.Namespace) -> None:
    began = time.perf_counter()
    data = read(wanted.labels)
    if len(data.offers) < wanted.pool + wanted.held_out:
        raise SystemExit(f"{wanted.labels} holds {len(data.offers)} articles: lower --pool or --held-out")
    found = measure(data, wanted)
    sizes = found.pop("sizes")
    random = found[RANDOM]
    print(
        f"{len(data.offers)} articles, {data.targets.shape[1]} dimensions; {wanted.held_out} held out, {wanted.pool} "
        f"to choose from, {wanted.seeds} seeds, {time.perf_counter() - began:.0f} s"
    )
    rows = []
    for name, own in found.items():
        error = (own - random)[..., 0].std(axis=0, ddof=min(1, wanted.seeds - 1)) / wanted.seeds**0.5
        rows.append([name, *(f"{m:.3f} ± {e:.3f}" for m, e in zip(own[..., 0].mean(axis=0), error, strict=True))])
    table("MAE after so many labels", sizes, rows)
    rows = [
        [name, *(with_interval(sizes, own[..., 0], random[..., 0], at) for at in wanted.at)]
        for name, own in found.items()
        if name != RANDOM
    ]
    table("Labels needed for the MAE of random choice at N labels, as a share of N", wanted.at, rows)
    for title, column in (
        ("MAE among the best tenth of those held out", 1),
        ("Share of the pool's best tenth found", 2),
    ):
        means = {name: np.nanmean(own[..., column], axis=0) for name, own in found.items()}
        table(title, sizes, [[name, *(f"{value:.2f}" for value in own)] for name, own in means.items()])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--labels", type=Path, required=True, help="JSONL with title, content, scores")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--pool", type=int, default=300, help="articles to choose from")
    parser.add_argument("--held-out", type=int, default=100)
    parser.add_argument("--at", type=int, nargs="+", default=[60, 90, 120, 150, 180], metavar="N")
    return parser.parse_args()


if __name__ == "__main__":
    with threadpool_limits(1):
        main(arguments())
