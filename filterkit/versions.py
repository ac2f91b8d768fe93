"""The next version of a filter, or another filter out of it: copies of its data, and of nothing else."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filterkit.errors import ConfigError
from filterkit.files import atomic_write, disk_error, inside
from filterkit.filters import Filter, known_filters, load_filter, version_key, workspace_filters
from filterkit.skeleton import make_filter
from filterkit.yamlfile import load, with_values

_INSTALLED = {"site-packages", "dist-packages"}
_LAST_NUMBER = re.compile(r"([0-9]+)([^0-9]*)$")
_MOST_NAME = 200
"""Characters: a longer text is no file's name."""


@dataclass(frozen=True)
class Copied:
    """A version that was made: its folder, what was copied, and what lies beside the old data and was not.

    to_mend: `file:line` of what names the folders of older versions and not yet that of the new one.
    """

    source: Filter
    folder: Path
    version: str
    files: tuple[str, ...]
    left: tuple[str, ...]
    to_mend: tuple[str, ...] = ()


def bump(version: str) -> str:
    """The version after this one: its last number plus 1. ConfigError when it has none."""
    found = _LAST_NUMBER.search(version)
    if found is None:
        raise ConfigError(f"the version {version!r} has no number to count up", fix="Copy the folder by hand")
    number = str(int(found[1]) + 1).zfill(len(found[1]))
    return f"{version[: found.start()]}{number}{found[2]}"


def older_version(filter: Filter, workspace: Path | None = None) -> Filter | None:
    """The highest version below this one: beside it, or known by the filter's name. None where there is none.

    SpecError when that one is broken.
    """
    folders = {path.parent.name[1:]: path.parent for path in filter.path.absolute().parent.glob("v*/filter.yaml")}
    known = {version: path for name, version, path, _ in known_filters(workspace) if name == filter.name and path}
    found = {**known, **folders}
    older = [version for version in found if version_key(version) < version_key(filter.spec.version)]
    if not older:
        return None
    loaded = load_filter(found[max(older, key=version_key)])
    return loaded if loaded.name == filter.name else None


def next_version(source: Filter, parent: Path | None = None, workspace: Path | None = None) -> Copied:
    """Make the next version of a filter beside it: filter.yaml with its version counted up, and the files it names.

    With `parent` it becomes parent/NAME/vN. What is installed read-only gets its next version in the workspace's
    `filters/NAME`. ConfigError when that folder is there.
    """
    version = bump(source.spec.version)
    root = source.path.parent
    if parent is not None:
        root = parent / source.name
    elif _INSTALLED & set(source.path.resolve().parts):
        root = workspace_filters(workspace) / source.name
    folder = root / f"v{version}"
    copied = _copy(source, folder, {"version": version})
    return Copied(source, folder, version, *copied, to_mend=tuple(_names_of(folder)))


def other_filter(source: Filter, name: str, parent: Path) -> Copied:
    """A filter package NAME, with a version 1 that begins as a copy of `source`. ConfigError when one is there."""
    if name == source.name:
        raise ConfigError(f"{name!r} is that filter's own name", fix="Give another one, or --bump for its next version")
    target = parent / name
    folder = make_filter(name, parent, without=("v1/filter.yaml", "v1/prompt.md")) / "v1"
    try:
        copied = _copy(source, folder, {"name": name, "version": "1"})
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)  # it was not there before
        raise
    return Copied(source, folder, "1", *copied)


def _copy(source: Filter, folder: Path, values: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Copy a filter's data, whole or not at all; the names of what was copied, and of what was left."""
    data, _ = load(source.path / "filter.yaml")
    names = sorted(_data_files(source, data) - {"filter.yaml"})
    if folder.exists():
        raise ConfigError(
            "is there already", where=folder, fix="Edit it, or make the one after it: --from that version"
        )
    with _staged(folder) as staging:
        raw = (source.path / "filter.yaml").read_bytes()
        text = with_values(raw.decode("utf-8-sig"), str(source.path / "filter.yaml"), values)
        for name in names:
            _write(staging / name, inside(source.path, name).read_bytes())
        _write(staging / "filter.yaml", text.encode())
        load_filter(staging)  # what does not load is not left behind
    copied = ("filter.yaml", *names)
    here = sorted(path.name for path in source.path.iterdir() if not path.name.startswith((".", "__pycache__")))
    heads = {name.split("/")[0] for name in copied}
    return copied, tuple(name for name in here if name not in heads)


def _data_files(source: Filter, data: Any) -> set[str]:
    """Files in the filter's folder that its filter.yaml names: the prompt, and what its backends read."""
    base = source.path.resolve()
    names = {source.spec.prompt, *(text for text in _strings(data) if len(text) < _MOST_NAME and text.isprintable())}
    paths = {(base / name).resolve() for name in names if name.strip()}
    return {path.relative_to(base).as_posix() for path in paths if path.is_relative_to(base) and path.is_file()}


def _strings(data: Any) -> Iterator[str]:
    """Every text in nested mappings and lists."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping | list):
        for one in data.values() if isinstance(data, Mapping) else data:
            yield from _strings(one)


@contextlib.contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` when the block ends well."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise disk_error(error, folder) from error
    try:
        yield staging
        staging.chmod(0o755)
        try:
            staging.rename(folder)
        except OSError as error:
            raise disk_error(error, folder) from error
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _write(path: Path, data: bytes) -> None:
    with atomic_write(path) as file:
        file.write(data)


def _names_of(new: Path) -> Iterator[str]:
    """Lines of the dist's pyproject.toml that name the folders of versions, where none names that of the new one."""
    for folder in list(new.absolute().parents)[:4]:
        file = folder / "pyproject.toml"
        if file.is_file():
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            versions = "|".join(re.escape(path.parent.name) for path in new.parent.glob("v*/filter.yaml"))
            word = re.compile(rf"(?<![\w.])({versions})(?![\w.])")
            named = [(number, match[1]) for number, line in enumerate(lines, 1) for match in word.finditer(line)]
            if new.name not in {name for _, name in named}:
                yield from (f"{file}:{number}" for number in dict.fromkeys(number for number, _ in named))
            return
        if (folder / ".git").exists():
            return
