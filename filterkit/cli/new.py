"""filterkit new: a filter package or a plugin that passes its own tests."""

from __future__ import annotations

from pathlib import Path

import click

from filterkit.cli.common import FOLDER
from filterkit.errors import ConfigError
from filterkit.plugins import KNOWN_DISTS, plugins
from filterkit.skeleton import PLUGIN_KINDS, make_filter, make_plugin

DIR_OPTION = click.option(
    "--dir", "parent", type=FOLDER, default=".", help="Where to make its folder.  [default: this folder]"
)


@click.group()
def command() -> None:
    """Make a filter package or a plugin that passes its own tests."""


@command.command("filter")
@click.argument("name")
@DIR_OPTION
def new_filter(name: str, parent: Path) -> None:
    """Make a filter package: a filter.yaml, a rubric, tests and a pyproject.toml."""
    folder = make_filter(name, parent)
    click.echo(f"Made {folder}. Next:")
    click.echo(f"  edit {folder / 'v1' / 'prompt.md'} and {folder / 'v1' / 'filter.yaml'}")
    click.echo(f"  filterkit check {folder / 'v1'}")
    click.echo(f"  python -m pytest {folder}")


@command.command("plugin")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(PLUGIN_KINDS), default="oracle", show_default=True, help="What it adds to filterkit."
)
@DIR_OPTION
def new_plugin(name: str, kind: str, parent: Path) -> None:
    """Make a plugin: a small backend that works, and filterkit's contract suite to keep it so.

    A trainer comes with the model that reads its students.
    """
    taken = [f"{e.dist} {e.version}" for e in plugins().claims(kind, name)]
    if name in KNOWN_DISTS or f"filterkit-{name}" in KNOWN_DISTS.values():
        taken.append(KNOWN_DISTS.get(name, f"filterkit-{name}"))
    if taken:
        raise ConfigError(f"the name {name!r} belongs to {taken[0]}", fix="Choose another one")
    folder = make_plugin(name, kind, parent)
    click.echo(f"Made {folder}. Next:")
    click.echo(f"  pip install -e '{folder}[test]'")
    click.echo(f"  python -m pytest {folder}")
    click.echo(f"  filterkit plugins show {name}")
