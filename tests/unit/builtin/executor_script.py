"""Run by test_executor.py as a program: FOLDER WORKERS RETRIES PLAN…, where a plan is what becomes of a shard.

ok; ok-then-stop (its result makes ctx.stop true);
die (the worker is killed each time); die-once; slow (sleeps until killed); broken-worker (make_worker fails).
Prints the results as JSON lines, the pids of the workers stand in FOLDER/pids.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from filterkit.builtin.executor import LocalExecutor
from filterkit.errors import ConfigError, FilterkitError
from filterkit.records import Shard, ShardResult
from filterkit.testing import fake_context, tiny_spec


def read(shard: Shard) -> Iterator[int]:
    folder, _, plan = shard.uri.rpartition(":")
    tries = Path(folder) / f"{shard.id}.tries"
    with tries.open("a") as file:
        file.write("x")
    yield 1
    if plan == "die" or (plan == "die-once" and tries.stat().st_size == 1):
        time.sleep(0.3)  # so that the others are at work
        os.kill(os.getpid(), signal.SIGKILL)
    if plan == "slow":
        (Path(folder) / "slow").touch()
        time.sleep(600)
    yield 2


def make_worker(folder: Path, kind: str) -> Callable[[int], int]:
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "input":
        raise ConfigError("no such model")
    if kind == "error":
        raise RuntimeError("cannot build")
    with (folder / "pids").open("a") as file:
        file.write(f"{os.getpid()}\n")
    return abs


def write(shard: Shard, results: Iterable[int]) -> ShardResult:
    numbers = list(results)
    time.sleep(0.1)
    return ShardResult(shard=shard.id, written=len(numbers))


def nothing_is_done(shard: str) -> bool:
    return False


def main(folder: Path, workers: int, retries: int, kind: str, plans: list[str]) -> None:
    def stop() -> bool:
        return (folder / "stop").exists()

    options: Any = LocalExecutor.Options.model_validate({"workers": workers})
    executor = LocalExecutor(options, tiny_spec(), fake_context(folder, stop=stop))
    shards = [Shard(id=f"s{i}", uri=f"{folder}:{plan}") for i, plan in enumerate(plans)]
    make = partial(make_worker, folder, kind)
    try:
        for result in executor.map_shards(shards, read, make, write, done=nothing_is_done, max_retries=retries):
            print(result.model_dump_json(), flush=True)
            if plans[int(result.shard[1:])] == "ok-then-stop":
                (folder / "stop").touch()
    except FilterkitError as error:
        print(json.dumps({"raised": str(error)}))
    except RuntimeError as error:
        print(json.dumps({"raised": repr(error)}))
    except KeyboardInterrupt:
        print(json.dumps({"raised": "KeyboardInterrupt"}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:])
