"""What is uploaded for a student: its own files, a card, and what lets an Inference Endpoint run it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from filterkit.api import ArtifactError, ConfigError, FilterSpec, Manifest, Shipped, deployment_id, load_manifest
from filterkit_hf.card import model_card
from filterkit_hf.hub import Content, sha256_of, size_of
from filterkit_hf.options import HubOptions
from filterkit_hf.vendored import endpoint_files

SHIPPED = "deployment.json"
THE_HUBS = ".gitattributes"
"""The Hub's own file: it adds to it when a large file is committed."""
_OURS = ("filterkit.json", "validation.json")
_REPORT = "report.html"
_NAMES_A_TAG = re.compile(r"(?!.*\.\.|.*\.lock$|.*\.$).+")
"""Of the versions that a filter may have, those that git takes in the name of a tag."""


@dataclass(frozen=True)
class Parcel:
    """Everything that is uploaded but deployment.json, by its path in the repository."""

    manifest: Manifest
    files: dict[str, Content]

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Path -> hex SHA-256."""
        return {name: sha256_of(content) for name, content in sorted(self.files.items())}

    @property
    def id(self) -> str:
        """Id of the deployment: the same files, the same id."""
        return deployment_id(self.manifest.student_hash, self.hashes)

    @property
    def anybodys(self) -> dict[str, Content]:
        """The files that could hold anything: all but the copies of filterkit's own modules."""
        return {name: content for name, content in self.files.items() if not name.startswith("runtime/filterkit/")}

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(size_of, self.files.values()))

    def shipped(self) -> Shipped:
        """Its deployment.json, of now."""
        return Shipped(
            id=self.id,
            student_hash=self.manifest.student_hash,
            filter=self.manifest.spec.name,
            version=self.manifest.spec.version,
            files=self.hashes,
            at=datetime.now(UTC),
        )


def written(shipped: Shipped) -> bytes:
    """The bytes of a deployment.json."""
    return shipped.model_dump_json(indent=2).encode() + b"\n"


def pack(student: Path, options: HubOptions, spec: FilterSpec) -> Parcel:
    """The parcel of the student in a folder, under the policy of `spec`. ArtifactError when it is none, is damaged, or
    a file is in the way; ConfigError: its version names no tag."""
    manifest = load_manifest(student)
    if not _NAMES_A_TAG.fullmatch(manifest.spec.version):
        raise ConfigError(
            f"the version {manifest.spec.version!r} names no tag: git's have no '..', and do not end in '.' or '.lock'",
            where=student,
        )
    own = [*manifest.files, *(n for n in (*_OURS, *([_REPORT] if options.report else [])) if (student / n).is_file())]
    files: dict[str, Content] = {name: student / name for name in own}
    added: dict[str, Content] = dict(endpoint_files(student, manifest, spec))
    if "README.md" not in files:
        added["README.md"] = _card(student, manifest, options)
    taken = sorted({*added, SHIPPED, THE_HUBS} & files.keys())
    if taken:
        raise ArtifactError(f"{taken[0]} is the student's, and deploying needs that name", where=student)
    return Parcel(manifest, {**files, **added})


def _card(student: Path, manifest: Manifest, options: HubOptions) -> Content:
    """The card that somebody put into the folder, else one that is written here."""
    there = student / "README.md"
    return there if there.is_file() else model_card(manifest, options).encode()
