"""JSON objects as articles."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from filterkit.records import ARTICLE_TEXT_FIELDS, Article, sha256_text


def to_article(row: Mapping[str, Any], fields: Mapping[str, str] | None = None) -> Article:
    """A JSON object as an article. ValueError says what is wrong with it."""
    columns = {name: (fields or {}).get(name, name) for name in ("id", "title", "content", *ARTICLE_TEXT_FIELDS)}
    taken = {name: row.get(column) for name, column in columns.items()}
    rest = {key: value for key, value in row.items() if key not in columns.values()}
    title, content = _text(taken["title"], "title"), _text(taken["content"], "content")
    if not content.strip():
        column = columns["content"]
        if column in row:
            raise ValueError("content is empty")
        raise ValueError(f"content is missing: there is no {column!r} among {_listed(row)}")
    for name in ARTICLE_TEXT_FIELDS:
        if taken[name] is not None and not isinstance(taken[name], str):
            rest[name], taken[name] = taken[name], None
    article_id = _identity(taken["id"]) or sha256_text(f"{title}\n\n{content}")[:32]
    known = {name: taken[name] for name in ARTICLE_TEXT_FIELDS}
    return Article(article_id, title, content, **known, extra=rest)


def _listed(row: Mapping[str, Any]) -> str:
    """The columns of a row, not too many of them."""
    names = [repr(name[:30]) for name in islice(row, 6)]
    return ", ".join([*names, *(["…"] if len(row) > len(names) else [])]) or "no columns"


def _identity(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("id must be text or a whole number")
    text = clean(str(value))
    if len(text) > 1000:
        raise ValueError("id is longer than 1,000 characters")
    return text


def _text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, not {type(value).__name__}")
    return clean(value)


def clean(text: str) -> str:
    """`text` with lone surrogates (which no UTF-8 writer takes) replaced by U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
