"""Batch jobs that need somebody: `filterkit jobs`, doubt, other processes, and the store's own commands."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import time

import pytest
from batch_bench import BATCH, Bench

from filterkit.filters import load_filter
from filterkit.store import Store
from filterkit.store.jobs import jobs
from filterkit.store.merge import merge


def test_where_nobody_can_tell_the_user_is_asked(bench: Bench) -> None:
    bench.articles(10)
    bench.provider.set(lose_reply=1, cannot_tell=True)
    line = bench.refused(
        *BATCH, code=4, says=["cannot be found out", "filterkit jobs attach fk-", "filterkit jobs forget"]
    )
    [job] = bench.jobs()
    assert (job["state"], job["handle"], job["token"] in line) == ("prepared", None, True)
    bench.refused(*BATCH, code=4, says="cannot be found out")
    assert len(bench.provider.rows("SELECT * FROM jobs")) == 1, "nothing was submitted meanwhile"
    bench.refused("jobs", "attach", job["token"], "job-7", code=2, says="does not know job-7")
    assert "attached, 10 requests" in bench.filterkit("jobs", "attach", job["token"][:8], "job-1").out
    assert bench.batch()["new"] == 10
    bench.settle_up(10)


def test_a_job_can_be_forgotten_and_taken_up_again(bench: Bench) -> None:
    bench.articles(10)
    bench.batch(code=4)
    [job] = bench.jobs()
    assert "may be lost, and paid again" in bench.filterkit("jobs", "forget", job["token"], code=2).err
    assert "10 requests" in bench.filterkit("jobs", "forget", job["token"], "--yes").out
    dry = bench.batch("--dry-run")
    assert dry["to_ask"] == 10
    assert dry["spent_usd"] > 0, "what was reserved stays in the ledger"
    bench.filterkit("jobs", "attach", job["token"], "job-1")
    assert bench.batch()["new"] == 10
    bench.settle_up(10)
    bench.refused("jobs", "attach", job["token"], "job-1", code=2, says="there is nothing left to collect")


def test_answers_of_another_job_are_not_taken_for_ones_own(bench: Bench) -> None:
    bench.articles(20)
    bench.batch("-O", "oracle.requests=10", code=4)
    first, second = bench.jobs()
    bench.filterkit("jobs", "forget", second["token"], "--yes")
    bench.refused("jobs", "attach", second["token"], first["handle"], code=2, says="has this handle")
    with sqlite3.connect(bench.root / "labels.db") as db:  # as if two stores had one provider
        db.execute("UPDATE jobs SET handle = x'6a6f622d32' WHERE token = ?", (first["token"],))
    bench.refused(*BATCH, code=2, says="are answers to other questions")


def test_a_job_that_the_provider_forgot_is_lost_and_said_before_it_is_asked_anew(bench: Bench) -> None:
    bench.articles(10)
    bench.batch(code=4)
    bench.provider.set(forget=True)
    bench.refused(*BATCH, code=4, says=["is lost", "10 of its 10 requests count at what was reserved"])
    assert len(bench.provider.rows("SELECT * FROM jobs")) == 1
    assert bench.jobs("--all")[0]["state"] == "lost"
    bench.provider.set()
    assert bench.batch("--wait")["new"] == 10
    assert len(bench.provider.rows("SELECT * FROM jobs")) == 2


def test_a_key_that_is_refused_loses_no_job(bench: Bench) -> None:
    bench.articles(10)
    bench.batch(code=4)
    bench.provider.set(key=True)
    bench.refused(*BATCH, code=2, says="401: the key is not valid")
    bench.provider.set()
    bench.batch()
    bench.settle_up(10)


def test_cancelling_keeps_what_is_done_and_asks_before_the_rest_is_submitted(bench: Bench) -> None:
    bench.articles(20)
    bench.batch("-O", "oracle.lag_s=0.6", code=4)
    time.sleep(0.3)
    [job] = bench.jobs()
    assert "is being cancelled" in bench.filterkit("jobs", "cancel", job["token"]).out
    bench.filterkit("jobs", "cancel", "--all")  # once more is harmless
    assert "cancelling" in bench.filterkit("jobs").out
    bench.refused(*BATCH, code=4, says=["was cancelled", "The same command submits the rest again"])
    done = len(bench.provider.rows("SELECT * FROM charged"))
    assert 0 < done < 20
    bench.batch("--wait")
    bench.settle_up(20)


def test_cancelling_ends_the_waiting_of_another_process(bench: Bench) -> None:
    bench.articles(20)
    waiting = bench.workspace.start(*BATCH, "--wait", "-O", "oracle.lag_s=3600")
    while not bench.provider.rows("SELECT * FROM jobs") or bench.jobs()[0]["state"] != "submitted":
        assert waiting.poll() is None
        time.sleep(0.02)
    bench.filterkit("jobs", "cancel", "--all")
    assert waiting.wait(60) == 4
    assert bench.jobs() == []
    assert len(bench.provider.rows("SELECT * FROM jobs")) == 1, "its rest waits for the user"
    bench.batch("--wait")
    bench.settle_up(20)


def test_stats_backup_merge_and_forget_with_a_job_out(bench: Bench) -> None:
    bench.articles(10)
    bench.batch(code=4)
    [row] = json.loads(bench.filterkit("labels", "stats", "--json").out)
    assert (row["attempts"], row["in_jobs"], row["labels"]) == (10, 10, 0)
    assert "10 (10 in jobs)" in bench.filterkit("labels", "stats").out
    bench.filterkit("labels", "backup", "copy.db")
    merged = bench.filterkit("labels", "merge", "copy.db", "--store", "other.db")
    assert "10 of the requests are out in batch jobs there" in merged.err
    assert bench.filterkit("labels", "forget", "a000003", "--yes").code == 0
    assert bench.batch("--store", "copy.db")["new"] == 10, "a backup can be collected in place of the store"
    with Store(bench.root / "other.db") as other:
        again = merge(other, bench.root / "copy.db")
        assert (again.labels, again.attempts, other.spent().held_usd) == (10, 0, 0.0)
        assert other.spent().usd == pytest.approx(bench.charged())
    bench.batch("--limit", 3)
    with Store(bench.root / "labels.db") as store:
        told = [row.article.id for row in store.labelled(load_filter(bench.root / "tiny/v1").request_hash())]
        [job] = jobs(store)
        assert (job.state, job.labelled) == ("done", 9)
    assert "a000003" not in told, "what is forgotten stays forgotten"
    left = b"".join(path.read_bytes() for path in bench.root.glob("labels.db*"))
    assert re.search(rb"Notice 3\b", left) is None


def test_no_secret_gets_into_the_store(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.articles(2)
    bench.batch("-O", "oracle.requests=2", code=4)
    [job] = bench.jobs()
    assert job["options"] == {"model": "model-1", "requests": 2}
    assert (job["filter"], job["oracle"]) == ("tiny 1", "toy-batch")


def test_a_second_process_does_not_submit_or_collect_beside_the_first(bench: Bench) -> None:
    bench.articles(10)
    waiting = bench.workspace.start(*BATCH, "--wait", "-O", "oracle.lag_s=3")
    while not bench.provider.rows("SELECT * FROM jobs"):
        assert waiting.poll() is None
        time.sleep(0.02)
    bench.refused(*BATCH, code=4, says="another process is working on the batch jobs of tiny 1 by toy-batch")
    assert waiting.wait(60) == 0
    bench.settle_up(10)
    assert not list(bench.root.glob("*.lock"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_wait_loses_nothing(bench: Bench, number: int) -> None:
    bench.articles(10)
    waiting = bench.workspace.start(*BATCH, "--wait", "-O", "oracle.lag_s=3600")
    while not bench.provider.rows("SELECT * FROM jobs"):
        assert waiting.poll() is None
        time.sleep(0.02)
    time.sleep(0.3)
    waiting.send_signal(number)
    assert waiting.wait(30) == 130
    assert len(bench.jobs()) == 1
    bench.batch()
    bench.settle_up(10)
