"""What the command line costs before it does anything: medians over interleaved runs of whole processes.

    python benchmarks/startup.py [--runs 21]

`import click` is what any click program pays. The dummy plugins are real dists to importlib.metadata (a dist-info
folder, an entry point, a module that registers one oracle); one of the 30 fails to import. Targets: `--help` within
60 ms of `import click`; `plugins` with the 30 within 150 ms of `plugins` with none.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

FILTERKIT = [sys.executable, "-c", "from filterkit.cli.main import main; main()"]
DUMMIES = 30
PLUGIN = """\
from filterkit.api import hookimpl

@hookimpl
def register_oracles(register):
    register({name!r}, "{module}.oracle:Oracle", summary="a dummy")
"""
BROKEN = "import a_module_that_is_not_there\n"


def make_dummies(folder: Path) -> None:
    """Install the dummy plugins into a folder."""
    for number in range(DUMMIES):
        name, module = f"dummy-{number:02}", f"dummy_{number:02}"
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[filterkit]\n{name} = {module}.plugin\n")
        (folder / module).mkdir()
        (folder / module / "__init__.py").touch()
        source = BROKEN if number == DUMMIES // 2 else PLUGIN.format(name=name, module=module)
        (folder / module / "plugin.py").write_text(source)


def run(command: Sequence[str], path: str) -> tuple[float, str]:
    """Milliseconds that a process takes, and what it wrote to stderr. The process must succeed."""
    started = time.perf_counter()
    result = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    return (time.perf_counter() - started) * 1000, result.stderr


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=21)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        make_dummies(Path(folder))
        ways = {
            "python -c pass": ([sys.executable, "-c", "pass"], ""),
            "python -c 'import click'": ([sys.executable, "-c", "import click"], ""),
            "filterkit --help": ([*FILTERKIT, "--help"], ""),
            "filterkit --help, 30 plugins": ([*FILTERKIT, "--help"], folder),
            "filterkit plugins": ([*FILTERKIT, "plugins"], ""),
            "filterkit plugins, 30 plugins": ([*FILTERKIT, "plugins"], folder),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        warnings = ""
        for _ in range(runs + 1):  # the first round warms the caches and does not count
            for name, (command, path) in ways.items():
                milliseconds, warnings = run(command, path)
                times[name].append(milliseconds)
    print(f"{'':32}{'median ms':>10}{'fastest':>10}{'over click':>12}")
    click = statistics.median(times["python -c 'import click'"][1:])
    for name, took in times.items():
        median = statistics.median(took[1:])
        print(f"{name:32}{median:>10.0f}{min(took[1:]):>10.0f}{median - click:>12.0f}")
    more = statistics.median(times["filterkit plugins, 30 plugins"][1:]) - statistics.median(
        times["filterkit plugins"][1:]
    )
    print(f"\n30 plugins cost `filterkit plugins` {more:.0f} ms; warnings with one of them broken:")
    print(f"  {warnings.strip()}")


if __name__ == "__main__":
    main()
