"""The ASGI application: every request gets an id, a line in the log and its place in the metrics; no fault gets out."""

from __future__ import annotations

import hmac
import os
import re
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from filterkit_serve.body import Disconnected, Held
from filterkit_serve.errors import HttpError, error_body, whereabouts
from filterkit_serve.log import Log
from filterkit_serve.meters import Meters
from filterkit_serve.scoring import JSON, Inference, Score
from filterkit_serve.served import Shelf
from filterkit_serve.settings import Settings
from filterkit_serve.views import OPEN, Views

_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,100}")
_CLOSE = (b"connection", b"close")
_ALWAYS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
ELSEWHERE = "other"
"""The route of a request to nowhere: what was written there is not repeated."""


class App:
    """All routes of a server."""

    def __init__(self, shelf: Shelf, settings: Settings, meters: Meters, log: Log) -> None:
        self.views = Views(shelf, meters, log)
        self._token = settings.token
        self._meters = meters
        self._log = log
        held = Held(settings.held, meters)
        kinds: dict[str, type[Score | Inference]] = {"/v1/score": Score, "/": Inference, "/filters/{name}": Inference}
        scoring = [Route(path, kind(shelf, held, settings, meters), methods=["POST"]) for path, kind in kinds.items()]
        routes = [*scoring, *self.views.routes()]
        self._paths = {route.endpoint: route.path for route in routes}
        self._router = Router(routes, redirect_slashes=False, default=_nowhere)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, send, last=self.views.draining)
        scope["app"] = self
        try:
            self._admit(scope)
            await self._router(scope, receive, exchange.send)
        except HttpError as error:
            await self._refuse(exchange, error)
        except HTTPException as error:
            await self._refuse(exchange, _from_starlette(error))
        except Disconnected:
            exchange.status = 499
        except Exception as error:
            exchange.failed(error)
            await self._refuse(exchange, HttpError(500, "internal", "something went wrong here; the log says more"))
        finally:
            self._note(scope, exchange)

    def _admit(self, scope: Scope) -> None:
        """HttpError 401 without the token, before anything of the body is read."""
        if self._token is None or (scope["method"] in ("GET", "HEAD") and scope["path"] in OPEN):
            return
        kind, _, given = _header(scope, b"authorization").partition(b" ")
        if kind.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
            raise HttpError(401, "unauthorized", "a bearer token is needed", {"www-authenticate": "Bearer"})

    async def _refuse(self, exchange: Exchange, error: HttpError) -> None:
        self._meters.errors.labels(error.code).inc()
        exchange.code = error.code
        if not exchange.status:
            await exchange.refuse(error)

    def _note(self, scope: Scope, exchange: Exchange) -> None:
        """Count the request, and write its line."""
        seconds = time.perf_counter() - exchange.started
        route = self._paths.get(scope.get("endpoint", _nowhere), ELSEWHERE)
        self._meters.answered(route, exchange.status, seconds)
        client = scope.get("client")
        self._log.say(
            "request",
            id=exchange.id.decode(),
            method=scope["method"][:20],
            route=route,
            status=exchange.status,
            ms=round(seconds * 1000, 2),
            client=client[0] if client else None,
            **scope.get("filterkit", {}),
            **exchange.more(),
        )


class Exchange:
    """A request and what was answered. last: its connection is closed afterwards."""

    __slots__ = ("_last", "_send", "_why", "code", "id", "started", "status")

    def __init__(self, scope: Scope, send: Send, *, last: bool) -> None:
        given = _header(scope, b"x-request-id")
        self.id = given if _SANE_ID.fullmatch(given) else os.urandom(12).hex().encode()
        self.started = time.perf_counter()
        self.status = 0
        self.code: str | None = None
        self._why: str | None = None
        self._last = last
        self._send = send

    async def send(self, message: Message) -> None:
        """ASGI's send; adds what every answer carries."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.id), *_ALWAYS]
            if self._last:
                message["headers"].append(_CLOSE)
        await self._send(message)

    async def refuse(self, error: HttpError) -> None:
        """Answer with an error."""
        content = error_body(error.code, error.message, self.id.decode())
        headers = [JSON, (b"content-length", b"%d" % len(content))]
        headers += [(name.encode(), value.encode()) for name, value in error.headers.items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": content})

    def failed(self, error: Exception) -> None:
        """Remember a fault of ours for the log."""
        self._why = whereabouts(error)

    def more(self) -> dict[str, Any]:
        """For the log, where there is more to say."""
        found = {"code": self.code, "why": self._why}
        return {name: value for name, value in found.items() if value is not None}


def _header(scope: Scope, wanted: bytes) -> bytes:
    """A request's header, empty when it has none."""
    found: bytes = next((value for name, value in scope["headers"] if name == wanted), b"")
    return found


async def _nowhere(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HttpError(404, "not_found", "there is nothing here; GET /openapi.json says what there is")


def _from_starlette(error: HTTPException) -> HttpError:
    if error.status_code == 405:
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        return HttpError(405, "method_not_allowed", "this address takes other methods", headers)
    return HttpError(error.status_code, "refused", str(error.detail))
