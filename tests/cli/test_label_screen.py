"""Screening before paying, as somebody sees it who labels."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers import FILTER, Inside, Workspace, labelled, read_jsonl, unlabelled, write_filter, write_jsonl
from planted import planted

PLUGIN = """
from filterkit.api import hookimpl

@hookimpl
def register_oracles(register):
    register("free", "acme_screen.made:FreeOracle", summary="costs nothing, and counts what it is asked")

@hookimpl
def register_prefilters(register):
    register("titles", "acme_screen.made:TitlePrefilter", summary="holds back by title")
"""
MADE = """
import json

from filterkit.api import Block, Options, Oracle, OracleOptions, Pass, Prefilter, Refused, Reply


class FreeOptions(OracleOptions):
    model: str = "free"


class FreeOracle(Oracle[FreeOptions]):
    Options = FreeOptions

    async def complete(self, request):
        with open(self.ctx.root / "asked.txt", "a") as file:
            print(request.key, file=file)
        if "nasty" in request.article:
            raise Refused("no")
        return Reply(text=json.dumps(dict.fromkeys(self.spec.names, 2)), model_version="free")


class TitleOptions(Options):
    words: tuple[str, ...] = ("advert",)
    shadow: bool = False


class TitlePrefilter(Prefilter[TitleOptions]):
    Options = TitleOptions

    def judge(self, articles):
        held = [any(word in article.title for word in self.options.words) for article in articles]
        return [Block(rule="titles", reason="its title", shadow=self.options.shadow) if h else Pass() for h in held]
"""
WALL = "We use cookies. Accept all. Reject all."
LABEL = ["label", "tiny/v1", "--articles", "in.jsonl", "--oracle", "free"]


def near(i: int, which: int, **more: Any) -> dict[str, Any]:
    """One of two articles that are nearly the same."""
    return {"id": f"near{i}{'ab'[which]}", "title": f"Story {i}", "content": planted("latin", i, 0.9)[which], **more}


@pytest.fixture
def free(
    tmp_path: Path, local_site: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Inside:
    """A workspace with 34 articles: 20 of their own, 5 pairs of near-duplicates, 3 copies, a consent wall."""
    local_site.add("acme-screen", plugin=PLUGIN, files={"acme_screen/made.py": MADE})
    monkeypatch.setattr("filterkit.plugins._plugins", None)
    root = Workspace(tmp_path, local_site.path).root
    monkeypatch.chdir(root)
    rows = [*unlabelled(20), *(near(i, which) for i in range(5) for which in (0, 1))]
    copies = [{**row, "id": f"copy{i}"} for i, row in enumerate(unlabelled(3))]
    write_jsonl(root / "in.jsonl", [*rows, *copies, {"id": "wall", "title": "Village news", "content": WALL}])
    return Inside(root, capsys)


def asked(workspace: Inside) -> int:
    file = workspace / "asked.txt"
    return len(file.read_text().splitlines()) if file.exists() else 0


def out_of(workspace: Inside, name: str = "in.left-out.jsonl") -> dict[str, Mapping[str, Any]]:
    return {row["id"]: row for row in read_jsonl(workspace / name)}


def as_json(workspace: Inside, *arguments: object, code: int = 0) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(workspace(*arguments, "--json", code=code).out)
    return found


def test_what_is_not_worth_a_label_is_left_out_and_said_with_the_file_and_the_switch(free: Inside) -> None:
    done = free(*LABEL)
    assert asked(free) == 25
    assert "28 articles: 25 labelled now, 0 were already, 3 with the same text, 0 failed" in done.out
    [line] = [line for line in done.err.splitlines() if "left out" in line]
    assert "left out 6 of 34 articles before asking: 5 near-duplicates, 1 boilerplate (consent wall 1)" in line
    assert "in.left-out.jsonl" in line
    assert "--no-screen" in line
    rows = out_of(free)
    assert set(rows) == {*(f"near{i}b" for i in range(5)), "wall"}
    assert (rows["near1b"]["reason"], rows["near1b"]["like"]) == ("near-duplicate", "near1a")
    assert 0.75 <= rows["near1b"]["similarity"] <= 1
    assert (rows["near1b"]["file"], rows["near1b"]["line"]) == ("in.jsonl", 24)
    assert (rows["wall"]["reason"], rows["wall"]["what"], rows["wall"]["line"]) == ("boilerplate", "consent wall", 34)


def test_a_second_run_decides_the_same_and_asks_nothing(free: Inside) -> None:
    free(*LABEL)
    before = (free / "in.left-out.jsonl").read_bytes()
    again = as_json(free, *LABEL)
    assert (again["read"], again["already"], again["new"], asked(free)) == (28, 28, 0, 25)
    assert (free / "in.left-out.jsonl").read_bytes() == before


def test_no_screen_asks_about_all_of_them(free: Inside) -> None:
    done = free(*LABEL, "--no-screen")
    assert asked(free) == 31
    assert "left out" not in done.err
    assert not (free / "in.left-out.jsonl").exists()
    assert "screen" not in as_json(free, *LABEL, "--no-screen")


def test_what_was_labelled_without_screening_is_never_left_out(free: Inside) -> None:
    free(*LABEL, "--no-screen")
    done = free(*LABEL)
    assert "34 articles: 0 labelled now, 34 were already" in done.out
    assert "left out" not in done.err


@pytest.mark.parametrize("command", [LABEL, [*LABEL, "--dry-run"], [*LABEL, "--pilot", "10"]])
def test_counts_are_in_json_of_every_way_to_label(free: Inside, command: list[str]) -> None:
    found = as_json(free, *command)["screen"]
    assert (found["read"], found["kept"], found["left_out"], found["copies"]) == (34, 28, 6, 3)
    assert (found["near_duplicates"], found["boilerplate"], found["prefilter"]) == (5, 1, 0)
    assert found["boilerplate_by"] == {"consent wall": 1}
    assert Path(found["file"]).name == "in.left-out.jsonl"


def test_a_dry_run_counts_what_will_be_asked(free: Inside) -> None:
    done = free(*LABEL, "--dry-run")
    assert "left out 6 of 34 articles" in done.err
    assert "28 articles: 25 to be asked" in done.out
    assert asked(free) == 0


def test_a_limit_counts_what_is_left(free: Inside) -> None:
    assert as_json(free, *LABEL, "--limit", "23")["new"] == 23  # 20 and three of the pairs
    assert asked(free) == 23


def test_with_a_limit_no_more_is_looked_at_than_it_takes(free: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filterkit.cli.label_screen.CHUNK", 4)
    monkeypatch.setattr("filterkit.cli.label_screen.ENOUGH", 8)
    few = as_json(free, *LABEL, "--limit", "6", "--dry-run")
    assert (few["screen"]["read"], few["screen"]["left_out"], few["to_ask"]) == (12, 0, 6)
    more = as_json(free, *LABEL, "--limit", "24", "--dry-run")
    assert (more["screen"]["read"], more["screen"]["near_duplicates"], more["to_ask"]) == (34, 5, 24)


@pytest.mark.parametrize(
    ("parts", "left"),
    [
        ("near_duplicates: null", {"wall"}),
        ("boilerplate: false", {f"near{i}b" for i in range(5)}),
        ("near_duplicates: 0.99", {"wall"}),
    ],
)
def test_parts_are_switched_off_in_the_configuration(free: Inside, parts: str, left: set[str]) -> None:
    (free / "filterkit.yaml").write_text(f"label: {{screen: {{{parts}}}}}\n")
    free(*LABEL)
    assert set(out_of(free)) == left


@pytest.mark.parametrize("wrong", ["near_duplicates: 0.2", "near_duplicates: .nan", "dedupe: true"])
def test_a_wrong_setting_is_refused_with_its_line(free: Inside, wrong: str) -> None:
    (free / "filterkit.yaml").write_text(f"label:\n  screen:\n    {wrong}\n")
    assert "filterkit.yaml:3" in free(*LABEL, code=2).err


# The prefilter


def held_back(free: Inside, more: str = "") -> None:
    write_filter(free / "tiny" / "v1", FILTER + f"prefilter: {{use: titles{more}}}\n")
    rows = list(unlabelled(10))
    languages, sources = ["nl", "nl", "de", None], ["Krant", "Blad", "Blad", None]
    for row, language, source in zip(rows, languages, sources, strict=False):
        row |= {"title": f"advert {row['id']}", "language": language, "source": source}
    write_jsonl(free / "in.jsonl", rows)


def test_the_prefilter_holds_back_and_is_counted_by_language_and_source(free: Inside) -> None:
    held_back(free)
    said = free(*LABEL, "--dry-run").err
    assert "4 held back by the prefilter" in said
    assert "by language: titles/nl 2, titles/de 1, titles/unknown 1; by source: titles/Blad 2" in said
    found = as_json(free, *LABEL)["screen"]
    assert found["blocked_by"] == {"titles/nl": 2, "titles/de": 1, "titles/unknown": 1}
    assert found["blocked_by_source"] == {"titles/Krant": 1, "titles/Blad": 2, "titles/unknown": 1}
    assert asked(free) == 6
    assert {(row["reason"], row["what"]) for row in out_of(free).values()} == {("prefilter", "titles")}


def test_rules_in_shadow_mode_are_counted_and_hold_nothing_back(free: Inside) -> None:
    held_back(free, ", shadow: true")
    done = free(*LABEL, "--dry-run")
    assert "shadow rules would hold back, by language: titles/nl 2" in done.err
    assert "10 articles: 10 to be asked" in done.out
    found = as_json(free, *LABEL)["screen"]
    assert (found["left_out"], sum(found["shadowed_by"].values()), sum(found["shadowed_by_source"].values())) == (
        0,
        4,
        4,
    )
    assert found["file"] is None


def test_the_prefilter_can_be_left_to_scoring(free: Inside) -> None:
    held_back(free)
    (free / "filterkit.yaml").write_text("label: {screen: {prefilter: false}}\n")
    assert as_json(free, *LABEL)["new"] == 10


def test_a_prefilter_that_is_missing_is_named_before_anything_is_asked(free: Inside) -> None:
    write_filter(free / "tiny" / "v1", FILTER + "prefilter: {use: nowhere}\n")
    assert "no prefilter 'nowhere'" in free(*LABEL, code=2).err
    assert asked(free) == 0


# Files


def rows_of(free: Inside) -> Iterable[bytes]:
    return (free / "in.jsonl").read_bytes().splitlines()


def test_of_several_files_each_left_out_article_names_its_own(free: Inside) -> None:
    lines = list(rows_of(free))
    (free / "one.jsonl").write_bytes(b"\r\n".join(lines[:21]) + b"\r\n\r\n{broken\r\n")
    with gzip.open(free / "two.jsonl.gz", "wb") as file:
        file.write(b"\n".join(lines[21:]))
    free("label", "tiny/v1", "--articles", "one.jsonl", "--articles", "two.jsonl.gz", "--oracle", "free", code=3)
    rows = out_of(free, "one.left-out.jsonl")
    assert (rows["near0b"]["file"], rows["near0b"]["line"], rows["near0b"]["like"]) == ("two.jsonl.gz", 1, "near0a")
    assert len(rows) == 6
    assert asked(free) == 25


def test_the_file_goes_when_nothing_is_left_out_any_more(free: Inside) -> None:
    free(*LABEL, "--dry-run")
    write_jsonl(free / "in.jsonl", unlabelled(20))
    free(*LABEL)
    assert not (free / "in.left-out.jsonl").exists()


def test_an_input_is_not_overwritten(free: Inside) -> None:
    (free / "in.left-out.jsonl").write_bytes((free / "in.jsonl").read_bytes())
    assert "is an input" in free(*LABEL, "--articles", "in.left-out.jsonl", code=2).err


def test_ids_and_texts_may_hold_anything(free: Inside) -> None:
    odd = [{"id": "\ud800\x00", "content": f"{'ab ' * 60}\ud800"}, {"id": "second", "content": f"{'AB ' * 60}\ud800"}]
    (free / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in odd), encoding="ascii")
    free(*LABEL)
    assert [row["id"] for row in read_jsonl(free / "in.left-out.jsonl")] == ["second"]


def test_run_screens_too(free: Inside) -> None:
    write_jsonl(free / "in.jsonl", [near(0, 0), near(0, 1), *labelled(3)])
    done = free("run", "tiny/v1", "--articles", "in.jsonl", "--oracle", "free", code=1)
    assert "left out 1 of 5 articles before asking: 1 near-duplicate;" in done.err
    assert asked(free) == 4
