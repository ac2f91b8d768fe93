"""filterkit prepare"""

from __future__ import annotations

from pathlib import Path

import click

from filterkit.cli.common import (
    FOLDER,
    configure,
    counted,
    data_dir,
    filter_argument,
    json_option,
    load,
    print_json,
    store_option,
    store_path,
    workspace_option,
)
from filterkit.cli.label_sources import prepare_labels
from filterkit.pipeline.prepare import PrepareReport


@click.command()
@filter_argument
@click.option("--output-dir", type=FOLDER, help="Where the splits go.  [default: datasets/NAME-vN in the workspace]")
@click.option(
    "--labels", "files", multiple=True, metavar="FILE", help="Labelled JSONL instead of the store; may be repeated."
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="FILE",
    help="Articles to keep out, and what is like them; may be repeated.",
)
@click.option("--oracle", metavar="NAME", help="Only labels of this oracle.")
@click.option("--model", metavar="NAME", help="Only labels that were asked of this model.")
@click.option("--mix-oracles", is_flag=True, help="Take labels of several oracles or models together.")
@click.option("--seed", type=int, default=0, show_default=True, help="What fixes the split.")
@store_option
@workspace_option
@json_option
def command(
    filter_name: str | None,
    filter_option: str | None,
    output_dir: Path | None,
    files: tuple[str, ...],
    exclude: tuple[str, ...],
    oracle: str | None,
    model: str | None,
    mix_oracles: bool,
    seed: int,
    store: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Turn labels into train, val and test splits."""
    filter = load(filter_name, filter_option)
    config = configure(filter, workspace)
    out = output_dir or data_dir(config, filter)
    report, rejects = prepare_labels(
        filter,
        config,
        out,
        store_file=store_path(config, store),
        files=files,
        exclude=exclude,
        oracle=oracle,
        model=model,
        mix_oracles=mix_oracles,
        seed=seed,
    )
    if as_json:
        print_json({**report.to_dict(), "output_dir": str(out), "rejected": rejects.count})
    else:
        show(report, out, excluding=bool(exclude))
        if rejects.count:
            where = f"; see {rejects.path}" if rejects.path else ""
            click.echo(f"  {counted(rejects.count, 'line')} could not be used{where}", err=True)
    return 3 if rejects.count or report.duplicates.conflicts or report.duplicates.contradictions else 0


def show(report: PrepareReport, out: Path, *, excluding: bool = False) -> None:
    """The report in words."""
    counts = ", ".join(f"{n:,} {name}" for name, n in report.counts.items())
    same = " (as before)" if report.unchanged else ""
    left_out = report.duplicates
    click.echo(f"{counts} in {out}{same}")
    click.echo(f"  left out: {left_out.same:,} with the same text")
    if left_out.samples:
        click.echo(f"  left out: {counted(left_out.samples, 'repeated sample')} of texts that have a first one")
    click.echo(f"  kept together: {counted(report.near_duplicates, 'near-duplicate')}")
    if excluding:
        click.echo(
            f"  excluded: {report.excluded.same:,} by id or text, "
            f"{counted(report.excluded.near, 'near-duplicate')} of what is to be kept out"
        )
    for what, ids in (
        ("has two texts: one of them counts", left_out.conflicts),
        ("has a text with other scores too: one of them counts", left_out.contradictions),
    ):
        for article_id in ids[:5]:
            click.echo(f"  id {article_id!r} {what}", err=True)
        if len(ids) > 5:
            click.echo(f"  … and {len(ids) - 5:,} more", err=True)
