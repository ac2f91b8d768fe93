"""Fine-tuning by the Trainer of transformers: global batches cut for processes and memory, and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainingArguments

from filterkit.api import ConfigError, Context
from filterkit_qwen_lora.batches import GlobalBatches, cut, share
from filterkit_qwen_lora.checkpoints import Checkpoints, Progress
from filterkit_qwen_lora.losses import Counted
from filterkit_qwen_lora.options import QwenLoraOptions
from filterkit_qwen_lora.processes import out_of_memory
from filterkit_qwen_lora.reading import Rows, padded
from filterkit_qwen_lora.teaching import Learner
from filterkit_qwen_lora.tokens import Reader

WEIGHTS = "trained.safetensors"
LESS_MEMORY = (
    "Set checkpointing: true, precision: bf16, or a smaller base_model; or let the filter read fewer tokens "
    "(input.student.max_tokens)"
)


@dataclass(frozen=True)
class Course:
    """All that a training goes by. rates: learning rate of each of the learner's parameters by name."""

    options: QwenLoraOptions
    rows: Rows
    reader: Reader
    rates: Mapping[str, float]
    seed: int
    context: Context


class FineTuning(transformers.Trainer):
    """One optimizer step is one global batch: `training_step` gets its rows, and takes its share in micro-batches.

    The loss is a sum over rows divided by what the global batch counts, so neither the number of processes nor the
    size of the micro-batches changes the gradient.
    """

    model: Learner

    def __init__(
        self, learner: Learner, course: Course, args: TrainingArguments, checkpoints: Checkpoints, progress: Progress
    ) -> None:
        self.course = course
        self.progress = progress
        self.processes = learner.machine.processes
        self.batches = GlobalBatches(course.rows.lengths, course.options.batch_size, course.seed)
        self._checkpoints = checkpoints
        self._counted = Counted.of(course.rows.targets, course.rows.weights)
        self._targets = torch.from_numpy(course.rows.targets)
        self._weights = torch.from_numpy(course.rows.weights)
        super().__init__(model=learner, args=args)
        self.remove_callback(PrinterCallback)
        self.rows_of_step = 0
        """Rows of the global batch of the last step."""
        self._untold = torch.zeros((), device=args.device)
        self._uncollected = torch.zeros((), device=args.device)

    # What the Trainer asks for

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Row numbers of global batches; a generator of its own keeps the global one as it is."""
        numbers: Any = range(len(self.course.rows.tokens))
        return DataLoader(numbers, batch_sampler=self.batches, collate_fn=list, generator=torch.Generator())

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW, without decay of vectors (biases, norms)."""
        options = self.course.options
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                rate = self.course.rates[name]
                decay = options.weight_decay if parameter.ndim > 1 else 0.0
                groups.setdefault((rate, decay), []).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [{"params": each, "lr": rate, "weight_decay": decay} for (rate, decay), each in groups.items()],
            fused=self.args.device.type == "cuda",
        )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """Linear warm-up, then linearly down to nothing."""
        driven: Any = optimizer or self.optimizer
        self.lr_scheduler = linear_schedule(driven, self.course.options.warmup, num_training_steps)
        return self.lr_scheduler

    @property
    def rate_now(self) -> float:
        """Learning rate of the adapters or weights in the next step."""
        return float(self._get_learning_rate())

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Gradients of one global batch. Where the memory does not suffice, the step is done again in smaller parts."""
        model.train()
        self.rows_of_step = len(inputs)
        while True:
            # dropout depends on the step alone, so a resumed training draws what an unbroken one would have drawn
            torch.manual_seed(self._step_seed())
            try:
                loss = self._gradients(model, inputs)
                self._untold += loss * len(inputs)
                self._uncollected += loss * len(inputs)
                return loss * self.processes.world  # the Trainer's own log takes the mean
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self.progress.budget = self._smaller_budget(inputs)
            model.zero_grad()
            if self.args.device.type == "cuda":
                torch.cuda.empty_cache()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if self.processes.first and output_dir is not None:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            save_file(trained_weights(self.model), Path(output_dir) / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_trained(self.model, Path(resume_from_checkpoint))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """A folder that counts only when every process has written its part."""
        self.collect()
        self.progress.step = self.state.global_step
        try:
            if self.processes.first:
                self._checkpoints.open(self.progress.step)
            super()._save_checkpoint(model, trial)
            self.processes.wait()
            if self.processes.first:
                self._checkpoints.seal(self.progress)
        except (OSError, RuntimeError) as error:  # torch and safetensors say RuntimeError of a full disk
            raise ConfigError(
                f"the checkpoint could not be written: {error}", where=self._checkpoints.folder, fix="Free some space"
            ) from error

    # Its own work

    def collect(self) -> None:
        """Move the losses of all processes into `progress`. Collective. ConfigError when they are no numbers."""
        self.progress.loss += self.processes.total(finite_loss(self._uncollected))
        self._uncollected.zero_()

    def untold_loss(self) -> float:
        """The loss summed over rows since this was asked last, as far as this process knows. ConfigError as above."""
        found = finite_loss(self._untold) * self.processes.world
        self._untold.zero_()
        return found

    def _step_seed(self) -> int:
        step = np.random.SeedSequence([self.course.seed, self.state.global_step, self.processes.rank])
        return int(step.generate_state(1, np.uint64)[0])

    def _gradients(self, model: nn.Module, rows: list[int]) -> Tensor:
        """The loss of this process's share, after its gradients were added up (and averaged over all processes).

        A process without a row takes part with one that counts nothing: the others wait for it.
        """
        lengths, processes = self.course.rows.lengths, self.processes
        mine = share(rows, lengths, processes.rank, processes.world)
        parts = cut(mine or rows[:1], lengths, self.progress.budget)
        divisor = self._counted.of_batch(len(rows))
        total = torch.zeros((), device=self.args.device)
        for number, part in enumerate(parts, start=1):
            ids, mask = padded(self.course.reader, [self.course.rows.tokens[row] for row in part], self.args.device)
            weights = self._weights[part] * bool(mine)
            with nullcontext() if number == len(parts) else self.accelerator.no_sync(model):
                loss = model(ids, mask, self._targets[part].to(ids.device), weights.to(ids.device)) / divisor
                # processes average their gradients, and the divisor already counts the rows of all of them
                self.accelerator.backward(loss * processes.world)
            total += loss.detach()
        return total

    def _smaller_budget(self, rows: list[int]) -> int:
        """Half the padded tokens that were too many. ConfigError where one article is, or with several processes."""
        lengths, processes = self.course.rows.lengths, self.processes
        parts = cut(share(rows, lengths, processes.rank, processes.world), lengths, self.progress.budget)
        most = max((part for part in parts), key=lambda part: lengths[part[0]] * len(part))
        if len(most) == 1 or processes.world > 1:
            raise ConfigError("the memory does not suffice for training", where="qwen-lora", fix=LESS_MEMORY)
        return lengths[most[0]] * (len(most) // 2)


def linear_schedule(optimizer: torch.optim.Optimizer, warmup: float, steps: int) -> LambdaLR:
    """Learning rates that rise over the share `warmup` of the steps, then fall to nothing, both in a straight line."""
    rising = round(warmup * steps)

    def factor(step: int) -> float:
        return (step + 1) / (rising + 1) if step < rising else (steps - step) / max(1, steps - rising)

    return LambdaLR(optimizer, factor)


def trained_weights(learner: nn.Module) -> dict[str, Tensor]:
    """What training changes, by name, on the CPU."""
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in learner.named_parameters()
        if parameter.requires_grad
    }


def load_trained(learner: nn.Module, checkpoint: Path) -> None:
    """Put the weights of a checkpoint's folder into the learner."""
    weights = load_file(checkpoint / WEIGHTS)
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(weights[name])


def finite_loss(loss: Tensor) -> float:
    """The loss as a number. ConfigError when it is none any more."""
    value = float(loss)
    if not np.isfinite(value):
        raise ConfigError(
            "the loss is no longer a number",
            where="qwen-lora",
            fix="Set a lower learning_rate and head_learning_rate, or precision: fp32",
        )
    return value
