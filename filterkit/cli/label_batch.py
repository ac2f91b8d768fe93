"""filterkit label --batch: submit, leave, come back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from filterkit.cli import label_words as words
from filterkit.cli.batch_words import Teller, job_data, show_out
from filterkit.cli.common import F, Stop, limits_of, print_json
from filterkit.cli.label_job import Job
from filterkit.cli.label_run import as_data, exit_code, spent_so_far, warn_of_nothing
from filterkit.cli.steps import finished, label_settings, make_oracle, rejects_beside, work_dir
from filterkit.errors import FilterkitError, StoppedEarly
from filterkit.io import Rejects
from filterkit.pipeline.batches import BatchReport, label_in_batches
from filterkit.pipeline.label import question_of
from filterkit.plugins import plugins
from filterkit.records import Article
from filterkit.store import Store


def batch_options(command: F) -> F:
    """--batch and --wait"""
    command = click.option("--wait", is_flag=True, help="With --batch: stay until the batch jobs are over.")(command)
    return click.option(
        "--batch",
        is_flag=True,
        help="Ask in batch jobs, for less: submit, leave, and come back with the same command within a day.",
    )(command)


def check_batch(batch: bool, wait: bool, pilot: int | None) -> None:
    """UsageError for options that contradict each other."""
    if wait and not batch:
        raise click.UsageError("--wait is about --batch")
    if batch and pilot:
        raise click.UsageError("--pilot wants answers now and --batch within a day: pilot first, without --batch")


def refuse_batch_of_several(batch: bool) -> None:
    """UsageError: who must agree with whom is found out article by article."""
    if batch:
        raise click.UsageError("a consensus asks live: first label by each oracle alone with --batch, then without it")


def label_batch(job: Job, *, wait: bool = False) -> int:
    """Collect, submit, say what is out. The exit code: 4 while something is out."""
    rejects = rejects_beside(job.files, job.config.workspace)
    newest = BatchReport()

    def note(report: BatchReport) -> None:
        nonlocal newest
        newest = report

    try:
        with Stop() as stop:
            report = _label(job, rejects, wait, stop, note)
    except FilterkitError as error:
        if newest.label.read and job.as_json:
            print_json({**_as_data(newest, rejects), **job.told, "error": str(error)})
        elif newest.label.read:
            _show(job, newest, rejects)
        raise
    finally:
        rejects.close()
    if job.as_json:
        print_json({**_as_data(report, rejects), **job.told})
    else:
        _show(job, report, rejects)
    warn_of_nothing(job, report.label.read, rejects)
    if not report.label.stopped and (report.out or report.left):
        return StoppedEarly.exit_code
    return exit_code(report.label, rejects)


def _label(
    job: Job, rejects: Rejects, wait: bool, stop: Callable[[], bool], note: Callable[[BatchReport], None]
) -> BatchReport:
    name, oracle = make_oracle(job.config, job.filter)
    settings = label_settings(job.config, max_cost_usd=job.max_cost, retry_failed=job.retry_failed)
    try:
        answers = list(job.each_answer(question_of(job.filter, oracle, name)))
        unread = iter([rejects])

        def articles(sample: int) -> Iterable[Article]:
            return answers[sample].articles(next(unread, None))  # lines that are no articles are told once

        work_dir(job.config, f"oracle-{name}").mkdir(parents=True, exist_ok=True)
        if not job.store_file.exists():
            click.echo(f"new label store: {job.store_file}", err=True)
        with Store(job.store_file, limits=limits_of(job.config)) as store:
            report = label_in_batches(
                job.filter,
                articles,
                oracle,
                store,
                settings,
                oracle_name=name,
                oracle_options=job.config.backend("oracle")[1],
                samples=range(len(answers)),
                wait=wait,
                prices=plugins().prices,
                own_prices=job.config.settings.prices,
                observe=plugins().observe,
                tell=Teller(),
                progress=note,
                stop=stop,
            )
    finally:
        oracle.close()
    if not report.out:
        label = report.label
        finished("label", job.filter, {"read": label.read, "new": label.new, "failed": label.failed})
    return report


def _show(job: Job, report: BatchReport, rejects: Rejects) -> None:
    words.show_report(report.label, rejects)
    spent = spent_so_far(job)
    if job.max_cost is not None or spent.held_usd:
        click.echo(f"  {words.of_budget(spent, job.max_cost)} is spent{words.held(spent)}")
    without = ", without --retry-failed," if job.retry_failed else ""
    show_out(report.out, report.left, f"Come back with the same command{without} to collect what ended.")


def _as_data(report: BatchReport, rejects: Rejects) -> dict[str, Any]:
    """What --json prints."""
    jobs = [job_data(one.job, one.state) for one in report.out]
    counts = {"collected": report.collected, "submitted": report.submitted, "left": report.left}
    return {**as_data(report.label, rejects), **counts, "jobs": jobs}
