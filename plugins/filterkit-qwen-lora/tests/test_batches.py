"""Global batches and their parts."""

from __future__ import annotations

import numpy as np
import pytest
from filterkit_qwen_lora.batches import GlobalBatches, cut, share

LENGTHS = [int(n) for n in np.random.default_rng(0).integers(5, 512, 203)]


def batches(seed: int = 0, epoch: int = 0, size: int = 8) -> list[list[int]]:
    found = GlobalBatches(LENGTHS, size, seed)
    found.epoch = epoch
    return list(found)


def test_every_row_comes_once_an_epoch() -> None:
    found = batches()
    assert sorted(row for batch in found for row in batch) == list(range(203))
    assert len(found) == len(GlobalBatches(LENGTHS, 8, 0)) == 26
    assert sorted(len(batch) for batch in found) == [3] + [8] * 25


def test_order_follows_from_seed_and_epoch_alone() -> None:
    assert batches(1, 2) == batches(1, 2)
    assert batches(1, 2) != batches(1, 3)
    assert batches(1, 2) != batches(2, 2)


def padding(parts: list[list[int]]) -> float:
    tokens = sum(LENGTHS[row] for part in parts for row in part)
    return sum(max(LENGTHS[row] for row in part) * len(part) for part in parts) / tokens - 1


def test_batches_are_of_like_length_and_yet_random() -> None:
    assert padding(batches()) < 0.15
    assert padding([list(range(i, min(i + 8, 203))) for i in range(0, 203, 8)]) > 0.5
    longest = [max(LENGTHS[row] for row in batch) for batch in batches()]
    assert longest != sorted(longest, reverse=True)


@pytest.mark.parametrize("world", [1, 2, 3, 5, 11])
def test_processes_share_a_batch_and_its_tokens(world: int) -> None:
    rows = batches()[0]
    parts = [share(rows, LENGTHS, rank, world) for rank in range(world)]
    assert sorted(row for part in parts for row in part) == sorted(rows)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("budget", [1, 300, 1000, 10**6])
def test_micro_batches_keep_the_budget_and_lose_nothing(budget: int) -> None:
    rows = batches(size=32)[0]
    parts = cut(rows, LENGTHS, budget)
    assert sorted(row for part in parts for row in part) == sorted(rows)
    for part in parts:
        assert len(part) == 1 or len(part) * max(LENGTHS[row] for row in part) <= budget


def test_without_a_budget_all_goes_at_once() -> None:
    assert len(cut(batches()[0], LENGTHS, None)) == 1
    assert cut([], LENGTHS, None) == cut([], LENGTHS, 100) == []
