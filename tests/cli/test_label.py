"""`filterkit label` as somebody types it: what it says before, during and after it spends money."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers import FILTER, PROMPT, Workspace, command, labelled, unlabelled, write_filter, write_jsonl

from filterkit.filters import load_filter
from filterkit.io import read_articles
from filterkit.pipeline.pilot import Sample
from filterkit.prompt import sent_text
from filterkit.records import sha256_text
from filterkit.store import Key, Store
from filterkit.testing.fake_llm import FakeLLM

PLUGIN = """
from filterkit.api import hookimpl

@hookimpl
def register_oracles(register):
    register("paid", "acme_oracle.oracle:PaidOracle", summary="costs money")

@hookimpl
def register_prices(register):
    register("big", input=1000.0, output=2000.0, as_of="2026-11-01", source="the acme price list")
    register("other", input=1000.0, output=2000.0, as_of="2026-11-01", source="the acme price list")
"""
ORACLE = '''
"""Counts what it is asked in `asked.txt`; every answer is 100 tokens in and 50 out. Words in an article misbehave."""

import asyncio
import json

from filterkit.api import Oracle, OracleOptions, RateLimited, Refused, Reply, Usage


class PaidOptions(OracleOptions):
    model: str = "big"
    latency_s: float = 0.0
    per_day: int = 10**9


class PaidOracle(Oracle[PaidOptions]):
    Options = PaidOptions

    def __init__(self, options, spec, ctx):
        super().__init__(options, spec, ctx)
        self.key = ctx.secret("ACME_KEY")
        self.asked = 0

    async def complete(self, request):
        with open(self.ctx.root / "asked.txt", "a") as file:
            print(request.key, file=file)
        self.asked += 1
        if self.asked > self.options.per_day:
            raise RateLimited("500 requests a day", scope="day")
        await asyncio.sleep(self.options.latency_s)
        if "nasty" in request.article:
            raise Refused("no \\x07\\u202ered words")
        score = 7 if "advert0" in request.article else 2
        scores = {name: score for name in self.spec.names}
        version = "big-002" if "helps3" in request.article else "big-001"
        version = version if request.model == "big" else request.model
        return Reply(text=json.dumps(scores), usage=Usage(input=100, output=50), model_version=version)

    def count_tokens(self, request):
        return 100
'''
EACH_USD = 0.2
"""What an answer costs: 100 tokens in at $1,000 and 50 out at $2,000 a million."""


@pytest.fixture
def paid(tmp_path: Path, site: Any) -> Workspace:
    """A workspace whose oracle costs money and needs a key, with 60 articles."""
    site.add("acme-oracle", plugin=PLUGIN, files={"acme_oracle/oracle.py": ORACLE})
    root = tmp_path / "workspace"
    root.mkdir()
    workspace = Workspace(root, site.path)
    workspace.env["ACME_KEY"] = "key-of-acme"
    write_jsonl(root / "in.jsonl", unlabelled(60))
    return workspace


LABEL = ["label", "tiny/v1", "--articles", "in.jsonl", "--oracle", "paid"]


def asked(workspace: Workspace) -> int:
    """Requests that were sent so far."""
    file = workspace / "asked.txt"
    return len(file.read_text().splitlines()) if file.exists() else 0


def as_json(workspace: Workspace, *arguments: object, code: int = 0) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(workspace.ok(*arguments, "--json", code=code).stdout)
    return found


def change_rubric(workspace: Workspace) -> None:
    write_filter(workspace.root / "tiny" / "v1", prompt=PROMPT.replace("Score", "Rate"))


# Before


def test_a_dry_run_tells_the_price_and_sends_and_writes_nothing(paid: Workspace) -> None:
    del paid.env["ACME_KEY"]
    said = paid.ok(*LABEL, "--dry-run").stdout
    assert "60 articles: 60 to be asked" in said
    assert "6k (counted)" in said
    assert "big: $1000.00 in, $2000.00 out per million tokens, as of 2026-11-01, the acme price list" in said
    assert "Nothing was sent." in said
    found = as_json(paid, *LABEL, "--dry-run")
    assert (found["dry_run"], found["read"], found["to_ask"], found["input_tokens"]) == (True, 60, 60, 6000)
    assert found["usd"] < found["most_usd"]
    assert asked(paid) == 0
    assert not list(paid.root.glob("labels.db*"))


def test_a_dry_run_sees_what_is_labelled_already_and_leaves_the_store_as_it_is(paid: Workspace) -> None:
    paid.ok(*LABEL, "--limit", "20")
    write_jsonl(paid / "more.jsonl", [*unlabelled(60), *unlabelled(3), {"id": "x", "content": "Short"}, b"{"])
    before = (paid / "labels.db").read_bytes()
    label = [*LABEL[:3], "more.jsonl", *LABEL[4:], "--dry-run"]
    found = as_json(paid, *label)
    assert {k: found[k] for k in ("read", "already", "duplicates", "to_ask", "short", "rejected")} == {
        "read": 64, "already": 20, "duplicates": 3, "to_ask": 41, "short": 1, "rejected": 1,
    }  # fmt: skip
    assert found["usd"] == pytest.approx(41 * EACH_USD)
    assert "more.jsonl:65" in paid.ok(*label).stdout
    assert (paid / "labels.db").read_bytes() == before
    assert not list(paid.root.glob("*.rejected.jsonl"))


def test_an_unknown_price_is_said_and_a_budget_then_asks_for_one(paid: Workspace) -> None:
    unknown = [*LABEL, "-O", "model=new:7b"]
    assert "unknown: no price is known for new:7b" in paid.ok(*unknown, "--dry-run").stdout
    error = paid.refused(*unknown, "--max-cost", "5", says=("new:7b", "prices:"))
    assert asked(paid) == 0
    assert not (paid / "labels.db").exists()
    [snippet] = re.findall(r"`(prices: .*)`", error)
    (paid / "filterkit.yaml").write_text(snippet)  # as it stands there
    assert "new:7b: $0.10 in, $0.40 out" in paid.ok(*unknown, "--dry-run").stdout
    paid.ok(*unknown, "--max-cost", "5")
    assert asked(paid) == 60


def test_a_budget_must_be_an_amount_of_money(paid: Workspace) -> None:
    for wrong in ("nan", "inf", "0", "-1", "much"):
        assert paid.run(*LABEL, "--max-cost", wrong).returncode == 2
    assert asked(paid) == 0


def test_a_budget_holds_over_several_runs_and_says_how_much_is_left(paid: Workspace) -> None:
    # an attempt reserves 2,048 tokens out, so the reserve is far above the cost of an answer
    done = paid.run(*LABEL, "-O", "model=big", "--max-cost", "10")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "so far $0.00 of $10.00" in done.stderr
    spent = asked(paid) * EACH_USD
    assert 10 - 4.3 < spent <= 10
    assert f"${spent:.2f} of $10.00 is spent" in done.stdout
    again = paid.run(*LABEL, "--max-cost", "10")
    assert again.returncode == 4
    assert f"so far ${spent:.2f} of $10.00" in again.stderr
    assert asked(paid) * EACH_USD == pytest.approx(spent)
    assert as_json(paid, *LABEL, "--max-cost", "100")["new"] == 60 - round(spent / EACH_USD)


def test_a_changed_rubric_is_said_with_its_price_before_anything_is_asked(paid: Workspace) -> None:
    assert "changed" not in paid.ok(*LABEL).stderr
    change_rubric(paid)
    dry = paid.ok(*LABEL, "--dry-run").stderr
    done = paid.ok(*LABEL, "--limit", "40")
    assert "the rubric (or its settings) changed since 60 articles were labelled" in dry
    assert "60 of these will be asked again, about $" in dry
    assert "40 of these will be asked again, about $" in done.stderr
    assert "(big, price of 2026-11-01)" in done.stderr
    assert asked(paid) == 100
    assert "20 of these will be asked again" in paid.ok(*LABEL).stderr
    assert "changed" not in paid.ok(*LABEL).stderr


def test_a_change_of_the_model_is_said_too(paid: Workspace) -> None:
    paid.ok(*LABEL)
    said = paid.ok(*LABEL, "-O", "model=other").stderr
    assert "60 articles were labelled by paid big, whose labels are not used" in said
    assert "rubric" not in said


def test_new_articles_under_an_old_rubric_say_nothing(paid: Workspace) -> None:
    paid.ok(*LABEL, "--limit", "5")
    assert "changed" not in paid.ok(*LABEL).stderr


def test_run_tells_of_a_changed_rubric_and_keeps_a_budget_as_label_does(paid: Workspace) -> None:
    paid.ok(*LABEL)
    change_rubric(paid)
    run = ["run", "tiny/v1", "--articles", "in.jsonl", "--oracle", "paid"]
    done = paid.run(*run, "--max-cost", "6")
    assert done.returncode == 4
    assert "60 of these will be asked again" in done.stderr
    assert (asked(paid) - 60) * EACH_USD <= 6


def test_a_change_is_said_also_where_more_was_labelled_since_and_never_of_other_articles(paid: Workspace) -> None:
    paid.ok(*LABEL, "--limit", "20")
    change_rubric(paid)
    write_jsonl(paid / "more.jsonl", [*unlabelled(60)][20:])
    more = [*LABEL[:3], "more.jsonl", *LABEL[4:]]
    assert "changed" not in paid.ok(*more).stderr  # the 20 are not among these
    for arguments in ([*LABEL, "--dry-run"], LABEL):
        said = paid.ok(*arguments).stderr
        assert "changed since 20 articles were labelled" in said
        assert "20 of these will be asked again" in said


def test_a_new_label_store_is_named_once_before_anything_is_asked(paid: Workspace) -> None:
    assert "label store" not in paid.ok(*LABEL, "--dry-run").stderr
    assert paid.ok(*LABEL, "--limit", "1").stderr.count("new label store: labels.db") == 1
    assert "label store" not in paid.ok(*LABEL).stderr


def test_a_dry_run_refuses_the_budget_that_the_real_run_refuses_in_the_same_words(paid: Workspace) -> None:
    unknown = [*LABEL, "-O", "model=new:7b", "--max-cost", "1"]
    dry = paid.ok(*unknown, "--dry-run", code=2)
    assert "60 to be asked" in dry.stdout
    assert "Without --dry-run this will be refused" in dry.stderr
    assert dry.stderr.splitlines()[-1] == paid.refused(*unknown)
    assert "a budget needs a price" in as_json(paid, *unknown, "--dry-run", code=2)["refused"]


def test_what_only_looks_or_never_starts_leaves_no_folder_behind(paid: Workspace) -> None:
    paid.ok(*LABEL, "--dry-run")
    paid.refused(*LABEL[:-1], "piad", says="piad")
    del paid.env["ACME_KEY"]
    paid.refused(*LABEL, says="ACME_KEY")
    assert not (paid / ".filterkit").exists()
    assert not (paid / "labels.db").exists()


def test_money_of_unknown_amount_and_money_that_is_held_are_said(paid: Workspace) -> None:
    paid.ok(*LABEL, "--limit", "3")
    with Store(paid / "labels.db", create=False) as store:
        [count] = store.questions()
        states = [Key("0" * 63 + digit) for digit in "12"]
        with store.owner() as owner:
            store.claim(count.question, states, owner, reserved_usd=[None, 0.04])
    first = "so far $0.64 of $90.00 and 1 request of unknown cost"
    done = paid.ok(*LABEL, "--max-cost", "90")
    assert first in done.stderr
    assert "$12.04 of $90.00 and 1 request of unknown cost is spent, $0.040 of it held for requests" in done.stdout
    assert "$0.040 of it held for requests without an answer" in paid.ok(*LABEL).stdout


def test_the_help_names_the_formats_and_when_it_asks(paid: Workspace) -> None:
    said = " ".join(paid.ok("label", "--help").stdout.split())
    for words in (".jsonl.gz", ".jsonl.zst", ".parquet", "on a terminal", "another rubric or model"):
        assert words in said.replace("labels of another", "another")


# What it is given


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("in.csv", b"", "looks like CSV; give JSON lines or Parquet"),
        ("in.tsv.gz", b"", "looks like CSV"),
        ("in.xlsx", b"PK", "is a spreadsheet; give JSON lines or Parquet"),
        ("in.txt", b'id,"title",content\n1,Rain,"It rains, again"\n', "looks like CSV"),
        ("one.json", b'[\n {"content": "x"},\n {"content": "y"}\n]', "is one JSON array; give one object a line"),
        ("line.json", b'[{"content": "x"}, {"content": "y"}]', "is one JSON array"),
    ],
)
def test_files_of_another_format_are_refused_before_anything_is_asked(
    paid: Workspace, name: str, content: bytes, says: str
) -> None:
    (paid / name).write_bytes(content)
    for more in ([], ["--dry-run"], ["--pilot"]):
        paid.refused(*LABEL, "--articles", name, *more, says=(name, says))
    assert asked(paid) == 0
    assert not (paid / "labels.db").exists()
    assert not list(paid.root.glob("*.rejected.jsonl"))


def test_no_articles_are_warned_of(paid: Workspace) -> None:
    (paid / "in.jsonl").write_bytes(b"\n")
    for more in ([], ["--dry-run"], ["--json"]):
        assert "Warning: no articles" in paid.ok(*LABEL, *more).stderr


def test_why_a_line_is_no_article_is_said_with_the_columns_that_there_are(paid: Workspace) -> None:
    done = paid.ok(*LABEL, "--fields", "content=body", "--limit", "3", code=3)
    assert (
        "60 lines could not be read: the first of them in.jsonl:1: content is missing: there is no 'body'"
        in done.stderr
    )
    assert "'title', 'content'" in done.stderr
    write_jsonl(paid / "in.jsonl", [*unlabelled(1), b'{"content": "and th'])
    done = paid.ok(*LABEL, code=3)
    assert "1 article: 1 labelled now" in done.stdout
    assert "1 line could not be read: in.jsonl:2: the line is cut off or malformed JSON" in done.stderr


# A pilot


def test_a_pilot_shows_base_rates_and_the_price_of_the_rest(paid: Workspace) -> None:
    done = paid.ok(*LABEL, "--pilot", "25")
    assert asked(paid) == 25
    assert "The scores of 25 of 25 articles:" in done.stdout
    assert re.search(r"^help +\d\.\d\d +\d\.\d\d +0% +0% +\d+% +\|.{10}\|$", done.stdout, re.M), done.stdout
    assert re.search(r"^is_advert \(flag\)", done.stdout, re.M)
    assert "25 requests, $5.00, $0.20 each; 100 tokens in, 50 out for an article" in done.stdout
    assert "The rest: 35 articles, about $7.00." in done.stdout
    [way_on] = re.findall(r"^Go on: filterkit (.*)$", done.stdout, re.M)
    assert "--pilot" not in way_on
    assert way_on.endswith("--max-cost 16.20")  # $5 + $7, and room for the worst of one answer


def test_a_pilot_is_paid_for_once_and_its_labels_are_kept(paid: Workspace) -> None:
    first = as_json(paid, *LABEL, "--pilot", "25")
    again = as_json(paid, *LABEL, "--pilot", "25")
    assert asked(paid) == 25
    assert again["label"]["already"] == 25
    assert again["pilot"]["dimensions"] == first["pilot"]["dimensions"]
    assert (again["pilot"]["cost_usd"], again["pilot"]["rest"]["to_ask"]) == (pytest.approx(5.0), 35)
    paid.ok(*LABEL)
    assert asked(paid) == 60
    assert "There is no rest" in paid.ok(*LABEL, "--pilot", "25").stdout


def test_a_pilot_takes_50_unless_told_otherwise_also_before_other_options(paid: Workspace) -> None:
    paid.ok(*LABEL, "--pilot", "--limit", "55")
    assert asked(paid) == 50


def test_a_pilot_and_a_dry_run_exclude_each_other(paid: Workspace) -> None:
    assert "choose one" in paid.run(*LABEL, "--pilot", "--dry-run").stderr


def test_a_pilot_leaves_tiers_out_by_name_where_their_plugin_is_missing(paid: Workspace) -> None:
    tiers = "postfilter: {use: tiers, tiers: [{name: high, at_least: 7}, {name: low}]}\n"
    write_filter(paid.root / "tiny" / "v1", FILTER + tiers)
    paid.env["FILTERKIT_DISABLE_PLUGINS"] = "filterkit-postfilter"
    assert "tiers are left out: postfilter tiers: there is no postfilter 'tiers'" in paid.ok(*LABEL, "--pilot").stdout


def test_a_pilot_that_failed_says_why_and_how_to_go_on(paid: Workspace) -> None:
    write_jsonl(paid / "in.jsonl", [{"id": f"{i}", "content": f"nasty {i}"} for i in range(30)])
    done = paid.ok(*LABEL, "--pilot", "30", code=3)
    assert "labelled." not in done.stdout.split("request")[-1]
    assert re.search(r"All of the sample failed, the first of them: no +red words", done.stdout), done.stdout
    assert re.search(r"^  filterkit label .*--pilot 30 --retry-failed$", done.stdout, re.M)
    write_jsonl(paid / "in.jsonl", [*unlabelled(25), {"id": "bad", "content": "nasty 1"}])
    done = paid.ok(*LABEL, "--pilot", "30", code=3)
    assert "There is no rest, but 1 article failed" in done.stdout
    assert re.search(r"^  filterkit label .*paid --retry-failed$", done.stdout, re.M)


def test_a_pilot_tells_what_this_run_took_and_what_earlier_ones_did(paid: Workspace) -> None:
    assert "took 25 requests, $5.00" in paid.ok(*LABEL, "--pilot", "25").stdout
    assert "took 30 requests (5 now, 25 in earlier runs), $6.00" in paid.ok(*LABEL, "--pilot", "30").stdout


def test_a_pilot_on_imported_labels_falls_back_on_the_estimate(paid: Workspace) -> None:
    taken = {row["id"] for row in _sampled(paid, 25)}
    scores = {"scores": {"help": 5, "novelty": 5, "is_advert": 0}}
    names = json.loads(paid.ok(*LABEL, "--dry-run", "--json").stdout)
    write_jsonl(paid / "theirs.jsonl", [{**row, **scores} for row in unlabelled(60) if row["id"] in taken])
    paid.ok("labels", "import", "tiny/v1", "theirs.jsonl", "--oracle", "paid", "--model", "big")
    before = asked(paid)
    done = paid.ok(*LABEL, "--pilot", "25")
    assert asked(paid) == before
    rest = as_json(paid, *LABEL, "--pilot", "25")["pilot"]["rest"]
    assert rest["usd"] == pytest.approx(names["usd"] * 35 / 60)
    assert "The sample took no request." in done.stdout
    assert "The rest: 35 articles, about $" in done.stdout
    assert re.search(r"--max-cost \d+\.\d\d$", done.stdout, re.M)


def _sampled(workspace: Workspace, size: int) -> list[dict[str, Any]]:
    """The articles that a pilot of this size takes."""
    filter, sample = load_filter(workspace / "tiny" / "v1"), Sample(size)
    for article in read_articles([workspace / "in.jsonl"]):
        sample.offer(article, sha256_text(sent_text(filter.spec, article)), True)
    return [{"id": article.id} for article in sample.articles]


def test_an_interrupted_pilot_prints_its_report_as_json(paid: Workspace) -> None:
    import signal
    import subprocess

    (paid / "filterkit.yaml").write_text("label: {concurrency: 4}\n")
    run = subprocess.Popen(
        command(*LABEL, "--pilot", "50", "--json", "-O", "latency_s=2"),
        cwd=paid.root, env={**paid.env, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not asked(paid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    assert json.loads(out)["label"]["stopped"] == "interrupted"


# After


def test_failures_are_listed_with_how_to_ask_again_and_obey_no_terminal_codes(paid: Workspace) -> None:
    rows = [{**row, "id": f"bad\x07{i}", "content": f"nasty {i}"} for i, row in enumerate(unlabelled(7))]
    write_jsonl(paid / "in.jsonl", [*rows, *unlabelled(3)])
    done = paid.ok(*LABEL, code=3)
    assert "10 articles: 3 labelled now, 0 were already, 0 with the same text, 7 failed." in done.stdout
    assert done.stderr.count("  failed: bad") == 5
    assert "red" in done.stderr
    assert "… and 2 more. `--retry-failed` asks again." in done.stderr
    assert not set("\x07\x1b\u202e") & set(done.stderr + done.stdout)
    before = asked(paid)
    assert as_json(paid, *LABEL, code=3)["failed_before"] == 7
    assert asked(paid) == before
    paid.ok(*LABEL, "--retry-failed", code=3)
    assert asked(paid) == before + 7


def test_the_summary_tells_cost_tokens_and_which_models_replied(paid: Workspace) -> None:
    write_jsonl(paid / "in.jsonl", [{"id": "1", "content": "helps3 it"}, {"id": "2", "content": "it does not"}])
    done = paid.ok(*LABEL)
    assert "2 requests, $0.40." in done.stdout
    assert "200 tokens in, 100 out" in done.stdout
    assert "more than one model replied: big-001 (1), big-002 (1)" in done.stderr


def test_a_quota_of_the_day_ends_it_with_4_and_the_summary_of_what_was_done(paid: Workspace) -> None:
    (paid / "filterkit.yaml").write_text("label: {concurrency: 1}\n")
    done = paid.run(*LABEL, "-O", "per_day=9")
    assert done.returncode == 4
    assert "9 labelled now" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    told = as_json(paid, *LABEL, "-O", "per_day=9", code=4)
    assert (told["new"], told["already"]) == (9, 9)
    assert "quota of the day" in told["error"]


def test_limits_per_minute_come_from_the_configuration(paid: Workspace) -> None:
    (paid / "filterkit.yaml").write_text("label: {requests_per_minute: 600}\n")
    write_jsonl(paid / "in.jsonl", unlabelled(40))
    started = time.monotonic()
    paid.ok(*LABEL)
    assert time.monotonic() - started > 2.5  # 10 a second, and a second's worth at once


# With a real SDK


@pytest.fixture
def gemini(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("filterkit_gemini")
    workspace.env["GEMINI_API_KEY"] = "key-of-gemini"
    workspace.labels(labelled(80), "in.jsonl")
    with FakeLLM(faults={"malformed": 0.05, "server_error": 0.05}, seed=1) as server:
        label = ["label", "tiny/v1", "--articles", "in.jsonl", "--oracle", "gemini", "-O", f"base_url={server.url}"]
        yield workspace, server, label


def test_gemini_from_the_dry_run_over_the_pilot_to_the_budget(gemini: Any) -> None:
    workspace, server, label = gemini
    dry = as_json(workspace, *label, "--dry-run")
    assert server.requests == 0
    assert dry["price"]["as_of"]
    pilot = as_json(workspace, *label, "--pilot", "30")["pilot"]
    assert pilot["labelled"] == 30
    done = as_json(workspace, *label, "--max-cost", "5")
    assert (done["new"], done["already"]) == (50, 30)
    rest = pilot["rest"]
    assert rest["low_usd"] * 0.9 <= done["cost_usd"] <= rest["high_usd"] * 1.1
    assert dry["usd"] < dry["most_usd"]
    assert pilot["cost_usd"] + done["cost_usd"] < dry["most_usd"]
