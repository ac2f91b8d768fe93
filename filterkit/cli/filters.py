"""filterkit filters: the filter packages that are installed."""

from __future__ import annotations

import click

from filterkit.cli.common import json_option, print_json, print_table


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List the filter packages that are installed.

    A filter need not be installed: every command takes the path of its folder as well.
    """
    from filterkit.filters import installed_filters

    rows = [
        {"name": name, "version": version, "path": str(folder) if folder else None, "from": source}
        for name, version, folder, source in installed_filters()
    ]
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("No filter is installed. Try: pip install filterkit-filter-uplifting")
    else:
        heads = ("NAME", "VERSION", "FROM", "FOLDER")
        print_table(heads, [(str(r["name"]), str(r["version"]), str(r["from"]), str(r["path"] or "")) for r in rows])
