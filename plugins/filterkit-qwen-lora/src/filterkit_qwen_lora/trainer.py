"""Trainer `qwen-lora`. What it needs of torch is imported when it trains: options are checked without it."""

from __future__ import annotations

from typing import ClassVar

from filterkit.api import InputError, Options, StoppedEarly, TrainedStudent, Trainer, TrainJob
from filterkit_qwen_lora.options import FORMAT, STOPPED, QwenLoraOptions


class QwenLoraTrainer(Trainer[QwenLoraOptions]):
    """Fine-tunes a base model of Hugging Face; what it leaves is a model that plain transformers loads, too."""

    Options: ClassVar[type[Options]] = QwenLoraOptions
    produces: ClassVar[tuple[str, ...]] = (FORMAT,)
    distributed: ClassVar[bool] = True

    def plan(self, job: TrainJob | None) -> dict[str, float | str]:
        """Parameters, memory and time, from the base's published architecture; no weights are loaded."""
        from filterkit_qwen_lora.plan import make_plan
        from filterkit_qwen_lora.quiet import quiet

        with quiet():
            return make_plan(self.options, self.spec, job, root=self.ctx.root)

    def train(self, job: TrainJob) -> TrainedStudent:
        """Learn from job.train, keep the epoch that is best on job.val. A rerun goes on from the last checkpoint."""
        if not job.train.texts:
            raise InputError("there is no article to learn from", where=job.train.path)
        if self.ctx.stop():
            raise StoppedEarly("training was stopped", fix=STOPPED)
        from filterkit_qwen_lora.training import train

        return train(job, self.options, self.spec, self.ctx)
