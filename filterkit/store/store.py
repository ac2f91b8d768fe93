"""The store's door. Every call is one transaction on a batch: group what can be grouped."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from filterkit.contracts import redact
from filterkit.errors import StoreError
from filterkit.records import Article, sha256_text
from filterkit.store import queries
from filterkit.store.database import connect, transaction, translated
from filterkit.store.owners import Owner, Owners
from filterkit.store.rows import (
    ERROR_CHARS,
    NANO,
    Failure,
    Key,
    LabelRow,
    Outcome,
    Question,
    QuestionCount,
    Spent,
    State,
    nano,
    pack,
    pack_article,
    pack_json,
    pack_scores,
    unpack,
    unpack_article,
    unpack_json,
)

PAGE = 500
"""Articles looked at per query while iterating, so that memory and read transactions stay small."""


class Store:
    """One SQLite file that keeps articles, labels and the ledger of money, shared by any number of processes.

    Threads may take turns on one Store. Methods raise StoreError (the file cannot be used, the disk is full) or
    StoppedEarly (locked by another process for `busy_timeout_s` seconds); then nothing of that call was written.
    """

    def __init__(self, path: str | Path, *, create: bool = True, busy_timeout_s: float = 30.0) -> None:
        """Open the store at `path`, making it where it is missing (with `create=False` that is a StoreError)."""
        self.path = Path(path)
        self._connection = connect(self.path, create=create, busy_timeout_s=busy_timeout_s)
        self._turn = threading.RLock()
        self._owners = Owners(self.path)
        self._question_ids: dict[Question, int] = {}
        self._request_ids: dict[str, int] = {}

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. May be called twice."""
        with self._turn:
            self._connection.close()

    # Articles and where their questions stand

    def put_articles(self, question: Question, rows: Iterable[tuple[Article, str]]) -> None:
        """Keep articles, each with the hex SHA-256 of what `question` sends of it.

        An id that was known with another content is an edit: the newest version replaces the older one.
        """
        with self._write() as db:
            request = self._request_id(db, question)
            for article, sent_hash in rows:
                name = pack(article.id)
                text_hash = bytes.fromhex(sha256_text(article.text))[:16]
                db.execute(queries.PUT_ARTICLE, (name, text_hash, pack_article(article)))
                db.execute(queries.PUT_READING, (request, text_hash, bytes.fromhex(sent_hash), name))

    def states(self, question: Question, keys: Sequence[Key]) -> list[State]:
        """Where each question stands, in order: free, labelled or failed. Writes nothing."""
        with self._read() as db:
            number = self._find_question(db, question)
            if number is None:
                return [State("free")] * len(keys)
            return [_settled(db, number, key) or State("free") for key in keys]

    def claim(
        self,
        question: Question,
        keys: Sequence[Key],
        owner: Owner,
        *,
        reserved_usd: float | None = None,
        retry_failed_before: float | None = None,
    ) -> list[State]:
        """Open an attempt for each question that may be asked now, and say where the others stand, in order.

        Committed when this returns: only then may a request leave. `reserved_usd` is what an attempt counts until
        its cost is known (None: unknown). Questions that failed before the Unix time `retry_failed_before` may be
        asked again.
        """
        reserved = nano(reserved_usd)
        with self._write() as db:
            number = self._question_id(db, question)
            dead = self._owners.bury_dead(db, owner.id)
            states: list[State] = []
            for key in keys:
                state = _settled(db, number, key, retry_failed_before)
                if state is None:
                    attempt = _open_attempt(db, (number, bytes.fromhex(key.sent_hash), key.sample), owner.id, reserved)
                    state = State("elsewhere") if attempt is None else State("claimed", attempt, owner.id)
                states.append(state)
        for name in dead:
            self._owners.remove(name)
        return states

    def complete(self, outcomes: Sequence[Outcome], *, reserved_usd: float | None = None) -> list[int | None]:
        """Close attempts with what became of them, labels included; all of it is durable when this returns.

        For each outcome with `again` the number of the next attempt, opened at `reserved_usd`; else None. (None with
        `again` too where another labeller took the question over while this one stood still.)
        """
        reserved = nano(reserved_usd)
        now = time.time()
        with self._write() as db:
            return [_complete(db, outcome, reserved, now) for outcome in outcomes]

    def release(self, attempts: Iterable[int]) -> None:
        """Take back attempts whose request never left: they cost nothing and their questions are free."""
        with self._write() as db:
            db.executemany("DELETE FROM attempts WHERE id = ?", [(a,) for a in attempts])

    # Labellers

    @contextlib.contextmanager
    def owner(self, lease_s: float = 60.0) -> Iterator[Owner]:
        """Be a labeller for the block. Call `renew` well within every `lease_s` seconds.

        Attempts still open at the end (an error, a second Ctrl-C) count as sent and are free to be asked anew.
        """
        owner: Owner | None = None
        try:
            with self._write() as db:
                self._owners.bury_dead(db, me=0)
                self._owners.sweep(db)
                owner = self._owners.enlist(lease_s)
                row = (owner.name, time.time() + lease_s)
                owner.id = _inserted(db.execute("INSERT INTO owners (name, lease_until) VALUES (?, ?)", row))
            yield owner
            with self._write() as db:
                self._owners.bury(db, owner.id)
            self._owners.remove(owner.name)
        finally:
            if owner is not None:
                owner.lock.release()  # after an error the others find the lock free, and bury this owner themselves

    def renew(self, owner: Owner) -> None:
        """Lengthen the lease by its full time from now on, also when others took it for dead meanwhile."""
        with self._write() as db:
            until = time.time() + owner.lease_s
            db.execute("UPDATE owners SET lease_until = ?, ended = NULL WHERE id = ?", (until, owner.id))

    # What is there

    def labelled(self, request_hash: str, *, oracle: str | None = None, model: str | None = None) -> Iterator[LabelRow]:
        """Every label of a request with its article, in the order the articles came in; streamed.

        Of an edited article only labels of its newest version count. Several oracles, models or samples give several
        rows for one article, unless `oracle` and `model` narrow them down.
        """
        for body, scores, evidence, by, asked, version, sample, sent_hash in self._pages(
            queries.LABELLED, request_hash, oracle, model
        ):
            with translated(self.path):
                row = LabelRow(
                    unpack_article(body),
                    unpack_json(scores),
                    unpack_json(evidence) if evidence else {},
                    unpack(by),
                    unpack(asked),
                    unpack(version) if version is not None else None,
                    sample,
                    sent_hash.hex(),
                )
            yield row

    def failures(self, request_hash: str, *, oracle: str | None = None, model: str | None = None) -> Iterator[Failure]:
        """The articles whose question failed finally, and why; streamed."""
        for row in self._pages(queries.FAILED, request_hash, oracle, model):
            yield Failure(*(unpack(value) for value in row))

    def questions(self) -> list[QuestionCount]:
        """Every question with its counts, the one labelled last first."""
        with self._read() as db:
            rows = db.execute(queries.COUNTS).fetchall()
        counts = [
            QuestionCount(Question(digest, unpack(oracle), unpack(model), unpack(name)), labels, failures, newest)
            for digest, oracle, model, name, labels, failures, newest in rows
        ]
        return sorted(counts, key=lambda c: (-(c.newest or 0.0), c.question.oracle, c.question.model))

    def spent(self, question: Question | None = None) -> Spent:
        """Money spent on one question, or on all: see `Spent`. Holds across crashes and processes."""
        with self._read() as db:
            number = None if question is None else self._find_question(db, question) or -1
            spent, held, unknown = db.execute(queries.SPENT, {"question": number}).fetchone()
        return Spent(spent / NANO, held / NANO, unknown)

    # Parts

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            try:
                with transaction(self._connection, self.path) as db:
                    yield db
            except BaseException:
                self._question_ids.clear()  # their rows may have been rolled back
                self._request_ids.clear()
                raise

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._turn, translated(self.path):
            yield self._connection

    def _pages(self, query: str, request_hash: str, oracle: str | None, model: str | None) -> Iterator[tuple[Any, ...]]:
        values = {
            "request": request_hash,
            "oracle": None if oracle is None else pack(oracle),
            "model": None if model is None else pack(model),
        }
        with self._read() as db:
            last = db.execute("SELECT COALESCE(max(seq), 0) FROM articles").fetchone()[0]
        for start in range(0, last, PAGE):
            with self._read() as db:
                rows = db.execute(query, {**values, "after": start, "upto": start + PAGE}).fetchall()
            yield from rows

    def _request_id(self, db: sqlite3.Connection, question: Question) -> int:
        if question.request_hash not in self._request_ids:
            db.execute(
                "INSERT OR IGNORE INTO requests (hash, filter_name) VALUES (?, ?)",
                (question.request_hash, pack(question.filter_name)),
            )
            found = db.execute("SELECT id FROM requests WHERE hash = ?", (question.request_hash,)).fetchone()
            self._request_ids[question.request_hash] = found[0]
        return self._request_ids[question.request_hash]

    def _question_id(self, db: sqlite3.Connection, question: Question) -> int:
        number = self._find_question(db, question)
        if number is None:
            number = _inserted(
                db.execute(
                    "INSERT INTO questions (request, oracle, model) VALUES (?, ?, ?)",
                    (self._request_id(db, question), pack(question.oracle), pack(question.model)),
                )
            )
            self._question_ids[question] = number
        return number

    def _find_question(self, db: sqlite3.Connection, question: Question) -> int | None:
        if question not in self._question_ids:
            values = (question.request_hash, pack(question.oracle), pack(question.model))
            found = db.execute(queries.FIND_QUESTION, values).fetchone()
            if found is None:
                return None
            self._question_ids[question] = found[0]
        return self._question_ids[question]


def _settled(db: sqlite3.Connection, question: int, key: Key, retry_failed_before: float | None = None) -> State | None:
    """Labelled, or failed finally; None when neither."""
    values = (question, bytes.fromhex(key.sent_hash), key.sample)
    label = db.execute(queries.FIND_LABEL, values).fetchone()
    if label is not None:
        return State("labelled", owner=label[0])
    failure = db.execute(queries.FIND_FAILURE, values).fetchone()
    if failure is None or (retry_failed_before is not None and failure[2] < retry_failed_before):
        return None
    return State("failed", owner=failure[0], reason=unpack(failure[1]))


def _open_attempt(db: sqlite3.Connection, key: tuple[int, bytes, int], owner: int, reserved: int | None) -> int | None:
    """The number of a new attempt at (question, hash, sample), or None: a unique index says that one is open."""
    opened = db.execute(queries.OPEN_ATTEMPT, (*key, owner, time.time(), reserved))
    return _inserted(opened) if opened.rowcount else None


def _complete(db: sqlite3.Connection, outcome: Outcome, reserved: int | None, now: float) -> int | None:
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
        return _open_attempt(db, key, owner, reserved)
    return None


def _inserted(cursor: sqlite3.Cursor) -> int:
    number = cursor.lastrowid
    assert number is not None
    return number
