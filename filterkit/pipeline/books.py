"""The store's side of a labelling run: what is claimed, and what came back.

A request leaves only after its attempt is committed; a label counts only after it is. All calls to the store are made
by one thread, in groups, so that the event loop and its requests never wait for a disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from filterkit.errors import FilterkitError
from filterkit.pipeline.pricing import Pricing
from filterkit.pipeline.settings import LabelSettings
from filterkit.pipeline.tally import Asked
from filterkit.store import Outcome, Owner, Question, State, Store

T = TypeVar("T")


class Ended(NamedTuple):
    """A finished attempt on its way to the store; `stored` then holds the next attempt's number, if there is one."""

    asked: Asked
    outcome: Outcome
    stored: asyncio.Future[int | None]

    def resume(self, attempt: int | None) -> None:
        """Let its worker go on, if it still waits."""
        if not self.stored.done():
            self.stored.set_result(attempt)


class Books:
    """Keeps one run's books in the store, as one owner. `committed` is called with every group that is durable."""

    owner: Owner
    thread: ThreadPoolExecutor

    def __init__(
        self,
        question: Question,
        store: Store,
        settings: LabelSettings,
        pricing: Pricing,
        committed: Callable[[list[Ended]], None],
    ) -> None:
        self.question, self.store, self.pricing, self.committed = question, store, pricing, committed
        self._max_usd, self._lease_s = settings.max_cost_usd, settings.lease_s
        self._retry_failed_before = time.time() if settings.retry_failed else None
        self.open_attempts = 0
        self.failed = False
        self._ended: list[Ended] = []
        self._unsent: list[int] = []
        self._arrived = asyncio.Event()
        self._over = False
        self._lease_until = time.time() + self._lease_s

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Be a labeller of the store for the block."""
        with self.store.owner(self._lease_s) as self.owner, ThreadPoolExecutor(1, "filterkit-store") as self.thread:
            yield

    async def do(self, function: Callable[..., T], *args: object) -> T:
        """Call a function of the store in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, function, *args)

    async def claim(self, group: list[Asked]) -> list[State]:
        """Open attempts for what may be asked now, at their reserves and within the budget."""
        states = await self.do(self._claim, group)
        self.open_attempts += sum(state.attempt is not None for state in states)
        return states

    def _claim(self, group: list[Asked]) -> list[State]:
        return self.store.claim(
            self.question,
            [asked.key for asked in group],
            self.owner,
            reserved_usd=[self.reserve_usd(asked) for asked in group],
            max_usd=self._max_usd,
            retry_failed_before=self._retry_failed_before,
        )

    def reserve_usd(self, asked: Asked) -> float | None:
        """What an attempt counts until its cost is known."""
        return self.pricing.reserve_usd(asked.tokens)

    def take_back(self, attempt: int) -> None:
        """An attempt whose request never left."""
        self._unsent.append(attempt)
        self._arrived.set()

    async def enter(self, asked: Asked, outcome: Outcome) -> int | None:
        """Wait until an attempt's end is durable. The next attempt's number, if `outcome` wants one and may have it."""
        stored: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._ended.append(Ended(asked, outcome, stored))
        self._arrived.set()
        return None if self.failed else await stored

    async def commit_all(self) -> None:
        """Commit what comes, until `finish`. While one group is written the next one gathers.

        Raises what the store raises; `commit_rest` then tries once more, when nothing is in flight any more.
        """
        while not self._over:
            await self._arrived.wait()
            self._arrived.clear()
            if self._ended or self._unsent:
                await self._commit()

    def finish(self) -> None:
        """Nothing more will come."""
        self._over = True
        self._arrived.set()

    async def _commit(self) -> None:
        batch, unsent = self._ended.copy(), self._unsent.copy()
        try:
            attempts = await self.do(self._store, batch, unsent)
        except FilterkitError:
            self.failed = True
            for ended in self._ended:
                ended.resume(None)
            raise
        del self._ended[: len(batch)], self._unsent[: len(unsent)]
        self.open_attempts -= len(unsent) + sum(attempt is None for attempt in attempts)
        self.committed(batch)
        for ended, attempt in zip(batch, attempts, strict=True):
            ended.resume(attempt)

    def _store(self, batch: list[Ended], unsent: list[int]) -> list[int | None]:
        outcomes = [ended.outcome for ended in batch]
        return self.store.complete(outcomes, max_usd=self._max_usd, unsent=unsent, owner=self.owner)

    def commit_rest(self) -> None:
        """What is not stored yet, after an error or an interruption: replies that were paid for. Raises as before."""
        batch = [e._replace(outcome=dataclasses.replace(e.outcome, again=False)) for e in self._ended]
        self._ended.clear()
        if batch or self._unsent:
            self._store(batch, self._unsent)
            self.committed(batch)

    async def renew(self) -> None:
        """Keep the lease alive; to be called well within every `lease_s` seconds."""
        until = time.time() + self._lease_s
        await self.do(self.store.renew, self.owner)
        self._lease_until = until

    @property
    def lease_is_over(self) -> bool:
        """Whether this process stood still so long that another labeller may have taken its questions over."""
        return time.time() > self._lease_until
