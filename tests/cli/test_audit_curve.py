"""filterkit audit --learning-curve, as a user meets it, with the trainer lite."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest
from helpers import Workspace, labelled

from filterkit.filters import load_filter
from filterkit.io import read_articles
from filterkit.prompt import sent_text
from filterkit.records import Label, sha256_text
from filterkit.store import Key, Outcome, Question, Store

AUDIT = ("audit", "tiny/v1", "--labels", "labels.jsonl")
CURVE = (*AUDIT, "--learning-curve", "--curve-draws", "2")
QUICK = "trainer: {use: lite, search: false, embedding: none}\n"

pytest.importorskip("filterkit_lite")


@pytest.fixture
def at(workspace: Workspace) -> Workspace:
    (workspace / "filterkit.yaml").write_text(QUICK)
    workspace.labels(labelled(130))
    return workspace


def test_what_more_labels_would_buy_in_words_and_as_json(at: Workspace) -> None:
    done = at.ok(*CURVE, "--json", "--output", "audit.json")
    document = json.loads(done.stdout)
    assert document == json.loads((at / "audit.json").read_bytes())
    assert document["level"]
    curve = document["learning_curve"]
    assert (curve["labels"], curve["draws"], curve["trainer"]) == (130, 2, "lite")
    assert curve["options"]["search"] is False
    assert [size["learnt_from"] for size in curve["sizes"]] == sorted(size["learnt_from"] for size in curve["sizes"])
    assert curve["today"]["learnt_from"] == pytest.approx(104)
    assert [one["more"] for one in curve["next"]] == [32, 65, 130, 1000]
    for one in curve["next"]:
        assert one["labels"] == 130 + one["more"]
        assert one["low"] <= one["mae"] <= one["high"]
        assert 0 <= one["gain_low"] <= one["gain"] <= one["gain_high"]
    assert curve["usd_per_label"] is None
    assert curve["price"] == "no oracle is configured"
    assert curve["floor"] is None
    assert "students of lite" in done.stderr
    assert "(--curve-draws)" in done.stderr


def test_words_with_a_price_and_the_oracles_own_noise(at: Workspace) -> None:
    own = "prices: {gpt: {input: 100, output: 100, as_of: 2026-01-31, source: the bill}}\n"
    (at / "filterkit.yaml").write_text(f"{QUICK}{own}oracle: {{use: replay, labels: labels.jsonl, model: gpt}}\n")
    rows = labelled(130)
    again = [{**row, "sample": 1, "scores": {**row["scores"], "help": abs(row["scores"]["help"] - 1)}} for row in rows]
    at.labels([*rows, *again])
    said = at.ok(*CURVE).stdout
    assert "today's 130 labels, 80% of them learnt from: MAE " in said
    assert "the next 1,000 labels would take the MAE from " in said
    assert "a guess" in said
    assert "at the price of gpt as of 2026-01-31" in said
    assert "the oracle differs from itself by 0.50 on average (130 repeated samples)" in said


def test_the_price_is_what_the_ledger_says(at: Workspace) -> None:
    filter = load_filter(at.filter)
    rows = {row["id"]: row["scores"] for row in labelled(130)}
    articles = list(read_articles([at / "labels.jsonl"]))
    hashes = [sha256_text(sent_text(filter.spec, a)) for a in articles]
    question = Question(filter.request_hash(), "acme", "big", "tiny 1")
    with Store(at / "labels.db") as store, store.owner() as owner:
        store.put_articles(question, list(zip(articles, hashes, strict=True)))
        states = store.claim(question, [Key(h) for h in hashes], owner)
        outcomes = [
            Outcome(state.attempt or 0, "labelled", label=Label(rows[article.id]), cost_usd=0.004, model_version="big")
            for state, article in zip(states, articles, strict=True)
        ]
        store.complete(outcomes)
    done = at.ok("audit", "tiny/v1", "--learning-curve", "--curve-draws", "2", "--json")
    curve = json.loads(done.stdout)["learning_curve"]
    assert curve["usd_per_label"] == pytest.approx(0.004)
    assert curve["next"][-1]["usd"] == pytest.approx(4.0)
    assert curve["price"] == "as 130 labels have cost so far"


def test_too_few_labels_are_said(at: Workspace) -> None:
    at.labels(labelled(59))
    at.refused(*CURVE, says=("needs 60 labelled texts that differ, and there are 59", "filterkit label"))


def test_copies_are_no_more_labels(at: Workspace) -> None:
    rows = labelled(40)
    at.labels([*rows, *({**row, "id": f"b{i}", "content": row["content"] + " x"} for i, row in enumerate(rows))])
    at.refused(*CURVE, says="labelled texts that differ, and there are 40")


def test_several_oracles_are_not_mixed(at: Workspace) -> None:
    at.labels({**row, "oracle": ("a", "b")[i % 2]} for i, row in enumerate(labelled(200)))
    at.refused(*CURVE, says="several oracles")
    said = at.ok(*CURVE, "--oracle", "a").stdout
    assert "today's 100 labels" in said


def test_draws_alone_are_a_mistake(at: Workspace) -> None:
    assert "give both" in at.run(*AUDIT, "--curve-draws", "3").stderr


def test_ctrl_c_ends_it_at_once_and_leaves_nothing(at: Workspace, tmp_path: Any) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    at.env["TMPDIR"] = str(scratch)
    at.labels(labelled(900))
    running = at.start(*AUDIT, "--learning-curve", "--curve-draws", "100")
    try:
        for _ in range(600):
            if list(scratch.glob("filterkit-curve-*/student/*")):
                break
            time.sleep(0.1)
        else:
            pytest.fail("no student was ever trained")
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
    finally:
        running.kill()
    assert not list(scratch.iterdir())
