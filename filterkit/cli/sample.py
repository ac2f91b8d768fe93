"""filterkit sample"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filterkit.cli.common import (
    backend_options,
    configure,
    counted,
    filter_argument,
    json_option,
    load,
    print_json,
    store_option,
    store_path,
    workspace_option,
)
from filterkit.cli.selecting import Choosing, chosen_words, select_options, strategies_of, told_of

if TYPE_CHECKING:
    from filterkit.config import Config
    from filterkit.filters import Filter
    from filterkit.io import Rejects
    from filterkit.pipeline.choose.candidates import Offer
    from filterkit.pipeline.choose.choice import Choice, Stands
    from filterkit.spec import FilterSpec


@click.command()
@filter_argument
@click.option(
    "--articles",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    help="Articles: .jsonl, .jsonl.gz, .jsonl.zst or .parquet; may be repeated, or a glob.",
)
@click.option("--fields", metavar="OURS=THEIRS,…", help="Which columns hold what: content=text,id=url.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The chosen articles: .jsonl, .jsonl.gz or .jsonl.zst.",
)
@click.option("--limit", required=True, type=click.IntRange(min=1), help="How many articles to choose.")
@select_options(default="random")
@backend_options("embedder")
@store_option
@workspace_option
@json_option
def command(
    filter_name: str | None,
    filter_option: str | None,
    files: tuple[str, ...],
    fields: str | None,
    output: Path,
    limit: int,
    choosing: Choosing,
    embedder: str | None,
    options: tuple[str, ...],
    store: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Choose articles to label out of files of any size, in one pass.

    The chosen articles are written with all their fields, best first; each text once. With FILTER those that its
    oracle labelled already are not chosen, as `filterkit label --select` does not.
    """
    from filterkit.cli.steps import rejects_beside
    from filterkit.io import parse_fields, readable, refuse_to_overwrite

    filter = load(filter_name, filter_option, workspace) if filter_name or filter_option else None
    config = configure(filter, workspace, "embedder", embedder, options)
    columns = parse_fields(fields)
    _check_name(output)
    readable(files)
    refuse_to_overwrite(files, output)
    refuse_to_overwrite(choosing.near, output)
    rejects = rejects_beside(files, config.workspace)
    try:
        with _known(filter, config, store_path(config, store)) as stands:
            choice = _choose(files, columns, filter, config, choosing, limit, rejects, stands)
    finally:
        rejects.close()
    _write(output, choice)
    told = told_of(choice, choosing)
    if as_json:
        print_json({**told, "output": str(output), "rejected": rejects.count})
    else:
        click.echo(f"{chosen_words(choosing, told)} → {output}")
    if rejects.count:
        click.echo(f"{counted(rejects.count, 'line')} could not be read: {rejects.path}", err=True)
    return 3 if rejects.count else 0


def _check_name(output: Path) -> None:
    from filterkit.errors import ConfigError
    from filterkit.rows import compress

    if not output.name.endswith((".jsonl", ".jsonl.gz", ".jsonl.zst")):
        raise ConfigError("is not a name for JSON lines", where=output, fix="Name it .jsonl, .jsonl.gz or .jsonl.zst")
    if output.name.endswith(".rejected.jsonl"):
        raise ConfigError("is where lines go that cannot be read", where=output, fix="Name the sample otherwise")
    compress(output, b"")  # ConfigError, before the pass and not after it


def _choose(
    files: tuple[str, ...],
    fields: Mapping[str, str],
    filter: Filter | None,
    config: Config,
    choosing: Choosing,
    limit: int,
    rejects: Rejects,
    stands: Stands | None,
) -> Choice:
    from filterkit.cli.progress import watched
    from filterkit.pipeline.choose.choice import choose

    spec = _no_filter() if filter is None else filter.spec
    name = None if filter is None else filter.name
    with strategies_of(choosing, limit, config, spec, name, fields) as strategies:
        offers = watched(_offers(files, fields, None if filter is None else spec, rejects))
        return choose(offers, choosing.parts, strategies, limit, cap=choosing.domain_cap, stands=stands)


def _offers(
    files: tuple[str, ...], fields: Mapping[str, str], spec: FilterSpec | None, rejects: Rejects
) -> Iterator[Offer]:
    """Every article of the files with its row; known by what an oracle would be sent of it, or else by all its text."""
    from filterkit.io import read_pairs
    from filterkit.pipeline.choose.candidates import offer
    from filterkit.prompt import sent_text
    from filterkit.records import sha256_text
    from filterkit.untrusted import clean

    for article, row in read_pairs(files, fields, rejects):
        text = clean(article.text) if spec is None else sent_text(spec, article)
        yield offer(article, sha256_text(text), row)


def _no_filter() -> FilterSpec:
    """Embedders are made for a filter's spec; here there may be none."""
    from filterkit.spec import FilterSpec

    return FilterSpec.model_validate(
        {"schema": 1, "name": "sample", "version": "1", "dimensions": [{"name": "any", "weight": 1}]}
    )


@contextlib.contextmanager
def _known(filter: Filter | None, config: Config, store_file: Path) -> Iterator[Stands | None]:
    """Where the filter's questions stand; None where there is no filter, no store or no oracle to have asked."""
    from filterkit.cli.steps import before_labelling
    from filterkit.store import Key

    asked = filter is not None and store_file.is_file()
    if asked and "oracle" not in config.backends:
        click.echo(
            "note: no oracle is configured, so what is labelled already is not known and may be chosen; "
            "-O oracle.use=NAME names one",
            err=True,
        )
    if filter is None or not asked or "oracle" not in config.backends:
        yield None
        return
    with before_labelling(filter, config, store_file) as labelling:
        store = labelling.store
        assert store is not None
        yield lambda hashes: [s.kind for s in store.states(labelling.question, [Key(one) for one in hashes])]


def _write(output: Path, choice: Choice) -> None:
    from filterkit.files import atomic_write
    from filterkit.rows import compress

    group = 1000  # lines of a member: what is compressed alone
    with atomic_write(output) as file:
        for start in range(0, len(choice.chosen), group):
            data = b"".join(candidate.line() for candidate in choice.chosen[start : start + group])
            file.write(compress(output, data))
