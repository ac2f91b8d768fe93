"""Several servers as one: the least busy healthy one is asked, a broken one is set aside and probed again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filterkit.api import BackendError, RateLimited, Transient
from filterkit_openai.dialect import Dialect
from filterkit_openai.options import ServerOptions

if TYPE_CHECKING:
    from openai import AsyncOpenAI

FAILURES = 3  # in a row, before a server that can be reached is set aside: one stray 503 in thirty is no outage
FIRST_COOL_OFF_S = 1.0
LONGEST_COOL_OFF_S = 60.0
REST_S = 1.0  # after "too many requests" without a word on how long


@dataclass(eq=False)
class Server:
    """One server and how it fares. Times are of `time.monotonic`.

    dialect: what it has been found to take. key: its API key, "" for none. turn: when it was asked last, in the order
    of all requests. failures: in a row. back_at: when a server that was set aside is probed; None: it is healthy.
    rests_until: it said "too many requests". trouble: why it was set aside.
    """

    options: ServerOptions
    client: AsyncOpenAI
    dialect: Dialect
    key: str = ""
    in_flight: int = 0
    turn: int = 0
    failures: int = 0
    back_at: float | None = None
    cool_off_s: float = 0.0
    rests_until: float = 0.0
    probing: bool = False
    trouble: str = ""

    @property
    def name(self) -> str:
        """Host and port."""
        return self.options.name

    def has_room(self, now: float) -> bool:
        """Whether it may be asked now: one that was set aside gets a single probe when its cool-off is over."""
        if self.rests_until > now:
            return False
        return self.back_at is None or (self.back_at <= now and not self.probing)

    def answered(self) -> None:
        """It answered, be it with a no: it is healthy."""
        self.failures, self.back_at, self.cool_off_s, self.trouble = 0, None, 0.0, ""

    def failed(self, trouble: str, started: float, *, unreachable: bool = False) -> None:
        """A request that left at `started` came to nothing. What left before it was set aside tells nothing new."""
        if self.back_at is not None and started < self.back_at:
            return
        self.failures += 1
        self.trouble = trouble
        if unreachable or self.failures >= FAILURES or self.back_at is not None:
            self.cool_off_s = min(LONGEST_COOL_OFF_S, self.cool_off_s * 2 or FIRST_COOL_OFF_S)
            self.back_at = time.monotonic() + self.cool_off_s


class Servers:
    """The servers of one oracle. With a single one nothing is set aside: pausing is the core's business then."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.all = list(servers)
        self._turns = itertools.count(1)

    @contextmanager
    def one(self) -> Iterator[Server]:
        """The healthy server with the least in flight. Raises Transient or RateLimited when none may be asked now."""
        server = self._pick()
        probe = server.back_at is not None and len(self.all) > 1
        server.in_flight += 1
        server.turn = next(self._turns)
        server.probing = server.probing or probe
        try:
            yield server
        finally:
            server.in_flight -= 1
            if probe:
                server.probing = False

    def _pick(self) -> Server:
        if len(self.all) == 1:
            return self.all[0]
        now = time.monotonic()
        free = [server for server in self.all if server.has_room(now)]
        if not free:
            raise self._none_free(now)
        return min(free, key=lambda server: (server.in_flight, server.turn))

    def _none_free(self, now: float) -> BackendError:
        resting = [server.rests_until - now for server in self.all if server.rests_until > now]
        if resting:
            return RateLimited("every server that works has too many requests", retry_after_s=min(resting))
        down = ", ".join(f"{s.name} ({s.trouble})" if s.trouble else s.name for s in self.all)
        return Transient(f"no server answers: {down}", unbilled=True)

    def limited(self, server: Server, error: RateLimited) -> BackendError:
        """What "too many requests" of one server means for the question: pause only when no other one has room."""
        if len(self.all) == 1 or error.scope == "day":
            return error
        now = time.monotonic()
        server.rests_until = now + (error.retry_after_s or REST_S)
        if any(other.has_room(now) for other in self.all):
            return Transient(f"{error.what}; others are asked meanwhile", unbilled=True)
        waits = [other.rests_until - now for other in self.all if other.rests_until > now]
        return RateLimited(error.what, retry_after_s=min(waits))
