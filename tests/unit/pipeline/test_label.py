"""Labelling, in process, with an oracle that says what the test tells it to."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from filterkit.contracts import Context, Options, Oracle, OracleOptions
from filterkit.contracts.base import environment_secret
from filterkit.errors import (
    ConfigError,
    Fatal,
    FilterkitError,
    InputError,
    RateLimited,
    Refused,
    StoppedEarly,
    Transient,
    Unreachable,
)
from filterkit.filters import Filter, load_filter
from filterkit.pipeline.label import LabelReport, LabelSettings, label, oracle_variant
from filterkit.records import Article, OracleRequest, Price, Reply, Usage
from filterkit.store import Store

GOOD = {"good": 7, "bad": 2.5}
DATED = {"as_of": "2026-01-01", "source": "test"}
FILTER = """
schema: 1
name: tiny
version: "1"
dimensions: [{name: good, weight: 0.6}, {name: bad, weight: 0.4}]
"""


class ScriptedOptions(OracleOptions):
    model: str = "model-1"
    thinking: str = "none"


class Scripted(Oracle[ScriptedOptions]):
    """Calls `script(text, n)` for the n-th request about a text (from 1); it returns scores, a Reply, or raises."""

    Options: ClassVar[type[Options]] = ScriptedOptions
    answer_options: ClassVar[tuple[str, ...]] = ("thinking",)
    script: Callable[[str, int], Any] = staticmethod(lambda text, n: GOOD)
    latency_s: float = 0.0

    def __init__(self, options: ScriptedOptions, spec: Any, ctx: Context) -> None:
        super().__init__(options, spec, ctx)
        self.asked: Counter[str] = Counter()
        self.requests: list[OracleRequest] = []
        self.in_flight = self.most_in_flight = self.replied = 0

    async def complete(self, request: OracleRequest) -> Reply:
        found = re.fullmatch(r"<article (\w{16})>\n(.*)\n</article \1>", request.article, re.DOTALL)
        assert found is not None
        text = found.group(2)
        self.asked[text] += 1
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency_s)
            said = self.script(text, self.asked[text])
        finally:
            self.in_flight -= 1
        self.replied += 1
        if isinstance(said, Reply):
            return said
        usage = Usage(input=1_000_000, output=100_000)
        return Reply(text=json.dumps(said), usage=usage, model_version=f"{request.model}-0725")


@pytest.fixture
def tiny(tmp_path: Path) -> Filter:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "filter.yaml").write_text(FILTER)
    (folder / "prompt.md").write_text("Judge it.\n\n{{article}}\n")
    return load_filter(folder)


class Bench:
    """A filter, a store and an oracle, to label with."""

    def __init__(self, filter: Filter, store: Store, tmp_path: Path) -> None:
        self.filter, self.store = filter, store
        self.oracle = Scripted(ScriptedOptions(), filter.spec, Context(tmp_path))

    def label(self, articles: Iterable[Article], *, settings: dict[str, Any] | None = None, **more: Any) -> LabelReport:
        chosen = LabelSettings(**{"backoff_s": 0.001, **(settings or {})})
        return label(self.filter, articles, self.oracle, self.store, chosen, oracle_name="scripted", **more)

    def labels(self) -> dict[str, dict[str, float]]:
        rows = list(self.store.labelled(self.filter.request_hash(oracle_variant(self.oracle))))
        assert len({row.article.id for row in rows}) == len(rows)
        return {row.article.id: row.scores for row in rows}


@pytest.fixture
def bench(tiny: Filter, tmp_path: Path):
    with Store(tmp_path / "labels.db") as store:
        yield Bench(tiny, store, tmp_path)


def articles(count: int) -> list[Article]:
    return [Article(f"a{n}", "", f"text {n}") for n in range(count)]


def test_every_article_is_labelled_once_and_the_same_again_asks_nothing(bench):
    report = bench.label(articles(1300))
    assert (report.read, report.new, report.already, report.attempts) == (1300, 1300, 0, 1300)
    assert set(bench.oracle.asked.values()) == {1}
    assert bench.labels() == {f"a{n}": GOOD for n in range(1300)}
    again = bench.label(articles(1301))
    assert (again.read, again.new, again.already, again.attempts) == (1301, 1, 1300, 1)
    assert bench.oracle.asked["text 1300"] == 1


def test_the_request_carries_the_question_and_the_row_the_model_that_replied(bench):
    bench.label([Article("a", "Title", "surrogate \ud800 and nul \x00")])
    [request] = bench.oracle.requests
    assert request.article.splitlines()[1:3] == ["Title", ""]
    assert request.article.splitlines()[3] == "surrogate \ufffd and nul "
    assert request.rubric.startswith("Judge it.")
    assert set(request.json_schema["properties"]) == {"good", "bad"}
    assert (request.model, request.temperature, request.timeout_s) == ("model-1", 0.0, 60.0)
    [row] = bench.store.labelled(bench.filter.request_hash())
    assert row.model_version == "model-1-0725"
    assert row.article.content == "surrogate \ud800 and nul \x00"


def test_concurrency_is_used_and_never_exceeded(bench):
    bench.oracle.latency_s = 0.05
    bench.label(articles(200), settings={"concurrency": 10})
    assert bench.oracle.most_in_flight == 10


def test_input_is_streamed_not_gathered(bench):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Article(f"a{taken}", "", f"text {taken}")

    report = bench.label(endless(), stop=lambda: len(bench.oracle.requests) >= 700)
    assert report.stopped == "interrupted"
    assert taken < 2500


def test_an_edited_article_is_a_new_question_and_its_newest_version_counts(bench):
    bench.label(articles(3))
    bench.oracle.script = lambda text, n: {"good": 1, "bad": 1}
    report = bench.label([Article("a1", "", "text 1, corrected")])
    assert (report.new, report.already) == (1, 0)
    assert bench.labels() == {"a0": GOOD, "a1": {"good": 1, "bad": 1}, "a2": GOOD}


def test_another_rubric_model_or_answer_option_is_another_question(bench, tiny):
    bench.label(articles(1))
    (tiny.path / "prompt.md").write_text("Judge it well.\n\n{{article}}\n")
    bench.filter = load_filter(tiny.path)
    assert bench.label(articles(1)).new == 1
    bench.oracle.options = ScriptedOptions(thinking="high")
    assert oracle_variant(bench.oracle) == {"thinking": "high"}
    assert bench.label(articles(1)).new == 1
    bench.oracle.options = ScriptedOptions(model="model-2", thinking="high")
    assert bench.label(articles(1)).new == 1
    bench.oracle.options = ScriptedOptions(model="model-2", thinking="high", timeout_s=5)
    assert bench.label(articles(1)).new == 0
    assert len(bench.store.questions()) == 4


@pytest.mark.parametrize("apart", [1, 1200])
def test_one_text_under_two_ids_is_asked_once_and_labels_both(bench, apart):
    given = [*articles(apart), Article("twin", "", "text 0")]
    report = bench.label(given)
    assert (report.read, report.new, report.duplicates) == (apart + 1, apart, 1)
    assert bench.oracle.asked["text 0"] == 1
    assert bench.labels()["twin"] == GOOD


def test_limit_is_the_first_so_many_articles_so_a_rerun_asks_nothing_more(bench):
    assert bench.label(articles(50), settings={"limit": 20}).new == 20
    assert bench.label(articles(50), settings={"limit": 20}).new == 0
    assert set(bench.labels()) == {f"a{n}" for n in range(20)}


# What comes back


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"good": float("nan"), "bad": 1}, "is nan, outside"),
        ({"good": float("inf"), "bad": 1}, "is inf, outside"),
        ({"good": 10.5, "bad": 1}, "is 10.5, outside of 0 to 10"),
        ({"good": -1, "bad": 1}, "outside of 0 to 10"),
        ({"good": True, "bad": 1}, "must be a number, not bool"),
        ({"good": "7", "bad": 1}, "must be a number, not str"),
        ({"good": 7}, "'bad' is missing"),
        ({"good": 7, "bad": 1, "ugly": 1}, "a key that is no dimension"),
        ([7, 1], "must be a JSON object"),
        (Reply(text='{"good": 7, "bad": 1', model_version="model-1"), "not valid JSON"),
        (Reply(text=json.dumps(GOOD), model_version="model-1", finish="length"), "cut off at max_output_tokens"),
        (Reply(text=json.dumps(GOOD), model_version="model-1", finish="other"), "did not end normally"),
    ],
)
def test_a_wrong_answer_never_counts_and_is_asked_again_up_to_the_limit(bench, said, why):
    bench.oracle.script = lambda text, n: said if text == "text 0" else GOOD
    report = bench.label(articles(3))
    assert set(bench.labels()) == {"a1", "a2"}
    assert bench.oracle.asked == {"text 0": 4, "text 1": 1, "text 2": 1}
    assert (report.new, report.failed) == (2, 1)
    [(failed, reason)] = report.failures
    assert failed == "a0"
    assert why in reason
    assert reason.endswith("(after 4 attempts)")


@pytest.mark.parametrize(
    "trouble",
    [
        Transient("503"),
        RateLimited("429", retry_after_s=0.01),
        ConnectionResetError("reset"),
        Reply(text="{", model_version="model-1"),
        Reply(text=json.dumps(GOOD), model_version="model-1", finish="length"),
    ],
)
def test_what_may_pass_is_asked_again_until_it_did(bench, trouble):
    def script(text: str, n: int) -> Any:
        if n < 4 and isinstance(trouble, Exception):
            raise trouble
        return trouble if n < 4 else GOOD

    bench.oracle.script = script
    report = bench.label(articles(20))
    assert (report.new, report.failed) == (20, 0)
    assert set(bench.oracle.asked.values()) == {4}
    assert len(bench.labels()) == 20


def test_rate_limits_do_not_use_up_the_attempts_and_are_waited_for_as_told(bench):
    times: list[float] = []

    def script(text: str, n: int) -> Any:
        times.append(time.monotonic())
        if n <= 6:
            raise RateLimited("429", retry_after_s=0.05)
        return GOOD

    bench.oracle.script = script
    assert bench.label(articles(1), settings={"max_attempts": 2}).new == 1
    assert min(b - a for a, b in itertools.pairwise(times)) >= 0.05


def test_a_limit_that_never_ends_stops_the_run(bench):
    def script(text: str, n: int) -> Any:
        raise RateLimited("429")

    bench.oracle.script = script
    with pytest.raises(StoppedEarly, match="nothing but 'too many requests'"):
        bench.label(articles(5), settings={"patience_s": 0.2, "backoff_s": 0.01})


def test_a_request_that_takes_too_long_is_given_up_and_asked_again(bench):
    bench.oracle.options = ScriptedOptions(timeout_s=0.05)
    bench.oracle.latency_s = 10
    report = bench.label(articles(1), settings={"max_attempts": 2})
    assert report.failures == [("a0", "no answer within 0.05 s (after 2 attempts)")]


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (Refused("too long for the model"), "too long for the model"),
        (Reply(text="", model_version="model-1", finish="blocked"), "the provider blocked the answer"),
        (ZeroDivisionError("oops"), "the oracle scripted failed: ZeroDivisionError: oops"),
    ],
)
def test_a_refused_article_fails_alone_at_once_and_is_asked_again_only_when_told(bench, trouble, why):
    mended = False

    def script(text: str, n: int) -> Any:
        if text != "text 1" or mended:
            return GOOD
        if isinstance(trouble, Exception):
            raise trouble
        return trouble

    bench.oracle.script = script
    report = bench.label([*articles(3), Article("twin", "", "text 1")])
    assert (report.new, report.failed, report.failed_before) == (2, 2, 0)
    assert sorted(report.failures) == [("a1", why), ("twin", why)]
    mended = True
    again = bench.label(articles(3))
    assert (again.already, again.failed, again.failed_before, again.attempts) == (2, 1, 1, 0)
    assert again.failures == [("a1", why)]
    retried = bench.label(articles(3), settings={"retry_failed": True})
    assert (retried.already, retried.new, retried.failed, retried.attempts) == (2, 1, 0, 1)
    assert len(bench.labels()) == 4


def test_retrying_what_failed_asks_each_text_once_per_run(bench):
    def script(text: str, n: int) -> Any:
        raise Refused("no")

    bench.oracle.script = script
    given = [*articles(1200), Article("twin", "", "text 0")]
    bench.label(given)
    report = bench.label(given, settings={"retry_failed": True})
    assert (report.failed, report.attempts) == (1201, 1200)
    assert set(bench.oracle.asked.values()) == {2}
    assert len(report.failures) == 1000


# Ends before the end


@pytest.mark.parametrize(
    ("trouble", "error", "code", "why"),
    [
        (Fatal("401 bad key"), FilterkitError, 2, "oracle scripted: 401 bad key"),
        (RateLimited("429", scope="day"), StoppedEarly, 4, "quota of the day is used up"),
        (ConfigError("the environment variable KEY is not set"), ConfigError, 2, "KEY is not set"),
    ],
)
def test_what_no_request_can_pass_ends_the_run_after_what_is_in_flight(bench, trouble, error, code, why):
    bench.oracle.latency_s = 0.02

    def script(text: str, n: int) -> Any:
        if len(bench.oracle.requests) > 100:
            bench.oracle.script = lambda text, n: GOOD
            raise trouble
        return GOOD

    bench.oracle.script = script
    with pytest.raises(error, match=why) as caught:
        bench.label(articles(1000), settings={"concurrency": 20})
    assert caught.value.exit_code == code
    asked = len(bench.oracle.requests)
    assert 100 < asked <= 140
    assert len(bench.labels()) == asked - 1  # all replies in flight were kept
    assert bench.label(articles(1000)).new == 1000 - (asked - 1)
    assert sum(bench.oracle.asked.values()) == 1001


def test_stop_finishes_what_is_in_flight_and_the_rest_waits_for_the_next_run(bench):
    bench.oracle.latency_s = 0.05
    report = bench.label(articles(500), settings={"concurrency": 20}, stop=lambda: len(bench.oracle.requests) >= 60)
    assert report.stopped == "interrupted"
    assert report.new == len(bench.oracle.requests) == len(bench.labels()) < 100
    assert bench.store.spent().unknown == report.attempts  # no price, and nothing that never left
    assert bench.label(articles(500)).new == 500 - report.new
    assert set(bench.oracle.asked.values()) == {1}


def test_stop_does_not_wait_for_a_long_pause(bench):
    def script(text: str, n: int) -> Any:
        raise RateLimited("429", retry_after_s=30)

    bench.oracle.script = script
    started = time.monotonic()
    report = bench.label(articles(3), stop=lambda: time.monotonic() - started > 0.3)
    assert report.stopped == "interrupted"
    assert time.monotonic() - started < 3
    assert (report.failed, report.new) == (0, 0)


def test_unreadable_input_ends_the_run_and_what_was_asked_is_kept(bench):
    def broken():
        yield from articles(700)
        raise InputError("is cut off", where="articles.jsonl.gz")

    with pytest.raises(InputError, match="is cut off"):
        bench.label(broken())
    assert len(bench.labels()) == len(bench.oracle.requests) >= 500


def test_ctrl_c_at_once_keeps_every_reply_that_had_come(bench):
    """Another program holds the store, so replies wait to be kept, when the interrupt comes."""
    blocker = sqlite3.connect(bench.store.path, isolation_level=None)

    def interrupt() -> None:
        blocker.execute("ROLLBACK")
        signal.raise_signal(signal.SIGINT)

    def script(text: str, n: int) -> Any:
        if bench.oracle.replied == 100:
            blocker.execute("BEGIN IMMEDIATE")
            asyncio.get_running_loop().call_later(0.2, interrupt)
        return GOOD

    bench.oracle.script = script
    bench.oracle.latency_s = 0.001
    with pytest.raises(KeyboardInterrupt):
        bench.label(articles(300), settings={"concurrency": 16})
    kept = len(bench.labels())
    assert kept == bench.oracle.replied < 200
    report = bench.label(articles(300))
    assert (report.new, report.already) == (300 - kept, kept)


def test_an_error_in_a_callback_comes_out_and_what_was_stored_stays(bench):
    def progress(report: LabelReport) -> None:
        if report.new > 50:
            raise RuntimeError("the panel broke")

    bench.oracle.latency_s = 0.001
    with pytest.raises(RuntimeError, match="the panel broke"):
        bench.label(articles(300), progress=progress, settings={"concurrency": 8})
    assert len(bench.labels()) == bench.oracle.replied


# Money and events


def test_cost_comes_from_the_provider_or_the_price_table_or_is_unknown(bench):
    price = Price(input=0.10, output=1.00, **DATED)
    report = bench.label(articles(10), prices={"model-1": price})
    assert report.cost_usd == pytest.approx(10 * 0.2)
    assert bench.store.spent().usd == pytest.approx(10 * 0.2)
    usage = Usage(cost_usd=0.5)
    bench.oracle.script = lambda text, n: Reply(text=json.dumps(GOOD), usage=usage, model_version="model-1")
    assert bench.label(articles(12), prices={"model-1": price}).cost_usd == pytest.approx(1.0)
    bench.oracle.script = lambda text, n: GOOD
    report = bench.label(articles(13))
    assert report.cost_usd is None
    assert bench.store.spent().unknown == 1
    assert bench.label(articles(13)).cost_usd == 0


def test_wrong_answers_cost_money_too(bench):
    price = Price(input=0.10, output=1.00, **DATED)
    bench.oracle.script = lambda text, n: {} if n < 3 else GOOD
    assert bench.label(articles(10), prices={"model-1": price}).cost_usd == pytest.approx(30 * 0.2)


def test_an_attempt_counts_at_its_reservation_until_its_cost_is_known(bench):
    def script(text: str, n: int) -> Any:
        seen.append(bench.store.spent().usd)
        if n == 1:
            raise Transient("dropped")
        return Reply(text=json.dumps(GOOD), usage=Usage(cost_usd=0.25), model_version="model-1")

    seen: list[float] = []
    bench.oracle.script = script
    price = Price(output=1e6 / bench.filter.spec.generation.max_output_tokens, **DATED)
    bench.label(articles(1), own_prices={"model-1": price})
    assert seen == [1.0, 2.0]
    assert bench.store.spent() == (1.25, 1.0, 0)


def test_observers_hear_of_labels_once_they_are_in_the_store(bench):
    heard: list[dict[str, Any]] = []

    def observe(event: str, **values: Any) -> None:
        assert event == "labels_committed"
        heard.append(values)
        with Store(bench.store.path) as other:
            assert other.questions()[0].labels >= sum(h["count"] for h in heard)

    reports: list[int] = []
    bench.label(articles(200), observe=observe, progress=lambda report: reports.append(report.new))
    assert sum(h["count"] for h in heard) == 200
    assert {(h["filter_name"], h["oracle"]) for h in heard} == {("tiny", "scripted")}
    assert reports == sorted(reports)
    assert reports[-1] == 200


def test_secrets_in_a_providers_words_are_neither_reported_nor_kept(bench, monkeypatch):
    monkeypatch.setenv("TEST_LABEL_KEY", "sk-label-secret")
    environment_secret("TEST_LABEL_KEY")

    def script(text: str, n: int) -> Any:
        raise Refused("bad header sk-label-secret")

    bench.oracle.script = script
    report = bench.label(articles(1))
    assert report.failures == [("a0", "bad header [secret]")]
    [failure] = bench.store.failures(bench.filter.request_hash())
    assert failure.reason == "bad header [secret]"


def test_faults_of_all_kinds_together_end_with_every_label_right(bench):
    chance = random.Random(5)
    faults = [
        Transient("503"),
        RateLimited("429"),
        TimeoutError(),
        Reply(text="oops", model_version="model-1"),
        Reply(text='{"good": 11, "bad": 0}', model_version="model-1"),
        Reply(text='{"good": 1}', model_version="model-1"),
    ]

    def script(text: str, n: int) -> Any:
        if chance.random() < 0.15:
            fault = chance.choice(faults)
            if isinstance(fault, Exception):
                raise fault
            return fault
        number = int(text.split()[1])
        return {"good": number % 11, "bad": number % 7}

    bench.oracle.script = script
    report = bench.label(articles(300), settings={"max_attempts": 8})
    assert (report.new, report.failed) == (300, 0)
    assert bench.labels() == {f"a{n}": {"good": n % 11, "bad": n % 7} for n in range(300)}


# The budget


PRICE = Price(input=0.10, output=1.00, **DATED)  # a reply of `Scripted` costs 0.20 dollars


def test_the_budget_is_never_exceeded_and_used_as_far_as_it_is_safe(bench):
    bench.oracle.latency_s = 0.005
    reserve = Price(output=0.5e6 / 2048, **DATED)  # half a dollar at most
    usage = Usage(cost_usd=0.2)
    bench.oracle.script = lambda text, n: Reply(text=json.dumps(GOOD), usage=usage, model_version="model-1")
    for budget, labelled_in_all in ((0.4, 0), (2.0, 8), (3.0, 13), (3.0, 13)):
        with pytest.raises(StoppedEarly, match=rf"the budget of \${budget:.4f}.*--max-cost"):
            bench.label(articles(300), settings={"max_cost_usd": budget}, own_prices={"model-1": reserve})
        spent = bench.store.spent()
        assert spent.usd <= budget
        assert spent.held_usd == 0
        assert len(bench.labels()) == labelled_in_all == bench.oracle.replied
    report = bench.label(articles(300), settings={"max_cost_usd": 300 * 0.2 + 0.5}, own_prices={"model-1": reserve})
    assert report.new == 300 - 13
    assert bench.store.spent().usd == pytest.approx(60)


def test_wrong_answers_are_asked_again_only_while_there_is_money(bench):
    bench.oracle.script = lambda text, n: Reply(text="{}", usage=Usage(cost_usd=1.0), model_version="model-1")
    price = {"model-1": Price(output=1e6 / 2048, **DATED)}
    with pytest.raises(StoppedEarly):
        bench.label(articles(3), settings={"max_cost_usd": 5.5}, own_prices=price)
    assert bench.oracle.replied == 5
    assert bench.store.spent().usd == 5


def test_a_budget_without_a_price_is_refused_before_anything_is_sent(bench):
    with pytest.raises(ConfigError, match=r"no price is known for model-1.*prices: \{\"model-1\": \{input"):
        bench.label(articles(3), settings={"max_cost_usd": 1.0})
    assert not bench.oracle.requests
    past = {"model-1": PRICE.model_copy(update={"until": "2026-01-02"})}
    with pytest.raises(ConfigError, match="the known price of model-1 held until 2026-01-02"):
        bench.label(articles(3), settings={"max_cost_usd": 1.0}, prices=past)


def test_what_the_workspace_pays_comes_before_the_list_and_a_server_of_ones_own_is_paid_by_the_hour(bench):
    report = bench.label(articles(10), prices={"model-1": PRICE}, own_prices={"model-1": Price(input=1, **DATED)})
    assert report.cost_usd == pytest.approx(10 * 1.0)
    bench.oracle.latency_s = 0.2
    hour = {"model-1": Price(per_hour=3600.0, **DATED)}
    report = bench.label(articles(30), own_prices=hour, settings={"concurrency": 10})
    assert report.cost_usd == pytest.approx(0.4, rel=0.5)  # 20 new ones, ten at a time, at a dollar a second


# What comes back


def test_the_oracle_is_told_what_was_wrong_after_the_article_and_only_then(bench):
    bench.oracle.script = lambda text, n: [{"good": 11, "bad": 1}, {"good": 7}, GOOD][n - 1]
    bench.label(articles(1))
    first, second, third = bench.oracle.requests
    assert first.correction == ""
    assert "the score of 'good' is 11, outside of 0 to 10" in second.correction
    assert "'bad' is missing" in third.correction
    assert second.user.startswith(first.user)
    assert len({r.key for r in bench.oracle.requests}) == 3


def test_another_model_than_the_one_asked_for_ends_the_run_and_never_labels(bench):
    bench.oracle.latency_s = 0.005

    def script(text: str, n: int) -> Any:
        version = "model-1-lite" if len(bench.oracle.requests) > 40 else "model-1-0725"
        return Reply(text=json.dumps(GOOD), usage=Usage(cost_usd=0.1), model_version=version)

    bench.oracle.script = script
    with pytest.raises(FilterkitError, match=r"asked model-1, and 'model-1-lite' replied.*oracle\.aliases") as caught:
        bench.label(articles(300), settings={"concurrency": 10})
    assert caught.value.exit_code == 2
    assert 30 <= len(bench.labels()) <= 40
    assert len(bench.oracle.requests) <= 60
    assert bench.store.spent().usd == pytest.approx(0.1 * len(bench.oracle.requests)), "what was paid is counted"
    bench.oracle.options = ScriptedOptions(aliases=["model-1-*"])
    report = bench.label(articles(300), settings={"concurrency": 10})
    assert len(bench.labels()) == 300
    assert report.versions == {"model-1-lite": report.new}


def test_nothing_is_opened_when_there_is_nothing_to_ask(bench):
    bench.label(articles(5))

    async def refuse() -> None:
        raise ConfigError("the environment variable KEY is not set")

    bench.oracle.open = refuse
    assert bench.label(articles(5)).already == 5
    with pytest.raises(ConfigError, match="KEY"):
        bench.label(articles(6))
    assert bench.store.spent().unknown == 5, "no attempt was begun"


def test_it_labels_from_within_a_running_event_loop(bench):
    async def cell() -> int:
        return bench.label(articles(3)).new

    assert asyncio.run(cell()) == 3


def test_the_report_tells_tokens_models_and_errors(bench):
    def script(text: str, n: int) -> Any:
        if n == 1 and text in ("text 1", "text 2"):
            raise Transient("503 from the server", unbilled=True)
        return {} if n == 1 and text == "text 3" else GOOD

    bench.oracle.script = script
    report = bench.label(articles(10), prices={"model-1": PRICE})
    assert report.errors == {"transient": 2, "bad": 1}
    assert report.last_error
    assert report.versions == {"model-1-0725": 10}
    assert (report.input_tokens, report.output_tokens) == (11_000_000, 1_100_000)
    assert bench.store.spent() == (pytest.approx(11 * 0.2), 0, 0), "what the provider refused costs nothing"


def test_while_the_provider_is_down_no_article_fails(bench, monkeypatch):
    monkeypatch.setattr("filterkit.pipeline.health.DOWN_S", 0.02)
    up_at = time.monotonic() + 0.4

    def script(text: str, n: int) -> Any:
        if time.monotonic() < up_at:
            raise Transient("503", unbilled=True)
        return GOOD

    bench.oracle.script = script
    report = bench.label(articles(20), settings={"max_attempts": 3, "backoff_s": 0.02})
    assert (report.new, report.failed) == (20, 0)
    assert max(bench.oracle.asked.values()) > 3


def test_a_provider_that_stays_down_stops_the_run(bench, monkeypatch):
    monkeypatch.setattr("filterkit.pipeline.health.DOWN_S", 0.02)

    def script(text: str, n: int) -> Any:
        raise Transient("503 overloaded", unbilled=True)

    bench.oracle.script = script
    with pytest.raises(StoppedEarly, match=r"nothing but errors for 0 s \(503 overloaded\)"):
        bench.label(articles(500), settings={"patience_s": 0.2, "backoff_s": 0.02, "concurrency": 4})
    assert bench.store.spent().usd == 0


def test_articles_are_not_blamed_for_a_network_that_is_down(bench, monkeypatch):
    monkeypatch.setattr("filterkit.pipeline.health.DOWN_S", 0.1)

    def script(text: str, n: int) -> Any:
        if not network:
            raise Unreachable("no connection: 127.0.0.1:1")
        return GOOD

    network, bench.oracle.script = False, script
    with pytest.raises(StoppedEarly, match=r"no connection: 127\.0\.0\.1:1.*Check network and address"):
        bench.label(articles(50), settings={"backoff_s": 0.02})
    assert bench.store.spent() == (0, 0, 0)
    network = True
    report = bench.label(articles(50))
    assert (report.new, report.failed_before) == (50, 0)
    up_at = time.monotonic() + 0.5

    def flaky(text: str, n: int) -> Any:
        if text != "text 50" and time.monotonic() < up_at:
            raise Unreachable("no connection: 127.0.0.1:1")
        return GOOD

    bench.oracle.script = flaky
    report = bench.label(articles(70), settings={"backoff_s": 0.02})
    assert (report.new, report.failed) == (20, 0), "it had answered, so it is waited for"


def test_a_limit_that_takes_too_long_to_wait_for_stops_the_run_at_once(bench):
    def script(text: str, n: int) -> Any:
        raise RateLimited("come back tomorrow", retry_after_s=86_400)

    bench.oracle.script = script
    with pytest.raises(StoppedEarly, match=r"asks to wait for 86,400 s \(come back tomorrow\)"):
        bench.label(articles(5))


def test_an_error_of_the_server_is_waited_for_as_it_says(bench):
    times: list[float] = []

    def script(text: str, n: int) -> Any:
        times.append(time.monotonic())
        if n == 1:
            raise Transient("503", retry_after_s=0.3)
        return GOOD

    bench.oracle.script = script
    bench.label(articles(1))
    assert 0.3 <= times[1] - times[0] < 3


def test_an_error_that_asks_for_a_day_costs_one_article_only(bench):
    def script(text: str, n: int) -> Any:
        if text == "text 3":
            raise Transient("503", unbilled=True, retry_after_s=86_400)
        return GOOD

    bench.oracle.script = script
    report = bench.label(articles(20))
    assert (report.new, report.failures, bench.oracle.asked["text 3"]) == (19, [("a3", "503")], 1)


def test_a_few_articles_that_are_always_refused_at_the_end_of_a_run_use_up_their_attempts(bench, monkeypatch):
    monkeypatch.setattr("filterkit.pipeline.health.DOWN_S", 0.02)

    def script(text: str, n: int) -> Any:
        if text in ("text 3", "text 4"):
            raise Transient("503", unbilled=True)
        return GOOD

    bench.oracle.script, bench.oracle.latency_s = script, 0.03
    report = bench.label(articles(20), settings={"backoff_s": 0.03})
    assert (report.new, report.failed) == (18, 2)
    assert bench.oracle.asked["text 3"] == 4


def test_an_oracle_that_is_broken_does_not_spend_a_request_on_every_article(bench):
    def script(text: str, n: int) -> Any:
        raise ZeroDivisionError("oops")

    bench.oracle.script = script
    with pytest.raises(FilterkitError, match=r"ZeroDivisionError: oops, at every article so far"):
        bench.label(articles(500), settings={"concurrency": 4})
    assert len(bench.oracle.requests) < 20


def test_replies_are_kept_when_the_callers_iterator_or_progress_fails(bench):
    bench.oracle.latency_s = 0.01

    def broken() -> Iterable[Article]:
        yield from articles(600)
        raise ValueError("the caller's own")

    with pytest.raises(ValueError, match="the caller's own"):
        bench.label(broken())
    assert len(bench.labels()) == bench.oracle.replied > 0

    def progress(report: LabelReport) -> None:
        if report.new > 50:
            raise ValueError("cannot be shown")

    with pytest.raises(ValueError, match="cannot be shown"):
        bench.label(articles(2000), progress=progress)
    assert len(bench.labels()) == bench.oracle.replied
    assert bench.store.spent().unknown == bench.oracle.replied


def test_labels_are_committed_while_articles_come_slowly(bench):
    def slowly() -> Iterable[Article]:
        for number, article in enumerate(articles(30)):
            time.sleep(0.1)
            seen.append((number, len(bench.labels()) if number == 29 else 0))
            yield article

    seen: list[tuple[int, int]] = []
    bench.label(slowly())
    assert seen[-1][1] >= 10


def test_an_interrupted_notebook_stops_asking(bench):
    bench.oracle.latency_s = 0.05

    def script(text: str, n: int) -> Any:
        if len(bench.oracle.requests) == 20:
            signal.raise_signal(signal.SIGINT)
        return GOOD

    async def cell() -> None:
        with pytest.raises(KeyboardInterrupt):
            bench.label(articles(500), settings={"concurrency": 4})

    bench.oracle.script = script
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    loop = asyncio.new_event_loop()  # as a notebook's: it takes no signals
    try:
        loop.run_until_complete(cell())
    finally:
        signal.signal(signal.SIGINT, before)
        loop.close()
    assert len(bench.labels()) == bench.oracle.replied < 60


def test_an_interruption_gives_back_what_was_never_sent(bench):
    """The second Ctrl-C: what was claimed and waited counts for nothing."""
    bench.oracle.latency_s = 0.2
    price = {"model-1": Price(output=1e6 / 2048, **DATED)}

    def script(text: str, n: int) -> Any:
        raise KeyboardInterrupt

    bench.oracle.script = script
    with pytest.raises(KeyboardInterrupt):
        bench.label(articles(500), settings={"concurrency": 8}, own_prices=price)
    assert bench.store.spent().usd <= 8


@pytest.mark.parametrize(("share", "cost"), [(1.0, 2.0), (0.5, 1.0), (None, None)])
def test_a_list_price_counts_at_the_share_that_is_charged_and_ones_own_as_it_is(bench, monkeypatch, share, cost):
    monkeypatch.setattr(Scripted, "list_price_share", share)
    report = bench.label(articles(10), prices={"model-1": PRICE})
    assert report.cost_usd == (None if cost is None else pytest.approx(cost))
    report = bench.label(articles(20), prices={"model-1": PRICE}, own_prices={"model-1": PRICE})
    assert report.cost_usd == pytest.approx(2.0)
