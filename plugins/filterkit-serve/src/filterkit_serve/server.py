"""The process: loads, listens, watches, and ends without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from filterkit.api import StoppedEarly
from filterkit_serve.address import accept_waiting, let_nobody_in
from filterkit_serve.app import ELSEWHERE, App
from filterkit_serve.errors import whereabouts
from filterkit_serve.log import Log
from filterkit_serve.meters import Meters
from filterkit_serve.protocol import Connection, bounded
from filterkit_serve.served import Shelf
from filterkit_serve.settings import Settings, Wanted

KEEP_ALIVE_S = 75
"""Longer than proxies keep idle connections, so that it is never we who close one that they are about to use."""
IDLE_S = 1.0
"""How long a connection without a request is kept after SIGTERM: its client may just be sending one."""
HANDSHAKE_S = 0.2
"""How long a connection takes to come about, at most, on most networks."""
TICK_S, SWEEP_S = 0.02, 0.25


class State(ServerState):
    """What uvicorn's connections share. Notes requests that the application never saw."""

    def __init__(self, meters: Meters, log: Log) -> None:
        super().__init__()
        self._meters = meters
        self._log = log
        meters.connections.set_function(lambda: len(self.connections))

    def refused(self, status: int, code: str, request_id: str) -> None:
        """Count and log it."""
        self._meters.answered(ELSEWHERE, status, 0.0)
        self._meters.errors.labels(code).inc()
        self._log.say("request", id=request_id, route=ELSEWHERE, status=status, code=code)


class Server(uvicorn.Server):
    """uvicorn's server, which loads students behind an open port and drains in an order that loses nothing."""

    def __init__(self, wanted: Sequence[Wanted], settings: Settings, listener: socket.socket, log: Log) -> None:
        self.failure: Exception | None = None
        """Why it ended, when it was not asked to, or too late."""
        self._settings = settings
        self._listener = listener
        self._log = log
        self._background: set[asyncio.Task[None]] = set()
        meters = Meters()
        self._shelf = Shelf(wanted, settings, meters, log)
        self._app = App(self._shelf, settings, meters, log)
        super().__init__(
            uvicorn.Config(
                self._app,
                http=bounded(settings.connections, settings.read_s),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
            )
        )
        self.server_state = State(meters, log)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; everything else waits for the students, which are loaded in the background."""
        # A second handle on the listening socket: while it is open, closing uvicorn's own drops no waiting connection.
        await super().startup(sockets=[self._listener.dup()])
        self._listener.setblocking(False)
        with contextlib.suppress(AttributeError, NotImplementedError):  # there is no SIGHUP on Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._look_anyway)
        self._go(self._load())
        self._go(self._sweep())

    async def _load(self) -> None:
        await self._shelf.load()
        if self._settings.watch_s is not None:
            await self._shelf.watch(self._settings.watch_s)

    def _look_anyway(self) -> None:
        self._go(self._shelf.look(anyway=True))

    async def _sweep(self) -> None:
        """A few times a second: late clients, unwritten lines of the log."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self._log.flush()
            now = asyncio.get_running_loop().time()
            for connection in self._connections():
                try:
                    connection.sweep(now)
                except Exception as error:  # one connection's trouble is not the server's
                    self._log.say("connection_failed", why=whereabouts(error))
                    connection.transport.abort()

    def _connections(self) -> list[Connection]:
        return [one for one in self.server_state.connections if isinstance(one, Connection)]

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failure = self.failure or (error if isinstance(error, Exception) else None)
            self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, finish every request that was accepted, end. StoppedEarly is its failure if that takes
        longer than `drain_s`, or if it is asked again."""
        self._app.views.draining = True
        self._log.say("draining", connections=len(self.server_state.connections))
        deadline = time.monotonic() + self._settings.drain_s
        await self._until(lambda: False, time.monotonic() + self._settings.accept_s)
        await self._close_listener()
        idle_until = min(deadline, time.monotonic() + IDLE_S)
        await self._until(lambda: not self.server_state.connections, idle_until)
        for connection in self._connections():
            connection.shutdown()
        await self._until(lambda: not (self.server_state.connections or self.server_state.tasks), deadline)
        left = len(self.server_state.tasks)
        if left:
            self.failure = self.failure or StoppedEarly(
                f"{left} request{' was' if left == 1 else 's were'} not finished in time"
            )
        for task in [*self._background, *self.server_state.tasks]:
            task.cancel()
        self._log.say("ended", unfinished=left)

    async def _until(self, done: Callable[[], object], deadline: float) -> None:
        while time.monotonic() < deadline and not self.force_exit and not done():
            await asyncio.sleep(TICK_S)

    async def _close_listener(self) -> None:
        """Whoever comes from now on is refused, and nobody who was let in is cut off."""
        let_nobody_in(self._listener)
        await asyncio.sleep(HANDSHAKE_S)
        for server in self.servers:
            server.close()
        accepted = accept_waiting(self._listener)
        self._listener.close()  # at once: between these two lines somebody could come in
        loop = asyncio.get_running_loop()
        for one in accepted:
            await loop.connect_accepted_socket(self._connection, one)

    def _connection(self) -> Connection:
        made: Connection = self.config.http_protocol_class(
            config=self.config, server_state=self.server_state, app_state={}, _loop=asyncio.get_running_loop()
        )  # type: ignore[call-arg, assignment]
        return made

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C begin the end; a second one skips the rest of it. Unlike uvicorn, we then exit with 0."""
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, _number: int, _frame: object) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
