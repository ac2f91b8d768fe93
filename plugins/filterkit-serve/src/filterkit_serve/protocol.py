"""A connection: uvicorn's HTTP protocol, with bounds that it does not have.

Headers have to arrive in time and in a bounded number of bytes, answers have to be taken in time, connections are
counted, and what cannot be parsed is answered in JSON. Times are looked at by `sweep`, a few times a second for
all connections: a timer for each request would cost more.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from filterkit_serve.errors import error_body

_BODY = (b"content-length", b"transfer-encoding")
MAX_HEADERS = 65_536
"""Bytes of a request's line and headers."""
MAX_PIPELINED = 32
"""Requests that a client may send on a connection before it has read the answers to those before."""
LINGER_S = 1.0
"""Seconds in which a client can read why its connection ends. Closing at once would take the answer away from it."""
MAX_LINGERING = 100
"""Connections beyond the allowed ones that are told so; more are cut off."""


class Connection(HttpToolsProtocol):
    """Made by uvicorn with the class attributes that `bounded` sets."""

    most = 1000
    read_s = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since: float | None = self.loop.time()
        """Since when its headers are awaited."""
        self._stuck: float | None = None
        """Since when it takes none of its answer, or should be closed."""
        self._cycles: list[RequestResponseCycle] = []
        """Requests that are not answered yet, and the latest."""
        self._begun = False
        self._header_bytes = 0
        self._last_words = False
        """Whether it was told why it ends, and nothing more is read of it."""
        if len(self.connections) > self.most + MAX_LINGERING:
            transport.abort()
        elif len(self.connections) > self.most:
            self._end(503, "too_many_connections", "too many connections; try again later", b"retry-after: 1\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell_all()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._last_words or self.transport.is_closing():
            return
        super().data_received(data)
        if self._begun:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADERS and not self._last_words:
                self._end(431, "headers_too_large", f"line and headers are larger than {MAX_HEADERS:,} bytes")

    def on_message_begin(self) -> None:
        self._begun = True
        self._since = self.loop.time()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._begun:  # what comes after the body counts for nothing
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._begun = False
        self._header_bytes = 0
        self._since = None
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests at once")  # the parser ends here: see send_400_response
        if self.parser.should_upgrade() and any(name in _BODY for name, _ in self.headers):
            # The parser leaves a body behind an upgrade unread, and would take it for the next request.
            self._end(400, "no_upgrade", "this is HTTP/1.1 only: send no Upgrade header")
            raise ValueError("no upgrade")
        super().on_headers_complete()
        self._cycles = [*(cycle for cycle in self._cycles if not cycle.response_complete), self.cycle]

    def pause_writing(self) -> None:
        self._stuck = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stuck = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        if not self._last_words:
            self._end(400, "bad_http", "this is not HTTP as it is spoken here")

    def sweep(self, now: float) -> None:
        """End the connection if its client takes too long."""
        if self._stuck is not None:
            if now - self._stuck > (LINGER_S if self._last_words else self.read_s):
                self._cut()
        elif self.transport.is_closing():
            self._stuck = now
        elif self._since is not None:
            if now - self._since > self.read_s:
                self._too_slow()
        elif not self.idle:
            if self.cycle.more_body:
                self.cycle.message_event.set()  # whoever reads the body looks at the clock
        elif self.timeout_keep_alive_task is None:
            self._since = now  # the rest of a body that was refused, or line breaks and nothing else

    def _cut(self) -> None:
        """End the connection at once."""
        self._tell_all()
        self.transport.abort()

    def _tell_all(self) -> None:
        """Nobody is there to be answered. Of several requests uvicorn would tell the latest only."""
        for cycle in self._cycles:
            cycle.disconnected = True

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered here."""
        return self.cycle is None or self.cycle.response_complete

    def _too_slow(self) -> None:
        if self._begun:
            self._end(408, "too_slow", f"the headers did not arrive within {self.read_s:g} seconds")
        else:
            self._cut()

    def _end(self, status: int, code: str, message: str, more: bytes = b"") -> None:
        """Answer a request that never got as far as the application, and close. Where an earlier one is still being
        answered there is no place for that."""
        if not self.idle:
            self._cut()
            return
        request_id = os.urandom(12).hex()
        content = error_body(code, message, request_id)
        head = (
            b"%bcontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\nconnection: close\r\n%b\r\n"
        )
        self.transport.write(head % (STATUS_LINE[status], len(content), request_id.encode(), more) + content)
        self.transport.write_eof()
        self._last_words = True
        self._stuck = self.loop.time()
        self.server_state.refused(status, code, request_id)  # type: ignore[attr-defined]


def bounded(most: int, read_s: float) -> type[Connection]:
    """The protocol with these bounds: connections at once, seconds for headers and for taking an answer."""
    attributes: dict[str, Any] = {"most": most, "read_s": read_s}
    return type("BoundedConnection", (Connection,), attributes)
