"""`filterkit sample` and `filterkit label --select` as somebody types them."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers import FILTER, Inside, Workspace, article, read_jsonl, write_filter, write_jsonl
from helpers import labelled as labelled_rows

from filterkit.filters import load_filter
from filterkit.store import Store

HUGE = 200_000
NAMES = ("help", "novelty", "is_advert")
SAMPLE = ["sample", "--articles", "in.jsonl", "--output", "out.jsonl"]
LABEL = ["label", "tiny/v1", "--articles", "in.jsonl", "--oracle", "replay", "-O", "labels=recorded.jsonl"]


def pool(n: int, start: int = 0) -> list[dict[str, Any]]:
    """n articles of three sources and seven hosts; every tenth has neither."""
    rows = []
    for i in range(start, start + n):
        row = {k: v for k, v in article(i, seed=1).items() if k != "scores"}
        if i % 10:
            row |= {"source": f"source {'aab'[i % 3]}", "url": f"https://www.host{i % 7}.org/{i}"}
        rows.append(row)
    return rows


@pytest.fixture
def inside(ready: Workspace, monkeypatch: pytest.MonkeyPatch, toys: None, capsys: Any) -> Inside:
    """A workspace with a validated student/, where `replay` answers what is asked about 300 articles of in.jsonl."""
    monkeypatch.chdir(ready.root)
    write_jsonl(ready / "in.jsonl", pool(300))
    write_jsonl(ready / "recorded.jsonl", ({**row, "scores": dict.fromkeys(NAMES, 5)} for row in pool(300)))
    return Inside(ready.root, capsys)


def labelled(inside: Inside) -> list[str]:
    """Ids of the articles that are labelled, one for each label."""
    with Store(inside / "labels.db", create=False) as store:
        return [row.article.id for row in store.labelled(load_filter(inside / "tiny" / "v1").request_hash())]


def as_json(inside: Inside, *arguments: object, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(inside(*arguments, "--json", code=code).out)
    return found


def choices(inside: Inside) -> list[Path]:
    return list((inside / ".filterkit" / "choices").glob("*.json"))


# sample


def test_a_sample_is_written_whole_with_all_fields_as_they_are(inside: Inside) -> None:
    odd = {"id": 7, "title": None, "content": "Ein \ud83d Wort", "scores": {"x": [1, 2.50]}, "url": ["no"], "ид": "é"}
    write_jsonl(inside / "in.jsonl", [*pool(20), json.dumps(odd).encode(), b"\r", b"{broken", *pool(5)])
    said = inside(*SAMPLE, "--limit", "100", code=3)
    assert "chose 21 articles of 26: random" in said.out
    assert "1 line could not be read" in said.err
    rows = {json.dumps(row) for row in read_jsonl(inside / "out.jsonl")}
    assert rows == {json.dumps(row) for row in [*pool(20), odd]}


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_two_files_in_any_order_make_one_sample(inside: Inside, suffix: str) -> None:
    rows = random.Random(1).sample(pool(300), 300)
    write_jsonl(inside / "a.jsonl", rows[:100])
    (inside / "b.jsonl.gz").write_bytes(gzip.compress(write_jsonl(inside / "b", rows[100:]).read_bytes()))
    inside("sample", "--articles", "b.jsonl.gz", "--articles", "a.jsonl", "--output", f"x.{suffix}", "--limit", "30")
    inside(*SAMPLE, "--limit", "30")
    data = (inside / f"x.{suffix}").read_bytes()
    assert (gzip.decompress(data) if suffix.endswith("gz") else data) == (inside / "out.jsonl").read_bytes()
    inside(*SAMPLE, "--limit", "30", "--seed", "1")
    assert data != (inside / "out.jsonl").read_bytes()


@pytest.mark.parametrize("strategy", ["random", "stratified", "diverse", "near", "uncertain"])
def test_every_strategy_keeps_the_cap_and_says_what_it_chose_from(inside: Inside, strategy: str) -> None:
    write_jsonl(inside / "like.jsonl", pool(3))
    more = {"near": ["--near", "like.jsonl"], "uncertain": ["--student", "student"]}.get(strategy, [])
    told = as_json(inside, *SAMPLE, "--limit", "60", "--select", strategy, "--domain-cap", "3", *more)
    rows = read_jsonl(inside / "out.jsonl")
    hosts = Counter(row["url"].split("/")[2] for row in rows if "url" in row)
    assert max(hosts.values()) <= 3
    assert (told["read"], told["free"], told["chosen"], told["strategies"]) == (
        300,
        300,
        len(rows),
        {strategy: len(rows)},
    )
    assert sum(row["chosen"] for row in told["strata"]) == len(rows) >= 7 * 3
    assert sum(row["of"] for row in told["strata"]) <= 300


def test_stratified_has_every_source_at_its_share(inside: Inside) -> None:
    told = as_json(inside, *SAMPLE, "--limit", "90", "--select", "stratified")
    for row in told["strata"]:
        assert abs(row["chosen"] - 0.3 * row["of"]) <= 1.5, row
    assert {row["source"] for row in told["strata"]} == {"", "source a", "source b"}


def test_near_finds_the_copies_of_its_examples_first(inside: Inside) -> None:
    examples = write_jsonl(inside / "like.jsonl", pool(2, start=250))
    inside(*SAMPLE, "--limit", "10", "--select", "near", "--near", "like.jsonl")
    assert {row["id"] for row in read_jsonl(inside / "out.jsonl")[:2]} == {row["id"] for row in read_jsonl(examples)}


def test_examples_may_have_the_columns_of_the_pool_or_ours(inside: Inside) -> None:
    write_jsonl(inside / "in.jsonl", ({"text": row["content"], "n": i} for i, row in enumerate(pool(50))))
    write_jsonl(inside / "theirs.jsonl", [{"text": pool(50)[7]["content"]}, b"{broken"])
    write_jsonl(inside / "ours.jsonl", [{"content": pool(50)[7]["content"]}])
    for file, broken in (("theirs", True), ("ours", False)):
        like = ["--select", "near", "--near", f"{file}.jsonl"]
        said = inside(*SAMPLE, "--fields", "content=text", "--limit", "1", *like)
        assert read_jsonl(inside / "out.jsonl")[0]["n"] == 7
        assert ("1 example could not be read: theirs.jsonl:2" in said.err) is broken


def test_a_source_with_half_a_character_is_told_of(inside: Inside) -> None:
    rows = [{**row, "source": "half \ud83d"} for row in pool(5)]
    write_jsonl(inside / "in.jsonl", [json.dumps(row).encode() for row in rows])
    assert as_json(inside, *SAMPLE, "--limit", "5")["strata"][0]["source"] == "half \ufffd"


def test_with_a_filter_what_is_labelled_is_left_out(inside: Inside) -> None:
    inside(*LABEL, "--limit", "100")
    done = ["--oracle", "replay", "-O", "oracle.labels=recorded.jsonl"]
    told = as_json(inside, *SAMPLE, "--limit", "300", "--filter", "tiny/v1", "-O", "oracle.use=replay", *done[2:])
    assert (told["labelled"], told["chosen"]) == (100, 200)
    assert not {row["id"] for row in read_jsonl(inside / "out.jsonl")} & set(labelled(inside))
    said = inside(*SAMPLE, "--limit", "300", "--filter", "tiny/v1")
    assert "no oracle is configured" in said.err


def test_mistakes_are_one_line_each_and_nothing_is_written(inside: Inside, tmp_path: Path) -> None:
    write_jsonl(inside / "none.jsonl", [])
    other = tmp_path / "other"
    for words, says in {
        ("--select", "divers"): "Did you mean 'diverse'",
        ("--select", "near"): "--select near needs --near",
        ("--select", "uncertain"): "--select uncertain needs --student",
        ("--select", "random", "--near", "in.jsonl"): "--near belongs to --select near",
        ("--select", "near", "--near", "none.jsonl"): "no article to be near to",
        ("--select", "near", "--near", "nowhere.jsonl"): "there is no such file",
        ("--select", "uncertain", "--student", str(other)): "other",
        ("--select", "diverse", "--embedder", "statik"): "Did you mean 'static'",
        ("--output", "in.jsonl"): "would be overwritten",
        ("--output", "out.csv"): "JSON lines",
        ("--output", "in.rejected.jsonl"): "lines go that cannot be read",
    }.items():
        said = inside(*SAMPLE, "--limit", "5", *words, code=2)
        assert says in said.err.splitlines()[-1], said.err
        assert "Traceback" not in said.err
        assert not (inside / "out.jsonl").exists()


def test_a_student_that_knows_no_doubt_is_refused_before_anything_is_read(inside: Inside) -> None:
    write_jsonl(inside / "few.jsonl", labelled_rows(40))  # too few in val to fit an interval
    inside("prepare", "tiny/v1", "--labels", "few.jsonl", "--output-dir", "few")
    inside("train", "tiny/v1", "--data-dir", "few", "--output-dir", "naive")
    said = inside(*SAMPLE, "--limit", "5", "--select", "uncertain", "--student", "naive", code=2)
    assert "does not say how sure it is" in said.err.splitlines()[-1]
    assert not (inside / "out.jsonl").exists()


# label --select


def test_label_asks_about_what_was_chosen_and_about_others_the_next_time(inside: Inside) -> None:
    said = inside(*LABEL, "--select", "stratified", "--limit", "40")
    assert "chose 40 articles of 300: stratified; " in said.err
    first = set(labelled(inside))
    told = as_json(inside, *LABEL, "--select", "diverse", "--limit", "50", "--domain-cap", "20")
    assert (told["new"], told["selection"]["labelled"], told["selection"]["free"]) == (50, 40, 260)
    assert told["selection"]["strategies"] == {"diverse": 50}
    assert len(set(labelled(inside)) - first) == 50
    assert not choices(inside)


def test_a_dry_run_tells_of_the_same_choice_and_writes_nothing(inside: Inside) -> None:
    chosen = ["--select", "random:0.5,diverse:0.5", "--limit", "40"]
    told = as_json(inside, *LABEL, *chosen, "--dry-run")
    assert (told["to_ask"], told["selection"]["strategies"]) == (40, {"random": 20, "diverse": 20})
    assert not choices(inside)
    assert not (inside / "labels.db").exists()
    inside(*LABEL, *chosen)
    assert len(labelled(inside)) == 40


def test_a_pilot_is_of_what_was_chosen_and_the_rest_of_it_follows(inside: Inside) -> None:
    chosen = [*LABEL, "--select", "uncertain", "--student", "student", "--limit", "40"]
    assert as_json(inside, *chosen, "--pilot", "10")["selection"]["chosen"] == 40
    pilot = set(labelled(inside))
    said = inside(*chosen)
    assert "chosen before" in said.err
    assert len(pilot) == 10
    assert pilot < set(labelled(inside))
    assert len(labelled(inside)) == 40


def test_a_killed_run_goes_on_with_its_own_choice(ready: Workspace, inside: Inside) -> None:
    chosen = [*LABEL, "--select", "random", "--limit", "60"]
    (inside / "filterkit.yaml").write_text("label: {concurrency: 4}\n")
    inside(*SAMPLE, "--limit", "60")
    wanted = {row["id"] for row in read_jsonl(inside / "out.jsonl")}
    process = ready.start(*chosen, "-O", "latency_s=0.1")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not ((inside / "labels.db").exists() and len(labelled(inside)) >= 8):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(labelled(inside))
    assert 8 <= before < 60
    said = inside(*chosen, "-O", "latency_s=0.1")
    assert "chosen before" in said.err
    assert len(labelled(inside)) == 60
    assert len(wanted) == 60
    inside(*chosen, "-O", "latency_s=0.1")  # that one came to its end: now others are chosen
    assert len(set(labelled(inside))) == 120


def test_batches_are_of_one_choice_until_all_of_them_came_back(inside: Inside) -> None:
    (inside / "filterkit.yaml").write_text(
        "prices:\n  m: {input: 1.0, output: 4.0, as_of: 2026-01-31, source: test}\nlabel: {settle_s: 0.1}\n"
    )
    batch = [*LABEL[:5], "toy-batch", "-O", "oracle.model=m", "--select", "random", "--limit", "20", "--batch"]
    told = as_json(inside, *batch, "-O", "oracle.requests=8", "-O", "oracle.lag_s=3600", code=4)
    assert (told["selection"]["chosen"], told["in_jobs"]) == (20, 20)
    told = as_json(inside, *batch)
    assert (told["collected"], told["submitted"], len(set(labelled(inside)))) == (3, 0, 20)
    assert not choices(inside)


def test_select_needs_a_limit_and_a_limit_alone_takes_the_first(inside: Inside) -> None:
    assert "give --limit" in inside(*LABEL, "--select", "random", code=2).err
    assert "give --select" in inside(*LABEL, "--seed", "3", code=2).err
    inside(*LABEL, "--limit", "5")
    assert sorted(labelled(inside)) == [f"a{i:06d}" for i in range(5)]


def test_a_pipe_is_refused_before_it_is_read(inside: Inside) -> None:
    os.mkfifo(inside / "pipe.jsonl")
    said = inside(*LABEL[:3], "pipe.jsonl", *LABEL[4:], "--select", "random", "--limit", "5", code=2)
    assert "can be read only once" in said.err.splitlines()[-1]


def test_a_choice_stays_when_a_glob_names_more_files(inside: Inside) -> None:
    chosen = [*LABEL[:3], "i*.jsonl", *LABEL[4:], "--select", "random", "--limit", "40"]
    inside(*chosen, "--pilot", "10")
    write_jsonl(inside / "in2.jsonl", pool(100, start=300))
    assert "chosen before" in inside(*chosen).err
    assert len(labelled(inside)) == 40


def test_nothing_left_to_choose_is_not_called_an_empty_file(inside: Inside) -> None:
    inside(*LABEL)
    said = inside(*LABEL, "--select", "random", "--limit", "5")
    assert "chose 0 articles of 0 (300 labelled already)" in said.err
    assert "empty" not in said.err


def test_a_student_of_another_filter_is_refused(inside: Inside) -> None:
    write_filter(inside / "tiny" / "v1", FILTER.replace("name: tiny", "name: small"))
    said = inside(*LABEL, "--select", "uncertain", "--student", "student", "--limit", "5", code=2)
    assert "trained for filter 'tiny', not 'small'" in said.err


# Size


@pytest.mark.heavy
@pytest.mark.parametrize("mix", ["random", "random:0.4,stratified:0.3,diverse:0.3"])
def test_memory_does_not_grow_with_the_file(ready: Workspace, mix: str) -> None:
    rows = [json.dumps(row, ensure_ascii=False) for row in pool(500)]
    peaks = []
    for lines in (HUGE // 4, HUGE):
        with (ready / "huge.jsonl").open("w") as file:
            for number in range(lines):
                file.write(rows[number % 500].replace('"content": "', f'"content": "x{number} ', 1) + "\n")
        huge = ["sample", "--articles", "huge.jsonl", "--output", "out.jsonl", "--limit", "1000", "--select", mix]
        code = (
            "import resource, sys; from filterkit.cli.main import run; code = run(sys.argv[1:]); "
            "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
        )
        said = subprocess.run(
            [sys.executable, "-c", code, *huge],
            cwd=ready.root,
            env=ready.env,
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(said.stdout.split("PEAK")[1]) / 1024)
    assert len(read_jsonl(ready / "out.jsonl")) == 1000
    assert peaks[1] < peaks[0] * 1.15 + 20, peaks
