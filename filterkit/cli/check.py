"""filterkit check: all that is wrong with filter packages, with line numbers."""

from __future__ import annotations

from dataclasses import asdict

import click

from filterkit.check import Report, check
from filterkit.cli.common import json_option, print_json
from filterkit.errors import SpecError


@click.command()
@click.argument("names", metavar="FILTER…", nargs=-1)
@click.option("--filter", "more", multiple=True, metavar="FILTER", help="A filter, as FILTER may be given too.")
@json_option
def command(names: tuple[str, ...], more: tuple[str, ...], as_json: bool) -> int:
    """List all that is wrong with filter packages.

    FILTER is a folder with a filter.yaml, or the name of an installed filter. Options of backends that are not
    installed cannot be checked; a note says so. Exit code 1 when something is wrong.
    """
    reports: dict[str, Report] = {}
    missing: dict[str, str] = {}
    if not (names or more):
        raise click.UsageError("name at least one filter")
    for name in (*names, *more):
        try:
            reports[name] = check(name)
        except SpecError as error:
            missing[name] = str(error)
    if as_json:
        found = {name: {"ok": not report.problems, **asdict(report)} for name, report in reports.items()}
        print_json({**found, **{name: {"ok": False, "problems": [why], "notes": []} for name, why in missing.items()}})
    else:
        _print(reports, missing)
    return 2 if missing else int(any(report.problems for report in reports.values()))


def _print(reports: dict[str, Report], missing: dict[str, str]) -> None:
    for name, report in reports.items():
        for problem in report.problems:
            click.echo(problem)
        for note in report.notes:
            click.echo(f"note: {note}")
        count = len(report.problems)
        click.echo(f"{name}: {'1 problem' if count == 1 else f'{count} problems' if count else 'nothing is wrong'}")
    for name, why in missing.items():
        click.echo(f"{name}: {why}" if name not in why else why)
