"""filterkit labels: the door of the label store."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from filterkit.articles import clean
from filterkit.cli.budget_words import show_standing, standing
from filterkit.cli.common import (
    FILE,
    configure,
    json_option,
    limits_of,
    print_json,
    print_table,
    store_option,
    store_path,
    workspace_option,
)
from filterkit.cli.labels_files import export_command, import_command
from filterkit.errors import InputError
from filterkit.rows import read_rows
from filterkit.store import Store
from filterkit.store.merge import Merged, merge
from filterkit.store.stats import QuestionStats, stats
from filterkit.store.upkeep import backup, forget

RUBRIC_CHARS = 8
HEADS = (
    *("FILTER", "RUBRIC", "ORACLE", "MODEL", "LABELS", "FAILED", "REQUESTS"),
    *("INPUT", "OUTPUT", "COST", "LATENCY", "LABELLED", "REPLIED"),
)


@click.group()
def command() -> None:
    """Bring labels in and out of the store, count them, merge, back up, forget."""


command.add_command(import_command)
command.add_command(export_command)


@command.command("stats")
@store_option
@workspace_option
@json_option
def stats_command(store: Path | None, workspace: Path | None, as_json: bool) -> None:
    """Show what each question's labels were made with, and what they took: models, requests, tokens, cost, time."""
    config = configure(None, workspace)
    with Store(store_path(config, store), create=False) as opened:
        found = stats(opened)
        budget = standing(limits_of(config), opened)
    if as_json:
        print_json([_stats_row(one) for one in found])
        return
    if found:
        _show_stats(found)
    else:
        click.echo("The store holds no questions yet.")
    show_standing(budget)


def _stats_row(one: QuestionStats) -> dict[str, Any]:
    row = asdict(one)
    question = row.pop("question")
    return {
        "filter": question["filter_name"],
        **{name: question[name] for name in ("request_hash", "oracle", "model")},
        **row,
        "first": _time(one.first),
        "last": _time(one.last),
    }


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _show_stats(found: Iterable[QuestionStats]) -> None:
    rows = []
    for one in found:
        question = one.question
        sent = f"{one.input_tokens:,}" + (f" ({one.cached_tokens:,} cached)" if one.cached_tokens else "")
        got = f"{one.output_tokens:,}" + (f" ({one.thinking_tokens:,} thinking)" if one.thinking_tokens else "")
        latency = "-" if one.latency_s is None else f"{one.latency_s:.2f} s"
        counts = [f"{n:,}" for n in (one.labels, one.failures, one.attempts)]
        counts[-1] += f" ({one.in_jobs:,} in jobs)" if one.in_jobs else ""
        names = (question.filter_name, question.request_hash[:RUBRIC_CHARS], question.oracle, question.model or "-")
        dates = f"{(_time(one.first) or '-')[:10]} to {(_time(one.last) or '-')[:10]}" if one.first else "-"
        rows.append((*names, *counts, sent, got, _money(one), latency, dates, _replied(one)))
    print_table(HEADS, [[_printable(cell) for cell in row] for row in rows])


def _printable(text: str) -> str:
    """Names that others chose cannot move the cursor."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _money(one: QuestionStats) -> str:
    """What is known, what is only reserved, what nobody knows."""
    parts = [f"${one.known_usd:,.4f}"]
    if one.held_usd:
        parts.append(f"{one.held_usd:,.4f} reserved")
    if one.unknown:
        parts.append(f"{one.unknown:,} requests unknown")
    return " + ".join(parts)


def _replied(one: QuestionStats) -> str:
    """The models that replied, where they are not just the one that was asked for."""
    names = {name: count for name, count in one.replied.items() if name}
    if set(names) <= {one.question.model}:
        return ""
    return ", ".join(f"{name}: {count:,}" for name, count in names.items())


@command.command("merge")
@click.argument("others", nargs=-1, required=True, metavar="OTHER…", type=FILE)
@store_option
@workspace_option
@json_option
def merge_command(others: tuple[Path, ...], store: Path | None, workspace: Path | None, as_json: bool) -> int:
    """Take over what other stores know: articles, labels, failures and the ledger of money.

    Merging again changes nothing. Where two stores contradict each other, the receiving one (--store) stands.
    """
    reports: dict[str, Merged] = {}
    with Store(store_path(configure(None, workspace), store)) as opened:
        for other in others:
            reports[str(other)] = merge(opened, other)
            if not as_json:
                _show_merged(other, reports[str(other)])
    if as_json:
        print_json({name: asdict(report) for name, report in reports.items()})
    return 3 if any(report.conflicts or report.edited for report in reports.values()) else 0


def _show_merged(other: Path, report: Merged) -> None:
    click.echo(
        f"{other}: {report.labels:,} new labels, {report.articles:,} articles, {report.failures:,} failures, "
        f"{report.attempts:,} requests (${report.usd:,.2f})"
    )
    if report.in_jobs:
        click.echo(
            f"  {report.in_jobs:,} of the requests are out in batch jobs there: here they count at their reserve, and "
            "may be asked again. Merge once more when they were collected there",
            err=True,
        )
    if report.conflicts:
        click.echo(f"  {report.conflicts:,} labels have other scores there: those of this store stand", err=True)
    if report.edited:
        click.echo(f"  {report.edited:,} articles have another text there: that of this store stands", err=True)


@command.command("backup")
@click.argument("file", type=FILE)
@store_option
@workspace_option
@json_option
def backup_command(file: Path, store: Path | None, workspace: Path | None, as_json: bool) -> None:
    """Copy the store to FILE, also while somebody labels into it, and check the copy."""
    with Store(store_path(configure(None, workspace), store), create=False) as opened:
        size = backup(opened, file)
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        click.echo(f"{file}: {size / 1e6:,.1f} MB, checked")


@command.command("forget")
@click.argument("ids", nargs=-1, metavar="ID…")
@click.option(
    "--from", "files", multiple=True, type=FILE, metavar="FILE", help="A file with an id a line, or JSONL with `id`."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@workspace_option
@json_option
def forget_command(
    ids: tuple[str, ...],
    files: tuple[Path, ...],
    yes: bool,
    store: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Remove articles and their labels from the store, so that no text of theirs is left in its files.

    What they cost stays in the ledger. Splits, exports and backups made before are not touched.
    """
    wanted = [*(clean(name) for name in ids), *(name for file in files for name in _ids(file))]
    if not wanted:
        raise click.UsageError("name the ids of articles, or a file of them with --from")
    path = store_path(configure(None, workspace), store)
    with Store(path, create=False) as opened:
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("forgetting cannot be undone: say --yes")
            click.confirm(
                f"Remove {len(set(wanted)):,} articles and their labels from {path} for good?", abort=True, err=True
            )
        report = forget(opened, wanted)
    if not report.articles:
        raise InputError(f"holds no article {report.unknown[0]!r}; nothing was removed", where=path)
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(f"{report.articles:,} articles, {report.labels:,} labels and {report.failures:,} failures removed")
        for name in report.unknown[:5]:
            click.echo(f"  there is no article {name!r}", err=True)
        if len(report.unknown) > 5:
            click.echo(f"  … and {len(report.unknown) - 5:,} more", err=True)
    return 3 if report.unknown else 0


def _ids(file: Path) -> Iterable[str]:
    """The ids in a file: lines of text, or the `id` of JSON rows."""
    if {".jsonl", ".parquet"} & set(file.suffixes):
        for number, row in read_rows(file):
            name = row if isinstance(row, str) else row.get("id")
            if isinstance(row, str) or isinstance(name, bool) or not isinstance(name, str | int) or name == "":
                raise InputError("holds no id" if not isinstance(row, str) else row, where=f"{file}:{number}")
            yield clean(str(name))
        return
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", where=file) from error
    yield from (clean(line.strip()) for line in lines if line.strip())
