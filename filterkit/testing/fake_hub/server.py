"""The HTTP server itself: routes, tokens, faults, and connections that are cut."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from typing import IO

from aiohttp import web

from filterkit.testing.fake_hub import endpoints, files, lfs, repos
from filterkit.testing.fake_hub.faults import Cut, Fault, Seen
from filterkit.testing.fake_hub.state import State
from filterkit.testing.fake_hub.storage import CHUNK
from filterkit.testing.fake_hub.wire import Answer, Call, Refused

_ALL = [*repos.ROUTES, *files.ROUTES, *lfs.ROUTES, *endpoints.ROUTES]
_ROUTES = [(method, re.compile(pattern), handler) for method, pattern, handler in _ALL]
_READING = re.compile(r"/api/validate-yaml|/api/[^?]+/paths-info/|/_endpoint/")
_IN_MEMORY = 1 << 20


class CutOff(Exception):
    """The connection is to be closed. size: bytes of the body that were read."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size


class Server:
    """Answers requests out of a State."""

    def __init__(self, state: State) -> None:
        self.state = state

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        path = request.raw_path
        fault = self.state.faults.take(f"{request.method} {path}")
        status: int | None = None
        size, authorized = 0, False
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as body:
            try:
                cut, size = await self._receive(request, fault, body)
                call = self._call(request, fault, body, size)
                answer = await self._answer(call, fault)
                authorized = call.role is not None
                if fault.cut_answer or (cut is not None and cut.answer):
                    raise CutOff(size)
                status = answer.status
                return await _send(request, answer, flip=fault.flip)
            except CutOff as cut_off:
                size = cut_off.size
                return _break_off(request)
            except ConnectionError:  # the client went away
                return _break_off(request)
            finally:
                self.state.requests.append(Seen(request.method, path, status, size, authorized))

    async def _receive(self, request: web.BaseRequest, fault: Fault, body: IO[bytes]) -> tuple[Cut | None, int]:
        """Read the body, as far as the connection lasts; the cut that this request suffers, and its size."""
        if self.state.faults.down():
            raise CutOff(0)
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        uploads = request.method not in ("GET", "HEAD") and _READING.match(request.raw_path) is None
        cut = self.state.faults.begin() if uploads else None
        end = fault.cut_after_bytes
        if cut is not None and not cut.answer:
            end = (request.content_length or 0) // 2
        size = 0
        while (end is None or size < end) and (chunk := await request.content.read(CHUNK)):
            size += len(chunk)
            if uploads and self.state.faults.received(len(chunk)):
                raise CutOff(size)
            body.write(chunk)
        if end is not None:
            raise CutOff(size)
        return cut, size

    def _call(self, request: web.BaseRequest, fault: Fault, body: IO[bytes], size: int) -> Call:
        query, path = dict(request.query), request.raw_path.partition("?")[0]
        return Call(self.state, request.method, path, query, request.headers, body, size, None, fault.stale)

    async def _answer(self, call: Call, fault: Fault) -> Answer:
        if fault.status is not None:
            return _faulty(fault)
        try:
            call.role = self.state.role(call.headers.get("Authorization"))
            method = "GET" if call.method == "HEAD" else call.method
            for wanted, pattern, handler in _ROUTES:
                match = pattern.fullmatch(call.path) if wanted == method else None
                if match is not None:
                    with self.state.lock:
                        answer = handler(call, *match.groups())
                    return answer if isinstance(answer, Answer) else await answer
        except Refused as refused:
            return refused.answer()
        except (KeyError, TypeError, ValueError) as problem:
            return Refused(400, f"Bad Request: {type(problem).__name__}: {problem}").answer()
        return Refused(404, f"this fake Hub knows no {call.method} {call.path}").answer()


def _faulty(fault: Fault) -> Answer:
    assert fault.status is not None
    headers = {} if fault.retry_after_s is None else {"Retry-After": f"{fault.retry_after_s:g}"}
    return Refused(fault.status, "a fault was asked for", fault.code, headers).answer()


async def _send(request: web.BaseRequest, answer: Answer, *, flip: bool) -> web.StreamResponse:
    if answer.file is None:
        raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        kind = {"Content-Type": "text/plain" if isinstance(answer.body, bytes) else "application/json"}
        return web.Response(status=answer.status, body=raw, headers=kind | answer.headers)
    first, size = answer.span or (0, answer.file.stat().st_size)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = size
    await response.prepare(request)
    with answer.file.open("rb") as file:
        file.seek(first)
        while request.method != "HEAD" and size > 0 and (chunk := file.read(min(CHUNK, size))):
            size -= len(chunk)
            await response.write(bytes([chunk[0] ^ 1]) + chunk[1:] if flip else chunk)
            flip = False
    await response.write_eof()
    return response


def _break_off(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.StreamResponse()


async def listen(state: State, port: int) -> tuple[web.ServerRunner, int]:
    """Serve on a port of 127.0.0.1 (0: a free one), and say which."""
    server = web.Server(Server(state).handle, access_log=None, keepalive_timeout=600)
    runner = web.ServerRunner(server, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    port = runner.addresses[0][1]
    state.base = f"http://127.0.0.1:{port}"
    return runner, port


def stop_endpoints(state: State) -> None:
    """End the processes of all Inference Endpoints."""
    for endpoint in state.endpoints.values():
        endpoint.stop("paused")
