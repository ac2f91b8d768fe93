"""All hooks of filterkit.

`register_*` hooks say where a backend lives; nothing is imported until a run asks for it by name. Event hooks
observe; only `before_*` hooks may stop what is about to happen, by raising `Veto`. Event hooks gain arguments
only at the end; an implementation takes the ones it names.

This module imports nothing but pluggy, because every plugin imports it at start-up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from filterkit.records import Deployment

PROJECT = "filterkit"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """Names one backend: `target` is "package.module:Class".

    `schemes`: for a model that scores elsewhere, how the addresses begin that it reads ("https", "hf").
    """

    def __call__(self, name: str, target: str, *, summary: str = "", schemes: Sequence[str] = ()) -> None: ...


class RegisterPrice(Protocol):
    """Names the price of a model in US dollars per million tokens, as looked up on day `as_of` (ISO) at `source`.

    `until` is the last day (ISO) it holds, where the provider has announced another one.
    """

    def __call__(
        self,
        model: str,
        *,
        input: float,
        output: float,
        cached_input: float | None = None,
        as_of: str,
        source: str,
        until: str | None = None,
    ) -> None: ...


@hookspec
def register_oracles(register: Register) -> None:
    """Name oracles: models that label articles."""


@hookspec
def register_models(register: Register) -> None:
    """Name models: formats of students and what scores with them."""


@hookspec
def register_trainers(register: Register) -> None:
    """Name trainers: what turns labels into students."""


@hookspec
def register_embedders(register: Register) -> None:
    """Name embedders: texts to vectors."""


@hookspec
def register_deployers(register: Register) -> None:
    """Name deployers: what ships students."""


@hookspec
def register_prefilters(register: Register) -> None:
    """Name prefilters: rules that hold articles back."""


@hookspec
def register_postfilters(register: Register) -> None:
    """Name postfilters: scores to verdicts."""


@hookspec
def register_executors(register: Register) -> None:
    """Name executors: where the shards of a run are worked on."""


@hookspec
def register_prices(register: RegisterPrice) -> None:
    """Name the prices of models, dated."""


@hookspec
def labels_committed(filter_name: str, oracle: str, count: int) -> None:
    """Observe: `count` labels have just been committed to the store."""


@hookspec
def training_progress(filter_name: str, values: dict[str, Any]) -> None:
    """Observe: a trainer emitted progress (step, total, loss, … as it has them)."""


@hookspec
def student_validated(filter_name: str, student: Path, metrics: dict[str, Any], passed: bool) -> None:
    """Observe: a student was validated; `passed` says whether all gates did."""


@hookspec
def before_deploy(filter_name: str, student: Path, student_hash: str, target: str) -> None:
    """Stop a deployment by raising Veto("why"), after the gates passed and before anything is published."""


@hookspec
def deployed(filter_name: str, deployment: Deployment) -> None:
    """Observe: a deployment was verified and activated."""


@hookspec
def run_finished(command: str, filter_name: str, summary: dict[str, Any]) -> None:
    """Observe: a pipeline step came to its end, with its counts."""
