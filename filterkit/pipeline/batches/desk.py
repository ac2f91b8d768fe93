"""One oracle's batch jobs: handed over once, found again after a kill, looked at, cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from filterkit.contracts import Batch, JobState, Oracle
from filterkit.errors import CannotTell, Fatal, FilterkitError, RateLimited, Refused, StoppedEarly, Transient
from filterkit.pipeline.batches.events import Event
from filterkit.pipeline.batches.patience import GaveUp, Interrupted, Patience, surely_not_sent
from filterkit.pipeline.settings import LabelSettings
from filterkit.records import OracleRequest
from filterkit.store import Store
from filterkit.store.jobs import JobRow, cancel_asked, end_job, submitted_job

T = TypeVar("T")
SLACK_S = 3600.0
"""Clocks differ: a provider is asked for jobs from so long before the job was written down."""
ANSWER_S = 120.0
"""How long a provider may take at least to say how a job stands; a longer `timeout_s` of the oracle counts instead."""


class AboutOneJob(Exception):
    """What is wrong with one job, while the others go on. later_s: seconds after which it may be right by itself."""

    def __init__(self, error: FilterkitError, later_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.later_s = error, later_s


class ProviderIsFull(Exception):
    """The provider takes no further job now: those that are out must end first."""


class Desk:
    """The jobs of `oracle`, which is opened when it is needed first. `tell` hears what happens."""

    def __init__(
        self,
        oracle: Oracle[Any],
        name: str,
        store: Store,
        settings: LabelSettings,
        *,
        tell: Callable[[Event], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        assert isinstance(oracle, Batch)
        self.oracle, self.batch = oracle, oracle
        self.where, self.store, self.tell = f"oracle {name}", store, tell
        self.patience = Patience(
            self.where,
            backoff_s=settings.backoff_s,
            patience_s=settings.patience_s,
            stop=stop,
            waiting=lambda why: tell(Event("waiting", why=why)),
        )
        self._settle_s = settings.settle_s
        self._answer_s = max(ANSWER_S, float(getattr(oracle.options, "timeout_s", ANSWER_S)))
        self._opened = False

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """For the block; what `open` began `aclose` ends, also where it failed half way."""
        try:
            yield
        finally:
            if self._opened:
                await self.oracle.aclose()

    async def submit(self, job: JobRow, requests: Sequence[OracleRequest], *, others_out: bool) -> JobRow | None:
        """Hand a job over once. None when it did not arrive: its questions are free again, whatever is raised.

        ProviderIsFull when it takes no more now, and `others_out` may end and make room.
        """

        def again(error: Exception) -> bool:
            return surely_not_sent(error) and not (isinstance(error, RateLimited) and others_out)

        try:
            handle = await self._ask(lambda: self.batch.submit(requests, job.token), again)
        except (GaveUp, Interrupted, Fatal, Refused, RateLimited) as error:
            self.tell(Event("unsent", end_job(self.store, job.token, "unsent", str(error)), why=str(error)))
            if isinstance(error, RateLimited):
                raise ProviderIsFull(str(error)) from error
            if isinstance(error, Fatal | Refused):
                raise self._ends_run(error) from error
            raise
        except (Transient, OSError):  # its reply may have been lost
            settled = await self.settle(job)
            return None if settled.state == "unsent" else settled
        job = submitted_job(self.store, job.token, handle)
        self.tell(Event("submitted", job))
        return job

    async def settle(self, job: JobRow) -> JobRow:
        """Whether a job that was written down was submitted. It is "submitted" or "unsent" afterwards.

        A job that the provider does not know is asked for once more after a while: a request that was cut off may
        still arrive. AboutOneJob where the provider cannot say.
        """
        handle = await self._find(job)
        if handle is None:
            self.tell(Event("waiting", job, why=f"whether the provider has the job {job.token}"))
            await self.patience.pause(self._settle_s)
            handle = await self._find(job)
        if handle is None:
            job = end_job(self.store, job.token, "unsent")
            self.tell(Event("unsent", job))
        else:
            job = submitted_job(self.store, job.token, handle)
            self.tell(Event("found", job))
        return job

    async def stand(self, job: JobRow) -> JobState:
        """How a submitted job stands. AboutOneJob when its provider does not know it any more: it is given up as lost.

        A key that is refused looks the same to who asks about one job, so `find` is asked before a job is given up.
        """
        assert job.handle is not None
        try:
            return await self.poll(job.handle)
        except (Fatal, Refused) as error:
            if await self._find(job, error) is None:
                raise self.lose(job, error) from error
            raise AboutOneJob(self._ends_run(error)) from error

    async def poll(self, handle: str) -> JobState:
        """How the job of a handle stands, as its provider says. Fatal, or Refused, when it does not know it."""
        return await self._ask(lambda: self.batch.poll(handle), timed=True)

    def lose(self, job: JobRow, error: FilterkitError) -> AboutOneJob:
        """Give a job up that the provider does not know any more, or has no results of."""
        lost = end_job(self.store, job.token, "lost", str(error))
        self.tell(Event("lost", lost, why=str(error)))
        what = (
            f"the job {job.token} is lost ({error}): {lost.lost:,} of its {lost.requests:,} requests count at what was "
            "reserved for them"
        )
        fix = (
            "The same command asks them anew. If another key knows the job: "
            f"`filterkit jobs attach {job.token} {job.handle}`"
        )
        return AboutOneJob(StoppedEarly(what, where=self.where, fix=fix))

    async def cancel(self, job: JobRow) -> None:
        """Ask the provider to stop a job. It is noted first: who waits for the job must not submit its rest."""
        assert job.handle is not None
        handle = job.handle
        cancel_asked(self.store, job.token)
        await self._ask(lambda: self.batch.cancel(handle), timed=True)

    async def _find(self, job: JobRow, why: FilterkitError | None = None) -> str | None:
        """The handle under which the provider has the job."""
        try:
            return await self._ask(lambda: self.batch.find(job.token, job.created - SLACK_S), timed=True)
        except CannotTell as error:
            about = "whether it was submitted" if why is None else "what became of it"
            what = f"job {job.token}: {about} cannot be found out ({error if why is None else why})"
            fix = (
                "Look at the provider's own list of jobs. If it is there: "
                f"`filterkit jobs attach {job.token} HANDLE`, if certainly not: `filterkit jobs forget {job.token}`"
            )
            raise AboutOneJob(StoppedEarly(what, where=self.where, fix=fix), error.retry_after_s) from error
        except Fatal as error:
            raise self._ends_run(error) from error

    async def open(self) -> None:
        """Have the oracle ready, before anything is written down that it is to be handed."""
        if not self._opened:
            self._opened = True
            await self.patience.ask(self.oracle.open)

    async def _ask(
        self,
        question: Callable[[], Awaitable[T]],
        again: Callable[[Exception], bool] | None = None,
        *,
        timed: bool = False,
    ) -> T:
        async def within_time() -> T:
            async with asyncio.timeout(self._answer_s if timed else None):
                return await question()

        await self.open()
        return await self.patience.ask(within_time, again)

    def _ends_run(self, error: FilterkitError) -> FilterkitError:
        """A provider's no, as what ends the run."""
        fix = error.fix or "Mend that and run the same command again; jobs that are out go on"
        return FilterkitError(error.what, where=error.where or self.where, fix=fix)
