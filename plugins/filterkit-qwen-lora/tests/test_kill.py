"""A training that was killed and started again makes the student of one that was not."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launching import difference, settings, student, train

DROPOUT = {"lora_dropout": 0.2}
TIMES = {"seconds", "examples_per_s"}


@pytest.fixture(scope="module")
def unbroken(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    assert train(settings(folder, checkpoint("qwen2"), DROPOUT)) == 0
    return folder


def measured(folder: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in student(folder)["history"]]


@pytest.mark.heavy
@pytest.mark.parametrize(
    "deaths",
    [
        pytest.param([["step", 2]], id="in an epoch"),
        pytest.param([["step", 4]], id="at the end of one"),
        pytest.param([["save", 1]], id="while the first checkpoint is written"),
        pytest.param([["save", 2], ["step", 3], ["save", 2]], id="again and again"),
        pytest.param([["save", 6]], id="while the last one is written"),
    ],
)
def test_killed_and_started_again(
    checkpoint: Callable[[str], Path], tmp_path: Path, unbroken: Path, deaths: list[list[Any]]
) -> None:
    told = settings(tmp_path, checkpoint("qwen2"), DROPOUT)
    for death in deaths:
        assert train({**told, "die": death}) == -signal.SIGKILL
    assert train(told) == 0
    assert difference(unbroken, tmp_path) == 0
    for row, same in zip(measured(unbroken), measured(tmp_path), strict=True):
        assert row == pytest.approx(same)
    left = list((tmp_path / "work" / "checkpoints").glob("checkpoint-*"))
    assert len(left) <= 2, "old and half-written checkpoints are removed"


@pytest.mark.heavy
def test_the_comparison_sees_lost_steps(checkpoint: Callable[[str], Path], tmp_path: Path, unbroken: Path) -> None:
    assert train(settings(tmp_path, checkpoint("qwen2"), {**DROPOUT, "epochs": 1})) == 0
    assert difference(unbroken, tmp_path) > 0
