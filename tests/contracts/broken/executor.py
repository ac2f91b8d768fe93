"""Executors that break a promise, all in one process."""

from collections.abc import Iterator
from typing import Any

import pytest
from catching import caught_by, expose

from filterkit.builtin.executor import LocalExecutor
from filterkit.contracts import run_shard
from filterkit.records import Shard, ShardResult
from filterkit.testing import ExecutorContract


class Broken(LocalExecutor):
    """One loop in one process; the variants change a step of it."""

    def map_shards(
        self, shards: Any, read: Any, make_worker: Any, write: Any, *, done: Any, workers: Any = None, **more: Any
    ) -> Iterator[ShardResult]:
        retries = more.get("max_retries", 3)
        work = make_worker()
        for shard in shards:
            if not self.skip(shard, done):
                yield self.work_on(shard, read, work, make_worker, write, retries)

    def skip(self, shard: Shard, done: Any) -> bool:
        return bool(done(shard.id))

    def work_on(self, shard: Shard, read: Any, work: Any, make_worker: Any, write: Any, retries: int) -> ShardResult:
        return run_shard(shard, read, work, write, retries)


@caught_by("test_every_shard_once")
class TwiceToBeSure(Broken):
    def work_on(self, shard: Shard, read: Any, work: Any, make_worker: Any, write: Any, retries: int) -> ShardResult:
        run_shard(shard, read, work, write, retries)
        return run_shard(shard, read, work, write, retries)


@caught_by("test_no_shards")
class NeedsAShard(Broken):
    def map_shards(self, shards: Any, *args: Any, **more: Any) -> Iterator[ShardResult]:
        shards = iter(shards)
        first = [next(shards)]
        yield from super().map_shards((*first, *shards), *args, **more)


@caught_by("test_done_shards_are_skipped")
class StartsOver(Broken):
    def skip(self, shard: Shard, done: Any) -> bool:
        return False


@caught_by("test_a_shard_is_tried_again")
class NeverTriesAgain(Broken):
    def work_on(self, shard: Shard, read: Any, work: Any, make_worker: Any, write: Any, retries: int) -> ShardResult:
        return run_shard(shard, read, work, write, 0)


@caught_by("test_a_broken_shard_stops_no_others")
class FallsWithTheFirst(Broken):
    def work_on(self, shard: Shard, read: Any, work: Any, make_worker: Any, write: Any, retries: int) -> ShardResult:
        result = run_shard(shard, read, work, write, retries)
        if result.error:
            raise RuntimeError(result.error)
        return result


@caught_by("test_the_users_mistake_is_raised_at_once")
class TriesTheUsersMistakeAgain(Broken):
    def work_on(self, shard: Shard, read: Any, work: Any, make_worker: Any, write: Any, retries: int) -> ShardResult:
        def disguised(shard: Shard) -> Iterator[Any]:
            try:
                yield from read(shard)
            except Exception as error:
                raise RuntimeError(str(error)) from error

        return run_shard(shard, disguised, work, write, retries)


@caught_by("test_a_worker_is_built_once")
class BuildsForEveryShard(Broken):
    def work_on(self, shard: Shard, read: Any, work: Any, make_worker: Any, write: Any, retries: int) -> ShardResult:
        return run_shard(shard, read, make_worker(), write, retries)


@caught_by("test_shards_are_drawn_as_they_are_needed")
class ListsAllShards(Broken):
    def map_shards(self, shards: Any, *args: Any, **more: Any) -> Iterator[ShardResult]:
        yield from super().map_shards(list(shards), *args, **more)


class Suite(ExecutorContract):
    @pytest.fixture
    def workers(self) -> int:
        return 1


expose(globals(), Suite)
