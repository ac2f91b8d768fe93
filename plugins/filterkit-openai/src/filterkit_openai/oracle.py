"""Oracle `openai`: one request to a chat-completions server through OpenAI's SDK."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections import Counter
from typing import Any, ClassVar

import aiohttp
import httpx2
import openai

from filterkit.api import (
    BackendError,
    ConfigError,
    Context,
    Fatal,
    FilterSpec,
    Options,
    Oracle,
    OracleRequest,
    RateLimited,
    Refused,
    Reply,
    Transient,
)
from filterkit_openai.answers import Complaint, read_reply
from filterkit_openai.dialect import Dialect
from filterkit_openai.options import OpenAIOptions, ServerOptions
from filterkit_openai.servers import Server, Servers

NO_KEY = "none"  # the SDK wants one; a server of one's own does not look at it
CONNECT_S = 5.0
KEEP_ALIVE_S = 4.0  # below the 5 s after which vLLM and other uvicorn servers hang up on an idle connection
REFUSALS = 16  # in the same words, before anything was answered: it is not the articles
ALMOST = 0.95  # cancelled after this share of the timeout: the core's clock was a little faster than ours


class OpenAIOracle(Oracle[OpenAIOptions]):
    """Asks the least busy healthy server. A request that failed is not sent again: that is the core's to decide.

    The one exception: a 400 that says that the server does not take a field. The field is given up for good, and the
    question asked without it; nothing was charged, and it is no fault of the article's.
    """

    Options: ClassVar[type[Options]] = OpenAIOptions
    answer_options: ClassVar[tuple[str, ...]] = ("reasoning_effort", "temperature", "extra_body")

    def __init__(self, options: OpenAIOptions, spec: FilterSpec, ctx: Context) -> None:
        super().__init__(options, spec, ctx)
        if not options.model:
            raise ConfigError("no model is named", where="oracle openai", fix="Say which: -O model=NAME")
        self._chosen = options.servers
        self._servers = Servers(())
        self._forms: dict[Dialect, _Form] = {}
        self._answered = False
        self._refusals: Counter[str] = Counter()

    @property
    def list_price_share(self) -> float | None:
        if not all(server.is_openai for server in self._chosen):
            return None
        tier = 0.5 if self.options.service_tier == "flex" else 1.0
        return tier * (1.1 if any(server.is_regional for server in self._chosen) else 1.0)

    async def open(self) -> None:
        """Make one client per server. ConfigError: a key's environment variable is not set."""
        self._servers = Servers([self._make_server(chosen) for chosen in self._chosen])

    def _make_server(self, chosen: ServerOptions) -> Server:
        key = self.ctx.secret(chosen.api_key_env) if chosen.api_key_env else ""
        timeout = openai.Timeout(self.options.timeout_s, connect=min(CONNECT_S, self.options.timeout_s))
        limits = httpx2.Limits(max_connections=0, keepalive_expiry=KEEP_ALIVE_S)  # 0: no limit; None would mean 100
        client = openai.AsyncOpenAI(
            api_key=key or NO_KEY,
            base_url=chosen.base_url,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAioHttpClient(timeout=timeout, limits=limits),
        )
        return Server(chosen, client, Dialect.of(self.options, chosen), key)

    async def aclose(self) -> None:
        for server in self._servers.all:
            await server.client.close()

    async def complete(self, request: OracleRequest) -> Reply:
        with self._servers.one() as server:
            while True:
                dialect = server.dialect
                said = await self._ask(server, dialect, request)
                if isinstance(said, Reply):
                    self._answered = True
                    return said
                if not self._learnt(server, dialect, said):
                    raise self._error(server, said)

    async def _ask(self, server: Server, dialect: Dialect, request: OracleRequest) -> Reply | Complaint:
        """One HTTP request. Raises Transient when there is no answer."""
        started = time.monotonic()
        try:
            said = await self._post(server, dialect, request)
        except (openai.APIConnectionError, aiohttp.ClientError) as error:
            trouble, unreachable = _what_broke(error, request.timeout_s)
            server.failed(trouble, started, unreachable=unreachable)
            raise Transient(f"{server.name}: {trouble}", unbilled=unreachable) from None
        except ValueError as error:  # no JSON, or not what a chat completion looks like
            trouble = "answered with something that is no chat completion"
            server.failed(trouble, started)
            raise Transient(f"{server.name}: {trouble} ({type(error).__name__})") from None
        except asyncio.CancelledError:
            if time.monotonic() - started > ALMOST * request.timeout_s:
                server.failed(f"no answer within {request.timeout_s:g} s", started)
            raise
        if isinstance(said, Complaint) and said.server_is_ill:
            server.failed(f"HTTP {said.status}", started)
        else:
            server.answered()
        return said

    async def _post(self, server: Server, dialect: Dialect, request: OracleRequest) -> Reply | Complaint:
        options: openai.RequestOptions = {}
        if request.timeout_s != self.options.timeout_s:
            options["timeout"] = request.timeout_s
        body = self._body(dialect, request)
        try:
            # `post` is the SDK's door to what it has no method for. Its method for chat completions walks through every
            # field of request and reply: 1.4 ms of CPU time a request instead of 0.6, for nothing that is used here.
            data = await server.client.post("/chat/completions", cast_to=object, body=body, options=options)
        except openai.APIStatusError as error:
            return Complaint(error.status_code, error.body, error.response.headers, server.key)
        if isinstance(data, dict) and data.get("error") and not data.get("choices"):  # a router's way to say 502
            return Complaint.inside(data, server.key)
        return read_reply(data, money=not server.options.is_openai)

    def _body(self, dialect: Dialect, request: OracleRequest) -> dict[str, Any]:
        form = self._forms.get(dialect)
        if form is None or not form.fits(request):
            form = self._forms[dialect] = _Form(dialect, request, self.options)
        user = {"role": "user", "content": dialect.user(request)}
        return {**form.head, "messages": [form.system, user]}

    def _learnt(self, server: Server, dialect: Dialect, complaint: Complaint) -> bool:
        """Whether the server is to be asked in another way now, by what it said or by what was learnt meanwhile."""
        if complaint.status not in (400, 422):
            return False
        found = dialect.after(complaint.all)
        if found is None:
            return False
        if server.dialect == dialect:
            server.dialect, said = found
            if said:
                warnings.warn(f"{server.name} {said} (it said: {complaint.message})", stacklevel=2)
        return True

    def _error(self, server: Server, complaint: Complaint) -> BackendError:
        error = complaint.as_error(server.name, self.model, server.options.api_key_env)
        if isinstance(error, RateLimited):
            return self._servers.limited(server, error)
        if isinstance(error, Refused) and not self._answered and not complaint.about_the_article:
            self._refusals[complaint.message] += 1
            if self._refusals[complaint.message] >= REFUSALS:
                fix = "The server takes no request in this form: check the model and the oracle's options"
                return Fatal(error.what, fix=fix)
        return error


class _Form:
    """What the requests of a run have in common, made once."""

    def __init__(self, dialect: Dialect, request: OracleRequest, options: OpenAIOptions) -> None:
        self._first = request
        self.head = dialect.body(request, options)
        self.system = {"role": "system", "content": dialect.system(request)}

    def fits(self, request: OracleRequest) -> bool:
        first = self._first
        return (
            request.system == first.system
            and request.model == first.model
            and request.temperature == first.temperature
            and request.seed == first.seed
            and request.max_output_tokens == first.max_output_tokens
            and request.json_schema == first.json_schema
        )


def _what_broke(error: Exception, timeout_s: float) -> tuple[str, bool]:
    """Why there was no answer, in words, and whether the server could not even be reached.

    The SDK calls every lost connection a timeout; what happened is at the end of the chain of causes.
    """
    causes: list[BaseException] = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    if any(isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError) for cause in causes):
        return "cannot be reached", True
    if any(isinstance(cause, aiohttp.ServerTimeoutError) for cause in causes):
        return f"no answer within {timeout_s:g} s", False
    return "dropped the connection", False
