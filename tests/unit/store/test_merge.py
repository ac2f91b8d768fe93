"""Two stores become one: nothing is lost, nothing counted twice, and merging again changes nothing."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from filterkit.errors import ConfigError, StoppedEarly, StoreError
from filterkit.records import Article, Label, Usage, sha256_text
from filterkit.store import SCHEMA_VERSION, Key, Outcome, Question, Store
from filterkit.store.merge import Merged, merge
from filterkit.store.upkeep import backup

QUESTION = Question("r" * 64, "test", "model-1", "filter 1")
OTHER = Question("s" * 64, "test", "model-2", "filter 2")


def article(number: int, content: str | None = None) -> Article:
    return Article(id=f"a{number}", title="T", content=content or f"text {number}")


def sent(value: Article) -> str:
    return sha256_text(value.text)


def label(store: Store, *articles: Article, score: float = 5.0, question: Question = QUESTION) -> None:
    store.put_articles(question, [(a, sent(a)) for a in articles])
    with store.owner() as owner:
        keys = [Key(sent(a)) for a in articles]
        states = store.claim(question, keys, owner, reserved_usd=[0.5] * len(keys))
        store.complete([
            Outcome(
                s.attempt, "labelled", label=Label({"d": score}, {"d": "why"}), cost_usd=0.25, latency_s=0.1,
                usage=Usage(input=10, cached_input=5, output=2, thinking=1), model_version="model-1-a",
            )
            for s in states if s.attempt
        ])  # fmt: skip


def fail(store: Store, value: Article) -> None:
    store.put_articles(QUESTION, [(value, sent(value))])
    with store.owner() as owner:
        [state] = store.claim(QUESTION, [Key(sent(value))], owner, reserved_usd=[0.5])
        store.complete([Outcome(state.attempt, "refused", error="no", cost_usd=0.0, final=True)])


def contents(path: Path) -> dict[str, list]:
    """Every row of a store, by what it means instead of its number."""
    queries = {
        "articles": "SELECT id, text_hash, body FROM articles ORDER BY id",
        "readings": "SELECT p.hash, a.id, r.text_hash, r.sent_hash FROM readings r JOIN requests p ON p.id = r.request "
        "JOIN articles a ON a.seq = r.article ORDER BY 1, 2",
        "former": "SELECT p.hash, a.id, r.sent_hash FROM former_readings r JOIN requests p ON p.id = r.request "
        "JOIN articles a ON a.seq = r.article ORDER BY 1, 2, 3",
        "questions": "SELECT p.hash, p.filter_name, oracle, model, spent, held, unknown FROM questions q "
        "JOIN requests p ON p.id = q.request ORDER BY 1, 3, 4",
        "labels": "SELECT oracle, model, sent_hash, sample, name, at, model_version, scores, evidence FROM labels l "
        "JOIN questions q ON q.id = l.question LEFT JOIN owners o ON o.id = l.owner ORDER BY 1, 2, 3, 4",
        "failures": "SELECT oracle, sent_hash, sample, name, at, reason FROM failures f "
        "JOIN questions q ON q.id = f.question LEFT JOIN owners o ON o.id = f.owner ORDER BY 2",
        "attempts": "SELECT oracle, model, sent_hash, sample, name, opened, reserved, outcome, closed, cost, "
        "input_tokens, cached_tokens, output_tokens, thinking_tokens, latency_s, model_version, error FROM attempts a "
        "JOIN questions q ON q.id = a.question JOIN owners o ON o.id = a.owner ORDER BY opened, 3",
    }
    with sqlite3.connect(path) as db:
        found = {name: db.execute(query).fetchall() for name, query in queries.items()}
    db.close()
    return found


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two stores that know some of the same and some of their own."""
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    with Store(here) as store:
        label(store, article(9), article(1), article(2))
        fail(store, article(3))
        fail(store, article(4))
    with Store(there) as store:
        label(store, article(2), score=5.0)
        label(store, article(1), score=6.0)
        label(store, article(3), article(7), article(8))
        label(store, article(7), question=OTHER)
        fail(store, article(5))
        fail(store, article(4))
    return here, there


def test_an_empty_store_becomes_the_same_as_the_other(two, tmp_path):
    _, there = two
    with Store(there) as store:
        label(store, article(8, "edited"))
    with Store(tmp_path / "new.db") as store:
        done = merge(store, there)
    assert done == Merged(articles=7, labels=7, failures=2, attempts=9, usd=pytest.approx(1.75))
    assert contents(tmp_path / "new.db") == contents(there)
    with sqlite3.connect(tmp_path / "new.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_both_know_stands_here_and_the_rest_is_added(two):
    here, there = two
    before = contents(here)
    with Store(here) as store:
        spent = store.spent().usd
        done = merge(store, there)
        assert done == Merged(articles=3, labels=4, conflicts=1, failures=1, attempts=8, usd=pytest.approx(1.5))
        rows = {row.article.id: row.scores["d"] for row in store.labelled(QUESTION.request_hash)}
        assert rows == {"a9": 5, "a1": 5, "a2": 5, "a3": 5, "a7": 5, "a8": 5}
        assert {f.article_id for f in store.failures(QUESTION.request_hash)} == {"a4", "a5"}
        assert store.spent().usd == pytest.approx(spent + 1.5)
        assert [row.article.id for row in store.labelled(OTHER.request_hash)] == ["a7"]
    after = contents(here)
    assert set(before["labels"]) < set(after["labels"])
    assert set(before["attempts"]) < set(after["attempts"])
    for table in ("labels", "attempts", "failures"):
        assert set(after[table]) - set(before[table]) <= set(contents(there)[table])


def test_merging_again_changes_nothing_in_either_direction(two):
    here, there = two
    with Store(here) as store:
        merge(store, there)
    first = contents(here)
    with Store(here) as store:
        assert merge(store, there) == Merged(conflicts=1)
    assert contents(here) == first
    with Store(there) as store:
        merge(store, here)
    both = contents(there)
    with Store(here) as store:
        assert merge(store, there) == Merged(conflicts=1)
    assert contents(here) == first
    assert [row[:12] for row in both["attempts"]] == [row[:12] for row in first["attempts"]]
    assert [row[4:] for row in both["questions"]] == [row[4:] for row in first["questions"]]


def test_a_copy_that_went_on_for_itself_adds_only_what_is_new(two, tmp_path):
    here, _ = two
    copy = tmp_path / "copy.db"
    shutil.copy(here, copy)
    with Store(copy) as store:
        label(store, article(20))
    with Store(here) as store:
        label(store, article(21))
        assert merge(store, copy) == Merged(articles=1, labels=1, attempts=1, usd=0.25)


def test_an_article_with_another_text_stays_as_it_is_here(tmp_path):
    with Store(tmp_path / "there.db") as store:
        label(store, article(1, "there"))
    with Store(tmp_path / "here.db") as store:
        label(store, article(1, "here"))
        assert merge(store, tmp_path / "there.db") == Merged(edited=1, labels=1, attempts=1, usd=0.25)
        assert [row.article.content for row in store.labelled(QUESTION.request_hash)] == ["here"]
        store.put_articles(QUESTION, [(article(1, "there"), sent(article(1, "there")))])
        assert [row.article.content for row in store.labelled(QUESTION.request_hash)] == ["there"]  # paid for already


def killed(path: Path, *, outcome: str = "") -> None:
    """A labeller dies with one question in flight."""
    code = f"""
        import os, signal, sys
        from filterkit.store import Key, Outcome, Question, Store
        store = Store(sys.argv[1])
        with store.owner(lease_s=3600) as owner:
            keys = [Key("ab" * 32)]
            [state] = store.claim(Question("r" * 64, "test", "model-1", "f 1"), keys, owner, reserved_usd=[0.5])
            {outcome}
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], timeout=60, check=False)
    assert done.returncode == -9


def test_what_a_dead_labeller_had_in_flight_counts_at_its_reserve_and_is_free(tmp_path):
    killed(tmp_path / "there.db")
    with Store(tmp_path / "here.db") as store:
        assert merge(store, tmp_path / "there.db") == Merged(attempts=1, usd=0.5)
        assert store.spent() == (0.5, 0.5, 0)
        with store.owner() as owner:
            assert store.claim(QUESTION, [Key("ab" * 32)], owner)[0].kind == "claimed"
        assert merge(store, tmp_path / "there.db") == Merged()


def test_what_was_lost_here_is_known_where_its_labeller_went_on(tmp_path):
    """A copy was made while a labeller worked: there its request is lost, in the original it was paid for."""
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    with Store(there) as store, store.owner() as owner:
        [state] = store.claim(QUESTION, [Key("ab" * 32)], owner, reserved_usd=[0.5])
        with sqlite3.connect(here) as copy, sqlite3.connect(there) as original:
            original.backup(copy)
        copy.close()
        store.complete([Outcome(state.attempt, "bad", cost_usd=0.125, error="odd")])
    with sqlite3.connect(here) as db:
        db.execute("UPDATE owners SET lease_until = 0")
    db.close()
    with Store(here) as store:
        store.owners._expired[1] = (0.0, -1e9)  # its lease ran out long ago
        merge(store, there)
        assert store.spent() == (0.125, 0.0, 0)
        assert merge(store, there) == Merged()
        assert store.spent() == (0.125, 0.0, 0)


def test_what_was_never_sent_is_not_taken_over(tmp_path):
    """Unless this store holds it for lost, since it was copied before it was taken back: then it costs nothing."""
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    with Store(there) as store, store.owner() as owner:
        [state] = store.claim(QUESTION, [Key("ab" * 32)], owner, reserved_usd=[0.5])
        backup(store, here)
        store.complete([], unsent=[state.attempt], owner=owner)
    with Store(tmp_path / "fresh.db") as store:
        assert merge(store, there) == Merged()
    with Store(here) as store:
        assert store.spent() == (0.5, 0.5, 0)
        merge(store, there)
        assert store.spent() == (0.0, 0.0, 0)


def test_a_store_that_somebody_labels_into_is_refused_until_he_is_done(tmp_path):
    there = tmp_path / "there.db"
    with Store(tmp_path / "here.db") as store:
        with Store(there) as other, other.owner(), pytest.raises(StoppedEarly, match=r"there\.db: somebody labels"):
            merge(store, there)
        assert merge(store, there) == Merged()


def test_a_labeller_at_work_here_is_not_disturbed(two):
    here, there = two
    with Store(here) as store, store.owner() as owner:
        [state] = store.claim(QUESTION, [Key("ab" * 32)], owner, reserved_usd=[0.5])
        with Store(here) as second:
            merge(second, there)
        assert store.complete([Outcome(state.attempt, "bad", cost_usd=0.0, again=True)]) != [None]


def test_what_is_no_store_of_this_schema_is_refused(tmp_path):
    (tmp_path / "text.db").write_text("dear diary\n" * 100)
    (tmp_path / "empty.db").touch()
    for name, version in (("older.db", SCHEMA_VERSION - 1), ("newer.db", SCHEMA_VERSION + 1)):
        Store(tmp_path / name).close()
        with sqlite3.connect(tmp_path / name) as db:
            db.execute(f"PRAGMA user_version = {version}")
        db.close()
    with Store(tmp_path / "here.db") as store:
        for name, what in {
            "text": "is not a label store",
            "empty": "is not a label store",
            "older": "has the older schema .* filterkit labels stats --store",
            "newer": "was written by a newer filterkit",
            "none": "there is no label store",
        }.items():
            with pytest.raises(StoreError, match=rf"{name}\.db: .*{what}|{name}\.db: {what}"):
                merge(store, tmp_path / f"{name}.db")
        (tmp_path / "link.db").symlink_to(tmp_path / "here.db")
        with pytest.raises(ConfigError, match="is the store itself"):
            merge(store, tmp_path / "link.db")
    assert not (tmp_path / "none.db").exists()
