"""Commands of other dists: the entry-point group `filterkit.commands`. None is imported until it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "filterkit.commands"


def entry_points() -> list[EntryPoint]:
    """All entry points of the group, by name."""
    if _none_on_path():
        return []
    import importlib.metadata

    return sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name)


def _none_on_path() -> bool:
    """Whether a look at the files shows that no dist adds commands, as is usual.

    importlib.metadata takes longer to import than click does, and `filterkit --help` needs it for nothing else. Where
    a dist might be found in another way than in a folder (a zip, a finder of its own), the answer is no.
    """
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        return False
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - pathlib takes longer to import than all of this takes
        except FileNotFoundError:
            continue
        except OSError:
            return False
        dists = [name for name in names if name.endswith((".dist-info", ".egg-info"))]
        if any(_adds(f"{folder or '.'}/{name}/entry_points.txt") for name in dists):
            return False
    return True


def _adds(file: str) -> bool:
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - as above
            return f"[{GROUP}]".encode() in opened.read()
    except OSError:
        return False


def added_commands(own: Collection[str]) -> dict[str, list[EntryPoint]]:
    """Command -> who claims it, by name; without filterkit's `own`, which nobody can replace."""
    found: dict[str, list[EntryPoint]] = {}
    for entry_point in entry_points():
        if entry_point.name not in own and not is_off(entry_point):
            found.setdefault(entry_point.name, []).append(entry_point)
    return found


def load_added(name: str, claims: list[EntryPoint]) -> click.Command:
    """The command of a name, imported. ClickException when two dists claim it or its own is broken."""
    if len(claims) > 1:
        both = " and ".join(map(whose, claims))
        raise click.ClickException(f"command {name!r} is claimed by {both}. Uninstall one of them.")
    where = f"command {name!r} of {whose(claims[0])}"
    try:
        command = claims[0].load()
    except (Exception, SystemExit) as error:
        raise click.ClickException(f"{where} is broken ({type(error).__name__}: {error})") from error
    if not isinstance(command, click.Command):
        raise click.ClickException(f"{where} is not a click command")
    return command


def whose(entry_point: EntryPoint) -> str:
    """Dist and version of an entry point."""
    dist = entry_point.dist
    return f"{dist.name} {dist.version}" if dist else "an unknown dist"


def is_off(entry_point: EntryPoint) -> bool:
    """Whether FILTERKIT_DISABLE_PLUGINS names this command's dist."""
    if not os.environ.get("FILTERKIT_DISABLE_PLUGINS") or not entry_point.dist:
        return False
    from filterkit.plugins import plain_name, switched_off

    return plain_name(entry_point.dist.name) in switched_off()
