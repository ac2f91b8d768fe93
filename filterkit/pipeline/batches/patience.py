"""Asking a provider about jobs until it answers, or until it has failed for too long."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from filterkit.errors import FilterkitError, PluginError, RateLimited, StoppedEarly, Transient
from filterkit.pipeline.pace import LONGEST_PAUSE_S

T = TypeVar("T")
LOOK_S = 0.2  # how often a pause looks whether somebody wants to stop


class Interrupted(Exception):
    """Somebody wants to stop. Nothing is lost: everything that was begun is in the store."""


class GaveUp(StoppedEarly):
    """The provider did not do it: nothing but errors, or its quota of the day is used up."""


class Patience:
    """Asks again after errors that may pass, with pauses that double, for `patience_s` seconds of nothing else.

    `where` names the provider in errors. `waiting` is told why a pause is made.
    """

    def __init__(
        self,
        where: str,
        *,
        backoff_s: float,
        patience_s: float,
        stop: Callable[[], bool],
        waiting: Callable[[str], None],
    ) -> None:
        self.where, self._backoff_s, self._patience_s = where, backoff_s, patience_s
        self._stop, self._waiting = stop, waiting

    async def ask(self, question: Callable[[], Awaitable[T]], again: Callable[[Exception], bool] | None = None) -> T:
        """The provider's answer. `again`: which errors that may pass are asked again; all of them by default.

        Raises Interrupted, GaveUp (a quota of the day, errors for too long) and what cannot pass: FilterkitErrors
        as they are, anything else as a PluginError, for it is the oracle's own mistake.
        """
        began, pause_s = time.monotonic(), self._backoff_s
        while True:
            try:
                return await question()
            except (FilterkitError, OSError) as error:
                if isinstance(error, RateLimited) and error.scope == "day":
                    raise self._quota(error) from error
                if not _may_pass(error) or (again is not None and not again(error)):
                    raise
                wait_s = max(_asked_to_wait(error), pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                if time.monotonic() - began + wait_s > self._patience_s:
                    raise self._too_long(error) from error
                self._waiting(str(error) or type(error).__name__)
            except Interrupted:
                raise
            except Exception as error:
                what = f"failed: {type(error).__name__}: {error}"
                raise PluginError(what, where=self.where, fix="What was labelled is kept") from error
            await self.pause(wait_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def pause(self, seconds: float) -> None:
        """Wait. Interrupted as soon as somebody wants to stop."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.look()
            await asyncio.sleep(min(LOOK_S, left))
        self.look()

    def look(self) -> None:
        """Interrupted when somebody wants to stop."""
        if self._stop():
            raise Interrupted

    def _quota(self, error: RateLimited) -> GaveUp:
        fix = "Run the same command again when the quota has been renewed; what was labelled is kept"
        return GaveUp(f"the quota of the day is used up ({error})", where=self.where, fix=fix)

    def _too_long(self, error: Exception) -> GaveUp:
        fix = "Run the same command again later; jobs that are out go on, and what was labelled is kept"
        return GaveUp(f"the provider answers nothing but errors ({error})", where=self.where, fix=fix)


def _may_pass(error: Exception) -> bool:
    """Transient, a limit of the minute, a timeout, a broken connection. Not what the store says of itself."""
    return isinstance(error, Transient | RateLimited | OSError)


def _asked_to_wait(error: Exception) -> float:
    return getattr(error, "retry_after_s", None) or 0.0


def surely_not_sent(error: Exception) -> bool:
    """Whether the provider itself said no, or no connection was made: a submit that ends so made no job."""
    return isinstance(error, RateLimited) or (isinstance(error, Transient) and error.unbilled)
