"""What this dist adds to filterkit."""

from __future__ import annotations

from collections.abc import Callable

from filterkit.api import hookimpl

_SOURCE = "https://ai.google.dev/gemini-api/docs/pricing"


@hookimpl
def register_oracles(register: Callable[..., None]) -> None:
    register("gemini", "filterkit_gemini.oracle:GeminiOracle", summary="Google Gemini, through google-genai")


@hookimpl
def register_prices(register: Callable[..., None]) -> None:
    """Prices of the paid standard tier. The 2.5 models are left out: they leave the API on 2026-12-01."""

    def price(model: str, input: float, output: float, cached: float | None = None, until: str | None = None) -> None:
        register(
            model, input=input, output=output, cached_input=cached, as_of="2026-11-22", until=until, source=_SOURCE
        )

    price("gemini-3.5-flash-lite", 0.30, 2.50, 0.03)
    price("gemini-3.1-flash-lite", 0.25, 1.50, until="2027-05-06")  # it ends the day after
    price("gemini-3.8-flash", 0.75, 3.75, 0.075, until="2026-12-31")  # twice as much from the next day on
