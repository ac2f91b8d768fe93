"""Filter packages: folders with a filter.yaml and a rubric, found by path or by installed name.

They are data: none of their Python runs.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from filterkit.errors import ConfigError, FilterkitError, InputError, SpecError
from filterkit.explain import Loc, explain
from filterkit.files import inside
from filterkit.prompt import request_hash, rubric_text
from filterkit.spec import FilterSpec, problems
from filterkit.yamlfile import Lines, line_of, load

GROUP = "filterkit.filters"
MAX_PROMPT_BYTES = 500_000


@dataclass(frozen=True)
class Filter:
    """A filter package that was loaded and found right."""

    path: Path
    spec: FilterSpec
    prompt: str

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def rubric(self) -> str:
        """The prompt up to the article: the part that is the same for every request."""
        return rubric_text(self.prompt)

    def request_hash(self, variant: dict[str, Any] | None = None) -> str:
        """Fingerprint of what the oracle is asked; see `filterkit.prompt.request_hash`."""
        return request_hash(self.spec, self.prompt, variant)


def load_filter(name_or_path: str | Path) -> Filter:
    """The filter at a path, or an installed one by name (`uplifting`, `uplifting@1`).

    Raises SpecError with the first thing that is wrong; `check_filter` lists all of them.
    """
    path = find_filter(name_or_path)
    loaded, wrong = _read(path)
    if wrong or loaded is None:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise SpecError(
            wrong[0] + more, fix=f"`filterkit check {name_or_path}` lists everything" if len(wrong) > 1 else None
        )
    return loaded


def check_filter(name_or_path: str | Path) -> list[str]:
    """Everything that is wrong with a filter package, as `file:line: what`; empty when it is right."""
    return _read(find_filter(name_or_path))[1]


def find_filter(name_or_path: str | Path) -> Path:
    """The folder of a filter package. Raises SpecError when there is none, with near names."""
    text = str(name_or_path)
    path = Path(text)
    if path.name == "filter.yaml" and path.is_file():
        return path.parent
    if (path / "filter.yaml").is_file():
        return path
    if path.is_dir():
        versions = _versions(path)
        if versions:
            return versions[max(versions, key=_version_key)]
        raise SpecError("holds no filter.yaml", where=path, fix="Name the folder of one version, such as …/v1")
    return _find_installed(text)


def installed_filters() -> list[tuple[str, str, Path | None, str]]:
    """(name, version, folder or None, where it comes from or what is wrong) of every installed filter package."""
    rows: list[tuple[str, str, Path | None, str]] = []
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name):
        dist = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown dist"
        root = _package_folder(entry.value)
        versions = _versions(root) if root else {}
        if not versions:
            rows.append((entry.name, "", None, f"{dist}: broken, no version folder with a filter.yaml"))
        for version in sorted(versions, key=_version_key):
            rows.append((entry.name, version, versions[version], dist))
    return rows


def _find_installed(text: str) -> Path:
    name, _, version = text.partition("@")
    rows = [r for r in installed_filters() if r[0] == name and r[2] is not None]
    if len({r[3] for r in rows}) > 1:
        raise SpecError(
            f"filter {name!r} is claimed by {' and '.join(sorted({r[3] for r in rows}))}; give a path instead"
        )
    for _, found, folder, _ in reversed(rows):
        if folder is not None and version in ("", found):
            return folder
    if rows:
        raise SpecError(
            f"filter {name!r} has no version {version!r}", fix=f"Installed: {', '.join(r[1] for r in rows)}"
        )
    names = sorted({r[0] for r in installed_filters()})
    near = get_close_matches(name, names, 1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Installed filters: {', '.join(names) or 'none'}"
    raise SpecError(f"there is no folder and no installed filter {text!r}", fix=hint)


def _package_folder(package: str) -> Path | None:
    """The folder of an import package, without executing any of its code."""
    if "." in package or ":" in package:  # a parent package would be executed to find it
        return None
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    places = list(found.submodule_search_locations or []) if found else []
    return Path(places[0]) if places else None


def _versions(root: Path) -> dict[str, Path]:
    """Version -> folder, of the folders vX of a filter's root that hold a filter.yaml."""
    return {p.name[1:]: p for p in sorted(root.glob("v*")) if (p / "filter.yaml").is_file()}


def _version_key(version: str) -> list[tuple[int, str]]:
    """Sorts 10 after 9, and 2-rc1 before 2."""
    parts = [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"[._+-]", version)]
    return [*parts, (0, "")]


def _read(path: Path) -> tuple[Filter | None, list[str]]:
    file = path / "filter.yaml"
    try:
        data, lines = load(file)
    except ConfigError as error:
        return None, [str(error)]
    try:
        spec = FilterSpec.model_validate(data)
    except ValidationError as error:
        wrong = [at_line(file, lines, loc, what) for loc, what in explain(error, FilterSpec)]
        name = data.get("prompt", FilterSpec.model_fields["prompt"].default)
        return None, [*wrong, *(_check_prompt(path, name, lines)[1] if isinstance(name, str) else [])]
    wrong = [at_line(file, lines, loc, what) for loc, what in problems(spec)]
    prompt, more = _check_prompt(path, spec.prompt, lines)
    wrong += more
    return (None if wrong else Filter(path, spec, prompt)), wrong


def _check_prompt(path: Path, name: str, lines: Lines) -> tuple[str, list[str]]:
    """The prompt's text, and what is wrong with it."""
    try:
        prompt = _read_prompt(path, name)
        rubric_text(prompt)
    except InputError as error:
        return "", [at_line(path / "filter.yaml", lines, ("prompt",), error.what)]
    except FilterkitError as error:
        return "", [str(error) if error.where else f"{path / name}: {error.what}"]
    return prompt, []


def _read_prompt(root: Path, name: str) -> str:
    try:
        path = inside(root, name)
        with path.open("rb") as file:
            raw = file.read(MAX_PROMPT_BYTES + 1)
        if len(raw) > MAX_PROMPT_BYTES:
            raise SpecError(f"is larger than {MAX_PROMPT_BYTES:,} bytes", where=path)
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise SpecError(f"cannot be read ({error.strerror})", where=root / name) from error
    except UnicodeDecodeError as error:
        raise SpecError(f"is not UTF-8 (byte {error.start})", where=root / name) from error


def at_line(file: Path, lines: Lines, loc: Loc, what: str) -> str:
    """`what` behind the file and the line where the value at `loc` stands."""
    line = line_of(lines, loc)
    return f"{file}:{line}: {what}" if line else f"{file}: {what}"
