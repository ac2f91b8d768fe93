"""Opening the SQLite file: its schema, its versions, and SQLite's errors in words a user can act on."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from filterkit.errors import FilterkitError, StoppedEarly, StoreError

APPLICATION_ID = 0x464B4C42  # "FKLB", in the file's header

MIGRATIONS = (
    """
    CREATE TABLE articles (
        seq INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        text_hash BLOB NOT NULL,
        body BLOB NOT NULL
    );
    CREATE TABLE requests (
        id INTEGER PRIMARY KEY,
        hash TEXT NOT NULL UNIQUE,
        filter_name BLOB NOT NULL
    );
    -- What an article reads as in a request. It counts only while text_hash is the article's: an edit leaves it behind.
    CREATE TABLE readings (
        request INTEGER NOT NULL REFERENCES requests (id),
        article INTEGER NOT NULL REFERENCES articles (seq),
        text_hash BLOB NOT NULL,
        sent_hash BLOB NOT NULL,
        PRIMARY KEY (request, article)
    ) WITHOUT ROWID;
    CREATE TABLE questions (
        id INTEGER PRIMARY KEY,
        request INTEGER NOT NULL REFERENCES requests (id),
        oracle BLOB NOT NULL,
        model BLOB NOT NULL,
        spent INTEGER NOT NULL DEFAULT 0,
        held INTEGER NOT NULL DEFAULT 0,
        unknown INTEGER NOT NULL DEFAULT 0,
        UNIQUE (request, oracle, model)
    );
    CREATE TABLE labels (
        id INTEGER PRIMARY KEY,
        question INTEGER NOT NULL REFERENCES questions (id),
        sent_hash BLOB NOT NULL,
        sample INTEGER NOT NULL,
        owner INTEGER,
        at REAL NOT NULL,
        model_version BLOB,
        scores BLOB NOT NULL,
        evidence BLOB,
        UNIQUE (question, sent_hash, sample)
    );
    CREATE TABLE failures (
        question INTEGER NOT NULL REFERENCES questions (id),
        sent_hash BLOB NOT NULL,
        sample INTEGER NOT NULL,
        owner INTEGER,
        at REAL NOT NULL,
        reason BLOB NOT NULL,
        PRIMARY KEY (question, sent_hash, sample)
    ) WITHOUT ROWID;
    CREATE TABLE owners (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        lease_until REAL NOT NULL,
        ended REAL
    );
    -- outcome NULL: open. Money is in billionths of a dollar.
    CREATE TABLE attempts (
        id INTEGER PRIMARY KEY,
        question INTEGER NOT NULL REFERENCES questions (id),
        sent_hash BLOB NOT NULL,
        sample INTEGER NOT NULL,
        owner INTEGER NOT NULL REFERENCES owners (id),
        opened REAL NOT NULL,
        reserved INTEGER,
        outcome TEXT,
        closed REAL,
        cost INTEGER,
        input_tokens INTEGER,
        cached_tokens INTEGER,
        output_tokens INTEGER,
        thinking_tokens INTEGER,
        latency_s REAL,
        model_version BLOB,
        error BLOB
    );
    -- One question cannot be in flight twice, whatever the code above does.
    CREATE UNIQUE INDEX open_attempts ON attempts (question, sent_hash, sample) WHERE outcome IS NULL;

    -- Running sums, so that a budget can be checked at every claim of a store with millions of attempts.
    CREATE TRIGGER attempt_opened AFTER INSERT ON attempts BEGIN
        UPDATE questions SET
            spent = spent + COALESCE(NEW.cost, NEW.reserved, 0),
            held = held + (CASE WHEN NEW.cost IS NULL THEN COALESCE(NEW.reserved, 0) ELSE 0 END),
            unknown = unknown + (COALESCE(NEW.cost, NEW.reserved) IS NULL)
        WHERE id = NEW.question;
    END;
    CREATE TRIGGER attempt_priced AFTER UPDATE OF cost, reserved ON attempts BEGIN
        UPDATE questions SET
            spent = spent + COALESCE(NEW.cost, NEW.reserved, 0) - COALESCE(OLD.cost, OLD.reserved, 0),
            held = held + (CASE WHEN NEW.cost IS NULL THEN COALESCE(NEW.reserved, 0) ELSE 0 END)
                        - (CASE WHEN OLD.cost IS NULL THEN COALESCE(OLD.reserved, 0) ELSE 0 END),
            unknown = unknown + (COALESCE(NEW.cost, NEW.reserved) IS NULL) - (COALESCE(OLD.cost, OLD.reserved) IS NULL)
        WHERE id = NEW.question;
    END;
    CREATE TRIGGER attempt_removed AFTER DELETE ON attempts BEGIN
        UPDATE questions SET
            spent = spent - COALESCE(OLD.cost, OLD.reserved, 0),
            held = held - (CASE WHEN OLD.cost IS NULL THEN COALESCE(OLD.reserved, 0) ELSE 0 END),
            unknown = unknown - (COALESCE(OLD.cost, OLD.reserved) IS NULL)
        WHERE id = OLD.question;
    END;
    """,
    """
    -- What an article read as before it was edited: its labels of then are found when it is to be forgotten.
    CREATE TABLE former_readings (
        article INTEGER NOT NULL REFERENCES articles (seq),
        request INTEGER NOT NULL REFERENCES requests (id),
        sent_hash BLOB NOT NULL,
        PRIMARY KEY (article, request, sent_hash)
    ) WITHOUT ROWID;
    CREATE TRIGGER reading_changed AFTER UPDATE OF sent_hash ON readings WHEN OLD.sent_hash <> NEW.sent_hash BEGIN
        INSERT INTO former_readings SELECT OLD.article, OLD.request, OLD.sent_hash WHERE NOT EXISTS (
            SELECT 1 FROM former_readings
            WHERE article = OLD.article AND request = OLD.request AND sent_hash = OLD.sent_hash
        );
    END;
    """,
    """
    -- The largest cost of an attempt: what one without a reserve counts at under a budget.
    ALTER TABLE questions ADD COLUMN dearest INTEGER NOT NULL DEFAULT 0;
    UPDATE questions SET dearest = COALESCE((SELECT max(cost) FROM attempts WHERE question = questions.id), 0);
    CREATE TRIGGER attempt_inserted_with_cost AFTER INSERT ON attempts WHEN NEW.cost IS NOT NULL BEGIN
        UPDATE questions SET dearest = NEW.cost WHERE id = NEW.question AND dearest < NEW.cost;
    END;
    CREATE TRIGGER attempt_cost_known AFTER UPDATE OF cost ON attempts WHEN NEW.cost IS NOT NULL BEGIN
        UPDATE questions SET dearest = NEW.cost WHERE id = NEW.question AND dearest < NEW.cost;
    END;
    """,
    """
    -- What the attempts opened on each day, UTC, cost: days since 1970. Kept like the sums of questions.
    -- Without a conflict clause in the triggers: that of the statement that fires them would take its place.
    CREATE TABLE days (
        day INTEGER PRIMARY KEY,
        spent INTEGER NOT NULL
    );
    INSERT INTO days
        SELECT CAST(opened / 86400 AS INTEGER), sum(COALESCE(cost, reserved, 0)) FROM attempts GROUP BY 1;
    CREATE TRIGGER attempt_opened_on_day AFTER INSERT ON attempts BEGIN
        INSERT INTO days SELECT CAST(NEW.opened / 86400 AS INTEGER), 0
            WHERE NOT EXISTS (SELECT 1 FROM days WHERE day = CAST(NEW.opened / 86400 AS INTEGER));
        UPDATE days SET spent = spent + COALESCE(NEW.cost, NEW.reserved, 0)
            WHERE day = CAST(NEW.opened / 86400 AS INTEGER);
    END;
    CREATE TRIGGER attempt_priced_on_day AFTER UPDATE OF cost, reserved ON attempts BEGIN
        UPDATE days SET spent = spent + COALESCE(NEW.cost, NEW.reserved, 0) - COALESCE(OLD.cost, OLD.reserved, 0)
            WHERE day = CAST(OLD.opened / 86400 AS INTEGER);
    END;
    CREATE TRIGGER attempt_removed_on_day AFTER DELETE ON attempts BEGIN
        UPDATE days SET spent = spent - COALESCE(OLD.cost, OLD.reserved, 0)
            WHERE day = CAST(OLD.opened / 86400 AS INTEGER);
    END;
    -- Open attempts of unknown cost: a budget looks for them at every claim, among those of large jobs too.
    CREATE INDEX blind_attempts ON attempts (question, opened) WHERE outcome IS NULL AND reserved IS NULL;
    """,
    """
    -- A batch job: an owner without a process. Its attempts are those numbered first to last that are its own.
    CREATE TABLE jobs (
        token TEXT PRIMARY KEY,
        owner INTEGER NOT NULL UNIQUE REFERENCES owners (id),
        question INTEGER NOT NULL REFERENCES questions (id),
        state TEXT NOT NULL,
        handle BLOB,
        oracle BLOB NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        requests INTEGER NOT NULL,
        labelled INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        again INTEGER NOT NULL DEFAULT 0,
        released INTEGER NOT NULL DEFAULT 0,
        lost INTEGER NOT NULL DEFAULT 0,
        created REAL NOT NULL,
        submitted REAL,
        cancelled REAL,
        ended REAL,
        message BLOB
    );
    CREATE INDEX open_jobs ON jobs (question) WHERE ended IS NULL;
    -- How often a question was answered in jobs without a label, and what was wrong with the last answer.
    CREATE TABLE tries (
        question INTEGER NOT NULL REFERENCES questions (id),
        sent_hash BLOB NOT NULL,
        sample INTEGER NOT NULL,
        count INTEGER NOT NULL,
        reason BLOB NOT NULL,
        PRIMARY KEY (question, sent_hash, sample)
    ) WITHOUT ROWID;
    """,
)
"""Script i brings a store from version i to i + 1; a new store runs all of them. Add to the end, never edit."""

SCHEMA_VERSION = len(MIGRATIONS)


def connect(path: Path, *, create: bool, busy_timeout_s: float) -> sqlite3.Connection:
    """An open store of this version, made or migrated where need be. Raises StoreError or StoppedEarly."""
    if not create and not path.is_file():
        raise StoreError("there is no label store", where=path, fix="Run `filterkit label` first, or give --store")
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False, cached_statements=256
        )
    try:
        with translated(path):
            version = check_version(connection, path)
            _use_wal(connection, path, busy_timeout_s)
            # What is committed is money spent: FULL keeps it through a power cut, where NORMAL may forget the last
            # commits. It costs an fsync per group (4 ms on a plain disk), about 2 % of a labeller's rate.
            connection.execute("PRAGMA synchronous = FULL")
            if version < SCHEMA_VERSION:
                _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """One write transaction: all of the block or, after any exception, nothing."""
    with translated(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite ends some failed ones itself
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors as one line that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _explained(error, path) from error
    except OverflowError as error:  # beyond SQLite's 64 bits
        raise StoreError(f"takes no number as large as that ({error})", where=path) from error
    except OSError as error:
        raise StoreError(f"cannot be opened ({error.strerror or error})", where=path) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _damaged(path, error) from error


def _explained(error: sqlite3.DatabaseError, path: Path) -> FilterkitError:
    name = getattr(error, "sqlite_errorname", None) or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoppedEarly(
            "the label store is locked by another process", where=path, fix="Run the same command again when it is done"
        )
    if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and _is_full(path)):
        return StoreError(
            "the disk is full",
            where=path,
            fix="Free some space and run the same command again; what was stored is safe",
        )
    if name.startswith("SQLITE_IOERR"):
        return StoreError(
            f"the disk failed ({error}, {name})",
            where=path,
            fix="Check space, quota and disk, then run the same command again; what was stored is safe",
        )
    if name == "SQLITE_NOTADB":
        return StoreError("is not a label store", where=path, fix="Name another file with --store")
    if name.startswith("SQLITE_CORRUPT"):
        return _damaged(path, error)
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_READONLY")):
        return StoreError(f"cannot be opened for writing ({error})", where=path, fix="Check path and permissions")
    return StoreError(f"cannot be used ({error})", where=path)


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(f"is damaged ({error})", where=path, fix="Restore a backup, or move it away to begin a new one")


def _foreign(path: Path) -> StoreError:
    return StoreError(
        "is another program's database, not a label store", where=path, fix="Name another file with --store"
    )


def _is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < 1_000_000
    except OSError:
        return False


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version, 0 for a file that was only just created. Writes nothing."""
    application, version, tables = _read_header(connection)
    if application == 0 and version == 0:
        if tables == 0:
            return 0
        raise _foreign(path)
    if application != APPLICATION_ID:
        raise _foreign(path)
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"was written by a newer filterkit (schema {version}), this one reads {SCHEMA_VERSION}",
            where=path,
            fix="Upgrade filterkit: pip install -U filterkit",
        )
    return version


def _read_header(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Application id, version and number of tables, all of one moment: another process may be making the store."""
    alone = not connection.in_transaction
    if alone:
        connection.execute("BEGIN")
    try:
        application: int = connection.execute("PRAGMA application_id").fetchone()[0]
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    finally:
        if alone:
            connection.execute("COMMIT")
    return application, version, tables


def _use_wal(connection: sqlite3.Connection, path: Path, patience_s: float) -> None:
    """Switch to write-ahead logging; SQLite does not wait by itself when two processes do so at once."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    if mode != "wal":
        raise StoreError("cannot be used here: no write-ahead log", where=path, fix="Keep the store on a local disk")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    with transaction(connection, path):
        version = check_version(connection, path)  # another process may have been faster
        for script in MIGRATIONS[version:]:
            _run_script(connection, script)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _run_script(connection: sqlite3.Connection, script: str) -> None:
    """`executescript` would commit first, and a half-made schema could stay behind."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
