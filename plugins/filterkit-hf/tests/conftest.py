"""A fake Hub for every test that asks for one, and a deployer that speaks to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the tests' own helpers: pytest's importlib mode leaves this out

from filterkit_hf import parcel
from filterkit_hf.deployer import HubDeployer
from filterkit_hf.vendored import endpoint_files

from filterkit.contracts import Context
from filterkit.manifest import Manifest
from filterkit.spec import FilterSpec
from filterkit.testing import fake_context, make_student, tiny_spec
from filterkit.testing.fake_hub import FakeHub
from filterkit.testing.samples import SECRET

PATIENCE = {"patience_s": 0.3, "timeout_s": 20}
"""Options with which an outage is given up at once: tests of outages would take half a minute each."""


_made: dict[tuple[str, str], dict[str, bytes]] = {}


def _made_once(student: Path, manifest: Manifest, spec: FilterSpec) -> dict[str, bytes]:
    """endpoint_files, which takes a third of a second and gives the same for all students of a format and filter."""
    key = (manifest.format, spec.model_dump_json())
    if key not in _made:
        _made[key] = endpoint_files(student, manifest, spec)
    return _made[key]


_SOME = ("handler.py", "requirements.txt", "runtime/filter.json", "runtime/filterkit/__init__.py")


def _some_of_it(student: Path, manifest: Manifest, spec: FilterSpec) -> dict[str, bytes]:
    """Files of every kind and not all fifty, which only an endpoint needs: it asks for `whole`."""
    made = _made_once(student, manifest, spec)
    return {name: made[name] for name in _SOME}


@pytest.fixture
def whole(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deployed in this process has all that an endpoint needs."""
    monkeypatch.setattr(parcel, "endpoint_files", _made_once)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A fake Hub whose token is what every context hands out; this process's environment leads there."""
    with FakeHub(token=SECRET) as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(parcel, "endpoint_files", _some_of_it)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)  # the fake Hub speaks LFS
        yield server


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A workspace with a lite student, trained once; tests only read it, or copy it."""
    from shipping import Workspace

    made = Workspace(tmp_path_factory.mktemp("workspace"))
    made.train()
    return made


@pytest.fixture
def spec() -> FilterSpec:
    return tiny_spec()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return fake_context(tmp_path / "workdir")


@pytest.fixture
def student(tmp_path: Path, spec: FilterSpec, context: Context) -> tuple[Path, str]:
    return tmp_path / "student", make_student(tmp_path / "student", spec, context)


@pytest.fixture
def other(tmp_path: Path, spec: FilterSpec, context: Context) -> tuple[Path, str]:
    return tmp_path / "other", make_student(tmp_path / "other", spec, context, rows=60)


@pytest.fixture
def deployer(hub: FakeHub, spec: FilterSpec, context: Context) -> Iterator[Callable[..., HubDeployer]]:
    """Makes deployers to me/x; keywords are options."""
    made: list[HubDeployer] = []

    def make(**options: Any) -> HubDeployer:
        given = {"repo_id": "me/x", "endpoints_api": hub.endpoints_url, **PATIENCE, **options}
        made.append(HubDeployer(HubDeployer.Options.model_validate(given), spec, context))
        return made[-1]

    yield make
    for one in made:
        one.close()
