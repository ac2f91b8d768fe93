"""Filter packages: folders with a filter.yaml and a rubric, found by path or by installed name.

They are data: none of their Python runs.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
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

Row = tuple[str, str, Path | None, str]
"""Of a filter: name, version, folder or None, where it comes from or what is wrong with it."""


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


def load_filter(name_or_path: str | Path, workspace: Path | None = None) -> Filter:
    """The filter at a path, or by name (`uplifting`, `uplifting@1`) one that is installed or lies in the workspace.

    `workspace` is the folder in whose `filters/NAME/vN` names are looked for: without it the one of the variable
    FILTERKIT_WORKSPACE, or the current folder. Raises SpecError with the first thing that is wrong; `check_filter`
    lists all of them.
    """
    path = find_filter(name_or_path, workspace)
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


def find_filter(name_or_path: str | Path, workspace: Path | None = None) -> Path:
    """The folder of a filter package, as `load_filter` finds it. SpecError when there is none, with near names."""
    text = str(name_or_path)
    path = Path(text)
    if path.name == "filter.yaml" and path.is_file():
        return path.parent
    if (path / "filter.yaml").is_file():
        return path
    if path.is_dir():
        versions = _versions(path)
        if versions:
            return versions[max(versions, key=version_key)]
        raise SpecError("holds no filter.yaml", where=path, fix="Name the folder of one version, such as …/v1")
    return _find_by_name(text, workspace)


def known_filters(workspace: Path | None = None) -> list[Row]:
    """`installed_filters`, and those in the workspace's folder `filters/` that are not the same as an installed one."""
    rows = installed_filters()
    here = {(name, version): folder for name, version, folder, _ in rows}
    root = workspace_filters(workspace)
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir())
    except OSError:
        return rows
    for folder in folders:
        versions = _versions(folder)
        for version in sorted(versions, key=version_key):
            installed = here.get((folder.name, version))
            if installed is None or not _same(installed, versions[version]):
                rows.append((folder.name, version, versions[version], f"workspace ({root})"))
    return rows


def workspace_filters(workspace: Path | None = None) -> Path:
    """The folder in which a workspace keeps filters of its own: NAME/vN in it."""
    return (workspace or Path(os.environ.get("FILTERKIT_WORKSPACE", "."))) / "filters"


def _same(first: Path, second: Path) -> bool:
    """Whether two folders hold one filter: an installed copy of what lies in the workspace, say."""
    if first.resolve() == second.resolve():
        return True
    a, b = (_read(folder)[0] for folder in (first, second))
    return a is not None and b is not None and (a.spec, a.prompt) == (b.spec, b.prompt)


def installed_filters() -> list[Row]:
    """Every installed filter package."""
    rows: list[Row] = []
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name):
        dist = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown dist"
        root = _package_folder(entry.value)
        versions = _versions(root) if root else {}
        if not versions:
            rows.append((entry.name, "", None, f"{dist}: broken, no version folder with a filter.yaml"))
        for version in sorted(versions, key=version_key):
            rows.append((entry.name, version, versions[version], dist))
    return rows


def _find_by_name(text: str, workspace: Path | None) -> Path:
    name, _, version = text.partition("@")
    known = known_filters(workspace)
    rows = sorted((r for r in known if r[0] == name and r[2] is not None), key=lambda r: version_key(r[1]))
    if rows:
        wanted = version or rows[-1][1]
        folders = {r[3]: r[2] for r in rows if r[1] == wanted and r[2] is not None}
        dists = {r[3] for r in rows if not r[3].startswith("workspace")}
        claims = dists if len(dists) > 1 else set(folders)
        if len(claims) > 1:
            raise SpecError(f"filter {name!r} is claimed by {' and '.join(sorted(claims))}; give a path instead")
        if folders:
            return folders.popitem()[1]
        there = ", ".join(dict.fromkeys(r[1] for r in rows))
        raise SpecError(f"filter {name!r} has no version {version!r}", fix=f"There is: {there}")
    names = sorted({r[0] for r in known})
    near = get_close_matches(name, names, 1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known filters: {', '.join(names) or 'none'}"
    raise SpecError(
        f"there is no folder, none in {workspace_filters(workspace)} and no installed filter {text!r}", fix=hint
    )


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


def version_key(version: str) -> list[tuple[int, str]]:
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
