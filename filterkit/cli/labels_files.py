"""filterkit labels import, labels export: labelled files and the store."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from filterkit.cli.common import (
    FILE,
    configure,
    filter_argument,
    json_option,
    load,
    on_terminal,
    print_json,
    store_option,
    store_path,
    workspace_option,
)
from filterkit.cli.steps import make_oracle, rejects_beside
from filterkit.config import Config
from filterkit.errors import ConfigError, InputError, PluginError
from filterkit.files import atomic_write
from filterkit.filters import Filter, load_filter
from filterkit.io import Rejects, parse_fields
from filterkit.pipeline.label import oracle_variant
from filterkit.plugins import plugins
from filterkit.rows import compress, dump_line
from filterkit.store import Question, Store
from filterkit.store.transfer import PEOPLE, Imported, check_names, import_labels, labelled_row, read_given

ROWS_TOGETHER = 1_000
oracle_options = click.option(
    "-O",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the oracle, where `filterkit label` is given it too. May be repeated.",
)


@click.command("import")
@click.argument("names", nargs=-1, metavar="FILTER FILE…")
@click.option("--filter", "filter_option", metavar="FILTER", help="The filter, as FILTER may be given too.")
@click.option("--oracle", metavar="NAME", help="Who scored: a backend's name, or human:NAME for a person.")
@click.option("--model", metavar="NAME", help="The model that was asked for, as the provider names it.")
@click.option("--fields", metavar="OURS=THEIRS,…", help="Which columns hold what: content=text,id=url.")
@oracle_options
@store_option
@workspace_option
@json_option
def import_command(
    names: tuple[str, ...],
    filter_option: str | None,
    oracle: str | None,
    model: str | None,
    fields: str | None,
    options: tuple[str, ...],
    store: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Put labelled files into the store, so that no article in them is ever paid for again.

    What a line says of its oracle and model goes before --oracle and --model; a line that says another name than
    the option is rejected. Labels that are in the store stand.
    """
    filter_name, files = (filter_option, names) if filter_option else (names[0] if names else None, names[1:])
    if not filter_name:
        raise click.UsageError("name a filter: a folder with a filter.yaml, or an installed filter's name")
    if not files:
        raise click.UsageError("name the labelled files")
    check_names(oracle, model)
    filter = load_filter(filter_name, workspace)
    config = configure(filter, workspace)
    asked = Asked(filter, config, options if oracle else (), oracle)
    rejects = rejects_beside(files, config.workspace)
    try:
        rows = read_given(files, filter.spec, rejects, fields=parse_fields(fields), oracle=oracle, model=model)
        with Store(store_path(config, store)) as opened:
            report = import_labels(opened, filter.spec, rows, asked.question, _progress())
    finally:
        rejects.close()
    if rejects.first and not report.read:
        raise InputError(f"no line holds a label; the first reason: {rejects.first}", where=", ".join(files[:3]))
    if as_json:
        print_json(
            {**asdict(report), "rejected": rejects.count, "rejects": str(rejects.path) if rejects.count else None}
        )
    else:
        _show_import(report, rejects)
    return 3 if rejects.count or report.conflicts else 0


def _progress() -> Callable[[Imported], None]:
    """Shows how far an import is: a live line on a terminal, now and then a plain one elsewhere."""
    live, last = on_terminal(), [time.monotonic()]

    def show(report: Imported) -> None:
        now = time.monotonic()
        if now - last[0] >= (0.2 if live else 5.0):
            last[0] = now
            text = f"read {report.read:,}, imported {report.new:,}"
            click.echo(f"\r\x1b[K{text}" if live else text, err=True, nl=not live)

    return show


def _show_import(report: Imported, rejects: Rejects) -> None:
    if on_terminal():
        click.echo("\r\x1b[K", err=True, nl=False)
    by = ", ".join(f"{count:,} of {name}" for name, count in sorted(report.oracles.items()))
    click.echo(
        f"{report.read:,} labels: {report.new:,} imported{f' ({by})' if by else ''}, {report.already:,} were there."
    )
    if report.edited:
        click.echo(f"  {report.edited:,} articles were known with another text: the one of the file counts now")
    for article_id in report.conflicting[:5]:
        click.echo(f"  id {article_id!r} has a label with other scores, which stands", err=True)
    if report.conflicts > 5:
        click.echo(f"  … and {report.conflicts - 5:,} more", err=True)
    if rejects.count:
        click.echo(f"  {rejects.count:,} lines could not be used; they are in {rejects.path}", err=True)


@click.command("export")
@filter_argument
@click.option("--output", type=FILE, help="Where they go (.jsonl, .jsonl.gz, .jsonl.zst).  [default: standard output]")
@click.option("--oracle", metavar="NAME", help="Only labels of this oracle.")
@click.option("--model", metavar="NAME", help="Only labels of this model.")
@oracle_options
@store_option
@workspace_option
@json_option
def export_command(
    filter_name: str | None,
    filter_option: str | None,
    output: Path | None,
    oracle: str | None,
    model: str | None,
    options: tuple[str, ...],
    store: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Write the labels of a filter's current rubric as labelled JSONL, which `import` and `prepare --labels` read."""
    if as_json and output is None:
        raise click.UsageError("--json needs --output: the labels go to standard output")
    if options and not oracle:
        raise click.UsageError("-O needs --oracle NAME: whose option is it?")
    if output is not None and output.suffix not in (".jsonl", ".gz", ".zst"):
        raise ConfigError("labels are written as .jsonl, .jsonl.gz or .jsonl.zst", where=output)
    filter = load(filter_name, filter_option, workspace)
    config = configure(filter, workspace)
    asked = Asked(filter, config, options, oracle)
    file = store_path(config, store)
    with Store(file, create=False) as opened:
        questions = _questions(opened, asked, oracle, model)
        rows = (labelled_row(row, filter.spec.names) for row in opened.labels_of(questions))
        count = _write_stdout(rows) if output is None else _write_file(rows, output)
    if as_json:
        print_json({"labels": count, "output": str(output)})
    else:
        click.echo(f"{count:,} labels{f' in {output}' if output else ''}", err=output is None)


class Asked:
    """What each oracle is asked about a filter: its options may be part of the question.

    `options` are those given for the oracle `given`, as `filterkit label --oracle NAME -O …` is given them.
    """

    def __init__(self, filter: Filter, config: Config, options: Sequence[str], given: str | None) -> None:
        self.filter, self._config, self._options, self._given = filter, config, options, given
        self._hashes: dict[str, str] = {}

    def question(self, oracle: str, model: str) -> Question:
        """The question of one oracle and one model."""
        if oracle not in self._hashes:
            self._hashes[oracle] = self.filter.request_hash(self._variant(oracle))
        return Question(self._hashes[oracle], oracle, model, f"{self.filter.name} {self.filter.spec.version}")

    def _variant(self, oracle: str) -> dict[str, Any]:
        """What the oracle adds to the question, as `label --oracle NAME` would ask. People, and backends that are not
        installed or cannot be set up here, add nothing."""
        if oracle.startswith(PEOPLE) or not plugins().claims("oracle", oracle):
            return {}
        options = self._options if oracle == self._given else ()
        config = configure(self.filter, self._config.workspace, "oracle", oracle, tuple(options))
        try:
            _, backend = make_oracle(config, self.filter, asks=False)
        except PluginError:
            return {}
        except ConfigError:
            if options or self._config.backends.get("oracle", {}).get("use") == oracle:
                raise
            return {}
        variant = oracle_variant(backend)
        backend.close()
        return variant


def _questions(store: Store, asked: Asked, oracle: str | None, model: str | None) -> list[Question]:
    """The questions with labels that answer the filter as it is now. InputError when there are none."""
    there = store.of_filter(asked.filter.name)
    every = [c for c in store.questions() if c.labels]
    current = [c.question for c in every if asked.question(c.question.oracle, c.question.model) == c.question]
    found = [q for q in current if oracle in (None, q.oracle) and model in (None, q.model)]
    if found:
        return found
    if current:
        others = ", ".join(sorted({f"{q.oracle} {q.model}".strip() for q in current}))
        narrowed = " ".join(name for name in (oracle, model) if name)
        raise InputError(f"holds no labels of {narrowed}; there are labels of {others}", where=store.path)
    older = sum(c.labels for c in there)
    more = f"; {older:,} labels answer another rubric of {asked.filter.name}" if older else ""
    raise InputError(f"holds no labels for this rubric{more}", where=store.path, fix="Run filterkit label first")


def _write_file(rows: Iterable[dict[str, Any]], output: Path) -> int:
    count = 0
    with atomic_write(output) as file:
        for number, data in _blocks(rows):
            file.write(compress(output, data))
            count += number
    return count


def _write_stdout(rows: Iterable[dict[str, Any]]) -> int:
    count = 0
    for number, data in _blocks(rows):
        sys.stdout.buffer.write(data)
        count += number
    sys.stdout.buffer.flush()
    return count


def _blocks(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[int, bytes]]:
    source = iter(rows)
    while block := [dump_line(row) for row in itertools.islice(source, ROWS_TOGETHER)]:
        yield len(block), b"".join(block)
