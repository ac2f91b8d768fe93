"""filterkit validate"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from filterkit.cli.common import (
    FOLDER,
    Stop,
    configure,
    data_dir,
    filter_argument,
    json_option,
    load,
    print_json,
    store_option,
    store_path,
    workspace_option,
)
from filterkit.cli.progress import plain
from filterkit.cli.steps import validate_student
from filterkit.metrics.records import Comparison, DimensionMetrics, Interval, Metrics
from filterkit.pipeline.validate import ValidationReport


@click.command()
@filter_argument
@click.option("--student", "--model", "student", type=FOLDER, help="The student's folder.")
@click.option("--data-dir", "data_dir_option", type=FOLDER, help="The splits it was trained on.")
@click.option(
    "--folds",
    type=click.IntRange(min=2, max=50),
    help="Train the same recipe anew so many times and judge every article out of fold, where the test split is small.",
)
@click.option("--against", type=FOLDER, help="Another student's folder: which is better, on the same articles?")
@click.option(
    "--human", multiple=True, metavar="FILE", help="Labels by people, to be shown beside the student; may be repeated."
)
@store_option
@workspace_option
@json_option
def command(
    filter_name: str | None,
    filter_option: str | None,
    student: Path | None,
    data_dir_option: Path | None,
    folds: int | None,
    against: Path | None,
    human: tuple[str, ...],
    store: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Hold a student against the oracle, ask the gates, and write report.html into its folder."""
    filter = load(filter_name, filter_option, workspace)
    config = configure(filter, workspace)
    folder = student or config.student_dir(filter)
    data = data_dir_option or data_dir(config, filter)
    with Stop() as stop:
        report = validate_student(
            filter,
            config,
            folder,
            data,
            folds=folds or 0,
            against=against,
            people=human,
            store_file=store_path(config, store),
            stop=stop,
        )
    if as_json:
        print_json(report.to_dict())
    else:
        show(report)
        if report.evaluation.metrics.small and not folds:
            click.echo("  Too few to prove it? --folds 5 judges every label, out of fold.")
        click.echo(f"  for people: {folder / 'report.html'}")
    return 0 if report.record.passed else 1


def show(report: ValidationReport) -> None:
    """The figures beside the constant median, what stands out, then the gates."""
    metrics = report.evaluation.metrics
    click.echo(report.record.method)
    if report.judgement is not None:
        click.echo(f"  labels: {plain(report.judgement.words, 400)}")
    for line in (*_figures(metrics), *_policy(metrics), *_beside(report)):
        click.echo(f"  {line}")
    for gate in report.record.gates:
        sign = "pass" if gate.passed else "FAIL"
        worst = "" if gate.bound in (None, gate.value) else f", at worst {_n(gate.bound)}"
        click.echo(f"  {sign}  {gate.name}: {_n(gate.value)}{worst} (limit {gate.limit:g}): {gate.why}")
    for name, why in report.record.left_out.items():
        click.echo(f"  –     {name}: left out, {why}")
    for words in report.record.loosened:
        click.echo(f"  note: {words}", err=True)
    if metrics.small:
        click.echo(f"  note: {metrics.small}")
    click.echo("The gates passed." if report.record.passed else "The gates refuse this student.")


def _figures(metrics: Metrics) -> Iterator[str]:
    """A line per dimension, their mean, and the weighted overall."""
    head = f"{'MAE':>6}  {'95 %':<11}{'median':>7}{'RMSE':>7}{'R²':>7}{'bias':>7}{'Spearman':>10}{'within 1':>10}"
    yield f"{'dimension':<24}{head}"
    mean = DimensionMetrics(
        n=metrics.n,
        intervals=metrics.intervals,
        **{
            name: getattr(metrics, name) for name in ("mae", "rmse", "r2", "bias", "spearman", "within_1", "median_mae")
        },
    )
    for name, m in {**metrics.per_dimension, "mean": mean, "overall (weighted)": metrics.overall}.items():
        figures = f"{_n(m.mae):>6}  {_interval(m.intervals.get('mae')):<11}{_n(m.median_mae):>7}{_n(m.rmse):>7}"
        within = "–" if m.within_1 is None else f"{m.within_1:.0%}"
        yield f"{name:<24}{figures}{_n(m.r2):>7}{_n(m.bias):>7}{_n(m.spearman):>10}{within:>10}"


def _policy(metrics: Metrics) -> Iterator[str]:
    """What becomes of the scores: tiers, flags, the threshold, intervals."""
    if metrics.tiers is not None:
        top = metrics.tiers.names[0]
        recall = _share(metrics.tiers.recall[top])
        yield f"tiers: {_share(metrics.tiers.accuracy)} as the oracle's; recall of {top}: {recall}"
    elif metrics.tiers_left_out:
        yield f"tiers: left out, {metrics.tiers_left_out}"
    yes_or_no = {**metrics.flags, **({"threshold": metrics.at_threshold} if metrics.at_threshold else {})}
    for name, b in yes_or_no.items():
        shares = f"precision {_share(b.precision)}, recall {_share(b.recall)}"
        yield f"{name} (from {b.threshold:g}): {shares}, F1 {_n(b.f1)}"
    if metrics.coverage is not None and metrics.coverage.mean is not None:
        c = metrics.coverage
        yield f"intervals of {c.nominal:.0%}: hold {_share(c.mean)} of the labels, {_n(c.width)} wide on average"


def _beside(report: ValidationReport) -> Iterator[str]:
    """Slices, other judges, another student."""
    worst = report.worst_slice
    if worst is not None:
        errors = f"MAE {_n(worst.mae)} of {worst.n} articles, {_n(worst.rest)} elsewhere"
        yield f"worst: {worst.kind} {plain(worst.name, 80)}, {errors}"
    for r in report.references:
        theirs = f"{plain(r.who, 80)} differs from the oracle by {_n(r.mae)} on {r.n} articles"
        yield f"beside: {theirs}, the student by {_n(r.student_mae)}"
    if report.comparison is not None:
        yield from _compared(report.comparison)


def _compared(comparison: Comparison) -> Iterator[str]:
    """Figures of two students, and which is better."""
    yield f"against {comparison.other} ({comparison.other_hash[:12]}), on the same {comparison.n} articles:"
    for d in comparison.differences:
        sign = {"first": "better", "second": "worse", None: "cannot tell"}[d.better]
        around = _interval(d.intervals.get("difference"))
        change = f"{_n(d.difference)}{f' ({around})' if around else ''}"
        yield f"  {d.name:<30}{_n(d.first):>6} against {_n(d.second):>6}, difference {change}: {sign}"
    if comparison.note:
        yield f"  note: {comparison.note}"
    yield {
        "first": "This student is better.",
        "second": "The other student is better.",
        None: "It cannot be told which of the two is better.",
    }[comparison.better]


def _n(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.low:.2f}–{interval.high:.2f}"
