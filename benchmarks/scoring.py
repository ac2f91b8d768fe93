"""What scoring costs: `filterkit score` with a lite student beside the loop one would write instead.

    python benchmarks/scoring.py [--articles 1000000] [--loop-articles 2000] [--words 40 80] [--workers 1] [--kill]

The student learns from the installed uplifting sample. The articles are invented: shuffled words of the sample, 40 to
80 each unless `--words` says otherwise. Memory is that of the whole process tree, sampled ten times a second from /proc
(so: Linux). The loop reads a line, parses it, judges that one article and writes it out; it is timed on fewer articles,
and its seconds are scaled, which the table says. With --kill the run is killed with SIGKILL when half of it is done,
and run again to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from filterkit.filters import find_filter

FILTERKIT = [sys.executable, "-c", "from filterkit.cli.main import main; main()"]
FILTER = "uplifting"
LOOP = """
import json, sys
from filterkit import load_student
student = load_student(sys.argv[1])
with open(sys.argv[2], encoding="utf-8") as articles, open(sys.argv[3], "w", encoding="utf-8") as output:
    for line in articles:
        row = json.loads(line)
        for verdict in student.judge([row]):
            output.write(json.dumps({**row, **verdict.to_dict()}, ensure_ascii=False) + "\\n")
"""


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds, and the highest memory of its process tree in MB."""

    seconds: float
    peak_mb: float


def invent(path: Path, n: int, words: list[str], lengths: tuple[int, int]) -> None:
    """`n` articles of shuffled words, as many of them in each as `lengths` allow."""
    draw = random.Random(7)  # noqa: S311 - the same articles every time
    with path.open("w", encoding="utf-8") as file:
        for i in range(n):
            chosen = draw.choices(words, k=draw.randint(*lengths))
            row = {"id": f"{i:08d}", "title": " ".join(chosen[:6]), "content": " ".join(chosen), "language": "en"}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(p for child in children for p in tree(int(child)))]


def resident_mb(pid: int) -> float:
    """Resident memory of a process, without what it shares with its parent's binary twice."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def run(command: list[str], folder: Path, kill_when: Path | None = None, parts: int = 0) -> Cost:
    """Run a command to its end, or kill it when there are `parts` finished shards below `kill_when`."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum(map(resident_mb, tree(process.pid))))
        if kill_when is not None and len(list(kill_when.glob("*/done/*.json"))) >= parts:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return Cost(time.monotonic() - started, peak)
        time.sleep(0.1)
    if process.returncode or kill_when is not None:
        sys.exit(f"{' '.join(command[3:])}: exit code {process.returncode}, and it should have been another")
    return Cost(time.monotonic() - started, peak)


def check(output: Path, n: int) -> None:
    """Every article is there once, in order."""
    with output.open("rb") as file:
        for i, line in enumerate(file):
            if not line.startswith(b'{"id": "%08d"' % i):
                sys.exit(f"{output}: line {i + 1} is not article {i}")
    if i + 1 != n:
        sys.exit(f"{output} holds {i + 1} rows instead of {n}")


def main() -> None:
    parser = argparse.ArgumentParser(description="What scoring a stream of articles costs.")
    parser.add_argument("--articles", type=int, default=1_000_000, help="articles to score (default 1,000,000)")
    parser.add_argument("--loop-articles", type=int, default=2_000, help="articles for the loop (default 2,000)")
    parser.add_argument("--words", type=int, nargs=2, default=(40, 80), help="words of an article (default 40 to 80)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes (default 1)")
    parser.add_argument("--kill", action="store_true", help="kill the run half-way and run it again")
    args = parser.parse_args()
    n, few = args.articles, min(args.articles, args.loop_articles)
    low, high = args.words
    if n < 1 or few < 1 or low < 1 or args.workers < 1:
        parser.error("all numbers are at least 1")
    if low > high:
        parser.error("--words takes the smaller number first")
    if not Path("/proc/self/statm").exists():
        sys.exit("memory is read from /proc, which this system does not have")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = find_filter(FILTER).parent / "sample" / "articles.jsonl"
        words = [w for line in labels.open(encoding="utf-8") for w in json.loads(line)["content"].split()]
        (folder / "filterkit.yaml").write_text("trainer: {use: lite}\n")
        run([*FILTERKIT, "prepare", FILTER, "--labels", str(labels), "--output-dir", "data"], folder)
        run([*FILTERKIT, "train", FILTER, "--data-dir", "data", "--output-dir", "student"], folder)
        invent(folder / "articles.jsonl", n, words, (low, high))
        invent(folder / "few.jsonl", few, words, (low, high))

        score = [*FILTERKIT, "score", FILTER, "--student", "student", "--articles", "articles.jsonl"]
        score += ["--output", "verdicts.jsonl", "-O", f"workers={args.workers}"]
        rows = []
        if args.kill:
            shards = -(-n // 5_000)
            killed = run(score, folder, folder / "verdicts.jsonl.run", max(1, shards // 2))
            rows.append(("filterkit score, until it was killed", n, None, killed))
        again = args.kill  # then only the rest is judged, so a rate would say little
        rows.append(("filterkit score" + ", run again" * again, n, None if again else n, run(score, folder)))
        check(folder / "verdicts.jsonl", n)
        loop = run([sys.executable, "-c", LOOP, "student", "few.jsonl", "loop.jsonl"], folder)
        rows.append(("a loop, article by article", few, few, loop))

        print(f"{n:,} articles of {low} to {high} words, {args.workers} worker(s); ", end="")
        print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
        print(f"{'':38} {'seconds':>9} {'rows/s':>9} {'peak MB':>9}")
        for what, measured, judged, cost in rows:
            rate = f"{judged / cost.seconds:9,.0f}" if judged else " " * 9
            note = "" if measured == n else f"  scaled from {measured:,} articles"
            print(f"{what:38} {cost.seconds * n / measured:9.1f} {rate} {cost.peak_mb:9.0f}{note}")
        if args.kill:
            print(f"After the kill all {n:,} articles are in the output, each once and in order.")


if __name__ == "__main__":
    main()
