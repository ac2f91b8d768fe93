"""What finding near-duplicates before labelling finds and costs, beside what one would use instead.

    python benchmarks/screening.py [--articles 20000] [--all 1000000] [--labels FILE] [--pairs 500]

First table: pairs of invented texts (80 words, single words replaced all over) that share a given part of their
shingles, and how many of them are flagged; shingles are characters in fives, or whole words. datasketch and rensa get
the same threshold, 128 permutations and the shingles that their documentation shows: words, and for datasketch
characters in fives, too. Second table: articles of 300 to 600 characters, a tenth of them near copies of another, in a
process for each way; seconds of processor time (which two processes would share), and the most memory it held. `screen`
is the whole of what `filterkit label` does: reading, boilerplate, passages of sources, signatures, decision. --all adds
a row for so many articles with `screen` alone. --labels: what screening leaves out of real articles.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from filterkit.config import ScreenConfig
from filterkit.io import read_places
from filterkit.pipeline.nearby import agreement, signatures
from filterkit.pipeline.screen import Decision, Screening
from filterkit.records import Article
from filterkit.testing.samples import tiny_spec

SIMILAR = ScreenConfig().near_duplicates or 0.0
TARGETS = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.3)
PERMUTATIONS = 128
CHUNK = 1000
Shingles = Callable[[str], set[str]]


def grams(text: str) -> set[str]:
    return {text[i : i + 5] for i in range(len(text) - 4)}


def words(text: str) -> set[str]:
    return set(text.split())


SHINGLES: dict[str, Shingles] = {"characters": grams, "words": words}


@cache
def vocabulary() -> list[str]:
    """20,000 invented words."""
    draw = random.Random(1)  # noqa: S311 - invented texts
    return ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 10))) for _ in range(20_000)]


def jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def planted(seed: int, target: float, shingles: Shingles) -> tuple[str, str]:
    """Two texts with `target` or a little more in common."""
    draw, known = random.Random(seed), vocabulary()  # noqa: S311 - invented texts
    one = draw.choices(known, k=80)
    other, best = list(one), list(one)
    for at in draw.sample(range(80), 80):
        other[at] = draw.choice(known)
        if jaccard(shingles(" ".join(one)), shingles(" ".join(other))) >= target:
            best = list(other)
        elif best != one:
            break
        else:
            other = list(one)  # a long word was too much; a copy is no near-duplicate
    return " ".join(one), " ".join(best)


# Ways to find near-duplicates: each takes texts and gives the positions of those that it would leave out


def screening(texts: Iterable[str]) -> set[int]:
    rows = (("benchmark", at, Article(str(at), "", text)) for at, text in enumerate(texts))
    return {one.line for one in decided(rows).left_out()}


def decided(rows: Iterator[tuple[str, int, Article]]) -> Decision:
    screen = Screening(tiny_spec(), lambda hashes: ["free"] * len(hashes), near_duplicates=SIMILAR)
    while chunk := list(islice(rows, CHUNK)):
        screen.add(chunk)
    return screen.decide()


def in_datasketch(texts: Iterable[str], shingles: Shingles) -> set[int]:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=SIMILAR, num_perm=PERMUTATIONS)
    kept: dict[int, Any] = {}
    out: set[int] = set()
    for at, text in enumerate(texts):
        made = MinHash(num_perm=PERMUTATIONS)
        made.update_batch([one.encode() for one in shingles(text)])
        if any(kept[other].jaccard(made) >= SIMILAR for other in index.query(made)):
            out.add(at)
        else:
            kept[at] = made
            index.insert(at, made)
    return out


def in_rensa(texts: Iterable[str], shingles: Shingles) -> set[int]:
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=SIMILAR, num_perm=PERMUTATIONS, num_bands=16)
    kept: dict[int, Any] = {}
    out: set[int] = set()
    for at, text in enumerate(texts):
        made = RMinHash(num_perm=PERMUTATIONS, seed=42)
        made.update(list(shingles(text)))
        if any(kept[other].jaccard(made) >= SIMILAR for other in index.query(made)):
            out.add(at)
        else:
            kept[at] = made
            index.insert(at, made)
    return out


Way = Callable[[Iterable[str]], set[int]]
WAYS: dict[str, Way] = {
    "screen": screening,
    "datasketch, characters": lambda texts: in_datasketch(texts, grams),
    "datasketch, words": lambda texts: in_datasketch(texts, words),
    "rensa, characters": lambda texts: in_rensa(texts, grams),
    "rensa, words": lambda texts: in_rensa(texts, words),
}


def show_pairs(count: int) -> None:
    """How many pairs of each similarity are flagged."""
    print(f"{count} pairs each; flagged from a similarity of {SIMILAR:g} on")
    print(f"{'in common':34}" + "".join(f"{target:>8}" for target in TARGETS))
    for of, shingles in SHINGLES.items():
        pairs = {target: [planted(seed, target, shingles) for seed in range(count)] for target in TARGETS}
        for name, way in WAYS.items():
            shares = []
            for target in TARGETS:
                texts = [text for pair in pairs[target] for text in pair]
                shares.append(sum(at % 2 for at in way(texts)) / count)
            print(f"{of:10} {name:22} " + "".join(f"{share:8.1%}" for share in shares), flush=True)
        errors = [estimate_error(pairs[target], shingles) for target in TARGETS] if shingles is grams else []
        if errors:
            print(f"{'':10} {'error of the estimate':23}" + "".join(f"{error:8.3f}" for error in errors))


def estimate_error(pairs: Sequence[tuple[str, str]], shingles: Shingles) -> float:
    """Standard deviation of the estimated similarity from the true one."""
    signed = signatures(text for pair in pairs for text in pair)
    found = [agreement(signed[2 * i], signed[2 * i + 1 : 2 * i + 2])[0] for i in range(len(pairs))]
    return float(np.std(np.array(found) - [jaccard(shingles(one), shingles(other)) for one, other in pairs]))


def written(count: int, folder: Path) -> Path:
    """Articles as a file: 300 to 600 characters, a tenth of them a copy of a recent one with two words changed."""
    draw, known = random.Random(3), vocabulary()  # noqa: S311 - invented texts
    path, recent = folder / f"{count}.jsonl", [["nothing"] * 60]
    with path.open("w") as file:
        for at in range(count):
            if at % 10 == 9:
                parts = list(draw.choice(recent))
                for _ in range(2):
                    parts[draw.randrange(len(parts))] = draw.choice(known)
            else:
                parts = draw.choices(known, k=draw.randint(45, 85))
                recent = [*recent[-999:], parts]
            row = {
                "id": f"a{at}",
                "title": " ".join(parts[:7]),
                "content": " ".join(parts[7:]),
                "source": f"s{at % 99}",
            }
            file.write(json.dumps(row) + "\n")
    return path


def timed(name: str, path: Path, out: Any) -> None:
    """In a process of its own: left out, seconds of the processor, seconds, and most memory in bytes."""
    began, cpu = time.perf_counter(), time.process_time()
    if name == "screen":
        rows = ((file, line, article) for file, line, article, _ in read_places([path]))
        left = decided(rows).report.left_out
    else:
        left = len(WAYS[name](article.text for _, _, article, _ in read_places([path])))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    out.put((left, time.process_time() - cpu, time.perf_counter() - began, peak))


def show_speed(count: int, ways: Iterable[str], folder: Path) -> None:
    path = written(count, folder)
    start = multiprocessing.get_context("spawn")
    for name in ways:
        out = start.Queue()
        process = start.Process(target=timed, args=(name, path, out))
        process.start()
        left, cpu, seconds, peak = out.get()
        process.join()
        rate = f"{count / cpu:12,.0f} {cpu:8.1f} {seconds:8.1f} {peak / 2**20:10,.0f}"
        print(f"{count:10,} {name:24} {left / count:9.1%} {rate}", flush=True)
    path.unlink()


def show_real(path: Path) -> None:
    found = decided((file, line, article) for file, line, article, _ in read_places([path]))
    print(f"{path.name}: {found.report.left_out} of {found.report.read} left out")
    for one in islice(found.left_out(), 20):
        print(f"  line {one.line}: {one.reason} {one.what} {one.like or ''} {one.similarity or ''}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=int, default=20_000, help="articles that every way gets (default 20,000)")
    parser.add_argument("--all", type=int, default=0, help="articles that `screen` gets besides")
    parser.add_argument("--pairs", type=int, default=500, help="pairs of each similarity; 0: leave that table out")
    parser.add_argument("--labels", type=Path, help="real articles, of which is shown what would be left out")
    args = parser.parse_args()
    if args.articles < 0 or args.all < 0 or args.pairs < 0:
        parser.error("counts are not negative")
    print(f"Python {platform.python_version()}, {platform.machine()}")
    if args.pairs:
        show_pairs(args.pairs)
    print(f"{'articles':>10} {'':24} {'left out':>9} {'articles/s':>12} {'CPU s':>8} {'s':>8} {'peak MiB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        if args.articles:
            show_speed(args.articles, WAYS, Path(folder))
        if args.all:
            show_speed(args.all, ["screen"], Path(folder))
    if args.labels:
        show_real(args.labels)


if __name__ == "__main__":
    main()
