"""A backend made from its name and options, which are checked before any work is done or money spent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from filterkit.contracts import KINDS, Context
from filterkit.contracts.base import Backend, Options
from filterkit.errors import ConfigError, FilterkitError, PluginError
from filterkit.explain import Loc, explain
from filterkit.plugins import Entry, plugins
from filterkit.spec import FilterSpec

_PLAIN_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false", NoneType: "null"}


def make_backend(kind: str, name: str, options: Mapping[str, Any], spec: FilterSpec, ctx: Context) -> Any:
    """An instance of the backend `name` of `kind`. ConfigError on wrong options, PluginError when it cannot be had."""
    backend = plugins().load(kind, name)
    checked = check_options(backend, kind, name, options)
    try:
        return backend(checked, spec, ctx)
    except FilterkitError:
        raise
    except Exception as error:
        raise PluginError(f"cannot be made ({type(error).__name__}: {error})", where=f"{kind} {name!r}") from error


def check_options(backend: type[Backend[Any]], kind: str, name: str, options: Mapping[str, Any]) -> Options:
    """`options` as the backend's own `Options`. ConfigError names the option, with a guess for a misspelt one."""
    try:
        return backend.Options.model_validate(dict(options))
    except ValidationError as error:
        what = explain(error, backend.Options)[0][1]
        raise ConfigError(
            what, where=f"{kind} {name}", fix=f"`filterkit plugins show {name}` lists the options"
        ) from error


def option_problems(backend: type[Backend[Any]], options: Mapping[str, Any]) -> list[tuple[Loc, str]]:
    """All that is wrong with a backend's options, as (path, plain words)."""
    try:
        backend.Options.model_validate(dict(options))
    except ValidationError as error:
        return explain(error, backend.Options)
    return []


def describe(name: str, kind: str | None = None) -> list[dict[str, Any]]:
    """What is known of the backends called `name`, one per kind and claim, as plain data.

    `options` holds name, type, default (as JSON), default_text and description of each. `problem` says why a backend
    cannot be used, else it is empty. PluginError when no backend has that name.
    """
    found = [e for e in plugins().entries(kind) if e.name == name]
    if not found:
        kinds = [kind] if kind else list(KINDS)
        unknown = [e for e in kinds if e not in KINDS]
        if unknown:
            raise ConfigError(f"there is no kind {kind!r}", where="--kind", fix=f"Kinds: {', '.join(KINDS)}")
        names = sorted({e.name for e in plugins().entries(kind)})
        raise plugins().unknown(kind or "backend", name, names)
    return [_describe_entry(entry) for entry in found]


def _describe_entry(entry: Entry) -> dict[str, Any]:
    out: dict[str, Any] = {**asdict(entry), "api": None, "problem": "", "options": []}
    try:
        backend = plugins().load(entry.kind, entry.name)
    except PluginError as error:
        return out | {"problem": str(error)}
    fields = backend.Options.model_fields
    return out | {"api": backend.api, "options": [_describe_option(fields[n].alias or n, fields[n]) for n in fields]}


def _describe_option(name: str, field: FieldInfo) -> dict[str, Any]:
    default = None if field.is_required() else to_jsonable_python(field.get_default(call_default_factory=True))
    return {
        "name": name,
        "type": type_name(field.annotation),
        "required": field.is_required(),
        "default": default,
        "default_text": "required" if field.is_required() else f"default {json.dumps(default, ensure_ascii=False)}",
        "description": " ".join((field.description or "").split()),
    }


def type_name(annotation: Any) -> str:
    """A type as an author would write it: `int`, `float or null`, `list of text`, `head or head+tail`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(parts[0])
    if origin is Literal:
        return " or ".join(str(p) for p in parts)
    if origin in (Union, UnionType):
        return " or ".join(type_name(p) for p in parts)
    if origin in (list, tuple, set, frozenset, Sequence):
        return f"list of {type_name(parts[0])}" if parts else "list"
    if origin in (dict, Mapping):
        return f"mapping of {type_name(parts[0])} to {type_name(parts[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"{{{', '.join(f.alias or n for n, f in annotation.model_fields.items())}}}"
    return _PLAIN_TYPES.get(annotation, getattr(annotation, "__name__", str(annotation)))
