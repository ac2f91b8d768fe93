"""Slices, other labels of the same articles, and two students side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import FILTER, write_filter

from filterkit.errors import InputError
from filterkit.filters import Filter, load_filter
from filterkit.metrics.slices import worst
from filterkit.pipeline.evaluate import compare_students, reference, slices
from filterkit.records import Article

TIERS = """\
postfilter:
  use: tiers
  tiers: [{name: high, at_least: 6}, {name: rest}]
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Filter:
    return load_filter(write_filter(tmp_path, FILTER + TIERS))


def table(n: int = 240) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 11, (n, 3)).astype(float)
    return np.clip(labels + random.normal(0, 1, labels.shape), 0, 10), labels


def articles(n: int = 240) -> list[Article]:
    return [
        Article(
            str(i),
            "",
            "x" * (100 if i < 20 else 3000),
            language=("en", "de", "nl")[i % 3] if i >= 5 else "fr",
            source=None if i % 2 else "wire",
        )
        for i in range(n)
    ]


def test_the_slice_that_is_worse_is_named(tiny: Filter) -> None:
    p, t = table()
    p[1::3] = np.clip(t[1::3] + 2.5 * np.sign(p[1::3] - t[1::3]), 0, 10)  # every German article
    found = slices(articles(), p, t, tiny)
    bad = worst(found)
    assert bad is not None
    assert (bad.kind, bad.name) == ("language", "de")
    german = np.array([a.language == "de" for a in articles()])
    error = np.abs(p - t)[:, :2]  # the flag does not count
    assert bad.n == german.sum()
    assert bad.mae == pytest.approx(error[german].mean())
    assert bad.rest == pytest.approx(error[~german].mean())
    assert bad.worse == pytest.approx(error[german].mean() - error[~german].mean())
    assert 0 < bad.intervals["worse"].low < bad.worse < bad.intervals["worse"].high
    assert {(s.kind, s.name): s.n for s in found if s.kind != "language"} == {
        ("source", "wire"): 120,
        ("source", "unknown"): 120,
        ("length", "under 500 characters"): 20,
        ("length", "2,000 to 7,999 characters"): 220,
    }


def test_small_slices_are_lumped_and_chance_is_not_blamed(tiny: Filter) -> None:
    p, t = table()
    found = slices(articles(), p, t, tiny)
    assert {s.name: s.n for s in found if s.kind == "language"} == {"en": 78, "de": 78, "nl": 79, "all others": 5}
    assert worst(found) is None
    alike = [Article(str(i), "", "x" * 100, language="en") for i in range(240)]
    assert slices(alike, p, t, tiny) == ()


def test_a_slice_without_any_label_is_undefined(tiny: Filter) -> None:
    p, t = table()
    t[1::3] = np.nan
    german = next(s for s in slices(articles(), p, t, tiny) if s.name == "de")
    assert (german.mae, german.worse) == (None, None)
    assert german.undefined["mae"]
    with pytest.raises(InputError, match="do not belong together"):
        slices(articles(12), p, t, tiny)


def test_other_labels_beside_the_student_on_the_same_articles(tiny: Filter) -> None:
    p, t = table()
    other = np.full_like(t, np.nan)
    other[:60] = np.clip(t[:60] + 1, 0, 10)
    found = reference("gemini b", "oracle", other, t, p, tiny)
    assert (found.who, found.kind, found.n) == ("gemini b", "oracle", 60)
    assert found.mae == pytest.approx(np.abs(other - t)[:60, :2].mean())
    assert found.student_mae == pytest.approx(np.abs(p - t)[:60, :2].mean())
    assert set(found.intervals) == {"mae", "spearman", "student_mae"}
    nobody = reference("people", "people", np.full_like(t, np.nan), t, p, tiny)
    assert (nobody.n, nobody.mae) == (0, None)
    assert nobody.undefined["mae"]


def test_the_better_student_is_told(tiny: Filter) -> None:
    p, t = table()
    worse = np.clip(t + 1.6 * (p - t), 0, 10)
    found = {d.name: d for d in compare_students(p, worse, t, tiny)}
    assert list(found)[:3] == ["mae", "overall_mae", "spearman"]
    assert {"tier_accuracy", "recall:high", "ndcg@100", "mae:help", "mae:novelty", "mae:is_advert"} < set(found)
    mae = found["mae"]
    assert mae.first == pytest.approx(np.abs(p - t)[:, :2].mean())
    assert mae.difference == pytest.approx(mae.first - mae.second)  # type: ignore[operator]
    assert (mae.better, found["spearman"].better, mae.lower_is_better) == ("first", "first", True)
    turned = {d.name: d for d in compare_students(worse, p, t, tiny)}
    assert (turned["mae"].better, turned["spearman"].better) == ("second", "second")
    assert mae.intervals["difference"].high < 0 < turned["mae"].intervals["difference"].low


def test_students_that_cannot_be_told_apart(tiny: Filter) -> None:
    p, t = table()
    other = np.clip(t + np.random.default_rng(1).normal(0, 1, t.shape), 0, 10)  # as good, by other mistakes
    assert {d.better for d in compare_students(p, p, t, tiny)} == {None}
    assert next(d for d in compare_students(p, other, t, tiny) if d.name == "mae").better is None
    assert {d.better for d in compare_students(p[:5], p[:5] + 0.1, t[:5], tiny)} == {None}, "five articles"


def test_only_what_both_scored_is_compared(tiny: Filter) -> None:
    p, t = table()
    other = p.copy()
    other[:200] = np.nan
    mae = compare_students(p, other, t, tiny)[0]
    assert mae.first == mae.second == pytest.approx(np.abs(p - t)[200:, :2].mean())
    nothing = compare_students(p, np.full_like(p, np.nan), t, tiny)
    assert all(d.difference is None and d.undefined["difference"] for d in nothing)
