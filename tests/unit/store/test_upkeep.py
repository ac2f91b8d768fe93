"""A backup of a store in use; articles that are forgotten to the last byte; stores of the first schema."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from filterkit.errors import ConfigError, StoppedEarly, StoreError
from filterkit.records import Article, Label, sha256_text
from filterkit.store import Key, Outcome, Question, Store, database
from filterkit.store.merge import Merged, merge
from filterkit.store.rows import pack, pack_article, pack_scores, text_hash
from filterkit.store.upkeep import backup, forget

QUESTION = Question("r" * 64, "test", "model-1", "filter 1")
OTHER = Question("s" * 64, "test", "model-1", "filter 2")


def article(name: str, content: str) -> Article:
    return Article(id=name, title="", content=content)


def key(value: Article) -> Key:
    return Key(sha256_text(value.text))


def put(store: Store, *articles: Article, question: Question = QUESTION) -> list[Key]:
    store.put_articles(question, [(a, key(a).sent_hash) for a in articles])
    return [key(a) for a in articles]


def give_label(store: Store, *articles: Article, question: Question = QUESTION) -> None:
    keys = put(store, *articles, question=question)
    with store.owner() as owner:
        states = store.claim(question, keys, owner, reserved_usd=[0.5] * len(keys))
        store.complete([
            Outcome(s.attempt, "labelled", label=Label({"d": 1.0}, {"d": a.content[:40]}), cost_usd=0.25)
            for s, a in zip(states, articles, strict=True) if s.attempt
        ])  # fmt: skip


def give_failure(store: Store, value: Article) -> None:
    [wanted] = put(store, value)
    with store.owner() as owner:
        [state] = store.claim(QUESTION, [wanted], owner, reserved_usd=[0.5])
        store.complete([Outcome(state.attempt, "refused", error=f"blocked: {value.content}", final=True)])


def words(store_file: Path) -> bytes:
    """All bytes of the store's files."""
    return b"".join(f.read_bytes() for f in store_file.parent.glob(f"{store_file.name}*") if f.is_file())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.db"


@pytest.fixture
def store(path: Path):
    with Store(path) as opened:
        yield opened


# Backup


def test_a_backup_made_while_others_write_is_a_whole_store(path, store, tmp_path):
    stop = threading.Event()

    def keep_labelling() -> None:
        number = 0
        with Store(path) as other:
            while not stop.is_set():
                give_label(other, *(article(f"w{number}-{i}", f"text {number} {i} " * 50) for i in range(20)))
                number += 1

    writer = threading.Thread(target=keep_labelling)
    writer.start()
    try:
        counts = []
        for _ in range(5):
            backup(store, tmp_path / "backup.db")
            with Store(tmp_path / "backup.db") as copy:
                rows = list(copy.labelled(QUESTION.request_hash))
                counts.append(len(rows))
                assert copy.spent().usd == pytest.approx(len(rows) * 0.25, abs=20 * 0.5)
    finally:
        stop.set()
        writer.join()
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    assert sorted(f.name for f in tmp_path.iterdir() if "backup" in f.name) == ["backup.db"]


def test_in_a_backup_nothing_is_in_flight_and_what_was_counts_at_its_reserve(store, tmp_path):
    with store.owner() as owner:
        [state] = store.claim(QUESTION, [Key("ab" * 32)], owner, reserved_usd=[0.5])
        backup(store, tmp_path / "backup.db")
        with Store(tmp_path / "backup.db") as copy:
            assert copy.spent() == (0.5, 0.5, 0)
            with copy.owner() as other:
                assert copy.claim(QUESTION, [Key("ab" * 32)], other)[0].kind == "claimed"
        assert store.claim(QUESTION, [Key("ab" * 32)], owner)[0].kind == "elsewhere"
        store.complete([Outcome(state.attempt, "bad", cost_usd=0.125)])


def test_a_backup_brings_nothing_new_to_its_own_store(store, tmp_path):
    give_label(store, article("a", "text"))
    backup(store, tmp_path / "backup.db")
    assert merge(store, tmp_path / "backup.db") == Merged()


def test_a_backup_goes_over_no_store_that_is_in_use(path, store, tmp_path):
    other = tmp_path / "other.db"
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "hard.db").hardlink_to(path)
    for name in ("labels.db", "link.db", "hard.db"):
        with pytest.raises(ConfigError, match="is the store itself"):
            backup(store, tmp_path / name)
    with Store(other) as opened:
        give_label(opened, article("a", "text"))
        with pytest.raises(ConfigError, match="is a database that is in use"):
            backup(store, other)
        assert len(list(opened.labelled(QUESTION.request_hash))) == 1
    backup(store, other)  # closed, it is an older backup as any
    with Store(other) as opened:
        assert list(opened.labelled(QUESTION.request_hash)) == []


def test_a_damaged_store_gives_no_backup_and_leaves_the_old_one(path, tmp_path):
    with Store(path) as store:
        give_label(store, *(article(f"a{n}", "long " * 500) for n in range(300)))
        backup(store, tmp_path / "backup.db")
    good = (tmp_path / "backup.db").read_bytes()
    with path.open("r+b") as file:
        for place in range(path.stat().st_size // 16384 * 8192, path.stat().st_size, 8192):
            file.seek(place)
            file.write(b"\xa5" * 64)
    with Store(path) as store, pytest.raises(StoreError, match="is damaged"):
        backup(store, tmp_path / "backup.db")
    assert (tmp_path / "backup.db").read_bytes() == good
    assert not list(tmp_path.glob(".*tmp*"))


def test_what_a_killed_backup_left_is_taken_over(store, tmp_path):
    give_label(store, article("a", "text"))
    for suffix in ("", "-wal", "-journal"):
        (tmp_path / f".backup.db.tmp{suffix}").write_bytes(b"half of something")
    backup(store, tmp_path / "backup.db")
    with Store(tmp_path / "backup.db") as copy:
        assert len(list(copy.labelled(QUESTION.request_hash))) == 1
    assert not list(tmp_path.glob(".backup*"))


# Forget


@pytest.mark.parametrize("size", [60, 900, 30_000])
def test_no_byte_of_a_forgotten_text_is_left(path, store, size):
    """Neither of what it read before it was edited, nor what an error or an evidence said of it."""

    def text(name: str) -> str:
        return f"SECRET-{name} " + f"{name} filler " * (size // 20)

    with store.reading() as db:
        db.execute("PRAGMA secure_delete = OFF")  # as SQLite is built in most places
    give_label(store, *(article(f"k{n}", text(f"kept{n}")) for n in range(40)))
    gone = article("gone", text("first-version"))
    give_label(store, gone)
    give_label(store, *(article(f"l{n}", text(f"later{n}")) for n in range(40)))
    give_label(store, article("gone", text("second-version")))
    give_failure(store, article("gone", text("third-version")))
    give_label(store, article("gone", text("fourth-version")), question=OTHER)
    money = store.spent()
    done = forget(store, ["gone", "gone", "nobody"])
    assert (done.articles, done.labels, done.failures, done.unknown) == (1, 3, 1, ["nobody"])
    left = words(path)
    assert b"-version" not in left
    assert b"gone" not in left
    assert left.count(b"SECRET-kept7 ") == 2  # text and evidence
    assert store.spent() == money
    assert len(list(store.labelled(QUESTION.request_hash))) == 80


def test_a_text_that_another_article_has_keeps_its_label(store):
    give_label(store, article("x", "same"))
    put(store, article("y", "same"))
    assert forget(store, ["x"]).labels == 0
    assert [row.article.id for row in store.labelled(QUESTION.request_hash)] == ["y"]
    assert forget(store, ["y"]).labels == 1
    assert list(store.labelled(QUESTION.request_hash)) == []


def test_a_text_that_another_article_only_had_does_not(store):
    give_label(store, article("x", "same"))
    put(store, article("y", "same"))
    put(store, article("y", "edited"))
    assert forget(store, ["x"]).labels == 1


def test_a_text_that_another_article_is_no_longer_read_as_does_not(store):
    """The other filter has seen the edit, this one not yet."""
    give_label(store, article("x", "same"))
    put(store, article("y", "same"))
    put(store, article("y", "edited"), question=OTHER)
    assert forget(store, ["x"]).labels == 1


def test_what_was_forgotten_may_come_again_as_something_new(store):
    give_label(store, article("x", "one"), article("y", "two"))
    forget(store, ["x"])
    assert [s.kind for s in store.states(QUESTION, put(store, article("x", "one")))] == ["free"]
    give_label(store, article("x", "one"))
    assert [row.article.id for row in store.labelled(QUESTION.request_hash)] == ["y", "x"]
    assert store.spent().usd == 0.75


def test_nothing_is_forgotten_while_somebody_labels(path, store):
    give_label(store, article("x", "one"))
    with Store(path) as other, other.owner(), pytest.raises(StoppedEarly, match="somebody labels into the store"):
        forget(store, ["x"])
    assert len(list(store.labelled(QUESTION.request_hash))) == 1
    assert forget(store, ["x"]).articles == 1


def test_a_reader_that_holds_the_log_is_told_of_and_the_next_call_ends_it(path):
    with Store(path, busy_timeout_s=0.2) as store:
        give_label(store, article("x", "SECRET"))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM articles").fetchone()
            with pytest.raises(StoppedEarly, match="still lies in its log"):
                forget(store, ["x"])
            assert b"SECRET" in words(path)
        assert forget(store, ["x"]).unknown == ["x"]
        assert b"SECRET" not in words(path)


# The first schema


def write_first_schema(path: Path, value: Article) -> None:
    """A store as the first version wrote it, with one label that cost 0.25."""
    sent, score = bytes.fromhex(key(value).sent_hash), pack_scores({"d": 1.0})
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(database.MIGRATIONS[0])
        db.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        row = (pack(value.id), text_hash(value), pack_article(value))
        db.execute("INSERT INTO articles (id, text_hash, body) VALUES (?, ?, ?)", row)
        db.execute("INSERT INTO requests VALUES (1, ?, ?)", (QUESTION.request_hash, pack(QUESTION.filter_name)))
        db.execute("INSERT INTO readings VALUES (1, 1, ?, ?)", (text_hash(value), sent))
        question = (pack(QUESTION.oracle), pack(QUESTION.model))
        db.execute("INSERT INTO questions (id, request, oracle, model) VALUES (1, 1, ?, ?)", question)
        db.execute("INSERT INTO owners VALUES (1, 'somebody', 0, 1)")
        attempt = "INSERT INTO attempts (question, sent_hash, sample, owner, opened, outcome, cost)"
        db.execute(f"{attempt} VALUES (1, ?, 0, 1, 0, 'labelled', 250000000)", (sent,))
        label = "INSERT INTO labels (question, sent_hash, sample, owner, at, scores)"
        db.execute(f"{label} VALUES (1, ?, 0, 1, 0, ?)", (sent, score))


def test_a_store_of_the_first_schema_is_brought_up_to_date(path, tmp_path):
    write_first_schema(path, article("x", "one"))
    shutil.copy(path, tmp_path / "old.db")
    with Store(path) as store:
        with store.owner() as owner:  # 0.25 is spent, and the largest cost so far
            [state] = store.claim(QUESTION, [Key("ab" * 32)], owner, max_usd=0.4)
            assert state.kind == "unaffordable"
        give_label(store, article("x", "two"))
        assert [row.article.content for row in store.labelled(QUESTION.request_hash)] == ["two"]
        with pytest.raises(StoreError, match="has the older schema 1"):
            merge(store, tmp_path / "old.db")
        assert forget(store, ["x"]).labels == 2
