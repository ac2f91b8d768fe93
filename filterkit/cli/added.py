"""Commands of other dists: the entry-point group `filterkit.commands`. None is imported until it is called."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "filterkit.commands"


def entry_points() -> list[EntryPoint]:
    """All entry points of the group, by name. (Its import is the dearest part of `filterkit --help`.)"""
    import importlib.metadata

    return sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name)


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
