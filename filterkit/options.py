"""A backend made from its name and options, which are checked before any work is done or money spent."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from filterkit.contracts import Context
from filterkit.contracts.base import Backend, Options
from filterkit.errors import ConfigError, FilterkitError, PluginError
from filterkit.filters import explain
from filterkit.plugins import plugins
from filterkit.spec import FilterSpec


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
        loc, what = explain(error)[0]
        near = get_close_matches(str(loc[0]) if loc else "", list(backend.Options.model_fields), 1)
        known = f"did you mean {near[0]!r}?" if near and what.startswith("unknown") else ""
        fix = f"{known} `filterkit plugins show {name}` lists the options".strip()
        raise ConfigError(what, where=f"{kind} {name}", fix=fix[:1].upper() + fix[1:]) from error
