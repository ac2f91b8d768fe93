"""Trainer and model `lite` and embedder `static` keep the contracts of their kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from filterkit_lite.embedder import StaticEmbedder
from filterkit_lite.model import LiteModel
from filterkit_lite.trainer import LiteTrainer

from filterkit.api import TrainJob
from filterkit.testing import EmbedderContract, ModelContract, TrainerContract
from filterkit.testing.samples import fake_context, make_split, sample_articles, tiny_spec


def trained(folder: Path, options: dict[str, Any], n: int = 40) -> Path:
    spec = tiny_spec()
    out = folder / "out"
    out.mkdir()
    context = fake_context(folder)
    train = make_split(spec, folder / "train.jsonl", sample_articles(n))
    val = make_split(spec, folder / "val.jsonl", sample_articles(n + 5)[n:])
    chosen = LiteTrainer.Options.model_validate({"search": False, **options})
    LiteTrainer(chosen, spec, context).train(TrainJob(train, val, out, 0, "run"))
    return out


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("student"), {})


@pytest.fixture(scope="module")
def student_without_embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("student"), {"embedding": "none"})


class TestLiteTrainer(TrainerContract):
    @pytest.fixture
    def backend(self) -> type[LiteTrainer]:
        return LiteTrainer

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"search": False}


class TestLiteTrainerSearching(TestLiteTrainer):
    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {}


class TestLiteModel(ModelContract):
    @pytest.fixture
    def backend(self) -> type[LiteModel]:
        return LiteModel

    @pytest.fixture
    def artifact(self, student: Path) -> Path:
        return student


class TestLiteModelWithoutEmbedding(TestLiteModel):
    @pytest.fixture
    def artifact(self, student_without_embedding: Path) -> Path:
        return student_without_embedding


class TestStaticEmbedder(EmbedderContract):
    @pytest.fixture
    def backend(self) -> type[StaticEmbedder]:
        return StaticEmbedder
