"""Is it worth asking three times? A student of one answer each, of medians, of weighted medians, at the same price.

    python benchmarks/judgement.py [--labels FILE] [--rounds 20] [--noise 0.5 1 2] [--uneven 0.8] [--samples 3]

An oracle is simulated that is noisy about some articles: FILE's scores (or, without FILE, scores of invented texts) are
what it would say on average, an answer adds normal noise, is put on the scale and rounded to halves. The noise's
standard deviation is `--noise` points in the middle; from article to article it varies by a factor whose logarithm has
the standard deviation `--uneven` (0: all articles are equally hard, 0.8: one in six is more than twice as hard). Each
round draws other held-out articles and other noise. `lite` learns from the rest, nothing cut short; what it reads of a
text is computed once. Medians, spread and weights are made by the code that `filterkit prepare` runs.

MAE is against FILE's own scores, which no student saw, over all dimensions; "of the labels" is how far the training
labels themselves are from them. Differences are taken round by round, ± is their standard error; "by the weights" is
the difference from the same labels with all rows alike. The rows with fewer articles cost what one answer each costs,
those of medians of all articles three times as much.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from filterkit_lite.embedding import find_embedding
from filterkit_lite.encoder import Encoded, Encoder
from filterkit_lite.features import Projector
from filterkit_lite.learn import Limits, learn
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from filterkit.api import Article, FilterSpec, Label
from filterkit.pipeline.judgement.samples import merge_samples
from filterkit.pipeline.judgement.weights import pooled_spread, row_weights

SCALE = (0.0, 10.0)
STEP = 0.5
F32 = NDArray[np.float32]
Rows = NDArray[np.intp]


class Remembering(Encoder):
    """What lite reads of a text, computed once for each."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__(find_embedding("wordllama", Path()), 512, "head")
        self._all = super().encode(texts)
        self._row = {text: i for i, text in enumerate(texts)}

    def encode(self, texts: Sequence[str]) -> Encoded:
        rows = [self._row[text] for text in texts]
        return Encoded(self._all.vectors[rows], self._all.grams[rows], self._all.length[rows])


@dataclass(frozen=True)
class World:
    """Articles, and what the oracle would say of them on average: truth [n, d]."""

    spec: FilterSpec
    texts: list[str]
    truth: F32
    encoder: Encoder


@dataclass(frozen=True)
class Taught:
    """What a student learns from: rows [m] of the world, their labels [m, d] and weights [m]."""

    rows: Rows
    labels: F32
    weights: F32


Recipe = Callable[[World, F32, Rows], Taught]
"""What becomes of answers [k, n, d] about the rows that may be labelled."""


def one_each(_: World, answers: F32, rows: Rows) -> Taught:
    return Taught(rows, answers[0][rows], np.ones(len(rows), np.float32))


def means(_: World, answers: F32, rows: Rows) -> Taught:
    return Taught(rows, answers[:, rows].mean(axis=0), np.ones(len(rows), np.float32))


def medians(world: World, answers: F32, rows: Rows) -> Taught:
    return replace(weighted(world, answers, rows), weights=np.ones(len(rows), np.float32))


def weighted(world: World, answers: F32, rows: Rows) -> Taught:
    return _merged(world, answers, rows, [len(answers)] * len(rows))


def a_third(recipe: Recipe) -> Recipe:
    """The recipe on as many articles as cost what one answer about each of them costs."""
    return lambda world, answers, rows: recipe(world, answers, rows[: len(rows) // len(answers)])


def half(world: World, answers: F32, rows: Rows) -> Taught:
    """All answers about every other article, one about the rest."""
    return _merged(world, answers, rows, [len(answers) if i % 2 else 1 for i in range(len(rows))])


def half_alike(world: World, answers: F32, rows: Rows) -> Taught:
    return replace(half(world, answers, rows), weights=np.ones(len(rows), np.float32))


def _merged(world: World, answers: F32, rows: Rows, counts: Sequence[int]) -> Taught:
    names = world.spec.names
    given = [
        (Article(f"{place:06}", "", world.texts[row], extra={"sample": k}), Label(_scores(names, answers[k][row])))
        for place, (row, count) in enumerate(zip(rows.tolist(), counts, strict=True))
        for k in range(count)
    ]
    merged = merge_samples(world.spec, given).rows
    labels = np.array([[label.scores.get(n, np.nan) for n in names] for _, label in merged], np.float32)
    weights = row_weights(world.spec, merged, pooled_spread(world.spec, merged))
    return Taught(rows, labels, np.array(weights, np.float32))


def _scores(names: Sequence[str], row: F32) -> dict[str, float]:
    return {name: float(score) for name, score in zip(names, row, strict=True) if math.isfinite(score)}


ALIKE, HALF_ALIKE = "median of {k}, all rows alike", "one or {k} answers, all rows alike"
FEWER_ALIKE = "median of {k}, all rows alike, fewer articles"
RECIPES: dict[str, tuple[str, Recipe, str]] = {
    "one answer each": ("100 %", one_each, ""),
    "mean of {k}": ("100 %", means, ""),
    ALIKE: ("100 %", medians, ""),
    "**median of {k}, weighted by spread**": ("100 %", weighted, ALIKE),
    HALF_ALIKE: ("100 %", half_alike, ""),
    "**one or {k} answers, weighted**": ("100 %", half, HALF_ALIKE),
    FEWER_ALIKE: ("1 / {k}", a_third(medians), ""),
    "**median of {k}, weighted, fewer articles**": ("1 / {k}", a_third(weighted), FEWER_ALIKE),
}
"""What is learnt from: share of the articles, how, and the same recipe without weights."""


def answered(world: World, noise: float, uneven: float, samples: int, random: np.random.Generator) -> F32:
    """Answers [k, n, d] of an oracle that is surer of some articles than of others."""
    hard = noise * np.exp(uneven * random.standard_normal(len(world.texts)))
    off = random.standard_normal((samples, *world.truth.shape)) * hard[None, :, None]
    found: F32 = np.clip(np.round((world.truth + off) / STEP) * STEP, *SCALE).astype(np.float32)
    return found


def error(world: World, taught: Taught, held: Rows, seed: int) -> float:
    """MAE of a student against what the oracle would say on average."""
    student, _ = learn(
        world.encoder,
        [world.texts[i] for i in taught.rows],
        taught.labels,
        taught.weights,
        SCALE,
        seed,
        limits=Limits(),
        report=lambda _settings, _error: None,
    )
    encoded = world.encoder.encode([world.texts[i] for i in held])
    found = student.scores(student.histograms(encoded, Projector(student.space)))
    return float(np.nanmean(np.abs(found - world.truth[held])))


def read(path: Path) -> tuple[list[str], F32]:
    """Texts, and scores [n, d] with NaN where one is missing."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = sorted({n for row in rows for n, v in row["scores"].items() if isinstance(v, int | float)})
    texts = {f"{row.get('title', '')}\n\n{row['content']}".strip(): row["scores"] for row in rows}
    return list(texts), np.array([[s.get(n, np.nan) for n in names] for s in texts.values()], np.float32)


def invented(count: int) -> tuple[list[str], F32]:
    """Texts of invented words that say what their scores are, and other words; scores [n, 4]."""
    random = np.random.default_rng(7)
    words = [
        "".join(random.choice(list("bdfgklmnprst")) + random.choice(list("aeiou")) for _ in range(3))
        for _ in range(900)
    ]
    truth = np.clip(random.gamma(1.5, 2.2, (count, 4)), *SCALE).astype(np.float32)
    texts = []
    for row in truth:
        telling = [
            words[60 * d + int(random.integers(60))] for d, score in enumerate(row) for _ in range(round(3 * score))
        ]
        other = [words[240 + int(i)] for i in random.integers(0, 660, 120)]
        texts.append(" ".join(random.permutation([*telling, *other])))
    return texts, truth


def main(wanted: argparse.Namespace) -> None:
    texts, truth = read(wanted.labels) if wanted.labels else invented(wanted.articles)
    dimensions = [{"name": f"d{i}", "weight": 1 / truth.shape[1]} for i in range(truth.shape[1])]
    spec = FilterSpec.model_validate({"schema": 1, "name": "benchmark", "version": "1", "dimensions": dimensions})
    world = World(spec, texts, truth, Remembering(texts))
    k, rounds = wanted.samples, wanted.rounds
    print(
        f"{len(texts)} articles, {truth.shape[1]} dimensions; {wanted.held_out} held out, {rounds} rounds; "
        f"noise of an answer uneven by {wanted.uneven:g}\n"
    )
    print(
        "| noise | labels | articles | of the labels | MAE | against one answer | by the weights |\n"
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |"
    )
    for noise in wanted.noise:
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in RECIPES}
        for number in range(rounds):
            random = np.random.default_rng([number, round(1000 * noise)])
            order = random.permutation(len(texts))
            held, rows = order[: wanted.held_out], order[wanted.held_out :]
            answers = answered(world, noise, wanted.uneven, k, random)
            for name, (_, recipe, _) in RECIPES.items():
                taught = recipe(world, answers, rows)
                off = float(np.nanmean(np.abs(taught.labels - truth[taught.rows])))
                found[name].append((off, error(world, taught, held, number)))
        errors = {name: np.array(of)[:, 1] for name, of in found.items()}
        for name, of in found.items():
            articles, _, alike = RECIPES[name]
            gain = _apart(errors[name], errors["one answer each"]) if name != "one answer each" else ""
            by_weights = _apart(errors[name], errors[alike]) if alike else ""
            print(
                f"| {noise:g} | {name.format(k=k)} | {articles.format(k=k)} | {np.mean([off for off, _ in of]):.2f} "
                f"| {errors[name].mean():.3f} | {gain} | {by_weights} |",
                flush=True,
            )


def _apart(errors: NDArray[np.float64], others: NDArray[np.float64]) -> str:
    """The mean difference of paired errors [rounds], with its standard error."""
    apart = errors - others
    about = apart.std(ddof=1) / math.sqrt(len(apart)) if len(apart) > 1 else 0.0
    return f"{apart.mean():+.3f} ± {about:.3f}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--labels", type=Path, help="JSONL with title, content, scores from 0 to 10; default: invented")
    parser.add_argument("--articles", type=int, default=400, help="of the invented ones")
    parser.add_argument("--held-out", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--samples", type=int, default=3, help="answers about an article")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.5, 1.0, 2.0], help="points, in the middle")
    parser.add_argument("--uneven", type=float, default=0.8, help="how much it varies from article to article")
    return parser.parse_args()


if __name__ == "__main__":
    with threadpool_limits(1):
        main(arguments())
