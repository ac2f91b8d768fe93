"""What happens between the steps of fine-tuning: progress, stops, checkpoints by the clock, the end of an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from filterkit_qwen_lora.evaluate import rank_value
from filterkit_qwen_lora.loop import FineTuning

_TELL_SECONDS = 1.0


class Conductor(TrainerCallback):
    """Tells the Trainer when to save and when to stop; all processes come to the same answers.

    `measure()` gives the val split's measures (val_mae ...) after an epoch; it is called in all processes.
    """

    def __init__(self, loop: FineTuning, measure: Callable[[], dict[str, float]]) -> None:
        self.stopped = False
        self._loop = loop
        self._measure = measure
        self._steps = len(loop.batches)
        self._ticked = self._told = self._saved = time.monotonic()
        self._untold_rows = self._untold_steps = 0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The batches follow from the epoch; the clock runs from here, so evaluation is not in the speed."""
        self._loop.batches.epoch = state.global_step // self._steps
        self._ticked = self._told = time.monotonic()
        self._untold_rows = self._untold_steps = 0
        self._loop.untold_loss()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count, tell, and see whether to save or to stop."""
        self._tick()
        if self._ticked - self._told >= _TELL_SECONDS:
            self._tell_steps(state)
        course = self._loop.course
        due = self._ticked - self._saved >= 60 * course.options.checkpoint_minutes
        self.stopped, due = self._loop.processes.any(course.context.stop(), due)
        if self.stopped:
            control.should_training_stop = True
        # the end of an epoch makes its own checkpoint, after the epoch was judged
        control.should_save = (due or self.stopped) and state.global_step % self._steps != 0

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clocks anew."""
        self._saved = self._ticked = time.monotonic()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Judge the epoch; with the checkpoint that follows, it is over."""
        if state.global_step % self._steps:  # stopped on the way
            return
        loop, progress = self._loop, self._loop.progress
        started = time.monotonic()
        loop.collect()
        measures = self._measure()
        row = {
            "epoch": float(state.global_step // self._steps),
            "train_loss": progress.loss / progress.rows,
            **measures,
            "learning_rate": loop.rate_now,
            "examples_per_s": progress.rows / max(progress.seconds, 1e-9),
            "seconds": progress.seconds + time.monotonic() - started,
        }
        progress.step = state.global_step
        progress.end_epoch(row, rank_value(measures, loop.course.options.best))
        patience = loop.course.options.early_stopping
        if patience is not None and progress.worse >= patience:
            control.should_training_stop = True
        progress.finished = (control.should_training_stop and not self.stopped) or state.global_step >= state.max_steps
        control.should_save = True
        self._tell(state, loss=row["train_loss"], examples_per_s=row["examples_per_s"], **measures)
        loop.log(dict(row))

    def _tick(self) -> None:
        now, progress = time.monotonic(), self._loop.progress
        progress.rows += self._loop.rows_of_step
        progress.seconds += now - self._ticked
        self._untold_rows += self._loop.rows_of_step
        self._untold_steps += 1
        self._ticked = now

    def _tell_steps(self, state: Any) -> None:
        seconds = self._ticked - self._told
        self._tell(
            state,
            loss=self._loop.untold_loss() / self._untold_rows,
            examples_per_s=self._untold_rows / seconds,
            eta_s=seconds / self._untold_steps * (state.max_steps - state.global_step),
        )
        self._untold_rows = self._untold_steps = 0

    def _tell(self, state: Any, **values: float) -> None:
        self._told = time.monotonic()
        if self._loop.processes.first:
            self._loop.course.context.emit(
                "training_progress",
                step=state.global_step,
                steps=state.max_steps,
                epoch=state.global_step / self._steps,
                **values,
            )
