"""Workspaces, filter packages and plugins to begin with, written from the plain files under `templates/`.

In the name and the text of a template, @NAME@ and its like stand for words; there is no other syntax.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from filterkit.errors import ConfigError
from filterkit.files import atomic_write

TEMPLATES = Path(__file__).parent / "templates"
SUFFIX = ".tmpl"
"""Ends every template's name, so that nothing takes a template for what it becomes."""
WORKSPACE_FOLDERS = ("datasets", "filters", "students", "sandbox")
CI_HOSTS = ("github",)
"""Hosts of repositories that there is a workflow for, each in the template of its name."""
PLUGIN_KINDS = ("oracle", "trainer", "embedder", "deployer", "prefilter", "postfilter", "executor")
"""Kinds of plugin there is a skeleton for; the trainer's brings the model that reads its students."""

_FILTER_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
_BACKEND_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def make_workspace(root: Path, ci: str | None = None) -> tuple[list[Path], list[Path]]:
    """Make what is missing of a workspace; what was made, and what was there and is left as it is.

    ci: one of CI_HOSTS, whose workflow is made too.
    """
    made: list[Path] = []
    kept: list[Path] = []
    for folder in (root / name for name in WORKSPACE_FOLDERS):
        (kept if folder.is_dir() else made).append(folder)
        _make_folder(folder)
    for path, text in _render(["workspace", *([ci] if ci else [])], root, {}).items():
        if path.exists():
            kept.append(path)
        else:
            _write(path, text)
            made.append(path)
    return made, kept


def make_filter(name: str, parent: Path, *, without: Sequence[str] = ()) -> Path:
    """A filter package NAME with its version 1 in `parent`; its folder. ConfigError when one is there already.

    `without`: files that are not made, by their paths in the package.
    """
    if not _FILTER_NAME.fullmatch(name) or len(name) > 64:
        raise ConfigError(f"{name!r} is no name for a filter", fix="Use lower-case letters, digits, - and _: good-news")
    words = {"NAME": name, "DIST": f"filterkit-filter-{name}", "MODULE": f"filterkit_filter_{name.replace('-', '_')}"}
    return _make(["filter"], parent / name, words, without)


def make_plugin(name: str, kind: str, parent: Path) -> Path:
    """A plugin that registers the backend NAME of `kind`, in `parent`; its folder. ConfigError when one is there."""
    if not _BACKEND_NAME.fullmatch(name) or len(name) > 40:
        raise ConfigError(f"{name!r} is no name for a backend", fix="Use lower-case letters, digits and -: my-oracle")
    class_name = "".join(part.capitalize() for part in name.split("-"))
    words = {
        "NAME": name,
        "KIND": kind,
        "DIST": f"filterkit-{name}",
        "MODULE": f"filterkit_{name.replace('-', '_')}",
        "CLASS": class_name.removesuffix(kind.capitalize()) + kind.capitalize(),
    }
    return _make(["plugin/shared", f"plugin/{kind}"], parent / f"filterkit-{name}", words)


def _make(templates: Sequence[str], target: Path, words: Mapping[str, str], without: Sequence[str] = ()) -> Path:
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise ConfigError("is there already", where=target, fix="Choose another name or another --dir")
    for path, text in _render(templates, target, words).items():
        if path.relative_to(target).as_posix() not in without:
            _write(path, text)
    return target


def _render(templates: Sequence[str], target: Path, words: Mapping[str, str]) -> dict[Path, str]:
    """Path -> text of every file of the templates; a later template's file replaces an earlier one's."""
    out: dict[Path, str] = {}
    for root in (TEMPLATES / name for name in templates):
        for source in sorted(root.rglob(f"*{SUFFIX}")):
            name = _fill(source.relative_to(root).as_posix().removesuffix(SUFFIX), words)
            out[target / re.sub(r"(^|/)_gitignore$", r"\1.gitignore", name)] = _fill(
                source.read_text(encoding="utf-8"), words
            )
    return out


def _fill(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def _write(path: Path, text: str) -> None:
    _make_folder(path.parent)
    with atomic_write(path) as file:
        file.write(text.encode())


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot be made ({error.strerror})", where=path) from error
