"""How `filterkit compare` asks: through the labelling engine, one oracle after the other, within one budget."""

from __future__ import annotations

import click

from filterkit.cli import compare_words as words
from filterkit.cli.common import Stop, limits_of
from filterkit.cli.compare_job import Job
from filterkit.cli.progress import LabelProgress
from filterkit.cli.steps import label_articles
from filterkit.config import Config
from filterkit.errors import StoppedEarly
from filterkit.pipeline.compare.judges import Candidate, spent
from filterkit.pipeline.estimate import Estimate, estimate
from filterkit.pipeline.money import OutOfMoney
from filterkit.store import Question
from filterkit.store.history import history


def look_first(job: Job) -> list[tuple[Candidate, Estimate]]:
    """What is to be asked and what it will cost, said before it is spent. ConfigError: a budget without a price."""
    found: list[tuple[Candidate, Estimate]] = []
    seen: set[Question] = set()  # of two policies for the same answers, these are asked for once
    with job.store() as store:
        for candidate, config in job.asked:
            if candidate.question in seen:
                continue
            seen.add(candidate.question)
            assert candidate.pricing is not None
            if job.max_cost is not None or limits_of(config):
                candidate.pricing.require()
            for sample in range(job.repeat):
                one = estimate(
                    candidate.filter,
                    job.articles,
                    candidate.pricing,
                    candidate.question,
                    store,
                    retry_failed=job.retry_failed,
                    sample=sample,
                )
                found.append((candidate, one))
    so_far = _spent(job)
    words.show_estimates(found, so_far, job.max_cost)
    return found


def ask(job: Job) -> bool:
    """Have every oracle label the sample, as often as wanted. False when somebody stopped it.

    Raises as labelling does; when the money is used up, StoppedEarly that names the comparison's own budget.
    """
    with Stop() as stop:
        for sample in range(job.repeat):
            for candidate, config in job.asked:
                if not _ask_one(job, candidate, config, sample, stop):
                    return False
    return True


def _ask_one(job: Job, candidate: Candidate, config: Config, sample: int, stop: Stop) -> bool:
    title = f"compare {candidate.name}{f', answer {sample + 1}' if sample else ''}"
    cap = _cap(job, candidate)
    try:
        with LabelProgress(title=title, stopping=stop) as progress:
            report = label_articles(
                candidate.filter,
                config,
                job.articles,
                job.store_file,
                retry_failed=job.retry_failed,
                max_cost_usd=cap,
                sample=sample,
                progress=progress,
                stop=stop,
                new_store=lambda path: click.echo(f"new label store: {path}", err=True),
            )
    except OutOfMoney as error:
        if error.scope != "question":
            raise
        raise StoppedEarly(
            f"the budget of ${job.max_cost:.4f} for this comparison is used up: ${_spent(job):.4f} so far",
            where=title,
            fix="Give a higher --max-cost to go on, or --stored to compare what is there",
        ) from error
    if report.in_jobs:
        out = f"{report.in_jobs:,} articles are out in batch jobs of {candidate.name}, and are left out"
        click.echo(f"{out}: collect them first (filterkit label --batch)", err=True)
    if report.stopped:
        click.echo("Stopped. Run the same command again to go on.", err=True)
    return not report.stopped


def _cap(job: Job, candidate: Candidate) -> float | None:
    """What a question may cost in all, so that the answers that are compared cost --max-cost together at most."""
    if job.max_cost is None:
        return None
    with job.store() as store:
        before = 0.0 if store is None else store.spent(candidate.question).usd
    return before + max(0.0, job.max_cost - _spent(job))


def _spent(job: Job) -> float:
    """What the answers that are compared have cost so far, in all runs."""
    with job.store() as store:
        if store is None:
            return 0.0
        told = [
            one
            for candidate in {c.question: c for c in job.candidates}.values()
            for sample in range(job.repeat)
            for one in history(store, candidate.question, candidate.keys(job.articles, sample))
            if one.cost_usd is not None
        ]
    return spent(told) or 0.0
