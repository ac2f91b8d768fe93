"""How `filterkit label` does what it was asked: look, ask, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import click

from filterkit.cli import label_words as words
from filterkit.cli.common import Stop, on_terminal, print_json
from filterkit.cli.label_job import Job
from filterkit.cli.main import INTERRUPTED
from filterkit.cli.progress import LabelProgress, Total
from filterkit.cli.steps import Labelling, before_labelling, label_articles, rejects_beside
from filterkit.errors import ConfigError, FilterkitError, StoppedEarly
from filterkit.io import Rejects, readable
from filterkit.pipeline.label import LabelReport
from filterkit.pipeline.pilot import Sample
from filterkit.records import Article
from filterkit.store import Spent


def say_what_it_takes(job: Job) -> int:
    """--dry-run: one pass over the articles, and words about it. ConfigError as the real run would raise it."""
    rejects = Rejects()
    with before_labelling(job.filter, job.config, job.store_file) as labelling:
        older = labelling.older()
        found = labelling.estimate(_watched(job.articles(rejects)), retry_failed=job.retry_failed, older=older)
        spent = labelling.spent
        refusal = refused_budget(job, labelling)
    if job.as_json:
        budget = {"spent_usd": spent.usd, "unknown_costs": spent.unknown, "max_cost_usd": job.max_cost}
        refused = None if refusal is None else str(refusal)
        print_json({"dry_run": True, **found.to_dict(), "rejected": rejects.count, **budget, "refused": refused})
    else:
        words.show_changes(older, found)
        words.show_estimate(found, rejects, spent, job.max_cost)
    words.warn_of_nothing(found.read, rejects)
    if refusal is not None:
        click.echo("Without --dry-run this will be refused, as follows.", err=True)
        raise refusal
    return 0


def refused_budget(job: Job, labelling: Labelling) -> ConfigError | None:
    """Why the job's budget cannot be kept, if it cannot."""
    if job.max_cost is not None:
        try:
            labelling.pricing.require()
        except ConfigError as error:
            return error
    return None


def look_first(job: Job) -> float:
    """What must be said, or asked, before money is spent. Returns what was spent on this question before.

    Raises InputError for files of another format, ConfigError when a budget has no price, and StoppedEarly when
    somebody at the terminal says no.
    """
    readable(job.files)
    with before_labelling(job.filter, job.config, job.store_file) as labelling:
        if job.max_cost is not None:
            labelling.pricing.require()
        older, spent = labelling.older(), labelling.spent
        found = None
        if older:
            found = labelling.estimate(_watched(job.articles()), retry_failed=job.retry_failed, older=older)
            words.show_changes(older, found)
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
    total = Total(job.files, job.limit, rejects) if articles is None else None
    newest = LabelReport()

    def note(report: LabelReport) -> None:
        nonlocal newest
        newest = report
        progress(report)

    budget = None if job.max_cost is None else (spent, job.max_cost)
    title = f"{title} {job.filter.name} {job.filter.spec.version} · {job.config.backend('oracle')[0]}"
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
                progress=note,
                stop=stop,
                new_store=lambda path: click.echo(f"new label store: {path}", err=True),
            )
    except FilterkitError as error:
        if newest.read and not job.as_json:
            _say_done(job, newest, rejects)
        elif newest.read:
            print_json({**as_data(newest, rejects), "error": str(error)})
        raise
    finally:
        rejects.close()
    if not job.as_json:
        _say_done(job, report, rejects)
    words.warn_of_nothing(report.read, rejects)
    return report, rejects


def label_sample(job: Job, size: int) -> int:
    """--pilot: label a sample of `size`, and show what it tells."""
    sample = Sample(size)
    with before_labelling(job.filter, job.config, job.store_file) as labelling:
        if job.max_cost is not None:
            labelling.pricing.require()
        older, spent = labelling.older(), labelling.spent.usd
        rejects = Rejects()
        found = labelling.estimate(
            _watched(job.articles(rejects)), retry_failed=job.retry_failed, older=older, each=sample.offer
        )
        words.show_changes(older, found)
        with Stop() as stop:
            report, _ = label_all(job, spent, stop, sample.articles, "pilot")
        if report.stopped:
            if job.as_json:
                print_json({"pilot": None, "label": asdict(report), "rejected": rejects.count})
            return INTERRUPTED
        shown = labelling.pilot(sample, found, job.store_file)
    if job.as_json:
        print_json({"pilot": shown.to_dict(), "label": asdict(report), "rejected": rejects.count})
    else:
        if rejects.count:
            click.echo(words.unread(rejects, "could not"), err=True)
        words.show_pilot(shown, job.filter.spec, report.attempts)
        failed = found.failed_before + report.failed - report.failed_before
        words.show_way_on(shown, report, failed, spent_so_far(job).usd, job.max_cost)
    return exit_code(report, rejects)


def spent_so_far(job: Job) -> Spent:
    """What this question has cost, in all runs."""
    with before_labelling(job.filter, job.config, job.store_file) as labelling:
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
    """130 stopped, 3 some records failed, 0 all is well."""
    if report.stopped:
        return INTERRUPTED
    return 3 if report.failed or rejects.count else 0


def _watched(articles: Iterable[Article]) -> Iterator[Article]:
    """The same articles; on a terminal, somebody sees that they are being read."""
    live, said, last = on_terminal(), False, time.monotonic()
    for number, article in enumerate(articles, 1):
        if live and number % 1000 == 0 and time.monotonic() - last > 0.5:
            last, said = time.monotonic(), True
            click.echo(f"\r\x1b[Klooked at {number:,} articles", err=True, nl=False)
        yield article
    if said:
        click.echo("\r\x1b[K", err=True, nl=False)
