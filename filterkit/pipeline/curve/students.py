"""The learner of a learning curve: students of a trainer, made and thrown away."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from filterkit.contracts import Context, Trainer, TrainJob
from filterkit.options import make_backend
from filterkit.pipeline.curve.measure import Index, Learner, Plan
from filterkit.pipeline.train import TrainRequest, raw_scores
from filterkit.records import F32, Split
from filterkit.spec import FilterSpec

NO_ROWS = np.empty(0, dtype=np.intp)


def students(spec: FilterSpec, rows: Split, request: TrainRequest, work: Path, stop: Callable[[], bool]) -> Learner:
    """A learner that trains what `request` asks for on given rows, in the folder `work`, and scores others with it.

    Its scores are not calibrated, and it has no val split: a trainer that chooses on one cannot be used. StoppedEarly
    when `stop()` turned true.
    """
    context = Context(workdir=work / "trainer", stop=stop, root=request.root)

    def learn(learnt: Index, held: Index, seed: int) -> F32:
        out = work / "student"
        for folder in (out, context.workdir):
            folder.mkdir(parents=True, exist_ok=True)
        trainer: Trainer[Any] = make_backend("trainer", request.trainer, request.options, spec, context)
        try:
            made = trainer.train(_job(rows, learnt, out, seed))
        finally:
            trainer.close()
        scorer = make_backend("model", made.format, {}, spec, context).load(str(out), device=request.device)
        try:
            return raw_scores(scorer, rows.take(held).texts, len(spec.names))
        finally:
            scorer.close()
            shutil.rmtree(out)

    return learn


def seconds_a_draw(spec: FilterSpec, rows: Split, request: TrainRequest, plan: Plan, work: Path) -> float | None:
    """What one draw takes, as the trainer foretells it; None where it does not."""
    context = Context(workdir=work / "trainer", root=request.root)
    trainer: Trainer[Any] = make_backend("trainer", request.trainer, request.options, spec, context)
    total = 0.0
    try:
        for size, copies in zip(plan.sizes, plan.copies, strict=True):
            foretold = trainer.plan(_job(rows, np.arange(size), work / "student", request.seed)).get("seconds")
            if not isinstance(foretold, int | float):
                return None
            total += copies * foretold
    finally:
        trainer.close()
    return total


def _job(rows: Split, learnt: Index, out: Path, seed: int) -> TrainJob:
    return TrainJob(rows.take(learnt), rows.take(NO_ROWS), out, seed, f"curve-{len(learnt)}-{seed}")
