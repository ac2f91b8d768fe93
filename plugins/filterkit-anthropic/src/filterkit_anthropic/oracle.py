"""Oracle `anthropic`: one request to the Messages API through Anthropic's SDK."""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import aiohttp
import anthropic
import httpx2

from filterkit.api import (
    BackendError,
    Batch,
    BatchItem,
    ConfigError,
    Context,
    FilterkitError,
    FilterSpec,
    JobState,
    Options,
    Oracle,
    OracleRequest,
    Reply,
    Transient,
)
from filterkit_anthropic.batches import Jobs, entry
from filterkit_anthropic.connection import CONNECT_S, lost
from filterkit_anthropic.faults import Faults, error_of
from filterkit_anthropic.options import AnthropicOptions
from filterkit_anthropic.wire import Form, NoReply, Thinking, read_reply

NO_KEY = "none"  # the SDK wants one; a server of one's own does not look at it
KEEP_ALIVE_S = 60.0
LONGEST_TOKEN = 40
LESS: dict[Thinking, Thinking] = {"disabled": "between_tools", "between_tools": "always"}
"""What is asked for next where a model refuses a way of not thinking: Sonnet 5.5 knows only the second, Opus 5.5 and
Fable think whatever is said."""


class AnthropicOracle(Batch, Oracle[AnthropicOptions]):
    """Asks a Claude model for JSON that follows the schema; one HTTP request per question, and none is sent again.

    The one exception: a 400 that says that the model cannot stop thinking in the way asked for. Nothing was charged,
    and the question is asked in the next way, which is then kept.
    """

    Options: ClassVar[type[Options]] = AnthropicOptions
    answer_options: ClassVar[tuple[str, ...]] = ("thinking", "effort")

    most_requests: ClassVar[int] = 100_000
    most_bytes: ClassVar[int] = 256_000_000

    _client: anthropic.AsyncAnthropic | None = None
    _jobs: Jobs | None = None
    _faults: Faults

    def __init__(self, options: AnthropicOptions, spec: FilterSpec, ctx: Context) -> None:
        super().__init__(options, spec, ctx)
        if not options.model:
            raise ConfigError("no model is named", where="oracle anthropic", fix="Say which: -O model=NAME")
        self._thinking: Thinking = "adaptive" if options.thinking == "adaptive" else "disabled"
        self._form: Form | None = None
        self._told_sampling = False

    @property
    def list_price_share(self) -> float | None:
        return 1.0 if self.options.is_anthropic else None

    async def open(self) -> None:
        """Make the SDK's client. ConfigError: the key's environment variable is not set, or holds no key."""
        key = self._key()
        timeout = anthropic.Timeout(None, connect=CONNECT_S)  # `complete` owns the timeout
        client = self._client = anthropic.AsyncAnthropic(
            api_key=key or NO_KEY,
            base_url=self.options.url,
            max_retries=0,
            timeout=timeout,
            open_telemetry=False,
            http_client=anthropic.DefaultAioHttpClient(
                timeout=timeout,
                # The engine owns how many are in flight. 0: no limit; None would mean 100.
                limits=httpx2.Limits(max_connections=0, keepalive_expiry=KEEP_ALIVE_S),
                follow_redirects=False,
            ),
        )
        if not self.options.is_anthropic:  # ANTHROPIC_CUSTOM_HEADERS may hold another key: nobody else's business
            client._custom_headers = {}
        self._faults = Faults(self.options, key)

    def _key(self) -> str:
        name = self.options.key_name
        key = self.ctx.secret(name) if name else ""
        if not re.fullmatch(r"[!-~]*", key):
            raise ConfigError(
                "holds no API key: there is a space, an end of line or another odd character in it",
                where=f"environment variable {name}",
                fix="Set it again; a file with Windows line ends is a common cause",
            )
        return key

    async def aclose(self) -> None:
        """Close all connections."""
        client, self._client, self._jobs = self._client, None, None
        if client is not None:
            await client.close()

    async def complete(self, request: OracleRequest) -> Reply:
        """The model's answer, unparsed. Raises Transient, Refused, RateLimited or Fatal."""
        self._tell_sampling(request)
        try:
            async with asyncio.timeout(request.timeout_s):
                while True:
                    thinking = self._thinking
                    said = await self._ask(request, thinking)
                    if isinstance(said, Reply):
                        self._faults.answered = True
                        return said
                    if said.status_code != 400 or not self._learnt(thinking, error_of(said.body)):
                        raise self._faults.of_status(said.status_code, said.body, said.response.headers)
        except TimeoutError:
            raise Transient(f"{self.options.server}: no answer within {request.timeout_s:g} s") from None

    def request_bytes(self, request: OracleRequest) -> int:
        """Bytes that it takes in a batch, under the longest of tokens."""
        return len(entry("", request.key, self._body(request, self._thinking))) + LONGEST_TOKEN + 1

    async def submit(self, job: Sequence[OracleRequest], token: str) -> str:
        for request in job[:1]:
            self._tell_sampling(request)
        jobs = self._batches()
        return await jobs.submit(job, token, self._thinking)

    async def find(self, token: str, since: float) -> str | None:
        return await self._batches().find(token, since)

    async def poll(self, handle: str) -> JobState:
        return await self._batches().poll(handle)

    async def cancel(self, handle: str) -> None:
        await self._batches().cancel(handle)

    def collect(self, handle: str) -> AsyncIterator[BatchItem]:
        return self._batches().collect(handle)

    def _batches(self) -> Jobs:
        client = self._opened()
        if self._jobs is None:
            self._jobs = Jobs(
                client,
                self._faults,
                self.options.server,
                self.model,
                self.ctx.workdir / "batches",
                body=self._body,
                learn=self._learnt_for_later,
            )
            self._recall(self._jobs.learnt())
        return self._jobs

    def _learnt_for_later(self, asked: Thinking, error: Mapping[str, Any]) -> bool:
        before, learnt = self._thinking, self._learnt(asked, error)
        if self._thinking != before and self._jobs is not None:
            self._jobs.remember(self._thinking)
        return learnt

    def _recall(self, thinking: str) -> None:
        """Go on in the way that an earlier job has taught."""
        for less in LESS.values():
            if less == thinking and self._thinking in LESS:
                self._thinking = less

    async def _ask(self, request: OracleRequest, thinking: Thinking) -> Reply | anthropic.APIStatusError:
        client = self._opened()
        try:
            # `post` is the SDK's door to what it has no method for; its own method for messages walks through every
            # field of request and reply, for nothing that is used here.
            data: Any = await client.post("/v1/messages", cast_to=object, body=self._body(request, thinking))
        except anthropic.APIStatusError as error:
            return error
        except (anthropic.APIConnectionError, aiohttp.ClientError) as error:
            raise lost(error, self.options.server) from None
        except (ValueError, RecursionError):
            raise self._no_message() from None
        if isinstance(data, dict) and data.get("type") == "error":
            raise self._faults.inside(data)
        try:
            return read_reply(data)
        except NoReply:
            raise self._no_message() from None

    def _no_message(self) -> BackendError:
        return Transient(f"{self.options.server}: answered with something that is no message")

    def _body(self, request: OracleRequest, thinking: Thinking) -> dict[str, Any]:
        if self._form is None or not self._form.fits(request, thinking):
            self._form = Form(request, self.options, thinking)
        return self._form.body(request)

    def _opened(self) -> anthropic.AsyncAnthropic:
        if self._client is None:
            raise FilterkitError("anthropic was asked before it was opened")
        return self._client

    def _learnt(self, asked: Thinking, error: Mapping[str, Any]) -> bool:
        """Whether the question is to be asked in another way of not thinking now, which may have been learnt since.

        error: what a 400 says.
        """
        said = str(error.get("message"))
        if asked not in LESS or "thinking" not in said.lower():
            return False
        if self._thinking == asked:
            self._thinking = LESS[asked]
            if self._thinking == "always":
                warnings.warn(
                    f"{self.model} cannot stop thinking: its thoughts are paid as output, with as little effort as it "
                    f"can (it said: {self._faults.said(said)})",
                    stacklevel=2,
                )
        return True

    def _tell_sampling(self, request: OracleRequest) -> None:
        """Warn once of what the API does not take. Temperature 0 is what filters say that do not care."""
        if self._told_sampling or (not request.temperature and request.seed is None):
            return
        self._told_sampling = True
        what = "temperature" if request.temperature else "seed"
        warnings.warn(f"Anthropic's API takes no {what}: none is sent", stacklevel=2)
