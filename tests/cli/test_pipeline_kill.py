"""Every step, killed with SIGKILL and run again, ends as if it had not been killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import Workspace, labelled, read_jsonl, snapshot, unlabelled, write_jsonl

SCRIPT = Path(__file__).parent / "kill_pipeline.py"
STEPS = ["prepare", "prepare-again", "train", "train-again", "pack", "job", "import"]
STEPS += ["validate", "folds", "deploy", "score", "run"]
RUN = ["run", "tiny/v1", "--oracle", "replay", "-O", "oracle.labels=labels.jsonl", "-O", "oracle.latency_s=0.2"]


def sweep(tmp_path: Path, site: Path, step: str, how_many: int) -> int:
    done = subprocess.run(
        [sys.executable, SCRIPT, site, tmp_path, step, str(how_many)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(SCRIPT.parents[1])])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return int(json.loads(done.stdout.splitlines()[-1])["kills"])


@pytest.mark.parametrize("step", [step for step in STEPS if not step.endswith("-again")])
def test_killed_at_some_moments_between_file_operations(tmp_path: Path, toy_site: Path, step: str) -> None:
    assert sweep(tmp_path, toy_site, step, 3) >= 3


@pytest.mark.heavy
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_many_moments_between_file_operations(tmp_path: Path, toy_site: Path, step: str) -> None:
    assert sweep(tmp_path, toy_site, step, 40) >= 40


def kill_often(workspace: Workspace, arguments: list[object], kills: int, longest_s: float) -> int:
    """Start a command and kill it after a random time, `kills` times over; how often it was not done by then."""
    wait = random.Random(1)
    hit = 0
    for _ in range(kills):
        process = workspace.start(*arguments)
        time.sleep(wait.uniform(0.3, longest_s))
        hit += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    return hit


@pytest.mark.parametrize("kills", [3, pytest.param(15, marks=pytest.mark.heavy)])
def test_two_workers_killed_at_random(ready: Workspace, kills: int) -> None:
    rows = 30_000 if kills > 3 else 10_000
    write_jsonl(ready / "in.jsonl", unlabelled(rows, length=8))
    score = ["score", "tiny/v1", "--student", "student", "--articles", "in.jsonl", "-O", "workers=2", "--output"]
    ready.ok(*score, "expected.jsonl")
    assert kill_often(ready, [*score, "out.jsonl"], kills, 2.5) >= 1
    ready.ok(*score, "out.jsonl")
    assert (ready / "out.jsonl").read_bytes() == (ready / "expected.jsonl").read_bytes()
    assert len(read_jsonl(ready / "out.jsonl")) == rows
    assert not (ready / "out.jsonl.run").exists()


def test_a_rerun_goes_on_where_it_was_killed(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", unlabelled(20_000, length=8))
    score = ["score", "tiny/v1", "--student", "student", "--articles", "in.jsonl", "--output", "out.jsonl", "--json"]
    process = ready.start(*score)
    while len(list((ready / "out.jsonl.run").glob("*/done/*.json"))) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    report = json.loads(ready.ok(*score).stdout)
    assert report["resumed_shards"] >= 2
    assert report["written"] == report["read"] == 20_000


@pytest.mark.parametrize("kills", [2, pytest.param(15, marks=pytest.mark.heavy)])
def test_the_whole_run_killed_at_random(workspace: Workspace, toy_site: Path, kills: int) -> None:
    workspace.labels(labelled(120))
    run = [*RUN, "-O", "trainer.pause_s=0.05", "--folds", "2", "--articles", "labels.jsonl"]
    (workspace.root.parent / "unbroken").mkdir()
    unbroken = Workspace(workspace.root.parent / "unbroken", toy_site)
    shutil.copy(workspace / "labels.jsonl", unbroken / "labels.jsonl")
    expected = json.loads(unbroken.ok(*run, "--json").stdout)
    assert kill_often(workspace, list(run), kills, 3.0) >= 1
    found = json.loads(workspace.ok(*run, "--json").stdout)
    for step, key in (("prepare", "fingerprint"), ("train", "student_hash"), ("validate", "metrics")):
        assert found[step][key] == expected[step][key]
    assert found["deploy"]["deployment"]["student_hash"] == expected["train"]["student_hash"]
    names = set(snapshot(workspace.root, ["deployments", ".filterkit/deployments"]))
    assert {n for n in names if not n.startswith("labels.db-")} == set(
        snapshot(unbroken.root, ["deployments", ".filterkit/deployments"])
    )
    assert len(list((workspace / "deployments/tiny/versions").iterdir())) == 1


def test_training_goes_on_with_the_trainers_own_state(workspace: Workspace) -> None:
    """What a trainer keeps in its work folder is there again after a kill."""
    workspace.prepared()
    train = ["train", "tiny/v1", "--data-dir", "data", "--output-dir", "student", "-O", "pause_s=0.2", "-O", "steps=4"]
    process = workspace.start(*train)
    while not list(workspace.root.glob(".student.work/trainer-*/steps.json")):
        time.sleep(0.01)
    process.kill()
    process.wait()
    manifest = json.loads(workspace.ok(*train, "--json").stdout)
    assert manifest["history"][0]["first_step"] >= 1, "the killed run's first step was done again"
    assert not list(workspace.root.glob(".student*"))


def test_finished_folds_are_not_trained_again(ready: Workspace) -> None:
    """A fold that was judged before the kill is read, not learnt."""
    validate = ["validate", "tiny/v1", "--data-dir", "data", "--student", "student", "--folds", "12"]
    process = ready.start(*validate)
    while not list(ready.root.glob(".filterkit/validate-tiny/*/look.json")) and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.wait()
    kept = list(ready.root.glob(".filterkit/validate-tiny/*/look.json"))
    assert 0 < len(kept) < 12
    look = json.loads(kept[0].read_bytes())
    look["scores"] = [[0.0] * len(row) for row in look["scores"]]
    kept[0].write_text(json.dumps(look))
    ready.run(*validate)
    mae = json.loads((ready / "student/validation.json").read_bytes())["metrics"]["mae"]
    assert mae > 0.2, "the kept predictions were not used"
    assert not (ready / ".filterkit/validate-tiny").exists()


def test_two_at_once_do_not_disturb_each_other(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", unlabelled(10_000, length=8))
    score = ["score", "tiny/v1", "--student", "student", "--articles", "in.jsonl", "--output", "out.jsonl"]
    first = ready.start(*score)
    while not (ready / "out.jsonl.run/plan.json").exists():
        time.sleep(0.005)
    assert "another process is working on" in ready.refused(*score, code=4)
    assert first.wait() == 0
    assert len(read_jsonl(ready / "out.jsonl")) == 10_000
