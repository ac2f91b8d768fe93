"""Deployer: puts a student where others use it. It never judges itself: the core verifies."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from filterkit.contracts.base import Backend, O
from filterkit.contracts.model import Scorer
from filterkit.files import sha256_file
from filterkit.records import Deployment


class Deployer(Backend[O]):
    """publish, then (after the core compared hashes and scores) activate. To roll back, activate the previous one."""

    @property
    @abstractmethod
    def target(self) -> str:
        """The one place this configured deployer publishes to, in words (a folder, a repo id)."""

    def contents(self, student: Path) -> dict[str, str]:
        """Relative path -> hex SHA-256 of every file that `publish` puts out there.

        A deployer may leave the reports at home (validation.json, report.html) and add files of its own; the core
        checks that the rest is there as it is, and that `fetch_hashes` says the same of all.
        """
        found = sorted(path for path in student.rglob("*") if path.is_file())
        return {path.relative_to(student).as_posix(): sha256_file(path) for path in found}

    def plan(self, student: Path) -> list[str]:
        """What `publish` and `activate` will make, and what it will cost by the hour: lines, said before they do."""
        return []

    @abstractmethod
    def publish(self, student: Path, student_hash: str) -> Deployment:
        """Copy the artifact out; no traffic reaches it yet. Idempotent by hash: the second call changes nothing."""

    @abstractmethod
    def open(self, deployment: Deployment) -> Scorer:
        """A scorer that uses the copy out there, uncalibrated, as `Model.load` would."""

    @abstractmethod
    def fetch_hashes(self, deployment: Deployment) -> dict[str, str]:
        """Relative path -> hex SHA-256 of every file, computed from the bytes as stored out there."""

    @abstractmethod
    def activate(self, deployment: Deployment) -> None:
        """Send traffic to this deployment, in one step."""

    def serving(self, deployment: Deployment) -> Scorer | None:
        """Uncalibrated scores from what serves an activated deployment now; None where nothing serves by itself."""
        return None

    @abstractmethod
    def current(self) -> Deployment | None:
        """The active deployment, asked of the target, not of our records.

        ArtifactError or GateRefused where what lies there is broken; activating another one must mend that.
        """

    @abstractmethod
    def remove(self, deployment: Deployment) -> None:
        """Delete the copy out there. Removing twice is fine; removing the active one is refused."""
