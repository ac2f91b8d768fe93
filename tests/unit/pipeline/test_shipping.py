"""From a published copy to a live one: what is compared, in which order, and what is done when it is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Inside

from filterkit.builtin.local import LocalDeployer
from filterkit.contracts import Context, Scorer
from filterkit.errors import GateRefused, PluginError, StoppedEarly
from filterkit.filters import load_filter
from filterkit.manifest import load_manifest
from filterkit.pipeline import deploy as module
from filterkit.pipeline.deploy import DeployReport, deploy
from filterkit.pipeline.deployments import DeploymentRecord, history, records_in
from filterkit.records import Prediction


class Site:
    """A workspace, and a deployer in it that a test can spoil."""

    def __init__(self, two: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = two.root
        self.patch = monkeypatch

    def spoil(self, name: str, replacement: Callable[..., Any]) -> None:
        self.patch.setattr(LocalDeployer, name, replacement)

    def deploy(self, student: str, **more: Any) -> DeployReport:
        context = Context(workdir=self.root / "work", root=self.root)
        return deploy(load_filter(self.root / "tiny/v1"), self.root / student, "local", {}, context, **more)

    @property
    def records(self) -> list[DeploymentRecord]:
        return records_in(self.root).read()[0]

    @property
    def live(self) -> str | None:
        spec = load_filter(self.root / "tiny/v1").spec
        context = Context(workdir=self.root / "work", root=self.root)
        current = LocalDeployer(LocalDeployer.Options.model_validate({}), spec, context).current()
        return current.student_hash if current else None


@pytest.fixture
def site(two: Inside, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(two, monkeypatch)


class Skewed(Scorer):
    """Another student's scores, or none at all."""

    def __init__(self, wrong: Exception | None = None) -> None:
        self._wrong = wrong

    def predict(self, encoded: Sequence[str]) -> Prediction:
        if self._wrong:
            raise self._wrong
        return Prediction(np.full((len(encoded), 3), 5.0, dtype=np.float32))


def test_what_serves_is_compared(site: Site) -> None:
    site.spoil("serving", lambda self, deployment: self.open(deployment))
    report = site.deploy("student")
    assert report.served == 0
    assert report.to_dict()["largest_difference_served"] == 0


@pytest.mark.parametrize("wrong", [None, StoppedEarly("it does not answer"), RuntimeError("a bug in the backend")])
def test_when_something_else_serves_the_previous_one_is_live_again(site: Site, wrong: Exception | None) -> None:
    before = site.deploy("student").deployment
    site.spoil("serving", lambda self, deployment: Skewed(wrong))
    said = str(wrong) if wrong else "what serves it scores differently"
    with pytest.raises(GateRefused, match=f"{said}.*{before.id} is live again"):
        site.deploy("second")
    assert site.live == before.student_hash
    assert [record.status for record in site.records] == ["live", "refused"]
    assert said in str(site.records[-1].why)
    assert history(site.records)[-1].id == before.id


def test_without_a_previous_one_it_is_said_that_it_still_is_live(site: Site) -> None:
    site.spoil("serving", lambda self, deployment: Skewed())
    with pytest.raises(GateRefused, match="nothing was live before it, so it still is"):
        site.deploy("student")
    assert [record.status for record in site.records] == ["refused"]


def test_what_is_live_and_serves_something_else_later_is_taken_back_too(site: Site) -> None:
    before = site.deploy("student").deployment
    site.deploy("second")
    site.spoil("serving", lambda self, deployment: Skewed())
    with pytest.raises(GateRefused, match=f"{before.id} is live again"):
        site.deploy("second")
    assert site.live == before.student_hash
    assert history(site.records)[-1].id == before.id


def test_going_back_may_fail_too_and_that_is_said(site: Site) -> None:
    before = site.deploy("student").deployment
    activate = LocalDeployer.activate

    def only_forward(self: LocalDeployer, deployment: Any) -> None:
        if deployment.id == before.id:
            raise StoppedEarly("the target went away")
        activate(self, deployment)

    site.spoil("activate", only_forward)
    site.spoil("serving", lambda self, deployment: Skewed())
    with pytest.raises(GateRefused, match=r"could not be activated again \(the target went away\)"):
        site.deploy("second")


def test_a_backend_that_breaks_after_the_activation_leaves_a_record_that_the_rerun_completes(site: Site) -> None:
    activate = LocalDeployer.activate

    def breaks(self: LocalDeployer, deployment: Any) -> None:
        activate(self, deployment)
        raise RuntimeError("a bug in the backend")

    with site.patch.context() as patch:
        patch.setattr(LocalDeployer, "activate", breaks)
        with pytest.raises(RuntimeError):
            site.deploy("student")
    assert [record.status for record in site.records] == ["activating"]
    site.deploy("student")
    assert [record.status for record in site.records] == ["live"]


def test_a_target_that_says_another_one_is_live_is_not_believed(site: Site) -> None:
    site.spoil("activate", lambda self, deployment: None)
    with pytest.raises(GateRefused, match="does not serve the student that was activated"):
        site.deploy("student")
    assert [record.status for record in site.records] == ["refused"]


@pytest.mark.parametrize("name", ["toy.json", "filterkit.json"])
def test_a_deployer_that_would_ship_something_else_ships_nothing(site: Site, name: str) -> None:
    contents = LocalDeployer.contents
    for changed in ({name: "0" * 64}, {}):

        def other(self: Any, student: Path, changed: dict[str, str] = changed) -> dict[str, str]:
            return {k: v for k, v in contents(self, student).items() if k != name} | changed

        site.spoil("contents", other)
        with pytest.raises(PluginError, match=rf"would publish (no|another) {name}"):
            site.deploy("student")
    assert not (site.root / "deployments").exists()


@pytest.mark.parametrize(("name", "refused"), [("handler.py", True), ("x/notes.txt", True), (".gitattributes", False)])
def test_nothing_lies_out_there_that_was_not_published(site: Site, name: str, refused: bool) -> None:
    fetch = LocalDeployer.fetch_hashes
    site.spoil("fetch_hashes", lambda self, deployment: fetch(self, deployment) | {name: "0" * 64})
    if refused:
        with pytest.raises(GateRefused, match=f"{name} lies out there and was not published"):
            site.deploy("student")
        assert site.live is None
    else:
        site.deploy("student")


def test_reports_may_stay_at_home_and_files_of_the_deployer_are_verified_too(site: Site) -> None:
    contents, fetch = LocalDeployer.contents, LocalDeployer.fetch_hashes
    home = {"report.html", "validation.json"}

    def public(found: dict[str, str]) -> dict[str, str]:
        return {k: v for k, v in found.items() if k not in home} | {"handler.py": "1" * 64}

    site.spoil("contents", lambda self, student: public(contents(self, student)))
    site.spoil("fetch_hashes", lambda self, deployment: public(fetch(self, deployment)))
    assert site.deploy("student").files == 3
    assert "handler.py" in site.records[-1].files
    site.spoil("fetch_hashes", lambda self, d: public(fetch(self, d)) | {"handler.py": "2" * 64})
    with pytest.raises(GateRefused, match=r"handler\.py out there is not the file"):
        site.deploy("student")


def test_gates_are_asked_then_the_plan_is_said_and_only_then_anything_is_done(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(module, "check_gates", lambda *_: order.append("gates"))
    publish = LocalDeployer.publish
    site.spoil("plan", lambda self, student: ["1 folder, $0 an hour"])
    site.spoil("publish", lambda self, *args: (order.append("publish"), publish(self, *args))[1])
    report = site.deploy("student", say=lambda lines: order.extend(lines))
    assert order == ["gates", "1 folder, $0 an hour", "publish"]
    assert report.plan == ("1 folder, $0 an hour",)
    assert load_manifest(site.root / "student").forced is None
