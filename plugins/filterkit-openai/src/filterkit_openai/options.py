"""What can be chosen, and which servers that makes."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from filterkit.api import Options, OracleOptions

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"

FLEX_TIMEOUT_S = 900.0
"""How long a flex request may take where nothing else is said: it waits for spare capacity, for minutes at times."""

Structured = Literal["auto", "json_schema", "json_object", "none"]


class ServerOptions(Options):
    """One server among several."""

    base_url: str = Field(description="where the API begins, for example http://localhost:8000/v1")
    structured: Structured | None = Field(None, description="as the oracle's option `structured`, for this server")
    api_key_env: str | None = Field(None, description="as the oracle's option `api_key_env`, for this server")

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.username or parts.password or "?" in url or "#" in url:  # the address itself is not shown here
            raise ValueError("name the key's environment variable in api_key_env, put none into the address")
        if parts.scheme not in ("http", "https") or not parts.hostname or not all("!" <= c <= "~" for c in url):
            raise ValueError(f"{url!r} is no http(s) address such as http://localhost:8000/v1")
        if parts.port == 0:  # asking for the port checks it, too
            raise ValueError(f"{url!r} has no port that a server could have")
        return url.rstrip("/")

    @property
    def name(self) -> str:
        """The server as messages name it: host and port."""
        return urlsplit(self.base_url).netloc

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI's own endpoint, a regional one included."""
        host = urlsplit(self.base_url).hostname or ""
        return host == "api.openai.com" or host.endswith(".api.openai.com")

    @property
    def is_regional(self) -> bool:
        """Whether it is one of OpenAI's endpoints that keep data in a region, at a tenth more."""
        return self.is_openai and urlsplit(self.base_url).hostname != "api.openai.com"


def _servers(value: Any) -> Any:
    """One address, one server or a list of either, as a list of servers."""
    if value is None:
        return None
    items = value if isinstance(value, list | tuple) else [value]
    return [{"base_url": item} if isinstance(item, str) else item for item in items]


class OpenAIOptions(OracleOptions):
    """How to ask OpenAI, or servers that speak its protocol."""

    timeout_s: float = Field(
        60.0, gt=0, description="seconds a request may take; 900 by default with service_tier flex, which waits longer"
    )
    base_url: Annotated[list[ServerOptions] | None, BeforeValidator(_servers)] = Field(
        None,
        min_length=1,
        description="address of the server, or a list of addresses or of {base_url, structured, api_key_env} among "
        "which requests are spread; left out: OpenAI's own",
    )
    api_key_env: str | None = Field(
        None,
        description="environment variable that holds the key; left out: OPENAI_API_KEY for OpenAI's own server, no key "
        "for any other, so that a key never goes where it does not belong",
    )
    structured: Structured = Field(
        "auto",
        description="how the answer's form is asked for: json_schema, json_object or none (the last two with the "
        "schema in the prompt); auto: json_schema first, then what the server takes",
    )
    strict: bool = Field(True, description="ask that json_schema be followed to the letter, where the server can")
    temperature: Literal["send", "omit"] = Field(
        "send", description="omit: leave the temperature to the model, for models that refuse any other"
    )
    reasoning_effort: str | None = Field(
        None, description="how much a reasoning model thinks: none, minimal, low, medium, high …; left out: its default"
    )
    service_tier: Literal["default", "flex"] | None = Field(
        None, description="flex: OpenAI's slower tier at half the price"
    )
    max_tokens_field: Literal["auto", "max_tokens", "max_completion_tokens"] = Field(
        "auto",
        description="the request's field that limits the answer; auto: max_completion_tokens for OpenAI, else "
        "max_tokens",
    )
    cache_breakpoint: bool = Field(
        True,
        description="tell OpenAI's own server that the prompt is worth caching up to the article and not beyond: "
        "without it newer models charge a quarter more for input, and find nothing in the cache. What writing to the "
        "cache costs on top is in no reported cost",
    )
    batches: bool | None = Field(
        None,
        description="whether the server has OpenAI's Batch API (/files and /batches); left out: OpenAI's own has it, "
        "no other is asked",
    )
    extra_body: dict[str, Any] = Field({}, description="more fields of the request, as {chat_template_kwargs: {…}}")

    @model_validator(mode="before")
    @classmethod
    def _flex_waits(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("service_tier") == "flex":
            return {"timeout_s": FLEX_TIMEOUT_S, **given}
        return given

    @field_validator("base_url")
    @classmethod
    def _once_each(cls, servers: list[ServerOptions] | None) -> list[ServerOptions] | None:
        urls = [server.base_url for server in servers or ()]
        twice = next((url for url in urls if urls.count(url) > 1), None)
        if twice:
            raise ValueError(f"{twice} is named twice")
        return servers

    @field_validator("extra_body")
    @classmethod
    def _not_ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        ours = sorted({"messages", "model", "stream", "n"} & set(extra))
        if ours:
            raise ValueError(f"{ours[0]!r} cannot be set here")
        return extra

    @property
    def servers(self) -> list[ServerOptions]:
        """The servers to ask, with what they inherit from the oracle's options."""
        return [
            server.model_copy(
                update={
                    "structured": server.structured or self.structured,
                    "api_key_env": server.api_key_env or self.api_key_env or (OPENAI_KEY if server.is_openai else None),
                }
            )
            for server in self.base_url or [ServerOptions(base_url=OPENAI_URL)]
        ]
