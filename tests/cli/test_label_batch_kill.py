"""Labelling in batches, killed at random instants."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import time

import pytest
from batch_bench import BATCH, Bench


@pytest.mark.parametrize(
    ("articles", "kills"), [(200, 2), pytest.param(2000, 20, marks=pytest.mark.heavy)], ids=["few", "2000"]
)
def test_killed_at_random_instants_each_article_is_paid_once(bench: Bench, articles: int, kills: int) -> None:
    bench.articles(articles)
    options = ["--wait", "-O", f"oracle.requests={articles // 40}", "-O", "oracle.lag_s=1"]
    chance, killed = random.Random(3), 0
    while killed < kills:
        bench.provider.set(lose_reply=chance.randrange(2), again=True, limit=3)
        process = bench.workspace.start(*BATCH, *options)
        time.sleep(0.3)
        until = chance.choice(["jobs", "items", "labels"])
        before = progress(bench, until)
        while process.poll() is None and progress(bench, until) == before:
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        killed += 1
    assert killed >= kills / 2, "it was done too early to be killed so often"
    bench.provider.set()
    bench.batch("--wait")
    bench.settle_up(articles)


def progress(bench: Bench, of: str) -> int:
    """Jobs that were submitted, that were run, or labels that were stored."""
    if of == "labels":
        path = bench.root / "labels.db"
        if not path.exists():
            return 0
        with contextlib.suppress(sqlite3.Error), sqlite3.connect(path) as db:
            return int(db.execute("SELECT count(*) FROM labels").fetchone()[0])
        return 0
    query = "SELECT count(*) FROM jobs" if of == "jobs" else "SELECT count(*) FROM jobs WHERE items IS NOT NULL"
    return int(bench.provider.rows(query)[0][0])
