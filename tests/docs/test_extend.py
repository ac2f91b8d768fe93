"""The examples of docs/extend keep the contracts that they explain."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import DOCS, import_page

from filterkit.api import Article, Context, Model, TrainJob, Veto
from filterkit.plugins import Plugins
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
    fake_context,
    make_split,
    sample_articles,
    tiny_spec,
)

EXTEND = DOCS / "extend"


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], types.ModuleType]:
    """The code of a page, as a module."""
    folder = tmp_path_factory.mktemp("pages")
    return lambda name: import_page(EXTEND / f"{name}.md", folder)


class TestOracle(OracleContract):
    @pytest.fixture
    def backend(self, page: Callable[[str], Any]) -> Any:
        return page("oracle").WordOracle


class TestBatch(BatchContract):
    @pytest.fixture
    def backend(self, page: Callable[[str], Any]) -> Any:
        return page("oracle").WordBatchOracle


class TestTrainer(TrainerContract):
    @pytest.fixture
    def backend(self, page: Callable[[str], Any]) -> Any:
        return page("trainer").LineTrainer

    @pytest.fixture
    def model(self, page: Callable[[str], Any], spec: FilterSpec, context: Context) -> Callable[[str], Model[Any]]:
        kind = page("model").LineModel
        return lambda _format: kind(kind.Options(), spec, context)


class TestModel(ModelContract):
    @pytest.fixture
    def backend(self, page: Callable[[str], Any]) -> Any:
        return page("model").LineModel

    @pytest.fixture
    def artifact(self, page: Callable[[str], Any], spec: FilterSpec, context: Context, tmp_path: Path) -> Path:
        trainer = page("trainer").LineTrainer
        splits = [make_split(spec, tmp_path / f"{name}.jsonl", sample_articles(30)) for name in ("train", "val")]
        trainer(trainer.Options(), spec, context).train(TrainJob(*splits, tmp_path / "student", 0, "docs"))
        return tmp_path / "student"


class TestEmbedder(EmbedderContract):
    @pytest.fixture
    def backend(self, page: Callable[[str], Any]) -> Any:
        return page("embedder").TrigramEmbedder


class TestDeployer(DeployerContract):
    @pytest.fixture
    def backend(self, page: Callable[[str], Any]) -> Any:
        return page("deployer").ShelfDeployer

    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, Any]:
        return {"path": str(tmp_path / "shelf")}

    @pytest.fixture
    def damage(self) -> Callable[..., None]:
        def flip(deployment: Any, name: str) -> None:
            path = Path(deployment.target) / deployment.id / "student" / name
            path.write_bytes(path.read_bytes() + b" ")

        return flip


class TestPrefilter(PrefilterContract):
    @pytest.fixture
    def backend(self, page: Callable[[str], Any]) -> Any:
        return page("prefilter").LengthPrefilter


class TestPostfilter(PostfilterContract):
    @pytest.fixture
    def backend(self, page: Callable[[str], Any]) -> Any:
        return page("postfilter").FloorPostfilter

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"dimension": "help"}


class TestExecutor(ExecutorContract):
    @pytest.fixture
    def backend(self, page: Callable[[str], Any]) -> Any:
        return page("executor").PatientExecutor


@pytest.fixture
def events(page: Callable[[str], Any]) -> tuple[Plugins, Any]:
    """The plugin of the page on events, registered."""
    module = page("events")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Plugins()
        found.add(module)
    return found, module


def test_events_are_heard_and_a_veto_stops(events: tuple[Plugins, Any], capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = events
    found.observe("labels_committed", filter_name="tiny", oracle="word", count=3)
    assert "tiny: 3 labels more" in capsys.readouterr().out
    asked = {"filter_name": "tiny", "student": Path(), "student_hash": "abc"}
    found.ask("before_deploy", **asked, target="a test folder")
    with pytest.raises(Veto, match="nobody has signed"):
        found.ask("before_deploy", **asked, target="production")


def test_prices_are_known(events: tuple[Plugins, Any]) -> None:
    assert events[0].prices["acme-large"].as_of == "2026-01-31"


def test_the_prefilter_holds_back_what_it_says(page: Callable[[str], Any], tmp_path: Path) -> None:
    kind = page("prefilter").LengthPrefilter
    one = kind(kind.Options(min_chars=10), tiny_spec(), fake_context(tmp_path))
    answers = one.judge([Article("a", "", "too short"), Article("b", "", "long enough")])
    assert [getattr(a, "rule", "pass") for a in answers] == ["short", "pass"]
