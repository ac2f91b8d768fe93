"""The calibrator: chosen by cross-validation, monotone, plain data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.optimize import linprog
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import QuantileRegressor

import filterkit
from filterkit.calibrator import Calibrator, DimensionMap
from filterkit.errors import InputError
from filterkit.pipeline.calibrate import fit_calibrator
from filterkit.pipeline.calibrate_maps import fit_isotonic, fit_l1_isotonic, fit_shift_scale


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
    """In a dimension's own score, the others being what they are."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        made = fit_calibrator(random.uniform(0, 10, (60, 2)), random.uniform(0, 10, (60, 2)))
        for own in range(2):
            grid = np.full((500, 2), 5.0, dtype=np.float32)
            grid[:, own] = np.linspace(-5, 15, 500)
            assert (np.diff(made.apply(grid)[:, own]) >= -1e-6).all()


def test_what_the_other_dimensions_know_is_used() -> None:
    """The first label is what the first two predictions say together; an l1_map finds it, within what was seen."""
    random = np.random.default_rng(0)
    p = random.uniform(0, 10, (500, 3))
    labels = np.column_stack([0.5 * p[:, 0] + 0.5 * p[:, 1] + random.laplace(0, 0.3, 500), p[:, 1], p[:, 2]])
    made = fit_calibrator(p, labels)
    assert [m.method for m in made.maps] == ["l1_map", "none", "none"]
    fresh = random.uniform(0, 10, (2000, 3)).astype(np.float32)
    assert mae(made.apply(fresh)[:, 0], fresh[:, :2].mean(axis=1)) < 0.1
    missing = made.apply(np.array([[8, np.nan, 1], [np.nan, 8, 1]], dtype=np.float32))
    assert missing[0, 0] == pytest.approx(0.5 * 8 + 0.5 * np.median(p[:, 1]), abs=0.2), "the usual score stands in"
    assert np.isnan(missing[1, 0])
    wild = np.array([[-3e38, 3e38, 0], [3e38, -3e38, 0]], dtype=np.float32)
    assert np.isfinite(made.apply(wild)).all()


def test_most_labels_at_the_floor() -> None:
    """A mean is pulled up by the few labels that are high; the median stays at the floor."""
    random = np.random.default_rng(1)
    labels = np.where(random.random((600, 1)) < 0.85, 0.0, random.uniform(1, 10, (600, 1)))
    smeared = 0.7 * labels + np.abs(random.normal(0, 1, labels.shape))
    made = fit_calibrator(smeared[:300], labels[:300])
    assert made.maps[0].method == "l1_isotonic"
    mean = IsotonicRegression(out_of_bounds="clip").fit(smeared[:300, 0], labels[:300, 0])
    ours = mae(made.apply(smeared[300:].astype(np.float32)), labels[300:])
    assert ours < mae(mean.predict(smeared[300:, 0]), labels[300:, 0])
    assert made.apply(np.array([[0.5]], dtype=np.float32))[0, 0] == 0


def test_the_isotonic_map_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    p = np.sort(random.uniform(0, 10, 45))
    t = p + random.normal(0, 2, 45)
    expected = IsotonicRegression(out_of_bounds="clip").fit(p, t)
    found = fit_isotonic(p, t)
    grid = np.linspace(-1, 11, 100)
    assert np.interp(grid, found.x, found.y) == pytest.approx(expected.predict(grid), abs=1e-9)
    curve = np.linspace(0, 10, 5000)
    bent = fit_isotonic(curve, curve**3 / 100)
    assert len(bent.x) <= 50
    assert np.interp(curve, bent.x, bent.y) == pytest.approx(curve**3 / 100, abs=0.01), "the 50 that tell most"
    assert len(fit_isotonic(*np.random.default_rng(1).uniform(0, 10, (2, 5000))).x) <= 50


def test_the_monotone_median_is_the_best_there_is() -> None:
    """Against linear programming, on labels with ties and few values, where medians are not unique."""
    for seed in range(40):
        random = np.random.default_rng(seed)
        n = int(random.integers(2, 14))
        p, t = random.integers(0, 8, n).astype(float), random.integers(0, 6, n).astype(float)
        found = fit_l1_isotonic(p, t)
        assert float(np.abs(np.interp(p, found.x, found.y) - t).sum()) == pytest.approx(_least(p, t), abs=1e-9)


def _least(p: Any, t: Any) -> float:
    """The least absolute error of any monotone function of p, by linear programming."""
    level, n = np.unique(p, return_inverse=True)[1], len(p)
    k = level.max() + 1
    value = np.eye(k)[level]
    error = np.eye(n)
    rises = np.eye(k)[:-1] - np.eye(k)[1:]
    bounds = np.vstack(
        [np.hstack([value, -error]), np.hstack([-value, -error]), np.hstack([rises, np.zeros((k - 1, n))])]
    )
    limits = np.concatenate([t, -t, np.zeros(k - 1)])
    found = linprog(
        np.concatenate([np.zeros(k), np.ones(n)]), bounds, limits, bounds=[(None, None)] * k + [(0, None)] * n
    )
    return float(found.fun)


def test_the_line_is_that_of_least_absolute_errors() -> None:
    random = np.random.default_rng(2)
    p = random.uniform(0, 10, 300)
    t = 1 + 0.7 * p + random.standard_t(2, 300)
    best = QuantileRegressor(quantile=0.5, alpha=0, solver="highs").fit(p[:, None], t).predict(p[:, None])
    line = fit_shift_scale(p, t)
    assert mae(np.interp(p, line.x, line.y), t) <= mae(best, t) * 1.001


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
        {"method": "l1_map"},
        {"method": "l1_map", "weights": [1.0], "centres": [1.0, 2.0], "low": [0.0], "high": [1.0]},
        {"method": "l1_map", "weights": [1.0], "centres": [1.0], "low": [2.0], "high": [1.0]},
        {"method": "none", "weights": [1.0], "centres": [1.0], "low": [0.0], "high": [1.0]},
    ],
)
def test_a_map_that_is_none_is_refused(points: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DimensionMap.model_validate(points)
