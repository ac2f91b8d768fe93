"""`filterkit label` through the real SDKs, against a provider that goes wrong: what is paid, kept and said."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers import Workspace, unlabelled, write_jsonl

from filterkit.filters import load_filter
from filterkit.prompt import reply_schema
from filterkit.store import Store
from filterkit.testing.fake_llm import FakeLLM, expected_scores

MODEL = "model-1"
PRICES = "prices:\n  model-1: {input: 1.0, output: 4.0, as_of: 2026-01-31, source: test}\n"
SECRET = "sk-test-0123456789abcdef"  # the workspace's key for the fake provider


class Desk:
    """A workspace, a provider, and what one says to the other."""

    def __init__(self, workspace: Workspace, oracle: str, server: FakeLLM) -> None:
        self.workspace, self.oracle, self.server = workspace, oracle, server
        self.concurrency(20)

    def concurrency(self, number: int) -> None:
        (self.workspace / "filterkit.yaml").write_text(f"{PRICES}label: {{concurrency: {number}}}\n")

    def articles(self, count: int, **marked: str) -> None:
        rows = [dict(row) for row in unlabelled(count)]
        for number, marker in marked.items():
            rows[int(number[1:])]["content"] += f" {marker}"
        write_jsonl(self.workspace / "in.jsonl", rows)

    def arguments(self, *more: object) -> list[object]:
        url = self.server.openai_url if self.oracle == "openai" else self.server.url
        options = ["--oracle", self.oracle, "-O", f"base_url={url}", "-O", f"oracle.model={MODEL}"]
        return ["label", "tiny/v1", "--articles", "in.jsonl", *options, *more]

    def label(self, *more: object, code: int = 0) -> dict[str, Any]:
        done = self.workspace.ok(*self.arguments(*more), "--json", code=code)
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def refused(self, *more: object, code: int, says: str) -> str:
        return self.workspace.refused(*self.arguments(*more), code=code, says=says)

    def start(self, *more: object) -> subprocess.Popen[bytes]:
        return self.workspace.start(*self.arguments(*more))

    def labels(self) -> dict[str, dict[str, float]]:
        """The labels by article, each of them proved right."""
        filter = load_filter(self.workspace.filter)
        schema = reply_schema(filter.spec)
        with Store(self.workspace / "labels.db", create=False) as store:
            rows = list(store.labelled(filter.request_hash()))
        for row in rows:
            assert row.scores == expected_scores(row.article.text, schema), row.article.id
            assert row.model_version == MODEL
        assert len({row.article.id for row in rows}) == len(rows)
        return {row.article.id: row.scores for row in rows}

    def spent(self) -> float:
        with Store(self.workspace / "labels.db", create=False) as store:
            return store.spent().usd

    def until(self, requests: int, process: subprocess.Popen[bytes]) -> None:
        while self.server.requests < requests and process.poll() is None:
            time.sleep(0.005)
        assert process.poll() is None, "it ended before it could be killed"


@pytest.fixture(params=["gemini", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("openai", "anthropic"))])
def oracle(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def make(workspace: Workspace, oracle: str) -> Any:
    """A desk with a provider as the test wants it."""
    opened: list[FakeLLM] = []
    workspace.env |= {f"{name}_API_KEY": SECRET for name in ("GEMINI", "OPENAI", "ANTHROPIC")}

    def make(**options: Any) -> Desk:
        server = FakeLLM(**{"retry_after_s": 0.1, **options})
        opened.append(server)
        return Desk(workspace, oracle, server.__enter__())

    yield make
    for server in opened:
        server.__exit__(None, None, None)


def test_through_every_kind_of_trouble_each_article_gets_its_own_true_label(make: Any) -> None:
    faults = {"rate_limit": 0.05, "server_error": 0.03, "malformed": 0.03, "out_of_range": 0.01, "missing": 0.01}
    desk = make(faults=faults, latency_s=0.02)
    desk.articles(300)
    report = desk.label()
    assert (report["new"], report["failed"]) == (300, 0)
    assert len(desk.labels()) == 300
    seen = Counter(exchange.fault for exchange in desk.server.exchanges)
    assert all(seen[fault] for fault in faults), "the trouble was real"
    assert desk.server.requests == report["attempts"] == 300 + sum(seen[fault] for fault in faults)


def test_replies_that_only_look_right_never_count(make: Any) -> None:
    kinds = [
        "truncated",
        "cut_silently",
        "wrong_type",
        "extra",
        "nan",
        "empty",
        "sloppy",
        "fenced",
        "drop",
        "bad_gateway",
    ]
    desk = make(faults=dict.fromkeys(kinds, 0.05), latency_s=0.01)
    (desk.workspace / "filterkit.yaml").write_text(f"{PRICES}label: {{max_attempts: 12}}\n")
    desk.articles(200)
    assert desk.label()["new"] == 200
    assert len(desk.labels()) == 200


def test_articles_that_fail_every_time_cost_the_limit_and_the_rest_is_labelled(make: Any) -> None:
    desk = make(always={"HOPELESS": "malformed", "FORBIDDEN": "blocked"})
    desk.articles(60, n3="HOPELESS", n30="HOPELESS", n50="FORBIDDEN")
    report = desk.label(code=3)
    assert (report["new"], report["failed"]) == (57, 3)
    assert dict(report["failures"]).keys() == {"a000003", "a000030", "a000050"}
    assert desk.server.requests == 57 + 2 * 4 + 1
    again = desk.label(code=3)
    assert (again["attempts"], again["failed_before"]) == (0, 3)
    desk.server.change(always={})
    retried = desk.label("--retry-failed")
    assert (retried["new"], retried["attempts"]) == (3, 3)
    assert len(desk.labels()) == 60


def test_after_a_kill_only_what_was_in_flight_is_sent_again(make: Any) -> None:
    desk = make(latency_s=0.1)
    desk.articles(300)
    killed = 0
    for requests in (30, 120, 200):
        process = desk.start()
        desk.until(requests, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
        desk.labels()
    desk.label()
    assert len(desk.labels()) == 300
    assert desk.server.requests <= 300 + killed * 20
    assert desk.label()["attempts"] == 0
    desk.articles(301)
    assert desk.label()["attempts"] == 1


def test_a_changed_rubric_is_said_with_its_price_before_it_is_asked(make: Any) -> None:
    desk = make()
    desk.articles(30)
    desk.label()
    (desk.workspace / "tiny" / "v1" / "prompt.md").write_text("Judge otherwise.\n\n{{article}}\n")
    done = desk.workspace.ok(*desk.arguments())
    assert re.search(r"rubric.* changed since 30 articles were labelled.*\n.*30 of these .*about \$0\.\d+", done.stderr)
    assert desk.server.requests == 60


def test_the_budget_holds_while_many_are_in_flight_over_a_kill_and_over_two_processes(make: Any) -> None:
    desk = make(latency_s=0.05)
    desk.articles(400)
    with (desk.workspace / "tiny" / "v1" / "filter.yaml").open("a") as file:
        file.write("generation: {max_output_tokens: 128}\n")
    budget = 0.08  # an attempt costs about 0.0004 dollars and at most 0.0010
    process = desk.start("--max-cost", budget)
    desk.until(40, process)
    process.kill()
    process.wait()
    both = [desk.start("--max-cost", budget) for _ in range(2)]
    assert [process.wait(60) for process in both] == [4, 4]
    paid = sum(e.input_tokens * 1e-6 + e.output_tokens * 4e-6 for e in desk.server.exchanges if e.status == 200)
    assert 0.3 * budget < paid <= budget
    assert paid <= desk.spent() <= budget, "the ledger counts what the kill left open at its most"
    assert 0 < len(desk.labels()) < 400
    desk.refused("--max-cost", budget, code=4, says="Give a higher --max-cost")
    assert desk.label("--max-cost", 100)["failed"] == 0
    assert len(desk.labels()) == 400


def test_a_quota_of_the_day_ends_it_within_a_round(make: Any) -> None:
    desk = make(requests_per_day=50, latency_s=0.02)
    desk.articles(300)
    desk.refused(code=4, says="the quota of the day is used up")
    assert desk.server.answered == 50
    assert desk.server.requests <= 50 + 2 * 20
    assert len(desk.labels()) == 50


def test_another_model_ends_it_and_its_answers_are_no_labels(make: Any) -> None:
    desk = make(latency_s=0.02)
    desk.articles(300)
    process = desk.start()
    desk.until(60, process)
    desk.server.change(model_version="model-1-lite")
    assert process.wait(60) == 2
    before = len(desk.labels())
    assert 0 < before < 300
    desk.server.reset()
    line = desk.refused(code=2, says=["asked model-1, and 'model-1-lite' replied", "oracle.aliases"])
    assert desk.server.requests <= 20
    assert SECRET not in line
    assert len(desk.labels()) == before


@pytest.mark.parametrize("fault", ["unauthorized", "no_balance", "forbidden", "unknown_model"])
def test_what_no_further_request_can_mend_ends_it_at_once(make: Any, fault: str) -> None:
    desk = make(faults={fault: 1.0})
    desk.articles(300)
    line = desk.refused(code=2, says=f"oracle {desk.oracle}")
    assert desk.server.requests <= 2 * 20
    assert SECRET not in line
    with sqlite3.connect(desk.workspace / "labels.db") as db:
        assert db.execute("SELECT count(*) FROM failures").fetchone() == (0,), "no article is to blame"
    assert desk.spent() == 0


def test_limits_of_the_provider_are_kept_by_waiting_as_it_says(make: Any) -> None:
    desk = make(requests_per_minute=40, window_s=0.5, retry_after_s=0.2)
    desk.articles(150)
    assert desk.label()["new"] == 150
    assert desk.server.requests < 150 * 1.5, "it did not hammer"
    assert len(desk.labels()) == 150


def test_no_secret_gets_anywhere(make: Any) -> None:
    desk = make(faults={"server_error": 0.3})
    desk.articles(40)
    done = desk.workspace.run(*desk.arguments())
    assert SECRET not in done.stdout + done.stderr
    for path in Path(desk.workspace.root).rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_a_labeller_never_has_more_in_flight_than_it_was_told(make: Any) -> None:
    desk = make(latency_s=0.1)
    desk.concurrency(150)
    desk.articles(600)
    desk.label()
    assert 100 < desk.server.max_in_flight <= 150
