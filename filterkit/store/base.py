"""The open file: one transaction per call, and the numbers under which the file knows questions."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from filterkit.store import queries
from filterkit.store.database import connect, transaction, translated
from filterkit.store.funds import NO_LIMITS, Limits
from filterkit.store.owners import Owners
from filterkit.store.rows import Question, pack


class StoreFile:
    """One SQLite file, shared by any number of processes. Threads may take turns on one object.

    What is public here and not in `Store` is for the modules of this package.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        create: bool = True,
        busy_timeout_s: float = 30.0,
        limits: Limits = NO_LIMITS,
    ) -> None:
        """Open the store at `path`, making it where it is missing (with `create=False` that is a StoreError).

        `limits` bind every attempt that is opened through this object.
        """
        self.path = Path(path)
        self.limits = limits
        self._connection = connect(self.path, create=create, busy_timeout_s=busy_timeout_s)
        self._turn = threading.RLock()
        self.owners = Owners(self.path)
        self._question_ids: dict[Question, int] = {}
        self._request_ids: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. May be called twice."""
        with self._turn:
            self._connection.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: all of the block or, after any exception, nothing."""
        with self._turn:
            try:
                with transaction(self._connection, self.path) as db:
                    yield db
            except BaseException:
                self._question_ids.clear()  # their rows may have been rolled back
                self._request_ids.clear()
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries."""
        with self._turn, translated(self.path):
            yield self._connection

    def request_id(self, db: sqlite3.Connection, question: Question) -> int:
        """The number of a question's request, which is made where it is new."""
        if question.request_hash not in self._request_ids:
            db.execute(
                "INSERT OR IGNORE INTO requests (hash, filter_name) VALUES (?, ?)",
                (question.request_hash, pack(question.filter_name)),
            )
            found = db.execute("SELECT id FROM requests WHERE hash = ?", (question.request_hash,)).fetchone()
            self._request_ids[question.request_hash] = found[0]
        return self._request_ids[question.request_hash]

    def question_id(self, db: sqlite3.Connection, question: Question) -> int:
        """The number of a question, which is made where it is new."""
        number = self.find_question(db, question)
        if number is None:
            number = inserted(
                db.execute(
                    "INSERT INTO questions (request, oracle, model) VALUES (?, ?, ?)",
                    (self.request_id(db, question), pack(question.oracle), pack(question.model)),
                )
            )
            self._question_ids[question] = number
        return number

    def find_question(self, db: sqlite3.Connection, question: Question) -> int | None:
        """The number of a question, None where the store has never heard of it."""
        if question not in self._question_ids:
            values = (question.request_hash, pack(question.oracle), pack(question.model))
            found = db.execute(queries.FIND_QUESTION, values).fetchone()
            if found is None:
                return None
            self._question_ids[question] = found[0]
        return self._question_ids[question]


def inserted(cursor: sqlite3.Cursor) -> int:
    """The number of the row that was just inserted."""
    number = cursor.lastrowid
    assert number is not None
    return number
