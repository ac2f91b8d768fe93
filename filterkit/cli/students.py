"""filterkit students: trained students that come and go."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from filterkit.cli.common import (
    FILE,
    FOLDER,
    configure,
    counted,
    data_dir,
    json_option,
    load,
    print_json,
    workspace_option,
)
from filterkit.cli.progress import plain
from filterkit.errors import InputError
from filterkit.pipeline.data import load_data
from filterkit.pipeline.homecoming import ImportReport, import_student
from filterkit.pipeline.jobs import read_sealed
from filterkit.plugins import KNOWN_DISTS


@click.group()
def command() -> None:
    """Take students home that were trained elsewhere."""


@command.command("import")
@click.argument("source", metavar="DIR_OR_TAR", type=click.Path(path_type=Path))
@click.option("--filter", "filter_name", metavar="FILTER", required=True, help="The filter that it was trained for.")
@click.option(
    "--data-dir",
    "data_dir_option",
    type=FOLDER,
    help="The splits that it learnt from.  [default: datasets/NAME-vN in the workspace]",
)
@click.option("--job", type=FILE, metavar="FILE", help="The sealed job that it must be the outcome of.")
@click.option(
    "--output-dir", type=FOLDER, help="Where the student goes.  [default: model/ beside the filter, or students/]"
)
@workspace_option
@json_option
def import_command(
    source: Path,
    filter_name: str,
    data_dir_option: Path | None,
    job: Path | None,
    output_dir: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Verify a student that was trained elsewhere, and put it where `filterkit train` would have put it.

    DIR_OR_TAR is the student's folder, or a tar of it. It must be whole, fit the filter, and have learnt from these
    very splits. What was validated elsewhere does not count: validate it here.
    """
    if not source.exists():
        raise InputError("is not there", where=source)
    filter = load(filter_name, None, workspace)
    config = configure(filter, workspace)
    data = load_data(filter, data_dir_option or data_dir(config, filter))
    out = output_dir or config.student_dir(filter)
    report = import_student(filter, data, source, out, sealed=read_sealed(job) if job else None)
    if as_json:
        manifest = report.manifest.model_dump(mode="json")
        print_json({"student": str(out), "already_there": report.already_there, "tried": report.tried, **manifest})
    else:
        _show(report, out, filter_name)
    return 0


def _show(report: ImportReport, out: Path, filter_name: str) -> None:
    manifest = report.manifest
    size = sum(f.size for f in manifest.files.values()) / 1e6
    verb = "was home already" if report.already_there else "imported"
    click.echo(f"student {verb}: {out} ({plain(manifest.format)}, {size:.1f} MB, {manifest.student_hash[:12]})")
    if report.tried is None:
        dist = KNOWN_DISTS.get(manifest.format)
        fix = f" (pip install {dist})" if dist else ""
        click.echo(f"  not tried: model {manifest.format!r} is not installed here{fix}", err=True)
    else:
        click.echo(f"  scored {counted(report.tried, 'article')} of the val split")
    click.echo(f"Next: filterkit validate {quote(filter_name)} --student {quote(str(out))}")
