"""One question's standing, and the opening and closing of its attempts, within a transaction of the caller's."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from filterkit.contracts import redact
from filterkit.errors import StoreError
from filterkit.store import queries
from filterkit.store.base import inserted
from filterkit.store.funds import Funds, Limits
from filterkit.store.rows import ERROR_CHARS, Key, Outcome, State, nano, pack, pack_json, pack_scores, unpack


def any_job_out(db: sqlite3.Connection, question: int) -> bool:
    """Whether there is a job with attempts of the question, which `settled` then looks for."""
    return bool(db.execute(queries.ANY_JOB_OUT, (question,)).fetchone()[0])


def settled(
    db: sqlite3.Connection, question: int, key: Key, jobs: bool, retry_failed_before: float | None = None
) -> State | None:
    """Labelled, out in a job, or failed finally; None when none of them. `jobs`: as `any_job_out` says."""
    values = (question, bytes.fromhex(key.sent_hash), key.sample)
    label = db.execute(queries.FIND_LABEL, values).fetchone()
    if label is not None:
        return State("labelled", owner=label[0])
    if jobs and db.execute(queries.IN_JOB, values).fetchone():
        return State("in_job")
    failure = db.execute(queries.FIND_FAILURE, values).fetchone()
    if failure is None or (retry_failed_before is not None and failure[2] < retry_failed_before):
        return None
    return State("failed", owner=failure[0], reason=unpack(failure[1]))


def open_attempts(
    db: sqlite3.Connection,
    question: int,
    keys: Sequence[Key],
    owner: int,
    funds: Funds,
    reserves: Sequence[int | None],
    retry_failed_before: float | None,
    now: float,
) -> list[State]:
    """Open an attempt for each question that may be asked now, and say where the others stand, in order."""
    jobs = any_job_out(db, question)
    states: list[State] = []
    for key, reserved in zip(keys, reserves, strict=True):
        state = settled(db, question, key, jobs, retry_failed_before)
        if state is None and (scope := funds.refusal(reserved)) is not None:
            state = State("unaffordable", reason=scope)
        elif state is None:
            name = (question, bytes.fromhex(key.sent_hash), key.sample)
            attempt = _open_attempt(db, name, owner, funds.reserve(reserved), now)
            state = State("elsewhere") if attempt is None else State("claimed", attempt, owner)
            if attempt is not None:
                funds.take(reserved)
        states.append(state)
    return states


def _open_attempt(
    db: sqlite3.Connection, key: tuple[int, bytes, int], owner: int, reserved: int | None, now: float
) -> int | None:
    """The number of a new attempt at (question, hash, sample), or None: a unique index says that one is open."""
    opened = db.execute(queries.OPEN_ATTEMPT, (*key, owner, now, reserved))
    return inserted(opened) if opened.rowcount else None


def close_attempt(
    db: sqlite3.Connection, outcome: Outcome, max_usd: float | None, limits: Limits, now: float
) -> int | None:
    """Close one attempt; returns the number of the next one, where one was asked for and could be opened."""
    found = db.execute(queries.FIND_ATTEMPT, (outcome.attempt,)).fetchone()
    if found is None:
        raise StoreError(f"there is no attempt {outcome.attempt} in the store")
    key, owner = found[:3], found[3]
    version = None if outcome.model_version is None else pack(outcome.model_version)
    error = pack(redact(outcome.error)[:ERROR_CHARS])
    used = outcome.usage
    tokens = (used.input, used.cached_input, used.output, used.thinking)
    closing = (outcome.result, now, nano(outcome.cost_usd), *tokens, outcome.latency_s, version, error or None)
    db.execute(queries.CLOSE_ATTEMPT, (*closing, outcome.attempt))
    if outcome.label is not None:
        evidence = pack_json(dict(outcome.label.evidence)) if outcome.label.evidence else None
        # The first label stands: a labeller that stood still for longer than its lease may come with a second one.
        db.execute(queries.ADD_LABEL, (*key, owner, now, version, pack_scores(outcome.label.scores), evidence))
        db.execute(queries.DROP_FAILURE, key)
    elif outcome.final:
        db.execute(queries.ADD_FAILURE, (*key, owner, now, error))
    elif outcome.again:
        reserved = nano(outcome.reserved_usd)
        funds = Funds(db, key[0], max_usd, limits, now=now)
        if funds.refusal(reserved) is None:
            return _open_attempt(db, key, owner, funds.reserve(reserved), now)
    return None
