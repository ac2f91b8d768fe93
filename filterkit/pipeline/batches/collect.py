"""What an ended job brought, on its way into the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from filterkit.contracts import BatchItem, JobState
from filterkit.errors import Fatal, FilterkitError, Refused, StoppedEarly
from filterkit.pipeline.asking import Answer, Asker
from filterkit.pipeline.batches.desk import AboutOneJob, Desk
from filterkit.pipeline.batches.events import Event
from filterkit.pipeline.tally import Tally
from filterkit.store import Outcome
from filterkit.store.jobs import JobRow, complete_job, end_job

GROUP = 500
"""Answers that become durable together."""


@dataclass
class _Brought:
    """One reading of what a job brought.

    own, strangers: items with a key of this job, and with another one. errors: by attempt. stays_out: why answers were
    left uncollected.
    """

    own: int = 0
    strangers: int = 0
    errors: dict[int, Answer] = field(default_factory=dict)
    stays_out: FilterkitError | None = None


class Collector:
    """Collects jobs, as often as need be: each answer counts once. `labelled` hears how many labels were committed."""

    def __init__(
        self, desk: Desk, asker: Asker, tally: Tally, max_attempts: int, labelled: Callable[[int], None]
    ) -> None:
        self.desk, self.asker, self.tally, self.labelled = desk, asker, tally, labelled
        self._max_attempts = max_attempts

    async def collect(self, job: JobRow, state: JobState) -> JobRow:
        """Store what the ended job brought, and end it: what has no answer is free again, at no charge.

        AboutOneJob where it stays out, or an answer says that none can follow (no balance).
        """
        try:
            brought = await self.desk.patience.ask(lambda: self._read(job))
        except (Fatal, Refused) as error:
            await self.desk.stand(job)  # AboutOneJob where its provider does not know the job any more
            raise AboutOneJob(self._not_to_be_had(job, error)) from error
        if brought.strangers and not brought.own:
            raise AboutOneJob(self._not_its_own(job))
        self._commit(job, brought.errors)
        if brought.stays_out is not None:
            raise AboutOneJob(brought.stays_out)
        job = end_job(self.desk.store, job.token, "done", state.message)
        self.desk.tell(Event("collected", job, state))
        ends_run = next((answer.ends_run for answer in brought.errors.values() if answer.ends_run), None)
        if ends_run is not None:
            raise AboutOneJob(ends_run)
        return job

    async def _read(self, job: JobRow) -> _Brought:
        """Read all of it once. Replies are stored as they come; errors count only where no reply comes after them."""
        assert job.handle is not None
        brought, group = _Brought(), dict[int, Answer]()
        async for item in self.desk.batch.collect(job.handle):
            number = job.attempt(item.key)
            if number is None:
                brought.strangers += 1
                continue
            brought.own += 1
            self._sort(number, item, brought, group)
            if len(group) >= GROUP:
                self._commit(job, group)
                group.clear()
                self.desk.patience.look()
        self._commit(job, group)
        return brought

    def _sort(self, number: int, item: BatchItem, brought: _Brought, group: dict[int, Answer]) -> None:
        if item.reply is None:
            if item.error is not None:
                brought.errors.setdefault(number, self.asker.excuse(item.error))
            return
        answer = self.asker.judge(item.reply)
        if answer.result == "rerouted" and answer.ends_run is not None:
            brought.stays_out = answer.ends_run  # paid for: it is collected once the user has accepted that model
        else:
            group.setdefault(number, answer)

    def _commit(self, job: JobRow, answers: dict[int, Answer]) -> None:
        """Store answers, without those of requests that were never run: their attempts are released at the end."""
        run = {number: answer for number, answer in answers.items() if not _never_run(answer)}
        outcomes = [_outcome(number, answer) for number, answer in run.items()]
        written = complete_job(self.desk.store, job, outcomes, self._max_attempts)
        labels = 0
        for outcome in written:
            if outcome is None:
                continue
            self.tally.answered(outcome.result, outcome.error)
            if outcome.model_version is not None:
                self.tally.paid(outcome)
            if outcome.label is not None:
                labels += 1
                versions, version = self.tally.report.versions, outcome.model_version or ""
                versions[version] = versions.get(version, 0) + 1
        if labels:
            self.labelled(labels)

    def _not_to_be_had(self, job: JobRow, error: FilterkitError) -> FilterkitError:
        """What was answered was paid for: it is the user who gives it up."""
        return StoppedEarly(
            f"the job {job.token} ended, and what it brought cannot be had ({error})",
            where=self.desk.where,
            fix=f"Run again when that is mended. If it is gone for good: `filterkit jobs forget {job.token}`",
        )

    def _not_its_own(self, job: JobRow) -> FilterkitError:
        return FilterkitError(
            f"what the handle {job.handle} brings are answers to other questions than those of the job {job.token}",
            where=self.desk.where,
            fix=f"Name another: `filterkit jobs attach {job.token} HANDLE`. Or: `filterkit jobs forget {job.token}`",
        )


def _never_run(answer: Answer) -> bool:
    """Whether the provider says that nothing was done and nothing is charged: neither an answer nor an attempt."""
    free = answer.cost_usd == 0.0 and answer.model_version is None
    return free and answer.result in ("transient", "limited", "fatal")


def _outcome(number: int, answer: Answer) -> Outcome:
    """An answer as the store takes it. Its question fails finally where asking again cannot help."""
    final = answer.label is None and not answer.again
    return replace(answer.outcome(number, answer.again, final, None), latency_s=None)
