"""Oracle `openai`: one request to a chat-completions server through OpenAI's SDK."""

from __future__ import annotations

import asyncio
import json
import time
import warnings
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import aiohttp
import httpx2
import openai

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
    RateLimited,
    Refused,
    Reply,
    Transient,
    Unreachable,
)
from filterkit_openai.answers import read_answer
from filterkit_openai.batches import Jobs, request_line
from filterkit_openai.complaint import Complaint
from filterkit_openai.connections import CONNECT_S, what_broke
from filterkit_openai.dialect import Dialect
from filterkit_openai.options import OpenAIOptions, ServerOptions
from filterkit_openai.servers import Server, Servers

NO_KEY = "none"  # the SDK wants one; a server of one's own does not look at it
KEEP_ALIVE_S = 4.0  # below the 5 s after which vLLM and other uvicorn servers hang up on an idle connection
ALMOST = 0.95  # cancelled after this share of the timeout: the core's clock was a little faster than ours


class NoReply(Exception):
    """A 200 that holds no chat completion."""


class OpenAIOracle(Batch, Oracle[OpenAIOptions]):
    """Asks the least busy healthy server. A request that failed is not sent again: that is the core's to decide.

    The one exception: a 400 that says that the server does not take a field. The field is given up for good, and the
    question asked without it; nothing was charged, and it is no fault of the article's.

    `reports_cost` stays False, for it promises a cost with every reply, and most servers report none. Where one does
    (OpenRouter), that is what the reply cost; a budget still needs a price, to know before what a request may cost.

    Batches go to a single server, OpenAI's own or one that the option `batches` names.
    """

    Options: ClassVar[type[Options]] = OpenAIOptions
    answer_options: ClassVar[tuple[str, ...]] = ("reasoning_effort", "temperature", "extra_body")
    most_requests: ClassVar[int] = 50_000
    most_bytes: ClassVar[int] = 200_000_000

    _jobs: Jobs | None = None

    def __init__(self, options: OpenAIOptions, spec: FilterSpec, ctx: Context) -> None:
        super().__init__(options, spec, ctx)
        if not options.model:
            raise ConfigError("no model is named", where="oracle openai", fix="Say which: -O model=NAME")
        self._chosen = options.servers
        self._servers = Servers(())
        self._forms: dict[Dialect, _Form] = {}

    @property
    def list_price_share(self) -> float | None:
        if not all(server.is_openai for server in self._chosen):
            return None
        tier = 0.5 if self.options.service_tier == "flex" else 1.0
        return tier * (1.1 if any(server.is_regional for server in self._chosen) else 1.0)

    async def open(self) -> None:
        """Make one client per server. ConfigError: a key's environment variable is not set, or holds no key."""
        self._servers = Servers([self._make_server(chosen) for chosen in self._chosen])
        self._jobs = None

    def _make_server(self, chosen: ServerOptions) -> Server:
        key = self._key(chosen)
        timeout = openai.Timeout(self.options.timeout_s, connect=min(CONNECT_S, self.options.timeout_s))
        limits = httpx2.Limits(max_connections=0, keepalive_expiry=KEEP_ALIVE_S)  # 0: no limit; None would mean 100
        client = openai.AsyncOpenAI(
            api_key=key or NO_KEY,
            base_url=chosen.base_url,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAioHttpClient(timeout=timeout, limits=limits),
        )
        if not chosen.is_openai:  # the SDK takes these from OPENAI_… variables, which are nobody else's business
            client.organization = client.project = client.admin_api_key = None
            client._custom_headers = {}  # OPENAI_CUSTOM_HEADERS may even hold another key
        return Server(chosen, client, Dialect.of(self.options, chosen), key)

    def _key(self, chosen: ServerOptions) -> str:
        key = self.ctx.secret(chosen.api_key_env) if chosen.api_key_env else ""
        if not all("!" <= c <= "~" for c in key):
            what = "holds no API key: there is a space, an end of line or another odd character in it"
            fix = "Set it again; a file with Windows line ends is a common cause"
            raise ConfigError(what, where=f"environment variable {chosen.api_key_env}", fix=fix)
        return key

    async def aclose(self) -> None:
        for server in self._servers.all:
            await server.client.close()

    async def complete(self, request: OracleRequest) -> Reply:
        article = hash(request.article)
        with self._servers.one(article) as server:
            while True:
                dialect, started = server.dialect, time.monotonic()
                said = await self._ask(server, dialect, request)
                if isinstance(said, Reply):
                    server.answered()
                    return said
                if not self._learnt(server, dialect, said):
                    raise self._no(server, said, article, started)

    def request_bytes(self, request: OracleRequest) -> int:
        """Bytes of its line. ConfigError: the server has no batches, as far as is known."""
        chosen = self._batch_server()
        dialect = self._servers.all[0].dialect if self._servers.all else Dialect.of(self.options, chosen)
        return len(request_line(request.key, self._body(dialect, request)))

    async def submit(self, job: Sequence[OracleRequest], token: str) -> str:
        return await self._batches().submit(job, token)

    async def find(self, token: str, since: float) -> str | None:
        return await self._batches().find(token, since)

    async def poll(self, handle: str) -> JobState:
        return await self._batches().poll(handle)

    async def cancel(self, handle: str) -> None:
        await self._batches().cancel(handle)

    def collect(self, handle: str) -> AsyncIterator[BatchItem]:
        return self._batches().collect(handle)

    def _batch_server(self) -> ServerOptions:
        """The server that batches go to. ConfigError: there is none, or more than one."""
        where, chosen = "oracle openai", self._chosen[0]
        if len(self._chosen) > 1:
            raise ConfigError("batches go to one server, and several are named", where=where, fix="Name one base_url")
        if not (chosen.is_openai if self.options.batches is None else self.options.batches):
            fix = "Say -O batches=true if it has one, else label without --batch"
            raise ConfigError(f"{chosen.name} is not known to have OpenAI's Batch API", where=where, fix=fix)
        if self.options.service_tier == "flex":
            fix = "Leave service_tier out: a batch costs half of the standard price"
            raise ConfigError("batches have no flex tier", where=where, fix=fix)
        return chosen

    def _batches(self) -> Jobs:
        self._batch_server()
        if not self._servers.all:
            raise FilterkitError("openai was asked before it was opened")
        if self._jobs is None:
            server = self._servers.all[0]
            self._jobs = Jobs(
                server,
                self.model,
                self.ctx.workdir / "batches",
                body=self._body,
                learn=lambda dialect, complaint: self._learnt(server, dialect, complaint),
            )
        return self._jobs

    async def _ask(self, server: Server, dialect: Dialect, request: OracleRequest) -> Reply | Complaint:
        """One HTTP request. Raises what `Servers.down` says when there is no answer."""
        started = time.monotonic()
        try:
            return await self._post(server, dialect, request)
        except (openai.APIConnectionError, aiohttp.ClientError) as error:
            trouble, unreachable = what_broke(error, request.timeout_s)
        except NoReply as error:
            trouble, unreachable = f"answered with something that is no chat completion ({error})", False
        except asyncio.CancelledError:
            if time.monotonic() - started > ALMOST * request.timeout_s:
                server.failed(f"no answer within {request.timeout_s:g} s", started)
            raise
        server.failed(trouble, started, unreachable=unreachable)
        what = f"{server.name}: {trouble}"
        raise self._servers.down(server, Unreachable(what) if unreachable else Transient(what))

    async def _post(self, server: Server, dialect: Dialect, request: OracleRequest) -> Reply | Complaint:
        options: openai.RequestOptions = {}
        if request.timeout_s != self.options.timeout_s:
            options["timeout"] = request.timeout_s
        body = self._body(dialect, request)
        try:
            # `post` is the SDK's door to what it has no method for. Its method for chat completions walks through every
            # field of request and reply: 1.4 ms of CPU time a request instead of 0.6, for nothing that is used here.
            data: Any = await server.client.post("/chat/completions", cast_to=object, body=body, options=options)
        except openai.APIStatusError as error:
            return Complaint(error.status_code, error.response.text, error.response.headers, server.key)
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise NoReply("broken JSON") from None
        try:
            said = read_answer(data, money=not server.options.is_openai, key=server.key)
        except ValueError as error:
            raise NoReply(type(error).__name__) from None
        if isinstance(said, Reply):
            self._note_tier(server, data.get("service_tier"))
        return said

    def _note_tier(self, server: Server, given: Any) -> None:
        """Warn once when a tier of another price was given: `list_price_share` was fixed before the first question."""
        asked = self.options.service_tier
        if not isinstance(given, str) or given in (asked or "default", "auto"):
            return
        if (asked == "flex" or server.options.is_openai) and "tier" not in server.warned:
            server.warned.add("tier")
            what = f"{server.name} answered in its service tier {given[:40]!r}, {asked or 'default'} was asked"
            warnings.warn(
                f"{what}: the costs that are reported, and the budget, are not those of the bill", stacklevel=2
            )

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

    def _no(self, server: Server, complaint: Complaint, article: int, started: float) -> BackendError:
        """What an error means for the question, its server having been marked accordingly."""
        error = complaint.as_error(server.name, self.model, server.options.api_key_env)
        if isinstance(error, RateLimited):
            return self._servers.limited(server, error)
        if isinstance(error, Transient):
            if complaint.server_is_ill:
                server.failed(f"HTTP {complaint.status}", started)
            return self._servers.down(server, error)
        if not isinstance(error, Refused) or complaint.is_policy:
            return error
        if complaint.is_too_long:  # another server may have more room
            return self._servers.refused(server, article, error)
        server.refusals[complaint.message] += 1
        server.failed(complaint.said, started, refuses_all=not server.has_answered)
        ends_run = self._servers.none_takes(error)
        if ends_run is not None:
            return ends_run
        if self._servers.several and server.back_at is not None and "refuses" not in server.warned:
            server.warned.add("refuses")
            warnings.warn(f"{server.name} refuses what it is asked and is set aside ({complaint.said})", stacklevel=2)
        return self._servers.refused(server, article, error)


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
