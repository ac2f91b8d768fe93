"""The contract suite of executors. What it runs is written to files, so that workers may be other processes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from filterkit.contracts import Executor
from filterkit.errors import InputError
from filterkit.records import Shard, ShardResult
from filterkit.testing.base import BackendContract


def read(shard: Shard) -> Iterator[list[int]]:
    """Two batches; a shard whose file says so fails as often as it says."""
    folder = Path(shard.uri)
    plan = json.loads((folder / f"{shard.id}.json").read_bytes())
    with (folder / f"{shard.id}.tries").open("a") as file:
        file.write("x")
    yield [1, 2]
    if plan["fails"] == "input":
        raise InputError("the input is wrong")
    if (folder / f"{shard.id}.tries").stat().st_size <= plan["fails"]:
        raise RuntimeError(f"shard {shard.id} broke")
    yield [3]


def make_worker(folder: Path) -> Callable[[list[int]], list[int]]:
    """Doubles numbers; notes that it was built, and where."""
    with (folder / "workers.log").open("a") as file:
        file.write(f"{os.getpid()}\n")
    return _double


def _double(batch: list[int]) -> list[int]:
    return [2 * number for number in batch]


def write(shard: Shard, results: Iterable[list[int]]) -> ShardResult:
    """Publish a shard's numbers whole."""
    numbers = [number for batch in results for number in batch]
    target = Path(shard.uri) / f"{shard.id}.out"
    target.with_suffix(".part").write_text(json.dumps(numbers))
    target.with_suffix(".part").replace(target)
    return ShardResult(shard=shard.id, read=len(numbers), written=len(numbers))


class ExecutorContract(BackendContract):
    """Runs a handful of tiny shards, with one worker and with two."""

    kind = Executor

    @pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
    def workers(self, request: pytest.FixtureRequest) -> int:
        """How many workers."""
        return int(request.param)

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Where the shards and what becomes of them lie; workers must see it."""
        path = tmp_path / "shards"
        path.mkdir()
        return path

    def shards(self, folder: Path, *fails: int | str) -> list[Shard]:
        """One shard per entry, which fails that many times first; "input": with the user's mistake."""
        for i, times in enumerate(fails):
            (folder / f"s{i}.json").write_text(json.dumps({"fails": times}))
        return [Shard(id=f"s{i}", uri=str(folder)) for i in range(len(fails))]

    def run(
        self, one: Executor[Any], folder: Path, shards: Iterable[Shard], workers: int, **more: Any
    ) -> list[ShardResult]:
        """All results, in the order of the shards."""
        more.setdefault("done", _nothing_is_done)
        results = one.map_shards(shards, read, partial(make_worker, folder), write, workers=workers, **more)
        return sorted(results, key=lambda r: r.shard)

    def tries(self, folder: Path, shard: str) -> int:
        """How often a shard was begun."""
        path = folder / f"{shard}.tries"
        return path.stat().st_size if path.exists() else 0

    def test_every_shard_once(self, make: Callable[..., Any], folder: Path, workers: int) -> None:
        shards = self.shards(folder, 0, 0, 0, 0, 0)
        results = self.run(make(), folder, shards, workers)
        assert [r.shard for r in results] == [s.id for s in shards]
        assert all(r.error is None and r.written == 3 for r in results), results
        for shard in shards:
            assert json.loads((folder / f"{shard.id}.out").read_bytes()) == [2, 4, 6]
            assert self.tries(folder, shard.id) == 1, "a shard was worked on twice"

    def test_no_shards(self, make: Callable[..., Any], folder: Path, workers: int) -> None:
        assert self.run(make(), folder, [], workers) == []

    def test_done_shards_are_skipped(self, make: Callable[..., Any], folder: Path, workers: int) -> None:
        shards = self.shards(folder, 0, 0, 0)
        results = self.run(make(), folder, shards, workers, done=_s1_is_done)
        assert [r.shard for r in results] == ["s0", "s2"]
        assert self.tries(folder, "s1") == 0

    def test_a_shard_is_tried_again(self, make: Callable[..., Any], folder: Path, workers: int) -> None:
        results = self.run(make(), folder, self.shards(folder, 2), workers, max_retries=2)
        assert [r.error for r in results] == [None]
        assert self.tries(folder, "s0") == 3

    def test_a_broken_shard_stops_no_others(self, make: Callable[..., Any], folder: Path, workers: int) -> None:
        results = self.run(make(), folder, self.shards(folder, 0, 99, 0), workers, max_retries=1)
        assert [r.error is None for r in results] == [True, False, True]
        assert "shard s1 broke" in str(results[1].error), "the error must say what went wrong"
        assert self.tries(folder, "s1") == 2, "max_retries=1 means two tries"
        assert not (folder / "s1.out").exists()

    def test_the_users_mistake_is_raised_at_once(self, make: Callable[..., Any], folder: Path, workers: int) -> None:
        with pytest.raises(InputError, match="the input is wrong"):
            self.run(make(), folder, self.shards(folder, "input"), workers)
        assert self.tries(folder, "s0") == 1, "a FilterkitError is not tried again"

    def test_a_worker_is_built_once(self, make: Callable[..., Any], folder: Path, workers: int) -> None:
        self.run(make(), folder, self.shards(folder, *[0] * 6), workers)
        built = (folder / "workers.log").read_text().split()
        assert len(built) <= workers, f"make_worker was called {len(built)} times for {workers} workers"
        assert len(set(built)) == len(built), "make_worker was called twice in one process"

    def test_shards_are_drawn_as_they_are_needed(self, make: Callable[..., Any], folder: Path, workers: int) -> None:
        drawn = []

        def many() -> Iterator[Shard]:
            for shard in self.shards(folder, *[0] * 200):
                drawn.append(shard.id)
                yield shard

        results = make().map_shards(
            many(), read, partial(make_worker, folder), write, done=_nothing_is_done, workers=workers
        )
        next(iter(results))
        assert len(drawn) < 100, "a million shards would be held in memory before the first result"
        results.close()


def _nothing_is_done(shard: str) -> bool:
    return False


def _s1_is_done(shard: str) -> bool:
    return shard == "s1"
