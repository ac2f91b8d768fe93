"""Oracles whose batches break a promise."""

import time
from collections.abc import AsyncIterator, Sequence

from catching import caught_by, expose

from filterkit.contracts import BatchItem, JobState
from filterkit.errors import Fatal
from filterkit.records import OracleRequest, Usage
from filterkit.testing import BatchContract
from filterkit.testing.toys import ToyBatchOracle, ToyOracle


@caught_by("test_it_is_a_batch")
class NoBatchAtAll(ToyOracle):
    pass


@caught_by("test_what_a_batch_takes_and_costs_is_declared")
class TakesNothing(ToyBatchOracle):
    most_requests = 0


@caught_by("test_what_a_batch_takes_and_costs_is_declared")
class CostsInPercent(ToyBatchOracle):
    batch_price_share = 50


@caught_by("test_bytes_are_counted_offline")
class CountsTheRubricOnly(ToyBatchOracle):
    def request_bytes(self, request: OracleRequest) -> int:
        return len(request.rubric)


class Changed(ToyBatchOracle):
    """Collects as the toy, and then spoils the items."""

    def spoil(self, items: list[BatchItem]) -> list[BatchItem]:
        raise NotImplementedError

    async def collect(self, handle: str) -> AsyncIterator[BatchItem]:
        for item in self.spoil([item async for item in super().collect(handle)]):
            yield item


@caught_by("test_every_request_of_a_batch_comes_back_under_its_key")
class ForgetsTheLast(Changed):
    def spoil(self, items: list[BatchItem]) -> list[BatchItem]:
        return items[:-1]


@caught_by("test_every_request_of_a_batch_comes_back_under_its_key")
class NumbersThem(Changed):
    def spoil(self, items: list[BatchItem]) -> list[BatchItem]:
        return [BatchItem(str(number), reply=item.reply) for number, item in enumerate(items)]


@caught_by("test_every_request_of_a_batch_comes_back_under_its_key")
class SaysNeither(Changed):
    def spoil(self, items: list[BatchItem]) -> list[BatchItem]:
        return [BatchItem(items[0].key), *items[1:]]


@caught_by("test_every_request_of_a_batch_comes_back_under_its_key")
class EndsTheRunForOneArticle(Changed):
    def spoil(self, items: list[BatchItem]) -> list[BatchItem]:
        return [BatchItem(items[0].key, error=Fatal("blocked")), *items[1:]]


@caught_by("test_replies_of_a_batch_are_those_of_complete")
class TakesTheOrderForGranted(Changed):
    def spoil(self, items: list[BatchItem]) -> list[BatchItem]:
        others = items[1:] + items[:1]
        return [BatchItem(item.key, reply=other.reply) for item, other in zip(items, others, strict=True)]


@caught_by("test_usage_in_a_batch_adds_up")
class SaysNoUsage(Changed):
    def spoil(self, items: list[BatchItem]) -> list[BatchItem]:
        return [BatchItem(i.key, reply=i.reply.model_copy(update={"usage": Usage()})) for i in items]


@caught_by("test_a_job_is_found_by_its_token")
class FindsTheFirstJob(ToyBatchOracle):
    async def find(self, token: str, since: float) -> str | None:
        jobs = sorted(self.ctx.workdir.glob("job-*.json"), key=lambda path: path.stat().st_mtime_ns)
        known = await super().find(token, since)
        return jobs[0].stem if known else None


@caught_by("test_a_token_that_was_never_submitted_is_not_found")
class ConfirmsEverything(ToyBatchOracle):
    async def find(self, token: str, since: float) -> str | None:
        return f"job-{token}"


@caught_by("test_a_job_outlives_who_submitted_it_and_can_be_collected_again")
class KeepsThePlaceInMemory(ToyBatchOracle):
    mine: tuple[str, ...] = ()

    async def submit(self, requests: Sequence[OracleRequest], token: str) -> str:
        handle = await super().submit(requests, token)
        self.mine = (*self.mine, handle)
        return handle

    async def collect(self, handle: str) -> AsyncIterator[BatchItem]:
        self._job(handle)
        async for item in super().collect(handle):
            if handle in self.mine:
                yield item


@caught_by("test_a_job_outlives_who_submitted_it_and_can_be_collected_again")
class HandsOutOnce(ToyBatchOracle):
    async def collect(self, handle: str) -> AsyncIterator[BatchItem]:
        async for item in super().collect(handle):
            yield item
        self._file(handle).write_text('{"replies": {}}')


@caught_by("test_cancelling_can_be_repeated")
class CancelsOnce(ToyBatchOracle):
    async def cancel(self, handle: str) -> None:
        if self._job(handle)["cancelled"]:
            raise Fatal("is cancelled already")
        await super().cancel(handle)


@caught_by("test_an_unknown_handle_is_a_backend_error")
class WaitsForWhatIsNotThere(ToyBatchOracle):
    async def poll(self, handle: str) -> JobState:
        return await super().poll(handle) if self._file(handle).exists() else JobState(state="waiting")


@caught_by("test_any_text_can_be_in_a_batch")
class LeavesOutWhatItCannotWrite(Changed):
    def spoil(self, items: list[BatchItem]) -> list[BatchItem]:
        return [item for item in items if item.key != "hostile-3"]


@caught_by("test_the_loop_is_never_blocked_by_a_batch")
class UploadsInTheLoop(ToyBatchOracle):
    async def submit(self, requests: Sequence[OracleRequest], token: str) -> str:
        time.sleep(0.7)
        return await super().submit(requests, token)


@caught_by("test_a_batch_keeps_the_secret")
class TellsItsKey(ToyBatchOracle):
    async def poll(self, handle: str) -> JobState:
        state = await super().poll(handle)
        return state.model_copy(update={"message": f"of {self.ctx.secret('ACME_KEY')}"})


expose(globals(), BatchContract)
