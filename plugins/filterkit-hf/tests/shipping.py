"""A workspace with a lite student, deployed by processes as a user starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from filterkit.testing import tiny_spec
from filterkit.testing.fake_hub import FakeHub
from filterkit.testing.samples import sample_articles, sample_label, write_labelled

FILTER = """\
schema: 1
name: tiny
version: "1"
dimensions:
  - {name: help, weight: 0.75, description: people help each other}
  - {name: novelty, weight: 0.25, description: something new and workable}
  - {name: is_advert, role: flag, description: somebody pays for this text}
prompt: prompt.md
"""
COMMAND = [sys.executable, "-c", "from filterkit.cli.main import main; main()"]


class Workspace:
    """A filter, labelled splits, and `filterkit` as a process beside a fake Hub."""

    def __init__(self, root: Path, rows: int = 120) -> None:
        self.root = root
        self.filter = root / "tiny" / "v1"
        self.filter.mkdir(parents=True)
        (self.filter / "filter.yaml").write_text(FILTER)
        (self.filter / "prompt.md").write_text("Score help and novelty from 0 to 10.\n\n{{article}}\n")
        (root / "filterkit.yaml").write_text("trainer: {use: lite, search: false}\n")
        spec = tiny_spec()
        articles = sample_articles(rows)
        parts = np.split(np.arange(rows), [rows * 8 // 10, rows * 9 // 10])
        self.data = root / "datasets" / "tiny-v1"
        self.data.mkdir(parents=True)
        for name, part in zip(("train", "val", "test"), parts, strict=True):
            pairs = [(articles[i], sample_label(articles[i], spec)) for i in part]
            write_labelled(self.data / f"{name}.jsonl", pairs)
        self.student = root / "student"

    def run(self, *arguments: object, hub: FakeHub | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """`filterkit ARGS…`, to its end."""
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            cwd=self.root,
            env=self.env(hub) | env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def env(self, hub: FakeHub | None) -> dict[str, str]:
        """A process's environment: a Hub's, or no network at all."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("FILTERKIT_", "HF_"))}
        return clean | (hub.env() if hub else {}) | {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": ""}

    def train(self) -> None:
        """A lite student of the splits."""
        done = self.run("train", self.filter, "--data-dir", self.data, "--output-dir", self.student)
        assert done.returncode == 0, done.stderr

    def deploy_arguments(self, *options: str, student: Path | None = None) -> list[object]:
        """`deploy` to me/x, gates forced: what validation says of such a student is not looked at here."""
        given = [word for option in ("repo_id=me/x", "patience_s=0.3", *options) for word in ("-O", option)]
        return [
            "deploy", self.filter, "--student", student or self.student, "--deployer", "huggingface",
            "--force", "a test", *given,
        ]  # fmt: skip

    def deploy(self, hub: FakeHub, *options: str, student: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self.run(*self.deploy_arguments(*options, student=student), hub=hub)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def everything_below(root: Path) -> bytes:
    """The bytes of all files, to look for what must be in none."""
    return b"\n".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())
