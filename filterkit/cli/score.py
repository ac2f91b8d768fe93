"""filterkit score"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click

from filterkit.cli.common import (
    FILE,
    FOLDER,
    Stop,
    backend_options,
    configure,
    json_option,
    on_terminal,
    print_json,
    workspace_option,
)
from filterkit.config import Config
from filterkit.errors import FilterkitError
from filterkit.filters import load_filter
from filterkit.io import parse_fields
from filterkit.pipeline.score import Progress, ScoreReport, score


@click.command()
@click.argument("names", metavar="FILTER…", nargs=-1)
@click.option("--filter", "more", multiple=True, metavar="FILTER", help="A filter, as FILTER may be given too.")
@click.option(
    "--student", "--model", "students", multiple=True, type=FOLDER, help="The student's folder, one per filter."
)
@click.option(
    "--articles", "files", multiple=True, required=True, metavar="FILE", help="Articles; may be repeated, or a glob."
)
@click.option("--output", required=True, type=FILE, help="Where the verdicts go (.jsonl, .jsonl.gz, .jsonl.zst).")
@click.option("--fields", metavar="OURS=THEIRS,…", help="Which columns hold what: content=text,id=url.")
@click.option(
    "--remote",
    "remotes",
    multiple=True,
    metavar="URL",
    help="The endpoint or server (https://…) that scores in the student's place, one per filter; the student's folder "
    "calibrates. -O remote.KEY=VALUE sets how it is asked.",
)
@backend_options("executor")
@click.option("--device", default="auto", show_default=True, help="Where the student runs: auto, cpu, cuda …")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of a worker.")
@click.option("--restart", is_flag=True, help="Discard a half-done run of another plan.")
@workspace_option
@json_option
def command(
    names: tuple[str, ...],
    more: tuple[str, ...],
    students: tuple[Path, ...],
    files: tuple[str, ...],
    output: Path,
    fields: str | None,
    remotes: tuple[str, ...],
    executor: str | None,
    options: tuple[str, ...],
    device: str,
    threads: int | None,
    restart: bool,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Judge new articles with trained students."""
    filters = [*names, *more]
    if not filters:
        raise click.UsageError("name at least one filter")
    if students and len(students) != len(filters):
        raise click.UsageError(f"{len(filters)} filters need as many --student, not {len(students)}")
    if remotes and len(remotes) != len(filters):
        raise click.UsageError(f"{len(filters)} filters need as many --remote, not {len(remotes)}")
    config = configure(None, workspace, "executor", executor, options)
    folders = students or tuple(_student_of(config, f) for f in filters)
    with Stop() as stop:
        report = score(
            list(zip(filters, folders, strict=True)),
            files,
            output,
            executor=config.backend("executor"),
            fields=parse_fields(fields),
            device=device,
            threads=threads,
            remotes=remotes,
            remote_options=config.backends.get("remote", {}),
            restart=restart,
            progress=progress_line(),
            stop=stop,
        )
    if as_json:
        print_json(report.to_dict())
    else:
        show(report)
    return 0 if report.complete else 3


def _student_of(config: Config, name: str) -> Path:
    """Where the filter's student lies. A filter that cannot be loaded has none, and `score` says why."""
    try:
        return config.student_dir(load_filter(name))
    except FilterkitError:
        return Path("no-student")


def progress_line() -> Callable[[Progress], None]:
    """Shows rows, rate and time left: a live line on a terminal, now and then a plain one elsewhere."""
    live, started, last, first = on_terminal(), time.monotonic(), [0.0], [-1]

    def show_progress(progress: Progress) -> None:
        now = time.monotonic()
        if first[0] < 0:  # before the first shard: what an earlier run has done
            first[0], last[0] = progress.rows, now
            return
        if now - last[0] < (0.2 if live else 5.0) and progress.shards < progress.of_shards:
            return
        last[0] = now
        rate = (progress.rows - first[0]) / max(now - started, 1e-3)
        left = f", {(progress.of_rows - progress.rows) / rate:,.0f} s left" if rate else ""
        text = f"{progress.rows:,} of {progress.of_rows:,} rows, {rate:,.0f}/s{left}"
        click.echo(f"\r\x1b[K{text}" if live else text, err=True, nl=not live)

    return show_progress


def show(report: ScoreReport) -> None:
    """The report in words."""
    if on_terminal():
        click.echo("\r\x1b[K", err=True, nl=False)
    counts = report.counts
    click.echo(f"{counts.written:,} verdicts in {report.output}")
    for name, count in sorted(counts.tiers.items(), key=lambda item: -item[1]):
        click.echo(f"  {name}: {count:,}")
    for name, count in sorted(counts.blocked_by.items(), key=lambda item: -item[1]):
        click.echo(f"  held back by {name}: {count:,}")
    for name, count in sorted(counts.shadowed_by.items(), key=lambda item: -item[1]):
        click.echo(f"  would be held back by {name} (shadow mode): {count:,}")
    if counts.failed:
        click.echo(f"  {counts.failed:,} could not be scored; their rows say why", err=True)
    if counts.rejected:
        click.echo(f"  {counts.rejected:,} lines could not be read; they are in {report.rejects}", err=True)
    for name, why in report.skipped.items():
        click.echo(f"  filter {name} was skipped: {why}", err=True)
