"""What tests of the pipeline share: a tiny filter, invented labelled articles, a workspace with a toy student."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filterkit.cli.main import run

TOYS = Path(__file__).parent / "toys"

FILTER = """\
schema: 1
name: tiny
version: "1"
dimensions:
  - {name: help, weight: 0.75, description: people help each other}
  - {name: novelty, weight: 0.25, description: something new and workable}
  - {name: is_advert, role: flag, description: somebody pays for this text}
prompt: prompt.md
trainer: {use: toy}
"""
PROMPT = "Score help and novelty from 0 to 10, and is_advert 0 or 10.\n\n{{article}}\n"
NAMES = ("help", "novelty", "is_advert")
_SYLLABLES = [a + b for a in "bdfgk" for b in "aeiou"]


def dist(site: Path) -> Path:
    """The toys as an installed dist in the folder `site`."""
    package, info = site / "fk_toys", site / "fk_toys-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").touch()
    for name in ("plugin.py", "toys.py", "remote.py", "batch.py"):
        (package / name).write_bytes((TOYS / name).read_bytes())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fk-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[filterkit]\ntoys = fk_toys.plugin\n")
    return site


def write_filter(folder: Path, text: str = FILTER, prompt: str = PROMPT) -> Path:
    """A filter package at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "filter.yaml").write_text(text)
    (folder / "prompt.md").write_text(prompt)
    return folder


def words(random: np.random.Generator, n: int) -> list[str]:
    """`n` invented words out of 15,625."""
    return ["".join(_SYLLABLES[i] for i in random.integers(0, 25, 3)) for _ in range(n)]


def article(i: int, length: int = 25, seed: int = 0) -> dict[str, Any]:
    """Article `i`: invented words, and one that gives each score away."""
    random = np.random.default_rng([seed, i])
    help_, novelty, advert = int(random.integers(0, 11)), int(random.integers(0, 11)), 10 * int(random.random() < 0.2)
    content = [*words(random, length), f"helps{help_}", f"novel{novelty}", f"advert{advert}"]
    random.shuffle(content)
    return {
        "id": f"a{i:06d}",
        "title": f"Notice {i}",
        "content": " ".join(content),
        "language": ("en", "de", "es")[i % 3],
        "row": i,
        "scores": {"help": help_, "novelty": novelty, "is_advert": advert},
    }


def labelled(n: int, seed: int = 0) -> list[dict[str, Any]]:
    return [article(i, seed=seed) for i in range(n)]


def unlabelled(n: int, length: int = 25, seed: int = 1) -> Iterable[dict[str, Any]]:
    return ({k: v for k, v in article(i, length, seed).items() if k != "scores"} for i in range(n))


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any] | bytes]) -> Path:
    """Rows as JSON lines; bytes are a line as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for row in rows:
            file.write(row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode())
            file.write(b"\n")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def command(*arguments: object) -> list[str]:
    """The command line, as a process is started with it."""
    return [sys.executable, "-c", "from filterkit.cli.main import main; main()", *map(str, arguments)]


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Inside:
    """The command line in this process, standing in a workspace."""

    root: Path
    capture: pytest.CaptureFixture[str]

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    def __call__(self, *arguments: object, code: int = 0) -> Said:
        self.capture.readouterr()
        said = Said(run(list(map(str, arguments))), *self.capture.readouterr())
        assert said.code == code, said
        return said


class Workspace:
    """A folder with the tiny filter and the toys; commands run in it as processes."""

    def __init__(self, root: Path, site: Path) -> None:
        self.root = root
        self.filter = write_filter(root / "tiny" / "v1")
        (root / "filterkit.yaml").write_text("{}\n")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("FILTERKIT_")}
        self.env = {**clean, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    def run(self, *arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
        """`filterkit ARGS…`, to its end."""
        return subprocess.run(
            command(*arguments),
            cwd=self.root,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            **more,
        )

    def start(self, *arguments: object) -> subprocess.Popen[bytes]:
        """`filterkit ARGS…`, started."""
        return subprocess.Popen(
            command(*arguments), cwd=self.root, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def ok(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        """`run`, and the exit code was the expected one."""
        done = self.run(*arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def refused(self, *arguments: object, code: int = 2, says: str | Sequence[str] = ()) -> str:
        """The one line of error that a command ends with; `says` must stand in it."""
        done = self.run(*arguments)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1, done.stderr
        assert done.stderr.splitlines()[-1] == lines[0], done.stderr
        for text in [says] if isinstance(says, str) else says:
            assert text in lines[0], lines[0]
        return lines[0]

    def labels(self, rows: Iterable[Mapping[str, Any] | bytes], name: str = "labels.jsonl") -> Path:
        return write_jsonl(self.root / name, rows)

    def prepared(self, n: int = 120) -> Path:
        """Splits of `n` labelled articles."""
        self.labels(labelled(n))
        self.ok("prepare", "tiny/v1", "--labels", "labels.jsonl", "--output-dir", "data")
        return self.root / "data"

    def trained(self, n: int = 120) -> Path:
        """A student of `n` labelled articles, not validated."""
        self.prepared(n)
        self.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student")
        return self.root / "student"

    def validated(self, n: int = 600) -> Path:
        """A student that passes its gates: of fewer articles none can be shown to be good."""
        student = self.trained(n)
        self.ok("validate", "tiny/v1", "--data-dir", "data", "--student", "student")
        return student


def snapshot(folder: Path, leave_out: Sequence[str] = ()) -> dict[str, bytes]:
    """Path -> content of every file below a folder, those under `leave_out` excepted; folders as b"folder"."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not any(name == out or name.startswith(f"{out}/") for out in leave_out):
            found[name] = path.read_bytes() if path.is_file() else b"folder"
    return found
