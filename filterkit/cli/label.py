"""filterkit label"""

from __future__ import annotations

from pathlib import Path

import click

from filterkit.cli.common import (
    Stop,
    backend_options,
    configure,
    filter_argument,
    json_option,
    load,
    print_json,
    store_option,
    store_path,
    workspace_option,
)
from filterkit.cli.label_job import Job, spending_options
from filterkit.cli.label_run import as_data, exit_code, label_all, label_sample, look_first, say_what_it_takes
from filterkit.io import parse_fields

PILOT = 50
"""Articles of a pilot: a share of a half is then known to within 14 points."""


@click.command()
@filter_argument
@click.option(
    "--articles",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    help="Articles: .jsonl, .jsonl.gz, .jsonl.zst or .parquet; may be repeated, or a glob.",
)
@click.option("--fields", metavar="OURS=THEIRS,…", help="Which columns hold what: content=text,id=url.")
@backend_options("oracle")
@click.option("--limit", type=click.IntRange(min=1), help="Label at most so many articles.")
@click.option("--retry-failed", is_flag=True, help="Ask again about articles that failed before.")
@click.option("--dry-run", is_flag=True, help="Say what would be asked and what it would cost; ask nothing.")
@click.option(
    "--pilot",
    type=click.IntRange(min=1, max=100_000),
    is_flag=False,
    flag_value=PILOT,
    metavar="[N]",
    help=f"Label a sample of N articles ({PILOT}), show how their scores lie and what the rest will cost.",
)
@spending_options
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
    dry_run: bool,
    pilot: int | None,
    max_cost: float | None,
    yes: bool,
    store: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Ask an oracle to score articles; what was answered is never asked again.

    Articles are JSON lines with title and content (.jsonl, .jsonl.gz, .jsonl.zst) or Parquet (.parquet).
    """
    if dry_run and pilot:
        raise click.UsageError("--dry-run asks nothing and --pilot asks a little: choose one")
    filter = load(filter_name, filter_option)
    config = configure(filter, workspace, "oracle", oracle, options)
    job = Job(
        filter,
        config,
        files,
        parse_fields(fields),
        store_path(config, store),
        limit,
        retry_failed,
        max_cost,
        yes,
        as_json,
    )
    if dry_run:
        return say_what_it_takes(job)
    if pilot:
        return label_sample(job, pilot)
    before = look_first(job)
    with Stop() as stop:
        report, rejects = label_all(job, before, stop)
    if as_json:
        print_json(as_data(report, rejects))
    return exit_code(report, rejects)
