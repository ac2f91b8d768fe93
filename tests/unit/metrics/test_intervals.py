"""Intervals hold what they promise; the heavy test is the one of benchmarks/evaluation.py, in small."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from filterkit.metrics import Metrics, measure
from filterkit.metrics.bootstrap import Ratio, Resamples, student_t, wilson

NAMES = ("a", "b", "c")


def draw(shape: str, n: int, random: np.random.Generator) -> tuple[Any, Any]:
    latent = 0.7 * random.normal(size=(n, 1)) + 0.7 * random.normal(size=(n, 3))
    labels = np.clip(np.round(4 + 2 * latent), 0, 10)
    if shape == "skewed":
        return labels + 0.8 * random.exponential(1, labels.shape) - 0.5, labels
    if shape == "uneven":
        hard = random.normal(size=(n, 1))
        noise = random.normal(size=labels.shape)
        return np.clip(0.6 * labels + 2 + noise * (0.2 + 0.25 * labels) + 0.6 * hard, 0, 10), labels
    return np.clip(labels + random.normal(size=labels.shape), 0, 10), labels


FIGURES = ("mae", "rmse", "bias", "spearman", "within_1", "median_gain", "r2")


def covered(shape: str, n: int, sims: int) -> Counter[str]:
    truth = measure(*draw(shape, 150_000, np.random.default_rng(0)), NAMES, range(3), rounds=100)
    random = np.random.default_rng(1)
    held: Counter[str] = Counter()
    for sim in range(sims):
        found = measure(*draw(shape, n, random), NAMES, range(3), rounds=400, seed=sim)
        for name in FIGURES:
            for kind, part, true in (
                ("mean", found, truth),
                ("one", found.per_dimension["a"], truth.per_dimension["a"]),
            ):
                interval = part.intervals[name]
                held[f"{kind} {name}"] += interval.low <= getattr(true, name) <= interval.high
    return held


@pytest.mark.parametrize("shape", ["even", pytest.param("skewed", marks=pytest.mark.heavy)])
def test_intervals_hold_in_most_of_a_hundred_small_tests(shape: str) -> None:
    """A quick look: 87 of 100 lies more than 3 standard errors below 95."""
    held = covered(shape, 100, 100)
    assert {name: count for name, count in held.items() if count < 87} == {}


@pytest.mark.heavy
@pytest.mark.parametrize("shape", ["even", "skewed", "uneven"])
def test_intervals_hold_in_19_of_20_tests(shape: str) -> None:
    held = covered(shape, 100, 250)
    off = {name: count / 250 for name, count in held.items() if not 0.905 <= count / 250 <= 0.99}
    assert off == {}
    assert np.mean(list(held.values())) / 250 == pytest.approx(0.95, abs=0.02)


def width(metrics: Metrics, name: str) -> float:
    return metrics.intervals[name].high - metrics.intervals[name].low


def test_more_articles_narrow_the_interval() -> None:
    small, large = (measure(*draw("even", n, np.random.default_rng(3)), NAMES, range(3)) for n in (100, 1600))
    for name in FIGURES:
        assert 3 < width(small, name) / width(large, name) < 5.5, name


def test_copies_of_an_article_prove_nothing_new() -> None:
    """Near-duplicates share a group, and are drawn together."""
    p, t = draw("even", 150, np.random.default_rng(4))
    groups = [f"g{i}" for i in range(150)]
    once = measure(p, t, NAMES, range(3), groups=groups)
    copied = measure(np.tile(p, (4, 1)), np.tile(t, (4, 1)), NAMES, range(3), groups=groups * 4)
    fooled = measure(np.tile(p, (4, 1)), np.tile(t, (4, 1)), NAMES, range(3))
    for name in FIGURES:
        assert width(copied, name) == pytest.approx(width(once, name), rel=0.15), name
        assert width(fooled, name) < 0.65 * width(once, name), name


def test_groups_of_one_change_nothing() -> None:
    p, t = draw("even", 60, np.random.default_rng(5))
    assert measure(p, t, NAMES, range(3), groups=[str(i) for i in range(60)]) == measure(p, t, NAMES, range(3))


def test_the_same_seed_gives_the_same_intervals() -> None:
    p, t = draw("even", 80, np.random.default_rng(6))
    assert measure(p, t, NAMES, range(3), seed=3) == measure(p, t, NAMES, range(3), seed=3)
    assert measure(p, t, NAMES, range(3), seed=3).intervals != measure(p, t, NAMES, range(3), seed=4).intervals


def test_nine_articles_have_no_interval_of_a_mean() -> None:
    nine = measure(*draw("even", 9, np.random.default_rng(7)), NAMES, range(3))
    assert "mae" not in nine.intervals
    assert "spearman" not in nine.intervals
    assert "mae" in measure(*draw("even", 10, np.random.default_rng(7)), NAMES, range(3)).intervals


def test_four_of_four_is_not_certain() -> None:
    """The percentiles of a resample of four hits are 1 and 1."""
    four = Resamples(4).share(np.ones(4), np.ones(4))
    assert four is not None
    assert four.low == pytest.approx(0.5101, abs=1e-4)
    assert four.high == 1
    eight = wilson(0.8, 0.8 * 0.2 / 10, 10)  # textbook: 8 of 10
    assert (eight.low, eight.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


@pytest.mark.parametrize("n", [12, 60, 80, 300])
def test_errors_that_are_nearly_all_alike_give_a_sober_interval_or_none(n: int) -> None:
    """Resamples without the few others have a standard error of 0, which rounding must not make a tiny one."""
    few = 2 if n < 300 else 5
    labels = np.zeros((n, 1))
    labels[:few] = 1.5
    for seed in range(20):
        found = measure(np.full((n, 1), 0.3), labels, ("a",), range(1), scale=(0, 10), rounds=400, seed=seed)
        one = found.per_dimension["a"]
        for name, interval in [*one.intervals.items(), *one.bands[0].intervals.items()]:
            assert -100 < interval.low <= interval.high < 100, (name, seed)


def test_where_one_article_makes_up_the_error_the_interval_stays_sober() -> None:
    """On the log scale its ends could lie any number of powers apart."""
    error = np.concatenate([[3.0, 1.0], np.full(13, 1e-3)])
    for seed in range(20):
        found = Resamples(15, seed=seed).studentized({"mse": Ratio(error**2, np.ones(15), "log")})["mse"]
        assert 0 <= found.low <= (error**2).mean() <= found.high <= 9


def test_a_single_error_in_two_hundred_does_not_make_a_student_doubtful() -> None:
    labels = np.random.default_rng(1).integers(0, 11, (200, 1)).astype(float)
    found = measure(np.where(np.arange(200)[:, None] == 7, 5.0, labels), labels, ("a",), range(1), scale=(0, 10))
    assert found.mae is not None
    assert 0 <= found.intervals["mae"].low <= found.mae <= found.intervals["mae"].high < 0.5


@pytest.mark.parametrize(("freedom", "point"), [(5, 2.5706), (9, 2.2622), (30, 2.0423), (1000, 1.9623)])
def test_students_t(freedom: int, point: float) -> None:
    assert student_t(freedom) == pytest.approx(point, abs=5e-3)


def test_a_difference_of_two_parts_is_drawn_together() -> None:
    random = np.random.default_rng(8)
    inside = (np.arange(400) % 2).astype(float)
    errors = random.exponential(1, 400) + inside
    found = Resamples(400).studentized(
        {"worse": Ratio(errors * inside, inside, "plain", (errors * (1 - inside), 1 - inside))}
    )["worse"]
    assert 0.6 < found.low < 1 < found.high < 1.4
