"""requirements.txt of an endpoint: the dists that its modules import, in the versions that were tested here."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from filterkit.api import ConfigError
from filterkit_hf.closure import Import

_RANGES = {"torch"}
"""Dists of which an endpoint's image brings a build for its hardware: any from the tested minor version on will do."""
_TOKENIZER, _VOCABULARIES = "tokenizer.json", ("*.model", "*.spm")
_FOR_VOCABULARIES = ("sentencepiece", "protobuf")
"""What transformers needs, and imports by itself, to read a vocabulary where there is no tokenizer.json."""


def requirements(outside: Iterable[Import], student: Path) -> bytes:
    """A requirements.txt with a line for every dist that the imports `outside` need, pinned to what is installed.

    An optional import counts where it is installed: what runs there is what ran here. ConfigError: one is missing.
    """
    owners = importlib.metadata.packages_distributions()
    dists: set[str] = set()
    for one in sorted(outside):
        found = _owners(one.module, owners)
        if not found and not one.optional:
            raise ConfigError(
                f"cannot be shipped: {one.module} belongs to no installed package, so no requirement can name it",
                where=student,
                fix="Install what provides it with pip",
            )
        dists.update(found)
    vocabularies = [path for pattern in _VOCABULARIES for path in student.glob(pattern)]
    if "transformers" in dists and vocabularies and not (student / _TOKENIZER).is_file():
        dists.update(_FOR_VOCABULARIES)
    return "".join(f"{line}\n" for line in sorted(_pinned(dist) for dist in dists)).encode()


def _owners(module: str, owners: Mapping[str, Sequence[str]]) -> set[str]:
    """The dists that a module comes from; of several that share its top-level name, those that have the module."""
    candidates = {_plain(name) for name in owners.get(module.partition(".")[0], ())}
    if len(candidates) < 2:
        return candidates
    path = module.replace(".", "/")
    having = {name for name in candidates if _has(name, path)}
    return having or candidates


def _has(dist: str, path: str) -> bool:
    files = importlib.metadata.files(dist) or []
    return any(f.as_posix().startswith((f"{path}/", f"{path}.")) for f in files)


def _plain(dist: str) -> str:
    return dist.replace("_", "-").lower()


def _pinned(dist: str) -> str:
    """`numpy==2.4.6`; a build's own suffix (2.13.0+cpu) is dropped, since no index has it."""
    version = importlib.metadata.version(dist).partition("+")[0]
    if dist in _RANGES:
        major, minor = version.split(".")[:2]
        return f"{dist}>={major}.{minor},<{int(major) + 1}"
    return f"{dist}=={version}"
