"""What pydantic found wrong, in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")
"""User and password in an address: what was given wrongly is shown, and they are not."""
Loc = tuple[int | str, ...]
"""The path of keys and indices to a value."""


def explain(error: ValidationError, model: type[BaseModel] | None = None) -> list[tuple[Loc, str]]:
    """A pydantic error as (path, plain words) per problem; with the `model`, misspelt keys get a guess."""
    items = error.errors(include_url=False)
    out: list[tuple[Loc, str]] = []
    for item in items:
        loc = tuple(item["loc"])
        name = ".".join(str(p) for p in loc)
        if item["type"] == "extra_forbidden":
            near = get_close_matches(str(loc[-1]), _keys_at(model, loc[:-1]), 1)
            out.append((loc, f"unknown key {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")))
        elif item["type"] == "missing":
            out.append((loc, f"{name!r} is missing"))
        elif item["type"] == "too_short" and any(o["loc"][: len(loc)] == loc != o["loc"] for o in items):
            continue  # an item that is wrong counts as missing; it has been told
        else:
            what = item["msg"].removeprefix("Value error, ")
            given = item.get("input")
            shown = f" (given: {_LOGIN.sub('…@', repr(given))})" if isinstance(given, str | int | float | bool) else ""
            out.append((loc, f"{name}: {what[:1].lower()}{what[1:]}{shown[:100]}" if name else what))
    return out


def _keys_at(model: type[BaseModel] | None, loc: Loc) -> list[str]:
    """The keys that a model knows at a path; keys of mappings and indices of lists are passed over."""
    for part in loc:
        fields = {f.alias or n: f for n, f in model.model_fields.items()} if model else {}
        if part in fields:
            model = next(_models_in(fields[str(part)].annotation), None)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
