"""What labelling will ask and cost, told before anything is sent."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from filterkit.contracts import Context, Options, Oracle, OracleOptions
from filterkit.errors import Refused
from filterkit.filters import Filter, load_filter
from filterkit.pipeline.estimate import Estimate, estimate, older_labels
from filterkit.pipeline.label import LabelSettings, label, question_of
from filterkit.pipeline.pricing import Pricing
from filterkit.records import Article, OracleRequest, Price, Reply, Usage
from filterkit.store import Store

FILTER = """
schema: 1
name: tiny
version: "1"
dimensions: [{name: good, weight: 1}]
generation: {max_output_tokens: 100}
input: {oracle: {max_chars: 300}}
"""
DOLLAR = Price(input=1.0, output=10.0, as_of="2026-11-01", source="the list")
LONG = "word " * 50


class MeterOptions(OracleOptions):
    model: str = "m-1"


class Meter(Oracle[MeterOptions]):
    """Answers 7, with 500 tokens in and 20 out; articles with `refuse` in them are refused."""

    Options: ClassVar[type[Options]] = MeterOptions
    counts: ClassVar[int | None] = 1000

    async def open(self) -> None:
        raise AssertionError("nothing may be opened")

    async def complete(self, request: OracleRequest) -> Reply:
        await asyncio.sleep(0)
        if "refuse" in request.article:
            raise Refused("no")
        return Reply(text=json.dumps({"good": 7}), usage=Usage(input=500, output=20), model_version="m-1")

    def count_tokens(self, request: OracleRequest) -> int | None:
        return self.counts


class Working(Meter):
    async def open(self) -> None:
        return


class Guessing(Meter):
    counts: ClassVar[int | None] = None


class Room:
    """A filter, articles and a store of their labels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store_file = folder / "labels.db"
        self.filter = self.rubric("Judge it.")

    def rubric(self, text: str) -> Filter:
        path = self.folder / f"tiny-{len(text)}"
        path.mkdir(exist_ok=True)
        (path / "filter.yaml").write_text(FILTER)
        (path / "prompt.md").write_text(f"{text}\n\n{{{{article}}}}\n")
        return load_filter(path)

    def oracle(self, kind: type[Meter] = Meter, **options: Any) -> Meter:
        return kind(MeterOptions(**options), self.filter.spec, Context(self.folder))

    def label(self, articles: list[Article]) -> None:
        with Store(self.store_file) as store:
            label(
                self.filter,
                articles,
                self.oracle(Working),
                store,
                LabelSettings(backoff_s=0.001),
                oracle_name="meter",
                prices={"m-1": DOLLAR},
            )

    def estimate(
        self,
        articles: Any,
        kind: type[Meter] = Meter,
        *,
        price: Price | None = DOLLAR,
        filter: Filter | None = None,
        model: str = "m-1",
        **more: Any,
    ) -> Estimate:
        filter = filter or self.filter
        oracle = self.oracle(kind, model=model)
        question = question_of(filter, oracle, "meter")
        pricing = Pricing(filter, oracle, own={} if price is None else {model: price})
        if not self.store_file.exists():
            return estimate(filter, articles, pricing, question, None, **more)
        with Store(self.store_file, create=False) as store:
            return estimate(filter, articles, pricing, question, store, older=older_labels(store, question), **more)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def articles(count: int, start: int = 0) -> list[Article]:
    return [Article(f"a{n}", "", f"{LONG}{n}") for n in range(start, start + count)]


def test_every_article_is_counted_where_it_belongs(room):
    room.label([*articles(10), Article("bad", "", f"refuse {LONG}")])
    given = [
        *articles(14),
        Article("again", "", f"{LONG}3"),
        Article("bad", "", f"refuse {LONG}"),
        Article("tiny", "", "Subscribe now"),
        Article("long", "", LONG * 9),
    ]
    found = room.estimate(given)
    assert (found.read, found.already, found.duplicates, found.failed_before, found.to_ask) == (18, 10, 1, 1, 6)
    assert (found.short, found.shortened) == (1, 1)
    retried = room.estimate(given, retry_failed=True)
    assert (retried.failed_before, retried.to_ask) == (0, 7)


def test_the_price_is_what_the_tokens_cost_and_at_most_what_they_may(room):
    found = room.estimate(articles(1000))
    assert found.counted
    assert found.request_tokens == found.input_tokens == 1_000_000
    assert found.most_output_tokens == 100_000
    assert found.usd == pytest.approx(1.0 + found.output_tokens * 10e-6)
    assert found.most_usd == pytest.approx(1.0 + 1.0)
    assert found.why_unknown == ""


def test_tokens_that_the_oracle_cannot_count_are_estimated_from_the_length(room):
    short, long = (room.estimate([Article("a", "", "x" * size)], Guessing) for size in (100, 300))
    assert not short.counted
    assert long.input_tokens - short.input_tokens == pytest.approx(200 / 4, abs=1)
    chinese = room.estimate([Article("a", "", "字" * 100)], Guessing)
    assert chinese.input_tokens > short.input_tokens
    assert long.most_usd == pytest.approx((long.input_tokens * 1.5 + 100 * 10) / 1e6)


def test_earlier_answers_say_what_an_answer_takes(room):
    room.label(articles(10))
    counted, guessed = (room.estimate(articles(20), kind) for kind in (Meter, Guessing))
    assert (counted.measured, counted.input_tokens, counted.output_tokens) == (10, 10_000, 200)
    assert (guessed.input_tokens, guessed.output_tokens) == (5_000, 200)
    assert guessed.usd == pytest.approx((5_000 + 200 * 10) / 1e6)


def test_an_unknown_price_is_said_to_be_unknown_with_what_to_write(room):
    found = room.estimate(articles(3), price=None)
    assert (found.usd, found.most_usd) == (None, None)
    assert "m-1" in found.why_unknown
    assert "prices" in found.fix
    assert "m-1" in found.fix
    hourly = room.estimate(articles(3), price=Price(per_hour=0.6, as_of="2026-11-01", source="the bill"))
    assert hourly.usd is None
    assert "$0.60 an hour" in hourly.why_unknown


def test_nothing_to_ask_costs_nothing_even_at_an_unknown_price(room):
    room.label(articles(3))
    assert room.estimate(articles(3), price=None).usd == 0.0


def test_it_makes_no_store_and_changes_none(room):
    room.estimate(articles(5))
    assert not room.store_file.exists()
    room.label(articles(5))
    before = room.store_file.read_bytes()
    room.estimate(articles(50))
    assert room.store_file.read_bytes() == before


def test_labels_of_an_older_rubric_and_of_another_model_are_told_apart(room):
    room.label(articles(10))
    newer = room.estimate(articles(15, start=5), filter=room.rubric("Judge it better."))
    assert (newer.to_ask, newer.again, newer.again_changed) == (15, 5, 5)
    other = room.estimate(articles(15, start=5), model="m-2")
    assert (other.to_ask, other.again, other.again_changed) == (15, 5, 0)
    with Store(room.store_file) as store:
        oracle = room.oracle(model="m-2")
        [same] = older_labels(store, question_of(room.filter, oracle, "meter"))
        [changed] = older_labels(store, question_of(room.rubric("Judge it better."), room.oracle(), "meter"))
        assert older_labels(store, question_of(room.filter, room.oracle(), "meter")) == []
    assert (same.same_rubric, same.labels) == (True, 10)
    assert (changed.same_rubric, changed.labels) == (False, 10)


def test_memory_does_not_grow_with_the_input(room):
    def many(count: int) -> Iterator[Article]:
        return (Article(f"a{n}", "", f"text {n}") for n in range(count))

    def peak(count: int) -> int:
        tracemalloc.start()
        assert room.estimate(many(count)).to_ask == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few = peak(2_000)
    assert peak(20_000) < few + 200_000
