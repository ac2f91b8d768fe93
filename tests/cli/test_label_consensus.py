"""`filterkit label --second --referee` at a provider whose models do not judge alike, and what prepare makes."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from typing import Any

import pytest
from desks import CONCURRENCY, Desk
from helpers import Workspace, labelled, unlabelled

from filterkit.testing.fake_llm import FakeLLM

JUDGES = ["--second", "openai:two", "--referee", "openai:wise"]
TOLERANCE = 2.0
Labels = dict[str, dict[str, dict[str, float]]]


@pytest.fixture
def desk(workspace: Workspace, toys: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """60 articles; the second model gives a point more than the first, and all of them wobble."""
    with FakeLLM(bias={"two": 1.0}, wobble=1.0) as server:
        yield Desk(workspace, server, monkeypatch, capsys, {"one": 1.0, "two": 2.0, "wise": 9.0}, articles=60)


def asked(desk: Desk) -> dict[str, int]:
    """Requests by model."""
    return dict(Counter(exchange.model for exchange in desk.server.exchanges))


def labels(desk: Desk) -> Labels:
    """Model -> article id -> scores."""
    found: Labels = {"one": {}, "two": {}, "wise": {}}
    for row in desk.stored():
        found[row.model][row.article.id] = row.scores
    return found


def disputed_of(desk: Desk) -> set[str]:
    """Ids of the articles about which the first two differ too much."""
    of = labels(desk)
    return {
        key
        for key, scores in of["one"].items()
        if any(abs(scores[name] - of["two"][key][name]) > TOLERANCE for name in scores)
    }


def test_the_referee_is_asked_about_what_the_two_dispute_and_about_nothing_else(desk: Desk) -> None:
    said = desk.label(*JUDGES)
    disputed = disputed_of(desk)
    assert 5 < len(disputed) < 50
    assert asked(desk) == {"one": 60, "two": 60, "wise": len(disputed)}
    assert set(labels(desk)["wise"]) == disputed
    assert said["disputes"] == {"read": 60, "both": 60, "disputed": len(disputed), "tolerance": 2.0}
    assert [said[part]["new"] for part in ("first", "second", "referee")] == [60, 60, len(disputed)]
    words = desk.words(*JUDGES)
    assert f"they differ by more than 2 on some dimension of {len(disputed)} (" in words
    assert "filterkit prepare tiny --consensus --second openai:two --referee openai:wise" in words
    assert sum(asked(desk).values()) == 120 + len(disputed)  # nothing again


def test_prepare_makes_one_label_of_the_judges(desk: Desk) -> None:
    desk.label(*JUDGES)
    of, disputed = labels(desk), disputed_of(desk)
    said, rows = desk.prepare("--consensus", *JUDGES)
    assert len(rows) == 60
    for key, row in rows.items():
        for name, score in row["scores"].items():
            one, two = of["one"][key][name], of["two"][key][name]
            apart = abs(one - two) > TOLERANCE
            expected = statistics.median([one, two, of["wise"][key][name]]) if apart else (one + two) / 2
            assert score == pytest.approx(expected), (key, name)
            assert row["disagreement"][name] == pytest.approx(abs(one - two))
        assert row["refereed"] is (key in disputed)
        assert row["judges"] == ["openai one", "openai two", *(["openai wise"] if key in disputed else [])]
    told = said["judgement"]
    assert (told["rule"], told["tolerance"], told["refereed"]) == ("consensus", 2.0, len(disputed))
    assert told["judges"] == ["openai one", "openai two", "openai wise"]
    data = json.loads((desk.workspace / "data/data.json").read_text())
    assert data["info"]["judgement"] == told
    words = desk.run("prepare", "tiny/v1", "--output-dir", "data", "--consensus", *JUDGES).out
    assert (
        f"consensus of openai one and openai two (within 2 per dimension); openai wise decided in {len(disputed)}"
        in words
    )
    assert "(as before)" in words


def test_without_a_consensus_prepare_refuses_to_mix(desk: Desk) -> None:
    desk.label(*JUDGES)
    desk.refused("prepare", "tiny/v1", says=["several oracles or models", "--consensus"])
    _, rows = desk.prepare("--model", "one")
    assert len(rows) == 60
    assert "judges" not in rows["a000000"]


def test_a_consensus_in_the_configuration_holds_for_label_and_prepare(desk: Desk) -> None:
    desk.settings("consensus: {second: 'openai:two', referee: 'openai:wise', tolerance: 2.5}\n")
    said = desk.label()
    assert asked(desk)["two"] == 60
    assert said["disputes"]["tolerance"] == 2.5
    told, _ = desk.prepare()
    assert (told["judgement"]["rule"], told["judgement"]["tolerance"]) == ("consensus", 2.5)
    other, _ = desk.prepare("--tolerance", 9)
    assert other["judgement"]["refereed"] < told["judgement"]["refereed"]
    assert other["fingerprint"] != told["fingerprint"]
    one, _ = desk.prepare("--oracle", "openai", "--model", "one")
    assert one["judgement"] is None


def test_without_a_referee_what_is_disputed_is_left_out(desk: Desk) -> None:
    desk.label("--second", "openai:two")
    disputed = disputed_of(desk)
    said, rows = desk.prepare("--consensus", "--second", "openai:two")
    assert set(rows) == set(labels(desk)["one"]) - disputed
    assert said["judgement"]["left_out"] == {"undecided": len(disputed)}
    words = desk.run("prepare", "tiny/v1", "--output-dir", "data", "--consensus", "--second", "openai:two")
    assert f"left out: {len(disputed)} articles that the judges dispute" in words.out


def test_a_dry_run_knows_two_and_estimates_the_referee(desk: Desk) -> None:
    blind = desk.label(*JUDGES, "--dry-run")
    assert (blind["first"]["to_ask"], blind["second"]["to_ask"]) == (60, 60)
    assert (blind["referee"]["to_ask"], blind["referee"]["most"]["to_ask"]) == (None, 60)
    assert "how much they will dispute is not known" in desk.words(*JUDGES, "--dry-run")
    pilot = desk.label(*JUDGES, "--pilot", 20)
    disputed = len(disputed_of(desk))
    assert asked(desk) == {"one": 20, "two": 20, "wise": disputed}
    rest = pilot["rest"]
    assert (rest["judged_by_both"], rest["disputed"]) == (20, disputed)
    assert rest["to_ask"] == round(disputed / 20 * 40)
    assert rest["usd"] == pytest.approx(rest["most"]["usd"] * disputed / 20, rel=0.2)
    again = desk.label(*JUDGES, "--dry-run")
    assert (again["first"]["to_ask"], again["second"]["to_ask"]) == (40, 40)
    assert again["referee"]["to_ask"] == rest["to_ask"]
    assert "an estimate from what both have judged" in desk.words(*JUDGES, "--dry-run")
    desk.label(*JUDGES)
    done = desk.label(*JUDGES, "--dry-run")["referee"]
    assert (done["to_ask"], done["usd"], done["estimated"]) == (0, 0.0, False)


@pytest.mark.parametrize(
    "after", [pytest.param(30, marks=pytest.mark.heavy), 90, pytest.param(124, marks=pytest.mark.heavy)]
)
def test_a_kill_in_any_part_goes_on_there(desk: Desk, after: int) -> None:
    desk.server.change(latency_s=0.02)
    desk.killed(after, *JUDGES)
    desk.label(*JUDGES)
    of = labels(desk)
    assert (len(of["one"]), len(of["two"]), set(of["wise"])) == (60, 60, disputed_of(desk))
    assert sum(asked(desk).values()) <= 120 + len(of["wise"]) + 2 * CONCURRENCY


def test_repeated_answers_of_judges_are_medians_first(desk: Desk) -> None:
    said = desk.label(*JUDGES, "--samples", 3)
    disputed = said["disputes"]["disputed"]
    assert asked(desk) == {"one": 180, "two": 180} | ({"wise": 3 * disputed} if disputed else {})
    told, rows = desk.prepare("--consensus", *JUDGES)
    assert told["judgement"]["answers"] == {"6": 60 - disputed} | ({"9": disputed} if disputed else {})
    assert len(rows) == 60


def test_an_article_that_one_judge_refuses_is_left_out_and_told(desk: Desk) -> None:
    desk.articles(unlabelled(60), a000007=" unspeakable")
    desk.label()
    desk.server.change(always={"unspeakable": "blocked"})
    said = desk.label(*JUDGES, code=3)
    assert (said["second"]["failed"], said["disputes"]["both"]) == (1, 59)
    told, prepared = desk.prepare("--consensus", *JUDGES)
    assert told["judgement"]["left_out"] == {"one_judge": 1}
    assert "a000007" not in prepared


def test_options_are_for_the_judge_that_they_name(desk: Desk) -> None:
    for option in ("second.nonsense=1", "referee.nonsense=1", "nonsense=1"):
        desk.refused(*desk.arguments(*JUDGES, "-O", option), says="nonsense")
    judges = ["--second", "openai", "-O", "second.model=two", "--referee", "openai", "-O", "referee.model=wise"]
    desk.label(*judges)
    assert set(asked(desk)) == {"one", "two", "wise"}
    assert desk.prepare("--consensus", *judges)[0]["judgement"]["referee"] == "openai wise"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--referee", "openai:wise"], "needs a second oracle"),
        (["--tolerance", "1"], "needs a second oracle"),
        (["--second", "openai:one"], "openai one would judge twice"),
        (["--second", "openai:two", "--referee", "openai:two"], "openai two would judge twice"),
        (["--second", "openai:two", "-O", "referee.model=x"], "there is no referee"),
        (["--second", "x=openai:two"], "--second takes NAME or NAME:MODEL"),
        (["--second", "openai:"], "--second takes NAME or NAME:MODEL"),
        (["--second", "opnai"], "opnai"),
        (["--second", "openai:two", "--max-cost", "1", "--referee", "openai:unpriced"], "unpriced"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_asked(desk: Desk, arguments: list[str], says: str) -> None:
    desk.refused(*desk.arguments(*arguments), says=says)
    assert desk.server.requests == 0


def test_prepare_says_what_it_needs(desk: Desk) -> None:
    desk.label()
    desk.refused("prepare", "tiny/v1", "--consensus", says="needs to know who judges")
    desk.refused("prepare", "tiny/v1", "--consensus", *JUDGES, says="no label that the judges agree on")


def test_the_judges_may_come_from_files(desk: Desk) -> None:
    given = labelled(40)
    others = [{**row, "scores": {**row["scores"], "help": min(10, row["scores"]["help"] + 1)}} for row in given]
    rows = [{**row, "oracle": "openai", "model": "one"} for row in given]
    desk.workspace.labels([*rows, *({**row, "oracle": "openai", "model": "two"} for row in others)])
    said, merged = desk.prepare("--labels", "labels.jsonl", "--consensus", "--second", "openai:two")
    assert said["judgement"]["rule"] == "consensus"
    assert merged["a000000"]["scores"]["help"] == given[0]["scores"]["help"] + 0.5


def test_a_secret_has_no_place_in_the_configuration(desk: Desk) -> None:
    desk.settings("consensus: {second: 'openai:two', second_options: {api_key: sk-live-123456}}\n")
    error = desk.refused(*desk.arguments(), says="looks like a secret")
    assert "sk-live" not in error


def test_run_labels_with_all_judges_and_learns_what_they_agree_on(desk: Desk) -> None:
    desk.settings("consensus: {second: 'openai:two', referee: 'openai:wise'}\n")
    said = json.loads(
        desk.run("run", "tiny/v1", "--articles", "in.jsonl", "--despite-audit", "--json", code=1).out
    )  # the gates refuse a student of sixty invented articles
    disputed = disputed_of(desk)
    assert asked(desk) == {"one": 60, "two": 60, "wise": len(disputed)}
    assert said["label"]["disputes"]["disputed"] == len(disputed)
    assert said["prepare"]["judgement"]["refereed"] == len(disputed)
    assert said["validate"]["judgement"]["rule"] == "consensus"
    assert said["validate"]["references"] == []  # who has a part in the label is no judge of it
    report = (desk.workspace / "tiny/v1/model/report.html").read_text()
    assert "consensus of openai one and openai two" in report


def test_a_batch_asks_one_oracle_and_says_so(desk: Desk) -> None:
    desk.settings("consensus: {second: 'openai:two', referee: 'openai:wise'}\n")
    said = desk.run(*desk.arguments("--batch", "--dry-run"))
    assert "--batch asks the first oracle alone" in said.err
