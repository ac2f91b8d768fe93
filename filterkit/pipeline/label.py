"""Label articles: ask the oracle, check what it says, keep it. Nothing is asked twice, nothing paid for is lost.

A request leaves only after its attempt is committed to the store; a label counts only after it is. All calls to
the store are made by one thread, in groups, so that the event loop and its requests never wait for a disk.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from filterkit.contracts import Oracle, redact
from filterkit.errors import BackendError, Fatal, FilterkitError, RateLimited, Refused, StoppedEarly, Transient
from filterkit.filters import Filter
from filterkit.prompt import BadReply, fence, parse_reply, reply_schema, sent_text, system_text
from filterkit.records import Article, Label, OracleRequest, Price, Reply, Usage, sha256_text
from filterkit.store import Key, Outcome, Owner, Question, State, Store

T = TypeVar("T")

CHUNK_ARTICLES = 500
CHUNK_CHARS = 4_000_000
GATHER_S = 0.02  # how long replies are gathered before they are committed together
POLL_S = 0.2  # how often another labeller's progress is looked at
SHOWN_FAILURES = 1_000


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


@dataclass
class LabelReport:
    """What became of the articles. read = already + new + failed + duplicates, and what a stopped run left open.

    already: were labelled before, or by another labeller meanwhile; new: questions labelled by this run; duplicates:
    articles with the text of another one of this run, so labelled without asking; failed: articles whose question
    failed finally, in this run or (failed_before) an earlier one, the first of them with reasons in `failures`.
    attempts: requests sent. cost_usd: of this run's replies, None when one of them has no known price.
    stopped: "interrupted", or None when the run came to its end.
    """

    read: int = 0
    already: int = 0
    new: int = 0
    duplicates: int = 0
    failed: int = 0
    failed_before: int = 0
    attempts: int = 0
    cost_usd: float | None = 0.0
    stopped: Literal["interrupted"] | None = None
    failures: list[tuple[str, str]] = field(default_factory=list)


def oracle_variant(oracle: Oracle[Any]) -> dict[str, Any]:
    """The oracle's own options that shape its answer, where they differ from their defaults."""
    kind = type(oracle.options)
    given = oracle.options.model_dump(mode="json", include=set(oracle.answer_options))
    usual = kind.model_construct().model_dump(mode="json", include=set(oracle.answer_options), warnings=False)
    return {name: value for name, value in given.items() if name not in usual or usual[name] != value}


def question_of(filter: Filter, oracle: Oracle[Any], oracle_name: str) -> Question:
    """The question that labelling `filter` with this oracle asks, as the store knows it."""
    name = f"{filter.name} {filter.spec.version}"
    return Question(filter.request_hash(oracle_variant(oracle)), oracle_name, oracle.model, name)


def label(
    filter: Filter,
    articles: Iterable[Article],
    oracle: Oracle[Any],
    store: Store,
    settings: LabelSettings | None = None,
    *,
    oracle_name: str,
    prices: Mapping[str, Price] | None = None,
    observe: Callable[..., None] = lambda event, **values: None,
    progress: Callable[[LabelReport], None] = lambda report: None,
    stop: Callable[[], bool] = lambda: False,
) -> LabelReport:
    """Ask `oracle` about every article that has no label yet, and keep the answers in `store`.

    Articles are streamed. `observe("labels_committed", …)` and `progress(report so far)` are called after every
    commit. When `stop()` turns true, what is in flight is finished and the report says "interrupted".

    Raises StoppedEarly (a quota of the day, a locked store) and other FilterkitErrors (bad key, full disk, unreadable
    input) after what was in flight has been stored; the same call goes on from there. Not from within a running
    event loop.
    """
    run = _Run(filter, articles, oracle, store, settings or LabelSettings(), oracle_name)
    run.prices, run.observe, run.progress, run.stop = prices or {}, observe, progress, stop
    return asyncio.run(run.all())


@dataclass
class _Asked:
    """One question of this run that is not settled yet, and the articles that wait for it."""

    key: Key
    text: str
    article_ids: list[str]
    attempt: int = 0
    tries: int = 0
    limited: int = 0


class _Ended(NamedTuple):
    """An attempt's outcome on its way to the store, and what then waits for the next attempt's number."""

    asked: _Asked
    outcome: Outcome
    stored: asyncio.Future[int | None]


class _Run:
    """One run of one labeller. Everything but `_in_store` calls happens on the event loop."""

    prices: Mapping[str, Price]
    observe: Callable[..., None]
    progress: Callable[[LabelReport], None]
    stop: Callable[[], bool]

    def __init__(
        self, filter: Filter, articles: Iterable[Article], oracle: Oracle[Any], store: Store,
        settings: LabelSettings, oracle_name: str,
    ) -> None:  # fmt: skip
        self.filter, self.oracle, self.store, self.settings = filter, oracle, store, settings
        self.question = question_of(filter, oracle, oracle_name)
        self.articles = iter(itertools.islice(articles, settings.limit))
        self.report = LabelReport()
        self.retry_failed_before = time.time() if settings.retry_failed else None
        self.timeout_s = float(getattr(oracle.options, "timeout_s", 60.0))
        self.fixed: dict[str, Any] = {
            "system": system_text(filter.spec),
            "rubric": filter.rubric,
            "json_schema": reply_schema(filter.spec),
            "model": oracle.model,
            "timeout_s": self.timeout_s,
            **filter.spec.generation.model_dump(),
        }
        self.pending: dict[Key, _Asked] = {}
        self.elsewhere: deque[_Asked] = deque()
        self.unsent: list[int] = []
        self.ended: list[_Ended] = []
        self.problem: FilterkitError | None = None
        self.last_answer = time.monotonic()

    async def all(self) -> LabelReport:
        """The whole run."""
        self.ending, self.changed, self.more = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.queue: asyncio.Queue[_Asked | None] = asyncio.Queue(self.settings.concurrency)
        with ThreadPoolExecutor(1, "filterkit-store") as self.thread, self.store.owner(self.settings.lease_s) as self.owner:
            await self.oracle.open()
            try:
                await self._work_all()
            finally:
                await self.oracle.aclose()
        if self.problem is not None:
            raise self.problem
        return self.report
