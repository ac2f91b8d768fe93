"""`filterkit label --pilot`: a small sample is labelled first, and tells what to expect of the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from filterkit.cli import label_words as words
from filterkit.cli.common import Stop, print_json
from filterkit.cli.label_job import Job
from filterkit.cli.label_run import exit_code, label_all, spent_so_far, warn_of_repeats
from filterkit.cli.main import INTERRUPTED
from filterkit.cli.progress import watched
from filterkit.cli.steps import Labelling, before_labelling
from filterkit.io import Rejects
from filterkit.pipeline.estimate import Estimate
from filterkit.pipeline.judgement.totals import estimated_together, labelled_together, piloted_together
from filterkit.pipeline.label import LabelReport
from filterkit.pipeline.pilot import PilotReport, Sample
from filterkit.records import Article


@dataclass(frozen=True)
class Piloted:
    """A pilot that was run. `shown` is None where somebody stopped it; failed: articles of all that failed finally."""

    articles: list[Article]
    report: LabelReport
    rejects: Rejects
    shown: PilotReport | None
    failed: int

    @property
    def exit_code(self) -> int:
        return INTERRUPTED if self.shown is None else exit_code(self.report, self.rejects)

    def to_dict(self) -> dict[str, Any]:
        """What --json prints."""
        shown = None if self.shown is None else self.shown.to_dict()
        return {"pilot": shown, "label": asdict(self.report), "rejected": self.rejects.count}


def label_sample(job: Job, size: int) -> int:
    """--pilot: label a sample of `size`, and show what it tells."""
    with Stop() as stop:
        done = run_pilot(job, size, stop)
    if job.as_json:
        print_json({**done.to_dict(), **job.told})
    elif done.shown is not None:
        words.show_way_on(done.shown, done.report, done.failed, spent_so_far(job).usd, job.max_cost)
    return done.exit_code


def run_pilot(job: Job, size: int, stop: Callable[[], bool]) -> Piloted:
    """Label a sample of the job's articles, with all answers that it asks for, and say how their scores lie."""
    rejects = Rejects()
    with before_labelling(job.filter, job.config, job.store_file) as labelling:
        labelling.require_price(job.max_cost)
        warn_of_repeats(labelling, job.samples)
        drawn = _drawn(job, labelling, size, rejects)
        found = [estimate for _, _, estimate in drawn]
        spent = labelling.spent.usd
        words.show_changes(labelling.older(), estimated_together(found))
        reports: list[LabelReport] = []
        for one, sample, _ in drawn:
            reports.append(label_all(one, spent, stop, one.left_of(sample.articles), "pilot")[0])
            if reports[-1].stopped:
                return Piloted(sample.articles, labelled_together(reports), rejects, None, 0)
        report = labelled_together(reports)
        shown = piloted_together(
            [labelling.pilot(sample, estimate, job.store_file, one.sample) for one, sample, estimate in drawn]
        )
    if not job.as_json:
        if rejects.count:
            click.echo(words.unread(rejects, "could not"), err=True)
        words.show_pilot(shown, job.filter.spec, report.attempts)
    failed = sum(estimate.failed_before for estimate in found) + report.failed - report.failed_before
    return Piloted(drawn[0][1].articles, report, rejects, shown, failed)


def _drawn(job: Job, labelling: Labelling, size: int, rejects: Rejects) -> Sequence[tuple[Job, Sample, Estimate]]:
    """For each answer the sample, which is the same, and what answering the whole input will take."""
    older = labelling.older()
    drawn: list[tuple[Job, Sample, Estimate]] = []
    for one in job.each_answer(labelling.question):
        sample = Sample(size)
        estimate = labelling.estimate(
            watched(one.articles(None if one.sample else rejects)),
            retry_failed=job.retry_failed,
            older=() if one.sample else older,
            each=sample.offer,
            sample=one.sample,
        )
        drawn.append((one, sample, estimate))
    return drawn
