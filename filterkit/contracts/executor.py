"""Executor: where the shards of a run are worked on."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from filterkit.contracts.base import Backend, O, redact
from filterkit.errors import FilterkitError
from filterkit.records import Shard, ShardResult

Read = Callable[[Shard], Iterable[Any]]
"""Batches of a shard."""
Work = Callable[[Any], Any]
"""One batch to its result; built once per worker."""
Write = Callable[[Shard, Iterable[Any]], ShardResult]
"""Publishes the results of a shard whole, or not at all."""


class Executor(Backend[O]):
    """Runs shards, here or on many machines. The core says what a shard is and when it is done."""

    @abstractmethod
    def map_shards(
        self,
        shards: Iterable[Shard],
        read: Read,
        make_worker: Callable[[], Work],
        write: Write,
        *,
        done: Callable[[str], bool],
        workers: int | None = None,
        gpus_per_worker: float = 0,
        max_retries: int = 3,
    ) -> Iterator[ShardResult]:
        """A result per shard that was not `done` before, in any order.

        `make_worker` is called once per process or actor; all callables can be pickled. A shard that keeps
        failing is tried `max_retries` times more and then yields a result with `error`; the others go on.
        A FilterkitError is the user's to mend: it is raised at once, not tried again.
        """


def run_shard(shard: Shard, read: Read, work: Work, write: Write, max_retries: int) -> ShardResult:
    """Work on one shard in this process, with retries: what every executor's worker does."""
    started = time.monotonic()
    for attempt in range(max_retries + 1):
        try:
            result = write(shard, (work(batch) for batch in read(shard)))
            return result.model_copy(update={"seconds": time.monotonic() - started})
        except FilterkitError:
            raise
        except Exception as error:
            if attempt == max_retries:
                what = redact(f"{type(error).__name__}: {error}")
                return ShardResult(shard=shard.id, seconds=time.monotonic() - started, error=what)
    raise AssertionError("unreachable")
