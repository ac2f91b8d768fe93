"""What `diverse` takes: what tells most about the others, and neither copies nor outliers."""

from __future__ import annotations

import numpy as np
import pytest

from filterkit.pipeline.choose.cover import NOISE, cover
from filterkit.records import F32


def cloud(n: int, direction: int, spread: float, seed: int) -> F32:
    """n unit vectors of 16 numbers around one axis."""
    rows = np.random.default_rng(seed).normal(0, spread, (n, 16))
    rows[:, direction] += 1
    unit: F32 = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


NOTHING = np.zeros((0, 16), dtype=np.float32)


def mean_variance(pool: F32, rows: list[int]) -> float:
    """What a Gaussian process does not know about the pool after labels of these rows, the long way."""
    apart = ((pool[:, None].astype(np.float64) - pool[None]) ** 2).sum(axis=-1)
    kernel = np.exp(-apart / np.median(apart[np.triu_indices(len(pool), 1)]))
    to = kernel[:, rows]
    known = to @ np.linalg.inv(kernel[np.ix_(rows, rows)] + NOISE * np.eye(len(rows))) @ to.T
    return float(np.mean(np.diag(kernel - known)))


def test_every_step_is_the_best_one_step_there_is() -> None:
    pool = np.concatenate([cloud(30, 0, 0.2, 1), cloud(15, 5, 0.2, 2), cloud(5, 9, 0.2, 3)])
    order = np.random.default_rng(0).permutation(50)
    pool = pool[order]
    rows = cover(pool, NOTHING, 8)
    for step in range(8):
        best = min(mean_variance(pool, [*rows[:step], other]) for other in set(range(50)) - set(rows[:step]))
        assert mean_variance(pool, rows[: step + 1]) == pytest.approx(best, rel=2e-4)


def test_clouds_are_taken_by_their_size_and_what_is_labelled_already_counts() -> None:
    pool = np.concatenate([cloud(80, 0, 0.05, 1), cloud(80, 5, 0.05, 2)])
    from_first = sum(row < 80 for row in cover(pool, NOTHING, 20))
    assert 8 <= from_first <= 12
    known = cloud(20, 0, 0.05, 3)
    assert sum(row < 80 for row in cover(pool, known, 20)) <= 2
    few = sum(row < 80 for row in cover(pool, known[:1], 10, each=30.0))  # one that stands for thirty
    assert few <= 2


def test_an_outlier_is_not_taken_before_what_tells_about_many() -> None:
    pool = np.concatenate([cloud(95, 0, 0.1, 1), *(cloud(1, 3 + i, 0.0, i) for i in range(5))])
    assert max(cover(pool, NOTHING, 10)) < 95


def test_all_rows_are_taken_once_and_no_more_than_the_cap_of_a_host() -> None:
    pool = cloud(40, 0, 0.5, 1)
    assert sorted(cover(pool, NOTHING, 100)) == list(range(40))
    hosts = ["x"] * 30 + ["y"] * 5 + [""] * 5
    rows = cover(pool, NOTHING, 100, hosts, 3)
    assert len(rows) == len(set(rows)) == 3 + 3 + 5
    assert cover(pool[:0], NOTHING, 5) == []


@pytest.mark.parametrize("n", [1, 2, 7])
def test_copies_and_tiny_pools_do_not_break_it(n: int) -> None:
    same = np.repeat(cloud(1, 0, 0.0, 1), n, axis=0)
    assert sorted(cover(same, NOTHING, n)) == list(range(n))
