"""The store's own limits: what all questions cost together, in all and on one day, never goes above them."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterkit.records import Label, sha256_text
from filterkit.store import Key, Limits, Outcome, Question, Store
from filterkit.store.database import MIGRATIONS
from filterkit.store.funds import DAY_S, date_of, day_of
from filterkit.store.merge import merge
from filterkit.store.rows import NANO

A = Question("a" * 64, "test", "model-1", "filter 1")
B = Question("b" * 64, "other", "model-2", "filter 2")
GOOD = Label({"d": 1.0})
TODAY = 20_780 * DAY_S + 3_600.0
"""One in the morning of 2026-11-23."""


def key(number: int) -> Key:
    return Key(sha256_text(str(number)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.db"


@pytest.fixture
def clock(monkeypatch):
    """The time that the store sees, to be turned."""
    now = [TODAY]
    monkeypatch.setattr("filterkit.store.store.time.time", lambda: now[0])
    return now


def told(states: list) -> list[str]:
    return [state.reason if state.kind == "unaffordable" else state.kind for state in states]


def sums(path: Path) -> dict[int, int]:
    """What the table of days says."""
    with sqlite3.connect(path) as db:
        return {day: spent for day, spent in db.execute("SELECT day, spent FROM days") if spent}


def counted(path: Path) -> dict[int, int]:
    """What it must say: the ledger, added up."""
    query = "SELECT opened, COALESCE(cost, reserved, 0) FROM attempts"
    found: dict[int, int] = {}
    with sqlite3.connect(path) as db:
        for opened, spent in db.execute(query):
            found[day_of(opened)] = found.get(day_of(opened), 0) + spent
    return {day: spent for day, spent in found.items() if spent}


def test_a_day_has_the_date_that_a_calendar_gives_it():
    assert date_of(day_of(TODAY)) == "2026-11-23"
    assert date_of(day_of(TODAY - 3_601)) == "2026-11-22"


def test_questions_share_the_total(path):
    with Store(path, limits=Limits(total_usd=1.0)) as store, store.owner() as owner:
        assert told(store.claim(A, [key(1), key(2)], owner, reserved_usd=[0.4, 0.4])) == ["claimed", "claimed"]
        assert told(store.claim(B, [key(1)], owner, reserved_usd=[0.4])) == ["total"]
        assert told(store.claim(B, [key(1)], owner, reserved_usd=[0.2])) == ["claimed"]


def test_of_several_budgets_that_refuse_the_one_that_time_cannot_mend_is_named(path):
    with Store(path, limits=Limits(total_usd=1.0, per_day_usd=0.5)) as store, store.owner() as owner:
        assert told(store.claim(A, [key(1)], owner, reserved_usd=[0.3], max_usd=0.2)) == ["question"]
        assert told(store.claim(A, [key(1)], owner, reserved_usd=[0.6])) == ["day"]
        assert told(store.claim(A, [key(1)], owner, reserved_usd=[1.1])) == ["total"]


def test_a_new_day_brings_new_money_until_the_total_is_gone(path, clock):
    limits = Limits(total_usd=0.95, per_day_usd=0.3)
    with Store(path, limits=limits) as store, store.owner(lease_s=10 * DAY_S) as owner:
        for day, expected in enumerate((["claimed", "day"], ["claimed", "day"], ["claimed", "total"])):
            clock[0] = TODAY + day * DAY_S
            keys = [key(10 * day), key(10 * day + 1)]
            assert told(store.claim(A, keys, owner, reserved_usd=[0.3, 0.3])) == expected
        assert store.spent_on(TODAY) == pytest.approx(0.3)
        assert store.spent_on(TODAY + 3 * DAY_S) == 0


def test_a_request_counts_on_the_day_on_which_it_was_opened_whenever_its_cost_is_known(path, clock):
    with Store(path, limits=Limits(per_day_usd=1.0)) as store, store.owner(lease_s=10 * DAY_S) as owner:
        clock[0] = TODAY - 3_601  # two seconds before midnight
        states = store.claim(A, [key(1), key(2), key(3)], owner, reserved_usd=[0.3, 0.3, 0.3])
        clock[0] = TODAY
        again = Outcome(states[1].attempt, "bad", cost_usd=0.1, again=True, reserved_usd=0.25)
        [_, number] = store.complete(
            [Outcome(states[0].attempt, "labelled", label=GOOD, cost_usd=0.2), again], unsent=[states[2].attempt]
        )
        assert number is not None
        assert store.spent_on(TODAY - DAY_S) == pytest.approx(0.3)
        assert store.spent_on(TODAY) == pytest.approx(0.25)
    assert sums(path) == counted(path)


def test_no_next_attempt_is_opened_above_the_limits(path):
    with Store(path, limits=Limits(per_day_usd=0.5)) as store, store.owner() as owner:
        [state] = store.claim(A, [key(1)], owner, reserved_usd=[0.3])
        outcome = Outcome(state.attempt, "bad", cost_usd=0.3, again=True, reserved_usd=0.3)
        assert store.complete([outcome]) == [None]
        assert store.spent().usd == pytest.approx(0.3)


def test_attempts_without_a_reserve_count_at_the_largest_cost_of_their_own_question(path, clock):
    with Store(path) as free, free.owner() as other:
        [first, *_] = free.claim(A, [key(1), key(2), key(3)], other)  # no budget, and nothing is reserved
        free.complete([Outcome(first.attempt, "bad", cost_usd=0.2)])
        with Store(path, limits=Limits(total_usd=1.0)) as store, store.owner() as owner:
            assert told(store.claim(B, [key(1)], owner, reserved_usd=[0.41])) == ["total"]  # 0.2, and twice in flight
            assert told(store.claim(B, [key(1)], owner, reserved_usd=[0.4])) == ["claimed"]
        clock[0] += DAY_S
        with Store(path, limits=Limits(per_day_usd=0.1)) as store, store.owner() as owner:
            assert told(store.claim(B, [key(2)], owner, reserved_usd=[0.1])) == ["claimed"]  # those are yesterday's


def test_a_store_without_limits_is_not_bound(path):
    with Store(path, limits=Limits(total_usd=0.1)) as bound, Store(path) as free, bound.owner() as owner:
        assert told(bound.claim(A, [key(1)], owner, reserved_usd=[0.1])) == ["claimed"]
        assert told(free.claim(B, [key(1)], owner, reserved_usd=[9.0])) == ["claimed"]
        assert told(bound.claim(A, [key(2)], owner, reserved_usd=[0.0])) == ["total"]


def test_an_old_store_is_migrated_with_its_days(path):
    number = next(i for i, script in enumerate(MIGRATIONS) if "CREATE TABLE days" in script)
    with sqlite3.connect(path, isolation_level=None) as db:
        for script in MIGRATIONS[:number]:
            db.executescript(script)
        db.execute(f"PRAGMA application_id = {0x464B4C42}")
        db.execute(f"PRAGMA user_version = {number}")
        db.execute("INSERT INTO requests VALUES (1, ?, ?)", (A.request_hash, b"filter 1"))
        db.execute("INSERT INTO questions (id, request, oracle, model) VALUES (1, 1, ?, ?)", (b"test", b"model-1"))
        db.execute("INSERT INTO owners VALUES (1, 'gone', 0, 1)")
        rows = [(i, TODAY - i * 9_000.5, 5_000_000, "bad", None if i % 3 else 3_000_000) for i in range(40)]
        insert = "INSERT INTO attempts (question, sent_hash, sample, owner, opened, reserved, outcome, cost)"
        db.executemany(f"{insert} VALUES (1, x'00', ?, 1, ?, ?, ?, ?)", rows)
    with Store(path) as store:
        assert sums(path) == counted(path)
        assert len(sums(path)) == 6
        assert sum(sums(path).values()) / NANO == pytest.approx(store.spent().usd)


def test_a_merge_brings_the_other_stores_days(path, tmp_path, clock):
    other = tmp_path / "other.db"
    with Store(other) as store:
        for day in range(3):
            clock[0] = TODAY - day * DAY_S
            with store.owner() as owner:
                states = store.claim(A, [key(day), key(day + 10)], owner, reserved_usd=[0.2, 0.1])
                store.complete([Outcome(states[0].attempt, "labelled", label=GOOD, cost_usd=0.05)])
    clock[0] = TODAY
    with Store(path, limits=Limits(per_day_usd=0.5)) as store:
        with store.owner() as owner:
            store.claim(B, [key(1)], owner, reserved_usd=[0.3])
        for _ in range(2):
            merge(store, other)
            assert sums(path) == counted(path)
        assert store.spent_on(TODAY) == pytest.approx(0.45)
        with store.owner() as owner:
            assert told(store.claim(B, [key(2)], owner, reserved_usd=[0.06])) == ["day"]


def test_no_claim_looks_through_the_ledger(path):
    """Whatever a budget has to know comes from sums and small indices: a store may hold millions of attempts."""
    from filterkit.store import queries

    with Store(path):
        pass
    wanted = ((queries.FUNDS, 1), (queries.FUNDS_OF_ALL, 1), (queries.BLIND_OF_ALL, 2))
    with sqlite3.connect(path) as db:
        for query, places in wanted:
            plan = [row[3] for row in db.execute("EXPLAIN QUERY PLAN " + query, (1,) * places)]
            assert all("blind_attempts" in step for step in plan if "attempts" in step or " a " in step), plan


MONEY = st.floats(0, 0.2, allow_nan=False)
STEP = st.tuples(
    st.sampled_from([A, B]), st.lists(MONEY, min_size=1, max_size=4), st.floats(0, 1), st.booleans(), st.booleans()
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=25), st.floats(0, 1), st.floats(0, 0.5), st.lists(st.integers(0, 40_000)))
def test_no_sequence_of_claims_answers_and_hours_goes_above_the_limits(steps, total, daily, waits):
    """Two processes, one after the other as chance has it, while the hours pass."""
    now, waits = [TODAY], iter(waits)
    number = 0
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "labels.db"
        patch.setattr("filterkit.store.store.time.time", lambda: now[0])
        limits = Limits(total, daily)
        with (
            Store(path, limits=limits) as one,
            Store(path, limits=limits) as two,
            one.owner(lease_s=1e9) as first,
            two.owner(lease_s=1e9) as second,
        ):
            for question, reserves, share, again, other in steps:
                store, owner = (two, second) if other else (one, first)
                keys = [key(number + i) for i in range(len(reserves))]
                number += len(reserves)
                states = store.claim(question, keys, owner, reserved_usd=reserves)
                outcomes = [
                    Outcome(s.attempt, "bad", cost_usd=r * share, again=again, reserved_usd=r)
                    for s, r in zip(states, reserves, strict=True)
                    if s.attempt
                ]
                now[0] += next(waits, 0)
                store.complete(outcomes)
                assert store.spent().usd <= total + 1e-9
                assert all(spent <= daily * NANO + 1 for spent in sums(path).values())
        assert sums(path) == counted(path)


WORKER = """
    import random, sys
    from filterkit.store import Key, Limits, Outcome, Question, Store
    chance = random.Random(int(sys.argv[2]))
    questions = [Question(name * 64, "test", "model-1", "filter 1") for name in "ab"]
    limits = Limits(per_day_usd=0.25) if sys.argv[3] == "day" else Limits(total_usd=0.25)
    with Store(sys.argv[1], limits=limits) as store, store.owner(lease_s=3600) as owner:
        print("ready", flush=True)
        for turn in range(100_000):
            keys = [Key(f"{chance.randrange(10**9):064x}") for _ in range(3)]
            reserves = [chance.uniform(1e-6, 0.0005) for _ in keys]
            states = store.claim(chance.choice(questions), keys, owner, reserved_usd=reserves)
            if all(state.kind == "unaffordable" for state in states):
                print(states[0].reason, flush=True)
                sys.stdin.read()
            outcomes = [
                Outcome(s.attempt, "bad", cost_usd=r * chance.random(), again=chance.random() < 0.3, reserved_usd=r)
                for s, r in zip(states, reserves) if s.attempt and chance.random() < 0.7
            ]
            store.complete(outcomes)
"""


def start(path: Path, seed: int, scope: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(path), str(seed), scope]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("scope", ["total", "day"])
def test_processes_that_are_killed_leave_limits_that_hold(path, scope):
    """Two at once, killed at random; the last one spends what is left, over both questions."""
    Store(path).close()
    chance = random.Random(5)
    began = day_of(time.time())
    with Store(path) as store:
        for round_ in range(2):
            running = [start(path, seed, scope) for seed in (2 * round_, 2 * round_ + 1)]
            for process in running:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.02, 0.15))
            assert store.spent().usd <= 0.25
            for process in running:
                process.kill()
                process.communicate()
        last = start(path, 99, scope)
        assert last.stdout is not None
        assert [last.stdout.readline() for _ in range(2)] == ["ready\n", f"{scope}\n"]
        last.kill()
        last.communicate()
        if day_of(time.time()) == began:
            assert 0.2495 < store.spent().usd <= 0.25
        assert len(store.questions()) == 2
    assert sums(path) == counted(path)
