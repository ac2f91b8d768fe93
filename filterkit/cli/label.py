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
from filterkit.cli.judges import Wanted, consensus_options, parted
from filterkit.cli.label_batch import batch_options, check_batch, label_batch, refuse_batch_of_several
from filterkit.cli.label_consensus import judges_of, label_consensus, pilot_consensus, say_what_consensus_takes
from filterkit.cli.label_job import Job, spending_options
from filterkit.cli.label_pilot import label_sample
from filterkit.cli.label_plan import check_plan, plan_job, plan_options
from filterkit.cli.label_run import as_data, exit_code, look_first, say_what_it_takes
from filterkit.cli.label_samples import label_samples, samples_option
from filterkit.cli.label_screen import screen_option, screened
from filterkit.cli.label_select import select
from filterkit.cli.selecting import Choosing, select_options
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
@select_options(default=None)
@screen_option
@samples_option
@consensus_options
@batch_options
@plan_options
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
    choosing: Choosing,
    retry_failed: bool,
    dry_run: bool,
    pilot: int | None,
    batch: bool,
    wait: bool,
    no_screen: bool,
    samples: int,
    second: str | None,
    referee: str | None,
    tolerance: float | None,
    plan: bool,
    budget: float | None,
    output: Path | None,
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
    check_batch(batch, wait, pilot)
    taken = {"dry_run": dry_run, "pilot": pilot, "select": choosing.parts, "second": second, "wait": wait}
    to_spend = check_plan(plan, budget, output, **taken)
    filter = load(filter_name, filter_option, workspace)
    own, others = parted(options)
    config = configure(filter, workspace, "oracle", oracle, own)
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
        samples=samples,
        batch=batch,
    )
    job = screened(job, no_screen, whole=bool(choosing.parts))
    if to_spend is not None:
        return plan_job(job, to_spend, output)
    selection = select(job, choosing, keep=not dry_run)
    job = selection.job
    panel = judges_of(job, workspace, Wanted(second, referee, tolerance, others))
    if panel is not None:
        refuse_batch_of_several(batch)
        if dry_run:
            return say_what_consensus_takes(job, panel)
        return pilot_consensus(job, panel, pilot) if pilot else selection.over(label_consensus(job, panel))
    if dry_run:
        return say_what_it_takes(job)
    if pilot:
        return label_sample(job, pilot)
    before = look_first(job)
    if batch:
        return selection.over(label_batch(job, wait=wait))
    with Stop() as stop:
        report, rejects = label_samples(job, before, stop)
    if as_json:
        print_json({**as_data(report, rejects), **job.told})
    return selection.over(exit_code(report, rejects))
