"""What this dist adds to filterkit."""

from __future__ import annotations

from collections.abc import Callable

from filterkit.api import hookimpl


@hookimpl
def register_postfilters(register: Callable[..., None]) -> None:
    register("tiers", "filterkit_postfilter.tiers:TiersPostfilter", summary="gatekeepers, caps and tiers")


@hookimpl
def register_prefilters(register: Callable[..., None]) -> None:
    register(
        "rules", "filterkit_postfilter.rules:RulesPrefilter", summary="words, sources, domains, languages, lengths"
    )
