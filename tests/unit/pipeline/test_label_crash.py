"""Labellers as processes of their own: killed at random points, two at once, on a full disk.

Run as a script this file is such a labeller: `python test_label_crash.py FOLDER LOG LATENCY_S [FILE_SIZE_LIMIT]`.
It writes the number of every article it is asked about to LOG before it answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest

from filterkit.contracts import Context, Options, Oracle, OracleOptions
from filterkit.errors import FilterkitError
from filterkit.filters import load_filter
from filterkit.pipeline.label import LabelSettings, label
from filterkit.records import Article, OracleRequest, Price, Reply, Usage
from filterkit.store import Store

ARTICLES = 300
CONCURRENCY = 16
RESERVED_USD = 0.01
COST_USD = 0.004


class LoggedOptions(OracleOptions):
    model: str = "model-1"
    log: str
    latency_s: float


class Logged(Oracle[LoggedOptions]):
    """Answers from the article's own number, after noting that it was asked."""

    Options: ClassVar[type[Options]] = LoggedOptions
    reports_cost: ClassVar[bool] = True

    async def open(self) -> None:
        self.log = os.open(self.options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def complete(self, request: OracleRequest) -> Reply:
        found = re.search(r"text (\d+)", request.article)
        assert found is not None
        number = int(found.group(1))
        os.write(self.log, b"%d\n" % number)
        await asyncio.sleep(self.options.latency_s * random.uniform(0.5, 1.5))
        text = json.dumps({"good": number % 11})
        return Reply(text=text, usage=Usage(cost_usd=COST_USD), model_version="model-1-0725")


def run_labeller(folder: Path, log: str, latency_s: float) -> None:
    chosen = load_filter(folder)
    oracle = Logged(LoggedOptions(log=log, latency_s=latency_s), chosen.spec, Context(folder))
    settings = LabelSettings(concurrency=CONCURRENCY)
    most = chosen.spec.generation.max_output_tokens
    prices = {"model-1": Price(output=RESERVED_USD * 1e6 / most, as_of="2026-01-01", source="test")}
    articles = (Article(f"a{n}", "", f"text {n}") for n in range(ARTICLES))
    try:
        with Store(folder / "labels.db") as store:
            report = label(chosen, articles, oracle, store, settings, oracle_name="logged", own_prices=prices)
    except FilterkitError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    counts = {"read": report.read, "new": report.new, "already": report.already, "failed": report.failed}
    print(json.dumps({**counts, "duplicates": report.duplicates, "attempts": report.attempts}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "filter.yaml").write_text(
        'schema: 1\nname: tiny\nversion: "1"\ndimensions: [{name: good, weight: 1}]\n', encoding="utf-8"
    )
    (tmp_path / "prompt.md").write_text("Judge it.\n\n{{article}}\n", encoding="utf-8")
    return tmp_path


def start(folder: Path, log: Path, latency_s: float = 0.02, *more: object) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, str(folder), str(log), str(latency_s), *map(str, more)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, int]:
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    counts: dict[str, int] = json.loads(out)
    return counts


def asked(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def labels(folder: Path) -> dict[str, float]:
    chosen = load_filter(folder)
    with Store(folder / "labels.db", create=False) as store:
        rows = list(store.labelled(chosen.request_hash()))
    assert len(rows) == len({row.article.id for row in rows})
    return {row.article.id: row.scores["good"] for row in rows}


ALL = {f"a{n}": float(n % 11) for n in range(ARTICLES)}


def test_killed_again_and_again_it_ends_as_if_it_had_not_been(folder):
    """Twenty kills, each at another count of requests and then a random moment later, then one run to the end."""
    chance = random.Random(11)
    log = folder / "asked.log"
    kills = 0
    for _ in range(20):
        before, target = len(asked(log)), chance.randrange(0, 24)
        labelled_before = set(labels(folder)) if (folder / "labels.db").exists() else set()
        process = start(folder, log)
        while len(asked(log)) - before < target and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.03)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        assert all(f"a{n}" not in labelled_before for n in asked(log)[before:]), "asked although it was labelled"
        if (folder / "labels.db").exists():
            assert labelled_before <= set(labels(folder)), "a label was lost"
    assert kills >= 15
    started = time.monotonic()
    counts = finish(start(folder, log))
    assert time.monotonic() - started < 20, "it waited for a dead labeller's lease"
    assert labels(folder) == ALL
    assert counts["new"] + counts["already"] == ARTICLES
    repeated = len(asked(log)) - ARTICLES
    assert 0 <= repeated <= kills * CONCURRENCY
    assert max(Counter(asked(log)).values()) <= kills + 1
    again = finish(start(folder, log))
    assert (again["already"], again["attempts"]) == (ARTICLES, 0)
    check_money(folder, asked(log))


def check_money(folder: Path, requests: list[int]) -> None:
    """What was answered counts at its cost; what a kill cut off or kept from leaving, at its reserved cost."""
    with Store(folder / "labels.db") as store:
        spent = store.spent()
    with sqlite3.connect(folder / "labels.db") as db:
        states = dict(db.execute("SELECT outcome, count(*) FROM attempts GROUP BY outcome").fetchall())
    assert set(states) <= {"labelled", "lost"}
    assert states["labelled"] == ARTICLES
    assert states.get("lost", 0) >= len(requests) - ARTICLES
    assert spent.usd == pytest.approx(ARTICLES * COST_USD + states.get("lost", 0) * RESERVED_USD)
    assert spent.unknown == 0


def test_one_kill_sends_again_at_most_what_was_in_flight(folder):
    log = folder / "asked.log"
    process = start(folder, log, 0.05)
    while len(asked(log)) < 100:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    first = asked(log)
    assert len(first) == len(set(first))
    finish(start(folder, log, 0.01))
    assert len(asked(log)) - ARTICLES <= CONCURRENCY
    assert labels(folder) == ALL


def test_no_more_is_ever_unkept_than_may_be_in_flight(folder):
    """While the store cannot be written to, replies are not kept, so no further questions are sent."""
    log = folder / "asked.log"
    process = start(folder, log, 0.01)
    while len(asked(log)) < 50:
        time.sleep(0.001)
    blocker = sqlite3.connect(folder / "labels.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    kept = blocker.execute("SELECT count(*) FROM labels").fetchone()[0]
    time.sleep(0.5)
    assert len(asked(log)) <= kept + CONCURRENCY
    blocker.execute("ROLLBACK")
    blocker.close()
    assert finish(process)["new"] == ARTICLES


def test_two_labellers_share_the_work_and_both_end_complete(folder):
    logs = [folder / "one.log", folder / "two.log"]
    both = [start(folder, log, 0.05) for log in logs]
    counts = [finish(process) for process in both]
    requests = [number for log in logs for number in asked(log)]
    assert sorted(requests) == list(range(ARTICLES))
    assert all(len(asked(log)) > 0 for log in logs)
    for count, log in zip(counts, logs, strict=True):
        assert count["new"] == count["attempts"] == len(asked(log))
        assert count["new"] + count["already"] == count["read"] == ARTICLES
    assert labels(folder) == ALL


def test_when_one_of_two_labellers_is_killed_the_other_finishes_its_questions(folder):
    logs = [folder / "one.log", folder / "two.log"]
    doomed = start(folder, logs[0], 0.3)
    while len(asked(logs[0])) < CONCURRENCY:
        time.sleep(0.001)
    survivor = start(folder, logs[1], 0.01)
    while len(asked(logs[1])) < 50:
        time.sleep(0.001)
    doomed.kill()
    doomed.communicate()
    counts = finish(survivor)
    assert counts["new"] + counts["already"] == ARTICLES
    assert labels(folder) == ALL
    assert len(asked(logs[1])) == len(set(asked(logs[1])))
    assert len(asked(logs[0])) + len(asked(logs[1])) - ARTICLES <= 2 * CONCURRENCY


def test_a_full_disk_ends_with_one_line_and_the_rerun_with_all_labels(folder):
    """The limit on file size makes SQLite's writes fail as a full disk does, at four different moments."""
    log = folder / "asked.log"
    for size in (60_000, 130_000, 170_000, 230_000):
        process = start(folder, log, 0.005, size)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2, err
        assert re.fullmatch(r"StoreError: \S*labels.db: .*run the same command again; what was stored is safe\n", err)
        if (folder / "labels.db").exists():
            with sqlite3.connect(folder / "labels.db") as db:
                assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finish(start(folder, log, 0.005))
    assert labels(folder) == ALL


if __name__ == "__main__":
    if len(sys.argv) > 4:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
    run_labeller(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
