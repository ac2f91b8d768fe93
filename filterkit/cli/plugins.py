"""filterkit plugins: what is installed, and the options of one backend."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from filterkit.cli.added import added_commands, entry_points, is_off
from filterkit.cli.common import json_option, print_json, print_table
from filterkit.plugins import DISABLE, Listed, plugins


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the plugins that are installed, or one backend's options.

    Nothing of a backend is imported for the list; `filterkit plugins show NAME` imports that one.
    """
    if ctx.invoked_subcommand:
        return
    lines = [*plugins().listed(), *_commands()]
    if as_json:
        print_json([asdict(line) for line in lines])
    else:
        heads = ("KIND", "NAME", "DIST", "VERSION", "STATE", "")
        print_table(heads, [(x.kind, x.name, x.dist, x.version, x.state, x.about) for x in lines])


@command.command()
@click.argument("name")
@click.option("--kind", help="Only this kind, where the name stands for several.")
@json_option
def show(name: str, kind: str | None, as_json: bool) -> int:
    """Show what a backend is and which options it takes."""
    from filterkit.options import describe

    found = describe(name, kind)
    if as_json:
        print_json(found)
    else:
        for number, backend in enumerate(found):
            _print(backend, gap=bool(number))
    return 2 if any(backend["problem"] for backend in found) else 0


def _commands() -> list[Listed]:
    from filterkit.cli.main import COMMANDS

    lines: list[Listed] = []
    rivals = added_commands(COMMANDS)
    for entry_point in entry_points():
        dist = entry_point.dist
        state, about = "ok", f"filterkit {entry_point.name}"
        if is_off(entry_point):
            state, about = "off", f"switched off by {DISABLE}"
        elif entry_point.name in COMMANDS:
            state, about = "conflict", "filterkit has a command of this name, which stays"
        elif len(rivals[entry_point.name]) > 1:
            state, about = "conflict", "claimed by another dist too"
        lines.append(
            Listed("command", entry_point.name, dist.name if dist else "?", dist.version if dist else "?", state, about)
        )
    return lines


def _print(backend: dict[str, Any], *, gap: bool) -> None:
    if gap:
        click.echo()
    click.echo(f"{backend['kind']} {backend['name']}: {backend['summary'] or 'no summary'}")
    click.echo(f"  from {backend['dist']} {backend['version']}, {backend['target']}")
    if backend["problem"]:
        click.echo(f"  Cannot be used: {backend['problem']}")
        return
    click.echo(f"  written for contract {backend['api']}")
    if not backend["options"]:
        click.echo("  It takes no options.")
        return
    click.echo("  Options:")
    for option in backend["options"]:
        click.echo(f"    {option['name']}  {option['type']}, {option['default_text']}")
        if option["description"]:
            click.echo(f"        {option['description']}")
