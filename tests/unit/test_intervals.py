"""Prediction intervals: they hold what they promise on labels that nobody has seen, or are not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from filterkit.calibrator import Calibrator, DimensionMap, Spread
from filterkit.errors import InputError
from filterkit.pipeline.calibrate import fit, fit_calibrator, fit_overall


def pairs(seed: int, n: int, d: int = 1) -> tuple[Any, Any]:
    """Predictions that are 1 too low, with errors that grow with the score."""
    random = np.random.default_rng(seed)
    p = random.uniform(0, 9, (n, d))
    return p, p + 1 + random.normal(size=p.shape) * (0.1 + 0.2 * p)


def inside(ends: Any, labels: Any) -> Any:
    return (ends[..., 0] <= labels) & (labels <= ends[..., 1])


def test_they_hold_nine_in_ten_and_are_narrow_where_errors_are_small() -> None:
    made = fit_calibrator(*pairs(0, 500))
    p, t = pairs(1, 20_000)
    ends = made.interval(p.astype(np.float32))
    assert ends.shape == (20_000, 1, 2)
    assert ends.dtype == np.float32
    assert 0.87 < inside(ends, t).mean() < 0.93
    width = (ends[..., 1] - ends[..., 0])[:, 0]
    assert width[p[:, 0] > 8].mean() > 2.5 * width[p[:, 0] < 1].mean()
    for part in (p < 3, (p >= 3) & (p < 6), p >= 6):
        assert 0.82 < inside(ends, t)[part].mean() < 0.97


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_another_coverage(coverage: float) -> None:
    p, t = pairs(3, 20_000)
    held = [
        inside(fit_calibrator(*pairs(s, 300), coverage=coverage).interval(p.astype(np.float32)), t).mean()
        for s in range(5)
    ]
    assert np.mean(held) == pytest.approx(coverage, abs=0.03)


@pytest.mark.parametrize("n", [0, 1, 8])
def test_too_few_pairs_are_said(n: int) -> None:
    made = fit_calibrator(*pairs(0, n, 2))
    assert made.spreads == (None, None)
    assert made.reasons[0] is not None
    assert made.reasons[0].startswith(f"{n} pair")
    assert "90% needs 9" in made.reasons[0]
    assert np.isnan(made.interval(np.ones((3, 2), dtype=np.float32))).all()
    overall = fit_overall(*pairs(0, n, 2), [0.5, 0.5])
    assert overall.spread is None
    assert overall.reason is not None


def test_nine_pairs_give_the_greatest_of_their_errors() -> None:
    p = np.arange(9.0)[:, None]
    made = fit_calibrator(p, p + np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])[:, None])
    assert made.maps[0].method == "none", "too few to calibrate"
    [[low, high]] = made.interval(np.array([[4.0]], dtype=np.float32))[0]
    assert high - low >= 1.8


def test_one_dimension_with_few_labels_does_not_touch_the_others() -> None:
    p, t = pairs(0, 200, 2)
    alone = fit_calibrator(p[:, :1], t[:, :1])
    t[5:, 1] = np.nan
    made = fit(p, t)
    assert made.calibrator.spreads[0] is not None
    assert made.calibrator.maps[0] == alone.maps[0]
    assert made.calibrator.spreads[1] is None
    assert made.overall([1.0, 0.0]).spread is not None, "a flag weighs nothing"
    assert made.overall([0.5, 0.5]).reason is not None
    ends = made.calibrator.interval(p.astype(np.float32))
    assert np.isfinite(ends[:, 0]).all()
    assert np.isnan(ends[:, 1]).all()


def test_errors_that_are_none_need_no_width() -> None:
    """70 % of the labels are exactly the floor, and so are their calibrated scores."""
    random = np.random.default_rng(0)

    def draw(n: int) -> tuple[Any, Any]:
        t = np.where(random.random((n, 1)) < 0.7, 0.0, random.uniform(3, 10, (n, 1)))
        return np.abs(0.8 * t + random.normal(0, 0.7, t.shape)), t

    made = fit_calibrator(*draw(600))
    p, t = draw(20_000)
    ends = made.interval(p.astype(np.float32))
    assert 0.87 < inside(ends, t).mean() < 0.93
    floor = made.apply(p.astype(np.float32))[:, 0] == 0
    assert floor.mean() > 0.6
    assert (ends[floor, 0, 1] - ends[floor, 0, 0]).max() < 1e-6


def test_a_floor_that_keeps_the_promise_alone_leaves_the_others_theirs() -> None:
    """97 % of the labels are the floor: intervals of no width would hold nine in ten, and be of no use above it."""
    random = np.random.default_rng(0)

    def draw(n: int) -> tuple[Any, Any]:
        t = np.where(random.random((n, 1)) < 0.97, 0.0, random.uniform(4, 10, (n, 1)))
        return np.abs(0.8 * t + random.normal(0, 0.5, t.shape)), t

    made = fit_calibrator(*draw(3000))
    p, t = draw(20_000)
    ends = made.interval(p.astype(np.float32))
    assert inside(ends, t)[t > 0].mean() > 0.75


def test_the_overall_has_its_own() -> None:
    weights = [0.7, 0.3]
    p, t = pairs(0, 500, 2)
    fitted = fit(p, t)
    overall = fitted.overall(weights)
    assert overall == fit_overall(p, t, weights)
    assert overall.weights == (0.7, 0.3)
    assert overall.spread is not None
    p, t = pairs(1, 20_000, 2)
    w = np.array(weights)
    ends = overall.spread.around((fitted.calibrator.apply(p.astype(np.float32)) @ w).astype(np.float32))
    assert 0.87 < inside(ends, t @ w).mean() < 0.93


def test_what_is_clipped_afterwards_is_fitted_as_clipped() -> None:
    """Scores below the scale are its floor to whoever uses them: there is no error left."""
    t = np.zeros((19, 1))
    clipped, free = (fit(t - 3, t, scale=scale).overall([1.0]).spread for scale in ((0.0, 10.0), None))
    assert clipped is not None
    assert free is not None
    assert clipped.y == (0.0,)
    assert free.y == (3.0,)


def test_the_same_seed_gives_the_same_and_another_nearly() -> None:
    p, t = pairs(0, 300)
    assert fit_calibrator(p, t, seed=1) == fit_calibrator(p, t, seed=1)
    one, other = (fit_calibrator(p, t, seed=s).spreads[0] for s in (1, 2))
    assert one is not None
    assert other is not None
    assert one.y == pytest.approx(other.y, rel=0.3)


@pytest.mark.parametrize("coverage", [0.0, 1.0, -1.0, float("nan")])
def test_a_coverage_that_is_none(coverage: float) -> None:
    with pytest.raises(InputError, match="coverage"):
        fit_calibrator(*pairs(0, 20), coverage=coverage)


@pytest.mark.parametrize("points", [{"x": [], "y": []}, {"x": [1, 1], "y": [1, 1]}, {"x": [0], "y": [-1]}])
def test_a_spread_that_is_none_is_refused(points: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Spread.model_validate(points)


def test_one_spread_per_dimension() -> None:
    with pytest.raises(ValidationError, match="one spread"):
        Calibrator(maps=(DimensionMap(), DimensionMap()), spreads=(None,))
