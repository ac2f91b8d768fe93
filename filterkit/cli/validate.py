"""filterkit validate"""

from __future__ import annotations

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
    student_dir,
    workspace_option,
)
from filterkit.cli.steps import validate_student
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
@workspace_option
@json_option
def command(
    filter_name: str | None,
    filter_option: str | None,
    student: Path | None,
    data_dir_option: Path | None,
    folds: int | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Hold a student against the oracle, and ask the gates."""
    filter = load(filter_name, filter_option)
    config = configure(filter, workspace)
    folder = student or student_dir(config, filter)
    data = data_dir_option or data_dir(config, filter)
    with Stop() as stop:
        report = validate_student(filter, config, folder, data, folds=folds or 0, stop=stop)
    if as_json:
        print_json(report.to_dict())
    else:
        show(report)
    return 0 if report.record.passed else 1


def show(report: ValidationReport) -> None:
    """Metrics per dimension beside the constant median, then the gates."""
    metrics = report.evaluation.metrics
    click.echo(f"{report.record.method}")
    click.echo(f"  {'dimension':<24}{'MAE':>7}{'median':>9}{'RMSE':>7}{'bias':>7}{'Spearman':>10}")
    for name, m in metrics.per_dimension.items():
        click.echo(f"  {name:<24}{_n(m.mae):>7}{_n(m.median_mae):>9}{_n(m.rmse):>7}{_n(m.bias):>7}{_n(m.spearman):>10}")
    all_ = (metrics.mae, metrics.median_mae, metrics.rmse, None, metrics.spearman)
    click.echo("  {:<24}{:>7}{:>9}{:>7}{:>7}{:>10}".format("mean", *(_n(v) if v is not None else "" for v in all_)))
    click.echo(f"  {'overall (weighted)':<24}{_n(report.overall_mae):>7}")
    for gate in report.evaluation.gates:
        sign = "pass" if gate.passed else "FAIL"
        click.echo(f"  {sign}  {gate.name}: {_n(gate.value)} (limit {gate.limit:g}): {gate.why}")
    for words in report.looser:
        click.echo(f"  note: {words}", err=True)
    click.echo("The gates passed." if report.record.passed else "The gates refuse this student.")


def _n(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
