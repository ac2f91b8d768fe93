"""Answers on their way out: whole, or broken off."""

from __future__ import annotations

import json

from aiohttp import web

from filterkit.testing.fake_llm.wire import Wire


def respond(wire: Wire) -> web.Response:
    """A whole answer."""
    if isinstance(wire.body, str):
        return web.Response(status=wire.status, text=wire.body, content_type="text/html", headers=wire.headers)
    body = json.dumps(wire.body, ensure_ascii=False).encode("utf-8", "replace")
    headers = {"content-type": "application/json; charset=utf-8", **wire.headers}
    return web.Response(status=wire.status, body=body, headers=headers)


async def cut(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """Close the connection when half of the answer is out."""
    response = web.StreamResponse(headers={"content-type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def hang_up(request: web.BaseRequest) -> web.StreamResponse:
    """Close the connection without a word."""
    if request.transport is not None:
        request.transport.abort()
    return web.StreamResponse()
