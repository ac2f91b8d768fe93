"""What every backend has: options, a spec, and a context as its only way to the outside."""

from __future__ import annotations

import os
from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from filterkit.errors import ConfigError
from filterkit.spec import FilterSpec

API = 1
"""Version of these contracts; a backend says in `api` which one it was written for."""


class Options(BaseModel):
    """Base of a backend's options: unknown keys are errors, and there are no secrets in it.

    A number where text is asked for is that text (`-O model=4.1`): from a command line the two look the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)
    aside: ClassVar[frozenset[str]] = frozenset()
    """Names of options that change how the work is done, and not what comes of it: with others it is the same work."""


_secrets: set[str] = set()


SHORTEST_SECRET = 6
"""Fewer characters keep nothing secret, and to remove them would remove half of what is said."""


def redact(text: str) -> str:
    """`text` without any secret that was handed out in this process."""
    for secret in _secrets:
        text = text.replace(secret, "[secret]")
    return text


def environment_secret(name: str) -> str:
    """The environment variable `name`, which `redact` removes from any text from then on. ConfigError when unset."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigError(f"the environment variable {name} is not set", fix=f"export {name}=…")
    if len(value) >= SHORTEST_SECRET:
        _secrets.add(value)
    return value


def _emit_nothing(event: str, **values: Any) -> None:
    """No one listens."""


@dataclass(frozen=True)
class Context:
    """A backend's only way to the outside.

    workdir: a folder private to this backend and run, which survives a rerun.
    secret: reads the environment; the value is redacted everywhere afterwards.
    emit: `emit("training_progress", step=…)` tells observers; never raises.
    stop: True after the first Ctrl-C or SIGTERM: checkpoint and return.
    root: where relative paths in options start: the workspace.
    """

    workdir: Path
    secret: Callable[[str], str] = environment_secret
    emit: Callable[..., None] = _emit_nothing
    stop: Callable[[], bool] = lambda: False
    root: Path = Path()


O = TypeVar("O", bound=Options)  # noqa: E741 - the options of a backend


class Backend(ABC, Generic[O]):
    """Base of all kinds. The constructor does no network and no heavy work; `close` frees what use took."""

    Options: ClassVar[type[Options]] = Options
    api: ClassVar[int] = API

    def __init__(self, options: O, spec: FilterSpec, ctx: Context) -> None:
        self.options = options
        self.spec = spec
        self.ctx = ctx

    def close(self) -> None:
        """Free what the backend holds. May be called twice."""
        return
