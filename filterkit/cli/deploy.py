"""filterkit deploy"""

from __future__ import annotations

from pathlib import Path

import click

from filterkit.cli.common import (
    FOLDER,
    backend_options,
    configure,
    filter_argument,
    json_option,
    load,
    print_json,
    student_dir,
    workspace_option,
)
from filterkit.cli.steps import deploy_student
from filterkit.errors import GateRefused


@click.command()
@filter_argument
@click.option("--student", "--model", "student", type=FOLDER, help="The student's folder.")
@backend_options("deployer")
@click.option(
    "--force",
    metavar="REASON",
    help="Ship although the gates refuse; the reason is recorded, and shown by whatever loads the student.",
)
@workspace_option
@json_option
def command(
    filter_name: str | None,
    filter_option: str | None,
    student: Path | None,
    deployer: str | None,
    options: tuple[str, ...],
    force: str | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Ship a student that passed its gates, and verify what was shipped."""
    filter = load(filter_name, filter_option)
    config = configure(filter, workspace, "deployer", deployer, options)
    try:
        report = deploy_student(filter, config, student or student_dir(config, filter), force=force)
    except GateRefused as refusal:
        if not as_json:
            raise
        print_json({"refused": str(refusal)})
        return refusal.exit_code
    if as_json:
        print_json(report.to_dict())
        return 0
    click.echo(f"live: {report.deployment.id} at {report.deployment.target}")
    click.echo(f"  verified: {report.files} files, scores differ by at most {report.largest_difference:.2g}")
    if report.forced:
        click.echo(f"  forced: {report.forced.reason} ({report.forced.gates})", err=True)
    elif force:
        click.echo("  --force was not needed: the gates passed, and nothing is recorded", err=True)
    if report.previous and report.previous.id != report.deployment.id:
        click.echo(f"  before: {report.previous.id}")
    return 0
