"""Several servers as one: the least busy healthy one is asked, a broken one is set aside and probed again."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from filterkit.api import BackendError, Fatal, RateLimited, Refused, Transient, Unreachable
from filterkit_openai.dialect import Dialect
from filterkit_openai.options import ServerOptions

if TYPE_CHECKING:
    from openai import AsyncOpenAI

FAILURES = 3  # in a row, before a server that can be reached is set aside: one stray 503 in thirty is no outage
FIRST_COOL_OFF_S = 1.0
LONGEST_COOL_OFF_S = 60.0
REST_S = 1.0  # after "too many requests" without a word on how long
PROBE_S = 1.0  # until it is looked again whether a probe has come back
REFUSALS = 16  # in the same words, before anything was answered: it is not the articles


@dataclass(eq=False)
class Server:
    """One server and how it fares. Times are of `time.monotonic`.

    dialect: what it has been found to take. key: its API key, "" for none. turn: when it was asked last, in the order
    of all requests. has_answered: at least one question. failures: in a row. back_at: when a server that was set
    aside is probed; None: it is healthy. rests_until: it said "too many requests". trouble: why it was set aside;
    unreachable: that was it. refusals: how often it said no to its questions in which words, since it last answered
    one. refused: the articles that it said no to, by hash. warned: what was said about it already.
    """

    options: ServerOptions
    client: AsyncOpenAI
    dialect: Dialect
    key: str = ""
    in_flight: int = 0
    turn: int = 0
    has_answered: bool = False
    failures: int = 0
    back_at: float | None = None
    cool_off_s: float = 0.0
    rests_until: float = 0.0
    probing: bool = False
    trouble: str = ""
    unreachable: bool = False
    refusals: Counter[str] = field(default_factory=Counter)
    refused: set[int] = field(default_factory=set)
    warned: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Host and port."""
        return self.options.name

    def has_room(self, now: float) -> bool:
        """Whether it may be asked now: one that was set aside gets a single probe when its cool-off is over."""
        if self.rests_until > now:
            return False
        return self.back_at is None or (self.back_at <= now and not self.probing)

    def works(self, now: float) -> bool:
        """Whether it may be asked now, and not just to find out whether it is still ill."""
        return self.back_at is None and self.rests_until <= now

    def ready_in_s(self, now: float) -> float:
        """Seconds until it may be asked."""
        if self.has_room(now):
            return 0.0
        wait_s = max(self.rests_until, self.back_at or 0.0) - now
        return wait_s if wait_s > 0.0 else PROBE_S

    def answered(self) -> None:
        """It answered a question: it is healthy."""
        self.has_answered = True
        self.failures, self.back_at, self.cool_off_s = 0, None, 0.0
        self.trouble, self.unreachable = "", False
        self.refusals.clear()

    def failed(self, trouble: str, started: float, *, unreachable: bool = False, refuses_all: bool = False) -> None:
        """A request that left at `started` came to nothing. What left before it was set aside tells nothing new."""
        if self.back_at is not None and started < self.back_at:
            return
        self.failures += 1
        self.trouble, self.unreachable = trouble, unreachable
        if unreachable or refuses_all or self.failures >= FAILURES or self.back_at is not None:
            self.cool_off_s = min(LONGEST_COOL_OFF_S, self.cool_off_s * 2 or FIRST_COOL_OFF_S)
            self.back_at = time.monotonic() + self.cool_off_s

    def rest(self, wait_s: float, now: float) -> None:
        """Leave it alone for so long; what was asked for before still holds."""
        self.rests_until = max(self.rests_until, now + wait_s)


class Servers:
    """The servers of one oracle. With a single one nothing is set aside: pausing is the core's business then.

    When no server works the run is told to pause, for that costs no article one of its tries, and ends the run when it
    lasts.
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        self.all = list(servers)
        self._turns = itertools.count(1)

    @property
    def several(self) -> bool:
        return len(self.all) > 1

    @contextmanager
    def one(self, article: int) -> Iterator[Server]:
        """The healthy server with the least in flight. Raises Unreachable or RateLimited when none may be asked.

        article: its hash; it goes to a server that has not refused it, if there is one.
        """
        server = self._pick(article)
        probe = server.back_at is not None and self.several
        server.in_flight += 1
        server.turn = next(self._turns)
        server.probing = server.probing or probe
        try:
            yield server
        finally:
            server.in_flight -= 1
            if probe:
                server.probing = False

    def _pick(self, article: int) -> Server:
        if not self.several:
            return self.all[0]
        now = time.monotonic()
        free = [server for server in self.all if server.has_room(now)]
        if not free:
            raise self._pause(now)
        return min(free, key=lambda server: (article in server.refused, server.in_flight, server.turn))

    def _any_works(self, now: float) -> bool:
        return any(server.works(now) for server in self.all)

    def _pause(self, now: float) -> BackendError:
        """Wait for the first server that may be asked again."""
        why = ", ".join(f"{s.name} ({s.trouble or 'too many requests'})" for s in self.all)
        what, wait_s = f"no server works: {why}", min(server.ready_in_s(now) for server in self.all)
        if all(server.unreachable for server in self.all):
            return Unreachable(what, retry_after_s=wait_s)
        return RateLimited(what, retry_after_s=wait_s)

    def limited(self, server: Server, error: RateLimited) -> BackendError:
        """What "too many requests" of one server means for the question: pause only when no other one has room."""
        if not self.several or error.scope == "day":
            return error
        now = time.monotonic()
        server.rest(error.retry_after_s or REST_S, now)
        if self._any_works(now):
            return Transient(f"{error.what}; others are asked meanwhile", unbilled=True)
        return RateLimited(error.what, retry_after_s=min(other.ready_in_s(now) for other in self.all))

    def down(self, server: Server, error: Transient) -> BackendError:
        """What the failure of one server, which `failed` has been told, means for the question."""
        if not self.several:
            return error
        now = time.monotonic()
        if error.retry_after_s:
            server.rest(error.retry_after_s, now)
        if error.unbilled and not self._any_works(now):
            return self._pause(now)
        error.retry_after_s = None  # another one need not wait
        return error

    def refused(self, server: Server, article: int, error: Refused) -> BackendError:
        """What a server's no means for an article: it is refused when every server has said so.

        Where the others cannot be asked, a server that answers other articles is believed at the second time.
        """
        if not self.several:
            return error
        again = article in server.refused and server.has_answered
        server.refused.add(article)
        if again or all(article in other.refused for other in self.all):
            return error
        now = time.monotonic()
        if not self._any_works(now):
            return self._pause(now)
        return Transient(f"{error.what}; another server is asked", unbilled=True)

    def none_takes(self, error: Refused) -> Fatal | None:
        """The end of the run, when no server has answered anything and all say the same again and again."""
        counts = [max(server.refusals.values(), default=0) for server in self.all]
        if any(server.has_answered for server in self.all) or not all(counts) or sum(counts) < REFUSALS:
            return None
        fix = "The server takes no request in this form: check the model and the oracle's options"
        return Fatal(error.what, fix=fix)
