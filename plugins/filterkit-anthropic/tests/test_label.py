"""`filterkit label` as a process, through the real SDK, against a provider that goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from filterkit.api import load_filter
from filterkit.prompt import reply_schema
from filterkit.store import Store
from filterkit.testing import sample_articles
from filterkit.testing.fake_llm import FakeLLM, expected_scores

MODEL = "model-1"
PRICES = "prices:\n  model-1: {input: 1.0, cached_input: 0.1, output: 4.0, as_of: 2026-01-31, source: test}\n"
SECRET = "sk-ant-test-0123456789abcdef"
FILTER = """\
schema: 1
name: tiny
version: "1"
dimensions:
  - {name: help, weight: 0.75, description: people help each other}
  - {name: novelty, weight: 0.25, description: something new and workable}
"""


class Desk:
    """A workspace with a filter and articles, and what the command says in it."""

    def __init__(self, root: Path, count: int = 40) -> None:
        self.root, self.filter = root, root / "tiny" / "v1"
        self.filter.mkdir(parents=True)
        (self.filter / "filter.yaml").write_text(FILTER)
        (self.filter / "prompt.md").write_text(
            "Score the article.\n\n" + "A rubric of many words. " * 40 + "{{article}}\n"
        )
        (root / "filterkit.yaml").write_text(PRICES + "label: {max_attempts: 12}\n")
        rows = [{"id": a.id, "title": a.title, "content": a.content} for a in sample_articles(count)]
        (root / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def label(self, server: FakeLLM, *more: str, code: int = 0) -> str:
        """Its output. Anthropic's key is nowhere in it, nor does it go to the provider, who is none of Anthropic's."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("FILTERKIT_", "ANTHROPIC_"))}
        options = ["--oracle", "anthropic", "-O", f"base_url={server.url}", "-O", f"oracle.model={MODEL}"]
        options += more
        done = subprocess.run(
            [sys.executable, "-m", "filterkit", "label", "tiny/v1", "--articles", "in.jsonl", *options],
            cwd=self.root,
            env={**clean, "ANTHROPIC_API_KEY": SECRET},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert SECRET not in said + str([exchange.headers for exchange in server.exchanges])
        assert "Traceback" not in said
        return done.stdout if code in (0, 3) else said

    def report(self, server: FakeLLM, *more: str, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.label(server, "--json", *more, code=code))
        return found

    def look(self, server: FakeLLM, batch: str) -> None:
        """The fake goes on with a batch when somebody looks at it."""
        headers = {"x-api-key": "k", "anthropic-version": "2026-10-21"}
        request = urllib.request.Request(f"{server.url}/v1/messages/batches/{batch}", headers=headers)
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).close()

    def labels(self) -> int:
        """How many labels there are, each of them proved right."""
        filter = load_filter(self.filter)
        schema = reply_schema(filter.spec)
        with Store(self.root / "labels.db", create=False) as store:
            rows = list(store.labelled(filter.request_hash()))
        for row in rows:
            assert row.scores == expected_scores(row.article.text, schema), row.article.id
            assert row.model_version == MODEL
        return len({row.article.id for row in rows})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize("structured", ["json_schema", pytest.param("tool", marks=pytest.mark.heavy)])
def test_through_every_kind_of_trouble_each_article_gets_its_own_true_label(desk: Desk, structured: str) -> None:
    kinds = ["rate_limit", "server_error", "bad_gateway", "drop", "malformed", "truncated", "missing", "out_of_range"]
    kinds += ["wrong_type", "nan", "duplicate", "sloppy", "empty", "extra"]
    with FakeLLM(script=[*kinds, *["ok"] * 5, *kinds], retry_after_s=0.05, min_cached_tokens=16) as server:
        report = desk.report(server, "-O", f"structured={structured}")
        seen = Counter(exchange.fault for exchange in server.exchanges)
        tokens = server.state()["tokens"]
        requests = server.requests
    assert (report["new"], report["failed"]) == (40, 0)
    assert desk.labels() == 40
    assert all(seen[kind] == 2 for kind in kinds), "the trouble was real"
    assert requests == report["attempts"] == 40 + 2 * (len(kinds) - 1), "only what is merely sloppy is mended"
    assert report["cached_tokens"] > 0.5 * tokens["cached"]


@pytest.mark.heavy
def test_a_second_run_asks_nothing(desk: Desk) -> None:
    with FakeLLM() as server:
        desk.report(server)
        assert desk.report(server)["new"] == 0
        assert server.requests == 40


def test_the_ledger_holds_what_was_used(desk: Desk) -> None:
    with FakeLLM(min_cached_tokens=16) as server:
        report = desk.report(server)
        used = server.state()["tokens"]
    fresh = used["input"] - used["cached"]
    assert used["cached"] > 0
    assert report["cost_usd"] == pytest.approx((fresh * 1.0 + used["cached"] * 0.1 + used["output"] * 4.0) / 1e6)


@pytest.mark.heavy
def test_a_refused_article_fails_alone(desk: Desk) -> None:
    with FakeLLM(always={"Notice 7 ": "refused", "Notice 9 ": "blocked"}) as server:
        report = desk.report(server, code=3)
        assert (report["new"], report["failed"]) == (38, 2)
        assert server.requests == 40


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("no_credit", "Add credit"),
        pytest.param("invalid_key", "api_key_env", marks=pytest.mark.heavy),
        pytest.param("no_balance", "Add credit", marks=pytest.mark.heavy),
        pytest.param("unknown_model", MODEL, marks=pytest.mark.heavy),
    ],
)
def test_what_ends_the_run_says_what_to_do(desk: Desk, fault: str, says: str) -> None:
    with FakeLLM(faults={fault: 1.0}) as server:
        assert says in desk.label(server, code=2)


@pytest.mark.heavy
def test_the_end_of_a_day_s_quota_can_be_taken_up_again(desk: Desk) -> None:
    with FakeLLM(requests_per_day=10) as server:
        desk.label(server, code=4)
        assert desk.labels() == 10
        server.change(requests_per_day=None)
        assert desk.report(server)["new"] == 30


def test_a_limit_of_cost_needs_a_price(desk: Desk) -> None:
    (desk.root / "filterkit.yaml").write_text("{}\n")
    with FakeLLM() as server:
        assert "prices" in desk.label(server, "--max-cost", "1", code=2)
        assert server.requests == 0


@pytest.mark.heavy
def test_a_batch_whose_acceptance_got_lost_is_told_when_it_has_ended_and_paid_once(desk: Desk) -> None:
    (desk.root / "filterkit.yaml").write_text(PRICES + "label: {settle_s: 0.1}\n")
    with FakeLLM(batch_script=["submit_lost"], batch_lag_s=8) as server:
        said = desk.label(server, "--batch", code=4)
        (job,) = server.batches()
        assert job["id"] in said
        assert "filterkit jobs attach" in said
        said = desk.label(server, "--batch", code=4)
        assert job["id"] in said, "it is still running, and nothing is asked twice"
        server.change(batch_lag_s=0.1)
        while server.batches()[0]["status"] != "succeeded":
            time.sleep(0.2)
            desk.look(server, job["id"])
        assert desk.report(server, "--batch")["new"] == 40
        assert desk.labels() == 40
        paid, tokens = server.paid(), server.state()["batch_tokens"]
        assert (set(paid["batch"].values()), paid["live"], len(server.batches())) == ({1}, {}, 1)
    cached = tokens["cached"]
    full = ((tokens["input"] - cached) * 1.0 + cached * 0.1 + tokens["output"] * 4.0) / 1e6
    with Store(desk.root / "labels.db", create=False) as store:
        assert store.spent().usd == pytest.approx(full / 2), "half price in the ledger"


@pytest.mark.heavy
def test_another_model_that_replies_ends_the_run(desk: Desk) -> None:
    with FakeLLM(model_version="another") as server:
        assert "another" in desk.label(server, code=2)
