"""Scoring in process: plans, shards, several filters, files of all kinds. Kills and bad input: tests/cli."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from helpers import FILTER, Workspace, read_jsonl, unlabelled, write_filter, write_jsonl

from filterkit.errors import ConfigError, InputError, StoppedEarly
from filterkit.manifest import Forced, load_manifest, save_manifest
from filterkit.pipeline import score as module
from filterkit.pipeline.score import ScoreReport, score
from filterkit.rows import compress, read_rows

ROWS = list(unlabelled(130))


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch, toys: None) -> None:
    monkeypatch.setattr(module, "SHARD_ROWS", 25)


def scored(ready: Workspace, files: list[Path] | None = None, output: str = "out.jsonl", **more: Any) -> ScoreReport:
    return score([(str(ready.filter), ready / "student")], files or [ready / "in.jsonl"], ready / output, **more)


def stopping_after(shards: int) -> Any:
    asked = [0]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] > 2 * shards

    return stop


def test_every_article_gets_its_verdict_in_order_and_keeps_its_fields(ready: Workspace) -> None:
    rows = [{**row, "tags": ["x", None], "nested": {"a": 1.5}} for row in ROWS]
    write_jsonl(ready / "in.jsonl", rows)
    report = scored(ready)
    assert report.complete
    found = read_jsonl(ready / "out.jsonl")
    added = {"scores", "overall", "overall_interval", "tier", "sure", "passed", "reasons"}
    assert [{k: v for k, v in row.items() if k not in added} for row in found] == rows
    assert all(set(row) == set(rows[0]) | added for row in found)
    assert not (ready / "out.jsonl.run").exists()


def test_a_row_that_cannot_be_scored_says_why_and_is_counted(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", [ROWS[0], {**ROWS[1], "content": "unscorable"}, ROWS[2]])
    report = scored(ready)
    assert (report.counts.written, report.counts.failed) == (3, 1)
    assert not report.complete
    assert [row.get("error") for row in read_jsonl(ready / "out.jsonl")] == [None, "the toy cannot score this", None]


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_inputs_of_every_format_give_the_same_verdicts(ready: Workspace, suffix: str) -> None:
    write_jsonl(ready / "in.jsonl", ROWS)
    scored(ready)
    path = ready / f"packed{suffix}"
    if suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=40)
    else:
        path.write_bytes(compress(path, (ready / "in.jsonl").read_bytes()))
    report = scored(ready, [path], "other.jsonl")
    assert report.counts.read == 130
    assert (ready / "other.jsonl").read_bytes() == (ready / "out.jsonl").read_bytes()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_output_holds_the_same(ready: Workspace, suffix: str) -> None:
    write_jsonl(ready / "in.jsonl", ROWS)
    scored(ready)
    scored(ready, output=f"out.jsonl{suffix}")
    rows = [row for _, row in read_rows(ready / f"out.jsonl{suffix}")]
    assert rows == read_jsonl(ready / "out.jsonl")
    if suffix == ".gz":
        assert gzip.decompress((ready / "out.jsonl.gz").read_bytes()) == (ready / "out.jsonl").read_bytes()


def test_several_files_and_mapped_columns(ready: Workspace) -> None:
    renamed = [{"link": r["id"], "headline": r["title"], "text": r["content"]} for r in ROWS]
    files = [write_jsonl(ready / f"in-{i}.jsonl", renamed[i * 30 : i * 30 + 30]) for i in range(4)]
    fields = {"id": "link", "title": "headline", "content": "text"}
    report = scored(ready, [ready / "in-*.jsonl", files[0]], fields=fields)
    assert report.counts.written == 120
    found = read_jsonl(ready / "out.jsonl")
    assert [row["id"] for row in found] == [row["id"] for row in ROWS[:120]]
    assert "text" not in found[0]


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(
    ready: Workspace, workers: int, toy_site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(toy_site))
    write_jsonl(ready / "in.jsonl", ROWS)
    scored(ready)
    report = scored(ready, output="other.jsonl", executor=("local", {"workers": workers}))
    assert report.complete
    assert (ready / "other.jsonl").read_bytes() == (ready / "out.jsonl").read_bytes()


def three(ready: Workspace) -> list[tuple[str, Path]]:
    """Filters one, two and three with a student each; that of `two` is damaged."""
    filters = []
    for name in ("one", "two", "three"):
        text = FILTER.replace("name: tiny", f"name: {name}")
        write_filter(ready / name, text)
        ready.ok("prepare", name, "--labels", "labels.jsonl", "--output-dir", f"data-{name}")
        ready.ok("train", name, "--data-dir", f"data-{name}", "--output-dir", f"student-{name}")
        filters.append((str(ready / name), ready / f"student-{name}"))
    toy = ready / "student-two/toy.json"
    toy.write_bytes(toy.read_bytes().replace(b"1", b"2", 1))
    return filters


def test_one_broken_filter_is_skipped_and_told_the_others_judge(ready: Workspace) -> None:
    filters = three(ready)
    write_jsonl(ready / "in.jsonl", ROWS)
    report = score(filters, [ready / "in.jsonl"], ready / "out.jsonl")
    assert list(report.skipped) == [str(ready / "two")]
    assert "altered" in report.skipped[str(ready / "two")]
    assert not report.complete
    rows = read_jsonl(ready / "out.jsonl")
    assert all(list(row["verdicts"]) == ["one", "three"] for row in rows)
    assert rows[0]["verdicts"]["one"]["scores"] == rows[0]["verdicts"]["three"]["scores"]
    command = ["score", "one", "two", "three", "--articles", "in.jsonl", "--output", "cli.jsonl"]
    students = [x for name in ("one", "two", "three") for x in ("--student", f"student-{name}")]
    done = ready.ok(*command, *students, code=3)
    assert "two was skipped" in done.stderr
    (ready / "two/filter.yaml").write_text("nonsense: 1\n")
    for name in ("one", "three"):
        shutil.copytree(ready / f"student-{name}", ready / name / "model")
    done = ready.ok(*command, code=3)
    assert "two was skipped" in done.stderr
    assert (ready / "cli.jsonl").read_bytes() == (ready / "out.jsonl").read_bytes()


def test_filters_that_are_all_broken_are_an_error(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", ROWS)
    with pytest.raises(ConfigError, match="no filter can be used"):
        score([("nowhere", ready / "x"), ("nowhere2", ready / "y")], [ready / "in.jsonl"], ready / "out.jsonl")
    with pytest.raises(ConfigError, match="the same name"):
        score([(str(ready.filter), ready / "student")] * 2, [ready / "in.jsonl"], ready / "out.jsonl")
    assert not (ready / "out.jsonl.run").exists()


def test_a_stopped_run_goes_on_and_ends_the_same(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", [*ROWS[:60], b"{", *ROWS[60:]])
    scored(ready, output="whole.jsonl")
    with pytest.raises(StoppedEarly, match="of 6 shards"):
        scored(ready, stop=stopping_after(2))
    assert not (ready / "out.jsonl").exists()
    report = scored(ready)
    assert 1 <= report.resumed <= 4
    assert (ready / "out.jsonl").read_bytes() == (ready / "whole.jsonl").read_bytes()
    assert read_jsonl(ready / "out.rejected.jsonl") == read_jsonl(ready / "whole.rejected.jsonl")


def test_a_stop_before_the_first_shard_is_no_empty_output(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", ROWS)
    with pytest.raises(StoppedEarly, match="stopped after 0 of 6"):
        scored(ready, stop=lambda: True)
    assert not (ready / "out.jsonl").exists()


@pytest.mark.parametrize("change", ["input", "fields", "policy", "student"])
def test_another_plan_does_not_go_on_with_a_half_done_run(ready: Workspace, change: str) -> None:
    write_jsonl(ready / "in.jsonl", ROWS)
    with pytest.raises(StoppedEarly):
        scored(ready, stop=stopping_after(2))
    more: dict[str, Any] = {}
    if change == "input":
        write_jsonl(ready / "in.jsonl", ROWS[:100])
    elif change == "fields":
        more["fields"] = {"title": "language"}
    elif change == "policy":
        write_filter(ready.filter, FILTER + "postfilter: {use: overall, pass_at: 9}\n")
    else:
        ready.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student", "-O", "constant=true")
    with pytest.raises(ConfigError, match=r"other inputs, students or policies is half done.*--restart"):
        scored(ready, **more)
    report = scored(ready, restart=True, **more)
    assert report.resumed == 0
    scored(ready, output="fresh.jsonl", **more)
    assert (ready / "out.jsonl").read_bytes() == (ready / "fresh.jsonl").read_bytes()
    assert not (ready / "out.jsonl.run").exists()


def test_a_worker_that_outlived_an_older_run_disturbs_no_newer_one(ready: Workspace) -> None:
    """It still writes into its own plan's folder, which the newer run does not read."""
    write_jsonl(ready / "in.jsonl", ROWS)
    with pytest.raises(StoppedEarly):
        scored(ready, stop=stopping_after(2))
    (old,) = [p for p in (ready / "out.jsonl.run").iterdir() if p.is_dir()]
    shutil.copytree(old, ready / "late")
    write_jsonl(ready / "in.jsonl", ROWS[30:])
    with pytest.raises(StoppedEarly):
        scored(ready, restart=True, stop=stopping_after(1))
    shutil.copytree(ready / "late", old)
    scored(ready)
    assert [row["id"] for row in read_jsonl(ready / "out.jsonl")] == [row["id"] for row in ROWS[30:]]
    assert not (ready / "out.jsonl.run").exists()


def test_a_plan_of_another_version_is_not_guessed_at(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", ROWS)
    (ready / "out.jsonl.run").mkdir()
    (ready / "out.jsonl.run/plan.json").write_text(json.dumps({"plan": 7}))
    with pytest.raises(ConfigError, match="half done"):
        scored(ready)
    assert scored(ready, restart=True).complete


def test_outputs_and_inputs_that_cannot_be(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", ROWS)
    with pytest.raises(ConfigError, match=r"must end in one of \.jsonl"):
        scored(ready, output="out.parquet")
    import os

    os.mkfifo(ready / "pipe.jsonl")
    with pytest.raises(InputError, match="read twice"):
        scored(ready, [ready / "pipe.jsonl"])
    assert not list(ready.root.glob("*.run"))


def test_a_failing_shard_ends_in_exit_4_and_keeps_the_others(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from filterkit.pipeline.shards import Worker

    write_jsonl(ready / "in.jsonl", ROWS)
    judge = Worker.__call__

    def broken(self: Worker, batch: Any) -> Any:
        if batch.rows[0][0] == 26:
            raise RuntimeError("out of memory on the accelerator")
        return judge(self, batch)

    monkeypatch.setattr(Worker, "__call__", broken)
    with pytest.raises(StoppedEarly, match=r"1 of 6 shards failed.*out of memory"):
        scored(ready)
    monkeypatch.undo()
    monkeypatch.setattr(module, "SHARD_ROWS", 25)
    monkeypatch.setattr("filterkit.plugins._plugins", None)
    monkeypatch.syspath_prepend(ready.env["PYTHONPATH"])
    assert scored(ready).resumed == 5


def test_blocked_articles_are_written_counted_and_never_scored(ready: Workspace) -> None:
    write_filter(ready.filter, FILTER + "prefilter: {use: short, below: 40}\n")
    rows = [ROWS[0], {**ROWS[1], "content": "too short"}, {**ROWS[2], "content": "also", "language": "de"}, ROWS[3]]
    write_jsonl(ready / "in.jsonl", rows)
    report = scored(ready)
    assert report.counts.blocked == 2
    assert sum(report.counts.blocked_by.values()) == 2
    assert "short/de" in report.counts.blocked_by
    found = read_jsonl(ready / "out.jsonl")
    assert [row["reasons"] for row in found] == [[], ["short"], ["short"], []]
    assert [row["passed"] for row in found] == [True, False, False, True]
    assert found[1]["overall"] is None


def test_what_is_blocked_is_counted_per_source_and_apart_from_what_would_be(ready: Workspace) -> None:
    rows = [{**ROWS[0], "source": "paper"}, {**ROWS[1], "content": "too short", "source": "wire", "language": "zh"}]
    write_jsonl(ready / "in.jsonl", rows)
    write_filter(ready.filter, FILTER + "prefilter: {use: short, below: 40}\n")
    counts = scored(ready).counts
    assert (counts.blocked_by, counts.blocked_by_source) == ({"short/zh": 1}, {"short/wire": 1})
    assert (counts.shadowed_by, counts.shadowed_by_source) == ({}, {})
    (ready / "out.jsonl").unlink()
    write_filter(ready.filter, FILTER + "prefilter: {use: short, below: 40, shadow: true}\n")
    counts = scored(ready).counts
    assert (counts.blocked, counts.blocked_by, counts.blocked_by_source) == (0, {}, {})
    assert (counts.shadowed_by, counts.shadowed_by_source) == ({"short/zh": 1}, {"short/wire": 1})
    assert [row["overall"] is None for row in read_jsonl(ready / "out.jsonl")] == [False, False]


def test_a_mistake_leaves_nothing_in_the_way(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", ROWS)
    with pytest.raises(ConfigError, match="unknown key 'wrkers'"):
        scored(ready, executor=("local", {"wrkers": 2}))
    assert not list(ready.root.glob("*.run/plan.json"))
    assert scored(ready).counts.written == len(ROWS)


def test_a_run_goes_on_with_other_threads_but_not_with_another_prefilter(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", ROWS)
    asked = iter([False, True, True, True])
    with pytest.raises(StoppedEarly):
        scored(ready, stop=lambda: next(asked, True))
    write_filter(ready.filter, FILTER + "prefilter: {use: short, below: 40}\n")
    with pytest.raises(ConfigError, match="half done"):
        scored(ready)
    write_filter(ready.filter)
    report = scored(ready, threads=1)
    assert report.resumed >= 1
    assert report.counts.written == len(ROWS)


def test_an_articles_own_fields_do_not_pass_for_the_verdicts(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", [{**ROWS[0], "error": "an old crawl's", "tier": "best", "note": "kept"}])
    assert scored(ready).complete
    (row,) = read_jsonl(ready / "out.jsonl")
    assert "error" not in row
    assert row["tier"] is None
    assert row["note"] == "kept"


def test_a_forced_student_is_told_once_and_not_by_every_worker(ready: Workspace) -> None:
    manifest = load_manifest(ready / "student")
    why = Forced(reason="a demonstration", gates="mae is 1.2, the limit 1", at=datetime.now(UTC))
    save_manifest(ready / "student", manifest.model_copy(update={"forced": why}))
    write_jsonl(ready / "in.jsonl", unlabelled(12_000))
    for workers in (1, 2):
        done = ready.ok(
            "score", "tiny/v1", "--student", "student", "--articles", "in.jsonl", "--output", f"out{workers}.jsonl",
            "-O", f"workers={workers}",
        )  # fmt: skip
        assert (done.stdout + done.stderr).count("its gates refused it") == 1
        assert "a demonstration" in done.stderr
