"""filterkit check: all that is wrong with filter packages, at once, with file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

HEAD = """\
schema: 1
name: news
version: "1"
dimensions:
  - {name: help, weight: 1}
"""


def make_filter(folder: Path, more: str = "", head: str = HEAD) -> Path:
    """A filter package's folder; `more` begins at line 6 of its filter.yaml."""
    folder.mkdir(parents=True)
    (folder / "filter.yaml").write_text(head + more)
    (folder / "prompt.md").write_text("Score help.\n\n{{article}}\n")
    return folder


def test_a_filter_without_faults_is_exit_0(cli: Any, tmp_path: Path) -> None:
    make_filter(tmp_path / "f", "postfilter: {use: overall, pass_at: 5}\noracle: {use: replay, labels: [a.jsonl]}\n")
    result = cli("check", "f")
    assert (result.returncode, result.stdout, result.stderr) == (0, "f: nothing is wrong\n", "")


def test_all_is_told_at_once_over_all_filters(cli: Any, tmp_path: Path) -> None:
    make_filter(tmp_path / "good")
    make_filter(
        tmp_path / "bad",
        "postfilter: {use: overall, pas_at: 5}\n"
        "oracle:\n  use: replay\n  labels: [a.jsonl]\n  timeout_s: -1\n  modle: x\n"
        "colour: red\n",
        HEAD.replace("weight: 1", "weight: -1"),
    )
    result = cli("check", "good", "bad")
    assert result.returncode == 1
    problems = [line for line in result.stdout.splitlines() if line.startswith("bad/")]
    assert [line.split(": ")[0] for line in problems] == [
        "bad/filter.yaml:5",
        "bad/filter.yaml:12",
        "bad/filter.yaml:6",
        "bad/filter.yaml:10",
        "bad/filter.yaml:11",
    ]
    assert "unknown key 'pas_at'; did you mean 'pass_at'?" in problems[2]
    assert "good: nothing is wrong" in result.stdout
    assert "bad: 5 problems" in result.stdout


@pytest.mark.parametrize(
    ("more", "line", "expected"),
    [
        ("postfilter: {use: overall, pass_at: 11}", 6, "pass_at is 11, outside of 0 to 10"),
        ("\npostfilter: {use: overall, pass_at: high}", 7, "postfilter overall: pass_at: "),
        ("oracle: {use: replay}", 6, "'labels' is missing"),
    ],
)
def test_options_are_checked_against_the_backend_that_is_installed(
    cli: Any, tmp_path: Path, more: str, line: int, expected: str
) -> None:
    make_filter(tmp_path / "f", more)
    result = cli("check", "f")
    assert result.returncode == 1
    assert result.stdout.startswith(f"f/filter.yaml:{line}: ")
    assert expected in result.stdout


def test_what_cannot_be_checked_is_a_note_and_no_fault(cli: Any, tmp_path: Path) -> None:
    more = "oracle: {use: no-such, model: x}\ntrainer: {use: no-such}\npostfilter: {use: no-such}\n"
    make_filter(tmp_path / "f", more + "prefilter:\n  use: my-rules\n")
    result = cli("check", "f")
    assert result.returncode == 0
    notes = [line for line in result.stdout.splitlines() if line.startswith("note: ")]
    assert len(notes) == 4
    assert any("f/filter.yaml:6: there is no oracle 'no-such'" in n for n in notes)
    assert any("f/filter.yaml:10: there is no prefilter 'my-rules'" in n for n in notes)
    assert result.stdout.endswith("f: nothing is wrong\n")


def test_a_postfilters_own_rules_are_checked_against_the_filter(cli: Any, site: Any, tmp_path: Path) -> None:
    site.add(
        "acme-kit",
        plugin="""
from filterkit.api import hookimpl
@hookimpl
def register_postfilters(register): register("acme", "acme_kit.post:Acme")
""",
        files={
            "acme_kit/post.py": """
from filterkit.api import Postfilter, Options, SpecError
class Own(Options):
    needs: str
class Acme(Postfilter[Own]):
    Options = Own
    tiers = rules = ()
    def __init__(self, options, spec, ctx):
        super().__init__(options, spec, ctx)
        if options.needs not in spec.names:
            raise SpecError(f"there is no dimension {options.needs!r}")
    def judge(self, *a): ...
"""
        },
    )
    make_filter(tmp_path / "good", "postfilter: {use: acme, needs: help}\n")
    make_filter(tmp_path / "bad", "postfilter: {use: acme, needs: colour}\n")
    assert cli("check", "good").returncode == 0
    result = cli("check", "bad")
    assert result.returncode == 1
    assert result.stdout.startswith("bad/filter.yaml:6: there is no dimension 'colour'")


def test_a_filter_that_is_not_there_stops_no_other(cli: Any, tmp_path: Path) -> None:
    make_filter(tmp_path / "bad", "colour: red\n")
    result = cli("check", "nowhere", "bad")
    assert result.returncode == 2
    assert "no installed filter 'nowhere'" in result.stdout
    assert "bad/filter.yaml:6: unknown key 'colour'" in result.stdout


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: *b", "schema: [", "schema: 1\nschema: 1"])
def test_a_file_that_is_no_filter_is_one_problem(cli: Any, tmp_path: Path, text: str) -> None:
    make_filter(tmp_path / "f", head=text)
    result = cli("check", "f")
    assert result.returncode == 1
    assert "f/filter.yaml" in result.stdout
    assert "Traceback" not in result.stderr


def test_json_is_for_programs(cli: Any, tmp_path: Path) -> None:
    make_filter(tmp_path / "good", "oracle: {use: no-such}\n")
    make_filter(tmp_path / "bad", "colour: red\n")
    result = cli("check", "good", "bad", "--json")
    assert result.returncode == 1
    found = json.loads(result.stdout)
    assert found["good"]["ok"] is True
    assert len(found["good"]["notes"]) == 1
    assert found["bad"]["problems"] == ["bad/filter.yaml:6: unknown key 'colour'"]
    assert found["bad"]["path"] == "bad"
