"""Trainer: turns labelled rows into a student's files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from filterkit.contracts.base import Backend, O
from filterkit.records import Split, TrainedStudent


@dataclass(frozen=True)
class TrainJob:
    """What to learn from; never the test split.

    `out` is a staging folder, maybe half done by a killed run; `seed` fixes everything random; `run_id` is the
    same when the same job is run again.
    """

    train: Split
    val: Split
    out: Path
    seed: int
    run_id: str


class Trainer(Backend[O]):
    """Learns. The core prepares splits and masks, hashes the result, calibrates, writes the manifest."""

    produces: ClassVar[tuple[str, ...]]
    """Names of the model kinds whose artifacts this trainer makes."""

    distributed: ClassVar[bool] = False
    """Whether the processes of a launcher (torchrun, accelerate launch: RANK and WORLD_SIZE are set) train one job
    together. True: each calls `train` with the same job. False: process 0 trains alone, the others do nothing."""

    def plan(self, job: TrainJob | None) -> Mapping[str, float | str]:
        """What training would take, as far as known: parameters, bytes, seconds, usd; finite numbers, never negative,
        or words (what it will do about too little memory). Loads no weights, writes nothing.

        Without a job, for the options and the filter alone. Names ending in `bytes` and `seconds` are shown as such.
        """
        return {}

    @abstractmethod
    def train(self, job: TrainJob) -> TrainedStudent:
        """Learn from job.train, choose on job.val, leave a self-contained artifact in job.out.

        Files are safetensors and JSON (nothing in an artifact is ever unpickled). When `ctx.stop()` turns true,
        checkpoint in `ctx.workdir` and raise StoppedEarly.

        Where several processes train together, all share job.out and ctx.workdir, only process 0 writes the artifact,
        and what the others return is not looked at; `ctx.stop()` may turn true in one before the others.
        """
