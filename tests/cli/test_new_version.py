"""The next version of a rubric: made, compared with the old one, its labels planned, and the workspace's budget."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import FILTER, PROMPT, Inside, Said, read_jsonl, unlabelled, write_filter, write_jsonl

PLUGIN = """
from filterkit.api import hookimpl

@hookimpl
def register_oracles(register):
    register("paid", "acme_oracle.oracle:PaidOracle", summary="costs money")
    register("unpriced", "acme_oracle.oracle:UnpricedOracle", summary="nobody knows what it costs")

@hookimpl
def register_prices(register):
    register("big", input=1000.0, output=2000.0, as_of="2026-11-01", source="the acme price list")
"""
ORACLE = '''
"""Reads the scores off an article's own words. 100 tokens in, 50 out; a STRICT rubric halves help."""

import json
import re

from filterkit.api import Oracle, OracleOptions, Reply, Usage


class PaidOptions(OracleOptions):
    model: str = "big"


class PaidOracle(Oracle[PaidOptions]):
    Options = PaidOptions

    async def complete(self, request):
        scores = {}
        for name, word in (("help", "helps"), ("novelty", "novel"), ("is_advert", "advert"), ("depth", "novel")):
            if name in self.spec.names:
                scores[name] = int(re.search(word + r"(\\d+)", request.article).group(1))
        if "STRICT" in request.rubric:
            scores["help"] = scores["help"] / 2
        usage = Usage(input=100, output=50)
        return Reply(text=json.dumps(scores), usage=usage, model_version=request.model)

    def count_tokens(self, request):
        return 100


class UnpricedOptions(OracleOptions):
    model: str = "secret"


class UnpricedOracle(PaidOracle):
    Options = UnpricedOptions
'''
EACH_USD = 0.2
"""What an answer costs: 100 tokens in at $1,000 and 50 out at $2,000 a million."""
ONE_MORE_USD = 4.5
"""What a request reserves at most."""
TIERS = "postfilter: {use: tiers, tiers: [{name: high, at_least: 6}, {name: mid, at_least: 3}, {name: low}]}\n"
ORACLE_LINE = "oracle: {use: paid}\n"


class Here(Inside):
    """The command line in this process: a command a test is a process too many."""

    def ok(self, *arguments: object, code: int = 0) -> Said:
        return self(*arguments, code=code)

    def refused(self, *arguments: object, code: int = 2, says: str | Sequence[str] = ()) -> str:
        """The one line of error that a command ends with; `says` must stand in it."""
        lines = self(*arguments, code=code).err.splitlines()
        assert [line for line in lines if line.startswith("Error: ")] == [lines[-1]]
        for text in [says] if isinstance(says, str) else says:
            assert text in lines[-1]
        return lines[-1]


@pytest.fixture
def paid(tmp_path: Path, local_site: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """A workspace with version 1 of `tiny` in filters/, an oracle that costs money, and 150 articles."""
    local_site.add("acme-oracle", plugin=PLUGIN, files={"acme_oracle/oracle.py": ORACLE})
    monkeypatch.setattr("filterkit.plugins._plugins", None)
    for name in [name for name in os.environ if name.startswith("FILTERKIT_")]:
        monkeypatch.delenv(name)
    root = tmp_path / "workspace"
    text = FILTER.replace("trainer: {use: toy}", "trainer: {use: lite}") + TIERS + ORACLE_LINE
    write_filter(root / "filters" / "tiny" / "v1", "# what we look for\n" + text, PROMPT)
    write_jsonl(root / "in.jsonl", unlabelled(150))
    monkeypatch.chdir(root)
    return Here(root, capsys)


SPLITS = ("train", "val", "test")


def v2(workspace: Here, *, strict: bool = True) -> Path:
    """The next version, its rubric changed."""
    workspace.ok("new", "filter", "tiny", "--from", "tiny@1", "--bump")
    folder = workspace / "filters/tiny/v2"
    if strict:
        (folder / "prompt.md").write_text("Be STRICT. " + PROMPT)
    return folder


def tier(row: Mapping[str, Any], help_share: float = 1.0) -> str:
    """The tier that the oracle's scores lead to, read off the article's words as the oracle does."""
    helps, novel = (int(re.search(word + r"(\d+)", row["content"])[1]) for word in ("helps", "novel"))
    overall = 0.75 * help_share * helps + 0.25 * novel
    return "high" if overall >= 6 else "mid" if overall >= 3 else "low"


def moves(row: Mapping[str, Any]) -> bool:
    """Whether the stricter rubric puts the article into another tier."""
    return tier(row) != tier(row, 0.5)


def as_json(workspace: Here, *arguments: object, code: int = 0) -> Any:
    return json.loads(workspace.ok(*arguments, "--json", code=code).out)


# new filter --from --bump


def test_the_next_version_is_a_copy_of_the_data_and_of_nothing_else(paid: Here) -> None:
    old = paid / "filters/tiny/v1"
    (old / "model").mkdir()
    (old / "model" / "weights.safetensors").write_bytes(b"a student")
    (old / "prompt_old.md").write_text("stale")
    (old / "evil.py").write_text("raise SystemExit")
    said = paid.ok("new", "filter", "tiny", "--from", "tiny@1", "--bump").out
    new = paid / "filters/tiny/v2"
    assert sorted(path.name for path in new.iterdir()) == ["filter.yaml", "prompt.md"]
    before, after = ((folder / "filter.yaml").read_text() for folder in (old, new))
    assert after == before.replace('version: "1"', 'version: "2"')
    assert after.startswith("# what we look for\n")
    assert "not copied: evil.py, model, prompt_old.md" in said
    assert "filterkit compare tiny@1 tiny@2 --articles FILE" in said
    assert "filterkit label tiny@2 --plan --budget USD" in said
    assert paid.ok("check", "tiny@2").out == "tiny@2: nothing is wrong\n"
    assert [row["version"] for row in as_json(paid, "filters") if row["name"] == "tiny"] == ["1", "2"]


def test_files_that_the_filter_names_come_along_and_windows_line_ends_stay(paid: Here) -> None:
    old = paid / "filters/tiny/v1"
    (old / "texts").mkdir()
    (old / "texts" / "rubric.md").write_bytes(PROMPT.replace("\n", "\r\n").encode())
    text = (old / "filter.yaml").read_text().replace("prompt: prompt.md", "prompt: texts/rubric.md # moved")
    (old / "filter.yaml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    paid.ok("new", "filter", "tiny", "--from", "tiny@1", "--bump")
    new = paid / "filters/tiny/v2"
    assert (new / "texts" / "rubric.md").read_bytes() == (old / "texts" / "rubric.md").read_bytes()
    assert not (new / "prompt.md").exists()
    expected = text.replace("\n", "\r\n").replace('version: "1"', 'version: "2"')
    assert (new / "filter.yaml").read_bytes().decode() == expected


def test_no_version_is_overwritten_and_the_one_after_it_can_be_made(paid: Here) -> None:
    folder = v2(paid)
    paid.refused("new", "filter", "tiny", "--from", "tiny@1", "--bump", says="v2: is there already")
    assert "STRICT" in (folder / "prompt.md").read_text()
    paid.ok("new", "filter", "tiny", "--from", "tiny", "--bump")
    assert "STRICT" in (paid / "filters/tiny/v3/prompt.md").read_text()
    assert not [path for path in (paid / "filters/tiny").iterdir() if path.name.startswith(".")]


def test_what_is_installed_gets_its_next_version_in_the_workspace(
    paid: Here, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = site.path / "site-packages" / "acme_filter" / "v1"
    write_filter(package, FILTER.replace("name: tiny", "name: acme"))
    monkeypatch.syspath_prepend(str(site.path / "site-packages"))
    info = site.path / "site-packages" / "acme_filter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-filter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[filterkit.filters]\nacme = acme_filter\n")
    paid.ok("new", "filter", "acme", "--from", "acme@1", "--bump")
    assert not package.with_name("v2").exists()
    assert (paid / "filters/acme/v2/filter.yaml").is_file()
    paid.ok("check", "acme@1", "acme@2", "acme")
    write_filter(paid / "filters/acme/v1", FILTER.replace("name: tiny", "name: acme"), "Another.\n\n{{article}}\n")
    paid.refused("config", "acme@1", says=["is claimed by", "workspace"])


def test_the_wheels_list_of_versions_is_not_forgotten(paid: Here) -> None:
    (paid / "filters/tiny/pyproject.toml").write_text('[tool.hatch]\nonly-include = ["v1"]\n')
    said = paid.ok("new", "filter", "tiny", "--from", "tiny@1", "--bump").out
    assert "name v2 in filters/tiny/pyproject.toml:2 too" in said.replace(f"{paid.root}/", "")
    said = paid.ok("new", "filter", "tiny", "--from", "tiny@2", "--bump").out
    assert "name v3 in filters/tiny/pyproject.toml:2 too" in said.replace(f"{paid.root}/", "")


def test_another_filter_begins_as_a_copy(paid: Here) -> None:
    paid.ok("new", "filter", "good-news", "--from", "filters/tiny/v1", "--dir", "filters")
    made = yaml.safe_load((paid / "filters/good-news/v1/filter.yaml").read_text())
    old = yaml.safe_load((paid / "filters/tiny/v1/filter.yaml").read_text())
    assert made == {**old, "name": "good-news", "version": "1"}
    assert (paid / "filters/good-news/pyproject.toml").is_file()
    paid.ok("check", "good-news")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tiny", "--bump"], "--from NAME@1"),
        (["other", "--from", "tiny@1", "--bump"], "is called 'tiny' too"),
        (["tiny", "--from", "tiny@1"], "that filter's own name"),
        (["x", "--from", "nothing@1"], "no installed filter 'nothing@1'"),
        (["tiny", "--from", "tiny@7", "--bump"], "has no version '7'"),
        (["Bad Name", "--from", "tiny@1"], "no name for a filter"),
    ],
)
def test_what_makes_no_sense_makes_nothing(paid: Here, arguments: list[str], says: str) -> None:
    before = sorted(paid.root.rglob("*"))
    done = paid.ok("new", "filter", *arguments, code=2)
    assert says in done.err
    assert sorted(paid.root.rglob("*")) == before


# compare NAME@1 NAME@2


def test_versions_are_compared_by_name_on_one_oracle_and_only_what_is_missing_is_asked(paid: Here) -> None:
    v2(paid)
    paid.ok("label", "tiny@1", "--articles", "in.jsonl", "--limit", 30, "--no-screen")
    arguments = ("compare", "tiny@1", "tiny@2", "--articles", "in.jsonl", "--oracle", "paid", "--limit", 30)
    dry = as_json(paid, *arguments, "--dry-run")
    assert [row["to_ask"] for row in dry["asked"]] == [0, 30]
    found = as_json(paid, *arguments)
    (pair,) = found["pairs"]
    assert (pair["first"], pair["second"], pair["n"]) == ("tiny 1", "tiny 2", 30)
    moved = pair["tiers"]["moved"]
    rows = {row["id"]: row for row in read_jsonl(paid / "in.jsonl")[:30]}
    assert {one["id"] for one in moved} == {name for name, row in rows.items() if moves(row)}
    assert all((one["before"], one["after"]) == (tier(rows[one["id"]]), tier(rows[one["id"]], 0.5)) for one in moved)
    assert moved
    off = sum(n for i, row in enumerate(pair["tiers"]["confusion"]) for j, n in enumerate(row) if i != j)
    assert len(moved) == off
    assert all(judge["usd_per_1000"] == pytest.approx(1000 * EACH_USD) for judge in found["judges"])
    said = paid.ok(*arguments).out
    assert "moved from A to B: " in said
    assert moved[0]["id"] in said


def test_two_policies_for_the_same_answers_ask_once(paid: Here) -> None:
    folder = v2(paid, strict=False)
    arguments = ("compare", "tiny@1", "tiny@2", "--articles", "in.jsonl", "--oracle", "paid", "--limit", 40)
    paid.refused(*arguments, says="ask and weigh the same")
    text = (folder / "filter.yaml").read_text()
    (folder / "filter.yaml").write_text(text.replace("at_least: 6", "at_least: 5"))
    found = as_json(paid, *arguments, "--max-cost", 40 * EACH_USD + ONE_MORE_USD)
    (pair,) = found["pairs"]
    assert pair["mae"] == 0
    assert {(one["before"], one["after"]) for one in pair["tiers"]["moved"]} == {("mid", "high")}


# label --plan --budget


@pytest.fixture
def trained(paid: Here) -> Here:
    """Version 1 labelled on the first 100 articles, and trained; version 2 is stricter."""
    paid.ok("label", "tiny@1", "--articles", "in.jsonl", "--limit", 100, "--no-screen")
    paid.ok("prepare", "tiny@1")
    paid.ok("train", "tiny@1")
    v2(paid)
    return paid


def test_a_plan_takes_the_test_set_then_what_moved_then_what_is_unsure(trained: Here) -> None:
    trained.ok("compare", "tiny@1", "tiny@2", "--articles", "in.jsonl", "--limit", 40)
    test = {row["id"] for row in read_jsonl(trained / "datasets/tiny-v1/test.jsonl")}
    spent = as_json(trained, "labels", "stats")
    arguments = ("label", "tiny@2", "--plan", "--articles", "in.jsonl", "--no-screen")
    plan = as_json(trained, *arguments, "--budget", 90 * EACH_USD + 0.01)
    assert [group["name"] for group in plan["groups"]] == ["test set", "moved", "uncertain", "others"]
    of = {group["name"]: group for group in plan["groups"]}

    said = trained.ok(*arguments, "--budget", 3 * EACH_USD, "--output", "p.jsonl").out
    assert "$0.60 buys 3 labels for $0.60 (mean of 40 answers so far)" in said
    assert "filterkit label tiny@2 --articles p.jsonl --no-screen" in said
    assert {row["id"] for row in read_jsonl(trained / "p.jsonl")} < test

    assert of["test set"]["found"] + of["test set"]["already"] == len(test)
    assert of["test set"]["chosen"] == of["test set"]["found"]
    assert of["moved"]["already"] > 0
    assert of["moved"]["chosen"] > 0
    assert of["uncertain"]["chosen"] > 0
    assert of["others"]["found"] == 0
    assert plan["labels"] == 90
    assert plan["usd"] == pytest.approx(90 * EACH_USD)
    assert plan["groups"][-1]["cumulative_usd"] == pytest.approx(plan["usd"])
    assert as_json(trained, "labels", "stats") == spent, "nothing was asked"
    rows = read_jsonl(Path(trained / "tiny-v2.plan.jsonl"))
    assert len({row["id"] for row in rows}) == 90
    first = {row["id"] for row in rows[: of["test set"]["chosen"]]}
    assert first <= test
    assert not {key for row in rows for key in row} & {"scores", "oracle", "group", "evidence"}
    start = of["test set"]["chosen"]
    moved = rows[start : start + of["moved"]["chosen"]]
    share = sum(map(moves, read_jsonl(trained / "in.jsonl"))) / 150
    assert sum(map(moves, moved)) / len(moved) > 1.2 * share, "what is taken for moved has moved"

    done = as_json(trained, "label", "tiny@2", "--articles", "tiny-v2.plan.jsonl", "--no-screen")
    assert (done["new"], done["already"]) == (90, 0)
    trained.ok("prepare", "tiny@2", "--test", "datasets/tiny-v1/test.jsonl")
    trained.ok("prepare", "tiny@2", "--test", "datasets/tiny-v1/test.jsonl")
    of_new = {name: {row["id"] for row in read_jsonl(trained / f"datasets/tiny-v2/{name}.jsonl")} for name in SPLITS}
    assert of_new["test"] == test
    assert len(of_new["train"]) > 60
    assert len(of_new["val"]) > 5

    again = as_json(trained, *arguments, "--budget", 100)
    assert {group["name"]: group["chosen"] for group in again["groups"]}["test set"] == 0
    assert again["labels"] == 150 - 40 - 90


def test_a_plan_without_an_older_version_says_so_and_draws(paid: Here) -> None:
    plan = as_json(paid, "label", "tiny@1", "--plan", "--budget", 10 * EACH_USD, "--articles", "in.jsonl")
    assert plan["older"] is None
    assert "there is no version of tiny before 1" in plan["notes"]
    assert [group["chosen"] for group in plan["groups"]] == [0, 0, 0, plan["labels"]]
    assert plan["price_how"] == "estimated"
    rows = read_jsonl(paid / "tiny-v1.plan.jsonl")
    assert len(rows) == plan["labels"] >= 10
    assert max(row["row"] for row in rows) > 20, "not just the first ones"
    v2(paid)
    plan = as_json(paid, "label", "tiny@2", "--plan", "--budget", 10, "--articles", "in.jsonl")
    notes = " ".join(plan["notes"])
    assert "tiny 1 has no student at" in notes
    assert "tiny 1 has no test set at" in notes
    assert "too few to tell by whose tier moved" in notes
    assert not (paid / "labels.db").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--plan"], "--budget USD"),
        (["--budget", "3"], "belong to --plan"),
        (["--output", "x.jsonl"], "belong to --plan"),
        (["--plan", "--budget", "3", "--dry-run"], "leave --dry-run away"),
        (["--plan", "--budget", "3", "--pilot"], "leave --pilot away"),
        (["--plan", "--budget", "nan"], "budget"),
        (["--plan", "--budget", "3", "--output", "in.jsonl"], "would be overwritten"),
        (["--plan", "--budget", "3", "--oracle", "unpriced"], "no price is known for secret"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(paid: Here, arguments: list[str], says: str) -> None:
    done = paid.ok("label", "tiny@1", "--articles", "in.jsonl", *arguments, code=2)
    assert says in done.err
    assert "Traceback" not in done.err


# The workspace's budget


def budget(workspace: Here, **usd: float) -> None:
    (workspace / "filterkit.yaml").write_text(yaml.safe_dump({"budget": usd}))


def test_a_budget_binds_all_commands_and_questions(paid: Here) -> None:
    v2(paid)
    budget(paid, total_usd=25 * EACH_USD + 20)  # room for a last request's worst case
    paid.ok("label", "tiny@1", "--articles", "in.jsonl", "--limit", 20, "--no-screen")
    found = as_json(paid, "config")["budget"]
    assert found["spent_usd"] == pytest.approx(20 * EACH_USD)
    budget(paid, total_usd=20 * EACH_USD + 0.01)
    label = ("label", "tiny@2", "--articles", "in.jsonl", "--no-screen")
    says = ["the workspace's budget of $4.0100 is used up: $4.0000 for all questions", "budget.total_usd"]
    paid.refused(*label, code=4, says=says)
    paid.refused(*label, "--pilot", "5", code=4, says=says)
    paid.refused("compare", "tiny@1", "tiny@2", "--articles", "in.jsonl", "--limit", 30, code=4, says=says)
    paid.refused("run", "tiny@2", "--articles", "in.jsonl", code=4, says=says)
    assert sum(row["labels"] for row in as_json(paid, "labels", "stats")) == 20
    assert "workspace budget: $4.00 of $4.01 is spent" in paid.ok("labels", "stats").out
    assert "workspace budget: $4.00 of $4.01 is spent" in paid.ok("config").out
    assert "workspace budget: $4.00 of $4.01 is spent" in paid.ok("cost", "tiny@1").out
    assert "workspace budget: $4.00 of $4.01 is spent: not enough for all" in paid.ok(*label, "--dry-run").out


def test_a_days_budget_says_when_it_goes_on(paid: Here) -> None:
    budget(paid, per_day_usd=1.0)
    line = paid.refused("label", "tiny@1", "--articles", "in.jsonl", "--no-screen", code=4)
    assert "the workspace's budget of $1.0000 a day is used up" in line
    assert "Run the same command again from " in line or "No day's budget is enough for it" in line
    assert as_json(paid, "config")["budget"]["spent_today_usd"] <= 1.0


def test_a_budget_needs_a_price(paid: Here) -> None:
    budget(paid, total_usd=5)
    line = paid.refused("label", "tiny@1", "--articles", "in.jsonl", "--oracle", "unpriced", "--no-screen")
    assert "a budget needs a price" in line
    assert not (paid / "labels.db").exists()


@pytest.mark.parametrize(
    ("value", "says"), [("{total_usd: -1}", "total_usd"), ("{per_day_usd: .nan}", "per_day_usd"), ("{week: 1}", "week")]
)
def test_a_budget_that_is_none_is_refused_with_its_line(paid: Here, value: str, says: str) -> None:
    (paid / "filterkit.yaml").write_text(f"budget: {value}\n")
    paid.refused("config", says=["filterkit.yaml:1", says])
