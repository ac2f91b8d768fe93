"""The calibrator: chosen by cross-validation, monotone, plain data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.isotonic import IsotonicRegression

import filterkit
from filterkit.calibrator import Calibrator, DimensionMap
from filterkit.errors import InputError
from filterkit.pipeline.calibrate import _isotonic, fit_calibrator


def scores(seed: int, n: int = 200, d: int = 1) -> Any:
    return np.random.default_rng(seed).uniform(0, 10, (n, d))


def mae(a: Any, b: Any) -> float:
    return float(np.abs(a - b).mean())


def test_unbiased_predictions_are_mostly_left_alone() -> None:
    none = 0
    for seed in range(60):
        p = scores(seed)
        made = fit_calibrator(p, p + np.random.default_rng(1000 + seed).normal(0, 1, p.shape))
        none += made.maps[0].method == "none"
    assert none >= 50


@pytest.mark.parametrize(
    ("bend", "name"),
    [(lambda t: t - 1.5, "shift"), (lambda t: 4 + 0.4 * t, "compression"), (lambda t: 10 * (t / 10) ** 3, "curve")],
)
def test_a_bias_is_taken_back(bend: Any, name: str) -> None:
    truth = scores(1, 400)
    noise = np.random.default_rng(2).normal(0, 0.3, truth.shape)
    made = fit_calibrator(bend(truth) + noise * 0.4, truth)
    assert made.maps[0].method != "none", name
    assert made.gain[0] > 0.3
    fresh = scores(3, 400)
    assert mae(made.apply(bend(fresh).astype(np.float32)), fresh) < 0.35 * mae(bend(fresh), fresh)


def test_a_shift_holds_for_scores_that_were_not_among_the_few() -> None:
    """Most articles score low, so the validation split may hold none of the high ones; they must not be cut down."""
    low = scores(4, 60) / 10
    made = fit_calibrator(low - 0.5, low)
    assert made.maps[0].method == "shift"
    assert made.apply(np.array([[8.0], [-3.0]], dtype=np.float32))[:, 0].tolist() == pytest.approx(
        [8.5, -2.5], abs=0.05
    )


def test_it_is_monotone_whatever_it_learnt() -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        made = fit_calibrator(random.uniform(0, 10, (60, 2)), random.uniform(0, 10, (60, 2)))
        grid = np.repeat(np.linspace(-5, 15, 500, dtype=np.float32)[:, None], 2, axis=1)
        assert (np.diff(made.apply(grid), axis=0) >= 0).all()


def test_the_isotonic_map_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    p = np.sort(random.uniform(0, 10, 45))
    t = p + random.normal(0, 2, 45)
    expected = IsotonicRegression(out_of_bounds="clip").fit(p, t)
    found = _isotonic(p, t)
    grid = np.linspace(-1, 11, 100)
    assert np.interp(grid, found.x, found.y) == pytest.approx(expected.predict(grid), abs=1e-9)
    assert len(_isotonic(*np.random.default_rng(1).uniform(0, 10, (2, 5000))).x) <= 50


@pytest.mark.parametrize("n", [0, 1, 5, 19])
def test_few_points_prove_nothing(n: int) -> None:
    truth = scores(0, n)
    assert fit_calibrator(truth - 3, truth).maps[0].method == "none"


def test_constant_predictions_are_left_alone() -> None:
    assert fit_calibrator(np.full((50, 1), 2.0), scores(0, 50)).maps[0].method == "none"


def test_rows_without_prediction_or_label_do_not_count() -> None:
    truth = scores(5, 300, 2)
    p = truth - 2
    known = fit_calibrator(p[:100], truth[:100])
    p[100:200, 0], truth[200:, 0] = np.nan, np.nan
    p[100:200, 1], truth[200:, 1] = np.nan, np.nan
    assert fit_calibrator(p, truth) == known
    applied = known.apply(np.array([[np.nan, 1.0]], dtype=np.float32))
    assert np.isnan(applied[0, 0])
    assert applied[0, 1] == pytest.approx(3.0, abs=0.1)


def test_json_and_back() -> None:
    truth = scores(6, 200, 3)
    made = filterkit.fit_calibrator(np.column_stack([truth[:, 0], truth[:, 1] - 1, truth[:, 2] ** 2 / 10]), truth)
    assert len({m.method for m in made.maps}) >= 2
    again = Calibrator.model_validate_json(made.model_dump_json())
    assert again == made
    grid = np.repeat(np.linspace(0, 10, 99, dtype=np.float32)[:, None], 3, axis=1)
    assert (again.apply(grid) == made.apply(grid)).all()


def test_it_does_not_change_what_it_is_given() -> None:
    p = np.ones((3, 1), dtype=np.float32)
    Calibrator(maps=(DimensionMap(method="shift", x=(0, 10), y=(1, 11)),)).apply(p)
    assert (p == 1).all()


@pytest.mark.parametrize(("p", "t"), [([[1.0]], [[1.0, 2.0]]), ([1.0], [1.0]), ([["x"]], [[1.0]])])
def test_shapes_that_do_not_fit(p: Any, t: Any) -> None:
    with pytest.raises(InputError):
        fit_calibrator(p, t)
    with pytest.raises(InputError, match="2 dimensions"):
        Calibrator(maps=(DimensionMap(), DimensionMap())).apply(np.ones((1, 3), dtype=np.float32))


@pytest.mark.parametrize(
    "points",
    [
        {"method": "isotonic", "x": [0, 1], "y": [1, 0]},
        {"method": "isotonic", "x": [0, 0], "y": [0, 1]},
        {"method": "isotonic", "x": [0, 1], "y": [0]},
        {"method": "none", "x": [0], "y": [0]},
        {"method": "shift"},
        {"method": "shift", "x": [0, float("nan")], "y": [0, 1]},
    ],
)
def test_a_map_that_is_none_is_refused(points: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DimensionMap.model_validate(points)
