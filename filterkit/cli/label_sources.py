"""Labels of files, or else of the store, for the steps that take them: audit and prepare."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from filterkit.cli.judges import Panel
from filterkit.cli.steps import finished, make_oracle, rejects_beside, work_dir
from filterkit.config import Config
from filterkit.contracts import Context
from filterkit.errors import FilterkitError, InputError, PluginError
from filterkit.filters import Filter
from filterkit.io import Rejects, read_articles, read_labelled, refuse_to_overwrite
from filterkit.options import make_backend
from filterkit.pipeline.audit import Audit, audit
from filterkit.pipeline.data import SPLITS
from filterkit.pipeline.judgement.judged import Manner
from filterkit.pipeline.label import oracle_variant
from filterkit.pipeline.prepare import PrepareReport, prepare
from filterkit.records import Article, Label
from filterkit.store import LabelRow, Store


def prepare_labels(
    filter: Filter,
    config: Config,
    out: Path,
    *,
    store_file: Path,
    files: Sequence[str] = (),
    exclude: Sequence[str] = (),
    test: Sequence[str] = (),
    oracle: str | None = None,
    model: str | None = None,
    mix_oracles: bool = False,
    manner: Manner | None = None,
    panel: Panel | None = None,
    seed: int = 0,
) -> tuple[PrepareReport, Rejects]:
    """Split the labels of `files`, or else of the store. The rejected lines of `files` come with the report.

    manner: how several answers become one label; panel: the judges of a consensus, whose labels alone are taken.
    """
    if exclude or test:
        refuse_to_overwrite([*exclude, *test], *(out / f"{name}.jsonl" for name in SPLITS))
    rejects = rejects_beside(files or exclude or test, out) if files or exclude or test else Rejects()
    if panel is not None and not files:
        rows, variant = _by_judges(store_file, panel), _variant(config, filter)
    else:
        rows, variant = given_labels(filter, config, store_file, files, oracle, model, rejects)
    manner = dataclasses.replace(manner or Manner(), consensus=None if panel is None else panel.rule)
    kept_out = read_articles(exclude, rejects=rejects) if exclude else ()
    wanted = list(read_articles(test, rejects=rejects)) if test else None
    try:
        report = prepare(
            filter,
            rows,
            out,
            exclude=kept_out,
            test=wanted,
            variant=variant,
            mix_oracles=mix_oracles,
            manner=manner,
            seed=seed,
        )
    except InputError as error:
        raise _with_rejected(error, rejects, "too few") from error
    finally:
        rejects.close()
    finished("prepare", filter, report.to_dict())
    return report, rejects


def _with_rejected(error: InputError, rejects: Rejects, about: str) -> InputError:
    """The error that there is too little, with the lines that were rejected, if that may be why."""
    if not rejects.first or error.where is not None or about not in error.what:
        return error
    lines = "1 line was" if rejects.count == 1 else f"{rejects.count:,} lines were"
    return InputError(f"{error.what}; {lines} rejected", where=rejects.first)


def given_labels(
    filter: Filter,
    config: Config,
    store_file: Path,
    files: Sequence[str],
    oracle: str | None,
    model: str | None,
    rejects: Rejects,
) -> tuple[Iterator[tuple[Article, Label]], dict[str, Any]]:
    """The labels of `files`, or else of the store, narrowed to an oracle and a model; and the oracle's variant.

    A repeated sample has its number in the article's field `sample`, as exported labels have it.
    """
    if files:
        return _of_oracle(read_labelled(files, filter.spec, rejects), oracle, model), {}
    configured = config.backends.get("oracle", {}).get("use")
    variant = _variant(config, filter) if oracle in (None, configured) else {}
    return _of_oracle(_from_store(filter, store_file, variant), oracle, model), variant


def audit_labels(
    filter: Filter,
    config: Config,
    *,
    store_file: Path,
    files: Sequence[str] = (),
    oracle: str | None = None,
    model: str | None = None,
    output: Path | None = None,
) -> tuple[Audit, Rejects]:
    """Look at the labels of `files`, or else of the store. The rejected lines of `files` come with the audit.

    Texts are embedded by the workspace's embedder, or by n-grams where none was chosen and the default is not there.
    `output`: what will be written, which may be none of `files`.
    """
    if files and output is not None:
        refuse_to_overwrite(files, output)
    rejects = Rejects()
    rows, _ = given_labels(filter, config, store_file, files, oracle, model, rejects)
    try:
        return _audited(filter, config, rows), rejects
    except InputError as error:
        raise _with_rejected(error, rejects, "no label to audit") from error


def _audited(filter: Filter, config: Config, rows: Iterable[tuple[Article, Label]]) -> Audit:
    name, options = config.backend("embedder")
    given = Context(workdir=work_dir(config, f"embedder-{name}"), root=config.workspace)
    try:
        embedder = make_backend("embedder", name, options, filter.spec, given)
        embedder.embed([])
    except FilterkitError:
        if config.origin("embedder.use") != "default":
            raise
        return audit(filter.spec, rows)
    try:
        return audit(filter.spec, rows, embedder.embed, f"embedder {name}")
    finally:
        embedder.close()


def _variant(config: Config, filter: Filter) -> dict[str, Any]:
    """What the configured oracle adds to the question. Labels may outlive the plugin that made them: then nothing."""
    if not config.backends.get("oracle"):
        return {}
    try:
        _, oracle = make_oracle(config, filter)
    except PluginError:
        return {}
    variant = oracle_variant(oracle)
    oracle.close()
    return variant


def _from_store(filter: Filter, file: Path, variant: dict[str, Any]) -> Iterator[tuple[Article, Label]]:
    request_hash = filter.request_hash(variant)
    with Store(file, create=False) as store:
        there = [c for c in store.questions() if c.labels]
        if not any(c.question.request_hash == request_hash for c in there):
            others = sum(c.labels for c in there if c.question.filter_name.split(" ")[0] == filter.name)
            older = f"; {others} labels answer another rubric of {filter.name}" if others else ""
            raise InputError(f"holds no labels for this rubric{older}", where=file, fix="Run filterkit label first")
        yield from map(_numbered, store.labelled(request_hash))


def _by_judges(file: Path, panel: Panel) -> Iterator[tuple[Article, Label]]:
    """What the judges said, each asked with its own options: they may make it another question."""
    with Store(file, create=False) as store:
        found = False
        for row in store.labels_of(panel.questions):
            found = True
            yield _numbered(row)
    if not found:
        raise InputError("holds no labels of these judges for this rubric", where=file, fix="Run filterkit label first")


def _numbered(row: LabelRow) -> tuple[Article, Label]:
    """A label of the store, a repeated sample with its number."""
    article = row.article
    if row.sample:
        article = dataclasses.replace(article, extra={**article.extra, "sample": row.sample})
    return article, Label(row.scores, row.evidence, row.oracle, row.model)


def _of_oracle(
    rows: Iterable[tuple[Article, Label]], oracle: str | None, model: str | None
) -> Iterator[tuple[Article, Label]]:
    """The rows of one oracle and model. InputError when there are rows, but none of them."""
    others: set[str] = set()
    found = False
    for row in rows:
        by = row[1]
        if oracle in (None, by.oracle) and model in (None, by.model):
            found = True
            yield row
        else:
            others.add(f"{by.oracle or 'unknown'} {by.model or ''}".strip())
    if others and not found:
        asked = " and ".join(f"{kind} {name!r}" for kind, name in (("oracle", oracle), ("model", model)) if name)
        raise InputError(f"no label is of {asked}; there are labels of {', '.join(sorted(others))}")
