"""filterkit audit"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filterkit.cli.common import (
    FILE,
    configure,
    counted,
    filter_argument,
    json_option,
    load,
    print_json,
    print_table,
    store_option,
    store_path,
    workspace_option,
)
from filterkit.cli.label_sources import audit_labels
from filterkit.cli.label_words import BARS
from filterkit.cli.progress import plain
from filterkit.files import write_json
from filterkit.pipeline.audit import Audit

if TYPE_CHECKING:
    from filterkit.io import Rejects
    from filterkit.spec import FilterSpec

SUSPECTS_SHOWN = 10
WIDEST_MATRIX = 12
SAYS = {"stop": "STOP", "warn": "warn", "pass": "ok"}


@click.command()
@filter_argument
@click.option(
    "--labels", "files", multiple=True, metavar="FILE", help="Labelled JSONL instead of the store; may be repeated."
)
@click.option("--oracle", metavar="NAME", help="Only labels of this oracle.")
@click.option("--model", metavar="NAME", help="Only labels that were asked of this model.")
@click.option(
    "--learning-curve",
    is_flag=True,
    help="Also train lite on growing shares of the labels, and say what more labels would buy. Takes minutes.",
)
@click.option(
    "--curve-draws",
    type=click.IntRange(2, 100),
    metavar="N",
    help="Fifths of the labels that are held out in turn for it.  [default: 5, or fewer where that takes long]",
)
@click.option("--output", type=FILE, help="Write everything into this JSON file: all suspects, figures and ids.")
@store_option
@workspace_option
@json_option
def command(
    filter_name: str | None,
    filter_option: str | None,
    files: tuple[str, ...],
    oracle: str | None,
    model: str | None,
    learning_curve: bool,
    curve_draws: int | None,
    output: Path | None,
    store: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Say what is wrong with the labels before anybody learns from them.

    Exit code 1 when a finding says stop.
    """
    if curve_draws is not None and not learning_curve:
        raise click.UsageError("--curve-draws says how --learning-curve is measured: give both")
    filter = load(filter_name, filter_option, workspace)
    config = configure(filter, workspace)
    store_file = store_path(config, store)
    audit, rejects = audit_labels(
        filter,
        config,
        store_file=store_file,
        files=files,
        oracle=oracle,
        model=model,
        output=output,
    )
    document = {**audit.to_dict(), "rejected": rejects.count}
    if not as_json:
        show(audit, filter.spec)
        _show_rejects(rejects)
    if learning_curve:
        from filterkit.cli import audit_curve

        found = audit_curve.learning_curve(
            filter,
            config,
            audit.figures,
            store_file=store_file,
            files=files,
            oracle=oracle,
            model=model,
            draws=curve_draws,
        )
        document["learning_curve"] = found[0].to_dict(*found[1:])
        if not as_json:
            audit_curve.show_curve(*found)
    if output is not None:
        write_json(output, document)
    if as_json:
        print_json(document)
    elif output is not None:
        click.echo(f"all of it: {output}")
    return 1 if audit.level == "stop" else 3 if rejects.count else 0


def show_findings(audit: Audit, levels: Sequence[str] = ("stop", "warn")) -> None:
    """What to do about the labels, worst first; only findings of these levels."""
    counts = {level: sum(f.level == level for f in audit.findings) for level in ("stop", "warn", "pass")}
    verdict = {"stop": "Stop: do not train on these labels yet", "warn": "Go on with care", "pass": "Go on"}
    click.echo(
        f"{verdict[audit.level]}. {counted(audit.figures['labels'], 'label')}: "
        f"{counts['stop']} stop, {counts['warn']} warn, {counts['pass']} ok"
    )
    for finding in (f for f in audit.findings if f.level in levels):
        click.echo(f"{SAYS[finding.level]:>4}  {finding.check}: {plain(finding.what, 400)}")
        if finding.do:
            click.echo(f"      → {plain(finding.do, 400)}")


def show(audit: Audit, spec: FilterSpec) -> None:
    """All findings, and the figures below."""
    show_findings(audit, tuple(SAYS))
    _show_suspects(audit)
    _show_dimensions(audit.figures, spec)
    _show_correlations(audit.figures["correlation"])
    if audit.figures["tiers"]:
        total = max(1, audit.figures["labels"])
        tiers = (f"{name} {count:,} ({count / total:.1%})" for name, count in audit.figures["tiers"].items())
        click.echo(f"\ntiers: {', '.join(tiers)}")
    for kind in ("languages", "sources"):
        _show_kinds(kind, audit.figures[kind])


def _show_suspects(audit: Audit) -> None:
    if not audit.suspects:
        return
    click.echo("\nsuspect labels, the most suspicious first:")
    rows = [
        (
            f"{s.label:g}",
            f"{s.expected:.1f}",
            f"{s.z:+.1f}",
            s.dimension,
            plain(s.id, 48),
            plain(s.title, 70),
        )
        for s in audit.suspects[:SUSPECTS_SHOWN]
    ]
    print_table(("label", "expected", "z", "dimension", "id", "title"), rows)
    if len(audit.suspects) > SUSPECTS_SHOWN:
        click.echo(f"… and {len(audit.suspects) - SUSPECTS_SHOWN:,} more (--output FILE.json has them all)")


def _show_dimensions(figures: Any, spec: FilterSpec) -> None:
    low, high = f"{spec.scale.min:g}", f"{spec.scale.max:g}"
    head = ("dimension", "n", "mean", "sd", "median", f"at {low}", f"at {high}", f"{low} to {high}", "counts")
    click.echo()
    print_table(head, [_dimension(of) for of in (*figures["dimensions"], figures["overall"])])


def _dimension(of: dict[str, Any]) -> tuple[str, ...]:
    highest = max(*of["histogram"], 1)
    bars = "".join(BARS[ceil(count / highest * (len(BARS) - 1))] for count in of["histogram"])
    name = f"{of['name']} (flag)" if of["role"] == "flag" else of["name"]
    numbers = (_number(of[key]) for key in ("mean", "sd", "median"))
    shares = ("–" if of[key] is None else f"{of[key]:.1%}" for key in ("at_floor", "at_ceiling"))
    return (name, f"{of['n']:,}", *numbers, *shares, f"|{bars}|", " ".join(map(str, of["histogram"])))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _show_correlations(of: Any) -> None:
    names = of["names"]
    if not 2 <= len(names) <= WIDEST_MATRIX:
        return
    click.echo("\ncorrelations (Pearson); R²: how well the others foretell it")
    rows = [
        (str(i + 1), *(_number(r) for r in of["pearson"][i]), _number(of["explained"].get(name)), name)
        for i, name in enumerate(names)
    ]
    print_table(("", *(str(i + 1) for i in range(len(names))), "R²", ""), rows)


def _show_kinds(kind: str, rows: Any) -> None:
    """The most frequent languages or sources, with their mean overall."""
    known = [row for row in rows if row["name"]]
    if not known:
        return
    first = (f"{plain(row['name'], 40)} {row['labels']:,} (mean {row['mean_overall']:.1f})" for row in known[:8])
    more = f" and {len(known) - 8:,} more" if len(known) > 8 else ""
    click.echo(f"{kind}: {', '.join(first)}{more}")


def _show_rejects(rejects: Rejects) -> None:
    if rejects.count:
        first = "" if rejects.count == 1 else "the first of them "
        what = f"{counted(rejects.count, 'line')} could not be used: {first}{plain(rejects.first or '')}"
        click.echo(what, err=True)
