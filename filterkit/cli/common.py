"""What several commands share: options, configuration, stopping, output.

Configuration and filters are imported in the functions that need them: a command that only lists must start fast.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from filterkit.config import Config
    from filterkit.filters import Filter
    from filterkit.store import Limits

F = TypeVar("F", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


def filter_argument(command: F) -> F:
    """FILTER, given by position or as --filter."""
    command = click.option(
        "--filter", "filter_option", metavar="FILTER", help="The filter, as FILTER may be given too."
    )(command)
    return click.argument("filter_name", metavar="FILTER", required=False)(command)


def workspace_option(command: F) -> F:
    """--workspace DIR"""
    return click.option(
        "--workspace", type=FOLDER, help="The workspace: the folder of filterkit.yaml.  [default: this folder]"
    )(command)


def store_option(command: F) -> F:
    """--store FILE"""
    return click.option("--store", type=FILE, help="The label store.  [default: labels.db in the workspace]")(command)


def json_option(command: F) -> F:
    """--json"""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def backend_options(kind: str) -> Callable[[F], F]:
    """--KIND NAME and -O key=value for it."""

    def decorate(command: F) -> F:
        command = click.option(
            "-O",
            "options",
            multiple=True,
            metavar="KEY=VALUE",
            help=f"An option of the {kind}, or KIND.KEY=VALUE for another backend. May be repeated.",
        )(command)
        return click.option(f"--{kind}", metavar="NAME", help=f"Which {kind} to use.")(command)

    return decorate


def the_filter(name: str | None, option: str | None) -> str:
    """The one filter that was named, by position or by option."""
    if name and option and name != option:
        raise click.UsageError(f"two filters are named: {name!r} and --filter {option!r}")
    if not (name or option):
        raise click.UsageError("name a filter: a folder with a filter.yaml, or an installed filter's name")
    return str(name or option)


def configure(
    filter: Filter | None,
    workspace: Path | None,
    kind: str | None = None,
    name: str | None = None,
    options: tuple[str, ...] = (),
    more: Mapping[str, Any] | None = None,
) -> Config:
    """The merged configuration with a command's own words on top."""
    from filterkit.config import load_config, parse_option

    given = {f"{kind}.use": name} if kind and name else {}
    given |= dict(parse_option(o, kind) for o in options)
    given |= {k: v for k, v in (more or {}).items() if v is not None}
    return load_config(workspace, filter.spec if filter else None, given)


def load(name: str | None, option: str | None, workspace: Path | None = None) -> Filter:
    """The filter that a command was given; a name is looked for in the workspace too."""
    from filterkit.filters import load_filter

    return load_filter(the_filter(name, option), workspace)


def store_path(config: Config, given: Path | None) -> Path:
    """The label store's file: the option is relative to where the user stands, the config to the workspace."""
    return given if given is not None else config.path(config.settings.store)


def limits_of(config: Config) -> Limits:
    """What a workspace lets its oracles cost. Whatever asks one opens the label store with these."""
    from filterkit.store import Limits

    return Limits(config.settings.budget.total_usd, config.settings.budget.per_day_usd)


def data_dir(config: Config, filter: Filter) -> Path:
    """Where a filter's splits lie unless said otherwise."""
    return config.workspace / "datasets" / f"{filter.name}-v{filter.spec.version}"


def counted(count: int, thing: str) -> str:
    """A number of things in words: 1 line, 2 lines."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under their headings, in aligned columns; the last one may be as long as it is."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


class Stop:
    """True after the first Ctrl-C or SIGTERM; the second one interrupts at once. `quiet`: it says nothing of it."""

    def __init__(self, quiet: bool = False) -> None:
        self.asked = False
        self._quiet = quiet

    def __call__(self) -> bool:
        return self.asked

    def __enter__(self) -> Stop:
        self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if self._quiet:
            return
        with contextlib.suppress(OSError):  # `2>&1 | tee`: Ctrl-C ended the reader first
            click.echo("Stopping after what is in flight. Once more to stop at once.", err=True)


def on_terminal() -> bool:
    """Whether a live line makes sense."""
    return sys.stderr.isatty()
