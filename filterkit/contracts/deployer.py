"""Deployer: puts a student where others use it. It never judges itself: the core verifies."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from filterkit.contracts.base import Backend, O
from filterkit.contracts.model import Scorer
from filterkit.records import Deployment


class Deployer(Backend[O]):
    """publish, then (after the core compared hashes and scores) activate. To roll back, activate the previous one."""

    @property
    @abstractmethod
    def target(self) -> str:
        """The one place this configured deployer publishes to, in words (a folder, a repo id)."""

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

    @abstractmethod
    def current(self) -> Deployment | None:
        """The active deployment, asked of the target, not of our records."""

    @abstractmethod
    def remove(self, deployment: Deployment) -> None:
        """Delete the copy out there. Removing twice is fine; removing the active one is refused."""
