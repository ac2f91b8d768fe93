"""What verdicts cost: the postfilter `tiers` beside what one would write instead, on one core.

    python benchmarks/postfilter.py [--rows 1000000] [--runs 7]

The policy is that of filters/uplifting/v1, on invented scores in steps of a half. What is timed leads from scores
[n, 8] and overall [n] to verdicts; the per-row loop gets its dicts ready-made, and is timed on fewer rows and scaled,
which the table says. "Wrong tiers" are counted against exact whole-number arithmetic: a weighted mean that is exactly
at a tier's bound can be rounded below it in 32 bits.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filterkit_postfilter.tiers import TiersOptions, TiersPostfilter
from numpy.typing import NDArray

from filterkit.api import F32, Context, FilterSpec
from filterkit.filters import load_filter

FILTER = Path(__file__).parent.parent / "filters" / "uplifting" / "v1"
TIERS = NDArray[np.int16]
LOOP_ROWS = 100_000
FAILED_SHARE = 0.001
"""Share of rows without scores, as a run over real articles has them."""


@dataclass(frozen=True)
class Way:
    """One way to get the tiers [rows] of the first `rows` rows."""

    name: str
    rows: int
    run: Callable[[], TIERS]


def invented(spec: FilterSpec, n: int) -> tuple[F32, F32]:
    """Scores [n, d] in halves and their weighted mean [n]; some rows are NaN."""
    random = np.random.default_rng(7)
    scores = (random.integers(0, 21, (n, len(spec.names))) / 2).astype(np.float32)
    scores[random.random(n) < FAILED_SHARE] = np.nan
    return scores, scores @ np.array(spec.weights, np.float32)


def tiers(spec: FilterSpec, options: dict[str, Any], scores: F32, overall: F32) -> Callable[[], TIERS]:
    with tempfile.TemporaryDirectory() as folder:
        made = TiersPostfilter(TiersOptions.model_validate(options), spec, Context(workdir=Path(folder)))
    return lambda: made.judge(None, scores, overall, None).tier


def sixty_four_rules(spec: FilterSpec, options: dict[str, Any]) -> dict[str, Any]:
    """The policy with caps up to the limit, each on two dimensions."""
    names = spec.names
    caps = [
        {
            "name": f"cap{i}",
            "cap": i % 10,
            "when": [
                {"dimension": names[i % len(names)], "below": 1 + i % 4},
                {"dimension": names[(i + 3) % len(names)], "at_least": 6 + i % 4},
            ],
        }
        for i in range(63)
    ]
    return options | {"caps": caps}


def whole_columns(spec: FilterSpec, scores: F32, overall: F32) -> TIERS:
    """This one policy in plain numpy, hard-coded."""
    benefit, wonder = scores[:, spec.names.index("collective_benefit")], scores[:, spec.names.index("wonder")]
    capped = (benefit < 5) & ~((wonder >= 7) & (benefit >= 3))
    after = np.where(capped, np.minimum(overall, 3), overall)
    tier = np.select([np.isnan(after), after >= 7, after >= 4], [-1, 0, 1], 2)
    verdicts = (after, tier.astype(np.int16), tier < 2, capped.astype(np.uint64))
    return verdicts[1]


def row_by_row(rows: list[dict[str, float]]) -> TIERS:
    """This one policy as a loop over dicts, one dict out per row."""
    verdicts: list[dict[str, Any]] = []
    for row in rows:
        overall = row["overall"]
        if overall != overall:
            verdicts.append({"overall": None, "tier": None, "passed": False, "reasons": []})
            continue
        reasons = []
        excepted = row["wonder"] >= 7 and row["collective_benefit"] >= 3
        if row["collective_benefit"] < 5 and not excepted:
            overall = min(overall, 3)
            reasons.append("collective_benefit_floor")
        tier = "impact" if overall >= 7 else "connection" if overall >= 4 else "not_uplifting"
        verdicts.append({"overall": overall, "tier": tier, "passed": tier != "not_uplifting", "reasons": reasons})
    index = {None: -1, "impact": 0, "connection": 1, "not_uplifting": 2}
    return np.array([index[v["tier"]] for v in verdicts], np.int16)


def exact(spec: FilterSpec, scores: F32) -> TIERS:
    """The same tiers from whole numbers: scores in halves, weights in hundredths, so the mean is in 200ths."""
    judged = ~np.isnan(scores[:, 0])
    halves = np.where(judged[:, None], np.nan_to_num(scores) * 2, 0).astype(np.int64)
    mean = halves @ np.array([round(w * 100) for w in spec.weights])
    benefit, wonder = halves[:, spec.names.index("collective_benefit")], halves[:, spec.names.index("wonder")]
    capped = (benefit < 10) & ~((wonder >= 14) & (benefit >= 6))
    mean = np.where(capped, np.minimum(mean, 600), mean)
    return np.select([~judged, mean >= 1400, mean >= 800], [-1, 0, 1], 2).astype(np.int16)


def measure(way: Way, runs: int) -> tuple[float, float]:
    """Median seconds, and peak bytes beyond the input in a run of its own (tracing slows a run down)."""
    way.run()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        way.run()
        seconds.append(time.perf_counter() - started)
    tracemalloc.start()
    try:
        way.run()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return statistics.median(seconds), peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="articles to judge (default 1,000,000)")
    parser.add_argument("--runs", type=int, default=7, help="timed runs of each way; the median is shown (default 7)")
    args = parser.parse_args()
    n: int = args.rows
    if n < 1 or args.runs < 1:
        parser.error("--rows and --runs are at least 1")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    spec = load_filter(FILTER).spec
    policy = spec.postfilter.options
    scores, overall = invented(spec, n)
    few = min(n, LOOP_ROWS)
    table = zip(scores[:few].tolist(), overall[:few].tolist(), strict=True)
    dicts = [dict(zip(spec.names, row, strict=True)) | {"overall": mean} for row, mean in table]

    ways = [
        Way("tiers (uplifting policy)", n, tiers(spec, policy, scores, overall)),
        Way("plain numpy, policy hard-coded", n, lambda: whole_columns(spec, scores, overall)),
        Way("per-row loop over dicts", few, lambda: row_by_row(dicts)),
        Way("tiers, 64 rules", n, tiers(spec, sixty_four_rules(spec, policy), scores, overall)),
    ]
    expected = exact(spec, scores)
    print(f"{n:,} rows x {len(spec.names)} dimensions, one core, median of {args.runs} runs", end="; ")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}")
    print(f"{'':32} {'seconds':>9} {'rows/s':>12} {'peak MB':>9} {'wrong tiers':>13}")
    for way in ways:
        seconds, peak = measure(way, args.runs)
        scale = n / way.rows
        other_policy = "64" in way.name
        wrong = (
            "other policy" if other_policy else f"{np.count_nonzero(way.run() != expected[: way.rows]) * scale:,.0f}"
        )
        note = "" if scale == 1 else f"  scaled from {way.rows:,} rows"
        figures = f"{seconds * scale:9.3f} {way.rows / seconds:12,.0f} {peak * scale / 1e6:9.0f}"
        print(f"{way.name:32} {figures} {wrong:>13}{note}")


if __name__ == "__main__":
    main()
