"""The budget: what a question has cost never goes above it, whoever claims, however they die."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterkit.errors import StoreError
from filterkit.records import Label, Usage, sha256_text
from filterkit.store import Key, Outcome, Question, Store

QUESTION = Question("r" * 64, "test", "model-1", "filter 1")
GOOD = Label({"d": 1.0})


def key(number: int) -> Key:
    return Key(sha256_text(str(number)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.db"


@pytest.fixture
def store(path: Path):
    with Store(path) as opened:
        yield opened


def kinds(states: list) -> list[str]:
    return [state.kind for state in states]


@pytest.mark.parametrize("reserve", [0.1, 0.3, 1e-9, 0.000_123_456_789, 1_234.56])
def test_a_budget_of_exactly_the_reserve_is_enough_and_no_cent_less(store, reserve):
    less = Question("less", "test", "m")
    with store.owner() as owner:
        assert kinds(store.claim(QUESTION, [key(1)], owner, reserved_usd=[reserve], max_usd=reserve)) == ["claimed"]
        assert kinds(store.claim(QUESTION, [key(2)], owner, reserved_usd=[1e-9], max_usd=reserve)) == ["unaffordable"]
        smaller = reserve - 1e-9
        assert kinds(store.claim(less, [key(1)], owner, reserved_usd=[reserve], max_usd=smaller)) == ["unaffordable"]


def test_three_tenths_are_three_times_a_tenth(store):
    with store.owner() as owner:
        claimed = store.claim(QUESTION, [key(n) for n in range(4)], owner, reserved_usd=[0.1] * 4, max_usd=0.3)
    assert kinds(claimed) == ["claimed"] * 3 + ["unaffordable"]


def test_what_is_labelled_failed_or_too_dear_is_told_apart_and_smaller_ones_still_fit(store):
    with store.owner() as owner:
        first, second = store.claim(QUESTION, [key(0), key(1)], owner, reserved_usd=[0.1, 0.1], max_usd=1.0)
        store.complete([
            Outcome(first.attempt, "labelled", label=GOOD, cost_usd=0.1),
            Outcome(second.attempt, "refused", error="no", cost_usd=0.1, final=True),
        ])  # fmt: skip
        keys = [key(n) for n in range(5)]
        states = store.claim(QUESTION, keys, owner, reserved_usd=[9.0, 9.0, 0.5, 0.2, 0.1], max_usd=0.5)
    assert kinds(states) == ["labelled", "failed", "unaffordable", "claimed", "claimed"]


def test_each_question_has_a_budget_of_its_own(store):
    other = Question("s" * 64, "test", "model-1")
    with store.owner() as owner:
        assert kinds(store.claim(QUESTION, [key(1)], owner, reserved_usd=[1.0], max_usd=1.0)) == ["claimed"]
        assert kinds(store.claim(other, [key(1)], owner, reserved_usd=[1.0], max_usd=1.0)) == ["claimed"]


def test_the_next_attempt_is_opened_only_where_it_can_be_paid(store):
    with store.owner() as owner:
        states = store.claim(QUESTION, [key(1), key(2)], owner, reserved_usd=[0.4, 0.4], max_usd=1.0)
        again = [
            Outcome(s.attempt, "bad", cost_usd=cost, again=True, reserved_usd=0.4)
            for s, cost in zip(states, (0.2, 0.3), strict=True)
        ]
        numbers = store.complete(again, max_usd=1.0)
        assert numbers[0] is not None
        assert numbers[1] is None  # 0.2 + 0.4 + 0.3 are gone
        assert store.spent(QUESTION).usd == pytest.approx(0.9)
        assert kinds(store.claim(QUESTION, [key(2)], owner, reserved_usd=[0.4], max_usd=1.0)) == ["unaffordable"]
        store.complete([Outcome(numbers[0], "labelled", label=GOOD, cost_usd=0.1)])
        assert kinds(store.claim(QUESTION, [key(2)], owner, reserved_usd=[0.4], max_usd=1.0)) == ["claimed"]


def test_an_attempt_that_cost_more_than_its_reserve_stops_what_comes_after(store):
    with store.owner() as owner:
        [state] = store.claim(QUESTION, [key(1)], owner, reserved_usd=[0.1], max_usd=1.0)
        assert store.complete(
            [Outcome(state.attempt, "bad", cost_usd=1.5, again=True, reserved_usd=0.1)], max_usd=1.0
        ) == [None]
        assert kinds(store.claim(QUESTION, [key(2)], owner, reserved_usd=[0.1], max_usd=1.0)) == ["unaffordable"]


@pytest.mark.parametrize("budget", [math.nan, math.inf, -1.0])
def test_an_impossible_budget_is_refused_and_opens_nothing(store, budget):
    with store.owner() as owner:
        with pytest.raises(StoreError, match="makes no sense"):
            store.claim(QUESTION, [key(1)], owner, reserved_usd=[0.1], max_usd=budget)
        assert store.spent(QUESTION).usd == 0


def test_a_budget_beyond_all_money_is_no_limit(store):
    with store.owner() as owner:
        for budget in (1e300, 10**400):
            [state] = store.claim(QUESTION, [key(1)], owner, reserved_usd=[1.0], max_usd=budget)
            [number] = store.complete([Outcome(state.attempt, "bad", again=True)], max_usd=budget)
            store.complete([], unsent=[number], owner=owner)


@pytest.mark.parametrize("reserve", [None, 0.0])
def test_a_budget_that_is_used_up_opens_nothing_more_whatever_its_reserve(store, reserve):
    with store.owner() as owner:
        assert kinds(store.claim(QUESTION, [key(0)], owner, reserved_usd=[0.0], max_usd=0.0)) == ["claimed"]
        assert kinds(store.claim(QUESTION, [key(1)], owner, reserved_usd=[None], max_usd=0.0)) == ["unaffordable"]
        [state] = store.claim(QUESTION, [key(1)], owner, reserved_usd=[reserve], max_usd=0.5)
        wants = Outcome(state.attempt, "bad", cost_usd=0.5, again=True, reserved_usd=reserve)
        assert store.complete([wants], max_usd=0.5) == [None]
        assert kinds(store.claim(QUESTION, [key(2)], owner, reserved_usd=[reserve], max_usd=0.5)) == ["unaffordable"]


def test_an_attempt_without_a_reserve_counts_at_the_largest_cost_so_far(store):
    def claim(*numbers: int) -> list[str]:
        states = store.claim(QUESTION, [key(n) for n in numbers], owner, max_usd=1.0)
        opened.extend(state.attempt for state in states if state.attempt)
        return kinds(states)

    opened: list[int] = []
    with store.owner() as owner:
        assert claim(0, 1) == ["claimed", "claimed"]  # nothing is known yet
        store.complete([Outcome(opened[0], "bad", cost_usd=0.3)], max_usd=1.0)
        assert claim(2, 3) == ["claimed", "unaffordable"]  # 0.3 spent, and twice 0.3 in flight
        store.complete([Outcome(opened[1], "bad", cost_usd=0.1)], max_usd=1.0)
        assert claim(3, 4) == ["claimed", "unaffordable"]
        assert store.spent(QUESTION) == (pytest.approx(1.0), pytest.approx(0.6), 0)
        other = Question("s" * 64, "test", "model-1")
        assert kinds(store.claim(other, [key(n) for n in range(9)], owner, max_usd=0.01)) == ["claimed"] * 9


def test_an_oracle_that_tells_its_cost_afterwards_overshoots_by_what_is_in_flight_at_most(store):
    """Four in flight, a cent each, five cents."""
    flying: list[int] = []
    number = 0
    with store.owner() as owner:
        while True:
            wanted = [key(number + n) for n in range(4 - len(flying))]
            number += len(wanted)
            states = store.claim(QUESTION, wanted, owner, max_usd=0.05)
            flying += [state.attempt for state in states if state.attempt]
            if not flying:
                break
            store.complete([Outcome(flying.pop(0), "labelled", label=GOOD, cost_usd=0.01)], max_usd=0.05)
    assert store.spent(QUESTION) == (pytest.approx(0.05), 0.0, 0)


def test_reserves_must_be_one_for_each_question(store):
    with store.owner() as owner, pytest.raises(ValueError, match="zip"):
        store.claim(QUESTION, [key(1), key(2)], owner, reserved_usd=[0.1])
    assert store.spent(QUESTION).usd == 0


MONEY = st.floats(0, 0.2, allow_nan=False)
STEPS = st.lists(st.tuples(st.lists(MONEY, min_size=1, max_size=4), st.floats(0, 1), st.booleans()), max_size=25)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.floats(0, 1))
def test_no_sequence_of_claims_and_answers_goes_above_the_budget(steps, budget):
    number = 0
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "labels.db") as store, store.owner() as owner:
        for reserves, share, again in steps:
            keys = [key(number + i) for i in range(len(reserves))]
            number += len(reserves)
            states = store.claim(QUESTION, keys, owner, reserved_usd=reserves, max_usd=budget)
            assert store.spent(QUESTION).usd <= budget + 1e-9
            outcomes = [
                Outcome(s.attempt, "bad", cost_usd=r * share, again=again, reserved_usd=r)
                for s, r in zip(states, reserves, strict=True)
                if s.attempt
            ]
            store.complete(outcomes, max_usd=budget)
            assert store.spent(QUESTION).usd <= budget + 1e-9


def test_threads_with_stores_of_their_own_share_one_budget(path):
    budget, seen = 0.5, []
    taken: list[int] = []

    def label(seed: int) -> None:
        chance = random.Random(seed)
        with Store(path) as store, store.owner() as owner:
            attempts: list[tuple[int, float]] = []
            for turn in range(40):
                keys = [key(chance.randrange(10_000)) for _ in range(4)]
                reserves = [chance.uniform(0.001, 0.02) for _ in keys]
                states = store.claim(QUESTION, keys, owner, reserved_usd=reserves, max_usd=budget)
                attempts += [(s.attempt, r) for s, r in zip(states, reserves, strict=True) if s.attempt]
                ending, attempts = attempts[: turn % 5], attempts[turn % 5 :]
                outcomes = [
                    Outcome(
                        a, "transient", cost_usd=chance.choice([None, r * chance.random()]), again=True, reserved_usd=r
                    )
                    for a, r in ending
                ]
                opened = store.complete(outcomes, max_usd=budget)
                attempts += [(a, r) for a, (_, r) in zip(opened, ending, strict=True) if a]
                seen.append(store.spent(QUESTION).usd)
            taken.append(len(attempts))

    threads = [threading.Thread(target=label, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 4
    assert max(seen) <= budget + 1e-9
    assert max(seen) > budget - 0.02, "the budget was never reached"


WORKER = """
    import random, sys
    from filterkit.store import Key, Outcome, Question, Store
    question = Question("r" * 64, "test", "model-1", "filter 1")
    chance = random.Random(int(sys.argv[2]))
    with Store(sys.argv[1]) as store, store.owner(lease_s=3600) as owner:
        print("ready", flush=True)
        for turn in range(100_000):
            keys = [Key(f"{chance.randrange(10**9):064x}") for _ in range(3)]
            reserves = [chance.uniform(1e-6, 0.0005) for _ in keys]
            states = store.claim(question, keys, owner, reserved_usd=reserves, max_usd=0.25)
            if all(state.kind == "unaffordable" for state in states):
                print("broke", flush=True)
                sys.stdin.read()
            outcomes = [
                Outcome(s.attempt, "bad", cost_usd=r * chance.random(), again=chance.random() < 0.3, reserved_usd=r)
                for s, r in zip(states, reserves) if s.attempt and chance.random() < 0.7
            ]
            store.complete(outcomes, max_usd=0.25)
"""


def start(path: Path, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(path), str(seed)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_that_are_killed_leave_a_budget_that_holds(path):
    """What a killed process had in flight counts at its reserve, so that its successors have less, never more."""
    Store(path).close()
    chance = random.Random(5)
    with Store(path) as store:
        for round_ in range(3):
            running = [start(path, seed) for seed in (2 * round_, 2 * round_ + 1)]
            for process in running:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.02, 0.15))
            assert store.spent(QUESTION).usd <= 0.25
            for process in running:
                process.kill()
                process.communicate()
            before = store.spent(QUESTION)
            with store.owner() as owner:
                store.claim(QUESTION, [], owner)  # buries the dead
            assert store.spent(QUESTION) == before, "a death changes nothing of the money"
        last = start(path, 99)
        assert last.stdout is not None
        assert [last.stdout.readline() for _ in range(2)] == ["ready\n", "broke\n"]
        last.kill()
        last.communicate()
        assert 0.2495 < store.spent(QUESTION).usd <= 0.25
        assert store.spent(QUESTION).held_usd > 0


def test_usage_is_the_mean_of_what_labels_took(store):
    assert store.usage(QUESTION) is None
    with store.owner() as owner:
        states = store.claim(QUESTION, [key(n) for n in range(5)], owner)
        assert store.usage(QUESTION) is None
        took = [
            (Usage(input=100, cached_input=50, output=10), 0.02),
            (Usage(input=300, output=30), None),
            (Usage(), 0.5),  # it did not say how many
        ]
        store.complete([
            Outcome(s.attempt, "labelled", label=GOOD, usage=usage, cost_usd=cost)
            for s, (usage, cost) in zip(states, took, strict=False)
        ])  # fmt: skip
        store.complete([Outcome(states[3].attempt, "bad", usage=Usage(input=9_999, output=9_999))])
    used = store.usage(QUESTION)
    assert (used.count, used.input, used.cached_input, used.output) == (2, 200, 50, 20)
    assert used.cost_usd == pytest.approx(0.02)
    assert store.usage(Question("none", "test", "m")) is None


def test_labels_of_older_rubrics_are_told_by_filter(store):
    older = [Question("1" * 64, "a", "m", "kind 1"), Question("2" * 64, "a", "m", "kind 2")]
    for question in (*older, Question("3" * 64, "a", "m", "kindness 1"), Question("4" * 64, "a", "m", "kind 3")):
        with store.owner() as owner:
            [state] = store.claim(question, [key(1)], owner)
            if question.filter_name != "kind 3":
                store.complete([Outcome(state.attempt, "labelled", label=GOOD)])
    assert {count.question for count in store.of_filter("kind")} == set(older)
