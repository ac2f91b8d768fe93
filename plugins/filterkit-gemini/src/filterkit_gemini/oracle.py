"""Oracle `gemini`: Google's Gemini models."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from filterkit.api import (
    Batch,
    BatchItem,
    ConfigError,
    FilterkitError,
    JobState,
    Oracle,
    OracleRequest,
    Reply,
    Transient,
)
from filterkit_gemini.faults import Faults
from filterkit_gemini.options import GeminiOptions
from filterkit_gemini.wire import batch_line, read_reply

if TYPE_CHECKING:
    from filterkit_gemini.batches import Batches

_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")


class Client(Protocol):
    """What asks: google-genai or the older SDK."""

    async def ask(self, request: OracleRequest) -> Any:
        """The reply as Gemini's REST JSON, of which nothing is certain. Raises BackendError."""

    async def aclose(self) -> None:
        """Close all connections."""


class GeminiOracle(Batch, Oracle[GeminiOptions]):
    """Asks a Gemini model for JSON that follows the schema; one HTTP request per question, or many in a batch."""

    Options = GeminiOptions
    answer_options = ("thinking",)

    _client: Client | None = None
    _batches: Batches | None = None
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
            from filterkit_gemini.batches import Batches
            from filterkit_gemini.genai_client import GenaiClient

            client = await GenaiClient.open(self.options, secret, faults)
            self._client, self._batches = client, Batches(client, self.options, faults, self.ctx.workdir)

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

    def request_bytes(self, request: OracleRequest) -> int:
        """Bytes of its line. ConfigError: with these options there are no batches."""
        self._check_batches()
        return len(batch_line(self.options, request))

    async def submit(self, job: Sequence[OracleRequest], token: str) -> str:
        """Upload the requests and make a batch of them, whose display name is `token`."""
        return await self._opened().submit(job, token)

    async def find(self, token: str, since: float) -> str | None:
        """The batch with that display name. CannotTell when there are several."""
        return await self._opened().find(token, since)

    async def poll(self, handle: str) -> JobState:
        """Where the batch stands."""
        return await self._opened().poll(handle)

    async def cancel(self, handle: str) -> None:
        """Ask Google to stop it."""
        await self._opened().cancel(handle)

    def collect(self, handle: str) -> AsyncIterator[BatchItem]:
        """The replies and errors of an ended batch."""
        return self._opened().collect(handle)

    def _opened(self) -> Batches:
        self._check_batches()
        if self._batches is None:
            raise FilterkitError("gemini was asked before it was opened")
        return self._batches

    def _check_batches(self) -> None:
        where = "oracle gemini"
        if self.options.sdk == "generativeai":
            raise ConfigError("the older SDK knows no batches", where=where, fix="Use sdk genai, or leave out --batch")
        if self.options.service_tier == "flex":
            fix = "Leave service_tier out: a batch costs half of the standard price, as flex does"
            raise ConfigError("batches have no flex tier", where=where, fix=fix)

    async def aclose(self) -> None:
        """Close all connections."""
        client, self._client, self._batches = self._client, None, None
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
