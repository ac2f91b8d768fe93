"""filterkit compare"""

from __future__ import annotations

import math
from pathlib import Path

import click

from filterkit.cli import compare_words as words
from filterkit.cli.common import (
    configure,
    json_option,
    load,
    print_json,
    store_option,
    store_path,
    workspace_option,
)
from filterkit.cli.compare_ask import ask, look_first
from filterkit.cli.compare_job import Job, check_judges, draw_articles, who_is_asked
from filterkit.cli.main import INTERRUPTED
from filterkit.io import Rejects
from filterkit.pipeline.compare.judges import from_store, read_files
from filterkit.pipeline.compare.report import CompareReport, compare

ARTICLES = 200
"""Articles of a sample: a mean absolute error of 1 is then known to within about 0.1."""


@click.command()
@click.argument("filter_names", metavar="FILTER…", nargs=-1)
@click.option("--filter", "filter_options", multiple=True, metavar="FILTER", help="As FILTER; may be repeated.")
@click.option(
    "--articles",
    "files",
    multiple=True,
    metavar="FILE",
    help="Articles to draw the sample from; may be repeated, or a glob. Not needed with --stored or --labels alone.",
)
@click.option("--fields", metavar="OURS=THEIRS,…", help="Which columns hold what: content=text,id=url.")
@click.option(
    "--oracle",
    "oracles",
    multiple=True,
    metavar="[LABEL=]NAME[:MODEL]",
    help="An oracle, and the model if not the configured one; may be repeated. LABEL is what it is called here.",
)
@click.option(
    "-O",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of every oracle, or with NAME., NAME:MODEL. or LABEL. before it of that one. May be repeated.",
)
@click.option(
    "--labels",
    "label_files",
    multiple=True,
    metavar="FILE",
    help="Labelled JSONL, by people or by others, as one more judge; matched by text or id. May be repeated.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1, max=10),
    default=1,
    show_default=True,
    help="Ask everything so many times: how far is an oracle from itself?",
)
@click.option(
    "--limit", type=click.IntRange(min=1, max=100_000), default=ARTICLES, show_default=True, help="Articles to sample."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Which sample; 0 begins with that of label --pilot."
)
@click.option("--stored", is_flag=True, help="Ask nothing: compare the labels that the store holds.")
@click.option("--retry-failed", is_flag=True, help="Ask again about articles that failed before.")
@click.option("--dry-run", is_flag=True, help="Say what would be asked and what it would cost; ask nothing.")
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0, min_open=True),
    metavar="USD",
    help="What all answers that are compared may cost together, those of earlier runs included.",
)
@store_option
@workspace_option
@json_option
def command(
    filter_names: tuple[str, ...],
    filter_options: tuple[str, ...],
    files: tuple[str, ...],
    fields: str | None,
    oracles: tuple[str, ...],
    options: tuple[str, ...],
    label_files: tuple[str, ...],
    repeat: int,
    limit: int,
    seed: int,
    stored: bool,
    retry_failed: bool,
    dry_run: bool,
    max_cost: float | None,
    store: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Hold oracles, or rubrics, against each other on a sample of articles.

    One FILTER and several oracles, or several filters (or versions of one) and one oracle. Everything goes through the
    label store: what was asked is not asked again, and what is asked here counts for `filterkit label`. --max-cost is
    for all answers that are compared, those of earlier runs included.
    """
    if max_cost is not None and not math.isfinite(max_cost):
        raise click.BadParameter("name an amount of dollars", param_hint="--max-cost")
    typed = filter_names + filter_options
    filters = [load(name, None, workspace) for name in typed or (None,)]
    rejects = Rejects()
    config = configure(filters[0], workspace)
    job = Job(store_path(config, store), [], [], rejects, repeat, stored, retry_failed, max_cost, as_json)
    job.files = [one for file in label_files for one in read_files(filters[0], file, rejects)]
    job.asked = who_is_asked(filters, typed, oracles, options, workspace, job)
    check_judges(job)
    draw_articles(job, filters[0], files, fields, limit, seed)
    estimates = [] if stored else look_first(job)
    if dry_run:
        return words.say_what_it_takes(estimates, job.articles, job.max_cost, as_json=as_json)
    if not stored and not ask(job):
        if as_json:
            print_json({"stopped": "interrupted"})
        return INTERRUPTED
    report = _compared(job, seed)
    if as_json:
        print_json({**report.to_dict(), "rejected": rejects.count})
    else:
        words.show(report, rejects)
    return 3 if report.failed or rejects.count else 0


def _compared(job: Job, seed: int) -> CompareReport:
    judges = [one.judge(job.articles) for one in job.files]
    with job.store() as store:
        if store is not None:
            asked = [from_store(c, job.articles, store, job.repeat) for c in job.candidates]
            judges = [*asked, *judges]
    return compare(judges, job.articles, seed)
