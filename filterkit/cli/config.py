"""filterkit config: the merged configuration, and where each value came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filterkit.cli.common import filter_argument, json_option, print_json, print_table, workspace_option

if TYPE_CHECKING:
    from filterkit.config import Config


@click.command()
@filter_argument
@workspace_option
@click.option("-O", "options", multiple=True, metavar="KIND.KEY=VALUE", help="An option, as other commands take it.")
@json_option
def command(
    filter_name: str | None,
    filter_option: str | None,
    workspace: Path | None,
    options: tuple[str, ...],
    as_json: bool,
) -> int:
    """Show the merged configuration and where each value came from.

    With FILTER, that filter's own choices are the lowest layer. Keys and tokens are no part of the configuration:
    they are read from the environment where they are used. Exit code 2 when an installed backend does not know
    an option that it is given.
    """
    from filterkit.cli.budget_words import show_standing, standing_of
    from filterkit.cli.common import configure, load, store_path

    filter = load(filter_name, filter_option, workspace) if filter_name or filter_option else None
    config = configure(filter, workspace, options=options)
    gates, loosened = config.gates(filter.spec) if filter else (None, [])
    values = config.to_dict()
    if gates is not None:
        values["gates"] = gates.model_dump(mode="json")
    origins = {key: config.origin(key, filter.spec if filter else None) for key, _ in flat(values)}
    wrong = list(_wrong_options(config))
    budget = standing_of(config, store_path(config, None))
    if as_json:
        result = {"workspace": str(config.workspace), "values": values, "origins": origins}
        spent = None if budget is None else budget.to_dict()
        print_json(result | {"loosened_gates": loosened, "problems": wrong, "budget": spent})
    else:
        rows = [(key, json.dumps(value, ensure_ascii=False), origins[key]) for key, value in flat(values)]
        print_table(("KEY", "VALUE", "FROM"), rows)
        show_standing(budget)
        for words in loosened:
            click.echo(f"Note: {words}")
        for problem in wrong:
            click.echo(f"Error: {problem}", err=True)
    return 2 if wrong else 0


def _wrong_options(config: Config) -> Iterator[str]:
    """Options that an installed backend refuses. One that is missing may still come with a command."""
    from filterkit.errors import PluginError
    from filterkit.options import option_problems
    from filterkit.plugins import plugins

    for kind in config.backends:
        name, options = config.backend(kind)
        try:
            backend = plugins().load(kind, name)
        except PluginError:
            continue  # said by the command that needs it
        for loc, what in option_problems(backend, options):
            if not what.endswith("is missing"):
                where = config.origin(".".join([kind, *map(str, loc)]))
                yield f"{where}: {kind} {name}: {what}"


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as (dotted key, value)."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
