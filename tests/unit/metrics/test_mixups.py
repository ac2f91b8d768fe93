"""Columns in the wrong place are found; columns in their place are left alone."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from filterkit.metrics import measure

NAMES = ("a", "b", "c", "d")


def student(seed: int, n: int = 150, alike: float = 0.7, noise: float = 0.8) -> tuple[Any, Any]:
    """Predictions and labels [n, 4]; `alike` is the correlation of the dimensions."""
    random = np.random.default_rng(seed)
    latent = alike**0.5 * random.normal(size=(n, 1)) + (1 - alike) ** 0.5 * random.normal(size=(n, 4))
    labels = np.clip(np.round(4 + 2 * latent), 0, 10)
    return np.clip(labels + noise * random.normal(size=labels.shape), 0, 10), labels


def mixed(p: Any, t: Any) -> list[set[str]]:
    return [{m.dimension, m.other} for m in measure(p, t, NAMES, range(4), rounds=100).mixed_up]


def test_any_order_but_the_right_one_is_found() -> None:
    p, t = student(1)
    for order in permutations(range(4)):
        assert bool(mixed(p[:, order], t)) == (order != (0, 1, 2, 3)), order


def test_the_pair_is_named_with_what_exchanging_it_would_gain() -> None:
    p, t = student(2)
    swapped = p[:, [0, 3, 2, 1]]
    first = measure(swapped, t, NAMES, range(4)).mixed_up[0]
    assert {first.dimension, first.other} == {"b", "d"}
    gain = (np.abs(swapped - t) - np.abs(p - t))[:, [1, 3]].mean()
    assert first.gain == pytest.approx(gain)
    assert 3 < first.z < 100


@pytest.mark.parametrize("alike", [0.0, 0.7, 0.98])
def test_a_good_student_is_left_alone(alike: float) -> None:
    assert sum(bool(mixed(*student(seed, alike=alike))) for seed in range(20)) == 0


def test_equal_and_constant_columns_are_left_alone() -> None:
    p, t = student(3)
    t[:, 1], p[:, 1] = t[:, 0], p[:, 0]
    t[:, 2], p[:, 2] = 5, 5
    t[:, 3] = 0
    p[:, 3] = 0
    assert mixed(p, t) == []
    assert mixed(np.full_like(p, 3), t) == []


def test_flags_and_few_articles_are_not_asked() -> None:
    p, t = student(4)
    assert measure(p[:, [0, 1, 3, 2]], t, NAMES, (0, 1)).mixed_up == ()
    assert mixed(p[:9, ::-1], t[:9]) == []
