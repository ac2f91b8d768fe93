"""filterkit init: a workspace."""

from __future__ import annotations

from pathlib import Path

import click

from filterkit.cli.common import FOLDER
from filterkit.skeleton import CI_HOSTS, make_workspace


@click.command()
@click.argument("directory", metavar="DIR", type=FOLDER)
@click.option(
    "--ci",
    type=click.Choice(CI_HOSTS),
    help="Write a workflow too, which checks, tests, validates, and deploys and verifies on a tag.",
)
def command(directory: Path, ci: str | None) -> None:
    """Make a workspace.

    A workspace is a folder with a filterkit.yaml, and room for filters, data and students. What is there already is
    left as it is.
    """
    made, kept = make_workspace(directory, ci)
    for path in made:
        click.echo(f"made   {path}{'/' if path.is_dir() else ''}")
    for path in kept:
        click.echo(f"kept   {path}{'/' if path.is_dir() else ''} (was there already)")
    click.echo("\nNext:")
    if directory.resolve() != Path.cwd():
        click.echo(f"  cd {directory}")
    click.echo("  filterkit new filter NAME --dir filters     a filter of your own")
    click.echo("  filterkit filters                           filters that are installed")
    click.echo("  filterkit config                            what is configured, and where")
    if ci:
        click.echo("  git add -f filters/NAME/vN/model datasets    students and splits, which the workflow validates")
