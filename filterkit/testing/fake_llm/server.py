"""The HTTP server itself: routes, counts, latency, and connections that are closed or left hanging."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import unquote

from aiohttp import web

from filterkit.errors import FilterkitError
from filterkit.testing.fake_llm import (
    anthropic,
    anthropic_batches,
    chat,
    gemini,
    gemini_batches,
    openai_batches,
)
from filterkit.testing.fake_llm.answers import PROSE, Finish, answer, article_of, fields_asked, schema_in, written
from filterkit.testing.fake_llm.batches import Batches
from filterkit.testing.fake_llm.faults import INSTEAD_OF_ONE, Plan, Settings
from filterkit.testing.fake_llm.sending import cut, hang_up, respond
from filterkit.testing.fake_llm.wire import Asked, BatchSpeaker, Counts, Speaker, Unreadable, Wire

Protocol = Literal["gemini", "openai", "anthropic"]
_GEMINI = re.compile(r"^/[^/]+/models/(.+):(generateContent|countTokens)$")
_MODELS = re.compile(r"^/[^/]+/models(?:/(.+))?$")
OTHER_MODEL = "another-model-001"
_SPEAKERS: dict[Protocol, Speaker] = {"gemini": gemini, "openai": chat, "anthropic": anthropic}
_BATCHES: tuple[BatchSpeaker, ...] = (gemini_batches, openai_batches, anthropic_batches)
_KEY_NEEDED = ("gemini", "anthropic")  # even where any will do
_NEVER_IN_A_BATCH = ("rate_limit", "quota_day", "hang", "drop", "reset")  # one that fails there has failed for good


@dataclass
class Exchange:
    """One request for an answer, and what became of it.

    system, user: the texts of those turns, article: the one within the fence. config: the rest of the body. headers:
    lower-case names. connection: the client's port. fault: one of FAULTS, "bad_request", "no_key" or "". status: None
    while there is no answer, and when there was none (hang, drop, reset). scores: what a right answer says, whatever
    was answered; text: what was. at: seconds on time.monotonic() of the server's process. Tokens are 0 in errors.
    batch: the id of the job that it was a part of, "" for a live one.
    """

    protocol: Protocol
    path: str
    model: str
    at: float
    connection: int = 0
    system: str = ""
    user: str = ""
    article: str = ""
    schema: dict[str, Any] | None = None
    mode: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    status: int | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    batch: str = ""


def digest(article: str) -> str:
    """What an article is counted under: 16 hex characters of its text as sent."""
    return sha256(article.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Desk:
    """Answers requests and counts them. All of it runs on one event loop; numbers may be read from other threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget all requests; script, limits and random numbers start anew."""
        self.plan = Plan(self.settings)
        self.exchanges: list[Exchange] = []
        self.requests = self.answered = self.others = self.in_flight = self.max_in_flight = 0
        self.statuses: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.batch_tokens: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.batch_paid: Counter[str] = Counter()
        self.batches = Batches(lambda: self.settings, lambda: self.plan, self.answer_in_batch)
        self._prefixes: set[str] = set()
        self._number = 0

    def change(self, values: Mapping[str, Any]) -> None:
        """Go on under changed settings."""
        self.settings = Settings.of({**vars(self.settings), **values})
        self.plan.change(self.settings, values)

    def state(self) -> dict[str, Any]:
        """All counts, as plain data."""
        counts = ("requests", "answered", "others", "in_flight", "max_in_flight")
        tables = ("statuses", "faults", "tokens", "batch_tokens")
        return {
            **{name: getattr(self, name) for name in counts},
            **{name: dict(getattr(self, name)) for name in tables},
            "batches": len(self.batches.jobs),
            "batch_answered": self.batch_paid.total(),
            "files": len(self.batches.files),
        }

    def jobs(self) -> list[dict[str, Any]]:
        """All batch jobs as they were last looked at, in the order of their submission."""
        return [job.to_dict() for job in self.batches.jobs.values()]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        path = request.path
        if path.startswith("/_fake/"):
            return await self._control(request, path.removeprefix("/_fake/"))
        for speaks in _BATCHES:
            answered = await speaks.handle(request, self)
            if answered is not None:
                return answered
        if request.method == "POST":
            match = _GEMINI.match(path)
            if match and match.group(2) == "generateContent":
                return await self._count(request, "gemini", unquote(match.group(1)))
            if match:
                self.others += 1
                return await self._count_tokens(request, unquote(match.group(1)))
            if path.endswith("/chat/completions"):
                return await self._count(request, "openai", "")
            if path.endswith("/v1/messages"):
                return await self._count(request, "anthropic", "")
        listed = _MODELS.match(path)
        if request.method == "GET" and listed:
            self.others += 1
            return respond(self._models(request, listed.group(1)))
        return respond(Wire(404, {"error": {"code": 404, "message": f"no such path: {path}", "status": "NOT_FOUND"}}))

    async def _count(self, request: web.BaseRequest, protocol: Protocol, model: str) -> web.StreamResponse:
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        exchange = Exchange(protocol, request.path, model, time.monotonic())
        if self.settings.record:
            self._note_sender(exchange, request)
        generation = self.statuses  # a reset in between begins other counts
        try:
            wire = await self._answer(request, exchange)
            if wire is None:
                await asyncio.Event().wait()
        finally:
            if generation is self.statuses:
                self.in_flight -= 1
        assert wire is not None
        if exchange.fault in ("drop", "reset"):
            if exchange.fault == "reset":
                return hang_up(request)
            return await cut(request, json.dumps(wire.body).encode())
        exchange.status = wire.status
        if generation is self.statuses:
            self.statuses[str(wire.status)] += 1
            self.answered += wire.status == 200
        return respond(wire)

    def _note_sender(self, exchange: Exchange, request: web.BaseRequest) -> None:
        exchange.headers = {name.lower(): value for name, value in request.headers.items()}
        peer = request.transport.get_extra_info("peername") if request.transport else None
        exchange.connection = peer[1] if peer else 0
        self.exchanges.append(exchange)

    async def _answer(self, request: web.BaseRequest, exchange: Exchange) -> Wire | None:
        """The answer on the wire; None when there shall never be one."""
        speaks = _SPEAKERS[exchange.protocol]
        sent = await request.content.read()
        fault = self.stranger(request, exchange.protocol)
        if fault:
            return self._refuse(exchange, fault)
        try:
            asked, article = self._read(exchange, json.loads(sent), request.headers)
        except (ValueError, AttributeError, TypeError) as problem:
            return self._refuse(exchange, "bad_request", why=_why(problem))
        refusal = self._refusal(exchange, asked) or self._over_limit(exchange)
        if refusal is not None:
            return refusal
        fault = exchange.fault = self.plan.fault(article)
        self.faults[fault or "ok"] += 1
        if fault == "hang":
            return None
        if fault in ("rate_limit", "quota_day"):  # what a provider says at once
            return speaks.error(fault, asked.model, self.settings.retry_after_s)
        if self.settings.latency_s:
            await asyncio.sleep(self.settings.latency_s)
        if fault in INSTEAD_OF_ONE:
            return speaks.error(fault, asked.model)
        return self._reply(exchange, asked, article)

    def _read(
        self, exchange: Exchange, body: dict[str, Any], headers: Mapping[str, str] | None = None
    ) -> tuple[Asked, str]:
        """The question of a request, and the article in it. Raises Unreadable and the like."""
        speaks = _SPEAKERS[exchange.protocol]
        asked = speaks.read(exchange.model, body, openai_own=self.settings.openai_own, headers=headers)
        exchange.model, article = asked.model, article_of(asked.user)
        if self.settings.record:
            exchange.system, exchange.user, exchange.article = asked.system, asked.user, article
            exchange.schema, exchange.mode, exchange.config = asked.schema, asked.mode, asked.config
        return asked, article

    def answer_in_batch(self, protocol: Protocol, model: str, body: dict[str, Any], batch: str) -> tuple[int, Any]:
        """Status and body that a request of a batch is answered with. Limits of requests do not count there."""
        exchange = Exchange(protocol, "", model, time.monotonic(), batch=batch)
        if self.settings.record:
            self.exchanges.append(exchange)
        try:
            asked, article = self._read(exchange, body)
        except (ValueError, AttributeError, TypeError) as problem:
            wire = self._refuse(exchange, "bad_request", why=_why(problem))
        else:
            wire = self._refusal(exchange, asked) or self._meet(exchange, asked, article)
        exchange.status = wire.status
        return wire.status, wire.body

    def _meet(self, exchange: Exchange, asked: Asked, article: str) -> Wire:
        fault = self.plan.fault(article)
        exchange.fault = fault = "server_error" if fault in _NEVER_IN_A_BATCH else fault
        self.faults[fault or "ok"] += 1
        if fault in INSTEAD_OF_ONE:
            return _SPEAKERS[exchange.protocol].error(fault, asked.model)
        return self._reply(exchange, asked, article)

    def refuse(self, protocol: Protocol, fault: str, why: str = "", model: str = "") -> web.Response:
        """The error of a protocol for one of FAULTS, or "bad_request" for the reason `why`."""
        wait_s = self.settings.retry_after_s if fault == "rate_limit" else None
        return respond(_SPEAKERS[protocol].error(fault, model, wait_s, why=Unreadable(why)))

    def stranger(self, request: web.BaseRequest, protocol: Protocol) -> str:
        """The fault of a request's key, "" for none."""
        key, only = _SPEAKERS[protocol].key_of(request.headers, request.query), self.settings.api_key
        if key is None:
            return "no_key" if only is not None or protocol in _KEY_NEEDED else ""
        return "invalid_key" if only is not None and key != only else ""

    def _refusal(self, exchange: Exchange, asked: Asked) -> Wire | None:
        """What a provider checks before it does anything: model and kind of output."""
        settings = self.settings
        if settings.models is not None and asked.model not in settings.models:
            return self._refuse(exchange, "unknown_model")
        if asked.mode not in settings.structured:
            why = Unreadable(f"This response_format type is unavailable here: {asked.mode}", "response_format")
            return self._refuse(exchange, "bad_request", why=why)
        return None

    def _over_limit(self, exchange: Exchange) -> Wire | None:
        over, settings = self.plan.limit(), self.settings
        if over is None:
            return None
        fault, wait_s = over
        limit = settings.requests_per_minute if fault == "rate_limit" else settings.requests_per_day
        return self._refuse(exchange, fault, wait_s, limit)

    def _refuse(
        self,
        exchange: Exchange,
        fault: str,
        wait_s: float | None = None,
        limit: int | None = None,
        why: Unreadable | None = None,
    ) -> Wire:
        exchange.fault = fault
        self.faults[fault] += 1
        return _SPEAKERS[exchange.protocol].error(fault, exchange.model, wait_s, limit, why)

    def _reply(self, exchange: Exchange, asked: Asked, article: str) -> Wire:
        schema = asked.schema or schema_in(asked.system) or schema_in(asked.user.removesuffix(article))
        right: dict[str, Any] = {}
        finish: Finish = "stop"
        text = PROSE  # nobody said what to answer
        if schema is not None:
            scores = fields_asked(schema, asked.system)
            turn = self.paid[digest(article)] + self.batch_paid[digest(article)]
            off = self.settings.bias.get(asked.model or "", 0.0)
            right = answer(scores, article, bias=off, wobble=self.settings.wobble, turn=turn)
            text, finish = written(right, scores, exchange.fault)
        if asked.max_tokens is not None and len(text) // 4 > asked.max_tokens:
            text, finish = text[: asked.max_tokens * 4], "length"
        counts = self._counts(asked, article, text)
        exchange.scores, exchange.text = right, text
        exchange.input_tokens, exchange.cached_tokens = counts.input, counts.cached
        exchange.output_tokens, exchange.thinking_tokens = counts.output, counts.thinking
        tokens, paid = (self.batch_tokens, self.batch_paid) if exchange.batch else (self.tokens, self.paid)
        tokens.update(input=counts.input, cached=counts.cached, output=counts.output, thinking=counts.thinking)
        paid[digest(article)] += 1
        self._number += 1
        model = self.settings.model_version or asked.model
        if exchange.fault == "wrong_model":
            model = OTHER_MODEL
        speaks = _SPEAKERS[exchange.protocol]
        return speaks.reply(text, finish, counts, model, self._number, asked.tool)

    def _counts(self, asked: Asked, article: str, text: str) -> Counts:
        """Tokens, at four characters each. What may be cached is found there from its second time on."""
        before = asked.prefix
        if before is None:
            before = asked.system + asked.user[: max(0, asked.user.find(article))]
        cached = written = 0
        if len(before) // 4 >= max(1, self.settings.min_cached_tokens):
            prefix = sha256(f"{asked.model}\n{before}".encode("utf-8", "surrogatepass")).hexdigest()
            if prefix in self._prefixes:
                cached = len(before) // 4
            else:
                written = len(before) // 4
            self._prefixes.add(prefix)
        thinking = self.settings.thinking_tokens if asked.thinking else 0
        sent = max(len(before), len(asked.system) + len(asked.user)) // 4
        return Counts(sent, cached, len(text) // 4, thinking, written)

    async def _count_tokens(self, request: web.BaseRequest, model: str) -> web.Response:
        sent = await request.content.read()
        fault = self.stranger(request, "gemini")
        if fault:
            return respond(gemini.error(fault, model))
        try:
            body = json.loads(sent)
            asked = gemini.read(model, body.get("generateContentRequest") or body)
        except (ValueError, AttributeError, TypeError) as problem:
            return respond(gemini.error("bad_request", model, why=_why(problem)))
        return respond(Wire(200, {"totalTokens": (len(asked.system) + len(asked.user)) // 4}))

    def _models(self, request: web.BaseRequest, name: str | None) -> Wire:
        """The list of models, in the protocol of whoever asks, or one of them."""
        google = "x-goog-api-key" in request.headers or "key" in request.query
        claude = "anthropic-version" in request.headers
        protocol: Protocol = "gemini" if google else "anthropic" if claude else "openai"
        speaks, fault = _SPEAKERS[protocol], self.stranger(request, protocol)
        if fault:
            return speaks.error(fault, "")
        names = self.settings.models or (chat.LOCAL_MODEL,)
        if name is not None:
            known = self.settings.models is None or name in names
            return Wire(200, speaks.model_entry(name)) if known else speaks.error("unknown_model", name)
        entries = [speaks.model_entry(n) for n in names]
        return Wire(200, {"models": entries} if google else {"object": "list", "data": entries})

    async def _control(self, request: web.BaseRequest, what: str) -> web.Response:
        """The door for other processes: GET state, exchanges, paid, batches; POST settings, reset."""
        if request.method == "GET" and what == "state":
            return respond(Wire(200, self.state()))
        if request.method == "GET" and what == "exchanges":
            return respond(Wire(200, {"exchanges": [asdict(e) for e in self.exchanges]}))
        if request.method == "GET" and what == "paid":
            return respond(Wire(200, {"live": self.paid, "batch": self.batch_paid}))
        if request.method == "GET" and what == "batches":
            return respond(Wire(200, {"batches": self.jobs()}))
        if request.method == "POST" and what == "reset":
            self.reset()
            return respond(Wire(200, self.state()))
        if request.method == "POST" and what == "settings":
            try:
                self.change(json.loads(await request.content.read()))
            except (FilterkitError, ValueError, TypeError, AttributeError) as error:
                return respond(Wire(400, {"error": str(error)}))
            return respond(Wire(200, self.state()))
        return respond(Wire(404, {"error": f"no such control: {request.method} {what}"}))


def _why(problem: Exception) -> Unreadable:
    return problem if isinstance(problem, Unreadable) else Unreadable("Invalid JSON payload received.")


async def listen(desk: Desk, port: int) -> tuple[web.ServerRunner, int]:
    """Serve on a port of 127.0.0.1 (0: a free one), and say which."""
    server = web.Server(desk.handle, handler_cancellation=True, access_log=None, keepalive_timeout=600)
    runner = web.ServerRunner(server, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    return runner, runner.addresses[0][1]
