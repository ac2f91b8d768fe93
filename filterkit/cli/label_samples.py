"""`filterkit label --samples K`: every question gets K answers, which the store keeps by their numbers."""

from __future__ import annotations

from collections.abc import Callable

import click

from filterkit.cli.common import F
from filterkit.cli.label_job import Job
from filterkit.cli.label_run import label_all
from filterkit.cli.label_words import show_report
from filterkit.cli.steps import before_labelling
from filterkit.io import Rejects
from filterkit.pipeline.judgement.totals import labelled_together
from filterkit.pipeline.label import LabelReport

MOST = 25
"""Samples of one question: by then a median hardly moves."""


def samples_option(command: F) -> F:
    """--samples K"""
    return click.option(
        "--samples",
        type=click.IntRange(1, MOST),
        default=1,
        show_default=True,
        metavar="K",
        help="Ask each question so many times; prepare takes the median, and its spread as the row's weight.",
    )(command)


def label_samples(
    job: Job,
    spent: float,
    stop: Callable[[], bool],
    label_one: Callable[[Job, float, Callable[[], bool]], tuple[LabelReport, Rejects]] = label_all,
) -> tuple[LabelReport, Rejects]:
    """Have all articles labelled once, then once more, and so on: what is missing of each answer is asked.

    So a budget that ends early leaves every article one answer before any has two. `label_one` labels the articles of
    a job (its `sample` is the answer's number). Articles count once for each answer in the report.
    """
    if job.samples == 1:
        return label_one(job, spent, stop)
    with before_labelling(job.filter, job.config, job.store_file) as labelling:
        question = labelling.question
    reports: list[LabelReport] = []
    for one in job.each_answer(question):
        if not job.as_json:
            click.echo(f"answer {one.sample + 1} of {job.samples}:")
        report, rejects = label_one(one, spent, stop)
        reports.append(report)
        if report.stopped:
            break
    together = labelled_together(reports)
    if not job.as_json:
        click.echo(f"all {job.samples} answers:")
        show_report(together, Rejects(), job.samples)
    return together, rejects
