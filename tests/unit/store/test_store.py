"""The label store: keys, claims, money, versions, and files that are not what they should be."""

from __future__ import annotations

import math
import os
import random
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from filterkit.contracts.base import environment_secret
from filterkit.errors import StoppedEarly, StoreError
from filterkit.records import Article, Label, Usage, sha256_text
from filterkit.store import SCHEMA_VERSION, Key, Outcome, Question, State, Store
from filterkit.store.history import history
from filterkit.store.stats import stats

QUESTION = Question("r" * 64, "test", "model-1", "filter 1")


def article(number: int, content: str | None = None, **more: object) -> Article:
    return Article(id=f"a{number}", title="T", content=content or f"text {number}", **more)  # type: ignore[arg-type]


def key(value: Article) -> Key:
    return Key(sha256_text(value.text))


def put(store: Store, *articles: Article, question: Question = QUESTION) -> list[Key]:
    store.put_articles(question, [(a, key(a).sent_hash) for a in articles])
    return [key(a) for a in articles]


def give_label(store: Store, *articles: Article, score: float = 5.0, question: Question = QUESTION) -> None:
    keys = put(store, *articles, question=question)
    with store.owner() as owner:
        states = store.claim(question, keys, owner)
        outcomes = [Outcome(s.attempt, "labelled", label=Label({"d": score})) for s in states if s.attempt]
        store.complete(outcomes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.db"


@pytest.fixture
def store(path: Path):
    with Store(path) as opened:
        yield opened


def test_a_label_comes_back_with_its_article_evidence_and_the_model_that_replied(store):
    given = article(1, language="nl", extra={"views": 3, "tags": ["x", None]})
    keys = put(store, given)
    with store.owner() as owner:
        [state] = store.claim(QUESTION, keys, owner)
        label = Label({"d": 7, "e": 0.5}, {"d": "because"})
        store.complete([Outcome(state.attempt, "labelled", label=label, model_version="model-1-0725")])
    [row] = store.labelled(QUESTION.request_hash)
    assert row.article == given
    assert row.scores == {"d": 7.0, "e": 0.5}
    assert row.evidence == {"d": "because"}
    assert (row.oracle, row.model, row.model_version, row.sample) == ("test", "model-1", "model-1-0725", 0)
    assert row.sent_hash == keys[0].sent_hash


def test_hostile_text_survives_as_it_came(store):
    ugly = "nul \x00 surrogate \ud800 bidi \u202e quote ' \" ; DROP TABLE labels; -- \x1b[31m"
    given = Article(id=f"id {ugly}", title=ugly, content=ugly, url=ugly, extra={ugly: [ugly]})
    question = Question("h" * 64, ugly, ugly, ugly)
    keys = put(store, given, question=question)
    with store.owner() as owner:
        [state] = store.claim(question, keys, owner)
        label = Label({ugly: 1.0}, {ugly: ugly})
        store.complete([Outcome(state.attempt, "labelled", label=label, model_version=ugly)])
        [other] = store.claim(question, [Key("ab" * 32)], owner)
        store.complete([Outcome(other.attempt, "refused", error=ugly, final=True)])
    [row] = store.labelled("h" * 64, oracle=ugly, model=ugly)
    assert row.article == given
    assert (row.scores, row.evidence, row.model_version) == ({ugly: 1.0}, {ugly: ugly}, ugly)
    assert store.states(question, [Key("ab" * 32)])[0].reason == ugly
    [count] = store.questions()
    assert (count.question, count.question.filter_name) == (question, ugly)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, None, "7", True])
def test_what_is_not_a_finite_number_is_refused_at_the_door(store, score):
    keys = put(store, article(1), article(2))
    with store.owner() as owner:
        first, second = store.claim(QUESTION, keys, owner)
        good = Outcome(first.attempt, "labelled", label=Label({"d": 1.0}))
        bad = Outcome(second.attempt, "labelled", label=Label({"d": 1.0, "e": score}))
        with pytest.raises(StoreError, match="finite numbers only, and the score of 'e'"):
            store.complete([good, bad])
        assert list(store.labelled(QUESTION.request_hash)) == []
        store.complete([good])
    assert [row.article.id for row in store.labelled(QUESTION.request_hash)] == ["a1"]


def test_of_an_edited_article_only_the_newest_version_counts(store):
    old, new = article(1, "old"), article(1, "new")
    give_label(store, old, score=1)
    put(store, new)
    assert list(store.labelled(QUESTION.request_hash)) == []
    assert store.states(QUESTION, [key(new)]) == [State("free")]
    give_label(store, new, score=2)
    assert [(r.article.content, r.scores["d"]) for r in store.labelled(QUESTION.request_hash)] == [("new", 2.0)]
    put(store, old)  # the edit is taken back: its label was paid for and counts again
    assert [(r.article.content, r.scores["d"]) for r in store.labelled(QUESTION.request_hash)] == [("old", 1.0)]


def test_an_edit_seen_by_one_filter_unsettles_the_labels_of_another_and_new_metadata_does_not(store):
    other = Question("s" * 64, "test", "model-1")
    give_label(store, article(1))
    put(store, article(1, url="https://example.org"), question=other)
    [row] = store.labelled(QUESTION.request_hash)
    assert row.article.url == "https://example.org"
    put(store, article(1, "edited"), question=other)
    assert list(store.labelled(QUESTION.request_hash)) == []


def test_a_change_of_how_texts_are_shortened_leaves_one_label_per_article(store):
    give_label(store, article(1), score=1)
    shortened = Key(sha256_text("text"))
    store.put_articles(QUESTION, [(article(1), shortened.sent_hash)])
    with store.owner() as owner:
        [state] = store.claim(QUESTION, [shortened], owner)
        store.complete([Outcome(state.attempt, "labelled", label=Label({"d": 2.0}))])
    assert [row.scores["d"] for row in store.labelled(QUESTION.request_hash)] == [2.0]


def test_one_text_under_two_ids_is_one_question_with_two_rows(store):
    first, second = Article("x", "", "same"), Article("y", "", "same")
    give_label(store, first)
    put(store, second)
    assert [row.article.id for row in store.labelled(QUESTION.request_hash)] == ["x", "y"]


def test_labels_stream_in_the_order_of_the_articles_over_many_pages_and_narrow_to_an_oracle(store):
    articles = [article(n) for n in range(1200)]
    put(store, *articles)
    give_label(store, *articles[::-1][:700])
    give_label(store, *articles[:3], question=Question(QUESTION.request_hash, "other", "model-2"))
    rows = list(store.labelled(QUESTION.request_hash, oracle="test"))
    assert [row.article.id for row in rows] == [f"a{n}" for n in range(500, 1200)]
    assert [r.article.id for r in store.labelled(QUESTION.request_hash, model="model-2")] == ["a0", "a1", "a2"]
    assert len(list(store.labelled(QUESTION.request_hash))) == 703


def test_samples_of_one_question_are_labels_of_their_own(store):
    given = article(1)
    keys = [Key(put(store, given)[0].sent_hash, sample) for sample in range(3)]
    with store.owner() as owner:
        states = store.claim(QUESTION, keys, owner)
        outcomes = [Outcome(s.attempt, "labelled", label=Label({"d": float(i)})) for i, s in enumerate(states)]
        store.complete(outcomes)
    assert [(r.sample, r.scores["d"]) for r in store.labelled(QUESTION.request_hash)] == [(0, 0), (1, 1), (2, 2)]


def test_questions_say_that_labels_exist_for_an_older_rubric_only(store):
    give_label(store, article(1), article(2))
    with store.owner() as owner:
        [state] = store.claim(QUESTION, put(store, article(3)), owner)
        store.complete([Outcome(state.attempt, "refused", error="no", final=True)])
    put(store, article(1), question=Question("new" * 20, "test", "model-1"))
    [count] = store.questions()
    assert count.question == QUESTION
    assert (count.labels, count.failures, count.question.filter_name) == (2, 1, "filter 1")
    assert abs(count.newest - time.time()) < 60


# Claims


def test_a_question_is_claimed_once_and_again_only_after_its_labeller_is_gone(path, store):
    keys = put(store, article(1), article(2))
    with Store(path) as other:
        with store.owner() as first, other.owner() as second:
            assert [s.kind for s in store.claim(QUESTION, keys[:1], first)] == ["claimed"]
            assert [s.kind for s in other.claim(QUESTION, keys, second)] == ["elsewhere", "claimed"]
            assert [s.kind for s in store.claim(QUESTION, keys, first)] == ["elsewhere", "elsewhere"]
        with other.owner() as third:
            assert [s.kind for s in other.claim(QUESTION, keys, third)] == ["claimed", "claimed"]


def test_labelled_and_failed_questions_are_not_claimed_and_failed_ones_only_on_request(store):
    labelled, failed = put(store, article(1), article(2))
    with store.owner() as owner:
        one, two = store.claim(QUESTION, [labelled, failed], owner)
        store.complete([
            Outcome(one.attempt, "labelled", label=Label({"d": 1.0})),
            Outcome(two.attempt, "refused", error="blocked", final=True),
        ])  # fmt: skip
        states = store.claim(QUESTION, [labelled, failed], owner)
        assert states == [State("labelled", owner=owner.id), State("failed", owner=owner.id, reason="blocked")]
        assert [f.article_id for f in store.failures(QUESTION.request_hash)] == ["a2"]
        [before] = store.claim(QUESTION, [failed], owner, retry_failed_before=time.time() - 60)
        assert before.kind == "failed"
        [retried] = store.claim(QUESTION, [failed], owner, retry_failed_before=time.time() + 1)
        store.complete([Outcome(retried.attempt, "labelled", label=Label({"d": 2.0}))])
    assert list(store.failures(QUESTION.request_hash)) == []
    assert [row.article.id for row in store.labelled(QUESTION.request_hash)] == ["a1", "a2"]


def test_the_next_attempt_is_opened_in_the_same_breath_so_nobody_slips_in(path, store):
    keys = put(store, article(1))
    with Store(path) as other, store.owner() as first, other.owner() as second:
        [state] = store.claim(QUESTION, keys, first)
        [attempt] = store.complete([Outcome(state.attempt, "transient", error="503", again=True)])
        assert attempt not in (None, state.attempt)
        assert other.claim(QUESTION, keys, second) == [State("elsewhere")]
        store.complete([], unsent=[attempt])
        assert other.claim(QUESTION, keys, second)[0].kind == "claimed"


def test_two_labellers_taking_turns_at_random_never_hold_one_question_together(path):
    chance = random.Random(7)
    keys = [Key(sha256_text(str(n))) for n in range(60)]
    held: dict[Key, int] = {}
    asked = 0
    with Store(path) as a, Store(path) as b, a.owner() as owner_a, b.owner() as owner_b:
        while asked < 60:
            which = chance.randrange(2)
            store, owner = ((a, owner_a), (b, owner_b))[which]
            group = chance.sample(keys, 7)
            for wanted, state in zip(group, store.claim(QUESTION, group, owner), strict=True):
                if state.attempt is not None:
                    assert wanted not in held
                    held[wanted] = state.attempt
                    asked += 1
            done = chance.sample(sorted(held), len(held) // 2)
            outcomes = [Outcome(held[k], "labelled", label=Label({"d": 1.0})) for k in done]
            store.complete(outcomes)
    assert a.path.exists()


def test_a_labeller_that_stands_still_loses_its_questions_after_its_lease(path, store, monkeypatch):
    monkeypatch.setattr("filterkit.store.owners.GRACE_S", 0.2)
    keys = put(store, article(1))
    with Store(path) as other, store.owner(lease_s=0.2) as frozen, other.owner() as second:
        [lost] = store.claim(QUESTION, keys, frozen, reserved_usd=[0.5])
        assert other.claim(QUESTION, keys, second) == [State("elsewhere")]
        time.sleep(0.3)
        assert other.claim(QUESTION, keys, second) == [State("elsewhere")]  # it gets time to renew
        time.sleep(0.3)
        [state] = other.claim(QUESTION, keys, second, reserved_usd=[0.5])
        assert state.kind == "claimed"
        assert store.spent().usd == 1.0
        other.complete([Outcome(state.attempt, "labelled", label=Label({"d": 2.0}), cost_usd=0.1)])
        # It wakes up with a reply of its own: its cost counts, its label comes too late.
        store.renew(frozen)
        store.complete([Outcome(lost.attempt, "labelled", label=Label({"d": 9.0}), cost_usd=0.2)])
        assert store.spent().usd == pytest.approx(0.3)
        [row] = store.labelled(QUESTION.request_hash)
        assert row.scores == {"d": 2.0}


def test_a_renewed_lease_is_kept(path, store, monkeypatch):
    monkeypatch.setattr("filterkit.store.owners.GRACE_S", 0.0)
    keys = put(store, article(1))
    with Store(path) as other, store.owner(lease_s=0.4) as first, other.owner() as second:
        store.claim(QUESTION, keys, first)
        for _ in range(4):
            time.sleep(0.2)
            store.renew(first)
            assert other.claim(QUESTION, keys, second) == [State("elsewhere")]


# Money


def test_money_is_counted_at_its_cost_or_at_what_was_reserved(store):
    keys = put(store, *(article(n) for n in range(5)))
    with store.owner() as owner:
        states = store.claim(QUESTION, keys, owner, reserved_usd=[0.01] * 5)
        assert store.spent(QUESTION) == (0.05, 0.05, 0)
        store.complete([
            Outcome(states[0].attempt, "labelled", label=Label({"d": 1.0}), cost_usd=0.002, usage=Usage(input=9)),
            Outcome(states[1].attempt, "transient", error="timed out"),  # who knows: stays reserved
            Outcome(states[2].attempt, "limited", error="429", cost_usd=0.0),
        ])  # fmt: skip
        store.complete([], unsent=[states[3].attempt])
        assert store.spent(QUESTION) == (0.022, 0.02, 0)
        store.claim(QUESTION, [Key("cd" * 32)], owner)
        assert store.spent(QUESTION).unknown == 1
    assert store.spent(Question("none", "test", "model-1")) == (0, 0, 0)
    assert store.spent(QUESTION) == (0.022, 0.02, 1)  # what was left open stays counted


def test_the_running_sums_are_the_sums_of_the_ledger(path):
    chance = random.Random(3)
    money = [None, 0.0, 1e-9, 0.1, 0.000_123]
    with Store(path) as store, store.owner() as owner:
        for turn in range(60):
            question = Question(f"q{turn % 3}", "test", "m")
            keys = [Key(sha256_text(f"{turn} {n}")) for n in range(5)]
            states = store.claim(question, keys, owner, reserved_usd=[chance.choice(money) for _ in keys])
            attempts = [s.attempt for s in states]
            store.complete([], unsent=attempts[:1])
            store.complete([
                Outcome(a, "bad", cost_usd=chance.choice(money), again=True, reserved_usd=chance.choice(money))
                for a in attempts[1:3]
            ])  # fmt: skip
        spent = store.spent()
    with sqlite3.connect(path) as db:
        query = "SELECT sum(COALESCE(cost, reserved, 0)), sum(COALESCE(cost, reserved) IS NULL) FROM attempts"
        total, unknown = db.execute(query).fetchone()
    assert (round(spent.usd * 1e9), spent.unknown) == (total, unknown)
    assert total > 0


@pytest.mark.parametrize("cost", [math.nan, math.inf, -0.01, 9.3e9, 1e300])
def test_impossible_money_is_refused(store, cost):
    with store.owner() as owner:
        [state] = store.claim(QUESTION, [Key("ab" * 32)], owner)
        with pytest.raises(StoreError, match="the ledger takes no cost of"):
            store.complete([Outcome(state.attempt, "bad", cost_usd=cost)])


def test_tokens_beyond_64_bits_are_one_clear_error(store):
    with store.owner() as owner:
        [state] = store.claim(QUESTION, [Key("ab" * 32)], owner)
        with pytest.raises(StoreError, match=r"labels\.db: takes no number as large"):
            store.complete([Outcome(state.attempt, "bad", usage=Usage(input=10**19))])
        assert store.complete([Outcome(state.attempt, "bad")]) == [None]


def test_taking_back_twice_touches_nobody_elses_attempt(path, store):
    keys = put(store, article(1))
    with Store(path) as other, store.owner() as first, other.owner() as second:
        [unsent] = store.claim(QUESTION, keys, first, reserved_usd=[0.5])
        store.complete([], unsent=[unsent.attempt], owner=first)
        [theirs] = other.claim(QUESTION, keys, second, reserved_usd=[0.25])
        assert theirs.attempt != unsent.attempt
        store.complete([], unsent=[unsent.attempt], owner=first)
        store.complete([], unsent=[unsent.attempt, theirs.attempt], owner=first)
        assert store.claim(QUESTION, keys, first) == [State("elsewhere")]
        assert store.spent() == (0.25, 0.25, 0)
        other.complete([Outcome(theirs.attempt, "labelled", label=Label({"d": 1.0}), cost_usd=0.125, latency_s=2.0)])
        other.complete([], unsent=[theirs.attempt], owner=second)  # what was sent is never taken back
        assert store.spent() == (0.125, 0.0, 0)
    [told] = history(store, QUESTION, keys)
    assert (told.attempts, told.cost_usd, told.latency_s) == (1, 0.125, 2.0)
    assert [one.attempts for one in stats(store)] == [1]


def test_what_was_never_sent_is_free_even_when_its_labeller_was_taken_for_dead(path, store, monkeypatch):
    monkeypatch.setattr("filterkit.store.owners.GRACE_S", 0.0)
    keys = put(store, article(1))
    with Store(path) as other, store.owner(lease_s=0.1) as frozen, other.owner() as second:
        [unsent] = store.claim(QUESTION, keys, frozen, reserved_usd=[0.5])
        time.sleep(0.15)
        other.claim(QUESTION, [], second)
        [theirs] = other.claim(QUESTION, keys, second, reserved_usd=[0.25])
        assert theirs.kind == "claimed"
        store.complete([], unsent=[unsent.attempt], owner=frozen)
        assert store.spent() == (0.25, 0.25, 0)


def test_what_was_never_sent_is_taken_back_together_with_the_replies_or_not_at_all(store):
    keys = put(store, article(1), article(2))
    with store.owner() as owner:
        sent, unsent = store.claim(QUESTION, keys, owner, reserved_usd=[0.5, 0.5])
        with pytest.raises(StoreError, match="takes no cost"):
            store.complete([Outcome(sent.attempt, "bad", cost_usd=-1.0)], unsent=[unsent.attempt], owner=owner)
        assert store.spent() == (1.0, 1.0, 0)
        again = Outcome(sent.attempt, "bad", cost_usd=0.5, again=True, reserved_usd=0.5)
        [number] = store.complete([again], max_usd=1.0, unsent=[unsent.attempt], owner=owner)
        assert number is not None, "what was taken back pays for it"
        assert store.spent() == (1.0, 0.5, 0)


def test_secrets_are_not_kept_in_errors(path, store, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "sk-very-secret")
    environment_secret("TEST_KEY")
    with store.owner() as owner:
        [state] = store.claim(QUESTION, [Key("ab" * 32)], owner)
        store.complete([Outcome(state.attempt, "refused", error="401 for sk-very-secret", final=True)])
    store.close()
    kept = b"".join(p.read_bytes() for p in path.parent.glob("labels.db*") if p.is_file())
    assert b"sk-very-secret" not in kept
    assert b"401 for [secret]" in kept


# The file


def run_script(code: str, *args: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload]


def test_a_store_of_a_newer_filterkit_is_left_alone(path):
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=rf"newer filterkit \(schema {SCHEMA_VERSION + 1}\), this one reads"):
        Store(path)
    assert path.read_bytes() == before


def test_files_that_are_no_store_are_refused_and_left_alone(path, tmp_path):
    path.write_text("dear diary\n" * 100)
    with pytest.raises(StoreError, match="is not a label store"):
        Store(path)
    assert path.read_text() == "dear diary\n" * 100
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE notes (text TEXT)")
    db.close()
    with pytest.raises(StoreError, match="another program's database"):
        Store(other)
    with pytest.raises(StoreError, match=r"cannot be opened"):
        Store(tmp_path)
    with pytest.raises(StoreError, match="there is no label store"):
        Store(tmp_path / "none.db", create=False)
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_was_only_just_created_when_its_maker_died_becomes_a_store(path):
    path.touch()
    with Store(path) as store:
        give_label(store, article(1))
    with Store(path, create=False) as store:
        assert len(list(store.labelled(QUESTION.request_hash))) == 1


@pytest.mark.parametrize("damage", ["cut", "scribbled"])
def test_a_damaged_store_is_one_clear_error(path, damage):
    with Store(path) as store:
        give_label(store, *(article(n, "long " * 500) for n in range(300)))
    size = path.stat().st_size
    if damage == "cut":
        os.truncate(path, size // 2)
    else:
        with path.open("r+b") as file:
            for place in range(8192, size, 4096):
                file.seek(place)
                file.write(b"\xa5" * 64)
    with pytest.raises(StoreError, match=r"labels\.db: is damaged .*Restore a backup"), Store(path) as store:
        list(store.labelled(QUESTION.request_hash))


def test_a_store_that_stays_locked_stops_the_run_as_resumable(path):
    Store(path).close()
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with Store(path, busy_timeout_s=0.2) as store, pytest.raises(StoppedEarly, match="locked by another process"):
        put(store, article(1))
    blocker.close()


def test_processes_that_make_one_store_together_all_get_it(path):
    code = "import sys; from filterkit.store import Store; Store(sys.argv[1]).close()"
    running = [subprocess.Popen([sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE) for _ in range(4)]
    assert [process.communicate(timeout=60)[1] for process in running] == [b""] * 4


def test_a_full_disk_is_one_error_and_what_was_stored_stays(path):
    """The limit on file size makes writes fail in SQLite itself, as a full disk does."""
    with Store(path) as store:
        give_label(store, article(1))
    code = """
        import resource, signal, sys
        from filterkit.errors import FilterkitError
        from filterkit.records import Article, sha256_text
        from filterkit.store import Question, Store
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        question = Question("r" * 64, "test", "model-1")
        store = Store(sys.argv[1])
        done = 0
        try:
            while True:
                article = Article(f"big {done}", "", "x" * 50_000 + str(done))
                store.put_articles(question, [(article, sha256_text(article.text))])
                done += 1
        except FilterkitError as error:
            print(done, type(error).__name__, error, sep="|")
    """
    done = run_script(code, path)
    count, kind, what = done.stdout.strip().split("|")
    assert done.stderr == ""
    assert kind == "StoreError"
    assert "what was stored is safe" in what
    with Store(path) as store:
        assert [row.article.id for row in store.labelled(QUESTION.request_hash)] == ["a1"]
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            kept = db.execute("SELECT count(*) FROM articles WHERE CAST(id AS TEXT) LIKE 'big%'").fetchone()[0]
    assert kept == int(count) > 0


def test_money_is_counted_across_a_kill_and_the_dead_labellers_questions_are_free_at_once(path):
    code = """
        import os, signal, sys
        from filterkit.records import Label
        from filterkit.store import Key, Outcome, Question, Store
        store = Store(sys.argv[1])
        with store.owner(lease_s=3600) as owner:
            keys = [Key(f"{n:064x}") for n in range(4)]
            states = store.claim(Question("r" * 64, "test", "model-1"), keys, owner, reserved_usd=[0.25] * 4)
            store.complete([Outcome(states[0].attempt, "labelled", label=Label({"d": 1.0}), cost_usd=0.125)])
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_script(code, path).returncode == -9
    keys = [Key(f"{n:064x}") for n in range(4)]
    with Store(path) as store:
        assert store.spent() == (0.875, 0.75, 0)
        with store.owner() as owner:
            states = store.claim(QUESTION, keys, owner, reserved_usd=[0.25] * 4)
            assert [s.kind for s in states] == ["labelled", "claimed", "claimed", "claimed"]
            assert store.spent() == (1.625, 1.5, 0)
        assert list(path.with_name("labels.db.owners").iterdir()) == []


def test_a_killed_labeller_is_buried_by_the_next_one_even_when_nothing_is_left_to_ask(path):
    code = """
        import os, signal, sys
        from filterkit.store import Store
        with Store(sys.argv[1]).owner(lease_s=3600):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_script(code, path).returncode == -9
    folder = path.with_name("labels.db.owners")
    assert len(list(folder.iterdir())) == 1
    with Store(path) as store, store.owner():
        pass
    assert list(folder.iterdir()) == []


def test_lock_files_left_by_a_kill_at_an_owners_first_or_last_moment_go_with_the_next_one(path, store):
    folder = path.with_name("labels.db.owners")
    with store.owner() as living:
        for name in ("never-entered", "ended"):
            (folder / f"{name}.lock").touch()
        with Store(path) as second, second.owner() as other:
            assert {f.stem for f in folder.iterdir()} == {living.name, other.name}
    assert list(folder.iterdir()) == []
