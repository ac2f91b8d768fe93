"""filterkit filters: the filter packages that are installed, and those of the workspace."""

from __future__ import annotations

from pathlib import Path

import click

from filterkit.cli.common import json_option, print_json, print_table, workspace_option


@click.command()
@workspace_option
@json_option
def command(workspace: Path | None, as_json: bool) -> None:
    """List the filter packages that are installed, and those in the workspace's folder filters/.

    Any other filter is named by the path of its folder.
    """
    from filterkit.filters import known_filters

    rows = [
        {"name": name, "version": version, "path": str(folder) if folder else None, "from": source}
        for name, version, folder, source in known_filters(workspace)
    ]
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("No filter is installed. Try: pip install filterkit-filter-uplifting")
    else:
        heads = ("NAME", "VERSION", "FROM", "FOLDER")
        print_table(heads, [(str(r["name"]), str(r["version"]), str(r["from"]), str(r["path"] or "")) for r in rows])
