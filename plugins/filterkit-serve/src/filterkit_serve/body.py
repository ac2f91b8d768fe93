"""A request's body, never more of it than is allowed, and not for longer than a client may take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Receive, Scope

from filterkit_serve.errors import HttpError
from filterkit_serve.meters import Meters
from filterkit_serve.settings import Settings


class Disconnected(Exception):
    """The client went away before it had said everything."""


class Held:
    """Counts the bytes of all requests that are being read or scored, and refuses more than `most`."""

    def __init__(self, most: int, meters: Meters) -> None:
        self.bytes = 0
        self._most = most
        meters.held.set_function(lambda: self.bytes)

    @contextmanager
    def body(self) -> Iterator[Body]:
        """A body whose bytes are given back at the end."""
        body = Body(self)
        try:
            yield body
        finally:
            self.bytes -= body.size

    def add(self, count: int) -> None:
        """HttpError 429 when there is no room."""
        if self.bytes + count > self._most:
            raise HttpError(429, "busy", "too much is being read and scored", {"retry-after": "1"})
        self.bytes += count


class Body:
    """One body. size: bytes that it holds."""

    def __init__(self, held: Held) -> None:
        self.size = 0
        self._held = held

    async def read(self, scope: Scope, receive: Receive, settings: Settings) -> bytes:
        """All of it. HttpError: too large (413, before more than that was kept), too slow (408), compressed (415)."""
        _check_headers(scope, settings.body)
        deadline = time.monotonic() + settings.read_s
        chunks: list[bytes] = []
        while True:
            message = await receive()  # while it waits, `Connection.sweep` makes it return now and then
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunk = message.get("body", b"")
            if self.size + len(chunk) > settings.body:
                raise too_large(settings.body)
            self._held.add(len(chunk))
            self.size += len(chunk)
            chunks.append(chunk)
            if not message.get("more_body"):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
            if time.monotonic() > deadline:
                late = f"the body did not arrive within {settings.read_s:g} seconds"
                raise HttpError(408, "too_slow", late, {"connection": "close"})


def too_large(most: int) -> HttpError:
    """413"""
    return HttpError(413, "body_too_large", f"the body is larger than {most:,} bytes")


def _check_headers(scope: Scope, most: int) -> None:
    """What can be refused before any of the body was read."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > most:
            raise too_large(most)
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise HttpError(415, "compressed", "compressed bodies are not read")
