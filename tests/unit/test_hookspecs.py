"""The hooks are what plugins build on: their names stay, and their arguments grow only at the end."""

from __future__ import annotations

import inspect

import pytest

from filterkit import hookspecs
from filterkit.contracts import KINDS

EVENTS = {
    "labels_committed": ("filter_name", "oracle", "count"),
    "training_progress": ("filter_name", "values"),
    "student_validated": ("filter_name", "student", "metrics", "passed"),
    "before_deploy": ("filter_name", "student", "student_hash", "target"),
    "deployed": ("filter_name", "deployment"),
    "run_finished": ("command", "filter_name", "summary"),
}
"""Event -> the arguments it was first released with."""

HOOKS = {n: f for n, f in vars(hookspecs).items() if hasattr(f, "filterkit_spec")}


def test_every_kind_of_backend_has_its_hook() -> None:
    registering = {name for name in HOOKS if name.startswith("register_")}
    assert registering == {f"register_{kind}s" for kind in KINDS} | {"register_prices"}


def test_no_hook_was_lost_or_renamed() -> None:
    assert {name for name in HOOKS if not name.startswith("register_")} == set(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_arguments_are_only_added_at_the_end(event: str) -> None:
    arguments = tuple(inspect.signature(HOOKS[event]).parameters)
    assert arguments[: len(EVENTS[event])] == EVENTS[event]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_what_it_is_for(hook: str) -> None:
    assert (HOOKS[hook].__doc__ or "").strip()
