"""The pilot: which articles it takes, what it says of their scores, and what it makes of the rest's price."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from filterkit.contracts import Context, OracleOptions
from filterkit.filters import Filter, load_filter
from filterkit.pipeline.estimate import Estimate
from filterkit.pipeline.pilot import PilotReport, Sample, pilot_report, project
from filterkit.pipeline.pricing import Pricing
from filterkit.prompt import sent_text
from filterkit.records import Article, Label, Usage, sha256_text
from filterkit.store import Key, Outcome, Question, Store
from filterkit.testing.toys import ToyOracle

FILTER = """
schema: 1
name: tiny
version: "1"
dimensions:
  - {name: good, weight: 0.5}
  - {name: kind, weight: 0.5}
  - {name: is_advert, role: flag}
"""
TIERS = """
postfilter:
  use: tiers
  tiers: [{name: high, at_least: 7}, {name: middle, at_least: 4}, {name: low}]
"""


def texts(count: int) -> list[Article]:
    return [Article(f"a{n}", "", f"text {n}") for n in range(count)]


def drawn(articles: list[Article], size: int) -> list[str]:
    sample = Sample(size)
    for article in articles:
        sample.offer(article, sha256_text(article.text), True)
    return [article.id for article in sample.articles]


def test_the_sample_does_not_depend_on_the_order_and_grows_by_adding(tmp_path):
    articles = texts(1000)
    shuffled = random.Random(1).sample(articles, 1000)
    assert set(drawn(articles, 50)) == set(drawn(shuffled, 50))
    assert len(drawn(articles, 50)) == 50
    assert set(drawn(articles, 50)) < set(drawn(articles, 80))
    assert len(drawn(articles[:10], 50)) == 10


def test_the_sample_comes_from_all_of_the_input():
    taken = [int(name[1:]) for name in drawn(texts(10_000), 500)]
    per_tenth = np.bincount(np.array(taken) // 1000, minlength=10)
    assert per_tenth.min() > 20
    assert taken == sorted(taken)


@pytest.mark.parametrize("n", [5, 50])
def test_the_interval_holds_the_true_price_about_95_times_in_100(n):
    dice = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        sizes = dice.lognormal(0, 0.6, 1000)
        costs = 0.001 * sizes * dice.normal(1, 0.2, 1000).clip(0.2) + 0.0002
        usd, half = project(costs[:n], sizes[:n], 1000 - n, float(sizes[n:].sum()))
        assert half is not None
        hits += abs(usd - costs[n:].sum()) <= half
    assert 0.90 <= hits / 400 <= 0.99


def test_one_article_gives_a_price_and_no_interval():
    assert project(np.array([0.5]), np.array([10.0]), 9, 90.0) == (4.5, None)


class Piloted:
    """A filter whose sample has the scores that a test gives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports = 0

    def filter(self, more: str = "") -> Filter:
        folder = self.folder / "tiny"
        folder.mkdir(exist_ok=True)
        (folder / "filter.yaml").write_text(FILTER + more)
        (folder / "prompt.md").write_text("Judge it.\n\n{{article}}\n")
        return load_filter(folder)

    def report(
        self,
        scores: list[dict[str, float]],
        *,
        more: str = "",
        texts_in_all: int = 1000,
        costs: list[float | None] | None = None,
    ) -> PilotReport:
        filter = self.filter(more)
        articles = texts(len(scores))
        self.reports += 1
        question = Question(f"rubric {self.reports}", "toy", "m")
        sample = Sample(len(scores))
        hashes = [sha256_text(sent_text(filter.spec, article)) for article in articles]
        with Store(self.folder / "labels.db") as store:
            store.put_articles(question, zip(articles, hashes, strict=True))
            with store.owner() as owner:
                states = store.claim(question, [Key(h) for h in hashes], owner)
                prices = costs or [0.01] * len(scores)
                outcomes = [
                    Outcome(
                        state.attempt or 0,
                        "labelled",
                        label=Label(row),
                        usage=Usage(input=100, output=10),
                        cost_usd=cost,
                    )
                    for state, row, cost in zip(states, scores, prices, strict=True)
                ]
                store.complete(outcomes)
            for article, sent_hash in zip(articles, hashes, strict=True):
                sample.offer(article, sent_hash, True)
            pricing = Pricing(filter, ToyOracle(OracleOptions(model="m"), filter.spec, Context(self.folder)))
            tokens = sum(pricing.input_tokens(sent_text(filter.spec, a)) for a in texts(texts_in_all))
            found = Estimate(read=texts_in_all, to_ask=texts_in_all, request_tokens=tokens)
            return pilot_report(filter, sample, found, pricing, store, question)


@pytest.fixture
def piloted(tmp_path: Path) -> Piloted:
    return Piloted(tmp_path)


def spread(n: int) -> list[dict[str, float]]:
    """Scores all over the scale; every fifth is an advert."""
    return [
        {"good": float(i % 11), "kind": float(i * 3 % 11), "is_advert": 10.0 if i % 5 == 0 else 0.0} for i in range(n)
    ]


def test_base_rates_of_every_dimension(piloted):
    report = piloted.report(spread(44))
    good, kind, advert = report.dimensions
    assert (report.size, report.labelled) == (44, 44)
    assert (good.name, good.mean, good.median) == ("good", 5.0, 5.0)
    assert (good.at_floor, good.at_ceiling, good.upper_half) == (4 / 44, 4 / 44, 24 / 44)
    assert good.histogram == [4] * 9 + [8]
    assert (kind.mean, advert.role, advert.upper_half) == (5.0, "flag", 9 / 44)
    assert report.overall == pytest.approx(5.0, abs=0.01)
    assert report.tiers == {}
    assert report.tiers_left_out == ""
    assert report.warnings == []


def test_what_the_sample_cost_and_what_the_rest_will(piloted):
    report = piloted.report(spread(40), texts_in_all=1000, costs=[0.008, 0.012] * 20)
    assert (report.cost_usd, report.input_tokens, report.output_tokens) == (pytest.approx(0.40), 4000, 400)
    rest = report.rest
    assert rest.to_ask == 960
    assert rest.usd == pytest.approx(9.6, rel=0.02)
    assert 8.5 < rest.low_usd < rest.usd < rest.high_usd < 10.5
    assert rest.input_tokens == pytest.approx(96_000, rel=0.02)


def test_a_cost_that_is_unknown_stays_unknown(piloted):
    report = piloted.report(spread(40), costs=[None] + [0.01] * 39)
    assert report.cost_usd is None
    assert (report.rest.usd, report.rest.low_usd) == (None, None)
    assert report.rest.input_tokens is not None


def test_no_rest_costs_nothing(piloted):
    rest = piloted.report(spread(40), texts_in_all=40).rest
    assert (rest.to_ask, rest.usd) == (0, 0.0)


def warned(report: PilotReport, *words: str) -> bool:
    return any(all(word in warning for word in words) for warning in report.warnings)


def test_it_warns_of_a_dimension_that_tells_nothing_apart(piloted):
    floor = [{**row, "good": 0.0 if i else 9.0} for i, row in enumerate(spread(40))]
    assert warned(piloted.report(floor), "good", "floor", "98%")
    assert len(piloted.report(floor).warnings) == 1


def test_it_warns_of_scores_in_one_place_and_of_flags_that_are_never_set(piloted):
    report = piloted.report([{**row, "kind": 5.5, "is_advert": 0.0} for row in spread(40)])
    assert warned(report, "kind", "within a tenth of the scale")
    assert warned(report, "is_advert", "none of 40", "7.5%")
    assert len(report.warnings) == 2


def test_of_a_handful_it_says_only_that_they_are_too_few(piloted):
    report = piloted.report([{"good": 0.0, "kind": 0.0, "is_advert": 0.0}] * 5)
    assert len(report.warnings) == 1
    assert warned(report, "only 5", "too few")


def test_tiers_are_judged_by_the_filters_own_postfilter(piloted):
    pytest.importorskip("filterkit_postfilter")
    rows = [
        {"good": x, "kind": x, "is_advert": 10.0 * (i % 2)} for i, x in enumerate([7.0] * 4 + [5.0] * 16 + [1.0] * 20)
    ]
    report = piloted.report(rows, more=TIERS)
    assert report.tiers == {"high": 4, "middle": 16, "low": 20}
    few = piloted.report(rows, more=TIERS, texts_in_all=500)
    assert warned(few, "about 50 of all 500", "tier high", "too few")
    enough = piloted.report(rows, more=TIERS, texts_in_all=5000)
    assert enough.warnings == []


def test_it_warns_of_a_tier_that_is_empty(piloted):
    pytest.importorskip("filterkit_postfilter")
    report = piloted.report(
        [{**row, "good": row["good"] / 2, "kind": row["kind"] / 2} for row in spread(60)], more=TIERS
    )
    assert report.tiers["high"] == 0
    assert warned(report, "no article", "tier high", "below 5.0%")


def test_without_the_postfilters_plugin_tiers_are_left_out_by_name(piloted, monkeypatch):
    monkeypatch.setenv("FILTERKIT_DISABLE_PLUGINS", "filterkit-postfilter")
    monkeypatch.setattr("filterkit.plugins._plugins", None)
    report = piloted.report(spread(40), more=TIERS)
    assert report.tiers == {}
    assert "tiers" in report.tiers_left_out
    assert len(report.dimensions) == 3
