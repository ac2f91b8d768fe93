"""Trainer `qwen-lora` keeps the contract of trainers, by each of its ways to train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from filterkit_qwen_lora.trainer import QwenLoraTrainer

from filterkit.testing import TrainerContract

QUICK: dict[str, Any] = {
    "epochs": 2,
    "lora_r": 4,
    "learning_rate": 3e-3,
    "precision": "fp32",
    "checkpoint_minutes": 0,
    # both given, so that nothing has to be found out about the memory
    "micro_batch_tokens": 10_000,
    "checkpointing": False,
}


class TestFineTuning(TrainerContract):
    rows: ClassVar[int] = 24

    @pytest.fixture
    def backend(self) -> type[QwenLoraTrainer]:
        return QwenLoraTrainer

    @pytest.fixture
    def options(self, checkpoint: Callable[[str], Path]) -> dict[str, Any]:
        return {"base_model": str(checkpoint("qwen2")), **QUICK}


class TestFrozenEncoder(TestFineTuning):
    @pytest.fixture
    def options(self, checkpoint: Callable[[str], Path]) -> dict[str, Any]:
        return {"base_model": str(checkpoint("bert")), **QUICK, "freeze": "encoder"}


@pytest.mark.heavy
class TestPlainScores(TestFineTuning):
    @pytest.fixture
    def options(self, checkpoint: Callable[[str], Path]) -> dict[str, Any]:
        full = {"targets": "plain", "loss": "huber", "method": "full", "rarity": 0.5}
        return {"base_model": str(checkpoint("qwen2")), **QUICK, **full}
