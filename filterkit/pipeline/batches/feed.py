"""One pass over the articles: what is settled is counted, what is free goes out in jobs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from filterkit.contracts import redact
from filterkit.errors import StoppedEarly
from filterkit.filters import Filter
from filterkit.pipeline.batches.desk import AboutOneJob, Desk, ProviderIsFull
from filterkit.pipeline.batches.events import BatchReport
from filterkit.pipeline.estimate import Seen
from filterkit.pipeline.pricing import Pricing
from filterkit.pipeline.question import Requests
from filterkit.pipeline.settings import LabelSettings
from filterkit.pipeline.tally import SHOWN_FAILURES
from filterkit.prompt import correction_text, sent_text
from filterkit.records import Article, OracleRequest, sha256_text
from filterkit.store import Key, Question, State
from filterkit.store.funds import Scope
from filterkit.store.jobs import MARK, JobOracle, JobRow, jobs, prepare_job, tried

CHUNK = 500
LONGEST_KEY = "9" * (12 + 1 + MARK)
"""Requests are measured before their attempts have numbers."""
TRIES_TO_SUBMIT = 3
"""Jobs in a row that did not arrive, after which it is left for another day."""

Articles = Callable[[int], Iterable[Article]]
"""The articles to be asked for the answer of that number, from their beginning; called once a pass."""


@dataclass
class _Waiting:
    """A question that goes into the next job, and the articles that wait for it."""

    key: Key
    text: str
    correction: str
    tokens: int
    articles: int = 1


@dataclass(frozen=True)
class Money:
    """What no budget had room for, in the last pass: whose budget, and what the requests may cost."""

    scope: Scope
    reserves: list[float | None]


class Feeder:
    """Puts what is to be asked into jobs. `mine` are owners whose labels and failures are of this run."""

    def __init__(
        self,
        filter: Filter,
        question: Question,
        desk: Desk,
        settings: LabelSettings,
        pricing: Pricing,
        made_of: JobOracle,
        samples: Sequence[int],
        retry_failed_before: float | None,
    ) -> None:
        self.filter, self.question, self.desk, self.settings, self.pricing = filter, question, desk, settings, pricing
        self.store = desk.store
        self.made_of, self.samples, self.retry_failed_before = made_of, samples, retry_failed_before
        self.requests = Requests(filter, desk.oracle)
        self.mine: set[int] = set()
        self.broke: Money | None = None
        self.full = ""
        self.unsettled: AboutOneJob | None = None  # it cannot be told whether a job was accepted

    async def feed(self, articles: Articles, report: BatchReport, *, submit: bool) -> None:
        """One pass, for every answer that is asked for. With `submit=False` it only counts.

        `report` gets the counts of this pass in place of the last one's.
        """
        self.broke, self.full, self.unsettled, self._submit = None, "", None, submit
        self._report, label = report, report.label
        report.left = label.read = label.already = label.new = label.duplicates = 0
        label.failed = label.failed_before = label.in_jobs = 0
        label.failures = []
        self._waiting: dict[Key, _Waiting] = {}
        self._bytes = 0
        for sample in self.samples:  # all articles get a first answer before any gets a second
            source = iter(itertools.islice(articles(sample), self.settings.limit))
            with Seen() as seen:
                while chunk := list(itertools.islice(source, CHUNK)):
                    self.desk.patience.look()
                    await self._take(chunk, sample, seen)
        await self._flush()

    async def _take(self, chunk: list[Article], sample: int, seen: Seen) -> None:
        texts = [sent_text(self.filter.spec, article) for article in chunk]
        keys = [Key(sha256_text(text), sample) for text in texts]
        rows = [(article, key.sent_hash) for article, key in zip(chunk, keys, strict=True)]
        self.store.put_articles(self.question, rows)
        self._report.label.read += len(chunk)
        states = self.store.states(self.question, keys)
        wrong = tried(self.store, self.question, keys)
        for article, text, key, state, error in zip(chunk, texts, keys, states, wrong, strict=True):
            if self._is_to_ask(state):
                await self._put(key, text, error)
            else:
                self._count(article, state, first=seen.add(key.sent_hash))

    def _is_to_ask(self, state: State) -> bool:
        retried = state.kind == "failed" and self.retry_failed_before is not None and state.owner not in self.mine
        return state.kind == "free" or retried

    def _count(self, article: Article, state: State, *, first: bool) -> None:
        label, ours = self._report.label, state.owner in self.mine
        if state.kind == "in_job":
            label.in_jobs += 1
        elif state.kind == "failed":
            label.failed += 1
            label.failed_before += not ours
            if len(label.failures) < SHOWN_FAILURES:
                label.failures.append((article.id, redact(state.reason)))
        elif not first:
            label.duplicates += 1
        elif ours:
            label.new += 1
        else:
            label.already += 1

    async def _put(self, key: Key, text: str, error: str) -> None:
        """A question for the next job, which is handed over as soon as it is full."""
        if not self._submit or self.full:
            self._report.left += 1
            return
        known = self._waiting.get(key)
        if known is not None:
            known.articles += 1
            return
        correction = correction_text(error) if error else ""
        batch = self.desk.batch
        size = batch.request_bytes(self.requests.make(LONGEST_KEY, text, correction))
        if self._waiting and (len(self._waiting) >= batch.most_requests or self._bytes + size > batch.most_bytes):
            await self._flush()
            await self._put(key, text, error)  # the provider may have become full
            return
        self._waiting[key] = _Waiting(key, text, correction, self.pricing.input_tokens(text))
        self._bytes += size

    async def _flush(self) -> None:
        """Hand over what waits, as one job."""
        waiting, self._waiting, self._bytes = list(self._waiting.values()), {}, 0
        for _ in range(TRIES_TO_SUBMIT):
            if not waiting:
                return
            await self.desk.open()
            job, waiting, attempts = self._prepare(waiting)
            if job is None:
                return
            requests = list(self._requests_of(job, waiting, attempts))
            try:
                arrived = await self.desk.submit(job, requests, others_out=self._others(job))
            except ProviderIsFull as error:
                self.full = str(error)
                self._report.left += sum(one.articles for one in waiting)
                return
            except AboutOneJob as trouble:  # it may be out
                self.unsettled, self._submit = trouble, False
                self._report.label.in_jobs += sum(one.articles for one in waiting)
                return
            if arrived is not None:
                self._report.submitted += 1
                self._report.label.in_jobs += sum(one.articles for one in waiting)
                return
        raise StoppedEarly(
            f"{TRIES_TO_SUBMIT} batch jobs in a row did not arrive",
            where=self.desk.where,
            fix="Run the same command again later; nothing was charged, and what was labelled is kept",
        )

    def _prepare(self, waiting: list[_Waiting]) -> tuple[JobRow | None, list[_Waiting], list[int]]:
        """Write the job down: it, and what is in it with the numbers of the attempts. All else is counted."""
        reserves = [self.pricing.reserve_usd(one.tokens) for one in waiting]
        job, states = prepare_job(
            self.store,
            self.question,
            [one.key for one in waiting],
            reserves,
            self.made_of,
            max_usd=self.settings.max_cost_usd,
            retry_failed_before=self.retry_failed_before,
        )
        taken: list[_Waiting] = []
        attempts: list[int] = []
        for one, state, reserve in zip(waiting, states, reserves, strict=True):
            if state.attempt is not None:
                taken.append(one)
                attempts.append(state.attempt)
            else:
                self._not_taken(one, state, reserve)
        return job, taken, attempts

    def _not_taken(self, one: _Waiting, state: State, reserve: float | None) -> None:
        """A question that was settled, or taken by a labeller, since it was looked up; or that is too dear now."""
        label = self._report.label
        if state.kind == "labelled":
            label.already += 1
            label.duplicates += one.articles - 1
        elif state.kind == "failed":
            label.failed += one.articles
            label.failed_before += one.articles
        elif state.kind == "in_job":
            label.in_jobs += one.articles
        else:
            self._report.left += one.articles
        if state.kind == "unaffordable":
            scope: Scope = state.reason  # type: ignore[assignment]
            self.broke = Money(scope, [reserve, *(self.broke.reserves if self.broke else [])])

    def _requests_of(self, job: JobRow, waiting: list[_Waiting], attempts: list[int]) -> Iterator[OracleRequest]:
        for one, attempt in zip(waiting, attempts, strict=True):
            yield self.requests.make(job.key(attempt), one.text, one.correction)

    def _others(self, job: JobRow) -> bool:
        """Whether another job of this oracle is out, which may end and make room."""
        return any(
            other.token != job.token and other.question.oracle == self.question.oracle
            for other in jobs(self.store, out=True)
        )
