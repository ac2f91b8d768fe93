"""filterkit new: a filter package or a plugin that passes its own tests."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from filterkit.cli.common import FOLDER, load, workspace_option
from filterkit.errors import ConfigError, SpecError
from filterkit.plugins import KNOWN_DISTS, plugins
from filterkit.skeleton import PLUGIN_KINDS, make_filter, make_plugin

if TYPE_CHECKING:
    from filterkit.filters import Filter

DIR_OPTION = click.option(
    "--dir", "parent", type=FOLDER, default=".", help="Where to make its folder.  [default: this folder]"
)


@click.group()
def command() -> None:
    """Make a filter package or a plugin that passes its own tests."""


@command.command("filter")
@click.argument("name")
@click.option(
    "--from", "source", metavar="FILTER", help="Begin with the data of another filter: NAME, NAME@VERSION or a folder."
)
@click.option("--bump", is_flag=True, help="Make the next version of FILTER, beside it, under the same name.")
@click.option(
    "--dir",
    "parent",
    type=FOLDER,
    help="Where to make its folder.  [default: this folder; with --bump beside the old version]",
)
@workspace_option
def new_filter(name: str, source: str | None, bump: bool, parent: Path | None, workspace: Path | None) -> int:
    """Make a filter package: a filter.yaml, a rubric, tests and a pyproject.toml.

    With --from it begins with another filter's filter.yaml and rubric; with --bump too it is the next version of that
    filter. Only data is copied: no student, and nothing that its filter.yaml does not name.
    """
    if bump and source is None:
        raise click.UsageError("--bump makes the next version of a filter: say of which one, --from NAME@1")
    if source is None:
        folder = make_filter(name, parent or Path())
        click.echo(f"Made {folder}. Next:")
        _show_edits(folder / "v1")
        click.echo(f"  python -m pytest {quote(str(folder))}")
        return 0
    return _copy(load(source, None, workspace), name, parent, workspace, bump=bump)


def _copy(source: Filter, name: str, parent: Path | None, workspace: Path | None, *, bump: bool) -> int:
    """--from. 1 when something is wrong with the copy that was not wrong enough for loading it."""
    from filterkit.check import check
    from filterkit.versions import next_version, other_filter

    if bump and name != source.name:
        raise ConfigError(
            f"the next version of {source.name!r} is called {source.name!r} too, not {name!r}",
            fix=f"filterkit new filter {source.name} --from {source.name}@{source.spec.version} --bump",
        )
    made = next_version(source, parent, workspace) if bump else other_filter(source, name, parent or Path())
    click.echo(f"Made {made.folder} from {source.path}: {', '.join(made.files)}")
    if made.left:
        click.echo(f"  not copied: {', '.join(made.left)}")
    found = check(made.folder)
    for problem in found.problems:
        click.echo(problem, err=True)
    click.echo("Next:")
    for place in made.to_mend:
        click.echo(f"  name {made.folder.name} in {place} too: it names the versions that are in the wheel")
    _show_edits(made.folder, source.spec.prompt)
    if bump:
        old, new = (_called(name, one, workspace) for one in (source.path, made.folder))
        click.echo(f"  filterkit compare {old} {new} --articles FILE --limit 100")
        click.echo(f"  filterkit label {new} --plan --budget USD --articles FILE")
    else:
        click.echo(f"  python -m pytest {quote(str(made.folder.parent))}")
    return 1 if found.problems else 0


def _show_edits(folder: Path, prompt_name: str = "prompt.md") -> None:
    prompt, spec = (quote(str(folder / name)) for name in (prompt_name, "filter.yaml"))
    click.echo(f"  edit {prompt} and {spec}")
    click.echo(f"  filterkit check {quote(str(folder))}")


def _called(name: str, folder: Path, workspace: Path | None) -> str:
    """How to name a version on the command line: NAME@VERSION where that finds it, else its folder."""
    from filterkit.filters import find_filter

    short = f"{name}@{folder.name.removeprefix('v')}"
    try:
        return short if find_filter(short, workspace).resolve() == folder.resolve() else quote(str(folder))
    except SpecError:
        return quote(str(folder))


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
