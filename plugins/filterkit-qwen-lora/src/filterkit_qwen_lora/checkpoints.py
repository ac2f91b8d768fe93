"""Where a training stands, on disk: folders `checkpoint-<step>` that count only once they are sealed.

The seal, `progress.json`, is written last and whole. A folder without it was being written when the process was
killed, and is removed, as is one of another job.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filterkit.api import atomic_write

_SEAL = "progress.json"
_PREFIX = "checkpoint-"


@dataclass
class Progress:
    """What is known after `step` optimizer steps.

    budget (padded tokens at once in one process; None: its whole share of a batch) and checkpointing: how the batches
    are taken. history: one row per finished epoch. loss, rows and seconds: sums of the epoch under way. best_value (the
    higher the better) and best_step: the best epoch's end so far; worse: epochs since then. finished: nothing is left
    to do.
    """

    budget: int | None = None
    checkpointing: bool = False
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    loss: float = 0.0
    rows: int = 0
    seconds: float = 0.0
    best_value: list[float] | None = None
    best_step: int | None = None
    worse: int = 0
    finished: bool = False

    def end_epoch(self, row: dict[str, float], value: list[float] | None) -> None:
        """Note an epoch's row of the history, and how good it is; None: by no measure, so that the last is the best."""
        self.history.append(row)
        self.loss, self.rows, self.seconds = 0.0, 0, 0.0
        if value is None or self.best_value is None or value > self.best_value:
            self.best_value, self.best_step, self.worse = value, self.step, 0
        else:
            self.worse += 1


class Checkpoints:
    """The checkpoints of one job (a fingerprint of all it depends on) in `folder`."""

    def __init__(self, folder: Path, job: str) -> None:
        self.folder = folder
        self._job = job

    def path(self, step: int) -> Path:
        """The folder of that step's checkpoint, as transformers names it."""
        return self.folder / f"{_PREFIX}{step}"

    def latest(self) -> Progress | None:
        """How far the newest checkpoint that can be resumed from had come; None where there is none."""
        found = [progress for path in self._folders() if (progress := self._read(path))]
        usable = [p for p in found if p.best_step in {None, *(each.step for each in found)}]
        return max(usable, key=lambda progress: progress.step, default=None)

    def open(self, step: int) -> Path:
        """The folder for a checkpoint about to be written; one that is there already no longer counts."""
        path = self.path(step)
        path.mkdir(parents=True, exist_ok=True)
        (path / _SEAL).unlink(missing_ok=True)
        return path

    def seal(self, progress: Progress) -> None:
        """From now on the checkpoint of progress.step counts, and only it and the best one are kept."""
        with atomic_write(self.path(progress.step) / _SEAL) as file:
            file.write(json.dumps({"job": self._job, **dataclasses.asdict(progress)}).encode())
        self.keep({progress.step, progress.best_step})

    def keep(self, steps: set[int | None]) -> None:
        """Remove all other checkpoints."""
        wanted = {self.path(step) for step in steps if step is not None}
        for path in self._folders():
            if path not in wanted:
                (path / _SEAL).unlink(missing_ok=True)  # first, so that a kill in between leaves nothing half there
                shutil.rmtree(path, ignore_errors=True)

    def _folders(self) -> list[Path]:
        return [path for path in self.folder.glob(f"{_PREFIX}*") if path.is_dir()]

    def _read(self, path: Path) -> Progress | None:
        try:
            values: dict[str, Any] = json.loads((path / _SEAL).read_text(encoding="utf-8"))
            if values.pop("job") != self._job:
                return None
            progress = Progress(**values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return progress if path == self.path(progress.step) else None
