"""Labels in, labels out: labelled files into the store, the store's labels as labelled rows."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from filterkit.articles import clean, to_article
from filterkit.errors import ConfigError
from filterkit.io import Rejects, expand, to_label
from filterkit.prompt import sent_text
from filterkit.records import Article, Label, sha256_text
from filterkit.rows import read_rows
from filterkit.spec import FilterSpec
from filterkit.store import queries
from filterkit.store.rows import LabelRow, Question, pack, pack_article, pack_json, pack_scores, text_hash, unpack_json
from filterkit.store.store import Store

LABEL_FIELDS = ("scores", "evidence", "oracle", "model", "model_version", "sample")
"""What a labelled row says of its label; all other fields are the article's."""
PEOPLE = "human:"
"""The names of people as oracles begin with it; they need no model."""
BATCH = 500
SHOWN = 1_000
MAX_SAMPLE = 1_000_000


class Given(NamedTuple):
    """A labelled row of a file, found right: every dimension has a score, and oracle and model are known."""

    article: Article
    label: Label
    oracle: str
    model: str
    model_version: str | None
    sample: int


@dataclass
class Imported:
    """What became of labelled rows. read = new + already + conflicts.

    already: such a label was there; conflicts: one with other scores was, and stands (`conflicting`: ids of the first
    of them); edited: articles that were known with another text, which gives way to this one.
    """

    read: int = 0
    new: int = 0
    already: int = 0
    conflicts: int = 0
    edited: int = 0
    oracles: dict[str, int] = field(default_factory=dict)
    conflicting: list[str] = field(default_factory=list)


def check_names(oracle: str | None, model: str | None) -> None:
    """ConfigError when the names given for a whole import cannot be used."""
    if oracle is not None and not oracle.removeprefix(PEOPLE).strip():
        raise ConfigError(f"--oracle {oracle!r} names nobody", fix="Name a backend, or a person: --oracle human:NAME")
    if model is not None and not model.strip():
        raise ConfigError("--model names no model", fix="Name the model that was asked for")


def read_given(
    files: Sequence[str | Path],
    spec: FilterSpec,
    rejects: Rejects,
    *,
    fields: Mapping[str, str] | None = None,
    oracle: str | None = None,
    model: str | None = None,
) -> Iterator[Given]:
    """Every row of the files that may become a label, streamed; the others are rejected with the reason.

    `oracle` and `model` are those of rows that name none; a row that names another one is rejected.
    """
    for path in expand(files):
        for number, row in read_rows(path):
            try:
                if isinstance(row, str):
                    raise ValueError(row)
                yield _given(row, spec, fields, oracle, model)
            except ValueError as error:
                rejects.add(str(path), number, str(error))


def _given(
    row: Mapping[str, Any], spec: FilterSpec, fields: Mapping[str, str] | None, oracle: str | None, model: str | None
) -> Given:
    taken = set((fields or {}).values())
    article = to_article({k: v for k, v in row.items() if k in taken or k not in LABEL_FIELDS}, fields)
    label = to_label(row, spec)
    unknown = [name for name in spec.names if name not in label.scores]
    if unknown:
        raise ValueError(f"incomplete: the score of {unknown[0]!r} is not known")
    label = replace(label, evidence={k: v for k, v in label.evidence.items() if k in spec.names})
    who = _name(row, "oracle", oracle)
    if not who.removeprefix(PEOPLE).strip():
        raise ValueError("oracle is missing: give --oracle NAME")
    asked = _name(row, "model", model if not who.startswith(PEOPLE) else model or "")
    if not asked and not who.startswith(PEOPLE):
        raise ValueError("model is missing: give --model NAME")
    version, sample = row.get("model_version"), row.get("sample")
    if version is not None and not isinstance(version, str):
        raise ValueError("model_version must be text")
    if isinstance(sample, bool) or not isinstance(sample or 0, int) or not 0 <= (sample or 0) <= MAX_SAMPLE:
        raise ValueError("sample must be a whole number from 0 on")
    return Given(article, label, who, asked, version or None, sample or 0)


def _name(row: Mapping[str, Any], name: str, option: str | None) -> str:
    """The oracle or model of a row: its own, else the option's, "" for none. ValueError where the two disagree."""
    own = row.get(name)
    if own is None or own == "":
        return option or ""
    if not isinstance(own, str):
        raise ValueError(f"{name} must be text")
    own = clean(own)
    if len(own) > 200 or not own.isprintable():
        raise ValueError(f"{name} must be a name, not {own[:40]!r}")
    if option and own != option:
        raise ValueError(f"another {name}: the line says {own[:60]!r}, --{name} says {option!r}")
    return own


def import_labels(
    store: Store,
    spec: FilterSpec,
    rows: Iterable[Given],
    question: Callable[[str, str], Question],
    progress: Callable[[Imported], None] = lambda _: None,
) -> Imported:
    """Keep labels that were made elsewhere, so that they are never asked for. What is in the store stands.

    `question(oracle, model)` is what those two were asked. Committed in batches: after a kill the same call goes on,
    and calling it again changes nothing. Nothing is written into the ledger of money.
    """
    done = Imported()
    source = iter(rows)
    while batch := list(itertools.islice(source, BATCH)):
        step = replace(done, oracles=dict(done.oracles), conflicting=list(done.conflicting))
        with store.writing() as db:
            for given in batch:
                _keep(store, db, question(given.oracle, given.model), spec, given, step)
        done = step
        progress(done)
    return done


def _keep(
    store: Store, db: sqlite3.Connection, question: Question, spec: FilterSpec, given: Given, done: Imported
) -> None:
    article, label = given.article, given.label
    sent_hash = bytes.fromhex(sha256_text(sent_text(spec, article)))
    name, text = pack(article.id), text_hash(article)
    known = db.execute("SELECT text_hash FROM articles WHERE id = ?", (name,)).fetchone()
    done.edited += known is not None and known[0] != text
    if known is None or known[0] != text:  # of one text what is known of the article already is kept
        db.execute(queries.PUT_ARTICLE, (name, text, pack_article(article)))
    db.execute(queries.PUT_READING, (store.request_id(db, question), text, sent_hash, name))

    key = (store.question_id(db, question), sent_hash, given.sample)
    version = None if given.model_version is None else pack(given.model_version)
    evidence = pack_json(dict(label.evidence)) if label.evidence else None
    values = (*key, None, time.time(), version, pack_scores(label.scores), evidence)
    done.read += 1
    if db.execute(queries.ADD_LABEL, values).rowcount:
        db.execute(queries.DROP_FAILURE, key)
        done.new += 1
        done.oracles[given.oracle] = done.oracles.get(given.oracle, 0) + 1
    elif unpack_json(db.execute(queries.FIND_SCORES, key).fetchone()[0]) == dict(label.scores):
        done.already += 1
    else:
        done.conflicts += 1
        done.conflicting += [article.id] if len(done.conflicting) < SHOWN else []


def labelled_row(row: LabelRow, names: Sequence[str]) -> dict[str, Any]:
    """A label with its article as one object that `read_given` and `prepare` read; dimensions in the order `names`."""
    out = {k: v for k, v in row.article.to_dict().items() if k not in LABEL_FIELDS}
    out["scores"] = {name: row.scores[name] for name in names if name in row.scores}
    out["oracle"] = row.oracle
    if row.model:
        out["model"] = row.model
    if row.model_version is not None:
        out["model_version"] = row.model_version
    if row.evidence:
        out["evidence"] = row.evidence
    if row.sample:
        out["sample"] = row.sample
    return out
