"""Deployer `local`: versions of a student in a folder, one of them current.

PATH/FILTER/versions/ID/student/…       a copy that never changes; ID is a hash of all its files
PATH/FILTER/versions/ID/deployment.json what was published, and when
PATH/FILTER/current.json                which version is live, and which was before it
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from filterkit.api import (
    ArtifactError,
    Context,
    Deployer,
    Deployment,
    FilterSpec,
    InputError,
    Lock,
    Options,
    Scorer,
    StoppedEarly,
    atomic_write,
    deployment_id,
    load_scorer,
    publish_folder,
    sha256_file,
)

_ID = re.compile(r"[0-9a-f]{16}")


class LocalOptions(Options):
    """Where the copies go."""

    path: str = Field(
        "deployments", min_length=1, description="root folder, from the workspace on; every filter gets its own in it"
    )


class LocalDeployer(Deployer[LocalOptions]):
    """Every change is one rename, so a reader sees the old state or the new one, and a kill leaves one of the two."""

    Options: ClassVar[type[Options]] = LocalOptions

    def __init__(self, options: LocalOptions, spec: FilterSpec, ctx: Context) -> None:
        super().__init__(options, spec, ctx)
        self._root = (ctx.root / Path(options.path).expanduser()).absolute() / spec.name
        self._versions = self._root / "versions"
        self._current = self._root / "current.json"

    @property
    def target(self) -> str:
        return str(self._root)

    def publish(self, student: Path, student_hash: str) -> Deployment:
        """Copy the folder aside, compare the copy with the original, rename. A damaged copy is replaced."""
        wanted = _hashes(student)
        if not wanted:
            raise ArtifactError("there is nothing to publish here", where=student)
        version = self._versions / deployment_id(student_hash, wanted)
        with self._lock():
            self._tidy()
            if (version / "deployment.json").is_file() and _hashes(version / "student") == wanted:
                return self._deployment(version.name)
            staging = self._versions / f".{version.name}.staging"
            _copy(student, staging / "student", wanted)
            if _hashes(staging / "student") != wanted:
                raise ArtifactError("changed while it was copied", where=student, fix="Publish again")
            now = datetime.now(UTC)
            _write(staging / "deployment.json", {"student_hash": student_hash, "at": now.isoformat()})
            publish_folder(staging, version)
            return self._deployment(version.name)

    def open(self, deployment: Deployment) -> Scorer:
        return load_scorer(self._folder(deployment))

    def fetch_hashes(self, deployment: Deployment) -> dict[str, str]:
        return _hashes(self._folder(deployment))

    def activate(self, deployment: Deployment) -> None:
        """Point current.json at this version; the one before it stands in `previous`."""
        self._folder(deployment)
        with self._lock():
            before = None
            with contextlib.suppress(ArtifactError):  # a torn pointer is put right by the new one
                before = self._active_id()
            if before != deployment.id:
                _write(self._current, {"id": deployment.id, "previous": before, "at": datetime.now(UTC).isoformat()})

    def current(self) -> Deployment | None:
        """ArtifactError when the live copy is gone, or its files are no longer those that its id is made of."""
        active = self._active_id()
        if active is None:
            return None
        live = self._deployment(active)
        if deployment_id(live.student_hash, _hashes(self._folder(live))) != live.id:
            raise ArtifactError("the live copy was altered since it was published", where=self._root)
        return live

    def remove(self, deployment: Deployment) -> None:
        version = self._version(deployment.id)
        with self._lock():
            self._tidy()
            if self._active_id() == deployment.id:
                raise InputError("this is the active deployment", where=version, fix="Activate another one first")
            if version.exists():
                shutil.rmtree(version.replace(self._versions / f".{version.name}.removed"))

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        lock = Lock(self._root / ".lock")
        if not lock.acquire():
            raise StoppedEarly("another process is deploying here", where=self._root, fix="Wait for it, then run again")
        try:
            yield
        finally:
            lock.release()

    def _tidy(self) -> None:
        """Mend what a killed run left; only while holding the lock."""
        for leftover in self._versions.glob(".*"):
            shutil.rmtree(leftover)
        for leftover in self._root.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)

    def _active_id(self) -> str | None:
        if not self._current.exists():
            return None
        return _text(_read(self._current), "id", self._current)

    def _version(self, deployment_id: str) -> Path:
        """The folder of a version; an id that could be a path to elsewhere is refused."""
        if not _ID.fullmatch(deployment_id):
            raise InputError(f"{deployment_id!r} is not a deployment of this target", where=self._root)
        return self._versions / deployment_id

    def _deployment(self, deployment_id: str) -> Deployment:
        version = self._version(deployment_id)
        record = version / "deployment.json"
        if not record.is_file():
            raise ArtifactError(
                f"deployment {deployment_id} is not there", where=self._root, fix="Deploy its student again"
            )
        data = _read(record)
        try:
            at = datetime.fromisoformat(_text(data, "at", record))
        except ValueError as error:
            raise ArtifactError(
                f"holds no time ({error})", where=record, fix="Remove its folder and deploy again"
            ) from error
        return Deployment(
            id=deployment_id,
            target=self.target,
            student_hash=_text(data, "student_hash", record),
            at=at,
            url=(version / "student").as_uri(),
        )

    def _folder(self, deployment: Deployment) -> Path:
        """The copy of exactly this deployment."""
        there = self._deployment(deployment.id)
        if there.student_hash != deployment.student_hash:
            raise InputError(
                f"deployment {deployment.id} holds another student, {there.student_hash}", where=self._root
            )
        return self._version(deployment.id) / "student"


def _hashes(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file. ArtifactError on a link: it may lead out of the folder."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise ArtifactError(f"{name} is a link", where=folder, fix="Put the file itself there")
        if path.is_file():
            found[name] = sha256_file(path)
    return found


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    try:
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)
    except OSError as error:
        raise InputError(
            f"cannot copy the student here ({error.strerror})", where=target, fix="Free some space and run it again"
        ) from error


def _write(path: Path, value: dict[str, Any]) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2).encode() + b"\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from error
    except ValueError as error:
        raise ArtifactError(f"is not valid JSON ({error})", where=path, fix="Remove it and deploy again") from error
    return value if isinstance(value, dict) else {}


def _text(value: dict[str, Any], key: str, where: Path) -> str:
    found = value.get(key)
    if not isinstance(found, str):
        raise ArtifactError(f"has no {key!r}", where=where, fix="Remove it and deploy again")
    return found
