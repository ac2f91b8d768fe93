"""filterkit deploy"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filterkit.cli.common import (
    FOLDER,
    backend_options,
    configure,
    counted,
    filter_argument,
    json_option,
    load,
    print_json,
    workspace_option,
)
from filterkit.cli.steps import deploy_student, plan_student
from filterkit.errors import GateRefused
from filterkit.untrusted import legible

if TYPE_CHECKING:
    from filterkit.pipeline.deploy import DeployPlan, DeployReport


@click.command()
@filter_argument
@click.option("--student", "--model", "student", type=FOLDER, help="The student's folder.")
@backend_options("deployer")
@click.option(
    "--force",
    metavar="REASON",
    help="Ship although the gates refuse; the reason is recorded, and shown by whatever loads the student.",
)
@click.option("--plan", "plan_only", is_flag=True, help="Say what would be made and what it would cost; do nothing.")
@workspace_option
@json_option
def command(
    filter_name: str | None,
    filter_option: str | None,
    student: Path | None,
    deployer: str | None,
    options: tuple[str, ...],
    force: str | None,
    plan_only: bool,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Ship a student that passed its gates, and verify what was shipped."""
    filter = load(filter_name, filter_option, workspace)
    config = configure(filter, workspace, "deployer", deployer, options)
    folder = student or config.student_dir(filter)
    try:
        if plan_only:
            _show_plan(plan_student(filter, config, folder, force=force), as_json)
            return 0
        report = deploy_student(filter, config, folder, force=force, say=_say_nothing if as_json else say_plan)
    except GateRefused as refusal:
        if not as_json:
            raise
        print_json({"refused": str(refusal)})
        return refusal.exit_code
    if as_json:
        print_json(report.to_dict())
    else:
        _show(report, force)
    return 0


def _say_nothing(_: Sequence[str]) -> None:
    """With --json the plan is part of the result."""


def say_plan(lines: Sequence[str]) -> None:
    """The deployer's words, before anything is done."""
    for line in lines:
        click.echo(f"  {legible(line)}")


def _show_plan(plan: DeployPlan, as_json: bool) -> None:
    if as_json:
        print_json(plan.to_dict())
        return
    click.echo(f"would ship {counted(plan.files, 'file')} of student {plan.student_hash[:12]} to {plan.target}")
    say_plan(plan.lines)


def _show(report: DeployReport, force: str | None) -> None:
    """The report in words."""
    click.echo(f"live: {report.deployment.id} at {report.deployment.target}")
    click.echo(f"  verified: {report.files} files, scores differ by at most {report.largest_difference:.2g}")
    if report.served is not None:
        click.echo(f"  what serves it: scores differ by at most {report.served:.2g}")
    if report.forced:
        click.echo(f"  forced: {report.forced.reason} ({report.forced.gates})", err=True)
    elif force:
        click.echo("  --force was not needed: the gates passed, and nothing is recorded", err=True)
    if report.previous and report.previous.id != report.deployment.id:
        click.echo(f"  before: {report.previous.id}")
