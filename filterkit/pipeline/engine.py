"""The labelling engine: a feeder claims questions, workers ask them, the books keep what came back."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from filterkit.contracts import Oracle
from filterkit.errors import FilterkitError
from filterkit.filters import Filter
from filterkit.pipeline.asking import Answer, Asker
from filterkit.pipeline.books import Books, Ended
from filterkit.pipeline.health import Health
from filterkit.pipeline.money import out_of_money
from filterkit.pipeline.pace import LONGEST_PAUSE_S, Pace
from filterkit.pipeline.pricing import Pricing
from filterkit.pipeline.settings import LabelSettings
from filterkit.pipeline.tally import Asked, LabelReport, Tally
from filterkit.prompt import correction_text, sent_text
from filterkit.records import Article, sha256_text
from filterkit.store import Key, Question, State, Store
from filterkit.store.funds import Scope

CHUNK_ARTICLES = 500
CHUNK_CHARS = 4_000_000
CHUNK_S = 0.5
POLL_S = 0.2  # how often another labeller's progress is looked at


class Run:
    """One run of one labeller."""

    reader: ThreadPoolExecutor

    def __init__(
        self,
        filter: Filter,
        question: Question,
        store: Store,
        settings: LabelSettings,
        pricing: Pricing,
        *,
        observe: Callable[..., None],
        progress: Callable[[LabelReport], None],
        stop: Callable[[], bool],
    ) -> None:
        self.filter, self.question, self.settings, self.pricing = filter, question, settings, pricing
        self.observe, self.progress, self.stop = observe, progress, stop
        self.tally = Tally()
        self.books = Books(question, store, settings, pricing, self._committed)
        self.pace = Pace(
            settings.concurrency,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            pause_s=settings.backoff_s,
        )
        self.group = max(1, min(settings.concurrency // 4, 64))  # claimed at once: a kill counts what waits as sent
        self.queue: asyncio.Queue[Asked | None] = asyncio.Queue(self.group)
        self.elsewhere: list[Asked] = []
        self.broke: Scope = "question"  # whose budget refused the last request that was refused
        self.opened = False
        self.ending = asyncio.Event()  # finish what is in flight, begin nothing
        self.over = asyncio.Event()  # nothing is in flight any more
        self.problem: Exception | None = None
        self.health = Health(settings.patience_s)

    async def all(self, articles: Iterable[Article], oracle: Oracle[Any], asker: Asker) -> LabelReport:
        """The whole run."""
        rows = iter(itertools.islice(articles, self.settings.limit))
        with self.books.opened(), ThreadPoolExecutor(1, "filterkit-reader") as self.reader:
            try:
                await self._work_together(rows, oracle, asker)
            except BaseExceptionGroup as group:
                raise _first(group) from group
            finally:
                self._take_back_queued()
                self._commit_rest()
                if self.opened:
                    await oracle.aclose()
        if self.problem is not None:
            raise self.problem
        return self.tally.report

    async def _work_together(self, rows: Iterable[Article], oracle: Oracle[Any], asker: Asker) -> None:
        async with asyncio.TaskGroup() as helpers:
            helpers.create_task(self._commit_all())
            helpers.create_task(self._watch())
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._feed(rows, oracle))
                for _ in range(self.settings.concurrency):
                    tasks.create_task(self._work(asker))
            self.over.set()
            self.books.finish()

    def _take_back_queued(self) -> None:
        while not self.queue.empty():
            asked = self.queue.get_nowait()
            if asked is not None:
                self.books.take_back(asked.attempt)

    def _end(self, problem: Exception | None) -> None:
        self.problem = self.problem or problem
        self.ending.set()
        self.pace.close()
        self.tally.changed.set()

    def _told_to_stop(self) -> bool:
        if not self.ending.is_set() and self.stop():
            self.tally.report.stopped = "interrupted"
            self._end(None)
        return self.ending.is_set()

    # The feeder

    async def _feed(self, rows: Iterable[Article], oracle: Oracle[Any]) -> None:
        try:
            while not self.ending.is_set():
                found = await asyncio.get_running_loop().run_in_executor(self.reader, self._read_chunk, rows)
                if not found:
                    break
                questions = self._sorted_out(await self.books.do(self._look_up, found))
                if questions and not self.opened:
                    self.opened = True  # what `open` began `aclose` ends, also where it failed half way
                    await oracle.open()
                await self._claim(questions)
                self._show()
            await self._wait_for_rest()
        except Exception as error:  # also of the caller's own iterator: what is in flight was paid for
            self._end(error)
        for _ in range(self.settings.concurrency):
            await self.queue.put(None)

    def _read_chunk(self, rows: Iterable[Article]) -> list[tuple[Article, Asked]]:
        """Some articles, each with its question; few where they come slowly."""
        found: list[tuple[Article, Asked]] = []
        size, began = 0, time.monotonic()
        for article in rows:
            text = sent_text(self.filter.spec, article)
            key = Key(sha256_text(text), self.settings.sample)
            found.append((article, Asked(key, text, [article.id])))
            size += len(article.content)
            if len(found) >= CHUNK_ARTICLES or size >= CHUNK_CHARS or time.monotonic() - began > CHUNK_S:
                break
        return found

    def _look_up(self, found: list[tuple[Article, Asked]]) -> list[tuple[Asked, State]]:
        """Articles put into the store, and where the question about each stands."""
        store = self.books.store
        store.put_articles(self.question, [(article, asked.key.sent_hash) for article, asked in found])
        states = store.states(self.question, [asked.key for _, asked in found])
        return [(asked, state) for (_, asked), state in zip(found, states, strict=True)]

    def _sorted_out(self, chunk: list[tuple[Asked, State]]) -> list[Asked]:
        """The questions of a chunk that are to be asked, once each; all else is counted."""
        fresh: list[Asked] = []
        me = self.books.owner.id
        for asked, state in chunk:
            self.tally.report.read += 1
            waiting = self.tally.pending.setdefault(asked.key, asked)
            if waiting is not asked:
                waiting.article_ids += asked.article_ids
                continue
            old_failure = state.kind == "failed" and state.owner != me
            if state.kind == "free" or (old_failure and self.settings.retry_failed):
                asked.tokens = self.pricing.input_tokens(asked.text)
                fresh.append(asked)
            else:
                self.tally.found(asked, state, me)
        return fresh

    async def _claim(self, questions: Sequence[Asked]) -> None:
        """Claim questions as the workers come to need them, and queue them; see what became of the others."""
        for start in range(0, len(questions), self.group):
            group = list(questions[start : start + self.group])
            while group and not self.ending.is_set():
                self.tally.changed.clear()
                group = await self._claim_group(group)
                if group:
                    await self._wait_for_money(group)

    async def _claim_group(self, group: list[Asked]) -> list[Asked]:
        """Claim and queue what may be asked now; returns what the budget does not allow yet."""
        unaffordable: list[Asked] = []
        states = await self.books.claim(group)
        for asked, state in zip(group, states, strict=True):
            asked.attempt = state.attempt or 0
        for asked, state in zip(group, states, strict=True):
            if state.attempt is not None:
                await self._queue(asked, group)
            elif state.kind == "elsewhere":
                self.elsewhere.append(asked)
            elif state.kind == "unaffordable":
                self.broke = cast(Scope, state.reason)
                unaffordable.append(asked)
            else:
                self.tally.found(asked, state, self.books.owner.id)
        return unaffordable

    async def _queue(self, asked: Asked, group: list[Asked]) -> None:
        try:
            await self.queue.put(asked)
        except asyncio.CancelledError:
            for other in group[group.index(asked) :]:
                if other.attempt:
                    self.books.take_back(other.attempt)
            raise

    async def _wait_for_money(self, group: list[Asked]) -> None:
        """What comes back costs less than it reserved, and may free enough for another request; else the run ends."""
        if self.books.open_attempts:
            await self.tally.changed.wait()
            return
        reserves = [self.books.reserve_usd(asked) for asked in group]
        cap = self.settings.max_cost_usd
        self._end(await self.books.do(out_of_money, self.books.store, self.question, self.broke, cap, reserves))

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
        try:
            round_ = await self.pace.enter(asked.tokens)
        except asyncio.CancelledError:
            self.books.take_back(asked.attempt)
            raise
        if round_ is None or self._told_to_stop():
            self.books.take_back(asked.attempt)
            return False
        if self.books.lease_is_over:
            self.pace.leave(round_)
            self.books.take_back(asked.attempt)
            self._leave_for_later(asked)
            return False
        answer = await asker.ask(asked.attempt, asked.text, asked.correction, server_s=self.pace.server_s)
        self._came_back(asked, answer, round_)
        too_long = answer.result == "transient" and (answer.wait_s or 0.0) > self.settings.patience_s
        last = not answer.again or too_long or asked.tries >= self.settings.max_attempts
        final = last and answer.label is None and answer.ends_run is None
        again = not last and not self.ending.is_set()
        reserve = self.books.reserve_usd(asked) if again else None
        # A worker is free again only when its reply is durable: what a kill can lose is what `concurrency` says.
        attempt = await self.books.enter(asked, answer.outcome(asked.attempt, again, final, reserve))
        if not again or self.books.failed:
            return False
        if attempt is None:
            self._leave_for_later(asked)
            return False
        asked.attempt = attempt
        if answer.result == "transient":
            try:
                await _event(self.ending, self._pause_s(asked, answer))
            except asyncio.CancelledError:
                self.books.take_back(asked.attempt)
                raise
        return True

    def _came_back(self, asked: Asked, answer: Answer, round_: int) -> None:
        limited = answer.result == "limited"
        used = (answer.usage.input or 0) + (answer.usage.output or 0) if answer.usage else 0
        self.pace.leave(round_, limited=limited, wait_s=answer.wait_s, tokens=used - asked.tokens if used else 0)
        self.tally.answered(answer.result, answer.error)
        counts, problem = self.health.hear(asked.key, answer)
        asked.tries += counts
        asked.troubles += answer.result == "transient"
        asked.correction = correction_text(answer.error) if answer.result == "bad" else ""
        if problem is not None:
            self._end(problem)

    def _leave_for_later(self, asked: Asked) -> None:
        """Another labeller may have the question, or there is no money now: the feeder looks again at the end."""
        self.elsewhere.append(asked)
        self.tally.changed.set()

    def _pause_s(self, asked: Asked, answer: Answer) -> float:
        """Exponential, jittered so that workers do not come back all at once; never less than the provider asks."""
        doubled = self.settings.backoff_s * 2.0 ** min(asked.troubles - 1, 30)
        pause_s = min(LONGEST_PAUSE_S, doubled) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
        return max(pause_s, answer.wait_s or 0.0)

    # The books, and the watch

    async def _commit_all(self) -> None:
        try:
            await self.books.commit_all()
        except FilterkitError as error:
            self._end(error)

    def _commit_rest(self) -> None:
        try:
            self.books.commit_rest()
        except FilterkitError as error:
            self.problem = self.problem or error

    def _committed(self, batch: list[Ended]) -> None:
        for ended in batch:
            self.tally.committed(ended.asked, ended.outcome)
        self.tally.changed.set()  # a reserve may have become free
        count = sum(ended.outcome.label is not None for ended in batch)
        if count:
            self.observe("labels_committed", filter_name=self.filter.name, oracle=self.question.oracle, count=count)
        self._show()

    def _show(self) -> None:
        self.tally.report.in_flight, self.tally.report.window = self.pace.in_flight, int(self.pace.window)
        try:
            self.progress(self.tally.report)
        except Exception as error:
            self._end(error)

    async def _watch(self) -> None:
        """Ask whether to stop, and keep the lease alive."""
        renew_at = time.monotonic() + self.settings.lease_s / 4
        while not self.over.is_set():
            await _event(self.over, 0.1)
            self._told_to_stop()
            self._show()  # what is in flight changes without a commit too
            if time.monotonic() >= renew_at:
                renew_at = time.monotonic() + self.settings.lease_s / 4
                try:
                    await self.books.renew()
                except FilterkitError as error:
                    self._end(error)


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
