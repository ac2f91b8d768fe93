"""Trainings in a process of their own, to be killed or to be one of several: `python training_process.py LIST.json`.

LIST.json holds settings of one training after the other: {"base", "folder", "options", "unknown", "rows", "die"}. The
student goes to folder/out, the trainer's work folder is folder/work. "die": [where, n] kills the process with SIGKILL:
"step" when it asks for the n-th time whether to stop, "save" when the n-th checkpoint is written but not yet sealed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from filterkit_qwen_lora.checkpoints import Checkpoints, Progress
from filterkit_qwen_lora.trainer import QwenLoraTrainer

from filterkit.api import TrainJob
from filterkit.testing.samples import fake_context, make_split, sample_articles, tiny_spec


class Death:
    """Kills this process at the n-th call."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self) -> bool:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return False


def run(settings: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    folder = Path(settings["folder"])
    where, calls = settings.get("die") or (None, 0)
    death = Death(calls)
    if where == "save":
        seal = Checkpoints.seal

        def dying(self: Checkpoints, progress: Progress) -> None:
            death()
            seal(self, progress)

        Checkpoints.seal = dying  # type: ignore[method-assign]
    spec = tiny_spec()
    rows = settings.get("rows", 21)
    articles = sample_articles(rows + 9)
    data = folder / f"data-{os.environ.get('RANK', 0)}"
    train = make_split(spec, data / "train.jsonl", articles[:rows], unknown=settings.get("unknown", 0.0))
    val = make_split(spec, data / "val.jsonl", articles[rows:])
    (folder / "out").mkdir(exist_ok=True)
    (folder / "work").mkdir(exist_ok=True)
    context = fake_context(folder / "work", stop=death if where == "step" else lambda: False)
    options = QwenLoraTrainer.Options.model_validate({"base_model": settings["base"], **settings["options"]})
    trainer = QwenLoraTrainer(options, spec, context)  # type: ignore[arg-type]
    student = trainer.train(TrainJob(train, val, folder / "out", 3, "run"))
    trainer.close()
    if os.environ.get("RANK", "0") == "0":
        (folder / "student.json").write_text(student.model_dump_json())


if __name__ == "__main__":
    for each in json.loads(Path(sys.argv[1]).read_text()):
        run(each)
