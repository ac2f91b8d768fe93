"""A backup of a store that is in use, and the forgetting of articles."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from filterkit.errors import ConfigError, StoppedEarly, StoreError
from filterkit.files import atomic_write
from filterkit.store import queries
from filterkit.store.database import translated
from filterkit.store.rows import pack
from filterkit.store.store import Store

SIDE_FILES = ("-wal", "-shm", "-journal")


def backup(store: Store, file: Path) -> int:
    """A copy of the store as it is at this moment, checked, at `file`, whole or not at all. Returns its bytes.

    Labellers may be at work; in the copy their open requests count as lost, at what was reserved for them. Batch jobs
    stay out in the copy too, so that they can be collected with it. An older file at `file` is replaced. ConfigError
    when that is the store itself, or a store that is open somewhere.
    """
    if file.resolve() == store.path.resolve() or (file.exists() and file.samefile(store.path)):
        raise ConfigError("is the store itself", where=file, fix="Name another file for the backup")
    if any(file.with_name(file.name + suffix).exists() for suffix in SIDE_FILES):
        raise ConfigError("is a database that is in use", where=file, fix="Name another file for the backup")
    with atomic_write(file) as handle:
        staging = Path(handle.name)
        with translated(file):
            _copy(store, staging)
        return staging.stat().st_size


def _copy(store: Store, file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = OFF")  # the whole file is synced before it gets its name
        with store.reading() as db:
            db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        copy.execute("BEGIN")
        job = "(SELECT owner FROM jobs WHERE ended IS NULL)"
        lost = f"UPDATE attempts SET outcome = 'lost', closed = ? WHERE outcome IS NULL AND owner NOT IN {job}"  # noqa: S608
        copy.execute(lost, (time.time(),))
        ended = f"UPDATE owners SET ended = ? WHERE ended IS NULL AND id NOT IN {job}"  # noqa: S608 - ours
        copy.execute(ended, (time.time(),))
        copy.execute("COMMIT")
        problems = [row[0] for row in copy.execute("PRAGMA integrity_check(1)")]
    if problems != ["ok"]:
        fix = "Keep your last good backup; what can be read can be merged into a new store"
        raise StoreError(f"is damaged ({problems[0]})", where=store.path, fix=fix)


@dataclass
class Forgotten:
    """What was removed. unknown: ids that the store does not know."""

    articles: int = 0
    labels: int = 0
    failures: int = 0
    unknown: list[str] = field(default_factory=list)


def forget(store: Store, ids: Iterable[str]) -> Forgotten:
    """Remove articles with their labels and failures, so that no text of theirs is left in the store's files.

    A label of a text that another article has too stays. The ledger keeps its money, not its words. What a batch job
    answers about them is not kept. The whole file is
    rewritten, which takes seconds per gigabyte; after a kill the same call ends it. StoppedEarly while somebody labels
    into the store, or reads it.
    """
    done = Forgotten()
    with store.reading() as db:
        db.execute("PRAGMA secure_delete = ON")  # should the rewriting be interrupted, little is left
    with store.writing() as db:
        dead = store.owners.bury_dead(db, me=0)
        if store.owners.living(db):
            fix = "Run the same command again when that has ended"
            raise StoppedEarly("somebody labels into the store right now", where=store.path, fix=fix)
        articles: list[int] = []
        for name in dict.fromkeys(ids):
            found = db.execute("SELECT seq FROM articles WHERE id = ?", (pack(name),)).fetchone()
            if found is None:
                done.unknown.append(name)
            else:
                articles.append(found[0])
        texts = _texts(db, articles)
        for article in articles:
            db.execute(queries.DROP_READINGS, (article,))
            db.execute("DELETE FROM former_readings WHERE article = ?", (article,))
            db.execute("DELETE FROM articles WHERE seq = ?", (article,))
        texts -= _current_texts(db, texts)
        _forget_texts(db, texts, done)
        done.articles = len(articles)
    for owner in dead:
        store.owners.remove(owner)
    _scrub(store)
    return done


Text = tuple[int, bytes]
"""Number of a request, and the hash of what it sent."""


def _texts(db: sqlite3.Connection, articles: Iterable[int]) -> set[Text]:
    """What articles read as, now and before they were edited."""
    found: set[Text] = set()
    for article in articles:
        found.update(db.execute(queries.TEXTS, {"article": article}))
    return found


def _current_texts(db: sqlite3.Connection, among: set[Text]) -> set[Text]:
    """Those of the texts that articles read as now."""
    query = "SELECT r.request, r.sent_hash FROM readings r JOIN articles a ON a.seq = r.article"
    return {text for text in db.execute(f"{query} AND a.text_hash = r.text_hash") if text in among}


def _forget_texts(db: sqlite3.Connection, texts: set[Text], done: Forgotten) -> None:
    questions = db.execute("SELECT id, request FROM questions").fetchall()
    for request, sent_hash in texts:
        for question in [number for number, of in questions if of == request]:
            key = (question, sent_hash)
            done.labels += db.execute("DELETE FROM labels WHERE question = ? AND sent_hash = ?", key).rowcount
            done.failures += db.execute("DELETE FROM failures WHERE question = ? AND sent_hash = ?", key).rowcount
            db.execute("DELETE FROM tries WHERE question = ? AND sent_hash = ?", key)
            db.execute(queries.LOSE_ATTEMPTS, (time.time(), *key))  # out in a job: its answer finds no open attempt
    requests = dict(questions)
    worded = db.execute("SELECT id, question, sent_hash FROM attempts WHERE error IS NOT NULL").fetchall()
    gone = [(number,) for number, question, sent_hash in worded if (requests[question], sent_hash) in texts]
    db.executemany("UPDATE attempts SET error = NULL WHERE id = ?", gone)


def _scrub(store: Store) -> None:
    """Write the file anew without what was deleted: it lies about in free space and in the log until then."""
    with store.reading() as db:
        db.execute("VACUUM")
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoppedEarly(
            "another process reads the store, so that what was removed still lies in its log",
            where=store.path,
            fix="Run the same command again when that has ended",
        )
