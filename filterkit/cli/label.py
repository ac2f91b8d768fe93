"""filterkit label"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from filterkit.cli.common import (
    Stop,
    backend_options,
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
from filterkit.cli.main import INTERRUPTED
from filterkit.cli.steps import label_articles, rejects_beside
from filterkit.io import Rejects, parse_fields, read_articles
from filterkit.pipeline.label import LabelReport


@click.command()
@filter_argument
@click.option(
    "--articles", "files", multiple=True, required=True, metavar="FILE", help="Articles; may be repeated, or a glob."
)
@click.option("--fields", metavar="OURS=THEIRS,…", help="Which columns hold what: content=text,id=url.")
@backend_options("oracle")
@click.option("--limit", type=click.IntRange(min=1), help="Label at most so many articles.")
@click.option("--retry-failed", is_flag=True, help="Ask again about articles that failed before.")
@store_option
@workspace_option
@json_option
def command(
    filter_name: str | None,
    filter_option: str | None,
    files: tuple[str, ...],
    fields: str | None,
    oracle: str | None,
    options: tuple[str, ...],
    limit: int | None,
    retry_failed: bool,
    store: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Ask an oracle to score articles; what was answered is never asked again."""
    filter = load(filter_name, filter_option)
    config = configure(filter, workspace, "oracle", oracle, options)
    rejects = rejects_beside(files, config.workspace)
    with Stop() as stop:
        report = label_articles(
            filter,
            config,
            read_articles(files, parse_fields(fields), rejects),
            store_path(config, store),
            limit=limit,
            retry_failed=retry_failed,
            progress=progress_line(),
            stop=stop,
        )
    rejects.close()
    if as_json:
        print_json(
            {**asdict(report), "rejected": rejects.count, "rejects": str(rejects.path) if rejects.count else None}
        )
    else:
        show(report, rejects)
    if report.stopped:
        return INTERRUPTED
    return 3 if report.failed or rejects.count else 0


def progress_line(every_s: float = 5.0) -> Callable[[LabelReport], None]:
    """Shows how far labelling is: a live line on a terminal, now and then a plain one elsewhere."""
    live, last = on_terminal(), [time.monotonic()]

    def show_progress(report: LabelReport) -> None:
        now = time.monotonic()
        if now - last[0] < (0.2 if live else every_s):
            return
        last[0] = now
        cost = "" if report.cost_usd is None else f", ${report.cost_usd:.2f}"
        text = f"labelled {report.new:,}, already {report.already:,}, failed {report.failed:,}{cost}"
        click.echo(f"\r\x1b[K{text}" if live else text, err=True, nl=not live)

    return show_progress


def show(report: LabelReport, rejects: Rejects) -> None:
    """The report in words."""
    if on_terminal():
        click.echo("\r\x1b[K", err=True, nl=False)
    cost = "unknown cost" if report.cost_usd is None else f"${report.cost_usd:.2f}"
    click.echo(
        f"{report.read:,} articles: {report.new:,} labelled now, {report.already:,} were already, "
        f"{report.duplicates:,} with the same text, {report.failed:,} failed. "
        f"{report.attempts:,} requests, {cost}."
    )
    for article_id, reason in report.failures[:5]:
        click.echo(f"  failed: {article_id}: {reason}", err=True)
    if report.failed > 5:
        click.echo(f"  … and {report.failed - 5:,} more. `--retry-failed` asks again.", err=True)
    if rejects.count:
        click.echo(f"  {rejects.count:,} lines could not be read; they are in {rejects.path}", err=True)
    if report.stopped:
        click.echo("Stopped. Run the same command again to go on.", err=True)
