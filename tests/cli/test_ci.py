"""The workflow that `filterkit init --ci github` writes: linted, and its steps run as the shell that they are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import FILTER, PROMPT, Workspace, write_filter

from filterkit.skeleton import make_workspace

TOKEN = "hf_not_to_be_seen_anywhere"
EXPRESSIONS = {
    "${{ vars.DEPLOYER || 'huggingface' }}": "local",
    "${{ vars.HF_NAMESPACE || github.repository_owner }}": "me",
    "${{ vars.MAX_LATENCY_MS || '500' }}": "60000",
    "${{ vars.FOLDS }}": "",
    "${{ secrets.HF_TOKEN }}": TOKEN,
}
"""What GitHub would put in their place, with the variable DEPLOYER set to local."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ci") / "ws"
    make_workspace(root, "github")
    return root / ".github/workflows/filter.yml"


@pytest.fixture(scope="module")
def workflow(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(file.read_text(), Loader=yaml.BaseLoader)
    return found


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


# The file


def test_it_is_written_when_asked_for_and_never_over_another(cli: Any, tmp_path: Path) -> None:
    assert "filter.yml" not in cli("init", "ws").stdout
    assert not (tmp_path / "ws/.github").exists()
    said = cli("init", "ws", "--ci", "github").stdout
    assert "made   ws/.github/workflows/filter.yml" in said
    path = tmp_path / "ws/.github/workflows/filter.yml"
    path.write_text("mine")
    assert "kept   ws/.github/workflows/filter.yml" in cli("init", "ws", "--ci", "github").stdout
    assert path.read_text() == "mine"
    assert cli("init", "ws", "--ci", "elsewhere").returncode == 2


def test_every_action_is_pinned_to_a_commit_and_says_which_version_it_is(file: Path) -> None:
    uses = [line.strip() for line in file.read_text().splitlines() if "uses:" in line]
    assert len(uses) >= 5
    for line in uses:
        assert re.fullmatch(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_every_step_is_shell_without_expressions(workflow: dict[str, Any]) -> None:
    scripts = [step["run"] for step in steps(workflow) if "run" in step]
    assert len(scripts) >= 8
    for script in scripts:
        done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "${{" not in script, "what others name must not become a part of the script"
    assert workflow["defaults"]["run"]["shell"] == "bash", "GitHub's own shell stops at no failed pipe"


def test_who_may_do_what_and_when(workflow: dict[str, Any]) -> None:
    assert set(workflow["on"]) == {"push", "pull_request"}
    assert workflow["on"]["push"]["tags"]
    assert workflow["permissions"] == {"contents": "read"}
    assert "github.ref" in workflow["concurrency"]["group"]
    check, deploy = workflow["jobs"]["check"], workflow["jobs"]["deploy"]
    assert deploy["needs"] == "check"
    assert "needs" not in check
    assert "if" not in check
    assert deploy["if"] == "github.event_name == 'push' && github.ref_type == 'tag'"
    for job in (check, deploy):
        assert "permissions" not in job
        assert int(job["timeout-minutes"]) <= 60
        checkout = job["steps"][0]
        assert checkout["uses"].startswith("actions/checkout@")
        assert checkout["with"]["persist-credentials"] == "false"


def test_the_secret_is_seen_by_the_steps_that_need_it(workflow: dict[str, Any], file: Path) -> None:
    with_secret = [step["name"] for step in steps(workflow) if "secrets." in json.dumps(step)]
    assert with_secret == ["Deploy", "Verify what was deployed"]
    assert file.read_text().count("secrets.") == 2
    assert not [step for step in steps(workflow) if re.search(r"HF_TOKEN|set -x|printenv", step.get("run", ""))]
    assert "env" not in workflow


def test_actionlint_finds_nothing(file: Path) -> None:
    if not shutil.which("actionlint"):
        pytest.skip("actionlint is not installed")
    done = subprocess.run(["actionlint", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_expression_is_one_that_these_tests_know(file: Path) -> None:
    found = set(re.findall(r"\$\{\{.*?\}\}", file.read_text()))
    others = {"${{ github.ref }}", "${{ github.ref_name }}", "${{ github.ref_type != 'tag' }}"}
    assert found == EXPRESSIONS.keys() | others


# Its steps


@dataclass
class Runner:
    """A machine that has checked the workspace out, as far as shell can tell."""

    root: Path
    workflow: dict[str, Any]
    env: dict[str, str]
    said: str = ""
    done: list[str] = field(default_factory=list)

    def job(self, name: str, tag: str = "", only: str | None = None) -> int:
        """Run a job's steps until one fails; its exit code."""
        job = self.workflow["jobs"][name]
        for step in job["steps"]:
            if "run" not in step or only not in (None, step["name"]):
                continue
            given = {**job.get("env", {}), **step.get("env", {})}
            values = {k: EXPRESSIONS.get(v, tag if v == "${{ github.ref_name }}" else v) for k, v in given.items()}
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            ended = subprocess.run(
                command, cwd=self.root, env={**self.env, **values}, capture_output=True, text=True, check=False
            )
            self.said += ended.stdout + ended.stderr
            self.done.append(step["name"])
            if ended.returncode:
                return ended.returncode
        return 0


@pytest.fixture
def runner(tmp_path: Path, _validated: Path, toy_site: Path, workflow: dict[str, Any]) -> Runner:
    """A repository with two filters, of which one has a student and the other tests."""
    root, programs = tmp_path / "repo", tmp_path / "bin"
    make_workspace(root, "github")
    write_filter(root / "filters/tiny/v1")
    shutil.copytree(_validated / "student", root / "filters/tiny/v1/model")
    shutil.copytree(_validated / "data", root / "datasets/tiny-v1")
    write_filter(root / "filters/other/v2", FILTER.replace("name: tiny", "name: other").replace('"1"', '"2"'), PROMPT)
    (root / "filters/other/tests").mkdir()
    (root / "filters/other/tests/test_it.py").write_text("def test_it(): pass\n")
    (root / "requirements.txt").touch()
    programs.mkdir()
    start = 'exec "$PYTHON" -c "from filterkit.cli.main import main; main()" "$@"'
    for name, text in {"filterkit": start, "python": 'exec "$PYTHON" "$@"'}.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    (tmp_path / "unused").mkdir()
    env = Workspace(tmp_path / "unused", toy_site).env
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return Runner(
        root, workflow, {**env, "PATH": path, "PYTHON": sys.executable, "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    )


def test_a_push_and_then_a_tag(runner: Runner) -> None:
    assert runner.job("check") == 0, runner.said
    assert "filters/other/v2/ has no student in this repository" in runner.said
    assert "1 passed" in runner.said
    assert not (runner.root / "deployments").exists()
    assert runner.job("deploy", tag="tiny-v1") == 0, runner.said
    assert (runner.root / "deployments/tiny/current.json").is_file()
    assert len(list((runner.root / ".filterkit/deployments").iterdir())) == 1
    assert "p95 of single articles" in runner.said
    assert TOKEN not in runner.said
    kept = [p for p in runner.root.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]
    assert kept == []


def test_gates_that_refuse_stop_it(runner: Runner) -> None:
    write_filter(runner.root / "filters/tiny/v1", FILTER + "gates: {mae: 0.0001}\n")
    assert runner.job("check") == 1
    assert runner.done[-1] == "Ask the gates"
    for only in ("Choose what the tag names", "Deploy"):
        code = runner.job("deploy", tag="tiny-v1", only=only)
    assert code == 1, "even if nobody asked the gates before, deploy does"
    assert not (runner.root / "deployments").exists()


def test_gates_are_asked_out_of_fold_where_the_repository_says_so(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXPRESSIONS, "${{ vars.FOLDS }}", "3")
    assert runner.job("check", only="Ask the gates") == 0, runner.said
    said = json.loads((runner.root / "filters/tiny/v1/model/filterkit.json").read_bytes())
    assert said["gates"]["method"].startswith("out of fold, 3 folds")


def test_a_filter_that_is_wrong_or_fails_its_tests_stops_it(runner: Runner) -> None:
    (runner.root / "filters/other/tests/test_it.py").write_text("def test_it(): assert False\n")
    assert runner.job("check", only="Test the filters") == 1
    write_filter(runner.root / "filters/other/v2", "name: [\n")
    assert runner.job("check", only="Check the filters") != 0


@pytest.mark.parametrize(
    ("tag", "chosen"),
    [
        ("tiny-v1", "filters/tiny/v1/"),
        ("tiny-v1-second-try", "filters/tiny/v1/"),
        ("v1.2", "filters/tiny/v1/"),
        ("other-v2", "filters/other/v2/"),
        ("tiny-v12", None),
        ("nothing-v1", None),
        ("$(touch x)-v1", None),
    ],
)
def test_what_a_tag_names(runner: Runner, tag: str, chosen: str | None) -> None:
    code = runner.job("deploy", tag=tag, only="Choose what the tag names")
    assert code == (0 if chosen else 2), runner.said
    found = (runner.root / ".filterkit/ci/chosen").read_text().split()
    assert found == ([chosen] if chosen else [])
    assert not (runner.root / "x").exists()


def test_a_verification_that_fails_fails_the_job(runner: Runner) -> None:
    for only in ("Choose what the tag names", "Deploy"):
        assert runner.job("deploy", tag="tiny-v1", only=only) == 0, runner.said
    shipped = next((runner.root / "deployments").rglob("toy.json"))
    shipped.write_bytes(shipped.read_bytes() + b" ")
    assert runner.job("deploy", tag="tiny-v1", only="Verify what was deployed") == 1
    assert "toy.json is another file there" in runner.said
