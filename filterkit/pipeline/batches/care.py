"""What a user may do about one job: cancel it, name its handle, forget it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from filterkit.contracts import Oracle
from filterkit.errors import Fatal, FilterkitError, Refused, StoppedEarly
from filterkit.pipeline.batches.desk import AboutOneJob, Desk
from filterkit.pipeline.batches.events import Event
from filterkit.pipeline.batches.patience import Interrupted
from filterkit.pipeline.label import in_own_loop
from filterkit.pipeline.settings import LabelSettings
from filterkit.store import Store
from filterkit.store.jobs import JobRow, end_job, find_job, only_one, reopen_job

T = TypeVar("T")


class Care:
    """Looks after jobs of one oracle, made as it was when they were submitted."""

    def __init__(
        self,
        store: Store,
        oracle: Oracle[Any],
        name: str,
        settings: LabelSettings,
        *,
        tell: Callable[[Event], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store, self._oracle, self._name, self._settings = store, oracle, name, settings
        self._tell, self._stop = tell, stop

    def cancel(self, job: JobRow) -> JobRow:
        """Ask the provider to stop the job; what is done by then can still be collected.

        A job that may not have been submitted is looked for first; then StoppedEarly while another process is at it.
        """
        if job.state == "submitted":
            return self._cancel(job)
        with only_one(self._store, job.question):
            return self._cancel(job)

    def _cancel(self, job: JobRow) -> JobRow:
        async def work(desk: Desk) -> JobRow:
            settled = await desk.settle(job) if job.state == "prepared" else job
            if settled.state == "submitted":
                await desk.cancel(settled)
            return find_job(self._store, job.token) or settled

        return self._run(work)

    def attach(self, job: JobRow, handle: str) -> JobRow:
        """Say under which handle the provider has the job, also one that was lost or forgotten.

        FilterkitError when the provider knows no such job, StoreError when nothing is left to collect.
        """

        async def work(desk: Desk) -> JobRow:
            try:
                await desk.poll(handle)
            except (Fatal, Refused) as error:
                fix = "Copy the handle from the provider's own list of jobs"
                raise FilterkitError(f"does not know {handle} ({error})", where=desk.where, fix=fix) from error
            return reopen_job(self._store, job.token, handle)

        with only_one(self._store, job.question):
            return self._run(work)

    def _run(self, work: Callable[[Desk], Awaitable[T]]) -> T:
        async def at_a_desk(stop: Callable[[], bool]) -> T:
            desk = Desk(self._oracle, self._name, self._store, self._settings, tell=self._tell, stop=stop)
            async with desk.working():
                try:
                    return await work(desk)
                except AboutOneJob as trouble:
                    raise trouble.error from trouble
                except Interrupted:
                    raise StoppedEarly("stopped before the provider had answered", where=desk.where) from None

        return in_own_loop(at_a_desk, self._stop)


def forget(store: Store, job: JobRow) -> JobRow:
    """Give a job up. Its requests count at what was reserved for them, and may be asked again."""
    with only_one(store, job.question):
        return end_job(store, job.token, "forgotten")
