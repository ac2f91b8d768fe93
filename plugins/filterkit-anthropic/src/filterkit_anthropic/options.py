"""The options of oracle `anthropic`."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from filterkit.api import OracleOptions

ANTHROPIC = "https://api.anthropic.com"
"""Where requests go without `base_url`. Said to the SDK, which would else ask the environment."""

ANTHROPIC_KEY = "ANTHROPIC_API_KEY"


class AnthropicOptions(OracleOptions):
    """How to ask Claude."""

    base_url: str | None = Field(
        None,
        description="address of a proxy or a server that speaks the Messages API, without its /v1; left out: "
        "Anthropic's own",
    )
    api_key_env: str | None = Field(
        None,
        min_length=1,
        description="environment variable that holds the key; left out: ANTHROPIC_API_KEY for Anthropic's own server, "
        "no key for any other, so that a key never goes where it does not belong",
    )
    structured: Literal["json_schema", "tool"] = Field(
        "json_schema",
        description="how the answer's form is asked for: json_schema (output_config.format); tool: a tool that the "
        "model is forced to call, for servers that do not know the first. Opus 5.5 and Fable refuse a forced tool",
    )
    thinking: Literal["auto", "adaptive"] = Field(
        "auto",
        description="auto: not at all, or as little as the model can; adaptive: as much as the model sees fit, at the "
        "price of output tokens",
    )
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = Field(
        None, description="how much work the model puts into an answer, where it knows levels; left out: its default"
    )
    cache: Literal["5m", "1h", "off"] = Field(
        "5m",
        description="how long the prompt is kept in Anthropic's cache up to the article, from its last use on. Writing "
        "it costs a quarter of the input price more (1h: as much again), which is in no reported cost",
    )

    @field_validator("base_url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.username or parts.password or "?" in url or "#" in url:  # the address itself is not shown here
            raise ValueError("name the key's environment variable in api_key_env, put none into the address")
        if parts.scheme not in ("http", "https") or not parts.hostname or not all("!" <= c <= "~" for c in url):
            raise ValueError(f"{url!r} is no http(s) address such as {ANTHROPIC}")
        if parts.port == 0:  # asking for the port checks it, too
            raise ValueError(f"{url!r} has no port that a server could have")
        return url.rstrip("/").removesuffix("/v1")

    @property
    def url(self) -> str:
        """Where requests go: `base_url`, or Anthropic's own address."""
        return self.base_url or ANTHROPIC

    @property
    def is_anthropic(self) -> bool:
        """Whether it is Anthropic's own server."""
        return urlsplit(self.url).hostname == urlsplit(ANTHROPIC).hostname

    @property
    def server(self) -> str:
        """The server as messages name it: host and port."""
        return urlsplit(self.url).netloc

    @property
    def key_name(self) -> str | None:
        """The environment variable that holds the key; None: the server gets none."""
        return self.api_key_env or (ANTHROPIC_KEY if self.is_anthropic else None)
