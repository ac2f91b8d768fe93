"""What `filterkit train` says when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote

import click

from filterkit.cli.common import counted
from filterkit.cli.progress import duration, plain, usd
from filterkit.filters import Filter
from filterkit.pipeline.data import Data
from filterkit.pipeline.jobs import SealedJob
from filterkit.pipeline.train import TrainReport


def show_trained(
    report: TrainReport, out: Path, filter_name: str | None, job: Path | None, data_dir: Path | None
) -> None:
    """The student, and what comes next: validation, or the way home."""
    manifest = report.manifest
    size = sum(f.size for f in manifest.files.values()) / 1e6
    calibrated = [m.method for m in manifest.calibrator.maps if m.method != "none"]
    verb = "was there already" if report.already_there else "trained"
    click.echo(f"student {verb}: {out} ({manifest.format}, {size:.1f} MB, {manifest.student_hash[:12]})")
    click.echo(f"  calibrated: {len(calibrated)} of {len(manifest.calibrator.maps)} dimensions")
    if job is None:
        data = "" if data_dir is None else f" --data-dir {quote(str(data_dir))}"
        click.echo(f"Next: filterkit validate {quote(str(filter_name))} --student {quote(str(out))}{data}")
    else:
        home = f"filterkit students import {quote(out.name)} --filter FILTER --job {quote(job.name)}"
        click.echo(f"Next, at home, with a copy of it: {home}")


def show_packed(sealed: SealedJob, path: Path, filter_name: str, data_dir: Path | None) -> None:
    """What was sealed, and what to type where it goes."""
    articles = f"{sealed.data.train:,} + {counted(sealed.data.val, 'article')}"
    click.echo(f"job packed: {path} ({articles}, {path.stat().st_size / 1e6:.1f} MB, {sealed.hash[:12]})")
    click.echo("Where it goes:")
    click.echo(f"  pip install {' '.join(f'{dist}=={version}' for dist, version in sealed.packages.items())}")
    click.echo(f"  filterkit train --job {quote(path.name)} --output-dir student")
    data = "" if data_dir is None else f" --data-dir {quote(str(data_dir))}"
    home = f"filterkit students import student --filter {quote(filter_name)}{data} --job {quote(str(path))}"
    click.echo(f"Then here: {home}")


def show_plan(plan: Mapping[str, float | str], trainer: str, filter: Filter, data: Data | None) -> None:
    """The trainer's plan, a line each."""
    learnt = f"{data.info.train:,} + {counted(data.info.val, 'article')}" if data else "no data"
    click.echo(f"plan of {trainer} for {filter.name}, {learnt}:")
    if not plan:
        click.echo("  this trainer makes no plans")
    width = max((len(name) for name in plan), default=0)
    for name, value in plan.items():
        click.echo(f"  {name.replace('_', ' '):<{width}}  {_figure(name, value)}")


def _figure(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return plain(value)
    if name.endswith("bytes"):
        return f"{value:,.0f} ({value / 1e9:,.1f} GB)" if value >= 1e8 else f"{value:,.0f} ({value / 1e6:,.1f} MB)"
    if name.endswith("seconds"):
        return duration(value)
    if name.endswith("usd"):
        return usd(value)
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
