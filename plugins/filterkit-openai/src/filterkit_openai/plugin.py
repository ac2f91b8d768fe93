"""What this dist adds to filterkit."""

from __future__ import annotations

from collections.abc import Callable

from filterkit.api import hookimpl

_MODEL_PAGE = "https://developers.openai.com/api/docs/models/"


@hookimpl
def register_oracles(register: Callable[..., None]) -> None:
    register(
        "openai",
        "filterkit_openai.oracle:OpenAIOracle",
        summary="OpenAI, and any server that speaks its protocol (vLLM, Ollama, llama.cpp …) by base_url",
    )


@hookimpl
def register_prices(register: Callable[..., None]) -> None:
    """Prices of OpenAI's own endpoint, up to 272,000 input tokens a request. Other models: `prices` in the workspace.

    `as_of` is the newest day at which the price was seen. Prices that were last seen before September 2026 are left
    out. Writing to the prompt cache costs a quarter more than the input price; that surcharge is not in the table.
    """

    def price(model: str, as_of: str, input: float, cached: float, output: float) -> None:
        register(model, input=input, cached_input=cached, output=output, as_of=as_of, source=_MODEL_PAGE + model)

    price("gpt-6-luna", "2026-10-13", 0.10, 0.01, 0.50)
    price("gpt-6-sol", "2026-09-23", 2.00, 0.20, 10.00)
    price("gpt-5.6-luna", "2026-09-07", 0.20, 0.02, 1.20)
    price("gpt-5.6-terra", "2026-09-07", 2.00, 0.20, 12.00)
