"""Label articles by batch jobs: collect what ended, submit what is left, and say what is out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from filterkit.contracts import Batch, JobState, Oracle
from filterkit.errors import ConfigError, FilterkitError, StoppedEarly
from filterkit.filters import Filter
from filterkit.pipeline.asking import Asker
from filterkit.pipeline.batches.collect import Collector
from filterkit.pipeline.batches.desk import AboutOneJob, Desk
from filterkit.pipeline.batches.events import BatchReport, Event, Out
from filterkit.pipeline.batches.feed import Articles, Feeder, Money
from filterkit.pipeline.batches.patience import Interrupted
from filterkit.pipeline.label import in_own_loop
from filterkit.pipeline.money import out_of_money
from filterkit.pipeline.pricing import Pricing
from filterkit.pipeline.question import question_of
from filterkit.pipeline.settings import LabelSettings
from filterkit.pipeline.tally import Tally
from filterkit.records import Price
from filterkit.store import Question, Store
from filterkit.store.jobs import JobOracle, JobRow, jobs, only_one

LEAST_S = 0.05
SMALL_JOB = 10
"""With less than one in so many of what is left out in jobs, a budget counts as used up."""
LABELLER_S = 5.0
"""How often a live labeller's questions are looked at again."""


def _ignore(*_: object, **__: object) -> None:
    """No one listens."""


def require_batch(oracle: Oracle[Any], name: str, others: Callable[[], Sequence[str]] = list) -> None:
    """ConfigError for an oracle that answers no batches; `others()` are those that do."""
    if not isinstance(oracle, Batch):
        names = others()
        fix = f"These do: {', '.join(names)}" if names else "No oracle that is installed does"
        raise ConfigError("answers no batches", where=f"oracle {name}", fix=f"{fix}. Or leave --batch out")


def label_in_batches(
    filter: Filter,
    articles: Articles,
    oracle: Oracle[Any],
    store: Store,
    settings: LabelSettings | None = None,
    *,
    oracle_name: str,
    oracle_options: Mapping[str, Any] | None = None,
    samples: Sequence[int] = (),
    wait: bool = False,
    prices: Mapping[str, Price] | None = None,
    own_prices: Mapping[str, Price] | None = None,
    observe: Callable[..., None] = _ignore,
    tell: Callable[[Event], None] = _ignore,
    progress: Callable[[BatchReport], None] = _ignore,
    stop: Callable[[], bool] = lambda: False,
) -> BatchReport:
    """Collect the jobs that ended, submit what has no label yet, and with `wait` stay until nothing is out.

    `articles(sample)` is called for every pass over them. `oracle_options` are kept with a job, so that it can be
    looked at without its filter; `samples` are the numbers of the answers to ask for, `settings.sample` by default.
    `progress` gets the report after every pass, `tell` what happens to jobs. Only one process at a time may do this for
    one question of a store. When `stop()` turns true, the report says "interrupted" and jobs go on without us.

    Raises ConfigError (an oracle without batches, a budget without a price), StoppedEarly (a quota, a budget, a job
    that cannot be found out about) and other FilterkitErrors, after everything else that could be done was done.
    """
    settings = settings or LabelSettings()
    require_batch(oracle, oracle_name)
    pricing = Pricing(filter, oracle, listed=prices, own=own_prices, batch=True)
    if settings.max_cost_usd is not None or store.limits:
        pricing.require()
    question = question_of(filter, oracle, oracle_name)

    async def work(stop: Callable[[], bool]) -> BatchReport:
        desk = Desk(oracle, oracle_name, store, settings, tell=tell, stop=stop)

        def labelled(count: int) -> None:
            observe("labels_committed", filter_name=filter.name, oracle=oracle_name, count=count)

        made_of = JobOracle(oracle_name, dict(oracle_options or {}), filter.spec.model_dump(mode="json", by_alias=True))
        retried = time.time() if settings.retry_failed else None
        tally = Tally()
        feeder = Feeder(
            filter, question, desk, settings, pricing, made_of, tuple(samples) or (settings.sample,), retried
        )
        collector = Collector(desk, Asker(filter, oracle, oracle_name, pricing), tally, settings.max_attempts, labelled)
        run = _Run(question, desk, feeder, collector, BatchReport(tally.report), progress)
        async with desk.working():
            return await run.all(articles, wait, settings.max_cost_usd)

    with only_one(store, question):
        return in_own_loop(work, stop)


class _Run:
    """One run: rounds of looking at jobs and passing over the articles."""

    def __init__(
        self,
        question: Question,
        desk: Desk,
        feeder: Feeder,
        collector: Collector,
        report: BatchReport,
        progress: Callable[[BatchReport], None],
    ) -> None:
        self.question, self.desk, self.feeder, self.collector = question, desk, feeder, collector
        self.report, self.progress = report, progress
        self.hold: FilterkitError | None = None  # why nothing more is submitted, said at the end
        self.trickle: Money | None = None  # a budget that has room for next to nothing
        self.stuck: set[str] = set()  # jobs that stay out until the user has done something
        self.states: dict[str, JobState] = {}
        self.later_s: dict[str, float] = {}  # seconds until it can be told what became of a job

    async def all(self, articles: Articles, wait: bool, max_usd: float | None) -> BatchReport:
        try:
            await self._rounds(articles, wait)
        except Interrupted:
            self.report.label.stopped = "interrupted"
        finally:
            self.report.out = self._standing()
            self.progress(self.report)
        if self.report.label.stopped is None:
            if self.hold is not None:
                raise self.hold
            broke = self.trickle or self.feeder.broke
            if broke is not None:
                raise out_of_money(self.desk.store, self.question, broke.scope, max_usd, broke.reserves)
            if self.feeder.full and not self.report.out:
                raise StoppedEarly(f"takes no further job now ({self.feeder.full})", where=self.desk.where)
        return self.report

    async def _rounds(self, articles: Articles, wait: bool) -> None:
        something_to_submit = True
        while True:
            something_to_submit = await self._look_at_all(wait) or something_to_submit
            if something_to_submit or not self._waited_for():
                await self.feeder.feed(articles, self.report, submit=self.hold is None and self.trickle is None)
                unsettled = self.feeder.unsettled
                if unsettled is not None and not (wait and unsettled.later_s):
                    self.hold = self.hold or unsettled.error
                self.trickle = self.trickle or self._trickle()
                self.report.out = self._standing()
                self.progress(self.report)
                something_to_submit = False
            if not wait or not (self._waited_for() or self._labeller_has_some()):
                return
            await self.desk.patience.pause(self._pause_s())

    def _standing(self) -> list[Out]:
        return [Out(job, self.states.get(job.token)) for job in self._out()]

    def _out(self) -> list[JobRow]:
        return jobs(self.desk.store, self.question, out=True)

    def _waited_for(self) -> bool:
        """Whether a job is out whose end can be waited for."""
        return any(job.token not in self.stuck for job in self._out())

    def _labeller_has_some(self) -> bool:
        """Whether a live labeller asks what is left, so that waiting helps."""
        held_back = self.hold or self.trickle or self.feeder.broke or self.feeder.full
        return bool(self.report.left) and not held_back

    def _trickle(self) -> Money | None:
        """The budget that lets so little out that waiting for what it leaves would be one small job after another."""
        return self.feeder.broke if self.report.label.in_jobs * SMALL_JOB < self.report.left else None

    def _pause_s(self) -> float:
        """Until asking again makes sense, as the provider says; a job that was just submitted is asked for at once."""
        waited_for = [job.token for job in self._out() if job.token not in self.stuck]
        asked = {token: state.poll_after_s for token, state in self.states.items()}
        pauses = [asked.get(token, self.later_s.get(token, 0.0)) for token in waited_for]
        return max(LEAST_S, min(pauses, default=LABELLER_S))

    async def _look_at_all(self, wait: bool) -> bool:
        """Settle, poll and collect. True when that left something to submit."""
        left = False
        for job in self._out():
            if job.token in self.stuck:
                continue
            self.desk.patience.look()
            try:
                left = await self._look_at(job) or left
            except AboutOneJob as trouble:
                if wait and trouble.later_s:
                    self.later_s[job.token] = trouble.later_s
                    self.desk.tell(Event("waiting", job, why=str(trouble)))
                    continue
                self.hold = self.hold or trouble.error
                self.stuck.add(job.token)
        return left

    async def _look_at(self, job: JobRow) -> bool:
        if job.state == "prepared":
            job = await self.desk.settle(job)
            if job.state == "unsent":
                return True
        state = await self.desk.stand(job)
        self.states[job.token] = state
        if state.state != "ended":
            self.desk.tell(Event("stands", job, state))
            return False
        self.feeder.mine.add(job.owner)
        job = await self.collector.collect(job, state)
        del self.states[job.token]
        self.report.collected += 1
        self.hold = self.hold or self._why_not_again(job)
        return job.requests > job.labelled + job.failed or self.report.left > 0

    def _why_not_again(self, job: JobRow) -> FilterkitError | None:
        """What to ask the user before questions of the job go out again: it was cancelled, or nothing came of it."""
        if job.state == "cancelled" and job.again + job.released:
            return StoppedEarly(
                f"the job {job.token} was cancelled: {job.labelled:,} of its {job.requests:,} requests were labelled",
                where=self.desk.where,
                fix="The same command submits the rest again",
            )
        if job.labelled + job.failed + job.again == 0:
            why = f" ({job.message})" if job.message else ""
            return StoppedEarly(
                f"the job {job.token} ended without an answer to any of its {job.requests:,} requests{why}",
                where=self.desk.where,
                fix="The same command submits them again",
            )
        return None
