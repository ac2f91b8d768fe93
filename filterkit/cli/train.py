"""filterkit train"""

from __future__ import annotations

from pathlib import Path

import click

from filterkit.cli.common import (
    FOLDER,
    Stop,
    backend_options,
    configure,
    data_dir,
    filter_argument,
    json_option,
    load,
    print_json,
    student_dir,
    workspace_option,
)
from filterkit.cli.steps import train_student


@click.command()
@filter_argument
@click.option(
    "--data-dir",
    "data_dir_option",
    type=FOLDER,
    help="The prepared splits.  [default: datasets/NAME-vN in the workspace]",
)
@click.option(
    "--output-dir", type=FOLDER, help="Where the student goes.  [default: model/ beside the filter, or students/]"
)
@backend_options("trainer")
@click.option("--model-name", metavar="ID", help="The trainer's option base_model.")
@click.option("--epochs", type=click.IntRange(min=1), help="The trainer's option epochs.")
@click.option("--batch-size", type=click.IntRange(min=1), help="The trainer's option batch_size.")
@click.option("--seed", type=int, default=0, show_default=True, help="What fixes everything random.")
@workspace_option
@json_option
def command(
    filter_name: str | None,
    filter_option: str | None,
    data_dir_option: Path | None,
    output_dir: Path | None,
    trainer: str | None,
    options: tuple[str, ...],
    model_name: str | None,
    epochs: int | None,
    batch_size: int | None,
    seed: int,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Train a student on prepared splits."""
    filter = load(filter_name, filter_option)
    aliases = {"trainer.base_model": model_name, "trainer.epochs": epochs, "trainer.batch_size": batch_size}
    config = configure(filter, workspace, "trainer", trainer, options, aliases)
    out = output_dir or student_dir(config, filter)
    with Stop() as stop:
        report = train_student(filter, config, data_dir_option or data_dir(config, filter), out, seed=seed, stop=stop)
    manifest = report.manifest
    if as_json:
        print_json({"student": str(out), "already_there": report.already_there, **manifest.model_dump(mode="json")})
        return 0
    size = sum(f.size for f in manifest.files.values()) / 1e6
    calibrated = [m.method for m in manifest.calibrator.maps if m.method != "none"]
    verb = "was there already" if report.already_there else "trained"
    click.echo(f"student {verb}: {out} ({manifest.format}, {size:.1f} MB, {manifest.student_hash[:12]})")
    click.echo(f"  calibrated: {len(calibrated)} of {len(manifest.calibrator.maps)} dimensions")
    click.echo(f"Next: filterkit validate {filter_name or filter_option} --student {out}")
    return 0
