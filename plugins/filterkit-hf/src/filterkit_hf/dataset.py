"""The labelled data as a dataset repository, when it is asked for: it holds what others wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filterkit.api import ArtifactError, InputError, Manifest, sha256_file
from filterkit_hf.card import dataset_card
from filterkit_hf.hub import Content, Repo
from filterkit_hf.options import HubOptions
from filterkit_hf.parcel import THE_HUBS

SPLITS = ("train", "val", "test")
_WITHOUT_TEXT = ("id", "language", "source", "published_date", "scores", "oracle", "model")
"""The fields that stay when texts are left out: names of what may stay, since any other field may hold text."""


def dataset_files(manifest: Manifest, folder: Path, options: HubOptions) -> dict[str, Content]:
    """What is uploaded, by its path. InputError: splits are missing or unreadable; ArtifactError: this student learnt
    from others."""
    for name in SPLITS:
        if not (folder / f"{name}.jsonl").is_file():
            raise InputError(f"{name}.jsonl is missing", where=folder, fix="Name the data folder: -O dataset_dir=DIR")
    _check_data(manifest, folder)
    files: dict[str, Content] = {}
    rows: dict[str, int] = {}
    languages: set[str] = set()
    for name in SPLITS:
        path = folder / f"{name}.jsonl"
        lines = []
        for row in _rows(path):
            languages.add(str(row.get("language", "")))
            lines.append(json.dumps(_without_text(row), ensure_ascii=False))
        rows[name] = len(lines)
        files[path.name] = path if options.dataset_text else ("\n".join(lines) + "\n").encode("utf-8", "replace")
    files["README.md"] = dataset_card(manifest, options, rows, languages).encode()
    return files


def publish_dataset(repo: Repo, files: Mapping[str, Content], message: str) -> None:
    """Put the files on main in one commit, unless they are there. InputError where it has files of somebody else."""

    def missing() -> tuple[str, dict[str, Content]]:
        head = repo.head("main")
        if head is None:
            raise InputError("has no branch main", where=repo.repo_id)
        tree = repo.tree(head)
        foreign = sorted(tree.keys() - files.keys() - {THE_HUBS})
        if foreign:
            raise InputError(
                f"holds {foreign[0]!r}, which is not of this dataset",
                where=repo.repo_id,
                fix="Name another dataset_repo_id",
            )
        return head, {n: c for n, c in files.items() if n not in tree or not tree[n].is_of(c)}

    def upload() -> None:
        head, changed = missing()
        repo.commit("main", head, message, add=changed)

    repo.settle(lambda: not missing()[1], upload)


def _check_data(manifest: Manifest, folder: Path) -> None:
    """The splits must be those that the student learnt from, as far as data.json tells."""
    path = folder / "data.json"
    if not path.is_file():
        return
    try:
        said = json.loads(path.read_bytes())
        fingerprint, hashes = said["info"]["fingerprint"], said["files"]
        changed = [name for name in SPLITS if hashes[name] != sha256_file(folder / f"{name}.jsonl")]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError("is not valid", where=path, fix="Run filterkit prepare again") from error
    if changed or fingerprint != manifest.data.fingerprint:
        raise ArtifactError(
            "the student learnt from other data than this", where=folder, fix="Name its data: -O dataset_dir=DIR"
        )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError("is not JSON", where=f"{path}:{number}") from error
            if not isinstance(row, dict):
                raise InputError("is not a JSON object", where=f"{path}:{number}")
            yield row


def _without_text(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what its author wrote. An id that is an address becomes its hash."""
    kept = {name: row[name] for name in _WITHOUT_TEXT if name in row}
    if "://" in str(kept.get("id", "")):
        kept["id"] = hashlib.sha256(str(kept["id"]).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return kept
