"""Records of deployments: one JSON file for each time that a student was put live, in WORKSPACE/.filterkit/deployments.

A record is written before the target is touched (`activating`) and completed after it (`live`, or `refused`), so that
nothing is live that no record knows of. Records of earlier filterkits, which held a deployment and no more, are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, ValidationError

from filterkit.contracts.base import redact
from filterkit.errors import FilterkitError, InputError
from filterkit.explain import explain
from filterkit.files import Lock, atomic_write, read_json, temporary_name
from filterkit.manifest import Forced, Gate
from filterkit.pipeline.proof import Sample
from filterkit.records import Deployment, Record

_LEADING_TIME = re.compile(r"[0-9TZ.+:-]*-")


class DeploymentRecord(Record):
    """One action. The fields of the deployment itself (`id` to `state`) are the deployer's answer.

    when: of this action, `at` of the publishing. deployer and options: how to reach the target again, None and empty
    where an earlier filterkit did not say. spec: the filter's, as it was. files and samples: the proof. before: what
    was live until then. why: what went wrong, of a record that is not `live`.
    """

    record: Literal[1] = 1
    id: str
    target: str
    student_hash: str
    at: AwareDatetime
    url: str | None = None
    state: dict[str, str] = {}
    when: AwareDatetime
    action: Literal["deploy", "rollback"] = "deploy"
    status: Literal["activating", "live", "refused"] = "live"
    why: str | None = None
    deployer: str | None = None
    options: dict[str, Any] = {}
    filter: str
    version: str | None = None
    spec: dict[str, Any] | None = None
    policy_hash: str | None = None
    data_fingerprint: str | None = None
    gates: tuple[Gate, ...] = ()
    forced: Forced | None = None
    files: dict[str, str] = {}
    samples: tuple[Sample, ...] = ()
    before: Deployment | None = None

    @property
    def deployment(self) -> Deployment:
        """What the deployer knows it by."""
        return Deployment(**{name: getattr(self, name) for name in Deployment.model_fields})

    @property
    def gates_in_words(self) -> str:
        """passed, forced, or unknown where the record does not say."""
        return "forced" if self.forced else "passed" if self.gates else "unknown"


@dataclass(frozen=True)
class Unreadable:
    """A file among the records that is none: torn, or somebody else's."""

    file: Path
    why: str


@dataclass(frozen=True)
class Records:
    """The records in a folder, which is made when the first is written."""

    folder: Path

    def write(self, record: DeploymentRecord) -> Path:
        """Put the record down, or in place of itself as it was before. Secrets are taken out."""
        path = self.folder / f"{record.when.astimezone(UTC):%Y-%m-%dT%H%M%S.%fZ}-{record.filter}.json"
        text = json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
        with atomic_write(path) as file:
            file.write(redact(text).encode("utf-8", "replace") + b"\n")
        self._tidy()
        return path

    def _tidy(self) -> None:
        """Remove what killed writers left; a living one holds its file."""
        for leftover in self.folder.glob(temporary_name("*.json")):
            lock = Lock(leftover)
            if lock.acquire():
                leftover.unlink(missing_ok=True)
                lock.release()

    def read(self, filter: str | None = None) -> tuple[list[DeploymentRecord], list[Unreadable]]:
        """All records, or those of a filter, oldest first; and what lies there and is none."""
        found: list[DeploymentRecord] = []
        unreadable: list[Unreadable] = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                found.append(_read(path))
            except FilterkitError as error:
                unreadable.append(Unreadable(path, error.what))
        wanted = [record for record in found if filter in (None, record.filter)]
        return sorted(wanted, key=lambda record: record.when), unreadable

    def of_target(self, filter: str, target: str) -> list[DeploymentRecord]:
        """The records of a filter at one target, oldest first."""
        return [record for record in self.read(filter)[0] if record.target == target]


def records_in(workspace: Path) -> Records:
    """The records of a workspace."""
    return Records(workspace / ".filterkit" / "deployments")


def _read(path: Path) -> DeploymentRecord:
    data = read_json(path)
    if not isinstance(data, dict):
        raise InputError("is no record of a deployment", where=path)
    if "record" not in data:
        data = {**data, "when": data.get("at"), "filter": _LEADING_TIME.sub("", path.stem, count=1)}
    try:
        return DeploymentRecord.model_validate(data)
    except ValidationError as error:
        raise InputError(f"is no record of a deployment ({explain(error)[0][1]})", where=path) from error


def history(records: Iterable[DeploymentRecord]) -> list[DeploymentRecord]:
    """What was live at one target, the first at the bottom, what is live by these records at the top.

    A deployment is put on top; a rollback takes off what stood above the one it went back to, and so does a refusal
    of what was live. So rolling back again and again goes to the first, and never forth and back.
    """
    stack: list[DeploymentRecord] = []
    for record in records:
        ids = [earlier.id for earlier in stack]
        if record.status != "live":
            if record.status == "refused" and record.id in ids[-1:]:
                stack.pop()
            continue
        if record.action == "rollback" and record.id in ids:
            del stack[len(ids) - ids[::-1].index(record.id) :]
        elif record.id not in ids[-1:]:
            stack.append(record)
    return stack


def proven(records: Sequence[DeploymentRecord], deployment_id: str) -> DeploymentRecord | None:
    """The newest record of a deployment that holds its proof."""
    known = [r for r in records if r.id == deployment_id and r.files and r.samples]
    return known[-1] if known else None
