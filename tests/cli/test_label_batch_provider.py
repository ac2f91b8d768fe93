"""`filterkit label --batch` through the real SDKs and the batch protocols of the fake provider."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import Inside, Workspace, unlabelled, write_jsonl

from filterkit.filters import load_filter
from filterkit.prompt import reply_schema
from filterkit.store import Store
from filterkit.testing.fake_llm import FakeLLM, expected_scores

MODEL = "model-1"
SETTINGS = (
    "prices:\n  model-1: {input: 1.0, output: 4.0, as_of: 2026-01-31, source: test}\n"
    "label: {settle_s: 0.3, max_attempts: 9}\n"
)
KILLS, STOPPED = 20, 4
LAG_S = 12.0  # long enough for so many kills, with three jobs or more
KEYS = {f"{name}_API_KEY": "sk-test-0123456789abcdef" for name in ("GEMINI", "OPENAI", "ANTHROPIC")}


class Desk:
    """A workspace, and a provider in a process of its own that outlives every command."""

    def __init__(self, workspace: Workspace, inside: Inside, oracle: str, server: FakeLLM) -> None:
        self.workspace, self.inside, self.oracle, self.server = workspace, inside, oracle, server
        workspace.env |= KEYS
        (workspace / "filterkit.yaml").write_text(SETTINGS)

    def articles(self, count: int) -> None:
        write_jsonl(self.workspace / "in.jsonl", unlabelled(count))

    def arguments(self, *more: object) -> list[object]:
        url = self.server.openai_url if self.oracle == "openai" else self.server.url
        options = ["--oracle", self.oracle, "-O", f"base_url={url}", "-O", f"oracle.model={MODEL}"]
        options += ["-O", "oracle.batches=true"] if self.oracle == "openai" else []
        return ["label", "tiny/v1", "--articles", "in.jsonl", *options, "--batch", *more]

    def label(self, *more: object, code: int = 0) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.inside(*self.arguments(*more), "--json", code=code).out)
        return report

    def settle_up(self, count: int, *, answers: int | None = None) -> None:
        """Each article has its one true label and was charged once, at half price; the ledger is what was charged.

        answers: how many answers were charged in all, where some articles needed several.
        """
        filter = load_filter(self.workspace.filter)
        schema = reply_schema(filter.spec)
        with Store(self.workspace / "labels.db", create=False) as store:
            rows, spent = list(store.labelled(filter.request_hash())), store.spent()
        for row in rows:
            assert row.scores == expected_scores(row.article.text, schema), row.article.id
        assert len({row.article.id for row in rows}) == len(rows) == count
        paid, tokens = self.server.paid(), self.server.state()["batch_tokens"]
        assert paid["live"] == {}
        assert len(paid["batch"]) == count
        assert sum(paid["batch"].values()) == (count if answers is None else answers)
        assert spent.held_usd == 0
        assert spent.usd == pytest.approx(0.5 * (tokens["input"] + 4 * tokens["output"]) / 1e6, rel=1e-9)


@pytest.fixture(params=["gemini", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("openai", "anthropic"))])
def oracle(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def make(
    workspace: Workspace, oracle: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Desk]]:
    """A desk with a provider as the test wants it."""
    opened: list[FakeLLM] = []
    monkeypatch.chdir(workspace.root)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)

    def make(**options: Any) -> Desk:
        server = FakeLLM(**{"process": True, "record": False, "min_cached_tokens": 10**9, **options})
        opened.append(server)
        return Desk(workspace, Inside(workspace.root, capsys), oracle, server.__enter__())

    yield make
    for server in opened:
        server.__exit__(None, None, None)


def test_submit_leave_come_back(make: Callable[..., Desk]) -> None:
    desk = make(batch_lag_s=3600.0)
    desk.articles(50)
    for _ in range(2):
        assert desk.label(code=4)["in_jobs"] == 50
    (job,) = desk.server.batches()
    assert (job["requests"], job["counts"]) == (50, {})
    desk.server.reset()  # the provider has forgotten it, as one that nobody collected in time
    desk.server.change(batch_lag_s=0.0)
    assert "is lost" in desk.label("--wait", code=4)["error"]
    assert desk.label("--wait")["new"] == 50
    assert set(desk.server.paid()["batch"].values()) == {1}


def test_half_price_before_and_after(make: Callable[..., Desk]) -> None:
    desk = make(batch_lag_s=0.0)
    desk.articles(30)
    live = [argument for argument in desk.arguments("--dry-run", "--json") if argument != "--batch"]
    full, half = json.loads(desk.inside(*live).out), desk.label("--dry-run")
    for price in ("usd", "most_usd"):
        assert half[price] == pytest.approx(full[price] / 2)
    desk.label("--wait")
    desk.settle_up(30)


def test_jobs_that_did_not_go_as_they_should_end_as_labels_and_a_remainder(make: Callable[..., Desk]) -> None:
    script = ["upload_cut", "submit_lost", "expires", "submit_error", "stopped", "unanswered", "results_cut"]
    desk = make(batch_lag_s=0.0, batch_script=script, batch_faults={"shuffled": 0.5, "repeated": 0.5})
    desk.articles(80)
    desk.label("--wait")
    desk.settle_up(80)
    assert len(desk.server.batches()) >= 4


def test_answers_that_are_none_are_asked_for_again(make: Callable[..., Desk]) -> None:
    faults = {"malformed": 0.1, "truncated": 0.1, "missing": 0.1, "out_of_range": 0.05, "empty": 0.05}
    desk = make(batch_lag_s=0.0, faults=faults)
    desk.articles(60)
    desk.label("--wait")
    desk.settle_up(60, answers=60 + sum(desk.server.state()["faults"].get(name, 0) for name in faults))


@pytest.mark.heavy
def test_killed_at_twenty_instants_each_article_is_paid_once(make: Callable[..., Desk]) -> None:
    """2,000 articles; jobs whose submit is cut off, that expire and are stopped; kill -9 before, in and after all."""
    script = ["submit_lost", "expires", "submit_lost", "stopped", "submit_lost"]
    desk = make(batch_lag_s=LAG_S, batch_script=script, batch_faults={"shuffled": 0.5, "repeated": 0.5})
    desk.articles(2000)
    chance, killed, code = random.Random(7), 0, STOPPED
    while code == STOPPED:  # also where a provider cannot say which job is which before they end
        process = desk.workspace.start(*desk.arguments("--wait"))
        if killed < KILLS:
            wait_for(process, desk.server, chance.randrange(3))
            time.sleep(chance.uniform(0.0, 0.4))
            if process.poll() is None:
                process.kill()
                killed += 1
        code = process.wait(300)
        code = STOPPED if code == -signal.SIGKILL else code
    assert code == 0
    assert killed >= KILLS / 2, "it was done too early to be killed so often"
    desk.settle_up(2000)


def wait_for(process: subprocess.Popen[bytes], server: FakeLLM, more: int) -> None:
    """Until the process has sent so many requests; for none, some moment before."""
    if not more:
        time.sleep(0.5)
    before = server.state()["others"]
    while process.poll() is None and server.state()["others"] < before + more:
        time.sleep(0.01)
