"""filterkit verify"""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import Any

import click

from filterkit.cli.common import FOLDER, configure, counted, json_option, print_json, print_table, workspace_option
from filterkit.config import parse_option
from filterkit.errors import ConfigError, GateRefused, InputError
from filterkit.io import Rejects, read_articles
from filterkit.pipeline.deployments import records_in
from filterkit.pipeline.verify import VerifyReport, sample_articles, verify
from filterkit.pipeline.verify_places import is_address
from filterkit.records import Article
from filterkit.untrusted import legible

MOST_SAMPLES = 100_000


def _amount(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    """From 0 on; click itself takes nan and inf for numbers."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise click.BadParameter(f"{value} is not a number from 0 on")
    return value


@click.command()
@click.argument("target", metavar="TARGET")
@click.option("--student", "--model", "student", required=True, type=FOLDER, help="The folder of the student here.")
@click.option(
    "--samples",
    type=click.IntRange(1, MOST_SAMPLES),
    default=50,
    show_default=True,
    help="How many articles are scored here and there.",
)
@click.option("--articles", multiple=True, metavar="FILE", help="Articles to score instead of the built-in ones.")
@click.option(
    "--max-latency-ms",
    type=float,
    default=500.0,
    show_default=True,
    callback=_amount,
    help="The gate: 95 of 100 single articles take less. 0 asks for no speed.",
)
@click.option("--per-hour", type=float, metavar="USD", callback=_amount, help="What the target costs by the hour.")
@click.option(
    "-O", "options", multiple=True, metavar="KEY=VALUE", help="An option of the remote model. May be repeated."
)
@workspace_option
@json_option
def command(
    target: str,
    student: Path,
    samples: int,
    articles: tuple[str, ...],
    max_latency_ms: float,
    per_hour: float | None,
    options: tuple[str, ...],
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Prove that a copy, an endpoint or a server answers as a student does, and how fast.

    TARGET is a folder (or the one that `filterkit deploy` named), hf://owner/name[@revision], or the https:// address
    of an endpoint or a server. Exit code 1:
    it does not, or is too slow; 4: it could not be reached.
    """
    if options and not is_address(target):
        raise ConfigError("is no address, so that no remote model reads -O", where=target)
    config = configure(None, workspace, more=dict(parse_option(option, "remote") for option in options))
    report = verify(
        target,
        student,
        _articles(articles, samples),
        max_latency_ms=max_latency_ms,
        usd_per_hour=per_hour,
        options=config.backends.get("remote", {}),
        records=records_in(config.workspace),
    )
    if as_json:
        print_json(report.to_dict())
        return 0 if report.refusal is None else GateRefused.exit_code
    _show(report)
    if report.refusal is not None:
        raise GateRefused(legible(report.refusal), where=target)
    return 0


def _articles(files: tuple[str, ...], count: int) -> list[Article]:
    if not files:
        return sample_articles(count)
    rejects = Rejects()
    found = list(islice(read_articles(files, rejects=rejects), count))
    left_out = f"left out {counted(rejects.count, 'line')}, the first: {rejects.first}" if rejects.count else None
    if not found:
        raise InputError(left_out or "holds no article", where=files[0])
    if left_out:
        click.echo(legible(f"Warning: {left_out}"), err=True)
    return found


def _show(report: VerifyReport) -> None:
    """The report as a small table."""
    words = {True: "ok", False: "NO", None: "not asked"}
    rows: list[tuple[str, Any, str]] = [(c.name, words[c.passed], legible(c.said)) for c in report.checks]
    if report.speed is not None:
        latency = ", ".join(f"{name} {value:,.1f}" for name, value in report.speed.latency_ms.items())
        rows.append(("single", "", f"{latency} ms, of {counted(report.samples, 'article')}"))
        rows.append(("batches", "", f"{report.speed.per_second:,.0f} articles a second"))
        rows.append(("cost", "", _cost(report)))
    print_table(("check", "", report.target), rows)


def _cost(report: VerifyReport) -> str:
    if report.usd_per_1000 is None:
        return "unknown: say what it costs with --per-hour USD"
    return f"${report.usd_per_1000:.6f} for 1,000 articles in batches, at ${report.usd_per_hour:g} an hour"
