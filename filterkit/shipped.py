"""What was shipped: deployment.json, which a deployer writes beside a student, and where the live one lies."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError, computed_field

from filterkit.errors import ArtifactError
from filterkit.explain import explain
from filterkit.manifest import FILE_NAME as MANIFEST
from filterkit.records import Record, canonical_json, sha256_text

FILE_NAME = "deployment.json"
OF_THE_TARGET = {FILE_NAME, ".gitattributes"}
"""Files that may lie out there beside what was published: the deployer's own record, and the Hub's."""
CURRENT = "current.json"
"""In a folder of the deployer `local`, beside `versions/`: which version is live."""
_VERSION = re.compile(r"[0-9a-f]{16}")


class Shipped(Record):
    """A published copy. files: relative path -> hex SHA-256 of every file but this one; `id` follows from them.

    checksum: over all of the rest, since the id says nothing of filter, version and time.
    """

    id: str
    student_hash: str
    filter: str
    version: str
    files: dict[str, str]
    at: datetime

    @computed_field  # type: ignore[prop-decorator]
    @property
    def checksum(self) -> str:
        return _checksum(self.model_dump(mode="json", exclude={"checksum"}))


def deployment_id(student_hash: str, files: Mapping[str, str]) -> str:
    """Id of a copy, 16 hex digits. A student that was validated again has the same hash and another manifest: another
    copy."""
    return sha256_text(canonical_json([student_hash, dict(files)]))[:16]


def read_shipped(data: bytes, where: Path | str) -> Shipped:
    """The deployment.json whose bytes these are. ArtifactError when it is damaged, or its id is of other files."""
    try:
        said = json.loads(data)
        checksum = said.pop("checksum", None) if isinstance(said, dict) else None
        shipped = Shipped.model_validate(said)
        altered = checksum != _checksum(said)
    except ValidationError as error:
        raise ArtifactError(f"is not a valid {FILE_NAME} ({explain(error)[0][1]})", where=where) from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"is not a valid {FILE_NAME} (no JSON)", where=where) from error
    if shipped.id != deployment_id(shipped.student_hash, shipped.files):
        raise ArtifactError(f"was altered: the id in {FILE_NAME} is of other files", where=where, fix="Deploy again")
    if altered:
        raise ArtifactError(f"was altered: {FILE_NAME} has another checksum", where=where, fix="Deploy again")
    return shipped


def _checksum(said: dict[str, Any]) -> str:
    """SHA-256 of a deployment.json's values as they stand there, but for the checksum itself."""
    return sha256_text(canonical_json(said))


def student_folder(given: Path) -> Path:
    """A student's own folder: `given`, or what is live in it where it is a folder of the deployer `local`.

    ArtifactError when that folder does not say what is live.
    """
    current = given / CURRENT
    if (given / MANIFEST).exists() or not current.exists():
        return given
    try:
        found = json.loads(current.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError("does not say which version is live", where=current, fix="Deploy again") from error
    version = found.get("id") if isinstance(found, dict) else None
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ArtifactError("does not say which version is live", where=current, fix="Deploy again")
    return given / "versions" / version / "student"
