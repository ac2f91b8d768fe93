"""filterkit labels: what is labelled already is never paid for, and nothing of it is lost or counted twice."""

from __future__ import annotations

import gzip
import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers import PROMPT, Workspace, article, command, labelled, read_jsonl, write_filter, write_jsonl

PLUGIN = """
from filterkit.api import hookimpl

@hookimpl
def register_oracles(register):
    register("paid", "fk_paid.oracle:Paid", summary="costs a cent and counts its questions")
"""
ORACLE = """
import json, pathlib, re
from typing import Literal
from pydantic import Field
from filterkit.api import Oracle, OracleOptions, Reply, Usage

class PaidOptions(OracleOptions):
    model: str = "paid-1"
    thinking: Literal["off", "high"] = Field("off", description="how long it thinks")

class Paid(Oracle[PaidOptions]):
    Options = PaidOptions
    answer_options = ("thinking",)
    reports_cost = True

    async def complete(self, request):
        with pathlib.Path(self.ctx.root, "asked").open("a") as file:
            file.write(".")
        scores = {"help": int(re.search(r"helps(\\d+)", request.article)[1]),
                  "novelty": int(re.search(r"novel(\\d+)", request.article)[1]),
                  "is_advert": int(re.search(r"advert(\\d+)", request.article)[1])}
        usage = Usage(input=100, cached_input=40, output=10, thinking=0, cost_usd=0.01)
        return Reply(text=json.dumps(scores), usage=usage, model_version=request.model)
"""


@pytest.fixture
def desk(workspace: Workspace, tmp_path: Path, toy_site: Path) -> Workspace:
    """A workspace whose oracle costs money."""
    site = tmp_path / "paid"
    for name, text in {
        "fk_paid/__init__.py": "",
        "fk_paid/plugin.py": PLUGIN,
        "fk_paid/oracle.py": ORACLE,
        "fk_paid-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: fk-paid\nVersion: 1.0\n",
        "fk_paid-1.0.dist-info/entry_points.txt": "[filterkit]\npaid = fk_paid.plugin\n",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    workspace.env["PYTHONPATH"] = f"{toy_site}{os.pathsep}{site}"
    return workspace


def asked(desk: Workspace) -> int:
    """How many questions the paid oracle has answered."""
    file = desk / "asked"
    return file.stat().st_size if file.exists() else 0


def as_json(desk: Workspace, *arguments: object, code: int = 0) -> Any:
    return json.loads(desk.ok("labels", *arguments, "--json", code=code).stdout)


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "scores"} for row in rows]


def test_imported_labels_are_never_asked_for_again(desk):
    rows = labelled(20)
    desk.labels(rows)
    write_jsonl(desk / "articles.jsonl", plain(rows))
    report = as_json(desk, "import", "tiny/v1", "labels.jsonl", "--oracle", "paid", "--model", "paid-1")
    assert (report["new"], report["already"], report["rejected"]) == (20, 0, 0)
    done = desk.ok("label", "tiny/v1", "--articles", "articles.jsonl", "--oracle", "paid", "--json")
    assert (json.loads(done.stdout)["already"], asked(desk)) == (20, 0)
    again = as_json(desk, "import", "tiny/v1", "labels.jsonl", "--oracle", "paid", "--model", "paid-1")
    assert (again["new"], again["already"]) == (0, 20)
    [stats] = as_json(desk, "stats")
    assert (stats["labels"], stats["attempts"], stats["known_usd"], stats["unknown"]) == (20, 0, 0.0, 0)


def test_an_import_answers_the_question_that_the_configured_oracle_asks(desk):
    """With options that shape the answer the question is another one."""
    (desk / "filterkit.yaml").write_text("oracle: {use: paid, thinking: high}\n")
    rows = labelled(5)
    desk.labels(rows)
    write_jsonl(desk / "articles.jsonl", plain(rows))
    desk.ok("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "paid", "--model", "paid-1")
    desk.ok("label", "tiny/v1", "--articles", "articles.jsonl")
    assert asked(desk) == 0
    desk.ok("label", "tiny/v1", "--articles", "articles.jsonl", "-O", "thinking=off")
    assert asked(desk) == 5
    (desk / "filterkit.yaml").write_text("{}\n")
    desk.ok(
        "labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "paid", "--model", "paid-2", "-O", "thinking=high"
    )
    desk.ok(
        "label",
        "tiny/v1",
        "--articles",
        "articles.jsonl",
        "--oracle",
        "paid",
        "-O",
        "thinking=high",
        "-O",
        "model=paid-2",
    )
    assert asked(desk) == 5


def test_what_goes_out_comes_in_again_the_same(desk):
    rows = [{**row, "oracle": "human:Eva", "evidence": {"help": "zitiert ¡sí!"}} for row in labelled(7)]
    rows += [{**rows[0], "sample": 3, "oracle": "paid", "model": "paid-1", "model_version": "paid-1-0725"}]
    desk.labels(rows)
    desk.ok("labels", "import", "tiny/v1", "labels.jsonl")
    desk.ok("labels", "export", "tiny/v1", "--output", "out.jsonl.gz")
    out = [json.loads(line) for line in gzip.decompress((desk / "out.jsonl.gz").read_bytes()).splitlines()]
    assert [row["id"] for row in out] == ["a000000", *(f"a{n:06d}" for n in range(7))]
    by_id = {(row["id"], row["oracle"]): row for row in out}
    assert by_id == {(row["id"], row["oracle"]): row for row in rows}
    desk.ok("labels", "import", "tiny/v1", "out.jsonl.gz", "--store", "second.db")
    assert desk.ok("labels", "export", "tiny/v1", "--store", "second.db").stdout == "".join(
        json.dumps(row, ensure_ascii=False) + "\n" for row in out
    )
    only = desk.ok("labels", "export", "tiny/v1", "--oracle", "paid").stdout.splitlines()
    assert [json.loads(line)["sample"] for line in only] == [3]


def test_exported_labels_can_be_prepared(desk):
    desk.labels(labelled(60))
    desk.ok("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "human:Eva")
    desk.ok("labels", "export", "tiny/v1", "--output", "out.jsonl")
    desk.ok("prepare", "tiny/v1", "--labels", "out.jsonl", "--output-dir", "data")
    splits = [row["scores"] for part in ("train", "val", "test") for row in read_jsonl(desk / "data" / f"{part}.jsonl")]
    assert len(splits) == 60


def test_lines_that_are_no_whole_label_are_rejected_with_their_reason(desk):
    good = article(0)
    bad = {
        "is not known": {**article(1), "scores": {"help": 1, "novelty": None, "is_advert": 0}},
        "missing dimension": {**article(2), "scores": {"help": 1, "novelty": 2}},
        "outside of": {**article(3), "scores": {"help": 11, "novelty": 2, "is_advert": 0}},
        "must be a number": {**article(4), "scores": {"help": "7", "novelty": 2, "is_advert": 0}},
        "another oracle": {**article(5), "oracle": "human:Eva"},
        "another model": {**article(6), "model": "other"},
        "sample must be": {**article(7), "sample": -1},
        "content is empty": {**article(8), "content": " "},
        "malformed JSON": b'{"id": "a9", "scores": {"help": NaN',
    }
    desk.labels([good, *bad.values()])
    report = as_json(desk, "import", "tiny/v1", "labels.jsonl", "--oracle", "paid", "--model", "paid-1", code=3)
    assert (report["new"], report["rejected"]) == (1, len(bad))
    rejected = read_jsonl(desk / "labels.rejected.jsonl")
    assert [row["line"] for row in rejected] == list(range(2, len(bad) + 2))
    for row, reason in zip(rejected, bad, strict=True):
        assert reason in row["reason"]


def test_who_scored_must_be_said(desk):
    desk.labels(labelled(2))
    desk.refused("labels", "import", "tiny/v1", "labels.jsonl", says=["no line holds a label", "give --oracle NAME"])
    desk.refused("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "paid", says="give --model NAME")
    desk.refused("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "human:", says="names nobody")
    desk.refused("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "paid", "--model", " ", says="no model")
    assert desk.run("labels", "import", "tiny/v1", "--oracle", "human:Eva").returncode == 2
    desk.refused("labels", "import", "tiny/v1", "none.jsonl", "--oracle", "human:Eva", says="no such file")
    desk.ok("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "human:Eva")


def test_an_oracle_named_like_a_path_makes_no_folders(desk):
    desk.labels([{**article(0), "oracle": "x/../../../outside", "model": "m"}])
    desk.ok("labels", "import", "tiny/v1", "labels.jsonl")
    assert not (desk / ".filterkit").exists()
    assert not list(desk.root.parent.glob("outside*"))


def test_the_first_label_stands_and_a_contradiction_is_told(desk):
    row = article(1)
    desk.labels([row])
    desk.ok("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "human:Eva")
    desk.labels([{**row, "scores": {**row["scores"], "help": (row["scores"]["help"] + 1) % 11}}])
    done = desk.ok("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "human:Eva", code=3)
    assert "id 'a000001' has a label with other scores, which stands" in done.stderr
    assert json.loads(desk.ok("labels", "export", "tiny/v1").stdout)["scores"] == row["scores"]


def test_columns_may_have_other_names_and_files_other_formats(desk):
    import pyarrow
    import pyarrow.parquet

    rows = [{"key": f"k{n}", "text": f"text {n}", "scores": article(n)["scores"]} for n in range(4)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows[:2]), desk / "a.parquet")
    (desk / "b.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows[2:]).encode()))
    desk.ok(
        "labels",
        "import",
        "tiny/v1",
        "a.parquet",
        "b.jsonl*",
        "--oracle",
        "human:Eva",
        "--fields",
        "id=key,content=text",
    )
    out = [json.loads(line) for line in desk.ok("labels", "export", "tiny/v1").stdout.splitlines()]
    assert [(row["id"], row["content"]) for row in out] == [(f"k{n}", f"text {n}") for n in range(4)]


def test_an_import_that_was_killed_goes_on(desk):
    write_jsonl(desk / "labels.jsonl", labelled(6000))
    running = desk.start("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "human:Eva")
    wal = desk / "labels.db-wal"
    while not wal.exists() or wal.stat().st_size < 400_000:
        assert running.poll() is None, "it was over before it could be killed"
    running.kill()
    running.wait()
    report = as_json(desk, "import", "tiny/v1", "labels.jsonl", "--oracle", "human:Eva")
    assert report["new"] + report["already"] == 6000
    assert report["already"] > 0
    assert report["new"] > 0


def test_an_older_rubric_is_told_of(desk):
    desk.refused("labels", "export", "tiny/v1", says="there is no label store")
    desk.labels(labelled(3))
    desk.ok("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "human:Eva")
    desk.refused(
        "labels", "export", "tiny/v1", "--oracle", "paid", says="no labels of paid; there are labels of human:Eva"
    )
    write_filter(desk.filter, prompt=PROMPT.replace("Score", "Rate"))
    desk.refused(
        "labels", "export", "tiny/v1", says="no labels for this rubric; 3 labels answer another rubric of tiny"
    )


def test_an_export_goes_over_nothing_it_should_not(desk):
    desk.labels(labelled(3))
    desk.ok("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "human:Eva")
    desk.refused("labels", "export", "tiny/v1", "--output", "labels.db", says="written as .jsonl")
    before = (desk / "labels.jsonl").read_bytes()
    write_filter(desk.filter, prompt=PROMPT.replace("Score", "Rate"))
    desk.refused("labels", "export", "tiny/v1", "--output", "labels.jsonl", says="no labels for this rubric")
    assert (desk / "labels.jsonl").read_bytes() == before


def test_stats_tell_what_labels_took(desk):
    write_jsonl(desk / "articles.jsonl", plain(labelled(10)))
    desk.ok("label", "tiny/v1", "--articles", "articles.jsonl", "--oracle", "paid")
    [one] = as_json(desk, "stats")
    assert (one["filter"], one["oracle"], one["model"], one["replied"]) == ("tiny 1", "paid", "paid-1", {"paid-1": 10})
    assert (one["labels"], one["failures"], one["attempts"]) == (10, 0, 10)
    assert (one["input_tokens"], one["cached_tokens"], one["output_tokens"]) == (1000, 400, 100)
    assert (one["known_usd"], one["held_usd"], one["unknown"]) == (pytest.approx(0.1), 0.0, 0)
    assert one["first"] <= one["last"]
    assert one["latency_s"] >= 0
    table = desk.ok("labels", "stats").stdout
    assert all(words in table for words in ("1,000 (400 cached)", "$0.1000", one["request_hash"][:8]))


def test_two_stores_become_one(desk):
    rows = labelled(10)
    write_jsonl(desk / "first.jsonl", plain(rows[:6]))
    write_jsonl(desk / "second.jsonl", plain(rows[4:]))
    desk.ok("label", "tiny/v1", "--articles", "first.jsonl", "--oracle", "paid")
    desk.ok("label", "tiny/v1", "--articles", "second.jsonl", "--oracle", "paid", "--store", "other.db")
    report = as_json(desk, "merge", "other.db")["other.db"]
    assert report == {
        "articles": 4,
        "edited": 0,
        "labels": 4,
        "conflicts": 0,
        "failures": 0,
        "in_jobs": 0,
        "attempts": 6,
        "usd": pytest.approx(0.06),
    }
    [one] = as_json(desk, "stats")
    assert (one["labels"], one["attempts"], one["known_usd"]) == (10, 12, pytest.approx(0.12))
    assert not any(as_json(desk, "merge", "other.db")["other.db"].values())
    desk.refused("labels", "merge", "labels.db", says="is the store itself")
    desk.refused("labels", "merge", "none.db", says="there is no label store")


def test_a_backup_opens_as_a_store(desk):
    desk.labels(labelled(5))
    desk.ok("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "human:Eva")
    for _ in range(2):  # the second replaces the first
        desk.ok("labels", "backup", "safe/backup.db")
    assert [f.name for f in (desk / "safe").iterdir()] == ["backup.db"]
    given = desk.ok("labels", "export", "tiny/v1").stdout
    assert desk.ok("labels", "export", "tiny/v1", "--store", "safe/backup.db").stdout == given
    desk.refused("labels", "backup", "labels.db", says="is the store itself")
    desk.refused("labels", "backup", "x.db", "--store", "none.db", says="there is no label store")


def test_forgotten_articles_leave_no_words_behind(desk):
    desk.labels(labelled(30))
    desk.ok("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "human:Eva")
    (desk / "ids.txt").write_text("a000003\n\na000004\n")
    write_jsonl(desk / "ids.jsonl", [{"id": "a000005"}])
    gone = ("forget", "a000002", "--from", "ids.txt", "--from", "ids.jsonl")
    assert desk.run("labels", *gone).returncode == 2, "nobody was there to say yes"
    report = as_json(desk, *gone, "--yes")
    assert (report["articles"], report["labels"], report["unknown"]) == (4, 4, [])
    kept = b"".join(f.read_bytes() for f in desk.root.glob("labels.db*") if f.is_file())
    words = {
        n: article(n)["content"].split()[0].encode() + b" " + article(n)["content"].split()[1].encode()
        for n in range(30)
    }
    assert [n for n, word in words.items() if word not in kept] == [2, 3, 4, 5]
    assert as_json(desk, "forget", "a000002", "a000010", "--yes", code=3)["unknown"] == ["a000002"]
    desk.refused("labels", "forget", "nobody", "--yes", says="holds no article 'nobody'; nothing was removed")


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 5), (b"y\n", 4)])
def test_on_a_terminal_forgetting_asks(desk, answer, left):
    desk.labels(labelled(5))
    desk.ok("labels", "import", "tiny/v1", "labels.jsonl", "--oracle", "human:Eva")
    person, terminal = pty.openpty()
    running = subprocess.Popen(
        command("labels", "forget", "a000001"), cwd=desk.root, env=desk.env, stdin=terminal, stderr=subprocess.PIPE
    )
    os.write(person, answer)
    _, said = running.communicate(timeout=60)
    assert b"Remove 1 articles and their labels" in said
    assert len(desk.ok("labels", "export", "tiny/v1").stdout.splitlines()) == left
