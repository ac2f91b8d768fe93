"""The labelling engine: a feeder claims questions, workers ask them, a committer stores what came back.

A request leaves only after its attempt is committed to the store; a label counts only after it is. All calls to
the store are made by one thread, in groups, so that the event loop and its requests never wait for a disk.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from filterkit.contracts import Oracle
from filterkit.errors import FilterkitError, StoppedEarly
from filterkit.filters import Filter
from filterkit.pipeline.asking import Answer, Asker
from filterkit.pipeline.tally import Asked, LabelReport, Tally
from filterkit.prompt import sent_text
from filterkit.records import Article, sha256_text
from filterkit.store import Key, Outcome, Owner, Question, State, Store

T = TypeVar("T")

CHUNK_ARTICLES = 500
CHUNK_CHARS = 4_000_000
POLL_S = 0.2  # how often another labeller's progress is looked at


@dataclass(frozen=True)
class LabelSettings:
    """How to label.

    concurrency: requests in flight at most. max_attempts: requests per question before it counts as failed (answers
    of "too many requests" do not count). limit: only the first so many articles. retry_failed: ask again what failed
    in earlier runs. lease_s: seconds after which a labeller that stands still loses its questions. backoff_s: first
    pause before asking again, doubled each time up to a minute. patience_s: seconds of nothing but "too many
    requests" after which the run stops. reserved_usd: what an attempt counts in the ledger until its cost is known.
    """

    concurrency: int = 64
    max_attempts: int = 4
    limit: int | None = None
    retry_failed: bool = False
    lease_s: float = 60.0
    backoff_s: float = 0.5
    patience_s: float = 600.0
    reserved_usd: float | None = None
    sample: int = 0


class _Ended(NamedTuple):
    """A finished attempt on its way to the store; `stored` then holds the next attempt's number, if there is one."""

    asked: Asked
    outcome: Outcome
    stored: asyncio.Future[int | None]

    def resume(self, attempt: int | None) -> None:
        """Let its worker go on, if it still waits."""
        if not self.stored.done():
            self.stored.set_result(attempt)


class Run:
    """One run of one labeller: a feeder claims questions, workers ask them, a committer stores what came back."""

    owner: Owner
    thread: ThreadPoolExecutor

    def __init__(
        self,
        filter: Filter,
        question: Question,
        store: Store,
        settings: LabelSettings,
        observe: Callable[..., None],
        progress: Callable[[LabelReport], None],
        stop: Callable[[], bool],
    ) -> None:
        self.filter, self.question, self.store, self.settings = filter, question, store, settings
        self.observe, self.progress, self.stop = observe, progress, stop
        self.tally = Tally()
        self.retry_failed_before = time.time() if settings.retry_failed else None
        self.queue: asyncio.Queue[Asked | None] = asyncio.Queue(settings.concurrency)
        self.elsewhere: list[Asked] = []
        self.ended: list[_Ended] = []
        self.unsent: list[int] = []
        self.ending = asyncio.Event()  # finish what is in flight, begin nothing
        self.over = asyncio.Event()  # nothing is in flight any more
        self.arrived = asyncio.Event()  # there is something to commit
        self.problem: FilterkitError | None = None
        self.store_failed = False
        self.lease_until = time.time() + settings.lease_s
        self.limited_since: float | None = None

    async def all(self, articles: Iterable[Article], oracle: Oracle[Any], asker: Asker) -> LabelReport:
        """The whole run."""
        rows = iter(itertools.islice(articles, self.settings.limit))
        with (
            self.store.owner(self.settings.lease_s) as self.owner,
            ThreadPoolExecutor(1, "filterkit-store") as self.thread,
        ):
            await oracle.open()
            try:
                await self._work_together(rows, asker)
            except BaseExceptionGroup as group:
                raise _first(group) from group
            finally:
                self._store_rest()
                await oracle.aclose()
        if self.problem is not None:
            raise self.problem
        return self.tally.report

    async def _work_together(self, rows: Iterable[Article], asker: Asker) -> None:
        async with asyncio.TaskGroup() as helpers:
            helpers.create_task(self._commit_all())
            helpers.create_task(self._watch())
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._feed(rows))
                for _ in range(self.settings.concurrency):
                    tasks.create_task(self._work(asker))
            self.over.set()
            self.arrived.set()

    async def _in_store(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.thread, function, *args)

    def _end(self, problem: FilterkitError | None) -> None:
        self.problem = self.problem or problem
        self.ending.set()
        self.tally.changed.set()

    def _told_to_stop(self) -> bool:
        if not self.ending.is_set() and self.stop():
            self.tally.report.stopped = "interrupted"
            self._end(None)
        return self.ending.is_set()

    # The feeder

    async def _feed(self, rows: Iterable[Article]) -> None:
        try:
            while not self.ending.is_set():
                chunk = await self._in_store(self._read_chunk, rows)
                if not chunk:
                    break
                await self._claim(self._sorted_out(chunk))
                self.progress(self.tally.report)
            await self._wait_for_rest()
        except FilterkitError as error:
            self._end(error)
        for _ in range(self.settings.concurrency):
            await self.queue.put(None)

    def _read_chunk(self, rows: Iterable[Article]) -> list[tuple[str, str, Key, State]]:
        """Some articles put into the store: id, text to be sent, key, and where the question stands."""
        articles: list[tuple[Article, str]] = []
        texts: list[str] = []
        size = 0
        for article in rows:
            text = sent_text(self.filter.spec, article)
            articles.append((article, sha256_text(text)))
            texts.append(text)
            size += len(article.content)
            if len(articles) >= CHUNK_ARTICLES or size >= CHUNK_CHARS:
                break
        if not articles:
            return []
        self.store.put_articles(self.question, articles)
        keys = [Key(sent_hash, self.settings.sample) for _, sent_hash in articles]
        states = self.store.states(self.question, keys)
        return [
            (a.id, text, key, state) for (a, _), text, key, state in zip(articles, texts, keys, states, strict=True)
        ]

    def _sorted_out(self, chunk: list[tuple[str, str, Key, State]]) -> list[Asked]:
        """The questions of a chunk that are to be asked, once each; all else is counted."""
        fresh: list[Asked] = []
        for article_id, text, key, state in chunk:
            self.tally.report.read += 1
            waiting = self.tally.pending.get(key)
            if waiting is not None:
                waiting.article_ids.append(article_id)
                continue
            asked = self.tally.pending[key] = Asked(key, text, [article_id])
            old_failure = state.kind == "failed" and state.owner != self.owner.id
            if state.kind == "free" or (old_failure and self.settings.retry_failed):
                fresh.append(asked)
            else:
                self.tally.found(asked, state, self.owner.id)
        return fresh

    async def _claim(self, questions: Sequence[Asked]) -> None:
        """Claim questions as the workers come to need them, and queue them; see what became of the others."""
        size = max(1, self.settings.concurrency // 2)
        for start in range(0, len(questions), size):
            if self.ending.is_set():
                return
            group = questions[start : start + size]
            states = await self._in_store(self._claim_group, [asked.key for asked in group])
            for asked, state in zip(group, states, strict=True):
                if state.attempt is not None:
                    asked.attempt = state.attempt
                    await self.queue.put(asked)
                elif state.kind == "elsewhere":
                    self.elsewhere.append(asked)
                else:
                    self.tally.found(asked, state, self.owner.id)

    def _claim_group(self, keys: list[Key]) -> list[State]:
        return self.store.claim(
            self.question,
            keys,
            self.owner,
            reserved_usd=self.settings.reserved_usd,
            retry_failed_before=self.retry_failed_before,
        )

    async def _wait_for_rest(self) -> None:
        """Until every question is settled. Those in flight elsewhere are labelled there or, if that one dies, here."""
        while self.tally.pending and not self.ending.is_set():
            self.tally.changed.clear()
            others, self.elsewhere = self.elsewhere, []
            await self._claim(others)
            if self.tally.pending and not self.ending.is_set():
                await _event(self.tally.changed, POLL_S if self.elsewhere else None)

    # The workers

    async def _work(self, asker: Asker) -> None:
        while (asked := await self.queue.get()) is not None:
            while await self._ask(asked, asker):
                pass

    async def _ask(self, asked: Asked, asker: Asker) -> bool:
        """Send one request. True when the question is to be asked again at once, its pause being over."""
        if self._told_to_stop():
            self._take_back(asked)
            return False
        if time.time() > self.lease_until:  # we stood still; another labeller may have taken the question over
            self._take_back(asked)
            self._leave_for_later(asked)
            return False
        answer = await asker.ask(asked.attempt, asked.text)
        self.tally.report.attempts += 1
        if answer.ends_run is not None:
            self._end(answer.ends_run)
        asked.limited += answer.result == "limited"
        asked.tries += answer.result != "limited"
        self._note_limit(answer)
        last = not answer.again or asked.tries >= self.settings.max_attempts
        final = last and answer.label is None and answer.ends_run is None
        again = not last and not self.ending.is_set()
        stored: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self.ended.append(_Ended(asked, answer.outcome(asked.attempt, again=again, final=final), stored))
        self.arrived.set()
        if self.store_failed:
            return False
        # A place is free again only when its reply is durable: what a kill can lose is what `concurrency` says.
        attempt = await stored
        if not again:
            return False
        if attempt is None:
            self._leave_for_later(asked)
            return False
        asked.attempt = attempt
        await _event(self.ending, self._pause_s(asked, answer))
        return True

    def _take_back(self, asked: Asked) -> None:
        """An attempt whose request never left."""
        self.unsent.append(asked.attempt)
        self.arrived.set()

    def _leave_for_later(self, asked: Asked) -> None:
        """Another labeller may have the question: the feeder looks again at the end."""
        self.elsewhere.append(asked)
        self.tally.changed.set()

    def _note_limit(self, answer: Answer) -> None:
        if answer.result != "limited":
            self.limited_since = None
            return
        now = time.monotonic()
        self.limited_since = self.limited_since or now
        if now - self.limited_since > self.settings.patience_s:
            what = f"the provider has answered nothing but 'too many requests' for {self.settings.patience_s:g} s"
            self._end(StoppedEarly(what, fix="Run the same command again later; what was labelled is kept"))

    def _pause_s(self, asked: Asked, answer: Answer) -> float:
        """Exponential, jittered so that workers do not come back all at once; never shorter than the provider asks."""
        doubled = self.settings.backoff_s * 2.0 ** min(asked.tries + asked.limited - 1, 30)
        pause = min(60.0, doubled) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
        return pause + (answer.wait_s or 0.0)

    # The committer

    async def _commit_all(self) -> None:
        """While one group is written the next one gathers, so that a slow disk only makes the groups larger."""
        while not (self.over.is_set() or self.store_failed):
            await self.arrived.wait()
            self.arrived.clear()
            if self.ended or self.unsent:
                await self._commit()

    async def _commit(self) -> None:
        batch, unsent = self.ended.copy(), self.unsent.copy()
        try:
            attempts = await self._in_store(self._store, batch, unsent)
        except FilterkitError as error:
            self.store_failed = True  # `_store_rest` tries once more when nothing is in flight any more
            self._end(error)
            for ended in self.ended:
                ended.resume(None)
            return
        del self.ended[: len(batch)], self.unsent[: len(unsent)]
        for ended, attempt in zip(batch, attempts, strict=True):
            self.tally.committed(ended.asked, ended.outcome)
            ended.resume(attempt)
        self._tell(batch)

    def _store(self, batch: list[_Ended], unsent: list[int]) -> list[int | None]:
        if unsent:
            self.store.release(unsent)
        outcomes = [ended.outcome for ended in batch]
        return self.store.complete(outcomes, reserved_usd=self.settings.reserved_usd)

    def _store_rest(self) -> None:
        """What has not been stored yet, after an error or an interruption: replies that were paid for."""
        batch = [e._replace(outcome=dataclasses.replace(e.outcome, again=False)) for e in self.ended]
        self.ended.clear()
        if not batch and not self.unsent:
            return
        try:
            self._store(batch, self.unsent)
        except FilterkitError as error:
            self.problem = self.problem or error
            return
        for ended in batch:
            self.tally.committed(ended.asked, ended.outcome)
        self._tell(batch)

    def _tell(self, batch: list[_Ended]) -> None:
        count = sum(ended.outcome.label is not None for ended in batch)
        if count:
            self.observe("labels_committed", filter_name=self.filter.name, oracle=self.question.oracle, count=count)
        self.progress(self.tally.report)

    # The watch

    async def _watch(self) -> None:
        """Ask whether to stop, and keep the lease alive."""
        renew_at = time.monotonic() + self.settings.lease_s / 4
        while not self.over.is_set():
            await _event(self.over, 0.1)
            self._told_to_stop()
            if time.monotonic() >= renew_at:
                renew_at = time.monotonic() + self.settings.lease_s / 4
                until = time.time() + self.settings.lease_s
                try:
                    await self._in_store(self.store.renew, self.owner)
                except FilterkitError as error:
                    self._end(error)
                else:
                    self.lease_until = until


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first, out of the groups that task groups put around it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _event(event: asyncio.Event, timeout_s: float | None) -> None:
    """Wait for an event, or that long."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
