"""Jobs in the store: written down before anything is sent, and closed once, whatever happens in between."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterkit.errors import StoppedEarly, StoreError
from filterkit.records import Article, Label, sha256_text
from filterkit.store import Key, Outcome, Question, Store
from filterkit.store.funds import Limits
from filterkit.store.jobs import (
    JobOracle,
    JobRow,
    complete_job,
    end_job,
    find_job,
    jobs,
    new_token,
    only_one,
    prepare_job,
    reopen_job,
    submitted_job,
    tried,
)
from filterkit.store.upkeep import forget

QUESTION = Question("r" * 64, "test", "model-1", "filter 1")
ORACLE = JobOracle("test", {"model": "model-1"}, {"name": "filter"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "labels.db") as opened:
        yield opened


def put(store: Store, count: int) -> list[Key]:
    articles = [Article(f"a{n}", "", f"text {n}") for n in range(count)]
    rows = [(article, sha256_text(article.text)) for article in articles]
    store.put_articles(QUESTION, rows)
    return [Key(sent_hash) for _, sent_hash in rows]


def prepared(store: Store, keys: list[Key], usd: float = 0.5) -> JobRow:
    job, _ = prepare_job(store, QUESTION, keys, [usd] * len(keys), ORACLE)
    assert job is not None
    return job


def good(attempt: int) -> Outcome:
    return Outcome(attempt, "labelled", label=Label({"d": 1.0}), cost_usd=0.1)


def bad(attempt: int) -> Outcome:
    return Outcome(attempt, "bad", error="nonsense", cost_usd=0.1, again=True)


def kinds(store: Store, keys: list[Key]) -> list[str]:
    return [state.kind for state in store.states(QUESTION, keys)]


def test_what_is_in_a_job_is_nobody_elses_and_survives_its_process(store: Store) -> None:
    keys = put(store, 3)
    with Store(store.path) as killed:
        job = prepared(killed, keys[:2])
    with store.owner() as owner:  # which buries whoever died
        states = store.claim(QUESTION, keys, owner, reserved_usd=[0.5] * 3)
        assert [state.kind for state in states] == ["in_job", "in_job", "claimed"]
        store.complete([good(states[2].attempt or 0)])
    assert kinds(store, keys) == ["in_job", "in_job", "labelled"]
    assert [found.token for found in jobs(store, out=True)] == [job.token]
    assert store.spent().held_usd == pytest.approx(1.0)
    assert prepare_job(store, QUESTION, keys, [0.5] * 3, ORACLE)[0] is None
    assert len(jobs(store)) == 1


def test_a_job_is_known_again_as_it_was_written(store: Store) -> None:
    job = prepared(store, put(store, 2))
    assert (job.state, job.requests, job.oracle, job.handle) == ("prepared", 2, ORACLE, None)
    submitted = submitted_job(store, job.token, "handle \ud800")
    assert (submitted.state, submitted.handle) == ("submitted", "handle \ud800")
    assert find_job(store, "fk-nobody") is None
    with pytest.raises(StoreError, match="no open job fk-nobody"):
        submitted_job(store, "fk-nobody", "x")


def test_answers_count_once_however_often_they_are_collected(store: Store) -> None:
    keys = put(store, 4)
    job = prepared(store, keys)
    outcomes = [good(job.first), bad(job.first + 1)]
    assert [outcome is not None for outcome in complete_job(store, job, outcomes, 2)] == [True, True]
    assert complete_job(store, job, outcomes, 2) == [None, None]
    refused = Outcome(job.first + 2, "refused", error="blocked", cost_usd=0.0, final=True)
    complete_job(store, job, [refused], 2)
    ended = end_job(store, job.token, "done")
    assert (ended.labelled, ended.again, ended.failed, ended.released, ended.lost) == (1, 1, 1, 1, 0)
    assert end_job(store, job.token, "lost") == ended, "an end is an end"
    assert kinds(store, keys) == ["labelled", "free", "failed", "free"]
    assert (store.spent().usd, store.spent().held_usd) == (pytest.approx(0.2), 0.0)


def test_a_question_fails_after_so_many_jobs_and_not_before(store: Store) -> None:
    keys = put(store, 1)
    for round_ in (1, 2, 3):
        job = prepared(store, keys)
        complete_job(store, job, [bad(job.first)], 3)
        end_job(store, job.token, "done")
        assert kinds(store, keys) == ["free" if round_ < 3 else "failed"]
        assert tried(store, QUESTION, keys) == ["nonsense" if round_ < 3 else ""]


def test_a_lost_job_keeps_its_reserve_and_can_be_taken_up_again(store: Store) -> None:
    keys = put(store, 2)
    job = prepared(store, keys)
    lost = end_job(store, job.token, "lost", "the provider forgot it")
    assert (lost.lost, store.spent().held_usd, kinds(store, keys)) == (2, 1.0, ["free", "free"])
    with store.owner() as owner:  # one of its questions was asked anew meanwhile
        [state] = store.claim(QUESTION, keys[:1], owner, reserved_usd=[0.5])
        store.complete([good(state.attempt or 0)])
    again = reopen_job(store, job.token, "h")
    assert (again.state, again.lost, kinds(store, keys)) == ("submitted", 0, ["labelled", "in_job"])
    written = complete_job(store, again, [good(job.first), good(job.first + 1)], 4)
    assert [outcome is None for outcome in written] == [True, False]
    end_job(store, job.token, "done")
    with pytest.raises(StoreError, match="nothing left to collect"):
        reopen_job(store, job.token, "h")


@pytest.mark.parametrize("forgotten_first", [True, False])
def test_a_job_taken_up_again_brings_nothing_about_a_forgotten_text(store: Store, forgotten_first: bool) -> None:
    job = prepared(store, put(store, 2))
    if forgotten_first:
        forget(store, ["a0"])
    end_job(store, job.token, "lost")
    if not forgotten_first:
        forget(store, ["a0"])
    again = reopen_job(store, job.token, "h")
    written = complete_job(store, again, [good(job.first), good(job.first + 1)], 4)
    assert [outcome is None for outcome in written] == [True, False]


def test_nobody_ends_the_attempts_of_another(store: Store) -> None:
    keys = put(store, 3)
    job = prepared(store, keys[:1])
    with store.owner() as owner:
        [state] = store.claim(QUESTION, keys[1:2], owner, reserved_usd=[0.5])
        later = prepared(store, keys[2:])
        assert complete_job(store, job, [good(state.attempt or 0), good(later.first)], 4) == [None, None]
        store.complete([], unsent=[state.attempt or 0], owner=owner)
    assert [
        job.attempt(key)
        for key in (job.key(job.first), job.key(later.first), later.key(job.first), "x", "-1", "²", "9" * 30)
    ] == [
        job.first,
        *[None] * 6,
    ]


def test_budgets_bind_jobs(store: Store, tmp_path: Path) -> None:
    keys = put(store, 5)
    job, states = prepare_job(store, QUESTION, keys, [0.5] * 5, ORACLE, max_usd=1.2)
    assert job is not None
    assert [state.kind for state in states] == [*["claimed"] * 2, *["unaffordable"] * 3]
    end_job(store, job.token, "unsent")
    assert store.spent().usd == 0.0
    with Store(store.path, limits=Limits(total_usd=0.6)) as limited:
        job, states = prepare_job(limited, QUESTION, keys, [0.5] * 5, ORACLE)
    assert [state.reason for state in states if state.kind == "unaffordable"] == ["total"] * 4


def test_what_is_forgotten_is_not_labelled_by_a_job_that_is_out(store: Store) -> None:
    keys = put(store, 2)
    job = prepared(store, keys)
    assert forget(store, ["a0"]).articles == 1, "a job that is out holds nobody up"
    written = complete_job(store, job, [good(job.first), good(job.first + 1)], 4)
    assert [outcome is None for outcome in written] == [True, False]


def test_only_one_process_submits_for_a_question(store: Store) -> None:
    other = Question("s" * 64, "test", "model-1", "filter 2")
    script = """
    import sys, time
    from filterkit.store import Question, Store
    from filterkit.store.jobs import only_one
    with Store(sys.argv[1]) as store, only_one(store, Question("r" * 64, "test", "model-1", "filter 1")):
        print("mine", flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(store.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"mine\n"
        says = "another process is working on the batch jobs of filter 1 by test"
        with pytest.raises(StoppedEarly, match=says), only_one(store, QUESTION):
            pass
        with only_one(store, other):
            pass
        process.kill()
    with only_one(store, QUESTION):
        pass


def test_tokens_are_fit_for_any_provider() -> None:
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(token) <= 40 and set(token) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for token in tokens)
