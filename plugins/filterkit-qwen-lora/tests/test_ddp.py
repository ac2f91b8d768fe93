"""Two processes, micro-batches, or one of all: the same student."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launching import difference, settings, student, train, train_together

NOISE = 1e-4
"""A tenth of one step: Adam makes as much of the noise in a gradient that is almost nothing."""

ALONE: dict[str, dict[str, Any]] = {
    "lora": {"options": {}},
    "unknown targets, a last batch of one row": {"options": {"batch_size": 4}, "unknown": 0.4},
    "full": {"options": {"method": "full", "targets": "plain", "loss": "mse"}},
    "rarity": {"options": {"rarity": 1.0}},
    "frozen": {"options": {"freeze": "encoder"}},
}
TOGETHER = {**ALONE, "rarity": {"options": {"rarity": 1.0, "micro_batch_tokens": 64, "checkpointing": True}}}


@pytest.mark.heavy
def test_two_processes_make_the_student_of_one(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for where, cases in ((one, ALONE), (two, TOGETHER)):
        where.mkdir()
        told = [settings(where / name, checkpoint("qwen2"), **case) for name, case in cases.items()]
        if where == two:
            train_together(told, 2, tmp_path)
        else:
            assert [train(each) for each in told] == [0] * len(told)
    for name in ALONE:
        assert difference(one / name, two / name) < NOISE, name
        alone, together = student(one / name), student(two / name)
        assert (alone["hyperparameters"]["processes"], together["hyperparameters"]["processes"]) == (1, 2)
        for row, same in zip(alone["history"], together["history"], strict=True):
            for measure in ("train_loss", "val_loss", "val_mae", "learning_rate"):
                assert row[measure] == pytest.approx(same[measure], abs=1e-4), (name, measure)
    assert difference(one / "lora", one / "rarity") > 10 * NOISE, "the comparison sees other weights of rows"
