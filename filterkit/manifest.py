"""filterkit.json: what a student's folder says of itself, and the check that it tells the truth."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from filterkit.calibrator import Calibrator, OverallInterval
from filterkit.errors import ArtifactError, FilterkitError
from filterkit.explain import explain
from filterkit.files import inside, read_json, sha256_file, temporary_name, write_json
from filterkit.records import Record, canonical_json, sha256_text
from filterkit.spec import FilterSpec

FILE_NAME = "filterkit.json"
OWN_FILES = {FILE_NAME, "validation.json", "report.html"}
"""What filterkit itself writes into a student's folder; everything else is the model format's."""
_HALF_WRITTEN = {temporary_name(name) for name in OWN_FILES}
"""What a killed filterkit may have left there."""
SHIPPED_FILES = {"deployment.json", "handler.py", "requirements.txt", "README.md", ".gitattributes"}
SHIPPED_FOLDERS = {"runtime", ".cache", "__pycache__"}
"""What a deployer, what fetched a shipped student, or running its handler.py may have put beside it. It is not part of
the student."""
UNSAFE_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".npy", ".npz", ".py", ".so", ".sh"}
"""Files that an artifact may not hold: they are unpickled or run by whoever loads them."""


class FileEntry(Record):
    """Size in bytes and SHA-256 of one file."""

    size: int
    sha256: str


class Judgement(Record):
    """How labels were made of several answers about one article; there is none where each has one answer.

    rule: "median" of repeated answers, "consensus" of `judges` (the third is the `referee`, for articles of which the
    first two differ by more than `tolerance` in scale units), or "first" answer, the others being left out. answers:
    number of answers, as text -> rows. spread: dimension -> pooled standard deviation of the answers (of a consensus:
    of the judges) about one article, in scale units. weighted: whether rows count by their spread in training.
    refereed: rows that the referee had a part in. left_out: why -> articles that have no label by this rule.
    """

    rule: Literal["first", "median", "consensus"]
    answers: dict[str, int]
    spread: dict[str, float] = {}
    weighted: bool = False
    judges: tuple[str, ...] = ()
    referee: str | None = None
    tolerance: float | None = None
    refereed: int = 0
    left_out: dict[str, int] = {}

    @property
    def words(self) -> str:
        """What the labels are, in a line."""
        weights = ", which weighs in training" if self.weighted else ""
        mean = sum(self.spread.values()) / len(self.spread) if self.spread else 0.0
        if self.rule == "consensus":
            referee = f"; {self.referee} decided in {self.refereed:,}" if self.referee else ""
            return (
                f"consensus of {' and '.join(self.judges[:2])} (within {self.tolerance:g} per dimension){referee}; "
                f"the judges differ by {mean:.2f} (standard deviation){weights}"
            )
        if self.rule == "first":
            return f"the first of several answers ({self.left_out.get('samples', 0):,} others do not count)"
        many = ", ".join(f"{rows:,} of {n}" for n, rows in sorted(self.answers.items(), key=lambda pair: int(pair[0])))
        return f"medians of repeated answers ({many}), which differ by {mean:.2f} (standard deviation){weights}"


class DataInfo(Record):
    """What a student learnt from: fingerprint of the prepared splits, and whose labels they are.

    `judgement` None: each label is one answer. (It is then not written, so that what was prepared before it was known
    keeps its fingerprints.)
    """

    fingerprint: str
    request_hash: str
    variant: dict[str, Any] = {}
    oracles: tuple[str, ...] = ()
    judgement: Judgement | None = None
    train: int
    val: int
    test: int

    @property
    def weighted(self) -> bool:
        """Whether the rows of the splits have a weight."""
        return self.judgement is not None and self.judgement.weighted

    @model_serializer(mode="wrap")
    def _without_nothing(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = dump(self)
        if self.judgement is None:
            del data["judgement"]
        return data


class Gate(Record):
    """One gate's answer: what was measured, the end of its interval that was compared (`bound`), what was asked for.

    `why` says what the figure is, or why there is none.
    """

    name: str
    value: float | None
    bound: float | None
    limit: float
    passed: bool
    why: str


class Forced(Record):
    """A student that was shipped although its gates did not allow it: why somebody did, and what the gates said."""

    reason: str
    gates: str
    at: datetime


class GateRecord(Record):
    """What validation said, bound to the student, the policy and the data it was said of.

    `left_out`: gates that are asked for but mean nothing here, with the reason. `loosened`: in words, the gates of
    the filter that a workspace made easier.
    """

    student_hash: str
    policy_hash: str
    data_fingerprint: str
    method: str
    at: datetime
    gates: tuple[Gate, ...]
    left_out: dict[str, str] = {}
    loosened: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return bool(self.gates) and all(g.passed for g in self.gates)


class Manifest(Record):
    """A student's folder, described. `files` covers every file of the model format, with its hash.

    `job`: hash of the sealed job that it was trained with, where it was.
    """

    manifest: Literal[1] = 1
    spec: FilterSpec
    request_hash: str
    target_hash: str
    policy_hash: str
    student_hash: str
    run_id: str
    job: str | None = None
    format: str
    files: dict[str, FileEntry]
    trainer: str
    trainer_options: dict[str, Any] = {}
    seed: int
    hyperparameters: dict[str, Any] = {}
    history: list[dict[str, float]] = []
    base_model: str | None = None
    trainable: int | None = None
    total: int | None = None
    calibrator: Calibrator
    overall_interval: OverallInterval = OverallInterval()
    data: DataInfo
    metrics: dict[str, Any] | None = Field(None)
    gates: GateRecord | None = Field(None)
    forced: Forced | None = Field(None)
    packages: dict[str, str] = {}
    created: datetime


def student_hash(files: dict[str, FileEntry], target_hash: str, calibrator: Calibrator) -> str:
    """Fingerprint of what a student answers with: its files, what they answer, its calibrator."""
    return sha256_text(
        canonical_json(
            {
                "files": {name: entry.sha256 for name, entry in files.items()},
                "target_hash": target_hash,
                "calibrator": calibrator.model_dump(mode="json"),
            }
        )
    )


def describe_files(folder: Path, *, shipped: bool = False) -> dict[str, FileEntry]:
    """Size and hash of every file of the model format. ArtifactError on one that must not be in an artifact.

    shipped: passes over what a deployer may have put beside them.
    """
    found: dict[str, FileEntry] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if shipped and (name in SHIPPED_FILES or name.partition("/")[0] in SHIPPED_FOLDERS):
            continue
        if path.is_symlink() or path.suffix.lower() in UNSAFE_SUFFIXES:
            raise ArtifactError(
                f"{name} may not be part of a student: only safetensors, JSON and text are", where=folder
            )
        if path.is_file() and name not in OWN_FILES | _HALF_WRITTEN:
            found[name] = FileEntry(size=path.stat().st_size, sha256=sha256_file(path))
    return found


def load_manifest(folder: Path, *, verify: bool = True) -> Manifest:
    """The manifest of a student's folder, checked against its checksum; with `verify`, every file against its hash.

    Raises ArtifactError: no student there, of a newer filterkit, damaged, altered.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise ArtifactError("there is no student here (no filterkit.json)", where=folder, fix=_how_to_get_one(folder))
    try:
        data = read_json(path)
    except FilterkitError as error:
        raise ArtifactError(error.what, where=path) from error
    if not isinstance(data, dict):
        raise ArtifactError("is not a valid manifest (it must be a JSON object)", where=path)
    if isinstance(data.get("manifest"), int) and data["manifest"] > 1:
        raise ArtifactError(
            f"was written by a newer filterkit (manifest {data['manifest']})", where=path, fix="Upgrade"
        )
    checksum = data.pop("checksum", None)
    if checksum is None or checksum != _checksum(data):
        raise ArtifactError("is damaged or was altered (its checksum is another)", where=path, fix="Train again")
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        raise ArtifactError(f"is not a valid manifest ({explain(error)[0][1]})", where=path) from error
    _check_claims(manifest, path)
    if verify:
        _check_files(manifest, folder)
    return manifest


def _how_to_get_one(folder: Path) -> str:
    if folder.parts and folder.parts[0].endswith(":") and len(folder.parts[0]) > 2:  # hf://…, as a path
        return "This is an address: score there with --remote, or fetch it: hf download OWNER/NAME --local-dir DIR"
    return "Train one: filterkit train"


def _check_claims(manifest: Manifest, path: Path) -> None:
    """The hashes in the manifest must follow from the manifest."""
    expected = {
        "target_hash": manifest.spec.target_hash,
        "policy_hash": manifest.spec.policy_hash,
        "student_hash": student_hash(manifest.files, manifest.target_hash, manifest.calibrator),
    }
    for name, value in expected.items():
        if getattr(manifest, name) != value:
            raise ArtifactError(f"was altered: its {name} does not match its content", where=path, fix="Train again")
    if len(manifest.calibrator.maps) != len(manifest.spec.dimensions):
        raise ArtifactError("its calibrator does not fit its dimensions", where=path)


def _check_files(manifest: Manifest, folder: Path) -> None:
    for name, entry in manifest.files.items():
        path = inside(folder, name)
        if not path.is_file():
            raise ArtifactError(f"{name} is missing", where=folder, fix="Train again, or copy the whole folder")
        if path.stat().st_size != entry.size or sha256_file(path) != entry.sha256:
            raise ArtifactError(
                f"{name} is damaged or was altered (its SHA-256 is another)", where=folder, fix="Train again"
            )
    unknown = set(describe_files(folder, shipped=True)) - set(manifest.files)
    if unknown:
        raise ArtifactError(f"{min(unknown)} is not in the manifest", where=folder, fix="Remove it, or train again")


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write filterkit.json atomically, with a checksum over the rest of it."""
    data = manifest.model_dump(mode="json")
    data["spec"] = manifest.spec.to_dict()
    write_json(folder / FILE_NAME, {**data, "checksum": _checksum(data)})


def _checksum(data: dict[str, Any]) -> str | None:
    """SHA-256 of a manifest as it reads back from JSON; None where it holds what no manifest can."""
    try:
        return sha256_text(canonical_json(json.loads(json.dumps(data))))
    except (ValueError, RecursionError):
        return None
