"""Oracle `gemini`: Google's Gemini models."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Protocol

from filterkit.api import ConfigError, FilterkitError, Oracle, OracleRequest, Reply, Transient
from filterkit_gemini.faults import Faults
from filterkit_gemini.options import GeminiOptions
from filterkit_gemini.wire import read_reply

_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")


class Client(Protocol):
    """What asks: google-genai or the older SDK."""

    async def ask(self, request: OracleRequest) -> Any:
        """The reply as Gemini's REST JSON, of which nothing is certain. Raises BackendError."""

    async def aclose(self) -> None:
        """Close all connections."""


class GeminiOracle(Oracle[GeminiOptions]):
    """Asks a Gemini model for JSON that follows the schema; one HTTP request per question."""

    Options = GeminiOptions
    answer_options = ("thinking",)

    _client: Client | None = None
    _faults: Faults

    @property
    def list_price_share(self) -> float | None:
        """Flex costs half."""
        return 0.5 if self.options.service_tier == "flex" else 1.0

    async def open(self) -> None:
        """Make the SDK's client. ConfigError: no key, no SDK of that name, or a proxy that it cannot use."""
        name, secret = self._key()
        if not re.fullmatch(r"[!-~]+", secret):
            raise ConfigError(
                f"what {name} holds is no API key: there are spaces, line ends or other characters in it",
                where="oracle gemini",
                fix=f"Copy the key anew: export {name}=…",
            )
        faults = self._faults = Faults(self.options.model, name, secret)
        if self.options.sdk == "generativeai":
            from filterkit_gemini.generativeai_client import GenerativeAIClient

            self._client = GenerativeAIClient(self.options, secret, faults)
        else:
            from filterkit_gemini.genai_client import GenaiClient

            self._client = await GenaiClient.open(self.options, secret, faults)

    async def complete(self, request: OracleRequest) -> Reply:
        """The model's answer, unparsed. Raises Transient, Refused, RateLimited or Fatal."""
        if self._client is None:
            raise FilterkitError("gemini was asked before it was opened")
        try:
            async with asyncio.timeout(request.timeout_s):
                data = await self._client.ask(request)
        except TimeoutError:
            raise Transient(f"no answer within {request.timeout_s:g} s") from None
        reply = read_reply(data)
        self._faults.answered = True
        return reply

    async def aclose(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _key(self) -> tuple[str, str]:
        """The name of the environment variable that holds the key, and the key."""
        asked = self.options.api_key_env
        names = _KEYS if asked == _KEYS[0] else (asked,)
        for name in names:
            try:
                return name, self.ctx.secret(name)
            except ConfigError:
                continue
        raise ConfigError(
            f"there is no API key in {' or '.join(names)}",
            where="oracle gemini",
            fix=f"export {names[0]}=… (get one at https://aistudio.google.com/apikey)",
        )
