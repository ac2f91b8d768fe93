"""What is in the bundled sample, and how far two readers of it agree.

python benchmarks/sample.py [--sample filters/uplifting/sample]
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

import filterkit
from filterkit.overall import overall

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=Path, default=ROOT / "filters" / "uplifting" / "sample")
    folder = parser.parse_args().sample
    filter = filterkit.load_filter(folder.parent / "v1")
    names, weights = filter.spec.names, filter.spec.weights
    rows = [json.loads(line) for line in (folder / "articles.jsonl").open(encoding="utf-8")]
    first = {r["id"]: [r["scores"][n] for n in names] for r in rows}
    totals = overall(np.array(list(first.values()), dtype=np.float32), weights)
    print(f"{len(rows)} articles")
    print("languages ", ", ".join(f"{k} {v}" for k, v in Counter(r["language"] for r in rows).most_common()))
    print("kinds     ", ", ".join(f"{k} {v}" for k, v in Counter(r["kind"] for r in rows).most_common()))
    low, high = (totals < 4).sum(), (totals >= 7).sum()
    print(f"overall    {low} below 4, {len(rows) - low - high} from 4 to 7, {high} from 7")
    second = {
        r["id"]: [r["scores"][n] for n in names] for r in map(json.loads, (folder / "second_reading.jsonl").open())
    }
    a, b = (np.array([x[i] for i in second], dtype=np.float32) for x in (first, second))
    found = filterkit.evaluate(b, a, filter).metrics
    print(f"\nsecond reading of {len(a)} articles: mean absolute difference {found.mae:.2f}")
    for name, m in found.per_dimension.items():
        print(f"  {name:<20}{m.mae:5.2f}   (median of all: {m.median_mae:.2f})")
    print(f"  {'overall':<20}{np.abs(overall(a, weights) - overall(b, weights)).mean():5.2f}")


if __name__ == "__main__":
    main()
