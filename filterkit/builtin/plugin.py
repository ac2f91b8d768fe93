"""The built-in backends."""

from __future__ import annotations

from filterkit.api import hookimpl
from filterkit.hookspecs import Register


@hookimpl
def register_oracles(register: Register) -> None:
    register("replay", "filterkit.builtin.replay:ReplayOracle", summary="answers from recorded labels")


@hookimpl
def register_deployers(register: Register) -> None:
    register("local", "filterkit.builtin.local:LocalDeployer", summary="a versioned folder on this machine")


@hookimpl
def register_executors(register: Register) -> None:
    register("local", "filterkit.builtin.executor:LocalExecutor", summary="processes on this machine")


@hookimpl
def register_postfilters(register: Register) -> None:
    register("overall", "filterkit.builtin.overall:OverallPostfilter", summary="the weighted overall, no tiers")
