"""Metrics against scikit-learn and scipy, evaluate(), and every gate seen to fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import FILTER, NAMES, write_filter
from scipy import stats
from sklearn import metrics as sk

import filterkit
from filterkit.errors import InputError
from filterkit.filters import load_filter
from filterkit.metrics import measure, ranks, spearman
from filterkit.pipeline.validate import Evaluation, evaluate
from filterkit.spec import Gates


def table(seed: int, n: int = 200, d: int = 3) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 11, (n, d)).astype(float)  # whole numbers: many ties
    return np.round(labels + random.normal(0, 2, (n, d)), 1), labels


def rates(evaluation: Evaluation) -> dict[str, bool]:
    return {gate.name: gate.passed for gate in evaluation.gates}


@pytest.mark.parametrize("seed", range(10))
def test_the_same_numbers_as_scikit_learn_and_scipy(seed: int) -> None:
    p, t = table(seed)
    found = measure(p, t, NAMES, (0, 1))
    for i, name in enumerate(NAMES):
        one = found.per_dimension[name]
        assert one.n == 200
        assert one.mae == pytest.approx(sk.mean_absolute_error(t[:, i], p[:, i]), abs=1e-9)
        assert one.rmse == pytest.approx(sk.root_mean_squared_error(t[:, i], p[:, i]), abs=1e-9)
        assert one.spearman == pytest.approx(stats.spearmanr(p[:, i], t[:, i]).statistic, abs=1e-9)
        assert one.median_mae == pytest.approx(
            sk.mean_absolute_error(t[:, i], np.full(200, np.median(t[:, i]))), abs=1e-9
        )
        assert one.bias == pytest.approx((p - t)[:, i].mean(), abs=1e-9)
    assert found.mae == pytest.approx(sk.mean_absolute_error(t[:, :2], p[:, :2]), abs=1e-9)
    assert (found.n, found.failed) == (200, 0)


def test_what_is_unknown_is_left_out() -> None:
    p, t = table(1)
    p[:7, 0], t[5:20, 0] = np.nan, np.nan
    found = measure(p, t, NAMES, (0, 1, 2))
    one = found.per_dimension["help"]
    assert one.n == 180
    assert one.mae == pytest.approx(sk.mean_absolute_error(t[20:, 0], p[20:, 0]), abs=1e-9)
    assert one.spearman == pytest.approx(stats.spearmanr(p[:, 0], t[:, 0], nan_policy="omit").statistic, abs=1e-9)
    assert found.failed == 7


@pytest.mark.parametrize("values", [[3.0], [1, 1, 1], [2, 1, 2, 3, 1, 2]])
def test_ranks_share_ties(values: list[float]) -> None:
    assert ranks(np.array(values)).tolist() == stats.rankdata(values).tolist()


def test_what_is_undefined_is_none_and_not_a_number() -> None:
    assert spearman(np.array([1.0]), np.array([2.0])) is None
    assert spearman(np.array([5.0, 5, 5]), np.array([1.0, 2, 3])) is None
    assert spearman(np.array([1.0, 2, 3]), np.array([5.0, 5, 5])) is None
    one = measure([[1.0]], [[3.0]], ["a"], [0]).per_dimension["a"]
    assert (one.mae, one.rmse, one.bias, one.spearman, one.median_mae) == (2, 2, -2, None, 0)
    nothing = measure([[np.nan]], [[3.0]], ["a"], [0])
    assert (nothing.mae, nothing.spearman, nothing.failed) == (None, None, 1)
    empty = measure(np.empty((0, 1)), np.empty((0, 1)), ["a"], [0])
    assert (empty.n, empty.mae) == (0, None)


@pytest.mark.parametrize(
    ("p", "t"),
    [
        ([[1.0, 2.0]], [[1.0]]),
        ([1.0, 2.0], [1.0, 2.0]),
        ([[1.0], [2.0]], [[1.0]]),
        ([["x"]], [[1.0]]),
        ([[1.0], [2.0, 3.0]], [[1.0], [2.0]]),
        ([[np.inf]], [[1.0]]),
        ([[1.0]], [[-np.inf]]),
    ],
)
def test_what_does_not_fit_is_one_clear_error(p: Any, t: Any) -> None:
    with pytest.raises(InputError):
        measure(p, t, ["a"], [0])


def test_a_filter_or_a_list_of_names(tmp_path: Path) -> None:
    p, t = table(2)
    tiny = load_filter(write_filter(tmp_path))
    by_filter, by_names = filterkit.evaluate(p, t, tiny), filterkit.evaluate(p, t, list(NAMES))
    assert by_filter.metrics.per_dimension == by_names.metrics.per_dimension
    assert by_filter.metrics.mae == pytest.approx(np.abs(p - t)[:, :2].mean()), "a flag counted"
    assert by_names.metrics.mae == pytest.approx(np.abs(p - t).mean())
    assert filterkit.evaluate(p, t, tiny.spec) == by_filter


def test_a_good_student_passes_every_gate() -> None:
    _, t = table(3)
    evaluation = evaluate(t + 0.3, t, NAMES)
    assert rates(evaluation) == {"all_scored": True, "mae": True, "median_gain": True}
    assert evaluation.passed


def test_a_constant_predictor_fails_however_small_its_error() -> None:
    """The lesson of a student with MAE 0.5 that could tell nothing apart."""
    t = np.full((200, 1), 1.0)
    t[:20] = 5.0
    evaluation = evaluate(np.full((200, 1), 1.0), t, ["a"], gates=Gates(median_gain=0.0))
    assert evaluation.metrics.mae == pytest.approx(0.4)
    assert rates(evaluation) == {"all_scored": True, "mae": True, "median_gain": False}
    assert not evaluation.passed


def test_one_article_without_a_score_fails() -> None:
    p, t = table(4)
    p = t.copy()
    p[0, 1] = np.nan
    assert rates(evaluate(p, t, NAMES)) == {"all_scored": False, "mae": True, "median_gain": True}


def test_the_limit_of_the_error_is_not_reached_but_undercut() -> None:
    t = np.tile([[0.0], [10.0]], (50, 1))
    assert rates(evaluate(t + 1.0, t, ["a"]))["mae"] is False
    assert rates(evaluate(t + 0.999, t, ["a"]))["mae"] is True


def test_the_gain_over_the_median_must_be_reached() -> None:
    t = np.tile([[0.0], [2.0]], (50, 1))
    worse, better = t + np.where(t, -0.951, 0.951), t + np.where(t, -0.949, 0.949)
    assert rates(evaluate(worse, t, ["a"]))["median_gain"] is False
    assert rates(evaluate(better, t, ["a"]))["median_gain"] is True


@pytest.mark.parametrize("p", [np.empty((0, 1)), np.full((3, 1), np.nan)])
def test_without_anything_measured_the_gates_fail(p: Any) -> None:
    evaluation = evaluate(p, np.ones_like(p), ["a"])
    assert rates(evaluation) == {"all_scored": False, "mae": False, "median_gain": False}


def test_labels_that_are_all_the_same_prove_nothing() -> None:
    evaluation = evaluate(np.full((50, 1), 3.0), np.full((50, 1), 3.0), ["a"])
    assert rates(evaluation)["median_gain"] is False


def test_gates_that_are_switched_off_are_not_asked(tmp_path: Path) -> None:
    text = FILTER.replace("prompt:", "gates: {mae: null, median_gain: null}\nprompt:")
    spec = load_filter(write_filter(tmp_path, text)).spec
    assert rates(evaluate(*table(5), spec)) == {"all_scored": True}
