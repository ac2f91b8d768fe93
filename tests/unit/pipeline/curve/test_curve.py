"""Learning curves: what is held out is not learnt from, noise is told, intervals hold."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from filterkit.errors import InputError
from filterkit.pipeline.curve import FEWEST, Forecast, fit, means, measure, noise, plan
from filterkit.pipeline.curve.fit import Fit

BENCHMARKS = Path(__file__).parents[4] / "benchmarks"
QUICK = ("made: flat", "made: 0.9 + 4 n^-0.5", "made: straight in ln n", "made: late (logistic)")
UNFAIR = {"made: a knee at 250": 0.65}
"""What no curve can foretell, and how often the interval holds all the same."""
SLOW = ("ridge: wide (400)", "ridge: wider than labels (1000)", "ridge: a second, weak signal")
"""Left to the benchmark."""


@pytest.fixture(scope="module")
def benchmark() -> Any:
    """benchmarks/learning_curve.py, whose simulations these are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield _load("learning_curve")
    sys.modules.pop("curves", None)


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def shares(benchmark: Any, world: Any, n: int, sims: int) -> tuple[float, float, float, float]:
    """How often the MAE's interval held the truth at all sizes, and the gain's at twice the labels; the median width of
    the MAE's there as a share of it; and the true gain as a share of that."""
    truth = world.truth(benchmark.sizes_of(n))
    found = [benchmark.simulate(world, n, seed) for seed in range(sims)]
    mae, gain = np.array([o.mae for o in found]), np.array([o.gain for o in found])
    held = ((mae[..., 1] <= truth[1:]) & (truth[1:] <= mae[..., 2])).all(axis=1)
    true = truth[0] - truth[-1]
    width = float(np.median(mae[:, -1, 2] - mae[:, -1, 1]))
    gain_held = (gain[:, 1] <= true + 1e-9) & (true <= gain[:, 2] + 1e-9)
    return float(held.mean()), float(gain_held.mean()), width / truth[-1], true / truth[-1]


@pytest.mark.parametrize("name", QUICK)
def test_intervals_hold_and_are_of_use(benchmark: Any, name: str) -> None:
    world = next(w for w in (*benchmark.made_worlds(), *benchmark.ridge_worlds()) if w.name == name)
    held, gain_held, width, gain = shares(benchmark, world, 400, 25)
    assert held >= 0.84, f"{name}: {held:.0%} (with 90 % this is missed once in 100 times)"
    assert gain_held >= 0.84, name
    assert width < 0.3 + 1.3 * gain, name


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["made_worlds", "ridge_worlds"])
def test_intervals_hold_in_the_long_run(benchmark: Any, kind: str) -> None:
    for world in getattr(benchmark, kind)():
        if world.name in SLOW:
            continue
        held, gain_held, width, gain = shares(benchmark, world, 300, 100 if kind == "made_worlds" else 50)
        told = f"{world.name}: MAE {held:.0%}, gain {gain_held:.0%}, width {width:.0%}, true gain {gain:.0%}"
        assert held >= UNFAIR.get(world.name, 0.84), told
        assert width < 0.45 + 2.5 * gain, told


def labels(n: int, alike: int = 1) -> Any:
    groups = np.arange(n) // alike
    return np.random.default_rng(0).integers(0, 11, (n, 2)).astype(np.float32), groups


def test_near_duplicates_never_straddle_and_every_label_is_held_out_once() -> None:
    targets, groups = labels(240, alike=3)
    seen: list[Any] = []

    def learner(learnt: Any, held: Any, seed: int) -> Any:
        assert not set(groups[learnt]) & set(groups[held])
        assert len(set(learnt)) == len(learnt)
        seen.append((len(learnt), tuple(held)))
        return targets[held] + 1

    planned = plan(groups, 5)
    found = measure(targets, groups, learner, planned)
    assert planned.sizes[-1] == 192
    assert len(seen) == planned.trainings
    assert {size for size, _ in seen} == set(planned.sizes)
    assert sorted(np.concatenate(planned.held)) == list(range(240))
    assert means(found) == pytest.approx(1.0)


def test_each_size_has_other_articles_in_each_draw() -> None:
    targets, groups = labels(200)
    drawn: dict[int, set[tuple[int, ...]]] = {}

    def learner(learnt: Any, held: Any, seed: int) -> Any:
        drawn.setdefault(len(learnt), set()).add(tuple(learnt))
        return targets[held]

    planned = plan(groups, 5)
    measure(targets, groups, learner, planned)
    for size, copies in zip(planned.sizes, planned.copies, strict=True):
        assert len(drawn[size]) == 5 * copies


def test_unknown_scores_are_left_out_and_the_mae_is_the_mean_over_dimensions() -> None:
    targets, groups = labels(200)
    targets[::2, 1] = np.nan

    def learner(learnt: Any, held: Any, seed: int) -> Any:
        return np.nan_to_num(targets[held]) + np.array([1, 3], np.float32)

    assert means(measure(targets, groups, learner, plan(groups, 5))) == pytest.approx(2.0)


@pytest.mark.parametrize(("n", "alike"), [(FEWEST - 1, 1), (2 * FEWEST, 3)])
def test_too_few_texts_are_said(n: int, alike: int) -> None:
    with pytest.raises(InputError, match=f"needs {FEWEST} labelled texts that differ, and there are"):
        plan(labels(n, alike)[1], 5)


def power(n: Any) -> Any:
    return 0.8 + 5 * np.asarray(n, dtype=float) ** -0.5


def fitted(level: float = 1.0, spread: float = 0.01, at: tuple[float, ...] = (800.0,)) -> Fit:
    sizes = [50, 75, 110, 170, 260, 400]
    errors = level * power(sizes)
    return fit(sizes, errors, np.diag((spread * errors) ** 2), 400, at)


def test_a_clean_power_law_is_found_and_followed() -> None:
    found = fitted(spread=0.001, at=(500.0, 800.0))
    today, _, double = found.forecasts
    assert found.c == pytest.approx(0.5, abs=0.15)
    assert today.mae == pytest.approx(power(400), rel=0.01)
    assert double.mae == pytest.approx(power(800), rel=0.01)
    assert double.low < power(800) < double.high
    assert double.gain_low < power(400) - power(800) < double.gain_high
    assert today.gain == today.gain_low == today.gain_high == 0


def test_the_further_and_the_noisier_the_wider() -> None:
    def width(forecast: Forecast) -> float:
        return forecast.high - forecast.low

    _, near, far, furthest = fitted(at=(500.0, 800.0, 3200.0)).forecasts
    assert width(near) < width(far) < width(furthest)
    assert width(far) < width(fitted(spread=0.04).forecasts[1])


def test_the_unit_of_the_scores_does_not_matter() -> None:
    one, hundred = fitted().forecasts[1], fitted(level=100.0).forecasts[1]
    scaled = [value / 100 for value in dataclasses.astuple(hundred)[1:]]
    assert scaled == pytest.approx(list(dataclasses.astuple(one)[1:]), rel=1e-6)


def test_what_is_common_to_all_sizes_moves_the_mae_and_not_the_gain() -> None:
    sizes = [50, 75, 110, 170, 260, 400]
    errors = power(sizes)
    apart = np.diag((0.005 * errors) ** 2)
    together = apart + np.outer(errors, errors) * 0.05**2
    alone, moved = (fit(sizes, errors, noise, 400, [800]).forecasts[1] for noise in (apart, together))
    assert moved.high - moved.low > 1.6 * (alone.high - alone.low)
    assert moved.gain_high - moved.gain_low < 1.2 * (alone.gain_high - alone.gain_low)


def test_noise_is_what_repeated_measuring_shows(benchmark: Any) -> None:
    """The standard deviation that one measurement foretells is that over many."""
    world = benchmark.made_worlds()[2]
    found = []
    for seed in range(40):
        targets, groups, learner = world.draw(np.random.default_rng(seed), 200)
        found.append(measure(targets, groups, learner, plan(groups, 5, seed), seed=seed))
    real = np.std([means(one) for one in found], axis=0)
    told = np.sqrt(np.mean([np.diag(noise(one)) for one in found], axis=0))
    assert told / real == pytest.approx(np.ones(len(real)), rel=0.35)
