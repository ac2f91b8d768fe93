"""Every gate has been seen to fail, and what it says then helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import FILTER, NAMES, write_filter

from filterkit.filters import Filter, load_filter
from filterkit.manifest import Gate
from filterkit.pipeline.evaluate import Evaluation, evaluate
from filterkit.spec import Gates

TIERS = """\
threshold: 6
postfilter:
  use: tiers
  tiers: [{name: high, at_least: 6}, {name: rest}]
"""
ALL = Gates(f1=0.5)


@pytest.fixture
def tiered(tmp_path: Path) -> Filter:
    return load_filter(write_filter(tmp_path, FILTER + TIERS))


def student(n: int = 300, noise: float = 0.7, seed: int = 1) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 11, (n, 3)).astype(float)
    return np.clip(labels + random.normal(0, noise, labels.shape), 0, 10), labels


def around(p: Any, half: float = 1.3) -> Any:
    return np.stack([p - half, p + half], axis=-1)


def rates(evaluation: Evaluation) -> dict[str, bool]:
    return {gate.name: gate.passed for gate in evaluation.gates}


def failed(evaluation: Evaluation) -> set[str]:
    return {gate.name for gate in evaluation.gates if not gate.passed}


def gate(evaluation: Evaluation, name: str) -> Gate:
    return next(g for g in evaluation.gates if g.name == name)


def test_a_good_student_passes_every_gate_in_order(tiered: Filter) -> None:
    p, t = student()
    found = evaluate(p, t, tiered, gates=ALL, intervals=around(p))
    assert list(rates(found)) == [
        "all_scored",
        "unknown_labels",
        "mae",
        "median_gain",
        "spearman",
        "dimensions_in_place",
        "top_recall",
        "coverage",
        "f1",
    ]
    assert found.passed
    assert found.left_out == {}
    mae = gate(found, "mae")
    assert mae.bound == found.metrics.intervals["mae"].high > found.metrics.mae == mae.value  # type: ignore[operator]
    assert gate(found, "spearman").bound == found.metrics.intervals["spearman"].low


def test_a_constant_predictor_fails_however_small_its_error() -> None:
    """The lesson of a student with MAE 0.5 that could tell nothing apart."""
    t = np.full((300, 2), 1.0)
    t[:30] = 5.0
    found = evaluate(np.full((300, 2), 1.0), t, ["a", "b"], gates=Gates(median_gain=0.0))
    assert found.metrics.mae == pytest.approx(0.4)
    assert failed(found) == {"median_gain", "spearman"}
    assert "always answered alike, which counts as 0: a, b" in gate(found, "spearman").why


def test_a_dimension_that_is_always_answered_alike_counts_as_0() -> None:
    p, t = student()
    p[:, 0] = 5
    found = evaluate(p, t, NAMES, gates=Gates(mae=None, median_gain=None, spearman=0.7))
    assert found.metrics.spearman is not None
    assert found.metrics.spearman > 0.9
    assert gate(found, "spearman").value == pytest.approx(found.metrics.spearman * 2 / 3)
    assert failed(found) == {"spearman"}


@pytest.mark.parametrize("order", [[1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]])
def test_a_student_with_its_dimensions_in_another_order_fails(order: list[int]) -> None:
    p, t = student()
    lenient = Gates(mae=None, median_gain=None, spearman=None)
    found = evaluate(p[:, order], t, NAMES, gates=lenient)
    assert failed(found) == {"dimensions_in_place"}
    one = gate(found, "dimensions_in_place")
    assert (one.value, one.limit) == (len(found.metrics.mixed_up), 0)
    assert "check the order of the dimensions" in one.why


def test_one_article_without_a_score_fails() -> None:
    p, t = student()
    p[0, 1] = np.nan
    assert failed(evaluate(p, t, NAMES)) == {"all_scored"}


def test_a_missing_label_fails_unless_the_filter_allows_it() -> None:
    p, t = student()
    t[:3, 1] = np.nan
    found = evaluate(p, t, NAMES)
    assert failed(found) == {"unknown_labels"}
    assert "3 of 900 labels are missing" in gate(found, "unknown_labels").why
    assert evaluate(p, t, NAMES, gates=Gates(unknown_labels=0.01)).passed


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_too_few_articles_prove_nothing(tiered: Filter, n: int) -> None:
    p, t = student(noise=0.01)
    found = evaluate(p[:n], t[:n], tiered, gates=ALL, intervals=around(p[:n]))
    assert failed(found) >= {"mae", "median_gain", "spearman"}
    assert gate(found, "mae").bound is None
    if n == 9:
        assert gate(found, "mae").why == "too few to be sure of it (9 articles): label more"


@pytest.mark.parametrize("what", ["predictions", "labels"])
def test_nothing_but_nan_fails_every_gate_of_a_figure(tiered: Filter, what: str) -> None:
    p, t = student()
    (p if what == "predictions" else t)[:] = np.nan
    found = evaluate(p, t, tiered, gates=ALL, intervals=around(p))
    assert failed(found) >= {"mae", "median_gain", "spearman", "top_recall", "coverage", "f1"}
    assert all(g.why and (g.value is None or np.isfinite(g.value)) for g in found.gates)


def test_the_bound_is_compared_and_not_the_figure() -> None:
    random = np.random.default_rng(2)
    t = random.integers(0, 11, (40, 3)).astype(float)
    p = np.clip(t + random.normal(0, 1.35, t.shape), 0, 10)
    found = evaluate(p, t, NAMES)
    assert found.metrics.mae is not None
    assert found.metrics.mae < 1.0 < found.metrics.intervals["mae"].high
    assert failed(found) == {"mae"}
    assert gate(found, "mae").why == (
        "the error is below the limit, but 40 articles cannot make that certain: label more"
    )


def test_the_limit_of_the_error_is_not_reached_but_undercut() -> None:
    t = np.tile([[0.0], [10.0]], (50, 1))
    assert rates(evaluate(t + 1.0, t, ["a"]))["mae"] is False
    assert rates(evaluate(t + 0.999, t, ["a"]))["mae"] is True


def test_the_gain_over_the_median_must_be_reached() -> None:
    t = np.tile([[0.0], [2.0]], (50, 1))
    worse, better = t + np.where(t, -0.951, 0.951), t + np.where(t, -0.949, 0.949)
    assert rates(evaluate(worse, t, ["a"]))["median_gain"] is False
    assert rates(evaluate(better, t, ["a"]))["median_gain"] is True


def test_noise_has_no_rank_correlation() -> None:
    _, t = student()
    noise = np.random.default_rng(5).uniform(0, 10, t.shape)
    assert "spearman" in failed(evaluate(noise, t, NAMES))


def test_the_best_tier_must_be_found(tiered: Filter) -> None:
    p, t = student()
    capped = np.minimum(p, 5.5)
    found = evaluate(capped, t, tiered, gates=Gates(mae=3, f1=0.5))
    assert failed(found) == {"top_recall", "f1"}
    assert gate(found, "top_recall").value == 0
    assert gate(found, "f1").value == 0


def test_few_articles_of_the_best_tier_are_said_to_be_few(tiered: Filter) -> None:
    _, t = student()
    t[:, :2] = np.minimum(t[:, :2], 5)
    t[:2, :2] = 8
    p = t.copy()
    found = evaluate(p, t, tiered, gates=Gates(top_recall=0.5))
    assert gate(found, "top_recall").value == 1
    assert failed(found) == {"top_recall"}
    assert gate(found, "top_recall").why == ("only 2 articles of the best tier, high, can be judged by: label more")
    t[:, :2] = np.minimum(t[:, :2], 5)
    none = gate(evaluate(t, t, tiered), "top_recall")
    assert (none.passed, none.value) == (False, None)
    assert none.why == "no article of the best tier, high, was judged: label more"


def test_intervals_that_are_too_narrow(tiered: Filter) -> None:
    p, t = student()
    assert failed(evaluate(p, t, tiered, intervals=around(p, 0.5))) == {"coverage"}
    assert "coverage" in evaluate(p, t, tiered).left_out
    missing = evaluate(p, t, tiered, intervals=around(p) * np.nan, missing_intervals="20 articles are too few")
    assert failed(missing) == {"coverage"}
    assert gate(missing, "coverage").why == "there are no prediction intervals: 20 articles are too few"
    assert failed(evaluate(p, t, tiered, missing_intervals="20 articles are too few")) == {"coverage"}


def test_f1_needs_a_threshold() -> None:
    p, t = student()
    found = evaluate(p, t, NAMES, gates=ALL)
    assert failed(found) == {"f1"}
    assert "names no threshold" in gate(found, "f1").why


def test_labels_that_are_all_the_same_prove_nothing() -> None:
    found = evaluate(np.full((50, 1), 3.0), np.full((50, 1), 3.0), ["a"])
    assert failed(found) == {"median_gain", "spearman"}
    assert gate(found, "median_gain").why == "all labels are the same"


def test_gates_that_are_switched_off_are_not_asked() -> None:
    off = Gates(mae=None, median_gain=None, spearman=None, top_recall=None, coverage=None, unknown_labels=None)
    found = evaluate(*student(), NAMES, gates=off)
    assert rates(found) == {"all_scored": True, "dimensions_in_place": True}
    assert found.left_out == {}
