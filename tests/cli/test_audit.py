"""filterkit audit, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import Workspace, labelled, read_jsonl, write_jsonl

AUDIT = ("audit", "tiny/v1", "--labels", "labels.jsonl")


def test_good_labels(workspace: Workspace) -> None:
    workspace.labels(labelled(1100))
    done = workspace.ok(*AUDIT)
    first = done.stdout.splitlines()[0]
    assert first.startswith("Go on")
    assert "1,100 labels: 0 stop" in first
    assert "0 to 10" in done.stdout
    assert done.stderr == ""


def test_labels_to_stop_at(workspace: Workspace) -> None:
    rows = labelled(300)
    for row in rows:
        row["scores"]["help"] = 3
    workspace.labels(rows)
    done = workspace.ok(*AUDIT, code=1)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Stop: do not train on these labels yet. 300 labels: ")
    assert lines[1].split()[0] == "STOP"
    assert "help is 3 in all 300 labels" in lines[1]
    assert lines[2].strip().startswith("→ Label articles that score")
    levels = [line.split()[0] for line in lines if line[:6].strip() in ("STOP", "warn", "ok")]
    assert levels == sorted(levels, key=("STOP", "warn", "ok").index)


def test_as_json_and_into_a_file(workspace: Workspace) -> None:
    workspace.labels(labelled(200))
    done = workspace.ok(*AUDIT, "--json", "--output", "audit.json")
    document = json.loads(done.stdout)
    assert document == json.loads((workspace / "audit.json").read_bytes())
    assert document["level"] == "warn"
    assert {"check", "level", "what", "do", "dimension", "figures"} <= set(document["findings"][0])
    assert [of["name"] for of in document["figures"]["dimensions"]] == ["help", "novelty", "is_advert"]


def test_lines_that_cannot_be_used_are_told(workspace: Workspace) -> None:
    workspace.labels([*labelled(60), b"{", b"{}"])
    done = workspace.ok(*AUDIT, code=3)
    assert "2 lines could not be used: the first of them labels.jsonl:61: " in done.stderr


def test_nothing_is_overwritten(workspace: Workspace) -> None:
    workspace.labels(labelled(60))
    workspace.refused(*AUDIT, "--output", "labels.jsonl", says="would be overwritten")
    assert len(read_jsonl(workspace / "labels.jsonl")) == 60


def test_no_labels(workspace: Workspace) -> None:
    workspace.labels([])
    workspace.refused(*AUDIT, says="there is no label to audit")
    workspace.labels([b"{", b"{}"])
    line = workspace.refused(*AUDIT, says="there is no label to audit; 2 lines were rejected")
    assert "labels.jsonl:1: " in line
    workspace.refused("audit", "tiny/v1", says="label")
    workspace.refused("audit", "tiny/v1", "--labels", "nowhere.jsonl", says="no such file")


def test_oracles_can_be_told_apart(workspace: Workspace) -> None:
    workspace.labels({**row, "oracle": ("a", "b")[i % 2]} for i, row in enumerate(labelled(200)))
    assert "several oracles" in workspace.ok(*AUDIT, code=1).stdout
    done = workspace.ok(*AUDIT, "--oracle", "a")
    assert "100 labels" in done.stdout
    assert "several oracles" not in done.stdout


def test_labels_of_the_store_with_a_second_sample(workspace: Workspace) -> None:
    rows = [{**row, "oracle": "toy", "model": "m"} for row in labelled(80)]
    workspace.labels([*rows, *({**row, "sample": 1} for row in rows[:30])])
    workspace.ok("labels", "import", "labels.jsonl", "--filter", "tiny/v1", "--oracle", "toy")
    done = workspace.ok("audit", "tiny/v1", "--json")
    figures = json.loads(done.stdout)["figures"]
    assert figures["labels"] == 80
    assert figures["oracles"] == {"toy m": 80}


def test_hostile_words_do_not_reach_the_terminal(workspace: Workspace) -> None:
    rows = labelled(150)
    for i, row in enumerate(rows):
        row |= {"title": f"\x1b[31m{i}\u202e", "language": "\x1b]0;x\x07", "source": f"\x9b{i % 3}", "id": f"\x1b{i}"}
        row["content"] = row["content"][:40]
    workspace.labels(rows)
    done = workspace.ok(*AUDIT)
    assert not set("\x1b\x07\x9b\u202e") & set(done.stdout + done.stderr)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_hardly_any_labels(workspace: Workspace, n: int) -> None:
    write_jsonl(workspace / "labels.jsonl", labelled(n))
    done = workspace.ok(*AUDIT, code=1)
    assert f"{n} label" in done.stdout
    assert "nan" not in done.stdout.lower()


def test_an_embedder_that_was_asked_for_must_be_there(workspace: Workspace) -> None:
    workspace.labels(labelled(60))
    Path(workspace / "filterkit.yaml").write_text("embedder: {use: nowhere}\n")
    workspace.refused(*AUDIT, says="nowhere")
