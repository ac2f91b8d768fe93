"""Other judges of the articles that a student is judged on: what a perfect student of its oracle could not beat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from filterkit.errors import InputError
from filterkit.io import Rejects, read_labelled
from filterkit.manifest import DataInfo
from filterkit.prompt import sent_text
from filterkit.records import F32, Article, Label, sha256_text
from filterkit.report.contents import LabelCost
from filterkit.spec import FilterSpec
from filterkit.store import Store, queries
from filterkit.store.stats import stats

Places = Mapping[str, int]
"""Hash of what is sent of an article -> its row."""


@dataclass(frozen=True)
class Judge:
    """Labels [n, d] by somebody else, in scale units, NaN where there are none."""

    who: str
    kind: Literal["oracle", "repeat", "people"]
    scores: F32


def other_judges(
    spec: FilterSpec, info: DataInfo, articles: Sequence[Article], labels: Sequence[Label], store: Store
) -> list[Judge]:
    """Every other answer that the store holds to the same question: of other oracles and models, and repeated ones.

    An answer that has a part in a label is no judge of it: it would be nearer to it than an answer is.
    """
    own = {(label.oracle, label.model) for label in labels}
    told = info.judgement
    judges = () if told is None else told.judges
    merged = told is not None and told.rule == "median"
    places = _places(spec, articles)
    found: dict[tuple[str, str, int], F32] = {}
    for row in store.labelled(info.request_hash):
        place = places.get(row.sent_hash)
        who = (row.oracle, row.model)
        ours = who in own or (row.oracle, None) in own
        if place is None or (ours and (merged or row.sample == 0)) or f"{row.oracle} {row.model}".strip() in judges:
            continue
        scores = found.setdefault((*who, row.sample), _nothing(spec, len(articles)))
        scores[place] = [row.scores.get(name, np.nan) for name in spec.names]
    return [
        Judge(
            " ".join(part for part in (oracle, model) if part) + (f", answer {sample + 1}" if sample else ""),
            "repeat" if (oracle, model) in own else "oracle",
            scores,
        )
        for (oracle, model, sample), scores in sorted(found.items())
    ]


def judged_by_people(spec: FilterSpec, articles: Sequence[Article], files: Sequence[str | Path]) -> Judge:
    """Labels that people gave, from labelled files; an article is found by its text, else by its id.

    InputError when none of them is of an article that is judged.
    """
    places = _places(spec, articles)
    by_id = {article.id: row for row, article in enumerate(articles)}
    scores = _nothing(spec, len(articles))
    for article, label in read_labelled(files, spec, Rejects()):
        place = places.get(_sent_hash(spec, article), by_id.get(article.id))
        if place is not None:
            scores[place] = [label.scores.get(name, np.nan) for name in spec.names]
    if not np.isfinite(scores).any():
        raise InputError(
            "no article there is among those that are judged", where=str(files[0]), fix="They are matched by text or id"
        )
    return Judge("people", "people", scores)


def label_cost(info: DataInfo, store: Store) -> LabelCost | None:
    """What the labels of this question by these oracles have cost; None when the store knows nothing of them."""
    asked = [
        s for s in stats(store) if s.question.request_hash == info.request_hash and s.question.oracle in info.oracles
    ]
    if not any(s.labels for s in asked):
        return None
    with store.reading() as db:
        numbers = [store.find_question(db, s.question) for s in asked]
        articles = db.execute(queries.TEXTS_OF.format(", ".join("?" * len(numbers))), numbers).fetchone()[0]
    return LabelCost(
        articles=articles,
        requests=sum(s.attempts for s in asked),
        usd=None if any(s.unknown for s in asked) else sum(s.known_usd + s.held_usd for s in asked),
        input_tokens=sum(s.input_tokens for s in asked) or None,
        output_tokens=sum(s.output_tokens for s in asked) or None,
    )


def _places(spec: FilterSpec, articles: Iterable[Article]) -> Places:
    return {_sent_hash(spec, article): row for row, article in enumerate(articles)}


def _sent_hash(spec: FilterSpec, article: Article) -> str:
    return sha256_text(sent_text(spec, article))


def _nothing(spec: FilterSpec, n: int) -> F32:
    return np.full((n, len(spec.names)), np.nan, dtype=np.float32)
