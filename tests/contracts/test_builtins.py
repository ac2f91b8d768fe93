"""Every built-in, and every toy that the suites ship with, keeps its contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filterkit.builtin.executor import LocalExecutor
from filterkit.builtin.local import LocalDeployer
from filterkit.builtin.overall import OverallPostfilter
from filterkit.builtin.replay import ReplayOracle
from filterkit.contracts import Context
from filterkit.records import Article, Deployment
from filterkit.spec import FilterSpec
from filterkit.testing import (
    BatchContract,
    DeployerContract,
    EmbedderContract,
    ExecutorContract,
    ModelContract,
    OracleContract,
    PostfilterContract,
    PrefilterContract,
    TrainerContract,
    make_student,
    sample_label,
    tiny_spec,
    write_labelled,
)
from filterkit.testing.toys import (
    ToyBatchOracle,
    ToyEmbedder,
    ToyModel,
    ToyOracle,
    ToyPrefilter,
    ToyTrainer,
    register_toys,
)


class TestReplay(OracleContract):
    @pytest.fixture(params=["none", "short"])
    def spec(self, request: pytest.FixtureRequest) -> FilterSpec:
        return tiny_spec(evidence=request.param)

    @pytest.fixture
    def backend(self) -> type[ReplayOracle]:
        return ReplayOracle

    @pytest.fixture
    def options(self, tmp_path: Path, spec: FilterSpec, articles: list[Article]) -> dict[str, Any]:
        rows = [(article, sample_label(article, spec)) for article in articles]
        return {"labels": [str(write_labelled(tmp_path / "recorded.jsonl", rows))]}


class TestToyOracle(OracleContract):
    @pytest.fixture
    def backend(self) -> type[ToyOracle]:
        return ToyOracle


class TestToyBatchOracle(BatchContract, OracleContract):
    @pytest.fixture
    def backend(self) -> type[ToyBatchOracle]:
        return ToyBatchOracle


class TestLocalDeployer(DeployerContract):
    @pytest.fixture
    def backend(self) -> type[LocalDeployer]:
        return LocalDeployer

    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, Any]:
        return {"path": str(tmp_path / "deployments")}

    @pytest.fixture
    def damage(self) -> Callable[[Deployment, str], None]:
        def flip(deployment: Deployment, name: str) -> None:
            path = Path(deployment.target) / "versions" / deployment.id / "student" / name
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)

        return flip


class TestLocalExecutor(ExecutorContract):
    @pytest.fixture
    def backend(self) -> type[LocalExecutor]:
        return LocalExecutor


class TestOverall(PostfilterContract):
    @pytest.fixture
    def backend(self) -> type[OverallPostfilter]:
        return OverallPostfilter

    @pytest.fixture(params=[{}, {"pass_at": 4}], ids=["all", "from-4"])
    def options(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return dict(request.param)


class TestToyTrainer(TrainerContract):
    @pytest.fixture
    def backend(self) -> type[ToyTrainer]:
        register_toys()
        return ToyTrainer


class TestToyModel(ModelContract):
    @pytest.fixture
    def backend(self) -> type[ToyModel]:
        return ToyModel

    @pytest.fixture
    def artifact(self, tmp_path: Path, spec: FilterSpec, context: Context) -> Path:
        make_student(tmp_path / "student", spec, context)
        return tmp_path / "student"


class TestToyEmbedder(EmbedderContract):
    @pytest.fixture
    def backend(self) -> type[ToyEmbedder]:
        return ToyEmbedder


class TestToyPrefilter(PrefilterContract):
    @pytest.fixture
    def backend(self) -> type[ToyPrefilter]:
        return ToyPrefilter
