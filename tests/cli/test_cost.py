"""`filterkit cost`: the sums that somebody would check with a pocket calculator, and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from helpers import Workspace, unlabelled, write_jsonl

from filterkit.cli.main import run
from filterkit.errors import ConfigError
from filterkit.filters import load_filter
from filterkit.io import read_articles
from filterkit.pipeline.cost.scenario import load_scenarios
from filterkit.prompt import sent_text
from filterkit.records import Label, Usage, sha256_text
from filterkit.store import Key, Outcome, Question, Store

PLAIN = ("cost", "tiny/v1", "--per-day", 4000, "--oracle-price", "0.001")
OWN = """\
scenarios:
  - name: mine
    kind: serving
    what: a box of mine
    price: PRICE
    MORE
    as_of: 2026-11-22
    source: the bill
"""


def as_json(workspace: Workspace, *arguments: object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(workspace.ok(*arguments, "--json").stdout)
    return found


def options(found: Mapping[str, Any]) -> dict[str, Any]:
    return {option["name"]: option for option in found["options"]}


@pytest.fixture
def refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in this process and gives the one line that it ends with."""
    monkeypatch.chdir(workspace.root)

    def refused(*arguments: object) -> str:
        assert run([str(argument) for argument in arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return refused


def own(workspace: Workspace, price: str, more: str = "note: none") -> str:
    text = OWN.replace("PRICE", price).replace("MORE", more)
    (workspace / "mine.yaml").write_text(text)
    return "mine.yaml"


def test_the_known_sums(workspace: Workspace) -> None:
    found = as_json(workspace, *PLAIN, "--endpoint-price", "0.60")
    assert found["oracle"]["yearly_usd"] == 1460
    there = options(found)
    pro, endpoint = there["hf-pro"], there["your-endpoint"]
    assert (pro["yearly_usd"], pro["saving_usd"], round(pro["saving_share"], 3)) == (108, 1352, 0.926)
    assert (pro["available"], pro["verdict"], pro["break_even_per_day"]) == (False, "not available", 296)
    assert (endpoint["yearly_usd"], endpoint["saving_usd"]) == (5256, -3796)
    assert (endpoint["verdict"], endpoint["break_even_per_day"]) == ("oracle is cheaper", 14400)
    assert found["cheapest"] != "hf-pro", "what cannot be had is never recommended"
    assert there["runpod-4090"]["yearly_usd"] == 5256, "the upper end of its range"


def test_the_table_says_the_same(workspace: Workspace) -> None:
    said = workspace.ok(*PLAIN, "--endpoint-price", "0.60").stdout
    lines = {line.split()[0]: line for line in said.splitlines() if "$" in line}
    assert "$1,460.00" in lines["ask"]
    for text in ("$108.00", "$1,352.00 (93%)", "296 a day", "not available for your own model"):
        assert text in lines["hf-pro"]
    for text in ("$5,256.00", "-$3,796.00", "14,400 a day", "the oracle is cheaper"):
        assert text in lines["your-endpoint"]
    assert "serverless inference does not serve a model that you uploaded" in said
    assert "At 4,000 articles a day the cheapest student is own-cpu" in said


def test_few_articles_are_cheaper_at_the_oracle_and_that_is_said(workspace: Workspace) -> None:
    arguments = ("cost", "tiny/v1", "--per-day", 5, "--oracle-price", "0.001")
    said = workspace.ok(*arguments).stdout
    assert "At 5 articles a day calling the oracle is cheaper: $1.83 a year, against $5.00" in said
    assert "pays for itself within a year from 14 articles a day" in said
    assert as_json(workspace, *arguments)["oracle_is_cheaper"] is True
    assert as_json(workspace, *PLAIN)["oracle_is_cheaper"] is False
    enough = ("cost", "tiny/v1", "--per-day", 14, "--oracle-price", "0.001")
    assert as_json(workspace, *enough)["oracle_is_cheaper"] is False, "the break-even is where it turns"


def test_one_instance_too_few_makes_two(workspace: Workspace) -> None:
    file = own(workspace, "{per_hour: 1}", "capacity: {articles_per_hour: 100, how: measured}")
    per_day = ("cost", "tiny/v1", "--oracle-price", "0.02", "--scenarios", file, "--per-day")
    one, two = (options(as_json(workspace, *per_day, n))["mine"] for n in (2400, 2401))
    assert (one["instances"], one["yearly_usd"]) == (1, 8760)
    assert (two["instances"], two["yearly_usd"]) == (2, 17520)
    assert "mine: 2 instances: one cannot judge so many a day" in workspace.ok(*per_day, 2401).stdout
    assert one["break_even_per_day"] == 1200
    slow = options(as_json(workspace, *per_day, 2400, "--throughput", 10))["mine"]
    assert (slow["instances"], slow["break_even_per_day"]) == (10, None), "an article costs more than the oracle's"


@pytest.mark.parametrize(
    ("price", "more", "yearly"),
    [
        ("{per_article: 0.0001}", "note: none", 146),
        ("{per_month: {low: 5, high: 10}}", "note: none", 120),
        ("{power: {watts: 100, usd_per_kwh: 0.25}}", "note: none", 219),
        ("{per_hour: 2}", "runs: in_use\n    idle_hours: 0.5\n    capacity: {articles_per_hour: 1000, how: so}", 3285),
    ],
)
def test_every_way_to_pay(workspace: Workspace, price: str, more: str, yearly: float) -> None:

    found = options(as_json(workspace, *PLAIN, "--scenarios", own(workspace, price, more)))["mine"]
    assert found["yearly_usd"] == yearly


def test_what_is_always_on_is_paid_also_on_days_off(workspace: Workspace) -> None:
    found = as_json(workspace, *PLAIN, "--days", 100, "--endpoint-price", 1)
    assert found["oracle"]["yearly_usd"] == 400
    assert options(found)["your-endpoint"]["yearly_usd"] == 8760
    assert options(found)["own-cpu"]["yearly_usd"] < options(as_json(workspace, *PLAIN))["own-cpu"]["yearly_usd"]


# The oracle's price


def labelled_store(workspace: Workspace, count: int = 10, *, cost: float | None = 0.004) -> None:
    """Answers of 1,000 tokens in, 400 of them cached, and 200 out."""
    filter = load_filter(workspace.filter)
    write_jsonl(workspace / "in.jsonl", unlabelled(count))
    articles = list(read_articles([workspace / "in.jsonl"]))
    question = Question(filter.request_hash(), "acme", "big", "tiny 1")
    hashes = [sha256_text(sent_text(filter.spec, a)) for a in articles]
    with Store(workspace / "labels.db") as store, store.owner() as owner:
        store.put_articles(question, list(zip(articles, hashes, strict=True)))
        states = store.claim(question, [Key(h) for h in hashes], owner)
        store.complete(
            [
                Outcome(
                    state.attempt or 0,
                    "labelled",
                    label=Label({"help": 1.0, "novelty": 2.0, "is_advert": 0.0}),
                    usage=Usage(input=1000, cached_input=400, output=200),
                    cost_usd=cost,
                    model_version="big",
                )
                for state in states
            ]
        )


def test_the_store_tells_the_tokens_and_the_price_table_the_rest(workspace: Workspace) -> None:
    labelled_store(workspace)
    found = as_json(workspace, "cost", "tiny/v1", "--per-day", 1000)
    assert (found["oracle"]["source"], found["oracle"]["usd_per_article"]) == ("recorded", 0.004), "no price is known"
    assert found["labelling"] | {"planned": 0} == {
        "labels": 10,
        "spent_usd": 0.04,
        "held_usd": 0,
        "unknown_costs": 0,
        "planned": 0,
        "planned_is_assumed": False,
        "to_label": 0,
        "to_come_usd": 0,
        "usd": 0.04,
    }
    price = "{input: 2.0, cached_input: 0.5, output: 10.0, as_of: 2026-11-01, source: our contract}"
    (workspace / "filterkit.yaml").write_text(f"prices:\n  big: {price}\n")
    oracle = as_json(workspace, "cost", "tiny/v1", "--per-day", 1000)["oracle"]
    assert (oracle["source"], oracle["measured"], oracle["name"]) == ("store", 10, "acme")
    assert oracle["usd_per_article"] == 0.0034  # 600 at 2, 400 at 0.5, 200 at 10, by the million
    said = workspace.ok("cost", "tiny/v1", "--labels-planned", 30).stdout
    assert "the tokens of 10 answers in the store" in said
    assert "our contract" in said
    assert "10 labels there, $0.04 spent, 20 to come: $0.07" in said


def test_tokens_of_ones_own_and_an_estimate_and_a_guess(workspace: Workspace) -> None:
    guess = as_json(workspace, "cost", "tiny/v1")["oracle"]
    assert (guess["source"], guess["usd_per_article"]) == ("assumed", 0.001)
    gemini = ("cost", "tiny/v1", "-O", "oracle.use=gemini", "-O", "model=gemini-3.5-flash-lite")
    tokens = as_json(workspace, *gemini, "--articles-tokens", 1000, 200)["oracle"]
    assert tokens["usd_per_article"] == 0.0008
    assert as_json(workspace, *gemini)["oracle"]["source"] == "estimate"
    workspace.env["FILTERKIT_DISABLE_PLUGINS"] = "filterkit-gemini,gemini"
    without = as_json(workspace, *gemini, "--articles-tokens", 1000, 200)["oracle"]
    assert without["usd_per_article"] == 0.0008, "a scenario file knows Gemini's prices too"
    workspace.refused("cost", "tiny/v1", "--articles-tokens", 1, 1, says="needs a price")


# What is refused


@pytest.mark.parametrize(
    "wrong",
    [
        ("--per-day", "0"),
        ("--per-day", "-3"),
        ("--per-day", "2.5"),
        ("--per-day", "1e30"),
        ("--per-day", "many"),
        ("--days", "367"),
        ("--oracle-price", "nan"),
        ("--oracle-price", "inf"),
        ("--oracle-price", "-0.01"),
        ("--articles-tokens", "-1", "5"),
        ("--labels-planned", "-1"),
        ("--throughput", "0"),
        ("--endpoint-price", "1e9"),
        ("--scenarios", "missing.yaml"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_in_one_line(refused: Any, wrong: Sequence[str]) -> None:
    assert (wrong[-1] if wrong[0] == "--scenarios" else wrong[0]) in refused("cost", "tiny/v1", *wrong)


@pytest.mark.parametrize(
    ("price", "more", "says"),
    [
        ("{per_hour: .nan}", "note: x", "mine.yaml:5: "),
        ("{per_hour: -1}", "note: x", "mine.yaml:5: "),
        ("{per_hour: {low: 2, high: 1}}", "note: x", "low is above high"),
        ("{per_hour: 1, per_month: 1}", "note: x", "exactly one of"),
        ("{per_run: 1}", "note: x", "serving is priced by one of"),
        ("{per_hour: 1}", "runs: in_use", "needs a price by the hour and a capacity"),
        ("{per_hour: 1}", "colour: red", "mine.yaml:6: unknown key 'scenarios.0.colour'"),
        ("{per_hour: 1}", "name: twice", "appears twice"),
    ],
)
def test_a_wrong_scenario_file_is_named_with_its_line(
    workspace: Workspace, refused: Any, price: str, more: str, says: str
) -> None:
    line = refused(*PLAIN, "--scenarios", own(workspace, price, more))
    assert line.startswith("Error: mine.yaml:")
    assert says in line


def test_a_price_whose_day_is_over_is_shown_and_not_chosen(workspace: Workspace) -> None:
    found = as_json(workspace, *PLAIN, "--scenarios", own(workspace, "{per_month: 0}", "until: 2020-01-01"))
    mine = options(found)["mine"]
    assert (mine["available"], mine["why_not"]) == (False, "its price held until 2020-01-01")
    assert found["cheapest"] != "mine"


def test_an_own_scenario_replaces_one_of_the_same_name(workspace: Workspace) -> None:
    text = OWN.replace("mine", "own-cpu").replace("PRICE", "{per_hour: 3}").replace("MORE", "note: x")
    (workspace / "mine.yaml").write_text(text)
    assert options(as_json(workspace, *PLAIN, "--scenarios", "mine.yaml"))["own-cpu"]["yearly_usd"] == 26280


def test_what_is_shipped_is_dated_and_has_a_source(tmp_path: Path) -> None:
    shipped = load_scenarios()
    assert {s.kind for s in shipped} == {"training", "serving", "oracle"}
    assert all(s.as_of.year >= 2026 and s.source for s in shipped)
    assert {s.name for s in shipped if s.ended} == {"hf-pro"}
    assert next(s for s in shipped if s.name == "own-server").price.hourly == Decimal("0.0045")
    (tmp_path / "a.yaml").write_text("scenarios: []\n")
    with pytest.raises(ConfigError, match=r"a\.yaml:1"):
        load_scenarios([tmp_path / "a.yaml"])
