"""A frozen encoder: every text is embedded once, and only the heads learn (the recipe of FineWeb-Edu's classifier).

Embeddings are kept in the trainer's work folder under what they depend on, so a run that was stopped or killed embeds
nothing twice; the heads then learn in minutes, and begin anew.
"""

from __future__ import annotations

import copy
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import nn

from filterkit.api import Context, StoppedEarly, atomic_write
from filterkit_qwen_lora.batches import GlobalBatches
from filterkit_qwen_lora.checkpoints import Progress
from filterkit_qwen_lora.evaluate import rank_value
from filterkit_qwen_lora.loop import finite_loss, linear_schedule
from filterkit_qwen_lora.losses import F32, Counted
from filterkit_qwen_lora.network import Network
from filterkit_qwen_lora.options import STOPPED, QwenLoraOptions
from filterkit_qwen_lora.processes import Machine
from filterkit_qwen_lora.reading import Rows, features_of
from filterkit_qwen_lora.teaching import Judge, answers_of
from filterkit_qwen_lora.tokens import Reader, Row

_PIECE = 256
"""Rows of one file of embeddings: what a kill loses at most."""
_FEATURES = "features"


class Embeddings:
    """Features of rows by a network that does not change, kept in `folder`; `key`: what they depend on but the rows."""

    def __init__(
        self, network: Network, reader: Reader, machine: Machine, folder: Path, key: str, context: Context
    ) -> None:
        self._network, self._reader, self._machine = network, reader, machine
        self._folder, self._key, self._context = folder, key, context

    def of(self, tokens: list[Row]) -> F32:
        """[n, h] of rows of tokens. The processes share the work. StoppedEarly when a stop was asked for."""
        processes = self._machine.processes
        pieces = [tokens[start : start + _PIECE] for start in range(0, len(tokens), _PIECE)]
        files = [self._folder / f"{self._name(piece)}.safetensors" for piece in pieces]
        for number, (piece, file) in enumerate(zip(pieces, files, strict=True), start=1):
            if processes.any(self._context.stop())[0]:
                raise StoppedEarly("training was stopped", fix=STOPPED)
            if not self._readable(file, len(piece)):
                values = features_of(self._network, self._reader, piece, self._machine)
                if processes.first:
                    with atomic_write(file) as out:
                        out.write(save({_FEATURES: values}))
            if processes.first:
                self._context.emit("training_progress", embedded=min(number * _PIECE, len(tokens)), texts=len(tokens))
            processes.wait()
        nothing = np.empty((0, self._network.head.in_features), dtype=np.float32)
        return np.concatenate([nothing, *(load_file(file)[_FEATURES] for file in files)])

    def _name(self, piece: list[Row]) -> str:
        digest = hashlib.sha256(self._key.encode())
        for row in piece:
            digest.update(len(row).to_bytes(8, "little"))
            digest.update(np.ascontiguousarray(row, dtype="<i4").tobytes())
        return digest.hexdigest()[:40]

    def _readable(self, file: Path, rows: int) -> bool:
        try:
            values: F32 = load_file(file)[_FEATURES]
        except (OSError, SafetensorError, KeyError):
            return False
        return values.shape == (rows, self._network.head.in_features)


def train_heads(
    judge: Judge,
    features: F32,
    rows: Rows,
    val_features: F32,
    options: QwenLoraOptions,
    seed: int,
    context: Context,
) -> Progress:
    """Teach the judge's network from features [n, h] of rows; the head of the best epoch stays in the network.

    The head learns on standardised features, and what it learnt is folded back.
    """
    network, lesson = judge.network, judge.lesson
    head = network.head if network.histogram is None else network.histogram.linear
    standard = _Standard.of(features, centred=head.bias is not None)
    val = standard(val_features)
    x = torch.from_numpy(standard(features)).to(head.weight.device)
    targets, weights = (torch.from_numpy(each).to(x.device) for each in (rows.targets, rows.weights))
    counted = Counted.of(rows.targets, rows.weights)
    batches = GlobalBatches([1] * len(x), options.batch_size, seed)
    steps = options.passes * len(batches)
    standard.enter(head)
    rate = options.head_learning_rate * (1.0 if network.histogram else (lesson.high - lesson.low) / 10)
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=options.weight_decay)
    schedule = linear_schedule(optimizer, options.warmup, steps)
    progress = Progress()
    while not progress.finished:
        batches.epoch, started = len(progress.history), time.monotonic()
        total = torch.zeros((), device=x.device)
        for batch in batches:
            loss = lesson.loss_sum(answers_of(network, x[batch]), targets[batch], weights[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss / counted.of_batch(len(batch)))
            nn.utils.clip_grad_norm_(head.parameters(), options.max_grad_norm)
            optimizer.step()
            schedule.step()
            total += loss.detach()
        seconds = time.monotonic() - started
        measures = judge(val)
        row = {
            "epoch": len(progress.history) + 1.0,
            "train_loss": finite_loss(total) / counted.of_batch(len(x)),
            **measures,
            "learning_rate": float(schedule.get_last_lr()[0]),
            "examples_per_s": len(x) / seconds,
            "seconds": time.monotonic() - started,
        }
        progress.step += len(batches)
        progress.end_epoch(row, rank_value(measures, options.best))
        if progress.best_step == progress.step:
            best = copy.deepcopy(head.state_dict())
        progress.finished = progress.step >= steps or progress.worse == options.early_stopping
        if judge.machine.processes.first:
            told = {name: row[name] for name in ("epoch", "examples_per_s", *measures)}
            context.emit("training_progress", step=progress.step, steps=steps, loss=row["train_loss"], **told)
        if context.stop():
            raise StoppedEarly("training was stopped", fix=STOPPED)
    head.load_state_dict(best)
    standard.leave(head)
    return progress


@dataclass(frozen=True)
class _Standard:
    """Features less their mean, over their spread; a feature that never changes counts nothing."""

    mean: F32
    spread: F32

    @classmethod
    def of(cls, features: F32, *, centred: bool) -> _Standard:
        """Not centred: for a head without a bias, which could not take the mean back."""
        mean = features.mean(0) if centred else np.zeros(features.shape[1], dtype=np.float32)
        spread = np.sqrt(((features - mean) ** 2).mean(0))
        return cls(mean, np.where(spread > 1e-6 * (spread.max() or 1.0), spread, np.inf).astype(np.float32))

    def __call__(self, features: F32) -> F32:
        scaled: F32 = (features - self.mean) / self.spread
        return scaled

    @torch.no_grad()
    def enter(self, head: nn.Linear) -> None:
        """Let a head of features as they are answer the same of standardised ones."""
        mean, spread = (torch.from_numpy(each).to(head.weight) for each in (self.mean, self.spread))
        if head.bias is not None:
            head.bias.add_(head.weight @ mean)
        head.weight *= torch.where(torch.isfinite(spread), spread, torch.zeros_like(spread))

    @torch.no_grad()
    def leave(self, head: nn.Linear) -> None:
        """The other way round."""
        mean, spread = (torch.from_numpy(each).to(head.weight) for each in (self.mean, self.spread))
        head.weight /= spread
        if head.bias is not None:
            head.bias.sub_(head.weight @ mean)
