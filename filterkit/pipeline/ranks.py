"""Several processes of one launch (torchrun, accelerate launch) at one student.

Every process runs the same command. Process 0 does what one alone does: it takes the lock, publishes, prints. The
others train along and write nothing. What they must know of process 0, it says in a file of the student's work folder:
that training begins, or that it failed. It holds a lock beside it for as long as it lives, so that the last word of a
killed process is not taken for news.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from filterkit.errors import ConfigError, FilterkitError, StoppedEarly
from filterkit.files import Lock, read_json, write_json
from filterkit.records import canonical_json, sha256_text

POLL_S = 0.1
LINGER_S = 2.0
"""How long process 0, having failed, waits so that all who wait for it hear so."""
START_S = 600.0
"""How long the others wait for process 0 to begin training, or to fail."""
_TRAINING, _OVER = "training", "over"
_LAUNCH = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT")


@dataclass(frozen=True)
class Ranks:
    """Which process of how many this one is. `launch`: what tells their launch from others; `with_first`: whether
    process 0 runs on this machine, and thus says for all what is wrong here."""

    rank: int = 0
    world: int = 1
    launch: str = ""
    with_first: bool = True

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Ranks:
        """As a launcher set them: RANK and WORLD_SIZE, both. ConfigError where they contradict each other."""
        rank, world = environment.get("RANK", ""), environment.get("WORLD_SIZE", "")
        if not (rank.isdecimal() and world.isdecimal()) or int(world) == 1:
            return cls()
        if int(rank) >= int(world):
            raise ConfigError(
                f"RANK is {rank} and WORLD_SIZE {world}",
                where="environment",
                fix="Let torchrun set both, or unset them",
            )
        launch = sha256_text(canonical_json([environment.get(name) for name in _LAUNCH]))[:8]
        return cls(int(rank), int(world), launch, environment.get("GROUP_RANK", "0") == "0")


class Leader:
    """Process 0's side, around all that it does in `work`; nothing happens where it is alone."""

    def __init__(self, work: Path, ranks: Ranks) -> None:
        self._work, self._together = work, ranks.world > 1
        self._word, self._lock = _files(work, ranks)
        self._said = False

    def __enter__(self) -> Leader:
        if self._together:
            self._word.unlink(missing_ok=True)  # before the lock is held, which would make it news
            self._acquire()
        return self

    def begins(self) -> None:
        """Training begins: the others come along."""
        if self._together:
            self._say(_TRAINING)

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        if not self._together:
            return
        if error is not None:
            with contextlib.suppress(FilterkitError):  # a full disk: they will see that we are gone
                self._say(_OVER, exit_code(error))
            time.sleep(LINGER_S)
        joined = self._said and error is not None  # they will look at it when they miss us
        with contextlib.suppress(OSError):
            if not joined:
                self._word.unlink(missing_ok=True)
            self._lock.path.unlink(missing_ok=True)
        self._lock.release()
        with contextlib.suppress(OSError):
            self._work.rmdir()  # where it was made for us and nothing else

    def _say(self, state: str, code: int | None = None) -> None:
        self._said |= state == _TRAINING
        write_json(self._word, {"state": state, "code": code})

    def _acquire(self) -> None:
        until = time.monotonic() + LINGER_S
        while not self._lock.acquire():  # somebody looks whether we live, for an instant
            if time.monotonic() > until:
                raise StoppedEarly(
                    "another launch with this MASTER_PORT is working here", where=self._work, fix="Wait for it"
                )
            time.sleep(POLL_S / 10)


class Follower:
    """Another process's side: what process 0 of the launch says."""

    def __init__(self, work: Path, ranks: Ranks, there: Callable[[], bool], stop: Callable[[], bool]) -> None:
        """`there`: whether the student is there."""
        self._word, self._lock = _files(work, ranks)
        self._there, self._stop = there, stop

    def wait_for_training(self) -> int | None:
        """None when process 0 trains, and this one shall too; else the exit code that both end with."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self._there():
                return 0
            state, code = self._heard() if self._lock.held() else (None, None)
            if state is not None:
                return None if state == _TRAINING else code
            if self._stop():
                return StoppedEarly.exit_code
            time.sleep(POLL_S)
        raise StoppedEarly("process 0 of this launch did not begin", fix="Look at what it says")

    def outcome(self, within_s: float = float("inf")) -> int | None:
        """The exit code that process 0, whose training this one shared, ends with; None when it goes on for longer."""
        until = time.monotonic() + within_s
        while True:
            lives = self._lock.held()  # asked first: its last word is older than its end
            if self._there():
                return 0
            state, code = self._heard()
            if state == _OVER:
                return code
            if not lives:
                return StoppedEarly.exit_code
            if time.monotonic() > until:
                return None
            time.sleep(POLL_S)

    def _heard(self) -> tuple[str | None, int | None]:
        if not self._word.is_file():
            return None, None
        try:
            word = read_json(self._word)
        except FilterkitError:  # removed a moment ago
            return None, None
        return word["state"], word["code"]


def _files(work: Path, ranks: Ranks) -> tuple[Path, Lock]:
    """The file of process 0's word, and the lock that it holds while it lives."""
    return work / f"launch-{ranks.launch}.json", Lock(work / f"launch-{ranks.launch}.lock")


def exit_code(error: BaseException) -> int:
    """What the command line ends with after `error`."""
    if isinstance(error, FilterkitError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 2 if isinstance(error, OSError) and error.errno is not None else 70
