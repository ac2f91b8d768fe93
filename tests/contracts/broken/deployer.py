"""Deployers that break a promise."""

import random
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catching import caught_by, expose

from filterkit.builtin.local import LocalDeployer
from filterkit.contracts import Scorer
from filterkit.errors import InputError
from filterkit.manifest import load_manifest
from filterkit.records import Deployment, Prediction
from filterkit.testing import DeployerContract


@caught_by("test_the_target_has_a_name")
class AnotherTargetEachTime(LocalDeployer):
    @property
    def target(self) -> str:
        return f"{super().target}-{random.random()}"


@caught_by("test_nothing_is_live_at_first")
class NeverAsked(LocalDeployer):
    def current(self) -> Deployment | None:
        live = super().current()
        if live is None:
            raise FileNotFoundError("current.json")
        return live


@caught_by("test_publish_says_what_it_did")
class NoTimeZone(LocalDeployer):
    def publish(self, student: Path, student_hash: str) -> Deployment:
        deployment = super().publish(student, student_hash)
        return deployment.model_copy(update={"at": deployment.at.replace(tzinfo=None)})


@caught_by("test_publish_says_what_it_did")
class KeyInTheRecord(LocalDeployer):
    def publish(self, student: Path, student_hash: str) -> Deployment:
        deployment = super().publish(student, student_hash)
        return deployment.model_copy(update={"state": {"token": self.ctx.secret("HF_TOKEN")}})


@caught_by("test_publish_sends_no_traffic")
class LiveAtOnce(LocalDeployer):
    def publish(self, student: Path, student_hash: str) -> Deployment:
        deployment = super().publish(student, student_hash)
        self.activate(deployment)
        return deployment


@caught_by("test_publish_twice_changes_nothing")
class NewRecordEachTime(LocalDeployer):
    def publish(self, student: Path, student_hash: str) -> Deployment:
        return super().publish(student, student_hash).model_copy(update={"at": datetime.now(UTC)})


@caught_by("test_two_students_are_two_deployments")
class OneSlot(LocalDeployer):
    def publish(self, student: Path, student_hash: str) -> Deployment:
        slot = self._versions / ("0" * 16)
        shutil.rmtree(slot, ignore_errors=True)
        deployment = super().publish(student, student_hash)
        (self._versions / deployment.id).replace(slot)
        return self._deployment(slot.name)


@caught_by("test_hashes_are_those_of_the_files")
class ForgetsTheManifest(LocalDeployer):
    def publish(self, student: Path, student_hash: str) -> Deployment:
        deployment = super().publish(student, student_hash)
        (self._folder(deployment) / "filterkit.json").unlink(missing_ok=True)
        return deployment


@caught_by("test_it_says_what_it_publishes")
class PublishesMore(LocalDeployer):
    def publish(self, student: Path, student_hash: str) -> Deployment:
        deployment = super().publish(student, student_hash)
        (self._folder(deployment) / "handler.py").write_text("import this\n")
        return deployment


@caught_by("test_it_says_what_it_publishes")
class PromisesNothing(LocalDeployer):
    def contents(self, student: Path) -> dict[str, str]:
        return {}


@caught_by("test_the_plan_is_only_said")
class PlansByDoing(LocalDeployer):
    def plan(self, student: Path) -> list[str]:
        self.activate(self.publish(student, load_manifest(student).student_hash))
        return ["one folder"]


@caught_by("test_the_plan_is_only_said")
class TellsTheKey(LocalDeployer):
    def plan(self, student: Path) -> list[str]:
        return [f"with the key {self.ctx.secret('HF_TOKEN')}"]


@caught_by("test_what_serves_is_what_was_activated")
class NeverReloads(LocalDeployer):
    def serving(self, deployment: Deployment) -> Scorer | None:
        return Zeros()


@caught_by("test_damage_out_there_is_seen")
class RemembersHashes(LocalDeployer):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.known: dict[str, dict[str, str]] = {}

    def fetch_hashes(self, deployment: Deployment) -> dict[str, str]:
        if deployment.id not in self.known:
            self.known[deployment.id] = super().fetch_hashes(deployment)
        return self.known[deployment.id]


@caught_by("test_the_copy_is_a_copy")
class OnlyPointsThere(LocalDeployer):
    def publish(self, student: Path, student_hash: str) -> Deployment:
        deployment = super().publish(student, student_hash)
        copy = self._version(deployment.id) / "student"
        if not copy.is_symlink():
            shutil.rmtree(copy)
            copy.symlink_to(student)
        return deployment


class Zeros(Scorer):
    def predict(self, encoded: Any) -> Prediction:
        return Prediction(np.zeros((len(encoded), 3), dtype=np.float32))


@caught_by("test_it_scores_as_the_original")
class ServesOldWeights(LocalDeployer):
    def open(self, deployment: Deployment) -> Scorer:
        super().open(deployment)
        return Zeros()


@caught_by("test_activate_makes_it_live")
class AlwaysOneBehind(LocalDeployer):
    def activate(self, deployment: Deployment) -> None:
        self._folder(deployment)


@caught_by("test_the_target_remembers")
class RemembersItself(LocalDeployer):
    live: Deployment | None = None

    def activate(self, deployment: Deployment) -> None:
        self._folder(deployment)
        self.live = deployment

    def current(self) -> Deployment | None:
        return self.live


@caught_by("test_roll_back")
class OnlyForward(LocalDeployer):
    def activate(self, deployment: Deployment) -> None:
        mark = Path(self.target) / f"used-{deployment.id}"
        if mark.exists() and self.current().id != deployment.id:
            raise InputError("was active before")
        super().activate(deployment)
        mark.touch()


@caught_by("test_remove")
class RemovesOnlyOnce(LocalDeployer):
    def remove(self, deployment: Deployment) -> None:
        self._folder(deployment)
        super().remove(deployment)


@caught_by("test_remove")
class KeepsEverything(LocalDeployer):
    def remove(self, deployment: Deployment) -> None:
        if self.current() and self.current().id == deployment.id:
            raise InputError("it is live")


@caught_by("test_the_live_one_is_not_removed")
class RemovesTheLiveOne(LocalDeployer):
    def remove(self, deployment: Deployment) -> None:
        shutil.rmtree(self._version(deployment.id), ignore_errors=True)


@caught_by("test_what_is_not_there_is_said_so")
class BelievesAnything(LocalDeployer):
    def activate(self, deployment: Deployment) -> None:
        self._current.write_text(f'{{"id": "{deployment.id}"}}')


class Suite(DeployerContract):
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, Any]:
        return {"path": str(tmp_path / "deployments")}

    @pytest.fixture
    def damage(self) -> Callable[[Deployment, str], None]:
        def flip(deployment: Deployment, name: str) -> None:
            path = next(Path(deployment.target).parent.rglob(f"{deployment.id}/student/{name}"))
            path.write_bytes(path.read_bytes()[:-1] + b"!")

        return flip


expose(globals(), Suite)
