"""Prepared splits, as later steps read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from filterkit.errors import ArtifactError, InputError
from filterkit.explain import explain
from filterkit.files import read_json, sha256_file
from filterkit.filters import Filter
from filterkit.io import Rejects, read_labelled
from filterkit.manifest import DataInfo
from filterkit.pipeline.nearby import groups
from filterkit.prompt import sent_text, student_text
from filterkit.records import F32, Article, Label, Record, Split, canonical_json, sha256_text
from filterkit.spec import FilterSpec

INFO_NAME = "data.json"
SPLITS = ("train", "val", "test")
MOST_WEIGHT = 1e6
"""More than this is no weight but another number."""


class DataFile(Record):
    """data.json: which filter the splits are for, and the hash of each."""

    data: Literal[1] = 1
    filter: str
    version: str
    target_hash: str
    seed: int
    files: dict[str, str]
    info: DataInfo


@dataclass(frozen=True)
class Rows:
    """One split with its articles and their labels; `groups` names the rows that belong together: near-duplicates,
    or declared."""

    split: Split
    articles: list[Article]
    labels: list[Label]
    groups: list[str]

    def __len__(self) -> int:
        return len(self.articles)

    def take(self, rows: NDArray[np.intp]) -> Rows:
        """The given rows, in their order."""
        return Rows(
            self.split.take(rows),
            [self.articles[i] for i in rows],
            [self.labels[i] for i in rows],
            [self.groups[i] for i in rows],
        )


@dataclass(frozen=True)
class Data:
    """The splits of a data folder and what they are."""

    info: DataInfo
    splits: dict[str, Rows]


def load_data(filter: Filter, folder: Path) -> Data:
    """The splits in `folder`, checked against data.json and against the filter.

    A folder without data.json (splits made elsewhere) is taken at its word. Raises InputError when a split is
    missing, altered or holds nothing usable; ArtifactError when it was prepared for another question.
    """
    missing = [f"{name}.jsonl" for name in SPLITS if not (folder / f"{name}.jsonl").is_file()]
    if missing:
        raise InputError(
            f"{missing[0]} is missing", where=folder, fix=f"Make the splits: filterkit prepare {filter.name}"
        )
    hashes = {name: sha256_file(folder / f"{name}.jsonl") for name in SPLITS}
    info = _prepared_info(filter, folder, hashes) if (folder / INFO_NAME).is_file() else None
    weighted = info is not None and info.weighted
    splits = {name: read_split(filter.spec, folder / f"{name}.jsonl", weighted=weighted) for name in SPLITS}
    if info is None:
        return Data(_own_info(filter, splits, hashes), _grouped(filter.spec, splits))
    return Data(info, splits)


def _prepared_info(filter: Filter, folder: Path, hashes: dict[str, str]) -> DataInfo:
    path = folder / INFO_NAME
    try:
        data = DataFile.model_validate(read_json(path))
    except ValidationError as error:
        raise InputError(
            f"is not valid ({explain(error)[0][1]})", where=path, fix="Run filterkit prepare again"
        ) from error
    changed = [name for name in SPLITS if data.files.get(name) != hashes[name]]
    if changed:
        raise InputError(
            f"{changed[0]}.jsonl is not the file that was prepared",
            where=folder,
            fix="Run filterkit prepare again (or remove data.json to use the splits as your own)",
        )
    if data.filter != filter.name or data.target_hash != filter.spec.target_hash:
        raise ArtifactError(
            "the splits were prepared for another filter, other dimensions, scale or input",
            where=folder,
            fix="Run filterkit prepare again",
        )
    if data.info.request_hash != filter.request_hash(data.info.variant):
        raise ArtifactError(
            "the splits hold labels of another rubric than the filter's",
            where=folder,
            fix="Label and prepare again, or go back to that rubric",
        )
    return data.info


def _own_info(filter: Filter, splits: dict[str, Rows], hashes: dict[str, str]) -> DataInfo:
    request_hash = filter.request_hash()
    return DataInfo(
        fingerprint=sha256_text(canonical_json([hashes, request_hash, filter.spec.target_hash])),
        request_hash=request_hash,
        **{name: len(splits[name]) for name in SPLITS},
    )


def declared_group(article: Article) -> str | None:
    """The article's field `group`: articles that share it are never parted."""
    group = article.extra.get("group")
    return group if isinstance(group, str) and group else None


def _grouped(spec: FilterSpec, splits: dict[str, Rows]) -> dict[str, Rows]:
    """Splits made elsewhere, with their near-duplicates found."""
    articles = [a for rows in splits.values() for a in rows.articles]
    leaders = iter(groups((sent_text(spec, a) for a in articles), [declared_group(a) for a in articles]))
    return {
        name: Rows(rows.split, rows.articles, rows.labels, [str(next(leaders)) for _ in rows.articles])
        for name, rows in splits.items()
    }


def read_split(spec: FilterSpec, path: Path, *, weighted: bool = False) -> Rows:
    """The rows of one split's file. InputError when one of them, or all, cannot be used.

    weighted: rows count by their field `weight`, as `prepare` writes it; else all count alike, whatever a field of
    that name says of an article.
    """
    rejects = Rejects()
    articles: list[Article] = []
    names: list[str] = []
    labels: list[Label] = []
    scores: list[list[float]] = []
    for article, label in read_labelled([path], spec, rejects):
        articles.append(article)
        labels.append(label)
        names.append(declared_group(article) or article.id)
        scores.append([label.scores.get(name, np.nan) for name in spec.names])
    if rejects.count:
        raise InputError(f"{rejects.count} rows cannot be used, the first: {rejects.first}", where=path)
    if not articles:
        raise InputError("holds no rows", where=path)
    split = Split(
        texts=[student_text(spec, a) for a in articles],
        targets=np.array(scores, dtype=np.float32).reshape(-1, len(spec.names)),
        weights=_weights(articles, path) if weighted else np.ones(len(articles), dtype=np.float32),
        path=path,
    )
    return Rows(split, articles, labels, names)


def _weights(articles: Sequence[Article], path: Path) -> F32:
    """The field `weight` of each article [n]. InputError where one is no number above 0."""
    weights = [article.extra.get("weight") for article in articles]
    for article, weight in zip(articles, weights, strict=True):
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= MOST_WEIGHT:
            raise InputError(f"{article.id[:80]!r} has no usable weight", where=path, fix="Run filterkit prepare again")
    return np.array(weights, dtype=np.float32)
