"""One student's queue and thread: articles of different requests are scored together.

All but the scoring itself happens in the event loop, so nothing here is locked. A batch is everything that waits, up
to what the model likes at once; while it is scored the next one gathers.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from filterkit.api import BaseStudent, InferenceRow, answer_rows
from filterkit_serve.errors import whereabouts

LONGEST_PAUSE = 60
"""Seconds that are asked of a client at most before it comes again."""


class QueueFull(Exception):
    """There is no room for these articles. retry_s: whole seconds until there probably is."""

    def __init__(self, retry_s: int) -> None:
        super().__init__("the queue is full")
        self.retry_s = retry_s


class ScoringFailed(Exception):
    """The model failed on these articles, alone and not only beside others. Says where in the code."""


@dataclass(slots=True, eq=False)
class _Job:
    """What one request wants scored: rows, how many of them were taken, the answers so far."""

    rows: Sequence[InferenceRow]
    future: asyncio.Future[list[Any]]
    taken: int = 0
    answers: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Part:
    """Some rows of a job, in a batch."""

    job: _Job
    rows: Sequence[InferenceRow]


Observe = Callable[[int, float], None]
Answer = list[Any] | ScoringFailed


class Lane:
    """Scores with one student in one thread. observe(rows, seconds) is told of every batch."""

    def __init__(self, student: BaseStudent, *, most_waiting: int, wait_s: float, observe: Observe) -> None:
        self.student = student
        self.waiting = 0
        """Articles that wait or are being scored."""
        self._most_waiting = most_waiting
        self._wait_s = wait_s
        self._observe = observe
        self._max_batch = max(1, student.scorer.max_batch)
        self._jobs: deque[_Job] = deque()
        self._scoring = False
        self._retired = False
        self._timer: asyncio.TimerHandle | None = None
        self._seconds_each = 0.001
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"score-{student.spec.name}")

    def submit(self, rows: Sequence[InferenceRow]) -> asyncio.Future[list[Any]]:
        """The answers for these rows, in order, all of this student. QueueFull; the future may hold ScoringFailed."""
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if not rows:
            future.set_result([])
            return future
        if self.waiting + len(rows) > self._most_waiting:
            raise QueueFull(min(LONGEST_PAUSE, math.ceil(self.waiting * self._seconds_each) or 1))
        self.waiting += len(rows)
        self._jobs.append(_Job(rows, future))
        if not self._scoring:
            if self.waiting >= self._max_batch:
                self._start()
            elif self._timer is None:
                self._timer = self._loop.call_later(self._wait_s, self._start)
        return future

    def retire(self) -> None:
        """Score what was submitted, then free the student."""
        self._retired = True
        self._close_when_done()

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._scoring = True
        parts = self._take()
        started = time.perf_counter()
        scored = self._loop.run_in_executor(self._thread, _score, self.student, parts)
        scored.add_done_callback(lambda done: self._finish(parts, done.result(), time.perf_counter() - started))

    def _take(self) -> list[_Part]:
        """The next batch, in the order in which requests came."""
        parts: list[_Part] = []
        room = self._max_batch
        while room and self._jobs:
            job = self._jobs[0]
            rows = job.rows[job.taken : job.taken + room]
            job.taken += len(rows)
            room -= len(rows)
            parts.append(_Part(job, rows))
            if job.taken == len(job.rows):
                self._jobs.popleft()
        return parts

    def _finish(self, parts: Sequence[_Part], answers: Sequence[Answer], seconds: float) -> None:
        rows = sum(len(part.rows) for part in parts)
        self._seconds_each += 0.1 * (seconds / rows - self._seconds_each)
        self.waiting -= rows
        self._observe(rows, seconds)
        self._scoring = False
        for part, answer in zip(parts, answers, strict=True):
            self._deliver(part.job, answer)
        if self._jobs:  # they have waited while this batch was scored
            self._start()
        self._close_when_done()

    def _deliver(self, job: _Job, answer: Answer) -> None:
        if isinstance(answer, ScoringFailed):
            if job.taken < len(job.rows):
                self.waiting -= len(job.rows) - job.taken
                self._jobs.remove(job)
            if not job.future.done():
                job.future.set_exception(answer)
            return
        job.answers += answer
        if len(job.answers) == len(job.rows) and not job.future.done():  # done: its client went away
            job.future.set_result(job.answers)

    def _close_when_done(self) -> None:
        if self._retired and not self._scoring and not self._jobs:
            self._retired = False
            self._thread.submit(self.student.close)
            self._thread.shutdown(wait=False)


def _score(student: BaseStudent, parts: Sequence[_Part]) -> list[Answer]:
    """What is answered to each part. A part on which the model fails takes no other with it."""
    try:
        answers = iter(answer_rows(student, [row for part in parts for row in part.rows]))
        return [[next(answers) for _ in part.rows] for part in parts]
    except Exception as error:
        if len(parts) == 1:
            return [ScoringFailed(whereabouts(error))]
        return [_score(student, [part])[0] for part in parts]
