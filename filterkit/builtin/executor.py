"""Executor `local`: shards in this process, or in several processes on this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, ClassVar

from pydantic import Field

from filterkit.api import ConfigError, Executor, FilterkitError, Options, Shard, ShardResult, run_shard

Job = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any], int]
"""read, make_worker, write, max_retries: what a worker process needs to know."""


class LocalOptions(Options):
    """How many processes."""

    workers: int = Field(1, ge=1, le=256, description="processes; 1 works in this one")


class LocalExecutor(Executor[LocalOptions]):
    """One shard per worker at a time. A process that dies takes only its own shard with it, which is tried again.

    Once `ctx.stop()` is true no further shard is begun; what is under way is finished.
    """

    Options: ClassVar[type[Options]] = LocalOptions

    def map_shards(
        self,
        shards: Iterable[Shard],
        read: Callable[[Shard], Iterable[Any]],
        make_worker: Callable[[], Callable[[Any], Any]],
        write: Callable[[Shard, Iterable[Any]], ShardResult],
        *,
        done: Callable[[str], bool],
        workers: int | None = None,
        gpus_per_worker: float = 0,
        max_retries: int = 3,
    ) -> Iterator[ShardResult]:
        count = self.options.workers if workers is None else workers
        if count > 1 and gpus_per_worker:
            raise ConfigError("the local executor does not share out GPUs", fix="Set workers to 1")
        todo = (shard for shard in shards if not self.ctx.stop() and not done(shard.id))
        if count == 1:
            return _in_this_process(todo, (read, make_worker, write, max_retries))
        return _in_processes(todo, (read, make_worker, write, max_retries), count)


def _in_this_process(shards: Iterator[Shard], job: Job) -> Iterator[ShardResult]:
    read, make_worker, write, max_retries = job
    work = None
    for shard in shards:
        if work is None:
            work = make_worker()
        yield run_shard(shard, read, work, write, max_retries)


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    shard: Shard | None = None
    ready: bool = False


def _in_processes(shards: Iterator[Shard], job: Job, count: int) -> Iterator[ShardResult]:
    """Own processes instead of a pool: when one dies we know which shard it had, and the others go on."""
    again: deque[Shard] = deque()
    deaths: dict[str, int] = {}
    running: list[_Worker] = []
    idle: list[_Worker] = []
    try:
        while True:
            while len(running) < count and (shard := again.popleft() if again else next(shards, None)) is not None:
                with _interrupts_held():
                    worker = idle.pop() if idle else _start(job)
                    running.append(worker)
                worker.shard = shard
                # a worker that is already dead is noticed below, where its pipe reads as ended
                with contextlib.suppress(BrokenPipeError):
                    worker.pipe.send(shard)
            if not running:
                return
            for pipe in wait([worker.pipe for worker in running]):
                worker = next(w for w in running if w.pipe is pipe)
                message = _receive(worker)
                if message == "ready":
                    worker.ready = True
                    continue
                running.remove(worker)
                if isinstance(message, BaseException):
                    _stop([worker])
                    raise message
                if isinstance(message, ShardResult):
                    idle.append(worker)
                    yield message
                else:
                    result = _bury(worker, deaths, job[3])
                    if result is None:
                        again.append(_shard_of(worker))
                    else:
                        yield result
    finally:
        _stop(running + idle)


def _start(job: Job) -> _Worker:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, job), name="filterkit-worker")
    process.start()
    theirs.close()  # so that its end, and not our copy of it, says that the worker is gone
    return _Worker(process, ours)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """A Ctrl-C in this block is felt at its end; a process that is started in it never feels one.

    (Cut off in the middle of its birth, a worker would be lost to us and complain on the terminal.)
    """
    if threading.current_thread() is not threading.main_thread():  # where Python raises no KeyboardInterrupt
        yield
        return
    felt: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: felt.append(number))
    if sys.platform != "win32":  # the child inherits the mask
        resource_tracker.ensure_running()  # its first start would unblock SIGINT again
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    if felt:
        signal.raise_signal(signal.SIGINT)


def _receive(worker: _Worker) -> Any:
    """The worker's next message; None when it died."""
    try:
        return worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        return None


def _bury(worker: _Worker, deaths: dict[str, int], max_retries: int) -> ShardResult | None:
    """What to say of a dead worker's shard: None to try it again. FilterkitError when the worker never came to work."""
    _stop([worker])
    code = worker.process.exitcode
    if not worker.ready:
        raise FilterkitError(
            f"a worker process ended while it was starting (exit code {code})",
            fix="Run with workers=1 to see why, or give it more memory",
        )
    shard = _shard_of(worker)
    deaths[shard.id] = deaths.get(shard.id, 0) + 1
    if deaths[shard.id] <= max_retries:
        return None
    return ShardResult(shard=shard.id, error=f"its worker process died {deaths[shard.id]} times (exit code {code})")


def _shard_of(worker: _Worker) -> Shard:
    assert worker.shard is not None
    return worker.shard


def _stop(workers: Iterable[_Worker]) -> None:
    for worker in workers:
        worker.pipe.close()
        worker.process.terminate()
    for worker in workers:
        worker.process.join(5)
        worker.process.kill()
        worker.process.join()


def _serve(pipe: Connection, job: Job) -> None:
    """A worker process's life: build once, then one shard after the other until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to feel, who ends its workers
    read, make_worker, write, max_retries = job
    try:
        work = make_worker()
        pipe.send("ready")
        while True:
            pipe.send(run_shard(pipe.recv(), read, work, write, max_retries))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:
        pipe.send(error)
