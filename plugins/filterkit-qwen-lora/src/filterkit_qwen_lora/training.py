"""A training from the job to the artifact."""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from filterkit.api import ConfigError, Context, FilterSpec, TrainedStudent, TrainJob
from filterkit_qwen_lora.artifact import save_student
from filterkit_qwen_lora.blueprint import UnknownFootprintError
from filterkit_qwen_lora.card import model_card
from filterkit_qwen_lora.checkpoints import Progress
from filterkit_qwen_lora.fitting import fine_tune, train_frozen
from filterkit_qwen_lora.loop import LESS_MEMORY
from filterkit_qwen_lora.memory import Hardware, decide, hardware_for
from filterkit_qwen_lora.options import FORMAT, QwenLoraOptions
from filterkit_qwen_lora.plainhead import finish_plain_head, start_plain_head
from filterkit_qwen_lora.processes import Machine, Processes, bf16_is_quick, out_of_memory
from filterkit_qwen_lora.quiet import quiet
from filterkit_qwen_lora.task import Task, base_place, make_task
from filterkit_qwen_lora.tracking import arguments, check_installed

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def train(job: TrainJob, options: QwenLoraOptions, spec: FilterSpec, context: Context) -> TrainedStudent:
    """Train, and leave the artifact in job.out. Raises ConfigError, InputError, StoppedEarly."""
    check_installed(options.report_to)
    with quiet(), _enough_memory():
        return _Training(options, spec, context).train(job)


@dataclass(frozen=True)
class _Training:
    """Options, filter and context, which every step of a training needs."""

    options: QwenLoraOptions
    spec: FilterSpec
    ctx: Context

    def train(self, job: TrainJob) -> TrainedStudent:
        options = self.options
        name = f"{self.spec.name}-{job.run_id}"
        args = arguments(options, self.ctx.workdir / "checkpoints", name, job.seed, self._in_effect())
        machine = Machine(args.device, self._bf16(args.device), Processes(args.distributed_state))
        if machine.processes.first:
            _empty(job.out)
        hardware = hardware_for(options, machine.device)  # asked before the base takes its part of the memory
        task = make_task(job, options, self.spec, self.ctx, machine)
        task.network.to(machine.device)
        start_plain_head(task)
        if options.freeze == "encoder":
            progress, *features = train_frozen(task)
            finish_plain_head(task, *features)
        else:
            progress = fine_tune(task, args, self._start(task, hardware))
            finish_plain_head(task)
        if machine.processes.first:
            self._save(job.out, task, progress)
        return TrainedStudent(
            format=FORMAT,
            hyperparameters=self._in_effect()
            | {
                "precision": "bf16" if machine.bf16 else "fp32",
                "seed": job.seed,
                "processes": machine.processes.world,
                "micro_batch_tokens": progress.budget,
                "checkpointing": progress.checkpointing,
                "best_epoch": _best_epoch(progress),
                "histogram_parameters": _size(task.network.histogram),
            },
            history=progress.history,
            base_model=self._base_name(),
            trainable=task.trainable,
            total=task.total,
        )

    def _save(self, out: Path, task: Task, progress: Progress) -> None:
        options = self.options
        card = model_card(
            self.spec,
            base_model=task.base.name,
            method="frozen" if options.freeze == "encoder" else options.method,
            figures={name: value for name, value in _best_row(progress).items() if name.startswith("val_")},
            histogram=task.network.histogram is not None,
            reads=task.reader.max_tokens,
        )
        save_student(
            out,
            task.network,
            task.base,
            self.spec,
            bins=task.lesson.bins if task.network.histogram is not None else None,
            dtype=_DTYPES.get(options.weights, task.base.published),
            card=card,
        )

    def _start(self, task: Task, hardware: Hardware) -> Progress:
        """How batches are taken: as the options say, and where they do not, so that the memory suffices."""
        options, machine = self.options, task.machine
        budget, checkpointing = options.micro_batch_tokens, options.checkpointing
        if budget is None or checkpointing is None:
            world = machine.processes.world
            shared = 1 if hardware.cuda else world  # processes on CPUs have one memory together
            hardware = dataclasses.replace(hardware, bf16=machine.bf16, bytes=hardware.bytes // shared)
            longest = max(task.train.lengths)
            try:
                decision = decide(options, task.base.model.config, longest, hardware, processes=world)
            except UnknownFootprintError:  # what does not fit is halved as it goes
                return Progress(budget=budget, checkpointing=bool(checkpointing))
            if not decision.fits and machine.processes.first:
                _warn(f"training may not fit {hardware.name}: filterkit train --plan says what helps")
            budget, checkpointing = budget or decision.micro_batch_tokens, decision.checkpointing
        return Progress(budget=budget, checkpointing=checkpointing)

    def _bf16(self, device: torch.device) -> bool:
        precision = self.options.precision
        return precision == "bf16" or (precision == "auto" and bf16_is_quick(device))

    def _base_name(self) -> str:
        """The base as it may be told: a folder of this machine by its name alone."""
        name = self.options.base_model
        return name if base_place(name, self.ctx.root) == name and not Path(name).is_absolute() else Path(name).name

    def _in_effect(self) -> dict[str, Any]:
        """The options, with the values of those that follow from others."""
        options = self.options
        values = options.model_dump(mode="json")
        return values | {"base_model": self._base_name(), "epochs": options.passes, "learning_rate": options.rate}


def _best_row(progress: Progress) -> dict[str, float]:
    return progress.history[_best_epoch(progress) - 1]


def _best_epoch(progress: Progress) -> int:
    """Number of the epoch whose weights were kept, from 1."""
    return round((progress.best_step or progress.step) * len(progress.history) / progress.step)


def _warn(text: str) -> None:
    """Say it, although the libraries' warnings are held back."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(text, stacklevel=3)


def _size(module: torch.nn.Module | None) -> int:
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())


def _empty(out: Path) -> None:
    """What a killed run left behind must not become part of the student."""
    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def _enough_memory() -> Iterator[None]:
    """ConfigError, in one line, where the memory does not suffice."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise ConfigError("the memory does not suffice", where="trainer qwen-lora", fix=LESS_MEMORY) from error
