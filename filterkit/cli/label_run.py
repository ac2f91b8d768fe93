"""How `filterkit label` does what it was asked: look, ask, report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import click

from filterkit.cli import label_words as words
from filterkit.cli.budget_words import show_standing, standing
from filterkit.cli.common import on_terminal, print_json
from filterkit.cli.label_job import Job
from filterkit.cli.main import INTERRUPTED
from filterkit.cli.progress import LabelProgress, Total, watched
from filterkit.cli.steps import Labelling, before_labelling, label_articles, rejects_beside
from filterkit.errors import ConfigError, FilterkitError, StoppedEarly
from filterkit.io import Rejects, readable
from filterkit.pipeline.estimate import Estimate, Older
from filterkit.pipeline.judgement.totals import estimated_together
from filterkit.pipeline.label import LabelReport
from filterkit.records import Article
from filterkit.store import Spent


def say_what_it_takes(job: Job) -> int:
    """--dry-run: one pass over the articles, and words about it. ConfigError as the real run would raise it."""
    rejects = Rejects()
    with before_labelling(job.filter, job.config, job.store_file, batch=job.batch) as labelling:
        older = labelling.older()
        found = estimated(labelling, job, older, rejects)
        warn_of_repeats(labelling, job.samples)
        spent = labelling.spent
        refusal = refused_budget(job, labelling)
        workspace = standing(labelling.limits, labelling.store)
    if job.as_json:
        budget = {
            "spent_usd": spent.usd,
            "unknown_costs": spent.unknown,
            "max_cost_usd": job.max_cost,
            "workspace_budget": None if workspace is None else workspace.to_dict(),
        }
        refused = None if refusal is None else str(refusal)
        print_json(
            {
                "dry_run": True,
                "samples": job.samples,
                **found.to_dict(),
                "rejected": rejects.count,
                **budget,
                **job.told,
                "refused": refused,
            }
        )
    else:
        words.show_changes(older, found)
        words.show_estimate(found, rejects, spent, job.max_cost, job.samples)
        show_standing(workspace, needed=found.usd)
    warn_of_nothing(job, found.read, rejects)
    if refusal is not None:
        click.echo("Without --dry-run this will be refused, as follows.", err=True)
        raise refusal
    return 0


def estimated(labelling: Labelling, job: Job, older: Sequence[Older] = (), rejects: Rejects | None = None) -> Estimate:
    """What all answers that the job asks for will take; `rejects` gets the lines that are no articles once."""
    return estimated_together(
        [
            labelling.estimate(
                watched(one.articles(None if one.sample else rejects)),
                retry_failed=job.retry_failed,
                older=() if one.sample else older,
                sample=one.sample,
            )
            for one in job.each_answer(labelling.question)
        ]
    )


def refused_budget(job: Job, labelling: Labelling) -> ConfigError | None:
    """Why the job's budget cannot be kept, if it cannot."""
    try:
        labelling.require_price(job.max_cost)
    except ConfigError as error:
        return error
    return None


def look_first(job: Job) -> float:
    """What must be said, or asked, before money is spent. Returns what was spent on this question before.

    Raises InputError for files of another format, ConfigError when a budget has no price, and StoppedEarly when
    somebody at the terminal says no.
    """
    readable(job.files)
    with before_labelling(job.filter, job.config, job.store_file, batch=job.batch) as labelling:
        labelling.require_price(job.max_cost)
        warn_of_repeats(labelling, job.samples)
        older, spent = labelling.older(), labelling.spent
        found = None
        if older:
            found = estimated(labelling, job, older)
            words.show_changes(older, found)
        show_standing(standing(labelling.limits, labelling.store), err=True)
    if job.max_cost is not None:
        click.echo(f"so far {words.of_budget(spent, job.max_cost)} (--max-cost)", err=True)
    asked = found is not None and found.again and not job.yes and on_terminal() and sys.stdin.isatty()
    if asked and not click.confirm("Ask about them again?", err=True):
        raise StoppedEarly("nothing was asked", fix="The same command asks, with --yes without this question")
    return spent.usd


def label_all(
    job: Job, spent: float, stop: Callable[[], bool], articles: Iterable[Article] | None = None, title: str = "label"
) -> tuple[LabelReport, Rejects]:
    """Label the job's articles (or those given), with progress and a summary, also of a run that ends by an error."""
    rejects = rejects_beside(job.files, job.config.workspace) if articles is None else Rejects()
    left_out = job.told.get("screen", {}).get("left_out", 0)
    total = Total(job.files, job.limit, rejects, left_out) if articles is None and not job.after else None
    newest = LabelReport()

    def note(report: LabelReport) -> None:
        nonlocal newest
        newest = report
        progress(report)

    budget = None if job.max_cost is None else (spent, job.max_cost)
    title = f"{title} {job.filter.name} {job.filter.spec.version} · {job.config.backend('oracle')[0]}"
    title += f", answer {job.sample + 1}" if job.sample else ""
    progress = LabelProgress(total, title=title, budget=budget, stopping=stop)
    try:
        with progress:
            report = label_articles(
                job.filter,
                job.config,
                job.articles(rejects) if articles is None else articles,
                job.store_file,
                retry_failed=job.retry_failed,
                max_cost_usd=job.max_cost,
                sample=job.sample,
                progress=note,
                stop=stop,
                new_store=lambda path: click.echo(f"new label store: {path}", err=True),
            )
    except FilterkitError as error:
        if newest.read and not job.as_json:
            _say_done(job, newest, rejects)
        elif newest.read:
            print_json({**as_data(newest, rejects), **job.told, "error": str(error)})
        raise
    finally:
        rejects.close()
    if not job.as_json:
        _say_done(job, report, rejects)
    warn_of_nothing(job, report.read, rejects)
    return report, rejects


def warn_of_nothing(job: Job, read: int, rejects: Rejects) -> None:
    """Files without a line in them."""
    if "selection" not in job.told:  # which said of how many it chose
        words.warn_of_nothing(read, rejects)


def spent_so_far(job: Job) -> Spent:
    """What this question has cost, in all runs."""
    with before_labelling(job.filter, job.config, job.store_file, batch=job.batch) as labelling:
        return labelling.spent


def _say_done(job: Job, report: LabelReport, rejects: Rejects) -> None:
    words.show_report(report, rejects)
    spent = spent_so_far(job)
    if job.max_cost is not None or spent.held_usd:
        click.echo(f"  {words.of_budget(spent, job.max_cost)} is spent{words.held(spent)}")


def as_data(report: LabelReport, rejects: Rejects) -> dict[str, Any]:
    """What --json prints."""
    return {**asdict(report), "rejected": rejects.count, "rejects": str(rejects.path) if rejects.count else None}


def exit_code(report: LabelReport, rejects: Rejects) -> int:
    """130 stopped, 4 some are out in batch jobs, 3 some records failed, 0 all is well."""
    if report.stopped:
        return INTERRUPTED
    if report.in_jobs:
        return StoppedEarly.exit_code
    return 3 if report.failed or rejects.count else 0


def warn_of_repeats(labelling: Labelling, samples: int) -> None:
    """That asking once more may bring the same answer."""
    if samples < 2:
        return
    if labelling.deterministic:
        why = f"{labelling.question.oracle} answers a question the same way each time"
    elif labelling.filter.spec.generation.temperature == 0:
        why = "the filter asks at temperature 0 (generation.temperature)"
    else:
        return
    click.echo(f"note: {why}: --samples {samples} may bring little but the same answers", err=True)
