"""The audit says what a prefilter would have held back of the articles that the oracle scored high."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers import FILTER, words, write_filter

from filterkit.contracts import Prefilter
from filterkit.contracts.base import Options
from filterkit.filters import load_filter
from filterkit.pipeline.audit import Audit, Finding, audit, held_back
from filterkit.records import Article, Block, Label, Pass
from filterkit.spec import FilterSpec

PREFILTER = "prefilter: {use: words}\n"


class Words(Prefilter[Options]):
    """Holds back what says so, or would in shadow mode."""

    def judge(self, articles: Sequence[Article]) -> list[Pass | Block]:
        return [self._one(article.title) for article in articles]

    def _one(self, title: str) -> Pass | Block:
        if "held" in title:
            return Block(rule="held", reason="title")
        return Block(rule="doubtful", reason="title", shadow=True) if "doubt" in title else Pass()


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FilterSpec:
    spec = load_filter(write_filter(tmp_path / "f", FILTER + PREFILTER + "threshold: 7\n")).spec
    monkeypatch.setattr(held_back, "make_prefilter", lambda spec: Words(Options(), spec, None))  # type: ignore[arg-type]
    return spec


def look(spec: FilterSpec, titles: dict[int, str]) -> tuple[Audit, Finding]:
    """Of 400 articles each fourth is high, in turn English and German; `titles` are given to some."""
    random = np.random.default_rng(3)
    labelled = []
    for i in range(400):
        score = 9.0 if i % 4 == 0 else 2.0
        text = " ".join(words(random, 30))
        language = "de" if i % 8 >= 4 else "en"
        one = Article(f"a{i}", titles.get(i, "plain"), text, source=f"paper{i % 3}", language=language)
        labelled.append((one, Label(scores={"help": score, "novelty": score, "is_advert": 0.0})))
    found = audit(spec, labelled)
    json.dumps(found.to_dict(), allow_nan=False)
    [finding] = [f for f in found.findings if f.check == "prefilter"]
    return found, finding


def test_a_prefilter_that_spares_what_is_high_passes(spec: FilterSpec) -> None:
    found, finding = look(spec, dict.fromkeys(range(1, 400, 4), "held"))
    assert finding.level == "pass"
    assert "100 of 400 labelled articles, 0 of the 100 with an overall of 7 or more" in finding.what
    assert found.figures["prefilter"]["ids"] == []


def test_what_is_lost_is_told_by_language_and_rule(spec: FilterSpec) -> None:
    titles = dict.fromkeys((4, 12, 20, 28), "held") | dict.fromkeys((36, 44), "doubt")  # German ones
    found, finding = look(spec, titles)
    assert finding.level == "warn"
    assert "6 of the 100" in finding.what
    assert "most in de 6 of 50" in finding.what
    assert "held 4, doubtful (shadow) 2" in finding.do
    figures = found.figures["prefilter"]
    assert figures["ids"] == ["a4", "a12", "a20", "a28", "a36", "a44"]
    by_language = {row["name"]: (row["labels_high"], row["held_back_high"]) for row in figures["languages"]}
    assert by_language == {"de": (50, 6), "en": (50, 0)}
    assert sum(row["held_back_high"] for row in figures["sources"]) == 6


def test_one_language_alone_is_enough_to_warn(spec: FilterSpec) -> None:
    _, finding = look(spec, dict.fromkeys((4, 12, 20, 28, 36), "held"))
    assert finding.level == "pass", "5 of 100, and 5 of 50 in German"
    _, finding = look(spec, dict.fromkeys((4, 12, 20, 28, 36, 44), "held"))
    assert finding.level == "warn"


def test_a_prefilter_that_is_not_installed_is_left_out_by_name(tmp_path: Path) -> None:
    spec = load_filter(write_filter(tmp_path / "f", FILTER + PREFILTER)).spec
    found, finding = look(spec, {})
    assert finding.level == "pass"
    assert "words was left out" in finding.what
    assert finding.do
    assert found.figures["prefilter"] is None
