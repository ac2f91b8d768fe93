"""What transformers' Trainer is told about a run: its settings, and the experiment trackers that hear of it."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from filterkit.api import ConfigError
from filterkit_qwen_lora.options import QwenLoraOptions

_PACKAGES = {
    "wandb": ("wandb",),
    "trackio": ("trackio",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "mlflow": ("mlflow",),
}
_LOG_STEPS = 10


def check_installed(trackers: tuple[str, ...]) -> None:
    """ConfigError for a tracker that is not installed: told before any work."""
    for tracker in trackers:
        if not any(importlib.util.find_spec(package) for package in _PACKAGES[tracker]):
            raise ConfigError(
                f"{tracker} is not installed",
                where="option report_to of trainer qwen-lora",
                fix=f"pip install {_PACKAGES[tracker][0]}",
            )


@dataclasses.dataclass
class Arguments(TrainingArguments):
    """Settings of the Trainer that show trackers the options in effect, and no folder of this machine."""

    told: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What trackers write down as the run's configuration."""
        return dict(self.told)


def arguments(options: QwenLoraOptions, folder: Path, name: str, seed: int, told: dict[str, Any]) -> Arguments:
    """The Trainer's settings for a run of that name, which keeps its checkpoints in `folder`. Finds the device.

    Saving, judging and logging at the right moments is the conductor's work, so the Trainer's own is switched off.
    """
    on_cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    wanted: dict[str, Any] = {
        "trackio_space_id": None,  # nothing is published that was not asked for
        "trackio_static_space_id": False,
        "project": "filterkit",
    }
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    args = Arguments(
        output_dir=str(folder),
        run_name=name,
        told=told,
        per_device_train_batch_size=options.batch_size,
        num_train_epochs=options.passes,
        max_grad_norm=options.max_grad_norm,
        seed=seed,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="steps" if options.report_to else "no",
        logging_steps=_LOG_STEPS,
        logging_nan_inf_filter=False,
        report_to=list(options.report_to),
        disable_tqdm=True,
        log_level="error",
        use_cpu=on_cpu,
        # adapters and heads are used by every batch; of a whole model some weights may never be
        ddp_find_unused_parameters=options.method == "full",
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        **{name: value for name, value in wanted.items() if name in known},
    )
    _ = args.device  # sets up the processes, too
    args._n_gpu = min(args._n_gpu, 1)  # several cards are used by several processes, as torchrun starts them
    return args


def keep_logs_at(callbacks: list[Any], folder: Path) -> None:
    """TensorBoard's logs, where nobody said where, belong to the user: not into the trainer's work folder."""
    for callback in callbacks:
        if getattr(callback, "logging_dir", "") is None:
            callback.logging_dir = str(folder)


@contextmanager
def told_of(trackers: tuple[str, ...]) -> Iterator[None]:
    """What a tracker raises (no login, no network) as one line."""
    try:
        yield
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        for tracker in trackers:
            if package in _PACKAGES[tracker]:
                text = " ".join(str(error).split())
                raise ConfigError(
                    f"{tracker} cannot be used: {text}",
                    where="option report_to of trainer qwen-lora",
                    fix="See to it, or leave it out",
                ) from error
        raise
