"""Where a student can be verified: a folder, or an address that a remote model reads."""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filterkit.contracts import Scorer
from filterkit.errors import (
    ArtifactError,
    GateRefused,
    InputError,
    RateLimited,
    StoppedEarly,
    Transient,
)
from filterkit.files import sha256_file
from filterkit.manifest import FILE_NAME
from filterkit.shipped import student_folder
from filterkit.spec import FilterSpec
from filterkit.student import load_scorer, remote_model

SMALL = 10_000_000
"""Bytes of the largest filterkit.json that is looked into."""


class Place(ABC):
    """A copy of a student, or what answers in its place."""

    @abstractmethod
    def hashes(self) -> dict[str, str] | None:
        """Relative path -> hex SHA-256 of every file there; None where files cannot be asked for."""

    @abstractmethod
    def stored(self, name: str) -> bytes | None:
        """The bytes of one small file; None: it is not there, or cannot be asked for."""

    @abstractmethod
    def scorer(self) -> Scorer:
        """Uncalibrated scores from there."""

    def student_hash(self) -> str | None:
        """Which student it says it is; None: it does not say."""
        try:
            said = json.loads(self.stored(FILE_NAME) or b"null")
        except (ValueError, RecursionError):
            return None
        found = said.get("student_hash") if isinstance(said, dict) else None
        return found if isinstance(found, str) else None

    def usd_per_hour(self) -> float | None:
        """What it costs by the hour; None: unknown."""
        return None

    def close(self) -> None:
        """Free what was used to ask."""
        return


class Folder(Place):
    """A student's folder, a copy of one as a deployer made it, or a target of the deployer `local`: what is live there.

    Raises InputError when there is no folder, GateRefused when it does not say what is live.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError("is no folder", where=folder, fix="TARGET is a folder, hf://owner/name or https://…")
        try:
            self._folder = student_folder(folder)
        except ArtifactError as error:
            raise GateRefused(error.what, where=error.where) from error

    def hashes(self) -> dict[str, str] | None:
        if not (self._folder / FILE_NAME).is_file():
            raise ArtifactError(f"there is no student there (no {FILE_NAME})", where=self._folder)
        found: dict[str, str] = {}
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder).as_posix()
            if path.is_symlink():
                raise ArtifactError(f"{name} is a link, which may lead anywhere", where=self._folder)
            if path.is_file():
                found[name] = sha256_file(path)
        return found

    def stored(self, name: str) -> bytes | None:
        path = self._folder / name
        return path.read_bytes() if path.is_file() and path.stat().st_size <= SMALL else None

    def scorer(self) -> Scorer:
        return load_scorer(self._folder)


class Remote(Place):
    """An address, read by the remote model whose scheme it is."""

    def __init__(self, address: str, spec: FilterSpec, options: Mapping[str, Any]) -> None:
        self._address = address
        self._model = remote_model(address, spec, options)

    def hashes(self) -> dict[str, str] | None:
        return self._model.hashes(self._address)

    def stored(self, name: str) -> bytes | None:
        return self._model.stored(self._address, name)

    def scorer(self) -> Scorer:
        return self._model.load(self._address)

    def student_hash(self) -> str | None:
        return self._model.student_hash(self._address) or super().student_hash()

    def usd_per_hour(self) -> float | None:
        return self._model.usd_per_hour(self._address)

    def close(self) -> None:
        self._model.close()


def is_address(target: str) -> bool:
    """Whether a target is read by a remote model, and not a folder."""
    return "://" in target and not target.lower().startswith("file://")


def place_of(target: str, spec: FilterSpec, options: Mapping[str, Any]) -> Place:
    """The place that a user names: a folder, file://…, or an address."""
    if target.lower().startswith("file://"):
        return Folder(Path(unquote(urlsplit(target).path)))
    return Remote(target, spec, options) if is_address(target) else Folder(Path(target))


@contextlib.contextmanager
def reached(target: str) -> Iterator[None]:
    """An outage of the other side is StoppedEarly (exit 4): nothing was proven, neither way."""
    try:
        yield
    except (Transient, RateLimited) as error:
        raise StoppedEarly(
            f"cannot be verified now ({error})", where=target, fix="Run the same command again"
        ) from error
