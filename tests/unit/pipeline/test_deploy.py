"""Deploying: nothing is live before gates, vetoes and the verification said yes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from helpers import FILTER, Workspace, write_filter

from filterkit.contracts import Context
from filterkit.errors import GateRefused, PluginError, Veto
from filterkit.filters import load_filter
from filterkit.hookspecs import hookimpl
from filterkit.manifest import load_manifest
from filterkit.pipeline import deploy as module
from filterkit.pipeline.deploy import DeployReport, deploy
from filterkit.plugins import plugins
from filterkit.spec import Gates


def deployed(ready: Workspace, **more: Any) -> DeployReport:
    context = Context(workdir=ready / "work", root=ready.root)
    options = {"path": str(ready / "deployments")}
    return deploy(load_filter(ready.filter), ready / "student", "local", options, context, **more)


def live(ready: Workspace) -> str | None:
    file = ready / "deployments/tiny/current.json"
    return json.loads(file.read_bytes())["id"] if file.exists() else None


def test_what_passed_is_shipped_and_verified(ready: Workspace, toys: None) -> None:
    first = deployed(ready)
    assert first.files == 4
    assert first.largest_difference == 0
    assert first.previous is None
    again = deployed(ready)
    assert again.deployment == first.deployment
    assert live(ready) == first.deployment.id


def observed(**hooks: Callable[..., Any]) -> None:
    """Add a plugin with these hooks to this process."""
    module = ModuleType("observer")
    for name, hook in hooks.items():
        setattr(module, name, hookimpl(hook))
    plugins().add(module)


def test_a_veto_stops_before_anything_is_published(ready: Workspace, toys: None) -> None:
    def before_deploy(filter_name: str) -> None:
        raise Veto(f"{filter_name} waits for its editor")

    seen: list[str] = []
    observed(before_deploy=before_deploy, deployed=lambda deployment: seen.append(deployment.student_hash))
    with pytest.raises(GateRefused, match="tiny waits for its editor"):
        deployed(ready)
    assert not (ready / "deployments/tiny/versions").exists()
    assert not seen


def test_observers_are_told_of_what_is_live(ready: Workspace, toys: None) -> None:
    seen: list[str] = []
    observed(deployed=lambda deployment: seen.append(deployment.student_hash))
    report = deployed(ready)
    assert seen == [report.deployment.student_hash]


def tampering(monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]) -> None:
    """Have something go wrong with the copy right after it was published."""
    deployer: Any = plugins().load("deployer", "local")
    publish = deployer.publish

    def published(self: Any, student: Path, student_hash: str) -> Any:
        made = publish(self, student, student_hash)
        change(self._versions / made.id / "student")
        return made

    monkeypatch.setattr(deployer, "publish", published)


@pytest.mark.parametrize("name", ["toy.json", "filterkit.json", "validation.json", "report.html"])
def test_a_file_that_arrived_damaged_is_found_and_nothing_goes_live(
    ready: Workspace, toys: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tampering(monkeypatch, lambda copy: (copy / name).write_bytes(b"{}") and None)
    with pytest.raises(GateRefused, match=f"{name} out there is not the file"):
        deployed(ready)
    assert live(ready) is None


def test_a_copy_that_scores_differently_does_not_go_live(
    ready: Workspace, toys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployer: Any = plugins().load("deployer", "local")
    opened = deployer.open

    def skewed(self: Any, deployment: Any) -> Any:
        scorer = opened(self, deployment)
        scorer._means = scorer._means + 0.01
        return scorer

    monkeypatch.setattr(deployer, "open", skewed)
    with pytest.raises(GateRefused, match=r"scores differently, by up to 0\.01"):
        deployed(ready)
    assert live(ready) is None


def test_the_old_one_stays_live_when_the_new_one_is_refused(
    ready: Workspace, toys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = deployed(ready).deployment
    ready.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student", "--seed", "2")
    ready.ok("validate", "tiny/v1", "--data-dir", "data", "--student", "student")
    with monkeypatch.context() as patch:
        tampering(patch, lambda copy: (copy / "toy.json").unlink())
        with pytest.raises(GateRefused):
            deployed(ready)
    assert live(ready) == old.id
    assert deployed(ready).previous == old


def test_gates_in_force_must_be_those_that_were_asked(ready: Workspace, toys: None) -> None:
    with pytest.raises(GateRefused, match="gates in force"):
        deployed(ready, gates=Gates(mae=0.9))
    assert deployed(ready, gates=Gates(mae=None)).files == 4, "a gate that is no longer asked stops nothing"


def test_a_filter_whose_prefilter_is_not_installed_is_not_shipped(ready: Workspace, toys: None) -> None:
    write_filter(ready.filter, FILTER + "prefilter: {use: no-such}\n")
    with pytest.raises(PluginError, match="no prefilter 'no-such'"):
        deployed(ready)
    assert live(ready) is None


def test_a_gate_left_out_for_a_missing_postfilter_does_not_count_as_passed(
    ready: Workspace, toys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ready / "student"
    manifest = load_manifest(folder)
    assert manifest.gates is not None
    assert "top_recall" in manifest.gates.left_out
    monkeypatch.setattr(module, "make_postfilter", lambda spec: SimpleNamespace(tiers=("good",), close=lambda: None))
    with pytest.raises(GateRefused, match="left out top_recall, as it could not make tiers"):
        deployed(ready)
    assert deployed(ready, gates=Gates(top_recall=None)).files == 4


def test_what_cannot_even_be_tried_is_not_marked_as_forced(ready: Workspace, toys: None) -> None:
    context = Context(workdir=ready / "work", root=ready.root)
    with pytest.raises(PluginError):
        deploy(load_filter(ready.filter), ready / "student", "nope", {}, context, gates=Gates(mae=0.1), force="now")
    assert load_manifest(ready / "student").forced is None
    report = deployed(ready, gates=Gates(mae=0.1), force="now\n  or never")
    assert report.forced is not None
    assert report.forced.reason == "now or never"


def test_what_was_forced_and_then_not_shipped_is_as_it_was(
    ready: Workspace, toys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = ready / "student" / "filterkit.json"
    before = manifest.read_bytes()
    with monkeypatch.context() as patch:
        tampering(patch, lambda copy: (copy / "toy.json").unlink())
        with pytest.raises(GateRefused, match=r"toy\.json"):
            deployed(ready, gates=Gates(mae=0.1), force="in a hurry")
    assert manifest.read_bytes() == before
    deployed(ready, gates=Gates(mae=0.1), force="in a hurry")
    assert b"in a hurry" in manifest.read_bytes()
