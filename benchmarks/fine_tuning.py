"""Two ways to fine-tune a language model on scores, for the other benchmarks: the trainer `qwen-lora`, and by hand."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filterkit_qwen_lora.model import HfModel
from filterkit_qwen_lora.options import HfModelOptions, QwenLoraOptions
from filterkit_qwen_lora.processes import bf16_is_quick
from filterkit_qwen_lora.trainer import QwenLoraTrainer

from filterkit.api import F32, Context, FilterSpec, Prediction, Scorer, Split, TrainedStudent, TrainJob

SCALE = (0.0, 10.0)
HEADS = ("best", "plain")


def spec_of(names: Sequence[str], max_tokens: int) -> FilterSpec:
    """A filter of dimensions that count alike, on a scale of 0 to 10."""
    return FilterSpec.model_validate(
        {
            "schema": 1,
            "name": "benchmark",
            "version": "1",
            "dimensions": [{"name": name, "weight": 1 / len(names)} for name in names],
            "input": {"student": {"max_tokens": max_tokens}},
        }
    )


def computes_in_bf16(precision: str, device: str = "auto") -> bool:
    """Whether `precision` of the trainer's options means bf16 on this machine."""
    import torch

    if precision != "auto":
        return precision == "bf16"
    return bf16_is_quick(torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"))


class Ours:
    """Trainer and model through the contract: files are written, and scoring starts from them."""

    def __init__(self, spec: FilterSpec, options: QwenLoraOptions, folder: Path, device: str = "auto") -> None:
        self._spec, self._options, self._folder, self._device = spec, options, folder, device
        self.trained: TrainedStudent | None = None

    def fit(
        self,
        train: tuple[Sequence[str], F32],
        val: tuple[Sequence[str], F32],
        seed: int = 0,
        emit: Callable[..., None] = lambda *_, **__: None,
    ) -> None:
        """Texts and targets [n, d] to learn from, and to choose the epoch by."""
        shutil.rmtree(self._folder, ignore_errors=True)
        out = self._folder / "out"
        out.mkdir(parents=True)
        context = Context(workdir=self._folder / "work", emit=emit)
        context.workdir.mkdir()
        trainer = QwenLoraTrainer(self._options, self._spec, context)
        splits = [
            Split(list(texts), targets, np.ones(len(texts), np.float32), self._folder / f"{name}.jsonl")
            for name, (texts, targets) in (("train", train), ("val", val))
        ]
        try:
            self.trained = trainer.train(TrainJob(splits[0], splits[1], out, seed, "benchmark"))
        finally:
            trainer.close()

    def predict(self, texts: Sequence[str], head: str = "best") -> F32:
        """Scores [n, d] of the histogram's medians where there is one, or of the plain head, clipped to the scale."""
        options = HfModelOptions.model_validate({"head": head})
        scorer = HfModel(options, self._spec, Context(workdir=self._folder / "work")).load(
            str(self._folder / "out"), device=self._device
        )
        try:
            parts = [
                _scored(scorer, texts[at : at + scorer.max_batch]) for at in range(0, len(texts), scorer.max_batch)
            ]
        finally:
            scorer.close()
        return np.clip(np.concatenate(parts), *SCALE)


def _scored(scorer: Scorer, texts: Sequence[str]) -> F32:
    found: Prediction = scorer.predict(scorer.encode(texts))
    if found.errors:
        raise SystemExit(f"{len(found.errors)} articles were not scored: {next(iter(found.errors.values()))}")
    return found.scores


class ByHand:
    """transformers' Trainer, peft and squared error on one logit a dimension: what a script of one's own does.

    Base, rank, learning rate, epochs and batch size are those of `options`. The head starts at random, as it does by
    default, and learns at the adapters' rate; the last epoch counts; scores are clipped to the scale. `pad`: every
    article to max_tokens, instead of to the longest of its batch.
    """

    def __init__(
        self,
        options: QwenLoraOptions,
        max_tokens: int,
        folder: Path,
        *,
        bf16: bool,
        device: str = "auto",
        pad: bool = False,
        checkpointing: bool = False,
    ) -> None:
        self._options, self._max_tokens, self._folder = options, max_tokens, folder
        self._device, self._bf16, self._checkpointing = device, bf16, checkpointing
        self._padding: Any = "max_length" if pad else "longest"
        self._trainer: Any = None
        self.tokens = self.computed = 0
        """Tokens of the articles that were batched for training, and with padding."""

    def fit(self, texts: Sequence[str], targets: Any, *, seed: int = 0, max_steps: int = -1) -> None:
        import torch
        from peft import LoraConfig, TaskType, get_peft_model
        from transformers import (
            AutoModelForSequenceClassification,
            AutoTokenizer,
            DataCollatorWithPadding,
            PrinterCallback,
            Trainer,
            TrainingArguments,
            set_seed,
        )

        options = self._options
        set_seed(seed)
        self._tokenizer = AutoTokenizer.from_pretrained(options.base_model)
        self._tokenizer.padding_side = "right"
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        model = AutoModelForSequenceClassification.from_pretrained(
            options.base_model, num_labels=targets.shape[1], problem_type="regression", dtype=torch.float32
        )
        model.config.pad_token_id = self._tokenizer.pad_token_id
        if self._checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        on_cpu = self._device == "cpu" or not torch.cuda.is_available()
        adapter = LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=options.lora_r,
            lora_alpha=options.lora_alpha,
            lora_dropout=0.0,
            target_modules="all-linear",
        )
        arguments = TrainingArguments(
            output_dir=str(self._folder),
            per_device_train_batch_size=options.batch_size,
            per_device_eval_batch_size=2 * options.batch_size,
            num_train_epochs=options.passes,
            max_steps=max_steps,
            learning_rate=options.rate,
            warmup_steps=options.warmup,
            bf16=self._bf16,
            use_cpu=on_cpu,
            dataloader_pin_memory=not on_cpu,
            seed=seed,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        rows = self._encoded(texts)
        for row, target in zip(rows, targets, strict=True):
            row["labels"] = target.tolist()
        pad = DataCollatorWithPadding(self._tokenizer, self._padding, self._max_tokens)

        def collate(batch: list[dict[str, Any]]) -> Any:
            padded = pad(batch)
            self.tokens += int(padded["attention_mask"].sum())
            self.computed += padded["input_ids"].numel()
            return padded

        self._trainer = Trainer(
            model=get_peft_model(model, adapter),
            args=arguments,
            train_dataset=rows,
            data_collator=collate,
        )
        self._trainer.remove_callback(PrinterCallback)
        self._trainer.train()

    def predict(self, texts: Sequence[str]) -> F32:
        found = self._trainer.predict(self._encoded(texts)).predictions
        return np.clip(np.asarray(found, np.float32), *SCALE)

    def _encoded(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        read = self._tokenizer(list(texts), truncation=True, max_length=self._max_tokens)
        return [{"input_ids": i, "attention_mask": m} for i, m in zip(read.input_ids, read.attention_mask, strict=True)]


class Stopwatch:
    """Seconds of every optimizer step of transformers' Trainer: forward, backward and update, not what lies between.

    `started()` makes Trainers that are built afterwards report to it.
    """

    def __init__(self, wait: Callable[[], None] = lambda: None) -> None:
        self._wait = wait
        self._begun = 0.0
        self.seconds: list[float] = []

    def started(self) -> Stopwatch:
        from transformers import TrainerCallback, trainer

        watch = self

        class Watch(TrainerCallback):  # type: ignore[misc]
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                watch._wait()
                watch._begun = time.perf_counter()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                watch._wait()
                watch.seconds.append(time.perf_counter() - watch._begun)

        trainer.DEFAULT_CALLBACKS.append(Watch)
        return self
