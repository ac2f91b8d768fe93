"""Whether 90 % intervals of extrapolated learning curves hold, and how wide they are.

    python benchmarks/learning_curve.py [--sims 100] [--n 400] [--only WORDS] [--jobs 2]
    python benchmarks/learning_curve.py --labels FILE [--sims 100] [--lite 20] [--jobs 2]

Each simulation is a set of N labels from which a curve is measured and fitted as `filterkit audit --learning-curve`
does it (the same code, with another learner), and held against the truth for 1.25, 1.5 and 2 times as many labels.

Without FILE the truth is known (benchmarks/curves.py). "made" learners err as they are told to, by a curve of any
shape, with articles that are hard whoever judges them and articles that are worth more than others to learn from. Of
"ridge" learners (closed form, penalty by leave-one-out, on invented features) the true curve is measured by brute
force. Two of them are meant to be unfair: after "a knee", a fifth before the end of what is measured, nothing is ever
gained, and the widest ridge learns the faster the more it has learnt. All of it takes about 5 minutes on two cores.

With FILE (labelled JSONL: title, content, scores) the labels of a simulation are a random half of FILE's texts, and
the truth is what students of more texts err, of all of FILE, on texts that they did not see: FILE is the world. First
with a ridge on hashed n-grams, then `--lite` times with the trainer lite as the command runs it, which takes about
half a minute each for a half of 200 articles.

Columns: in % of the simulations, how often the interval held the true MAE at each size, at all of them at once, and
the true gain by doubling; the 95 % interval of the share at twice the labels; the median width of the interval there,
and what is truly gained by doubling, both in % of the true MAE; the width of the gain's interval as a multiple of the
true gain (- under 1 %). Then the mean distance of the forecast from the truth at twice the labels, in % of it: ours,
that of a straight line in ln n through the last two points, and that of a least-squares power law with offset, with
how often its own 90 % interval (delta method, as scipy.optimize.curve_fit's covariance gives it) holds.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from curves import F64, World, made_worlds, ridge, ridge_worlds

from filterkit.api import FilterSpec, Split
from filterkit.cli.audit_curve import QUICK, TRAINER
from filterkit.metrics.bootstrap import wilson
from filterkit.pipeline.audit.features import hashed_ngrams
from filterkit.pipeline.curve import Measured, fit, means, measure, noise, plan
from filterkit.pipeline.curve.measure import FEWEST, Learner, Plan
from filterkit.pipeline.curve.report import DRAWS, LEARNT
from filterkit.pipeline.curve.students import students
from filterkit.pipeline.nearby import groups
from filterkit.pipeline.train import TrainRequest

FURTHER = (1.25, 1.5, 2.0)
"""Sizes to be foretold, as multiples of today's."""
HARDLY = 0.01
"""A gain of a smaller share of the error is none to speak of."""
TRUTH_DRAWS = {"ridge": 50, TRAINER: 15}
"""Of five-fold cross-validation, for the truth of a file."""
SPARE = 2.4
"""Times the fewest texts of a curve that a file must have, so that any half of it has enough."""
Z90 = 1.6448536269514722


@dataclass(frozen=True)
class Outcome:
    """Forecasts with their ends at the further sizes [f, 3], the gain at the last [3], and what others say of that."""

    mae: F64
    gain: F64
    line: float
    power: float
    power_half: float


def simulate(world: World, n: int, seed: int) -> Outcome:
    """One set of n labels of a world: its curve, measured and extrapolated."""
    targets, numbers, learner = world.draw(np.random.default_rng([7, seed]), n)
    return outcome(measure(targets, numbers, learner, plan(numbers, DRAWS[0], seed), seed=seed), sizes_of(n))


def sizes_of(n: int) -> list[float]:
    """What is learnt from of n labels today, and of more of them."""
    return [LEARNT * n * by for by in (1.0, *FURTHER)]


def outcome(found: Measured, sizes: Sequence[float]) -> Outcome:
    errors = means(found)
    later = fit(found.sizes, errors, noise(found), sizes[0], sizes[1:]).forecasts[1:]
    power, half = least_squares(np.array(found.sizes, float), errors, sizes[-1])
    last = later[-1]
    return Outcome(
        np.array([[f.mae, f.low, f.high] for f in later]),
        np.array([last.gain, last.gain_low, last.gain_high]),
        line(found.sizes, errors, sizes[-1]),
        power,
        half,
    )


def line(sizes: Sequence[int], errors: F64, at: float) -> float:
    """Straight in ln n through the last two points."""
    (x0, x1), (y0, y1) = np.log(sizes[-2:]), errors[-2:]
    return float(y1 + (y1 - y0) / (x1 - x0) * (np.log(at) - x1))


def least_squares(n: F64, errors: F64, at: float) -> tuple[float, float]:
    """A power law with offset by least squares at one more size, and half of its 90 % interval by the delta method."""
    best: tuple[float, float, F64] | None = None
    for c in np.linspace(0.02, 3, 150):
        basis = np.stack([np.ones_like(n), (n / n[-1]) ** -c], axis=1)
        beta = np.linalg.lstsq(basis, errors, rcond=None)[0]
        rest = float(((errors - basis @ beta) ** 2).sum())
        if beta[0] >= 0 and (best is None or rest < best[0]):
            best = rest, float(c), beta
    if best is None:
        return float(errors[-1]), 0.0
    rest, c, (a, b) = best

    def slopes(size: F64) -> F64:
        height = (size / n[-1]) ** -c
        return np.stack([np.ones_like(size), height, -b * height * np.log(size / n[-1])], axis=-1)

    jacobian, ahead = slopes(n), slopes(np.array([at]))[0]
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * rest / max(1, len(n) - 3)
    return float(a + b * (at / n[-1]) ** -c), float(Z90 * np.sqrt(ahead @ covariance @ ahead))


# A file of labels as a world


@functools.cache
def file_world(path: Path, kind: str) -> tuple[World, int]:
    """The world that a file is, for learners of a kind, and how many labels a simulation has of it."""
    texts, targets, spec = read(path)
    numbers = np.unique(groups(texts), return_inverse=True)[1]
    half, differ = len(texts) // 2, len(np.unique(numbers))
    if differ < SPARE * FEWEST:
        raise SystemExit(f"{path} has {differ} labelled texts that differ; {SPARE * FEWEST:.0f} are the fewest")
    learner = ngram_ridge(texts, targets, spec) if kind == "ridge" else lite(texts, targets, spec)

    def draw(random: np.random.Generator, n: int) -> tuple[Any, Any, Learner]:
        order = random.permutation(numbers.max() + 1)
        rows = np.sort(np.argsort(order[numbers], kind="stable")[:n])  # whole groups, but for the last
        return targets[rows], numbers[rows], lambda learnt, held, seed: learner(rows[learnt], rows[held], seed)

    def truth(sizes: Sequence[float]) -> F64:
        held = plan(numbers, TRUTH_DRAWS[kind], seed=99).held
        known = Plan(tuple(round(size) for size in sizes), (1,) * len(sizes), held)
        return means(measure(targets, numbers, learner, known, seed=99))

    return World(f"{path.name}: {kind}", draw, truth), half


def read(path: Path) -> tuple[list[str], Any, FilterSpec]:
    """Different texts, targets [n, d] with NaN where a score is missing, and a filter of their dimensions."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    by_text = {f"{row.get('title') or ''}\n\n{row['content']}".strip(): row["scores"] for row in rows}
    names = sorted({n for scores in by_text.values() for n, v in scores.items() if isinstance(v, int | float)})
    targets = np.array([[scores.get(n, np.nan) for n in names] for scores in by_text.values()], np.float32)
    dimensions = [{"name": f"dimension_{i}", "weight": 1 / len(names)} for i in range(len(names))]
    scale = {
        "min": float(np.floor(np.nanmin([0, np.nanmin(targets)]))),
        "max": float(np.nanmax([10, np.nanmax(targets)])),
    }
    spec = {"schema": 1, "name": "benchmark", "version": "1", "scale": scale, "dimensions": dimensions}
    return list(by_text), targets, FilterSpec.model_validate(spec)


def ngram_ridge(texts: list[str], targets: Any, spec: FilterSpec) -> Learner:
    x = hashed_ngrams(texts).astype(np.float64) * np.sqrt(256)
    y = np.where(np.isnan(targets), np.nanmean(targets, axis=0), targets).astype(np.float64)

    def learn(learnt: Any, held: Any, _seed: int) -> Any:
        weights, offset = ridge(x[learnt], y[learnt])
        return np.clip(x[held] @ weights + offset, spec.scale.min, spec.scale.max).astype(np.float32)

    return learn


def lite(texts: list[str], targets: Any, spec: FilterSpec) -> Learner:
    work = Path(tempfile.mkdtemp())
    rows = Split(texts, targets, np.ones(len(texts), np.float32), work / "rows.jsonl")
    return students(spec, rows, TrainRequest(TRAINER, QUICK), work, lambda: False)


# The table

HEAD = (
    "",
    "holds x1.25",
    "x1.5",
    "x2",
    "all",
    "gain",
    "95 % (x2)",
    "width",
    "gained",
    "of gain",
    "off by",
    "line",
    "power",
    "holds",
)


def table_row(name: str, truth: F64, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """A line of the table; truth [f + 1]: today and at the further sizes."""
    mae, gains = np.array([o.mae for o in outcomes]), np.array([o.gain for o in outcomes])
    held = (mae[..., 1] <= truth[1:]) & (truth[1:] <= mae[..., 2])
    gain, far = float(truth[0] - truth[-1]), float(truth[-1])
    gain_held = (gains[:, 1] <= gain + 1e-9) & (gain <= gains[:, 2] + 1e-9)
    ends = wilson(float(held[:, -1].mean()), 0.0, len(outcomes))
    of_gain = float(np.median(gains[:, 2] - gains[:, 1])) / gain if gain > HARDLY * far else None

    def percent(values: Any) -> str:
        return f"{100 * float(np.mean(values)):.0f}"

    def off(values: Any) -> str:
        return f"{100 * float(np.mean(np.abs(np.array(values) - far))) / far:.1f}"

    return (
        name,
        *map(percent, held.T),
        percent(held.all(axis=1)),
        percent(gain_held),
        f"{100 * ends.low:.0f}-{100 * ends.high:.0f}",
        f"{100 * float(np.median(mae[:, -1, 2] - mae[:, -1, 1])) / far:.1f}",
        f"{100 * gain / far:.1f}",
        "-" if of_gain is None else f"{of_gain:.2f}",
        off(mae[:, -1, 0]),
        off([o.line for o in outcomes]),
        off([o.power for o in outcomes]),
        percent([abs(o.power - far) <= o.power_half for o in outcomes]),
    )


def show(rows: Sequence[Sequence[str]]) -> None:
    lines = [HEAD, *rows]
    widths = [max(len(cells[at]) for cells in lines) for at in range(len(HEAD))]
    for first, *rest in lines:
        print(
            first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)), sep="  "
        )


# Side by side


def find(name: str, n: int, file: Path | None) -> tuple[World, int]:
    if file is not None:
        return file_world(file, name)
    return next(world for world in (*made_worlds(), *ridge_worlds()) if world.name == name), n


def work_in(scratch: str) -> None:
    """All temporary files of this process go there: it may end without clearing up."""
    tempfile.tempdir = scratch


def task(asked: tuple[str, int, Path | None, int]) -> Any:
    """One simulation of a world by its seed, or its truth where that is below 0."""
    name, n, file, seed = asked
    world, n = find(name, n, file)
    return world.truth(sizes_of(n)) if seed < 0 else simulate(world, n, seed)


def run(
    names: Sequence[tuple[str, int]], n: int, file: Path | None, pool: ProcessPoolExecutor
) -> Iterator[tuple[str, ...]]:
    """A line of the table for each world and its number of simulations."""
    for name, sims in names:
        truth, *outcomes = pool.map(task, [(name, n, file, seed) for seed in range(-1, sims)])
        yield table_row(find(name, n, file)[0].name, truth, outcomes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sims", type=int, default=100, help="simulations of each world (default 100)")
    parser.add_argument("--n", type=int, default=400, help="labels of a simulation (default 400)")
    parser.add_argument("--only", default="", help="worlds whose name holds these words")
    parser.add_argument("--labels", type=Path, help="labelled JSONL: half of it is known, all of it is the truth")
    parser.add_argument("--lite", type=int, default=20, help="simulations with lite, of --labels (default 20; 0: none)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of the processes, before their numpy
    if args.labels:
        asked = [("ridge", args.sims), *([(TRAINER, args.lite)] if args.lite else [])]
        n = len(read(args.labels)[0]) // 2
    else:
        asked = [(w.name, args.sims) for w in (*made_worlds(), *ridge_worlds()) if args.only in w.name]
        n = args.n
    started = time.perf_counter()
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="filterkit-curve-") as scratch,
        ProcessPoolExecutor(args.jobs, mp_context=spawn, initializer=work_in, initargs=(scratch,)) as pool,
    ):
        rows = list(run(asked, n, args.labels, pool))
    simulations = ", ".join(sorted({f"{sims}" for _, sims in asked}))
    print(f"{n} labels, {simulations} simulations each, {time.perf_counter() - started:.0f} s\n")
    show(rows)
    at_twice = {cells[0]: float(cells[3]) for cells in rows}
    worst = min(at_twice, key=lambda name: at_twice[name])
    mean = np.mean(list(at_twice.values()))
    print(
        f"\nat twice the labels the interval holds {mean:.0f} % of the time; worst is {worst}, {at_twice[worst]:.0f} %"
    )


if __name__ == "__main__":
    main()
