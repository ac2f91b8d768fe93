"""What calibration is worth, simulated: it does no harm where nothing can be gained, and finds what can be.

benchmarks/calibration.py prints the same as a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from filterkit.calibrator import Calibrator
from filterkit.pipeline.calibrate import fit_calibrator

FRESH = 20_000
Draw = Callable[[np.random.Generator, int, int], tuple[Any, Any]]


def scores(random: np.random.Generator, n: int, d: int) -> Any:
    """Normal, cut at the ends of the scale; dimensions correlate by a half."""
    shared, own = random.normal(size=(n, 1)), random.normal(size=(n, d))
    return np.clip(4 + 2 * (own if d == 1 else np.sqrt(0.5) * (shared + own)), 0, 10)


def unbiased(random: np.random.Generator, n: int, d: int) -> tuple[Any, Any]:
    p = scores(random, n, d)
    return p, p + random.normal(size=p.shape)


def compressed(random: np.random.Generator, n: int, d: int) -> tuple[Any, Any]:
    t = scores(random, n, d)
    return 4 + 0.6 * (t - 4) + 0.5 * random.normal(size=t.shape), t


def shifted(random: np.random.Generator, n: int, d: int) -> tuple[Any, Any]:
    p, t = unbiased(random, n, d)
    return p - 0.8, t


def heteroscedastic(random: np.random.Generator, n: int, d: int) -> tuple[Any, Any]:
    p = scores(random, n, d)
    return p, p + random.normal(size=p.shape) * (0.2 + 0.25 * p)


def floor_heavy(random: np.random.Generator, n: int, d: int) -> tuple[Any, Any]:
    """85 % of the labels are 0."""
    rank = np.vectorize(NormalDist().cdf)(random.normal(size=(n, d)))
    t = np.where(rank < 0.85, 0.0, 1 + 9 * (np.maximum(rank - 0.85, 0) / 0.15) ** 1.5)
    return np.clip(0.7 * t + np.abs(random.normal(size=t.shape)), 0, 10), t


SHAPES: list[Draw] = [unbiased, compressed, shifted, heteroscedastic, floor_heavy]


def fits(shape: Draw, n: int, d: int, count: int) -> Iterator[tuple[Any, Any, Calibrator]]:
    for seed in range(count):
        p, t = shape(np.random.default_rng([n, d, seed]), n, d)
        yield p, t, fit_calibrator(p, t, seed=seed)


def mae(a: Any, b: Any) -> float:
    return float(np.abs(a - b).mean())


def check(shape: Draw, n: int, d: int, count: int, fresh: int) -> None:
    """No harm in the mean; at 500 pairs most of what can be gained; intervals that hold nine in ten."""
    p, t = shape(np.random.default_rng(0), fresh, d)
    none, ours, inside = mae(p, t), [], []
    for _, _, made in fits(shape, n, d, count):
        ours.append(mae(made.apply(p.astype(np.float32)), t))
        ends = made.interval(p.astype(np.float32))
        inside.append(((ends[..., 0] <= t) & (t <= ends[..., 1])).mean())
    found = f"{shape.__name__}, n {n}, d {d}: {none:.4f} to {np.mean(ours):.4f}, {np.mean(inside):.3f} inside"
    assert np.mean(ours) - none < (0.002 if n >= 200 else 0.02), found
    if n >= 100:
        assert 0.88 <= np.mean(inside) <= 0.92, found
    if n >= 500 and shape in (compressed, shifted):
        line = np.polyfit(p[:, 0], t[:, 0], 1)
        best = mae(np.polyval(line, p[:, 0]), t[:, 0])
        first = mae(p[:, 0], t[:, 0])
        gained = first - np.mean(
            [mae(m.apply(p.astype(np.float32))[:, 0], t[:, 0]) for _, _, m in fits(shape, n, d, 5)]
        )
        assert gained > 0.8 * (first - best), found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [20, 200, 500])
def test_no_harm_and_most_of_the_gain(shape: Draw, n: int) -> None:
    check(shape, n, 1, 25, 4000)


@pytest.mark.heavy
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("n", "d", "count"), [(20, 1, 200), (200, 1, 100), (500, 1, 40), (200, 8, 6), (100, 1, 100)])
def test_no_harm_and_most_of_the_gain_in_the_long_run(shape: Draw, n: int, d: int, count: int) -> None:
    check(shape, n, d, count, FRESH)


@pytest.mark.parametrize("n", [200, 500])
def test_most_labels_at_the_floor_ask_for_medians(n: int) -> None:
    p, t = floor_heavy(np.random.default_rng(0), 4000, 1)
    ours, plain = [], []
    for seen, labels, made in fits(floor_heavy, n, 1, 20):
        ours.append(mae(made.apply(p.astype(np.float32)), t))
        isotonic = IsotonicRegression(out_of_bounds="clip").fit(seen[:, 0], labels[:, 0])
        plain.append(mae(isotonic.predict(p[:, 0]), t[:, 0]))
    assert np.mean(ours) < 0.95 * np.mean(plain)
