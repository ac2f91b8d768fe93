"""The pipeline as its user meets it: commands one after the other, with the toy student and with `lite`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from helpers import Workspace, labelled, read_jsonl, unlabelled, write_jsonl

PEAK = """
import sys
from filterkit.cli.main import run
code = run(sys.argv[1:])
print("PEAK", open("/proc/self/status").read().split("VmHWM:")[1].split()[0])  # ru_maxrss begins at the parent's
sys.exit(code)
"""


def told_often(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with words that are the more frequent the higher the scores."""
    for row in rows:
        scores = row["scores"]
        more = "neighbours helped " * scores["help"] + "engine invented " * scores["novelty"]
        row["content"] += f" {more}" + "buy now " * (scores["is_advert"] // 2)
    return rows


def test_label_to_deploy_and_score(workspace: Workspace) -> None:
    """With `lite`, the student that comes with filterkit."""
    workspace.labels(told_often(labelled(150)))
    run = [
        "run",
        "tiny/v1",
        "--oracle",
        "replay",
        "-O",
        "oracle.labels=labels.jsonl",
        "--trainer",
        "lite",
        "--folds",
        "3",
    ]
    done = json.loads(workspace.ok(*run, "--articles", "labels.jsonl", "--json").stdout)
    assert done["label"]["new"] == 150
    assert done["validate"]["passed"]
    assert done["deploy"]["verified_files"] >= 3
    write_jsonl(workspace / "new.jsonl", unlabelled(60))
    workspace.ok("score", "tiny/v1", "--articles", "new.jsonl", "--output", "verdicts.jsonl")
    rows = read_jsonl(workspace / "verdicts.jsonl")
    assert len(rows) == 60
    assert all(0 <= score <= 10 for row in rows for score in row["scores"].values())
    again = json.loads(workspace.ok(*run, "--articles", "labels.jsonl", "--json").stdout)
    assert (again["label"]["new"], again["label"]["already"]) == (0, 150)
    assert again["prepare"]["unchanged"]
    assert again["train"] == done["train"]
    assert again["deploy"]["deployment"] == done["deploy"]["deployment"], "the second run shipped another copy"


def test_a_run_whose_gates_refuse_ships_nothing(workspace: Workspace) -> None:
    workspace.labels(labelled(120))
    run = ["run", "tiny/v1", "--oracle", "replay", "-O", "oracle.labels=labels.jsonl", "-O", "trainer.constant=true"]
    assert "the gates refuse" in workspace.refused(*run, "--articles", "labels.jsonl", code=1)
    assert not (workspace / "deployments").exists()
    done = json.loads(workspace.ok(*run, "--articles", "labels.jsonl", "--json", code=1).stdout)
    assert "the gates refuse" in done["deploy"]["refused"]


def test_the_declared_group_of_an_article_comes_through_the_store(workspace: Workspace) -> None:
    rows = labelled(100)
    for i in range(0, 60, 2):
        rows[i]["group"] = rows[i + 1]["group"] = rows[i]["id"]
    workspace.labels(rows)
    label = ["label", "tiny/v1", "--articles", "labels.jsonl", "--oracle", "replay", "-O", "labels=labels.jsonl"]
    workspace.ok(*label)
    workspace.ok("prepare", "tiny/v1", "--output-dir", "data")
    where = {
        row["id"]: name for name in ("train", "val", "test") for row in read_jsonl(workspace / f"data/{name}.jsonl")
    }
    assert all(where[rows[i]["id"]] == where[rows[i + 1]["id"]] for i in range(0, 60, 2))


def test_articles_can_be_kept_out(workspace: Workspace) -> None:
    rows = labelled(60)
    workspace.labels(rows)
    same_text = {**rows[1], "id": "another"}
    write_jsonl(workspace / "out.jsonl", [rows[0], same_text])
    workspace.ok("prepare", "tiny/v1", "--labels", "labels.jsonl", "--exclude", "out.jsonl", "--output-dir", "data")
    ids = {row["id"] for name in ("train", "val", "test") for row in read_jsonl(workspace / f"data/{name}.jsonl")}
    assert ids == {row["id"] for row in rows[2:]}


def test_what_is_kept_out_is_told(workspace: Workspace) -> None:
    rows = labelled(60)
    near = {**rows[2], "id": "near", "content": rows[2]["content"] + " and so on"}
    workspace.labels(rows)
    write_jsonl(workspace / "out.jsonl", [{k: v for k, v in near.items() if k != "scores"}, rows[0]])
    prepare = ("prepare", "tiny/v1", "--labels", "labels.jsonl", "--exclude", "out.jsonl", "--output-dir", "data")
    assert "excluded: 1 by id or text, 1 near-duplicate of" in workspace.ok(*prepare).stdout
    assert json.loads(workspace.ok(*prepare, "--json").stdout)["excluded"] == 2
    write_jsonl(workspace / "out.jsonl", [near, {"id": "no content"}])
    done = workspace.ok(*prepare, code=3)
    assert "1 line could not be used; see data/labels.rejected.jsonl" in done.stderr
    write_jsonl(workspace / "data/test.jsonl", [near])
    workspace.refused(*prepare, "--exclude", "data/test.jsonl", says="is an input and would be overwritten")


@pytest.mark.heavy
def test_memory_does_not_grow_with_the_input(ready: Workspace) -> None:
    peaks = []
    for rows in (20_000, 200_000):
        write_jsonl(ready / "in.jsonl", unlabelled(rows, length=8))
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                PEAK,
                "score",
                "tiny/v1",
                "--student",
                "student",
                "--articles",
                "in.jsonl",
                "--output",
                "o.jsonl",
            ],
            cwd=ready.root,
            env=ready.env,
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout.split("PEAK")[1]) / 1024)
        with (ready / "o.jsonl").open("rb") as file:
            assert sum(1 for _ in file) == rows
    assert peaks[1] - peaks[0] < 60, peaks
