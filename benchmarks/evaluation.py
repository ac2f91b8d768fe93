"""How often 95 % intervals hold, and what evaluating 100,000 articles takes.

    python benchmarks/evaluation.py [--sims 500] [--n 100 2000] [--rows 100000] [--only coverage|speed]

Coverage: the share of simulated tests whose interval holds the figure that a very large test has (recall@k, NDCG@k and
average precision: the mean over tests of that size), by `evaluate` and by plain percentiles of the same draws. Four
dimensions share a common part and are whole numbers from 0 to 10; errors are even, floor-heavy (most labels at 0 to 2,
larger errors above), uneven (they grow with the label, and articles that are hard are so in every dimension) or
skewed (exponential, to one side). 500 simulations tell coverage to within 2 points. Without percentiles they take
about 3 minutes for 100 articles and 20 for 2,000; percentiles are a Python loop and take most of the time.

Speed: seconds and peak memory of a process that evaluates the articles under a filter with tiers, beside a plain loop
of percentiles with numpy and scipy, and scipy.stats.bootstrap, which does one figure at a time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from filterkit.filters import load_filter
from filterkit.metrics.records import Metrics
from filterkit.pipeline.evaluate import evaluate
from filterkit.spec import Dimension, FilterSpec

F64 = NDArray[np.float64]
NAMES = ("a", "b", "c", "d")
FILTER = Path(__file__).parent.parent / "filters" / "uplifting" / "v1"
LARGE = 200_000
PERCENTILE_ROUNDS = 200


def spec() -> FilterSpec:
    """Four dimensions and three tiers, the best of about a tenth of the articles."""
    tiers = [{"name": "best", "at_least": 6}, {"name": "middle", "at_least": 4}, {"name": "rest"}]
    return FilterSpec.model_validate(
        {
            "schema": 1,
            "name": "simulated",
            "version": "1",
            "dimensions": [Dimension(name=n, weight=0.25).model_dump() for n in NAMES],
            "postfilter": {"use": "tiers", "tiers": tiers},
            "threshold": 4,
        }
    )


def draw(shape: str, n: int, random: np.random.Generator) -> tuple[F64, F64]:
    """Predictions and labels [n, 4]."""
    latent = 0.7 * random.normal(size=(n, 1)) + 0.7 * random.normal(size=(n, len(NAMES)))
    noise = random.normal(size=latent.shape)
    if shape == "floor-heavy":
        labels = np.clip(np.round(2.2 * np.exp(latent) - 1.5), 0, 10)
        return np.clip(0.75 * labels + 0.5 + noise * (0.5 + 0.08 * labels), 0, 10), labels
    labels = np.clip(np.round(4 + 2 * latent), 0, 10)
    if shape == "uneven":
        hard = random.normal(size=(n, 1))
        return np.clip(0.6 * labels + 2 + noise * (0.2 + 0.25 * labels) + 0.6 * hard, 0, 10), labels
    if shape == "skewed":
        return labels + 0.8 * random.exponential(1, labels.shape) - 0.5, labels
    return np.clip(labels + noise, 0, 10), labels


SHAPES = ("even", "floor-heavy", "uneven", "skewed")


def figures(metrics: Metrics) -> dict[str, tuple[float | None, Any]]:
    """What is judged: name -> value and interval."""
    found: dict[str, tuple[float | None, Any]] = {}

    def add(prefix: str, part: Any, names: tuple[str, ...]) -> None:
        for name in names:
            found[f"{prefix}{name}"] = (getattr(part, name), part.intervals.get(name))

    basic = ("mae", "rmse", "r2", "bias", "spearman", "within_1", "median_mae", "median_gain")
    add("mean ", metrics, basic)
    add("one ", metrics.per_dimension["a"], basic)
    add("overall ", metrics.overall, ("mae", "rmse", "spearman"))
    for band in metrics.per_dimension["a"].bands[:3]:
        add(f"band {band.low:g}-{band.high:g} ", band, ("mae", "bias"))
    assert metrics.tiers is not None
    assert metrics.at_threshold is not None
    add("tiers ", metrics.tiers, ("accuracy", "average_precision"))
    for name in ("recall", "precision"):
        best = getattr(metrics.tiers, name)["best"]
        found[f"best tier {name}"] = (best, metrics.tiers.intervals.get(f"{name}:best"))
    add("threshold ", metrics.at_threshold, ("precision", "recall", "f1"))
    for cut in metrics.cuts:
        add(f"first {cut.k} ", cut, ("recall", "ndcg"))
    return found


def plain(p: F64, t: F64) -> dict[str, float]:
    """Some of these figures, computed as one would."""
    error = p - t
    mae, spread = np.abs(error).mean(), np.abs(t - np.median(t, axis=0)).mean()
    columns = range(t.shape[1])
    best_oracle, best = t.mean(axis=1) >= 6, p.mean(axis=1) >= 6
    return {
        "mean mae": mae,
        "mean rmse": np.sqrt((error**2).mean(axis=0)).mean(),
        "mean r2": (1 - (error**2).sum(axis=0) / ((t - t.mean(axis=0)) ** 2).sum(axis=0)).mean(),
        "mean bias": error.mean(),
        "mean spearman": float(np.mean([stats.spearmanr(p[:, i], t[:, i]).statistic for i in columns])),
        "mean within_1": (np.abs(error) <= 1).mean(),
        "mean median_gain": 1 - mae / spread,
        "best tier recall": (best & best_oracle).sum() / best_oracle.sum() if best_oracle.any() else np.nan,
        "best tier precision": (best & best_oracle).sum() / best.sum() if best.any() else np.nan,
    }


def percentiles(p: F64, t: F64, rounds: int, random: np.random.Generator) -> dict[str, tuple[float, float]]:
    drawn: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        rows = random.integers(0, len(p), len(p))
        for name, value in plain(p[rows], t[rows]).items():
            drawn[name].append(value)
    known = {name: [v for v in values if not np.isnan(v)] or [np.nan] for name, values in drawn.items()}
    ends = {name: np.quantile(values, [0.025, 0.975]) for name, values in known.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def truth(shape: str) -> dict[str, float | None]:
    p, t = draw(shape, LARGE, np.random.default_rng(1))
    found = evaluate(p, t, spec(), rounds=100).metrics
    return {k: v for k, (v, _) in figures(found).items() if not k.startswith("first") and "average" not in k}


def simulate(n: int, sims: int, with_percentiles: bool) -> dict[str, dict[str, tuple[int, int, int, int]]]:
    """Figure -> shape -> tests with an interval, of these held; the same by percentiles."""
    table: dict[str, dict[str, tuple[int, int, int, int]]] = defaultdict(dict)
    for shape in SHAPES:
        known = truth(shape)
        random = np.random.default_rng([2, n])
        seen: dict[str, list[tuple[float | None, Any]]] = defaultdict(list)
        beside: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for sim in range(sims):
            p, t = draw(shape, n, random)
            for name, pair in figures(evaluate(p, t, spec(), seed=sim).metrics).items():
                seen[name].append(pair)
            if with_percentiles:
                for name, ends in percentiles(p, t, PERCENTILE_ROUNDS, random).items():
                    beside[name].append(ends)
        for name, pairs in seen.items():
            values = [v for v, _ in pairs if v is not None]
            target = known.get(name, float(np.mean(values)) if values else None)
            if target is None:
                continue
            given = [i for v, i in pairs if v is not None and i is not None]
            held = sum(i.low - 1e-12 <= target <= i.high + 1e-12 for i in given)
            theirs = sum(low <= target <= high for low, high in beside[name])
            table[name][shape] = (len(given), held, len(beside[name]), theirs)
    return table


def show_coverage(n: int, sims: int, with_percentiles: bool) -> None:
    started = time.perf_counter()
    table = simulate(n, sims, with_percentiles)
    print(f"\nCoverage of 95 % intervals, {n:,} articles, {sims} simulations ({time.perf_counter() - started:.0f} s);")
    print("in % ours, and by percentiles after the slash; - no interval in half of the tests")
    print(f"{'':28}" + "".join(f"{shape:>16}" for shape in (*SHAPES, "all")))
    for name, by_shape in table.items():
        cells = []
        for some in ([shape] for shape in SHAPES):
            cells.append(_cell([by_shape[s] for s in some if s in by_shape], sims))
        cells.append(_cell([v for v in by_shape.values() if v[0] > sims / 2], sims))
        print(f"{name:28}" + "".join(f"{cell:>16}" for cell in cells))


def _cell(parts: list[tuple[int, int, int, int]], sims: int) -> str:
    given, held, other, theirs = (sum(column) for column in zip(*parts, strict=True)) if parts else (0, 0, 0, 0)
    if not given or given <= sims / 2:
        return "-"
    return f"{100 * held / given:.1f}" + (f" / {100 * theirs / other:.1f}" if other else "")


def large(rows: int) -> tuple[F64, F64]:
    """Predictions and labels [rows, 8]."""
    random = np.random.default_rng(3)
    latent = 1.4 * random.normal(size=(rows, 1)) + 1.4 * random.normal(size=(rows, 8))
    labels = np.clip(np.round(4 + latent), 0, 10)
    return np.clip(labels + random.normal(size=labels.shape), 0, 10).astype(np.float32).astype(np.float64), labels


def ours(rows: int) -> None:
    p, t = large(rows)
    intervals = np.stack([p - 1.7, p + 1.7], axis=-1)
    started = time.perf_counter()
    found = evaluate(p, t, load_filter(FILTER), intervals=intervals).metrics
    print(f"{time.perf_counter() - started:.1f} {found.rounds} {found.rank_rounds}")


def loop(rows: int) -> None:
    p, t = large(rows)
    few = 5
    started = time.perf_counter()
    percentiles(p, t, few, np.random.default_rng(0))
    print(f"{(time.perf_counter() - started) * 1000 / few:.1f} 1000 1000")


def scipys(rows: int) -> None:
    p, t = large(rows)
    errors = np.abs(p - t).mean(axis=1)
    started = time.perf_counter()
    stats.bootstrap((errors,), np.mean, n_resamples=1000, batch=10, vectorized=True, method="percentile")
    print(f"{time.perf_counter() - started:.1f} 1000 0")


def show_speed(rows: int) -> None:
    ways: list[tuple[Callable[[int], None], str]] = [
        (ours, "evaluate: all figures"),
        (loop, "plain loop: nine figures (scaled from 5 rounds)"),
        (scipys, "scipy.stats.bootstrap: one figure, the mean MAE"),
    ]
    print(f"\n{rows:,} articles x 8 dimensions, {len(os.sched_getaffinity(0))} cores")
    print(f"{'':50}{'seconds':>9}{'rounds':>8}{'of ranks':>10}{'peak MB':>9}")
    for way, words in ways:
        run = [sys.executable, __file__, "--child", way.__name__, "--rows", str(rows)]
        done = subprocess.run(run, capture_output=True, text=True, check=True)
        seconds, rounds, rank_rounds, peak = done.stdout.split()
        print(f"{words:50}{seconds:>9}{rounds:>8}{rank_rounds:>10}{peak:>9}")


def child(name: str, rows: int) -> None:
    {"ours": ours, "loop": loop, "scipys": scipys}[name](rows)
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) // 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sims", type=int, default=500, help="simulated tests of each kind (default 500)")
    parser.add_argument("--n", type=int, nargs="+", default=[100, 2000], help="articles of a test (default 100 2000)")
    parser.add_argument("--rows", type=int, default=100_000, help="articles that are timed (default 100,000)")
    parser.add_argument("--only", choices=["coverage", "speed"], help="one of the two tables")
    parser.add_argument("--no-percentiles", action="store_true", help="leave the percentiles out")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.rows)
        return
    for n in args.n if args.only != "speed" else ():
        show_coverage(n, args.sims, not args.no_percentiles)
    if args.only != "coverage":
        show_speed(args.rows)


if __name__ == "__main__":
    main()
