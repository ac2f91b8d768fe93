"""`POST /v1/score`: what is asked, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from filterkit.api import InferenceRequest, InferenceRow, InputError, read_request
from filterkit_serve.served import Live

MOST_EXTRA = 32
"""Fields of an article that filterkit does not know; a prefilter may."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Articles, and the filter that was named in the body."""

    filter: str | None
    rows: tuple[InferenceRow, ...]


def read_score(body: Any, most: int) -> Asked:
    """{"articles": […], "filter": NAME} or one article, with the filter beside its fields. InputError, TooLarge."""
    if not isinstance(body, Mapping):
        raise InputError('the body must be a JSON object: an article, or {"articles": […]}')
    rest = dict(body)
    name = rest.pop("filter", None)
    if name is not None and not isinstance(name, str):
        raise InputError('"filter" must be a name')
    if "articles" not in rest:
        if "content" not in rest:
            raise InputError('an article has a "content"; several stand in "articles"')
        return Asked(name, rows_of(read_request({"inputs": rest}, max_inputs=most)))
    articles = rest.pop("articles")
    if not isinstance(articles, list):
        raise InputError('"articles" must be a list')
    if rest:
        raise InputError(f'unknown key {min(rest)[:60]!r} beside "articles"')
    return Asked(name, rows_of(read_request({"inputs": articles}, max_inputs=most)))


def rows_of(request: InferenceRequest) -> tuple[InferenceRow, ...]:
    """The rows, without the bulk that articles may carry along: it would wait in memory with them."""
    return tuple(row if _is_slim(row.article.extra) else _slim(row) for row in request.rows)


def _is_slim(extra: Mapping[str, Any]) -> bool:
    return len(extra) <= MOST_EXTRA and not any(isinstance(value, list | dict) for value in extra.values())


def _slim(row: InferenceRow) -> InferenceRow:
    kept = islice(((k, v) for k, v in row.article.extra.items() if not isinstance(v, list | dict)), MOST_EXTRA)
    return InferenceRow(replace(row.article, extra=dict(kept)), row.labels)


def envelope(live: Live, rows: Sequence[InferenceRow], answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer: who judged, and a verdict for each article, in order."""
    return {
        "filter": live.name,
        "version": live.version,
        "student_hash": live.student_hash,
        "verdicts": [{"id": row.article.id, **answer} for row, answer in zip(rows, answers, strict=True)],
    }
