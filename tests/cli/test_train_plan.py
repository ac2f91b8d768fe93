"""filterkit train --plan, its aliases, and what is shown while a student trains."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers import Workspace, command, snapshot

from filterkit.cli import training
from filterkit.cli.training import TrainingProgress

TRAINER = '''
from typing import ClassVar
from fk_toys.toys import ToyOptions, ToyTrainer


class PlannerOptions(ToyOptions):
    base_model: str = "none"
    epochs: int = 1
    batch_size: int = 8
    precision: str = "auto"
    gpu_memory: str | None = None
    line: str = ""


class PlannerTrainer(ToyTrainer):
    """Plans, and tells how far it is."""

    Options = PlannerOptions

    def plan(self, job):
        o = self.options
        return {
            "backbone_parameters": 1543714304.0,
            "share": 0.0239,
            "articles": 0 if job is None else len(job.train.texts) + len(job.val.texts),
            "memory_bytes": 21_500_000_000,
            "seconds": 4000,
            "usd": 1.5,
            "will": f"{o.base_model} {o.epochs} {o.batch_size} {o.precision} {o.gpu_memory}\\x1b[2J",
        }

    def train(self, job):
        for epoch in range(1, 1 + self.options.epochs):
            for step in range(3):
                told = {"step": 3 * (epoch - 1) + step + 1, "steps": 3 * self.options.epochs}
                told |= {"epoch": epoch - 1 + step / 3, "loss": 1 / epoch}
                self.ctx.emit("training_progress", **told, examples_per_s=12.5, eta_s=100 - step)
            self.ctx.emit("training_progress", **told | {"epoch": epoch}, val_mae=0.5)
        self.ctx.emit("training_progress", step=object(), steps=float("nan"), epoch="\\x1b[2J", loss=None)
        return super().train(job)
'''
PLUGIN = """
from filterkit.api import hookimpl

@hookimpl
def register_trainers(register):
    register("planner", "fk_planner.trainer:PlannerTrainer", summary="plans")
"""
TRAIN = ["train", "--filter", "tiny/v1", "--trainer", "planner"]
DATA = ["--data-dir", "data", "--output-dir", "new"]


@pytest.fixture(scope="module")
def planner_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("planner")
    (site / "fk_planner").mkdir()
    (site / "fk_planner-1.0.dist-info").mkdir()
    (site / "fk_planner/__init__.py").touch()
    (site / "fk_planner/plugin.py").write_text(PLUGIN)
    (site / "fk_planner/trainer.py").write_text(TRAINER)
    (site / "fk_planner-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: fk-planner\nVersion: 1.0\n")
    (site / "fk_planner-1.0.dist-info/entry_points.txt").write_text("[filterkit]\nplanner = fk_planner.plugin\n")
    return site


@pytest.fixture
def planner(workspace: Workspace, planner_site: Path) -> Workspace:
    workspace.env["PYTHONPATH"] = os.pathsep.join([workspace.env["PYTHONPATH"], str(planner_site)])
    return workspace


def test_a_plan_needs_no_data_and_writes_nothing(planner: Workspace) -> None:
    before = snapshot(planner.root)
    said = planner.ok(*TRAIN, "--plan").stdout
    assert snapshot(planner.root) == before
    lines = [re.split(r"\s{2,}", line.strip()) for line in said.splitlines()]
    assert lines[0] == ["plan of planner for tiny, no data:"]
    assert dict(lines[1:]) == {
        "backbone parameters": "1,543,714,304",
        "share": "0.0239",
        "articles": "0",
        "memory bytes": "21,500,000,000 (21.5 GB)",
        "seconds": "1 h 6 min",
        "usd": "$1.50",
        "will": "none 1 8 auto None [2J",
    }


def test_a_plan_as_json_is_as_the_trainer_gave_it(planner: Workspace) -> None:
    aliases = ["--model-name", "Qwen/Qwen2.5-1.5B", "--epochs", "3", "--batch-size", "4", "--precision", "bf16"]
    found = json.loads(planner.ok(*TRAIN, "--plan", "--json", *aliases, "--gpu-memory", "16GB").stdout)
    assert found["backbone_parameters"] == 1543714304
    assert found["share"] == 0.0239
    assert found["will"].startswith("Qwen/Qwen2.5-1.5B 3 4 bf16 16GB")


def test_a_plan_for_the_splits_at_hand(planner: Workspace) -> None:
    planner.prepared()
    assert json.loads(planner.ok(*TRAIN, *DATA, "--plan", "--json").stdout)["articles"] == 108
    assert json.loads(planner.ok(*TRAIN, "--plan", "--json").stdout)["articles"] == 0
    (planner / "datasets").mkdir()
    (planner / "data").rename(planner / "datasets/tiny-v1")
    before = snapshot(planner.root)
    assert "96 + 12 articles" in planner.ok(*TRAIN, "--plan").stdout
    assert snapshot(planner.root) == before
    planner.refused(*TRAIN, *DATA, "--plan", says="train.jsonl is missing")


def test_a_trainer_without_plans(workspace: Workspace) -> None:
    assert "makes no plans" in workspace.ok("train", "tiny/v1", "--plan").stdout
    assert json.loads(workspace.ok("train", "tiny/v1", "--plan", "--json").stdout) == {}


@pytest.mark.parametrize(("option", "key"), [("--precision", "precision"), ("--gpu-memory", "gpu_memory")])
def test_an_alias_that_the_trainer_does_not_know(workspace: Workspace, option: str, key: str) -> None:
    workspace.refused("train", "tiny/v1", "--trainer", "lite", "--plan", option, "x", says=f"unknown key '{key}'")


def test_an_epoch_is_a_line(planner: Workspace) -> None:
    planner.prepared()
    done = planner.ok(*TRAIN, *DATA, "--epochs", "2", "--json")
    assert json.loads(done.stdout)["trainer"] == "planner"
    assert done.stderr.splitlines() == [
        "training: step 3 of 6 (50%) · epoch 1 · loss 1 · val_mae 0.5",
        "training: step 6 of 6 (100%) · epoch 2 · loss 0.5 · val_mae 0.5",
    ]


def on_a_terminal(workspace: Workspace, *arguments: object) -> str:
    """Everything that a command shows on a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command(*arguments), cwd=workspace.root, env={**workspace.env, "TERM": "xterm"}, stdout=slave, stderr=slave
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    assert process.wait() == 0, shown
    return shown.decode()


def test_on_a_terminal(planner: Workspace) -> None:
    planner.prepared()
    shown = on_a_terminal(planner, *TRAIN, *DATA, "-O", "pause_s=0.5")
    assert "training: step 3 of 3 (100%) · epoch 1 · loss 1 · val_mae 0.5" in shown
    assert "\x1b[" in shown
    assert "student trained" in shown


def said(monkeypatch: pytest.MonkeyPatch, every_s: float, *events: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(training.click, "echo", lambda line, err: lines.append(line))
    with TrainingProgress(every_s=every_s) as progress:
        for values in events:
            progress(values)
    return lines


def test_now_and_then_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    event = {"step": 1200, "steps": 4000, "epoch": 0.9, "loss": 0.51234, "examples_per_s": 33.25, "eta_s": 3700.4}
    assert said(monkeypatch, 0, event) == [
        "training: step 1,200 of 4,000 (30%) · epoch 0.9 · loss 0.5123 · 33.2 articles a second · 1 h 1 min left"
    ]
    assert said(monkeypatch, 60, event, event) == []


def test_what_a_plugin_sends_may_be_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[dict[str, Any]] = [
        {"step": "\x1b[2J", "steps": None, "epoch": [1], "loss": float("inf"), "\x1b[2J": 1, "cv_mae": 0.25},
        {"step": 3, "steps": 0, "eta_s": 10**400},
        {},
    ]
    assert said(monkeypatch, 0, *events) == ["training: cv_mae 0.25", "training: step 3"]
