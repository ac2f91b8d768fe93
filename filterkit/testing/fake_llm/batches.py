"""Batch jobs and uploaded files, whatever the protocol: kept in memory, answered as time goes by.

A protocol stores what was uploaded (`Batches.add_file`), turns it into requests, submits them (`Batches.submit`), looks
at how a job stands (`Batches.look`) and writes what came of it (`Job.results`, `result_lines`) in its own form.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from filterkit.testing.fake_llm.faults import Plan, Settings

PRICE_SHARE = 0.5
"""What a request in a batch costs, as a share of what it costs live."""

JobStatus = Literal["waiting", "running", "cancelling", "succeeded", "failed", "expired", "cancelled"]
ENDED = ("succeeded", "failed", "expired", "cancelled")
WAITING_SHARE = 0.2
"""The part of its lag that a job waits before its first request is answered, and that a cancelled one takes to end."""
MOST_STORED_BYTES = 2_000_000_000
BREATH = 50
"""As many requests are answered before others get their turn on the event loop."""


class TooLarge(ValueError):
    """A file that is not taken: the text says why."""


@dataclass(frozen=True)
class StoredFile:
    """What was uploaded, or what a job brought. created: Unix time. more: what its protocol wants to remember."""

    id: str
    data: bytes
    protocol: str
    name: str = ""
    created: float = 0.0
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of one request. status, body: what a live request would have been answered; 0 and {} for one that
    was never run, which is not charged."""

    key: str
    kind: Literal["answered", "errored", "expired", "cancelled"]
    status: int = 0
    body: Any = field(default_factory=dict)


@dataclass
class Job:
    """One batch job. name: what it was submitted under. requests: key and body each, in order. times: Unix.

    outcomes: what is there by now, in the order of the requests; `Batches.look` brings all up to date. faults: those of
    BATCH_FAULTS that it meets. more: what its protocol wants to remember, such as the ids of its files.
    """

    id: str
    protocol: str
    model: str
    name: str
    requests: Sequence[tuple[str, dict[str, Any]]]
    created: float
    lag_s: float
    faults: frozenset[str] = frozenset()
    more: dict[str, Any] = field(default_factory=dict)
    status: JobStatus = "waiting"
    message: str = ""
    outcomes: list[Outcome] = field(default_factory=list)
    run: int = 0
    """Requests that had their turn, answered or not."""
    cancelled: float | None = None
    ended: float | None = None
    updating: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def counts(self) -> Counter[str]:
        """Outcomes by kind."""
        return Counter(outcome.kind for outcome in self.outcomes)

    def results(self) -> list[Outcome]:
        """What the provider hands out, in its order: some come twice or late, if a fault says so."""
        out = list(self.outcomes)
        if "repeated" in self.faults:
            out += out[::5]
        if "shuffled" in self.faults:
            random.Random(self.id).shuffle(out)
        return out

    def to_dict(self) -> dict[str, Any]:
        """As plain data, without its requests."""
        names = ("id", "protocol", "model", "name", "created", "cancelled", "ended", "status", "message")
        return {
            **{name: getattr(self, name) for name in names},
            "requests": len(self.requests),
            "faults": sorted(self.faults),
            "counts": dict(self.counts),
        }


class Batches:
    """All files and jobs.

    answer: what a request is answered, as (protocol, model, body, job's id) -> (status, body); it also charges.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        plan: Callable[[], Plan],
        answer: Callable[[Any, str, dict[str, Any], str], tuple[int, Any]],
    ) -> None:
        self._settings, self._plan, self._answer = settings, plan, answer
        self.files: dict[str, StoredFile] = {}
        self.uploads: dict[str, dict[str, Any]] = {}
        """Uploads that have begun, for protocols that take them in parts."""
        self.jobs: dict[str, Job] = {}

    def faults(self, stage: str) -> frozenset[str]:
        """What goes wrong at this step (upload, submit, poll, results); asked once a step."""
        return self._plan().batch_faults(stage)

    def check_size(self, size: int) -> None:
        """TooLarge where a file of so many bytes would not be taken."""
        most = self._settings().batch_file_bytes
        if size > most:
            raise TooLarge(f"the file has {size} bytes, at most {most} are allowed")
        if size + sum(len(stored.data) for stored in self.files.values()) > MOST_STORED_BYTES:
            raise TooLarge("the storage of this project is full: delete files first")

    def add_file(self, protocol: str, data: bytes, *, id: str = "", name: str = "", **more: Any) -> StoredFile:
        """Keep a file. TooLarge where it is not taken."""
        self.check_size(len(data))
        stored = StoredFile(id or uuid4().hex[:16], data, protocol, name, time.time(), more)
        self.files[stored.id] = stored
        return stored

    def submit(
        self,
        protocol: str,
        requests: Sequence[tuple[str, dict[str, Any]]],
        *,
        id: str = "",
        model: str = "",
        name: str = "",
        message: str = "",
        **more: Any,
    ) -> Job:
        """Accept a job. message: it fails as a whole, for this reason."""
        job = Job(
            id=id or uuid4().hex[:16],
            protocol=protocol,
            model=model,
            name=name,
            requests=requests,
            created=time.time(),
            lag_s=self._settings().batch_lag_s,
            faults=self._plan().batch_faults("job") | ({"fails"} if message else set()),
            message=message,
            more=more,
        )
        self.jobs[job.id] = job
        return job

    async def newest_first(self, protocol: str) -> list[Job]:
        """The jobs of a protocol that its list shows by now."""
        seen = time.time() - self._settings().batch_listed_after_s
        jobs = [job for job in self.jobs.values() if job.protocol == protocol and job.created <= seen]
        for job in jobs:
            await self.look(protocol, job.id)
        return sorted(jobs, key=lambda job: job.created, reverse=True)

    async def look(self, protocol: str, id: str) -> Job | None:
        """A job as it stands now; None when there is none."""
        job = self.jobs.get(id)
        if job is None or job.protocol != protocol:
            return None
        async with job.updating:
            await self._update(job, time.time())
        return job

    async def cancel(self, job: Job) -> None:
        """Stop it. What is answered by now is kept, the rest is never run."""
        await self.look(job.protocol, job.id)
        if job.status not in ENDED and job.cancelled is None:
            job.cancelled, job.status = time.time(), "cancelling"

    async def _update(self, job: Job, now: float) -> None:
        if job.status in ENDED:
            return
        count, limit = len(job.requests), len(job.requests)
        if "fails" in job.faults:
            limit = 0
        elif job.faults & {"expires", "stopped"}:
            limit = count // 2
        stopped = min(now, job.cancelled or now)
        waits = job.lag_s * WAITING_SHARE
        share = 1.0 if stopped - job.created >= job.lag_s else (stopped - job.created - waits) / (job.lag_s - waits)
        await self._run(job, min(limit, max(0, int(share * count))))
        if job.cancelled is not None:
            if now - job.cancelled >= waits:
                self._end(job, "cancelled", job.cancelled + waits, "cancelled by the user")
        elif share >= 1.0:
            self._end(job, *_ending(job))
        elif share >= 0:
            job.status = "running"

    async def _run(self, job: Job, target: int) -> None:
        while job.run < target:
            number, (key, body) = job.run, job.requests[job.run]
            job.run += 1
            if "unanswered" in job.faults and number % 7 == 3:
                continue
            status, answer = self._answer(job.protocol, job.model, body, job.id)
            job.outcomes.append(Outcome(key, "answered" if status == 200 else "errored", status, answer))
            if job.run % BREATH == 0:
                await asyncio.sleep(0)

    def _end(self, job: Job, status: JobStatus, when: float, message: str) -> None:
        if status in ("expired", "cancelled"):
            kind: Literal["expired", "cancelled"] = "expired" if status == "expired" else "cancelled"
            job.outcomes += [Outcome(key, kind) for key, _ in job.requests[job.run :]]
        job.status, job.ended, job.message = status, when, job.message or message


def _ending(job: Job) -> tuple[JobStatus, float, str]:
    when = job.created + job.lag_s
    if "fails" in job.faults:
        return "failed", when, "the batch failed"
    if "expires" in job.faults:
        return "expired", when, "the batch was not done in time"
    if "stopped" in job.faults:
        return "cancelled", when, "cancelled by another user"
    return "succeeded", when, ""


def result_lines(job: Job, outcomes: Sequence[Outcome], write: Callable[[Outcome], dict[str, Any]]) -> Iterator[bytes]:
    """A JSON line for each outcome, as `write` puts it; one of them is none where the job has the fault "garbled"."""
    for number, outcome in enumerate(outcomes):
        line = json.dumps(write(outcome), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        yield line[: len(line) // 2] + b"\n" if "garbled" in job.faults and number == len(outcomes) // 2 else line
