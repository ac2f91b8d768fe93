"""How fast requests may leave: a window that halves on "too many requests" and regrows, and limits per minute."""

from __future__ import annotations

import asyncio
import random
import time

LONGEST_PAUSE_S = 60.0


class Pace:
    """Lets requests of one provider through, first come, first served.

    The window is how many may be in flight. It begins at `concurrency`, halves once for all requests of a round that
    meet "too many requests", and regrows by a sixteenth of `concurrency` a round. After such an answer nobody sends
    anything for as long as the provider asks, or else for a pause that doubles from `pause_s`, because its limit is
    shared. Limits per minute are kept evenly, with bursts of at most a second's worth. One event loop only.
    """

    def __init__(
        self,
        concurrency: int,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        pause_s: float = 0.5,
    ) -> None:
        self.window = float(concurrency)
        self.in_flight = 0
        self._most = float(concurrency)
        self._step = max(1.0, concurrency / 16)
        self._requests = _Meter(requests_per_minute)
        self._tokens = _Meter(tokens_per_minute)
        self._pause_s = pause_s
        self._paused_until = 0.0
        self._limited_rounds = 0
        self._round = 0
        self._shared_s, self._shared_at = 0.0, time.monotonic()
        self._closed = False
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    async def enter(self, tokens: float) -> int | None:
        """Wait until a request of about `tokens` tokens may leave. Its round, for `leave`; None once closed."""
        async with self._turn:
            while not self._closed:
                wait_s = self._wait_s()
                if wait_s == 0.0:
                    self._shared_s, self._shared_at = self.server_s(), time.monotonic()
                    self.in_flight += 1
                    self._requests.take(1)
                    self._tokens.take(tokens)
                    return self._round
                self._changed.clear()
                try:
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
                except TimeoutError:
                    pass
        return None

    def _wait_s(self) -> float | None:
        """Seconds until the next request may leave; None: not before another one has come back."""
        if self.in_flight >= max(1, int(self.window)):
            return None
        at = max(self._paused_until, self._requests.free_at, self._tokens.free_at)
        return max(0.0, at - time.monotonic())

    def leave(self, round_: int, *, limited: bool = False, wait_s: float | None = None, tokens: float = 0.0) -> None:
        """A request came back: with "too many requests" (and how long to wait, if that was said), or otherwise.

        `tokens`: how many more it took than `enter` was told.
        """
        if limited:
            if round_ == self._round:
                self.window = max(1.0, min(self.window, self.in_flight) / 2)
                self._round += 1
                self._limited_rounds += 1
            self._pause(wait_s)
        else:
            self._limited_rounds = 0
            self.window = min(self._most, self.window + self._step / self.window)
        self._shared_s, self._shared_at = self.server_s(), time.monotonic()
        self.in_flight -= 1
        self._tokens.take(tokens)
        self._changed.set()

    def _pause(self, wait_s: float | None) -> None:
        if wait_s is None:
            doubled = self._pause_s * 2.0 ** min(self._limited_rounds - 1, 30)
            wait_s = min(LONGEST_PAUSE_S, doubled)
        jitter = random.uniform(1.0, 1.1)  # noqa: S311 - so that several labellers do not come back at one moment
        self._paused_until = max(self._paused_until, time.monotonic() + wait_s * jitter)

    def server_s(self) -> float:
        """A clock that runs at 1 / in_flight: what it advances during requests sums to the time any was in flight."""
        if not self.in_flight:
            return self._shared_s
        return self._shared_s + (time.monotonic() - self._shared_at) / self.in_flight

    def close(self) -> None:
        """Let nobody through any more."""
        self._closed = True
        self._changed.set()


class _Meter:
    """A limit per minute. `free_at`: the monotonic time from which on the next one is within it."""

    def __init__(self, per_minute: float | None) -> None:
        self._each_s = 60.0 / per_minute if per_minute else 0.0
        self._used_until = 0.0

    @property
    def free_at(self) -> float:
        return self._used_until - 1.0 if self._each_s else 0.0

    def take(self, amount: float) -> None:
        if self._each_s:
            self._used_until = max(self._used_until, time.monotonic()) + amount * self._each_s
