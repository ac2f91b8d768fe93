"""filterkit prepare"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

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
from filterkit.cli.judges import Panel, Wanted, consensus_options, panel_of, parted
from filterkit.cli.label_sources import prepare_labels
from filterkit.cli.progress import plain
from filterkit.config import Config
from filterkit.errors import ConfigError
from filterkit.filters import Filter
from filterkit.manifest import Judgement
from filterkit.pipeline.judgement.judged import Manner
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
@click.option(
    "--test",
    multiple=True,
    metavar="FILE",
    help="Articles to be the test split, such as the old version's test.jsonl; all else is train and val.",
)
@click.option("--oracle", metavar="NAME", help="Only labels of this oracle.")
@click.option("--model", metavar="NAME", help="Only labels that were asked of this model.")
@click.option("--mix-oracles", is_flag=True, help="Take labels of several oracles or models together.")
@click.option(
    "--samples",
    type=click.Choice(["median", "first"]),
    default="median",
    show_default=True,
    help="What counts of repeated answers: their median, or the first one alone.",
)
@click.option("--equal-weights", is_flag=True, help="Let all rows count alike, however far their answers are apart.")
@click.option(
    "--consensus",
    is_flag=True,
    help="One label of what two oracles and their referee said: those of --second and --referee, or of the config.",
)
@consensus_options
@click.option("-O", "options", multiple=True, metavar="KEY=VALUE", help="As it was said to `filterkit label`.")
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
    test: tuple[str, ...],
    oracle: str | None,
    model: str | None,
    mix_oracles: bool,
    samples: Literal["median", "first"],
    equal_weights: bool,
    consensus: bool,
    second: str | None,
    referee: str | None,
    tolerance: float | None,
    options: tuple[str, ...],
    seed: int,
    store: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Turn labels into train, val and test splits."""
    filter = load(filter_name, filter_option, workspace)
    panel = None
    config = configure(filter, workspace)
    store_file = store_path(config, store)
    wanted = Wanted(second, referee, tolerance, parted(options)[1])
    if consensus or wanted != Wanted() or (config.settings.consensus.second and not (oracle or mix_oracles or files)):
        config = configure(filter, workspace, "oracle", oracle, parted(options)[0], {"oracle.model": model})
        panel = _judges(filter, config, workspace, wanted, store_file, mix_oracles)
    elif options:
        raise click.UsageError("-O is for the oracles of a consensus: --consensus")
    out = output_dir or data_dir(config, filter)
    report, rejects = prepare_labels(
        filter,
        config,
        out,
        store_file=store_file,
        files=files,
        exclude=exclude,
        test=test,
        oracle=oracle,
        model=model,
        mix_oracles=mix_oracles,
        manner=Manner(samples, weighted=not equal_weights),
        panel=panel,
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


def _judges(
    filter: Filter, config: Config, workspace: Path | None, wanted: Wanted, store_file: Path, mix_oracles: bool
) -> Panel:
    if mix_oracles:
        raise click.UsageError("--mix-oracles takes labels as they are and --consensus makes one of several: choose")
    panel = panel_of(filter, config, workspace, wanted, store_file, asks=False)
    if panel is None:
        raise ConfigError(
            "--consensus needs to know who judges", fix="--second NAME[:MODEL], or consensus.second in config"
        )
    return panel


def show(report: PrepareReport, out: Path, *, excluding: bool = False) -> None:
    """The report in words."""
    counts = ", ".join(f"{n:,} {name}" for name, n in report.counts.items())
    same = " (as before)" if report.unchanged else ""
    left_out = report.duplicates
    click.echo(f"{counts} in {out}{same}")
    click.echo(f"  left out: {left_out.same:,} with the same text")
    _show_judgement(report.info.judgement)
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


WHY_LEFT_OUT = {
    "one_judge": "that only one of the judges has labelled",
    "undecided": "that the judges dispute and no referee has decided",
}


def _show_judgement(judgement: Judgement | None) -> None:
    """How labels were made of several answers; nothing where each is one."""
    if judgement is None:
        return
    click.echo(f"  labels: {plain(judgement.words, 400)}")
    for why, words in WHY_LEFT_OUT.items():
        if count := judgement.left_out.get(why):
            click.echo(f"  left out: {counted(count, 'article')} {words}: filterkit label asks")
    if count := judgement.left_out.get("others"):
        click.echo(f"  left out: {counted(count, 'label')} of other oracles")
