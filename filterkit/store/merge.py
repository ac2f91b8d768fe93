"""Another store's labels and ledger into this one."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filterkit.errors import ConfigError, StoppedEarly, StoreError
from filterkit.store import queries
from filterkit.store.database import SCHEMA_VERSION, check_version, translated
from filterkit.store.owners import Owners
from filterkit.store.rows import NANO, Question, unpack, unpack_json
from filterkit.store.store import Store

BATCH = 2_000
"""Rows per write transaction, so that a labeller at work on the store never waits for long."""


@dataclass
class Merged:
    """What one store brought to another; all of it 0 when it is merged again, but for what stands against it.

    articles, labels, failures, attempts: new ones; usd: money of those attempts. conflicts: labels that both have,
    with other scores: the receiving store's stands. edited: articles that both have, with another text: likewise.
    in_jobs: of the attempts, those that are out in batch jobs there. Here they count at their reserves, and their
    questions may be asked; merged again when they were collected there, they count at what they cost.
    """

    articles: int = 0
    edited: int = 0
    labels: int = 0
    conflicts: int = 0
    failures: int = 0
    attempts: int = 0
    in_jobs: int = 0
    usd: float = 0.0


def merge(store: Store, other: Path) -> Merged:
    """Take over all that the store at `other` knows and `store` does not. `other` is only read.

    Committed in batches: after a kill the same call goes on, and merging again changes nothing. An attempt is known by
    its labeller, its time and its question, so that no money is counted twice. ConfigError when both are one file;
    StoreError when `other` is of another schema; StoppedEarly while somebody labels into it.
    """
    if other.exists() and other.samefile(store.path):
        raise ConfigError("is the store itself", where=other, fix="Name another store to merge into it")
    with _opened(other) as source, translated(other):
        return _Merge(store, source).all()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A store as it is at this moment, to be read."""
    if not path.is_file():
        raise StoreError("there is no label store", where=path)
    with translated(path):
        source = sqlite3.connect(path, isolation_level=None)
    with contextlib.closing(source), translated(path):
        source.execute("BEGIN")  # one moment for all that follows
        version = check_version(source, path)
        if version == 0:
            raise StoreError("is not a label store", where=path)
        if version < SCHEMA_VERSION:
            fix = f"Bring it up to date first: filterkit labels stats --store {path}"
            raise StoreError(f"has the older schema {version}, not {SCHEMA_VERSION}", where=path, fix=fix)
        if Owners(path).living(source):
            raise StoppedEarly("somebody labels into it right now", where=path, fix="Run again when that has ended")
        yield source


class _Merge:
    def __init__(self, store: Store, source: sqlite3.Connection) -> None:
        self.store, self.source, self.done = store, source, Merged()
        self.requests: dict[int, int] = {}
        self.questions: dict[int, int] = {}
        self.owners: dict[int, int] = {}
        out = source.execute("SELECT owner FROM jobs WHERE ended IS NULL")
        self.jobs_out = {owner for (owner,) in out}
        self.met: set[int] = set()  # owners that the receiving store knew before
        self.now = time.time()

    def all(self) -> Merged:
        self._take_questions()
        self._take_owners()
        self._each("SELECT id, text_hash, body FROM articles ORDER BY seq", self._take_article)
        self._each(queries.ALL_READINGS, self._take_reading)
        self._each(queries.ALL_FORMER_READINGS, self._take_former_reading)
        with self._known_attempts():
            self._each(f"SELECT {queries.ATTEMPT} FROM attempts ORDER BY id", self._take_attempt)  # noqa: S608 - ours
        self._each(f"SELECT {queries.LABEL} FROM labels ORDER BY id", self._take_label)  # noqa: S608 - ours
        self._each("SELECT question, sent_hash, sample, owner, at, reason FROM failures", self._take_failure)
        return self.done

    def _each(self, query: str, take: Callable[..., None]) -> None:
        """Take over the rows of a query, a batch at a time; only what is committed is counted."""
        cursor = self.source.execute(query)
        while rows := cursor.fetchmany(BATCH):
            before = replace(self.done)
            try:
                with self.store.writing() as db:
                    for row in rows:
                        take(db, *row)
            except BaseException:
                self.done = before
                raise

    def _take_questions(self) -> None:
        with self.store.writing() as db:
            for number, digest, name in self.source.execute("SELECT id, hash, filter_name FROM requests"):
                self.requests[number] = self.store.request_id(db, Question(digest, "", "", unpack(name)))
            for number, digest, oracle, model in self.source.execute(queries.ALL_QUESTIONS):
                question = Question(digest, unpack(oracle), unpack(model))
                self.questions[number] = self.store.question_id(db, question)

    def _take_owners(self) -> None:
        with self.store.writing() as db:
            dead = self.store.owners.bury_dead(db, me=0)
            for number, name, lease_until, ended in self.source.execute(
                "SELECT id, name, lease_until, ended FROM owners"
            ):
                values = (name, lease_until, self.now if ended is None else ended)
                new = db.execute("INSERT OR IGNORE INTO owners (name, lease_until, ended) VALUES (?, ?, ?)", values)
                self.owners[number] = db.execute("SELECT id FROM owners WHERE name = ?", (name,)).fetchone()[0]
                self.met |= set() if new.rowcount else {self.owners[number]}
        for name in dead:
            self.store.owners.remove(name)

    def _take_article(self, db: sqlite3.Connection, name: bytes, text: bytes, body: bytes) -> None:
        known = db.execute("SELECT text_hash FROM articles WHERE id = ?", (name,)).fetchone()
        if known is None:
            db.execute("INSERT INTO articles (id, text_hash, body) VALUES (?, ?, ?)", (name, text, body))
            self.done.articles += 1
        else:  # nobody knows which of two texts is the newer one
            self.done.edited += known[0] != text

    def _take_reading(self, db: sqlite3.Connection, request: int, name: bytes, text: bytes, sent_hash: bytes) -> None:
        request = self.requests[request]
        found = db.execute(queries.FIND_READING, (request, name)).fetchone()
        if found is None:  # forgotten a moment ago
            return
        article, current, reads = found
        if text == current and reads != current:  # no reading there, or one of an earlier text
            db.execute(queries.PUT_READING, (request, text, sent_hash, name))
        else:
            self._note_former(db, article, request, sent_hash)

    def _take_former_reading(self, db: sqlite3.Connection, request: int, name: bytes, sent_hash: bytes) -> None:
        for (article,) in db.execute("SELECT seq FROM articles WHERE id = ?", (name,)).fetchall():
            self._note_former(db, article, self.requests[request], sent_hash)

    def _note_former(self, db: sqlite3.Connection, article: int, request: int, sent_hash: bytes) -> None:
        db.execute(queries.PUT_FORMER_READING, {"article": article, "request": request, "sent_hash": sent_hash})

    @contextlib.contextmanager
    def _known_attempts(self) -> Iterator[None]:
        """For the time of the block, a table of the attempts by labellers that both stores know."""
        with self.store.writing() as db:
            db.execute(queries.MAKE_KNOWN)
            for owner in self.met:
                db.execute(queries.FILL_KNOWN, (owner,))
        try:
            yield
        finally:
            with self.store.reading() as db:
                db.execute("DROP TABLE temp.known")

    def _take_attempt(self, db: sqlite3.Connection, *row: Any) -> None:
        question, sent_hash, sample, owner, opened, reserved, outcome, closed, *rest = row
        key = (self.questions[question], sent_hash, sample, self.owners[owner], opened)
        closing = (reserved, outcome or "lost", closed or self.now, *rest)
        known = db.execute(queries.FIND_KNOWN, key).fetchone() if key[3] in self.met else None
        if known is None and outcome == "released":  # nothing was sent
            return
        if known is None:
            places = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO attempts ({queries.ATTEMPT}) VALUES ({places})", (*key, *closing))  # noqa: S608
            self.done.attempts += 1
            self.done.in_jobs += outcome is None and owner in self.jobs_out
            cost = rest[0] if rest[0] is not None else reserved
            self.done.usd += (cost or 0) / NANO
        elif known[1] == "lost" and closing[1] != "lost":  # the other store knows how it ended after all
            db.execute(queries.END_ATTEMPT, (*closing, known[0]))

    def _take_label(
        self,
        db: sqlite3.Connection,
        question: int,
        sent_hash: bytes,
        sample: int,
        owner: int | None,
        at: float,
        version: bytes | None,
        scores: bytes,
        evidence: bytes | None,
    ) -> None:
        key = (self.questions[question], sent_hash, sample)
        by = None if owner is None else self.owners[owner]
        if db.execute(queries.ADD_LABEL, (*key, by, at, version, scores, evidence)).rowcount:
            db.execute(queries.DROP_FAILURE, key)
            self.done.labels += 1
        elif unpack_json(db.execute(queries.FIND_SCORES, key).fetchone()[0]) != unpack_json(scores):
            self.done.conflicts += 1

    def _take_failure(
        self, db: sqlite3.Connection, question: int, sent_hash: bytes, sample: int, owner: int | None, *rest: Any
    ) -> None:
        key = (self.questions[question], sent_hash, sample)
        if db.execute(queries.FIND_LABEL, key).fetchone() or db.execute(queries.FIND_FAILURE, key).fetchone():
            return
        db.execute(queries.ADD_FAILURE, (*key, None if owner is None else self.owners[owner], *rest))
        self.done.failures += 1
