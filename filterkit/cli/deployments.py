"""filterkit deployments"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from filterkit.cli.common import configure, json_option, print_json, print_table, workspace_option
from filterkit.errors import FilterkitError
from filterkit.filters import load_filter
from filterkit.pipeline.deployments import DeploymentRecord, Unreadable, records_in
from filterkit.pipeline.standings import Standing, standings
from filterkit.untrusted import legible


@click.command()
@click.argument("filter_name", metavar="[FILTER]", required=False)
@click.option("--filter", "filter_option", metavar="FILTER", help="The filter, as FILTER may be given too.")
@click.option("--offline", is_flag=True, help="Show what is recorded, and ask no target.")
@workspace_option
@json_option
def command(
    filter_name: str | None, filter_option: str | None, offline: bool, workspace: Path | None, as_json: bool
) -> int:
    """List what was deployed and what is live, and say where records and target disagree (exit code 1)."""
    config = configure(None, workspace)
    given = filter_name or filter_option
    records, unreadable = records_in(config.workspace).read(_name(given) if given else None)
    found = standings(records, config.workspace, ask=not offline)
    disagree = any(standing.disagreements for standing in found)
    if as_json:
        print_json(_as_json(records, unreadable, found))
    else:
        _show(records, unreadable, found, given)
    return 1 if disagree else 0


def _name(given: str) -> str:
    """The name that records have of a filter, which may be gone since."""
    try:
        return load_filter(given).name
    except FilterkitError:
        return given.partition("@")[0]


def _as_json(
    records: Sequence[DeploymentRecord], unreadable: Sequence[Unreadable], found: Sequence[Standing]
) -> dict[str, Any]:
    live = [standing.live_record(records) for standing in found]
    return {
        "deployments": [{**r.model_dump(mode="json"), "live": r in live} for r in records],
        "targets": [standing.to_dict() for standing in found],
        "disagreements": [f"{s.target}: {words}" for s in found for words in s.disagreements],
        "unreadable": [{"file": str(one.file), "why": one.why} for one in unreadable],
    }


def _show(
    records: Sequence[DeploymentRecord],
    unreadable: Sequence[Unreadable],
    found: Sequence[Standing],
    filter_name: str | None,
) -> None:
    live = [standing.live_record(records) for standing in found]
    if records:
        head = ("when", "filter", "deployment", "student", "gates", "state", "target")
        print_table(head, [_row(record, record in live) for record in records])
    else:
        click.echo(f"nothing {f'of {legible(filter_name)} ' if filter_name else ''}was deployed from this workspace")
    for line in dict.fromkeys(words for record in records for words in _remarks(record)):
        click.echo(legible(line))
    for standing in found:
        for words in standing.disagreements:
            click.echo(legible(f"disagrees: {standing.target}: {words}"), err=True)
        if standing.problem:
            click.echo(legible(f"not asked: {standing.target}: {standing.problem}"), err=True)
    for one in unreadable:
        click.echo(legible(f"left out: {one.file}: {one.why}"), err=True)


def _remarks(record: DeploymentRecord) -> Iterator[str]:
    if record.why:
        yield f"{record.id}: {record.why}"
    if record.forced:
        yield f"{record.id}: forced: {record.forced.reason}"


def _row(record: DeploymentRecord, live: bool) -> tuple[str, ...]:
    state = ("live" if live else "earlier") if record.status == "live" else str(record.status)
    if live and record.status != "live":
        state = f"live, {state}"
    if record.action == "rollback":
        state += " (rollback)"
    name = f"{record.filter} {record.version}" if record.version else record.filter
    student = record.student_hash[:12]
    when = f"{record.when:%Y-%m-%d %H:%M}"
    return tuple(map(legible, (when, name, record.id, student, record.gates_in_words, state, record.target)))
