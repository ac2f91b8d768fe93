"""`filterkit label --plan --budget USD`: which labels are worth buying, and what they cost. Nothing is asked."""

from __future__ import annotations

import contextlib
import math
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from filterkit.cli import label_words as words
from filterkit.cli.budget_words import show_standing, standing
from filterkit.cli.common import F, counted, data_dir, print_json, print_table
from filterkit.cli.label_job import Job
from filterkit.cli.progress import plain, usd, watched
from filterkit.cli.steps import Labelling, before_labelling
from filterkit.errors import FilterkitError, PluginError
from filterkit.files import atomic_write
from filterkit.filters import Filter
from filterkit.io import Rejects, readable, refuse_to_overwrite
from filterkit.pipeline.choose.doubts import check_unsure
from filterkit.pipeline.label_plan import LabelPlan, LabelPrice, label_price, plan_labels
from filterkit.pipeline.moved import Before, test_articles
from filterkit.rows import compress
from filterkit.student import Student, load_student
from filterkit.versions import older_version

MEMBER = 1000
"""Articles that are compressed together."""


def plan_options(command: F) -> F:
    """--plan, --budget USD and --output FILE"""
    command = click.option(
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        help="With --plan: where the chosen articles are written.  [default: NAME-vN.plan.jsonl in the workspace]",
    )(command)
    command = click.option(
        "--budget",
        type=click.FloatRange(min=0, min_open=True),
        metavar="USD",
        help="With --plan: what the labels may cost.",
    )(command)
    return click.option(
        "--plan", is_flag=True, help="Say which labels are worth buying for --budget, and write them down; ask nothing."
    )(command)


def check_plan(plan: bool, budget: float | None, output: Path | None, **others: object) -> float | None:
    """The budget to plan for; None without --plan. UsageError for options that make no sense together.

    `others`: options that --plan does not go with.
    """
    if not plan:
        if budget is not None or output is not None:
            raise click.UsageError("--budget and --output belong to --plan")
        return None
    if budget is None or not math.isfinite(budget):
        raise click.UsageError("--plan needs to know what may be spent: --budget USD")
    for name, value in others.items():
        if value:
            raise click.UsageError(f"--plan chooses by itself and asks nothing: leave --{name.replace('_', '-')} away")
    return budget


def plan_job(job: Job, budget: float, output: Path | None) -> int:
    """--plan: one pass over the articles, a file of those to be labelled, and a table."""
    readable(job.files)
    out = output or job.config.workspace / f"{job.filter.name}-v{job.filter.spec.version}.plan.jsonl"
    refuse_to_overwrite(job.files, out)
    rejects = Rejects()
    with (
        before_labelling(job.filter, job.config, job.store_file, batch=job.batch) as labelling,
        _before(job, labelling) as old,
    ):
        price = label_price(labelling.pricing, labelling.question, old.old_question, labelling.store)
        if job.samples > 1:
            each = price.of
            price = LabelPrice(lambda text: job.samples * each(text), f"{price.how}, {job.samples} answers each")
        plan = plan_labels(
            watched(job.articles(rejects)),
            job.filter.spec,
            labelling.question,
            labelling.store,
            old,
            price,
            budget,
            retry_failed=job.retry_failed,
        )
        workspace = standing(labelling.limits, labelling.store)
    with atomic_write(out) as file:
        for start in range(0, len(plan.rows), MEMBER):
            file.write(compress(out, b"".join(plan.rows[start : start + MEMBER])))
    command = _command(job, out)
    if job.as_json:
        older = None if old.old is None else f"{old.old.name} {old.old.spec.version}"
        told = {"output": str(out), "older": older, "batch": job.batch, "rejected": rejects.count, "command": command}
        print_json({**plan.to_dict(), **told, "workspace_budget": None if workspace is None else workspace.to_dict()})
    else:
        _show(plan, out, command)
        if old.old is not None and old.test and plan.labels:
            test = data_dir(job.config, old.old) / "test.jsonl"
            click.echo(f"Then: filterkit prepare {shlex.quote(_called())} --test {shlex.quote(str(test))}")
        show_standing(workspace, needed=plan.usd)
        if rejects.count:
            click.echo(words.unread(rejects, "could not"), err=True)
    words.warn_of_nothing(plan.read, rejects)
    return 3 if rejects.count else 0


@contextlib.contextmanager
def _before(job: Job, labelling: Labelling) -> Iterator[Before]:
    """The old version of the job's filter, with whatever there is of it; what there is not is a note."""
    notes: list[str] = []
    try:
        old = older_version(job.filter, job.config.workspace)
    except FilterkitError as error:
        old = None
        notes.append(f"the older version cannot be read: {error}")
    if old is None:
        notes = notes or [f"there is no version of {job.filter.name} before {job.filter.spec.version}"]
        notes.append("nothing tells which labels are worth more: any are taken, in an order as good as drawn")
        yield Before(job.filter, labelling.question, labelling.store, notes=notes)
        return
    with before_labelling(old, job.config, job.store_file) as asked, contextlib.ExitStack() as stack:
        student = _student(job, old, notes)
        if student is not None:
            stack.callback(student.close)
        test = data_dir(job.config, old) / "test.jsonl"
        articles = []
        try:
            articles = test_articles(old.spec, test) if test.is_file() else []
        except FilterkitError as error:
            notes.append(f"the test set of {_named(old)} cannot be read: {error}")
        if not test.is_file():
            notes.append(f"{_named(old)} has no test set at {test}: the new student will be judged on other articles")
        before = Before(job.filter, labelling.question, labelling.store, old, asked.question, student, articles, notes)
        if student is not None:
            try:
                check_unsure(student, "")
            except FilterkitError:
                notes.append(f"the student of {_named(old)} does not say how sure it is (validate it)")
        yield before


def _student(job: Job, old: Filter, notes: list[str]) -> Student | None:
    folder = job.config.student_dir(old)
    if not folder.exists():
        notes.append(f"{_named(old)} has no student at {folder}, which could say what it is unsure of")
        return None
    try:
        return load_student(folder, old, quiet=True)
    except FilterkitError as error:
        missing = "is not installed here" if isinstance(error, PluginError) else "cannot be used"
        notes.append(f"the student of {_named(old)} {missing}: {error}")
        return None


def _named(filter: Filter) -> str:
    return f"{filter.name} {filter.spec.version}"


def _called() -> str:
    """The filter, as it was named on the command line."""
    given = click.get_current_context().params
    return str(given["filter_name"] or given["filter_option"])


def _command(job: Job, out: Path) -> str:
    """What labels the chosen ones, as they were chosen: they have been screened."""
    given = click.get_current_context().params
    parts = ["filterkit", "label", _called(), "--articles", str(out), "--no-screen"]
    for option, value in (
        ("--oracle", given["oracle"]),
        ("--store", given["store"]),
        ("--workspace", given["workspace"]),
    ):
        parts += [option, str(value)] if value else []
    for option in given["options"]:
        parts += ["-O", option]
    parts += ["--batch"] if job.batch else []
    parts += ["--samples", str(job.samples)] if job.samples > 1 else []
    return shlex.join(parts)


def _show(plan: LabelPlan, out: Path, command: str) -> None:
    rows = [
        (
            group.name,
            f"{group.found:,}",
            f"{group.already:,}",
            f"{group.chosen:,}",
            usd(group.usd),
            usd(group.cumulative_usd),
        )
        for group in plan.groups
    ]
    print_table(("WHY", "FOUND", "LABELLED", "CHOSEN", "COST", "TOGETHER"), rows)
    click.echo(
        f"{counted(plan.read, 'article')}: {plan.labelled:,} labelled already, {plan.duplicates:,} with the same text, "
        f"{plan.failed_before:,} failed before"
    )
    for note in plan.notes:
        click.echo(f"  {plain(note, 400)}")
    bought = f"{counted(plan.labels, 'label')}{' (all there are)' if plan.labels == plan.found else ''}"
    click.echo(f"{usd(plan.budget_usd)} buys {bought} for {usd(plan.usd)} ({plan.price_how}).")
    if plan.labels:
        click.echo(f"They are in {out}. Nothing was sent. Next: {command}")
    else:
        click.echo("Nothing was sent.")
