"""validate and what hangs on it, as its user meets it: the report, other judges, another student, gates, forcing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers import FILTER, Workspace, labelled, read_jsonl, write_filter, write_jsonl

from filterkit.manifest import load_manifest, save_manifest

VALIDATE = ("validate", "tiny/v1", "--data-dir", "data", "--student", "student")
DEPLOY = ("deploy", "tiny/v1", "--student", "student")


def said(workspace: Workspace, *more: object, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(workspace.ok(*VALIDATE, *more, "--json", code=code).stdout)
    return found


def failed(found: dict[str, Any]) -> set[str]:
    return {gate["name"] for gate in found["gates"]["gates"] if not gate["passed"]}


def test_what_is_printed_is_what_is_written(ready: Workspace) -> None:
    shown = ready.ok(*VALIDATE)
    assert "The gates passed." in shown.stdout
    assert f"for people: {Path('student/report.html')}" in shown.stdout
    assert "is_advert (from 5): precision" in shown.stdout
    assert "small" not in shown.stderr
    written = json.loads((ready / "student/validation.json").read_bytes())
    assert written == said(ready)
    page = (ready / "student/report.html").read_text()
    mae = written["metrics"]["mae"]
    assert f"{mae:.2f}" in page
    assert f"{mae:.2f}" in shown.stdout


def test_a_student_that_learnt_its_dimensions_the_wrong_way_round(workspace: Workspace) -> None:
    """Splits made by hand, in which somebody exchanged two columns of what the student learns from."""
    rows = labelled(600)
    for row in rows[:400]:
        scores = row["scores"]
        scores["help"], scores["novelty"] = scores["novelty"], scores["help"]
    for name, part in (("train", rows[:350]), ("val", rows[350:400]), ("test", rows[400:])):
        write_jsonl(workspace / f"data/{name}.jsonl", part)
    workspace.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student")
    found = said(workspace, code=1)
    assert "dimensions_in_place" in failed(found)
    assert {"help", "novelty"} == {found["metrics"]["mixed_up"][0][k] for k in ("dimension", "other")}
    workspace.refused(*DEPLOY, code=1, says="the gates refuse this student")


def test_an_artifact_edited_after_validation_is_not_shipped(ready: Workspace) -> None:
    toy = ready / "student/toy.json"
    toy.write_text(toy.read_text().replace("1", "2", 1))
    ready.refused(*DEPLOY, code=2, says="SHA-256 is another")


def test_gates_of_other_weights_count_for_nothing(ready: Workspace) -> None:
    """A whole new student in the folder, with the gate record of the old one put into its manifest."""
    record = load_manifest(ready / "student").gates
    ready.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student", "--seed", "5", "-O", "constant=true")
    ready.refused(*DEPLOY, code=1, says="never validated")
    manifest = load_manifest(ready / "student")
    save_manifest(ready / "student", manifest.model_copy(update={"gates": record}))
    ready.refused(*DEPLOY, code=1, says="passed by another student")


@pytest.mark.parametrize(
    "change",
    [("weight: 0.75", "weight: 0.6"), ("prompt: prompt.md", "gates: {mae: 0.9}\nprompt: prompt.md")],
    ids=["weights", "gates"],
)
def test_a_policy_changed_after_validation_is_validated_again(ready: Workspace, change: tuple[str, str]) -> None:
    text = FILTER.replace(*change).replace("weight: 0.25", "weight: 0.4" if "0.6" in change[1] else "weight: 0.25")
    write_filter(ready.filter, text)
    before = load_manifest(ready / "student").overall_interval
    ready.refused(*DEPLOY, code=1, says="changed since validation")
    said(ready)
    ready.ok(*DEPLOY)
    after = load_manifest(ready / "student").overall_interval
    assert (after == before) == ("0.6" not in change[1]), "the interval of the overall goes with the weights"


def test_forcing_is_recorded_and_told_by_whatever_loads_the_student(ready: Workspace) -> None:
    ready.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student", "-O", "constant=true")
    said(ready, code=1)
    ready.refused(*DEPLOY, code=1, says="the gates refuse")
    ready.refused(*DEPLOY, "--force", " \x1b\u200b ", code=2, says="needs a reason")
    done = ready.ok(*DEPLOY, "--force", "the editor\x1b[31m wants it")
    assert "forced: the editor[31m wants it" in done.stderr
    assert "median_gain" in done.stderr
    write_jsonl(ready / "in.jsonl", labelled(3, seed=9))
    scored = ready.ok("score", "tiny/v1", "--student", "student", "--articles", "in.jsonl", "--output", "out.jsonl")
    assert scored.stderr.count("the editor[31m wants it") == 1
    assert "although its gates refused it" in scored.stderr
    record = next((ready / ".filterkit/deployments").glob("*.json"))
    assert json.loads(record.read_bytes())["forced"]["reason"] == "the editor[31m wants it"
    shipped = next((ready / "deployments").rglob("filterkit.json"))
    forced = load_manifest(shipped.parent).forced
    assert forced is not None
    assert "median_gain" in forced.gates
    again = json.loads(ready.ok(*DEPLOY, "--force", "the editor\x1b[31m wants it", "--json").stdout)
    assert len(list((ready / "deployments").rglob("filterkit.json"))) == 1, "the same was shipped twice"
    assert again["forced"]["reason"] == "the editor[31m wants it"
    ready.refused(*DEPLOY, code=1, says="the gates refuse"), "one force is not for ever"


def test_gates_that_pass_end_what_was_forced(ready: Workspace) -> None:
    write_filter(ready.filter, FILTER + "gates: {mae: 0.0001}\n")
    said(ready, code=1)
    ready.ok(*DEPLOY, "--force", "it is urgent")
    write_filter(ready.filter)
    said(ready)
    assert load_manifest(ready / "student").forced is None
    done = ready.ok(*DEPLOY, "--force", "to be sure")
    assert "--force was not needed" in done.stderr
    assert load_manifest(ready / "student").forced is None


def test_what_others_wrote_moves_no_terminal(workspace: Workspace) -> None:
    rows = labelled(300)
    for i, row in enumerate(rows):
        row["source"] = "plain" if i % 4 else "red\x1b[31m\u202e"
        if not i % 4:
            row["scores"] = {name: 10 - score for name, score in row["scores"].items()}
    workspace.labels(rows)
    workspace.ok("prepare", "tiny/v1", "--labels", "labels.jsonl", "--output-dir", "data")
    workspace.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student")
    shown = workspace.run(*VALIDATE, "--folds", "3").stdout
    assert "worst: source red" in shown
    assert not {"\x1b", "\u202e"} & set(shown)


def test_which_of_two_students_is_better(ready: Workspace) -> None:
    train = ("train", "tiny/v1", "--data-dir", "data", "--output-dir")
    ready.ok(*train, "constant", "-O", "constant=true")
    shutil.copytree(ready / "student", ready / "twin")
    better = said(ready, "--against", "constant")["against"]
    assert better["better"] == "first"
    assert {d["name"] for d in better["differences"]} >= {"mae", "mae:help", "spearman"}
    assert all(d["intervals"]["difference"]["low"] <= d["difference"] for d in better["differences"] if d["intervals"])
    worse = ("validate", "tiny/v1", "--data-dir", "data", "--student", "constant", "--against", "student")
    assert "The other student is better." in ready.ok(*worse, code=1).stdout
    assert "cannot be told" in ready.ok(*VALIDATE, "--against", "twin").stdout


def test_another_student_that_may_have_learnt_these_articles_is_said_to(ready: Workspace) -> None:
    ready.ok("prepare", "tiny/v1", "--labels", "labels.jsonl", "--output-dir", "other-data", "--seed", "3")
    ready.ok("train", "tiny/v1", "--data-dir", "other-data", "--output-dir", "other")
    assert "may have learnt" in said(ready, "--against", "other")["against"]["note"]
    line = ready.refused(*VALIDATE, "--against", "other", "--folds", "2", says="trained on other splits")
    assert "Leave out --folds" in line
    ready.refused(*VALIDATE, "--against", "nowhere", says="no student here")


def test_people_who_judged_the_same_articles(ready: Workspace) -> None:
    test = read_jsonl(ready / "data/test.jsonl")
    for row in test:
        row["scores"] = {**row["scores"], "help": min(10, row["scores"]["help"] + 1)}
    write_jsonl(ready / "human.jsonl", test)
    found = said(ready, "--human", "human.jsonl")["references"]
    assert [(r["kind"], r["n"]) for r in found] == [("people", len(test))]
    assert 0 < found[0]["per_dimension"]["help"] <= 1
    assert found[0]["per_dimension"]["novelty"] == 0
    write_jsonl(ready / "human.jsonl", labelled(5, seed=77) and [{**labelled(1, seed=77)[0], "id": "stranger"}])
    ready.refused(*VALIDATE, "--human", "human.jsonl", says="no article there is among those")
    ready.refused(*VALIDATE, "--human", "none.jsonl", says="none.jsonl")


def test_what_other_models_said_of_the_same_question(workspace: Workspace) -> None:
    rows = labelled(300)
    workspace.labels(rows)
    other = [{**r, "scores": {**r["scores"], "novelty": 10 - r["scores"]["novelty"]}} for r in rows]
    workspace.labels(other, "other.jsonl")
    for file, model in (("labels.jsonl", "m1"), ("other.jsonl", "m2")):
        workspace.ok("labels", "import", "tiny/v1", file, "--oracle", "acme", "--model", model)
    workspace.ok("prepare", "tiny/v1", "--model", "m1", "--output-dir", "data")
    workspace.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student")
    found = said(workspace)["references"]
    assert [(r["who"], r["kind"]) for r in found] == [("acme m2", "oracle")]
    assert found[0]["per_dimension"]["help"] == 0
    assert found[0]["per_dimension"]["novelty"] > 3
    assert found[0]["student_mae"] < found[0]["mae"]
