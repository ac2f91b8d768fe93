"""`filterkit label --samples` at a provider that answers a little differently each time, and what prepare makes."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from desks import CONCURRENCY, Desk
from helpers import Workspace, unlabelled, write_jsonl

from filterkit.filters import load_filter
from filterkit.pipeline.data import load_data
from filterkit.pipeline.jobs import pack_job, unpack_job
from filterkit.pipeline.train import TrainRequest
from filterkit.testing.fake_llm import FakeLLM

Scores = dict[str, float]


@pytest.fixture
def desk(workspace: Workspace, toys: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """40 articles, and a provider whose scores wobble by up to a point and a half."""
    with FakeLLM(wobble=1.5) as server:
        yield Desk(workspace, server, monkeypatch, capsys, {"model-1": 4.0}, articles=40)


def answers(desk: Desk) -> dict[str, dict[int, Scores]]:
    """Article id -> number of the answer -> scores, as the store has them."""
    found: dict[str, dict[int, Scores]] = defaultdict(dict)
    for row in desk.stored():
        found[row.article.id][row.sample] = row.scores
    return found


def test_each_question_gets_as_many_answers_and_only_the_missing_ones_are_asked(desk: Desk) -> None:
    first = desk.label()
    assert (first["new"], desk.server.requests) == (40, 40)
    report = desk.label("--samples", 3)
    assert (report["read"], report["new"], report["already"]) == (120, 80, 40)
    assert desk.server.requests == 120
    given = answers(desk)
    assert all(sorted(of) == [0, 1, 2] for of in given.values())
    assert any(of[0] != of[1] for of in given.values())
    assert desk.label("--samples", 3)["attempts"] == 0
    said = desk.words("--samples", 4)
    assert "answer 4 of 4:" in said
    assert "160 answers, 4 for each article: 40 labelled now, 120 were already" in said
    assert desk.server.requests == 160


def test_what_compare_asked_twice_is_not_asked_again(desk: Desk) -> None:
    options = ["-O", f"base_url={desk.server.openai_url}"]
    compared = ["compare", "tiny/v1", "--articles", "in.jsonl", "--oracle", "openai:model-1", "--repeat", 2, *options]
    desk.run(*compared)
    assert desk.server.requests == 80
    assert desk.label("--samples", 3)["new"] == 40
    assert desk.server.requests == 120


def test_a_dry_run_and_a_pilot_count_every_answer(desk: Desk) -> None:
    once, thrice = desk.label("--dry-run"), desk.label("--dry-run", "--samples", 3)
    assert (once["to_ask"], thrice["to_ask"], thrice["samples"]) == (40, 120, 3)
    assert thrice["usd"] == pytest.approx(3 * once["usd"])
    assert thrice["most_usd"] == pytest.approx(3 * once["most_usd"])
    assert "120 answers, 3 for each article: 120 to be asked" in desk.words("--dry-run", "--samples", 3)
    pilot = desk.label("--pilot", 10, "--samples", 3)
    assert desk.server.requests == 30
    assert (pilot["pilot"]["attempts"], pilot["pilot"]["rest"]["to_ask"]) == (30, 90)
    assert pilot["pilot"]["labelled"] == 10
    assert desk.label("--dry-run", "--samples", 3)["to_ask"] == 90


def test_prepare_takes_the_medians_and_says_so(desk: Desk) -> None:
    desk.label("--samples", 3)
    said, rows = desk.prepare()
    given = answers(desk)
    for key, row in rows.items():
        for name, score in row["scores"].items():
            found = [of[name] for of in given[key].values()]
            assert score == pytest.approx(statistics.median(found))
            assert row["spread"][name] == pytest.approx(statistics.stdev(found), abs=1e-5)
    assert (said["judgement"]["rule"], said["judgement"]["answers"]) == ("median", {"3": 40})
    assert statistics.fmean(row["weight"] for row in rows.values()) == pytest.approx(1, abs=0.01)
    calm = min(rows.values(), key=lambda row: row["spread"]["help"] + row["spread"]["novelty"])
    torn = max(rows.values(), key=lambda row: row["spread"]["help"] + row["spread"]["novelty"])
    assert calm["weight"] > 1 > torn["weight"]
    words = desk.run("prepare", "tiny/v1", "--output-dir", "data").out
    assert "(as before)" in words
    assert "labels: medians of repeated answers (40 of 3)" in words
    first, _ = desk.prepare("--samples", "first")
    assert first["judgement"] == {**first["judgement"], "rule": "first", "left_out": {"samples": 80}}
    even, rows = desk.prepare("--equal-weights")
    assert even["judgement"]["weighted"] is False
    assert "weight" not in rows["a000000"]
    assert len({said["fingerprint"], first["fingerprint"], even["fingerprint"]}) == 3


def test_what_the_labels_are_follows_the_student(desk: Desk) -> None:
    desk.articles(unlabelled(120))
    desk.label("--samples", 2)
    desk.prepare()
    desk.run("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student")
    manifest = json.loads((desk.workspace / "student/filterkit.json").read_text())
    assert manifest["data"]["judgement"]["answers"] == {"2": 120}
    said = desk.run("validate", "tiny/v1", "--data-dir", "data", "--student", "student", code=1).out
    assert "labels: medians of repeated answers (120 of 2)" in said
    assert "answer 2" not in said  # an answer that is part of the label is no judge of it
    assert "medians of repeated answers (120 of 2)" in (desk.workspace / "student/report.html").read_text()
    validation = json.loads((desk.workspace / "student/validation.json").read_text())
    assert (validation["judgement"]["rule"], validation["references"]) == ("median", [])


def test_an_edited_article_is_another_one(desk: Desk) -> None:
    desk.label("--samples", 3)
    desk.articles(unlabelled(40), a000003=" and more")
    assert desk.label()["new"] == 1
    said, rows = desk.prepare()
    assert said["judgement"]["answers"] == {"1": 1, "3": 39}
    assert (rows["a000003"]["samples"], rows["a000003"]["spread"]) == (1, None)
    assert desk.label("--samples", 3)["new"] == 2
    assert desk.prepare()[0]["judgement"]["answers"] == {"3": 40}


def test_an_article_that_cannot_be_labelled_is_not_asked_about_again(desk: Desk) -> None:
    desk.articles(unlabelled(40), a000003=" unspeakable")
    desk.server.change(always={"unspeakable": "blocked"})
    report = desk.label("--samples", 3, code=3)
    assert (report["new"], report["failed"], report["read"]) == (117, 1, 118)
    assert desk.server.requests == 118
    assert desk.label("--dry-run", "--samples", 3)["to_ask"] == 0
    desk.server.change(always={})
    assert desk.label("--samples", 3, "--retry-failed")["new"] == 3


def test_a_budget_leaves_every_article_one_answer_before_any_has_two(desk: Desk) -> None:
    desk.settings(concurrency=1)
    once = desk.label()["cost_usd"]
    enough = 1.5 * once + 2048 * 4 / 1e6  # what an answer may cost at most must be left for the last one
    desk.refused(*desk.arguments("--samples", 3, "--max-cost", enough), code=4, says="budget")
    counts = [len(of) for of in answers(desk).values()]
    assert set(counts) == {1, 2}
    assert sum(counts) == pytest.approx(60, abs=3)
    said, _ = desk.prepare()
    assert set(said["judgement"]["answers"]) == {"1", "2"}


@pytest.mark.parametrize(
    "after", [pytest.param(20, marks=pytest.mark.heavy), 50, pytest.param(75, marks=pytest.mark.heavy)]
)
def test_a_kill_between_answers_loses_none(desk: Desk, after: int) -> None:
    desk.server.change(latency_s=0.02)
    desk.killed(after, "--samples", 3)
    kept = sum(len(of) for of in answers(desk).values())
    report = desk.label("--samples", 3)
    assert report["new"] + report["already"] == 120
    assert report["new"] == 120 - kept
    assert all(sorted(of) == [0, 1, 2] for of in answers(desk).values())
    assert desk.server.requests <= 120 + 2 * CONCURRENCY  # in flight, and claimed and not sent yet


def test_that_asking_again_may_be_pointless_is_said(desk: Desk) -> None:
    assert "at temperature 0" in desk.words("--samples", 2)
    assert "temperature" not in desk.words()
    rows = [{**row, "scores": {"help": 1, "novelty": 2, "is_advert": 0}} for row in unlabelled(5, seed=3)]
    write_jsonl(desk.workspace / "in.jsonl", rows)
    replay = ["--oracle", "replay", "-O", "labels=in.jsonl"]
    assert "replay answers a question the same way each time" in desk.words(*replay, "--samples", 2)


def test_a_sealed_job_takes_the_weights_along(desk: Desk, tmp_path: Path) -> None:
    desk.label("--samples", 2)
    desk.prepare()
    filter = load_filter(desk.workspace.filter)
    data = load_data(filter, desk.workspace / "data")
    request = TrainRequest("lite", {}, 0)
    pack_job(filter, data, request, tmp_path / "job.fkjob")
    again = unpack_job(tmp_path / "job.fkjob", tmp_path / "unpacked").data
    assert len(set(data.splits["train"].split.weights.tolist())) > 10
    assert again.splits["train"].split.weights.tolist() == data.splits["train"].split.weights.tolist()
    assert again.info == data.info
