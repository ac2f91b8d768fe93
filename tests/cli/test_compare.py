"""`filterkit compare`: what judges are from each other, what it cost, and that nothing is asked twice."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers import FILTER, PROMPT, Workspace, labelled, unlabelled, write_filter, write_jsonl

from filterkit.cli.compare_job import _options_of, parse_oracle
from filterkit.errors import ConfigError
from filterkit.testing.fake_llm import FakeLLM

PLUGIN = """
from filterkit.api import hookimpl

@hookimpl
def register_oracles(register):
    register("paid", "acme_oracle.oracle:PaidOracle", summary="costs money")

@hookimpl
def register_prices(register):
    for model in ("big", "small"):
        register(model, input=1000.0, output=2000.0, as_of="2026-11-01", source="the acme price list")
"""
ORACLE = '''
"""Reads the scores off an article's own words; `shift` and `wobble` change them. 100 tokens in, 50 out."""

import asyncio
import json
import random
import re

from filterkit.api import Oracle, OracleOptions, Refused, Reply, Usage


class PaidOptions(OracleOptions):
    model: str = "big"
    shift: float = 0.0
    wobble: float = 0.0
    latency_s: float = 0.0


class PaidOracle(Oracle[PaidOptions]):
    Options = PaidOptions

    async def complete(self, request):
        with open(self.ctx.root / "asked.txt", "a") as file:
            print(request.model, file=file)
        await asyncio.sleep(self.options.latency_s)
        if "nasty" in request.article:
            raise Refused("no \\x07\\u202ered words")
        low, high = (request.json_schema["properties"][self.spec.names[0]][end] for end in ("minimum", "maximum"))
        scores = {}
        for name, word in (("help", "helps"), ("novelty", "novel"), ("is_advert", "advert"), ("depth", "novel")):
            if name in self.spec.names:
                found = int(re.search(word + r"(\\d+)", request.article).group(1))
                turn = self.options.wobble * random.Random(int(request.key)).choice((-1, 1))
                value = low + (high - low) / 10 * (found + self.options.shift + turn)
                scores[name] = min(high, max(low, value))
        return Reply(text=json.dumps(scores), usage=Usage(input=100, output=50), model_version=request.model)

    def count_tokens(self, request):
        return 100
'''
EACH_USD = 0.2
"""What an answer costs: 100 tokens in at $1,000 and 50 out at $2,000 a million."""
TIERS = "postfilter: {use: tiers, tiers: [{name: high, at_least: 6}, {name: mid, at_least: 3}, {name: low}]}\n"
BASE = ("compare", "tiny/v1", "--articles", "in.jsonl")
TWO = (*BASE, "--oracle", "paid:big", "--oracle", "paid:small", "-O", "paid:small.shift=1")


@pytest.fixture
def paid(tmp_path: Path, site: Any) -> Workspace:
    """A workspace whose oracle costs money, with 60 articles."""
    site.add("acme-oracle", plugin=PLUGIN, files={"acme_oracle/oracle.py": ORACLE})
    root = tmp_path / "workspace"
    root.mkdir()
    workspace = Workspace(root, site.path)
    write_jsonl(root / "in.jsonl", unlabelled(60))
    return workspace


def asked(workspace: Workspace) -> int:
    """Requests that were sent so far."""
    file = workspace / "asked.txt"
    return len(file.read_text().splitlines()) if file.exists() else 0


def as_json(workspace: Workspace, *arguments: object, code: int = 0) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(workspace.ok(*arguments, "--json", code=code).stdout)
    return found


def people(workspace: Workspace, rows: Iterable[Mapping[str, Any]], name: str = "people.jsonl") -> str:
    return write_jsonl(workspace / name, rows).name


# Two oracles


def test_two_oracles_on_one_sample(paid: Workspace) -> None:
    found = as_json(paid, *TWO, "-O", "paid:small.wobble=0.3", "--limit", 40)
    assert asked(paid) == 80
    (pair,) = found["pairs"]
    assert (pair["first"], pair["second"], pair["n"], pair["unit"]) == ("paid:big", "paid:small", 40, "points")
    assert pair["counted"] == ["help", "novelty"], "a flag is no score"
    for name in pair["counted"]:
        one = pair["dimensions"][name]
        assert 0.5 < one["mae"] <= 1.3, "about one more, but at the scale's end"
        assert one["bias"] == pytest.approx(one["mae"]), "the second is higher"
        assert one["spearman"] > 0.95
        assert one["intervals"]["mae"]["low"] <= one["mae"] <= one["intervals"]["mae"]["high"]
    assert pair["mae"] == pytest.approx(sum(pair["dimensions"][n]["mae"] for n in pair["counted"]) / 2)
    assert [judge["usd_per_1000"] for judge in found["judges"]] == [pytest.approx(1000 * EACH_USD)] * 2
    assert [judge["spent_usd"] for judge in found["judges"]] == [pytest.approx(40 * EACH_USD)] * 2
    assert pair["tiers_left_out"] == "the postfilter overall makes no tiers"
    assert any("is as good as changing the oracle" in line for line in found["meaning"])


def test_nothing_is_asked_twice_and_it_counts_for_label(paid: Workspace) -> None:
    paid.ok(*TWO, "--limit", 40)
    assert "paid:big: 0 of 40 to be asked" in paid.ok(*TWO, "--limit", 40).stderr
    assert asked(paid) == 80
    paid.ok("label", "tiny/v1", "--articles", "in.jsonl", "--oracle", "paid")
    assert asked(paid) == 100, "40 of the 60 were labelled by the comparison"
    paid.ok(*TWO, "--limit", 60)
    assert asked(paid) == 120


def test_the_sample_holds_the_pilots(paid: Workspace) -> None:
    paid.ok("label", "tiny/v1", "--articles", "in.jsonl", "--oracle", "paid", "--pilot", 20)
    paid.ok(*TWO, "--limit", 40)
    assert asked(paid) == 80
    other = paid.ok(*TWO, "--limit", 20, "--seed", 5, "--dry-run").stderr
    assert "paid:big: 0 of 20" not in other, "another sample"


def test_the_words_for_people(paid: Workspace) -> None:
    (paid / "tiny" / "v1" / "filter.yaml").write_text(FILTER + TIERS)
    done = paid.ok(*TWO, "--limit", 40)
    assert "paid:big: 40 of 40 to be asked, about $6.16" in done.stderr
    for text in (
        "paid:small  40        0       $200.00    mean of 40 answers",
        "paid:big (A) and paid:small (B), 40 common articles",
        "BIAS (B - A)",
        "mean of 2",
        "same tier for",
        "Cohen's kappa 0.",
        "--repeat 2 asks everything twice",
    ):
        assert text in done.stdout, done.stdout


def test_an_oracle_is_held_against_itself(paid: Workspace) -> None:
    arguments = (*BASE, "--oracle", "paid", "-O", "wobble=1", "--repeat", 2, "--limit", 30)
    found = as_json(paid, *arguments)
    assert asked(paid) == 60
    own = found["judges"][0]["self"]
    assert own["n"] == 30
    assert 0 < own["mae"] <= 2
    (line,) = found["meaning"]
    assert f"differ by {own['mae']:.2f}" in line
    assert "none can be shown to be closer than that" in line
    as_json(paid, *arguments)
    assert asked(paid) == 60, "the second answers are kept too"
    third = as_json(paid, *arguments[:-4], "--repeat", 3, "--limit", 30)["judges"][0]["self"]
    assert (asked(paid), third["n"]) == (90, 30), "three answers of an article are still one article"
    again = as_json(paid, *BASE[:2], "--stored")["judges"][0]["self"]
    assert again["mae"] == own["mae"], "and are found again without being asked for"


def test_exact_repeats_set_no_floor(paid: Workspace) -> None:
    said = paid.ok(*BASE, "--oracle", "paid", "--repeat", 2, "--limit", 12).stdout
    assert "repeats its answers exactly (12 articles): it sets no floor" in said


# Rubrics


def test_two_rubrics_with_other_scales_and_dimensions(paid: Workspace) -> None:
    other = FILTER.replace('version: "1"', 'version: "2"\nscale: {min: 0, max: 5}')
    other = other.replace("- {name: novelty", "- {name: depth")
    write_filter(paid / "tiny" / "v2", other, PROMPT)
    found = as_json(paid, "compare", "tiny/v1", "tiny/v2", "--articles", "in.jsonl", "--oracle", "paid", "--limit", 30)
    (pair,) = found["pairs"]
    assert (pair["first"], pair["second"]) == ("tiny 1", "tiny 2")
    assert pair["unit"] == "share of the scale"
    assert set(pair["dimensions"]) == {"help", "is_advert"}
    assert set(pair["left_out"]) == {"novelty", "depth"}
    assert pair["mae"] == pytest.approx(0, abs=1e-9), "half the points of half the scale are the same share"
    assert asked(paid) == 60
    said = paid.ok("compare", "tiny/v1", "tiny/v2", "--articles", "in.jsonl", "--oracle", "paid", "--limit", 30).stdout
    assert "in shares of the scale, as their scales differ" in said
    assert "depth is left out: only tiny 2 has it (its mean there is " in said
    assert "novelty is left out: only tiny 1 has it (its mean there is " in said


# Labels of a file


def test_people_are_one_more_judge(paid: Workspace) -> None:
    rows = [dict(row) for row in labelled(30, seed=1)]
    for number, row in enumerate(rows):
        row["scores"] = {name: min(10, score + 2) for name, score in row["scores"].items()}
        if number % 2:
            row["title"] += " (edited)"  # found by its id
        else:
            row["id"] = f"other-{number}"  # found by its text
    file = people(paid, rows)
    found = as_json(paid, *BASE, "--oracle", "paid", "--labels", file, "--limit", 40)
    assert asked(paid) == 30, "articles that people have no labels of say nothing"
    assert [judge["name"] for judge in found["judges"]] == ["paid:big", "people"]
    assert found["pairs"][0]["n"] == 30
    assert 1 < found["pairs"][0]["bias"] <= 2


def test_files_alone_need_no_oracle_and_are_named_by_whom_they_name(workspace: Workspace) -> None:
    rows = [{**row, "oracle": "acme", "model": model} for model in ("x", "y") for row in labelled(25)]
    other = people(workspace, labelled(25), "desk.jsonl")
    found = as_json(workspace, "compare", "tiny/v1", "--labels", people(workspace, rows), "--labels", other)
    assert [judge["name"] for judge in found["judges"]] == ["acme:x", "acme:y", "desk"]
    assert [pair["mae"] for pair in found["pairs"]] == [0, 0, 0]
    assert not (workspace / "labels.db").exists()


def test_lines_that_cannot_be_used_are_counted(workspace: Workspace) -> None:
    bad = {"id": "x", "content": "text", "scores": {"help": 99}}
    first = people(workspace, [*labelled(25), bad])
    second = people(workspace, labelled(25), "b.jsonl")
    done = workspace.ok("compare", "tiny/v1", "--labels", first, "--labels", second, code=3)
    assert "1 line could not be used" in done.stderr
    write_jsonl(workspace / "bad.jsonl", [bad])
    workspace.refused("compare", "tiny/v1", "--labels", "bad.jsonl", says=["bad.jsonl:1", "outside of 0 to 10"])


def test_too_few_common_articles_are_said(workspace: Workspace) -> None:
    few = people(workspace, labelled(6), "few.jsonl")
    found = as_json(workspace, "compare", "tiny/v1", "--labels", people(workspace, labelled(25)), "--labels", few)
    (pair,) = found["pairs"]
    assert (pair["n"], pair["few"]) == (6, "only 6 articles have labels of both: too few to prove much by")
    assert pair["intervals"] == {}, "no interval that would not hold what it promises"
    other = people(workspace, labelled(6, seed=9), "other.jsonl")
    rows = [{**row, "id": f"o{row['id']}"} for row in labelled(6, seed=9)]
    other = people(workspace, rows, "other.jsonl")
    done = workspace.ok("compare", "tiny/v1", "--labels", few, "--labels", other)
    assert "no article has labels of both" in done.stdout


# What is stored


def test_stored_asks_nobody_and_needs_no_plugin(paid: Workspace) -> None:
    paid.ok(*TWO, "--limit", 30)
    paid.env["FILTERKIT_DISABLE_PLUGINS"] = "acme-oracle"
    found = as_json(paid, "compare", "tiny/v1", "--stored")
    assert [judge["name"] for judge in found["judges"]] == ["paid:big", "paid:small"]
    assert found["pairs"][0]["n"] == 30
    assert found["judges"][0]["usd_per_1000"] == pytest.approx(1000 * EACH_USD)
    named = as_json(paid, "compare", "tiny/v1", "--stored", "--oracle", "paid:big", "--oracle", "paid:small")
    assert named["pairs"] == found["pairs"]
    assert asked(paid) == 60


def test_stored_without_anything_stored(workspace: Workspace) -> None:
    workspace.refused("compare", "tiny/v1", "--stored", says="holds no labels for this rubric")


# Money, failures, stopping


def test_a_dry_run_sends_and_writes_nothing(paid: Workspace) -> None:
    done = paid.ok(*TWO, "--limit", 40, "--repeat", 2, "--dry-run")
    assert "160 questions in all, about $24.64. Nothing was sent." in done.stdout
    assert as_json(paid, *TWO, "--limit", 40, "--dry-run")["usd"] == pytest.approx(12.32)
    assert asked(paid) == 0
    assert not (paid / "labels.db").exists()


def test_the_budget_is_for_all_oracles_together_and_over_all_runs(paid: Workspace) -> None:
    with (paid / "tiny" / "v1" / "filter.yaml").open("a") as file:
        file.write("generation: {max_output_tokens: 64}\n")
    budget = 60 * EACH_USD + 0.03
    line = paid.refused(*TWO, "--limit", 40, "--max-cost", budget, code=4, says="for this comparison is used up")
    assert "--stored" in line
    assert asked(paid) == 60, "40 of the first oracle, 20 of the second"
    paid.refused(*TWO, "--limit", 40, "--max-cost", budget, code=4, says="is used up: $12.0000")
    assert asked(paid) == 60
    assert as_json(paid, *TWO, "--limit", 40, "--stored")["pairs"][0]["n"] == 20
    paid.ok(*TWO, "--limit", 40, "--max-cost", 100)
    assert asked(paid) == 80
    paid.refused(*BASE, "--oracle", "paid:unpriced", "--repeat", 2, "--max-cost", 1, says="a budget needs a price")


def test_failures_are_counted_and_their_reasons_made_plain(paid: Workspace) -> None:
    rows = [dict(row) for row in unlabelled(30)]
    rows[3]["content"] += " nasty"
    write_jsonl(paid / "in.jsonl", rows)
    done = paid.ok(*TWO, code=3)
    assert "1 article failed: no  red words" in done.stderr
    assert "\x07" not in done.stdout + done.stderr
    found = as_json(paid, *TWO, code=3)
    assert [(judge["labelled"], judge["failed"]) for judge in found["judges"]] == [(29, 1), (29, 1)]
    assert found["pairs"][0]["n"] == 29


def test_it_can_be_interrupted_and_goes_on(paid: Workspace) -> None:
    (paid / "filterkit.yaml").write_text("label: {concurrency: 2}\n")
    arguments = (*TWO, "-O", "latency_s=0.05", "--limit", 40)
    process = paid.start(*arguments)
    while asked(paid) < 10 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert asked(paid) < 80
    assert as_json(paid, *arguments)["pairs"][0]["n"] == 40
    assert asked(paid) == 80


def test_through_the_sdks_of_two_providers(workspace: Workspace) -> None:
    workspace.env |= {"GEMINI_API_KEY": "sk-test-1", "OPENAI_API_KEY": "sk-test-2"}
    price = "{input: 1.0, output: 4.0, as_of: 2026-01-31, source: test}"
    (workspace / "filterkit.yaml").write_text(f"prices: {{model-1: {price}, model-2: {price}}}\n")
    write_jsonl(workspace / "in.jsonl", unlabelled(25))
    with FakeLLM(faults={"malformed": 0.1}) as server:
        arguments = [*BASE, "--oracle", "gemini:model-1", "--oracle", "cheap=openai:model-2", "--limit", 20]
        arguments += ["-O", f"gemini.base_url={server.url}", "-O", f"cheap.base_url={server.openai_url}"]
        found = as_json(workspace, *arguments)
        assert server.requests >= 40
    assert [judge["name"] for judge in found["judges"]] == ["gemini:model-1", "cheap"]
    assert found["pairs"][0]["mae"] == 0, "the fake answers by the text alone"
    with_price = [judge["usd_per_1000"] for judge in found["judges"]]
    assert all(0.1 < usd < 5 for usd in with_price), with_price


# What is refused


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--oracle", "paid"], "nothing to compare paid:big with"),
        (["--oracle", "paid", "--oracle", "paid:big"], "two judges are called 'paid:big'"),
        (["--oracle", ":big"], "--oracle takes NAME"),
        (["--oracle", "paid:", "--oracle", "paid"], "--oracle takes NAME"),
        (["--oracle", "nobody", "--oracle", "paid"], "nobody"),
        (["--oracle", "paid", "--oracle", "x=paid", "-O", "x.colour=red"], "colour"),
        ([], "no oracle is configured"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(
    paid: Workspace, arguments: Sequence[str], says: str
) -> None:
    paid.refused(*BASE, *arguments, says=says)
    assert asked(paid) == 0


def test_several_filters_and_several_oracles_are_refused(paid: Workspace) -> None:
    write_filter(paid / "tiny" / "v2", FILTER.replace('"1"', '"2"'))
    line = paid.refused("compare", "tiny/v1", "tiny/v2", *TWO[2:], says="too much at once")
    assert "Compare one or the other" in line
    paid.refused("compare", "tiny/v1", "--oracle", "paid", "--repeat", 2, says="no articles to compare on")


def test_options_find_their_oracle() -> None:
    named = [parse_oracle(text) for text in ("gemini:3.5-lite", "gemini:3.8", "cheap=openai:qwen3:8b")]
    assert [(one.use, one.model, one.label) for one in named] == [
        ("gemini", "3.5-lite", ""),
        ("gemini", "3.8", ""),
        ("openai", "qwen3:8b", "cheap"),
    ]
    options = (
        "temperature=1",
        "gemini.thinking=low",
        "gemini:3.8.thinking=high",
        "cheap.base_url=u",
        "oracle.aliases=[]",
    )
    mine = [_options_of(one, options, named) for one in named]
    assert mine[0] == ("temperature=1", "thinking=low", "oracle.aliases=[]")
    assert mine[1] == ("temperature=1", "thinking=low", "thinking=high", "oracle.aliases=[]")
    assert mine[2] == ("temperature=1", "base_url=u", "oracle.aliases=[]")
    with pytest.raises(ConfigError):
        parse_oracle("=paid")
