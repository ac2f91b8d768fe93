"""Batch jobs: owners that live without a process, from before they are submitted until they were collected.

A job and the attempts of its requests are written in one transaction before anything is sent, at their reserves and
within the budgets. From then on its questions are "in_job": nobody else asks or buries them, whatever happens to the
process. `complete_job` and `end_job` may be called again after a kill: what is closed stays as it is.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from filterkit.contracts import redact
from filterkit.errors import StoreError
from filterkit.files import locked
from filterkit.records import sha256_text
from filterkit.store import queries
from filterkit.store.attempts import close_attempt, open_attempts
from filterkit.store.base import inserted
from filterkit.store.funds import NO_LIMITS, Funds
from filterkit.store.rows import (
    ERROR_CHARS,
    NANO,
    Key,
    Outcome,
    Question,
    State,
    nano,
    pack,
    pack_json,
    unpack,
    unpack_json,
)
from filterkit.store.store import Store

NO_LEASE_S = 100 * 365 * 86_400.0
"""A job's lease: nobody renews it, so that it outlasts whatever waits for it."""

MARK = 8
"""Characters of a token that end the keys of its requests."""

JobStanding = Literal["prepared", "submitted", "done", "cancelled", "unsent", "lost", "forgotten"]
"""prepared: written down, maybe not submitted; submitted: accepted under its handle. The others are ends: done and
cancelled were collected; unsent never arrived; lost is not known to its provider any more; forgotten by the user."""

KEEPS_RESERVES: tuple[JobStanding, ...] = ("lost", "forgotten")
"""Ends after which requests without an answer count at what they were reserved with: they may have been charged."""


@dataclass(frozen=True)
class JobOracle:
    """Who was asked, as an oracle can be made again: its name, its options (which hold no secrets) and the filter."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JobRow:
    """A job as the store knows it.

    Of its `requests`, so far: labelled; failed finally; again: answered without a label, and to be asked again;
    released: never run, so free of charge and to be asked again; lost: at their reserves. Times are Unix times, None
    where it did not happen; cancelled: when the provider was asked to cancel it. message: why it ended, if it was said.
    """

    token: str
    question: Question
    state: JobStanding
    handle: str | None
    oracle: JobOracle
    requests: int
    labelled: int
    failed: int
    again: int
    released: int
    lost: int
    created: float
    submitted: float | None
    cancelled: float | None
    ended: float | None
    message: str
    owner: int
    first: int
    last: int

    def attempt(self, key: str) -> int | None:
        """The attempt that a request's key names; None for what cannot be one of this job's keys."""
        digits, _, mark = key.partition("-")
        if mark != self.token[-MARK:] or not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
            return None
        number = int(digits)
        return number if self.first <= number <= self.last else None

    def key(self, attempt: int) -> str:
        """The key of a request. Its end is the token's, for a job of another store has the same attempt numbers."""
        return f"{attempt}-{self.token[-MARK:]}"


def new_token() -> str:
    """A token for a job: unique, and short enough to be typed."""
    return f"fk-{uuid.uuid4().hex[:20]}"


def prepare_job(
    store: Store,
    question: Question,
    keys: Sequence[Key],
    reserves_usd: Sequence[float | None],
    oracle: JobOracle,
    *,
    max_usd: float | None = None,
    retry_failed_before: float | None = None,
) -> tuple[JobRow | None, list[State]]:
    """Write down a job of the questions that may be asked now, within the budgets; nothing of it was sent yet.

    Reserves, budgets and states are those of `Store.claim`; a state "claimed" has the attempt whose number is the
    request's key. No job is made where nothing may be asked. Only when this returned may the job be submitted.
    """
    reserves = [nano(usd) for usd in reserves_usd]
    token = new_token()
    with store.writing() as db:
        now = time.time()
        number = store.question_id(db, question)
        dead = store.owners.bury_dead(db, me=0)
        row = (token, now + NO_LEASE_S)
        owner = inserted(db.execute("INSERT INTO owners (name, lease_until) VALUES (?, ?)", row))
        funds = Funds(db, number, max_usd, store.limits, now=now)
        states = open_attempts(db, number, keys, owner, funds, reserves, retry_failed_before, now)
        attempts = [state.attempt for state in states if state.attempt is not None]
        if attempts:
            made_of = pack(redact(unpack(pack_json([oracle.name, dict(oracle.options), dict(oracle.spec)]))))
            values = (token, owner, number, made_of, attempts[0], attempts[-1], len(attempts), now)
            db.execute(queries.PUT_JOB, values)
        else:
            db.execute("DELETE FROM owners WHERE id = ?", (owner,))
    for lock in dead:
        store.owners.remove(lock)
    return (find_job(store, token) if attempts else None), states


def jobs(store: Store, question: Question | None = None, *, out: bool = False) -> list[JobRow]:
    """The jobs of a question, or all of them, oldest first; `out`: only those that did not end."""
    with store.reading() as db:
        number = None if question is None else store.find_question(db, question) or -1
        where = "WHERE (:question IS NULL OR j.question = :question) AND (NOT :out OR j.ended IS NULL) ORDER BY j.owner"
        rows = db.execute(f"{queries.JOBS} {where}", {"question": number, "out": out}).fetchall()
    return [_row(row) for row in rows]


def find_job(store: Store, token: str) -> JobRow | None:
    """The job of that token."""
    with store.reading() as db:
        row = db.execute(f"{queries.JOBS} WHERE j.token = ?", (token,)).fetchone()
    return None if row is None else _row(row)


def submitted_job(store: Store, token: str, handle: str) -> JobRow:
    """The provider accepted the job, under this handle. StoreError where it has ended already."""
    values = ("submitted", pack(handle), time.time(), token)
    with store.writing() as db:
        query = "UPDATE jobs SET state = ?, handle = ?, submitted = ? WHERE token = ? AND ended IS NULL"
        if not db.execute(query, values).rowcount:
            raise StoreError(f"there is no open job {token}", where=store.path)
    return _known(store, token)


def cancel_asked(store: Store, token: str) -> None:
    """The provider was asked to cancel the job."""
    with store.writing() as db:
        db.execute("UPDATE jobs SET cancelled = ? WHERE token = ? AND ended IS NULL", (time.time(), token))


def complete_job(store: Store, job: JobRow, outcomes: Sequence[Outcome], max_attempts: int) -> list[Outcome | None]:
    """Close attempts of the job with what became of them, labels included; durable when this returns.

    An outcome with `again` is asked again in another job, and recorded as failed when it is the `max_attempts`-th of
    its question. Returns what was written, in order; None for an attempt that is no open one of this job.
    """
    written: list[Outcome | None] = []
    with store.writing() as db:
        now = time.time()
        for outcome in outcomes:
            found = db.execute(queries.FIND_OPEN, (outcome.attempt, job.owner)).fetchone()
            written.append(None if found is None else _close(db, found, outcome, max_attempts, now))
        counts = [_counted_as(outcome) for outcome in written if outcome is not None]
        db.execute(
            "UPDATE jobs SET labelled = labelled + ?, failed = failed + ?, again = again + ? WHERE token = ?",
            (counts.count("labelled"), counts.count("failed"), counts.count("again"), job.token),
        )
    return written


def _close(
    db: sqlite3.Connection, key: tuple[int, bytes, int], outcome: Outcome, max_attempts: int, now: float
) -> Outcome:
    if outcome.again:
        reason = pack(redact(outcome.error)[:ERROR_CHARS])
        count = db.execute(queries.PUT_TRY, (*key, reason)).fetchone()[0]
        outcome = replace(outcome, final=count >= max_attempts, again=False)
    if outcome.label is not None or outcome.final:
        db.execute(queries.DROP_TRY, key)
    close_attempt(db, outcome, None, NO_LIMITS, now)
    return outcome


def _counted_as(outcome: Outcome) -> Literal["labelled", "failed", "again"]:
    if outcome.label is not None:
        return "labelled"
    return "failed" if outcome.final else "again"


def end_job(store: Store, token: str, state: JobStanding, message: str = "") -> JobRow:
    """The job is over: whatever of it has no answer is free to be asked again. One that has ended stays as it is.

    What has no answer costs nothing, or what was reserved for it where the end is one of KEEPS_RESERVES. A job that is
    done after it was to be cancelled ends as cancelled.
    """
    with store.writing() as db:
        now = time.time()
        job = _known(store, token)
        if job.ended is None:
            state = "cancelled" if state == "done" and job.cancelled else state
            keeps = state in KEEPS_RESERVES
            closing = "outcome = 'lost'" if keeps else "outcome = 'released', cost = 0"
            mine = {"first": job.first, "last": job.last, "owner": job.owner}
            query = f"UPDATE attempts SET {closing}, closed = :now WHERE {queries.OF_JOB}"  # noqa: S608 - ours
            left = db.execute(query, {**mine, "now": now}).rowcount
            column = "lost" if keeps else "released"
            said = pack(redact(message)[:ERROR_CHARS]) if message else None
            db.execute(
                f"UPDATE jobs SET state = ?, {column} = {column} + ?, ended = ?, message = ? WHERE token = ?",  # noqa: S608
                (state, left, now, said, token),
            )
            db.execute("UPDATE owners SET ended = ? WHERE id = ?", (now, job.owner))
    return _known(store, token)


def reopen_job(store: Store, token: str, handle: str) -> JobRow:
    """Take up a job under a handle, also one that was lost or forgotten: what it brings can be collected again.

    Its questions that were labelled or asked anew since then are left alone. StoreError for a job with another end,
    and for a handle that another job has.
    """
    with store.writing() as db:
        job = _known(store, token)
        other = db.execute("SELECT token FROM jobs WHERE handle = ? AND token <> ?", (pack(handle), token)).fetchone()
        if other is not None:
            raise StoreError(
                f"the job {other[0]} has this handle", where=token, fix="`filterkit jobs --all` lists them"
            )
        if job.ended is not None and job.state not in KEEPS_RESERVES:
            raise StoreError(f"has ended ({job.state}): there is nothing left to collect", where=f"job {token}")
        if job.ended is not None:
            mine = {"first": job.first, "last": job.last, "owner": job.owner}
            db.execute(queries.REOPEN_ATTEMPTS, mine)
            db.execute("UPDATE owners SET ended = NULL WHERE id = ?", (job.owner,))
            db.execute("UPDATE jobs SET lost = 0, ended = NULL, message = NULL WHERE token = ?", (token,))
        values = (pack(handle), job.submitted or time.time(), token)
        db.execute("UPDATE jobs SET state = 'submitted', handle = ?, submitted = ? WHERE token = ?", values)
    return _known(store, token)


@contextlib.contextmanager
def only_one(store: Store, question: Question) -> Iterator[None]:
    """Be the only process that submits and collects jobs of the question; StoppedEarly while another one does."""
    name = sha256_text("\n".join((question.request_hash, question.oracle, question.model)))[:12]
    path = store.path.with_name(f"{store.path.name}.jobs-{name}.lock")
    with locked(path, f"the batch jobs of {question.filter_name or 'this question'} by {question.oracle}"):
        yield


def held_usd(store: Store, job: JobRow) -> float | None:
    """Dollars that are reserved for what a job has not brought yet; None where a reserve is not known."""
    with store.reading() as db:
        mine = {"first": job.first, "last": job.last, "owner": job.owner}
        query = f"SELECT count(*) - count(reserved), sum(reserved) FROM attempts WHERE {queries.OF_JOB}"  # noqa: S608
        unknown, held = db.execute(query, mine).fetchone()
    return None if unknown else (held or 0) / NANO


def tried(store: Store, question: Question, keys: Sequence[Key]) -> list[str]:
    """What was wrong with the last answer that a job brought to each question, in order; "" where nothing was."""
    with store.reading() as db:
        number = store.find_question(db, question)
        rows = (
            db.execute(queries.FIND_TRY, (number, bytes.fromhex(key.sent_hash), key.sample)).fetchone() for key in keys
        )
        return ["" if row is None else unpack(row[1]) for row in rows]


def _known(store: Store, token: str) -> JobRow:
    job = find_job(store, token)
    if job is None:
        raise StoreError(f"there is no job {token}", where=store.path, fix="`filterkit jobs --all` lists them")
    return job


def _row(values: Sequence[Any]) -> JobRow:
    token, digest, asked, model, filter_name, state, handle, made_of = values[:8]
    requests, labelled, failed, again, released, lost, created, submitted, cancelled, ended = values[8:18]
    message, owner, first, last = values[18:]
    return JobRow(
        token=token,
        question=Question(digest, unpack(asked), unpack(model), unpack(filter_name)),
        state=state,
        handle=None if handle is None else unpack(handle),
        oracle=JobOracle(*unpack_json(made_of)),
        requests=requests,
        labelled=labelled,
        failed=failed,
        again=again,
        released=released,
        lost=lost,
        created=created,
        submitted=submitted,
        cancelled=cancelled,
        ended=ended,
        message="" if message is None else unpack(message),
        owner=owner,
        first=first,
        last=last,
    )
