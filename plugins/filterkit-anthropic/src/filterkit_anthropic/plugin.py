"""What this dist adds to filterkit. No prices: `prices` in the workspace says them."""

from __future__ import annotations

from collections.abc import Callable

from filterkit.api import hookimpl


@hookimpl
def register_oracles(register: Callable[..., None]) -> None:
    register(
        "anthropic", "filterkit_anthropic.oracle:AnthropicOracle", summary="Claude, through Anthropic's Messages API"
    )
