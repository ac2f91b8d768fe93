"""Trainings in processes of their own, and what they leave."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from training_process import run

_SCRIPT = Path(__file__).with_name("training_process.py")
_QUICK: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 8,
    "lora_r": 4,
    "learning_rate": 1e-3,
    "precision": "fp32",
    "checkpoint_minutes": 0,
    # both given, so that nothing has to be found out about the memory
    "micro_batch_tokens": 10_000,
    "checkpointing": False,
}
# its children start with the libraries imported, and none of their threads running
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["filterkit_qwen_lora.trainer", "filterkit.testing"])


def settings(folder: Path, base: Path, options: dict[str, Any], **others: Any) -> dict[str, Any]:
    """What training_process.py is told."""
    return {"base": str(base), "folder": str(folder), "options": {**_QUICK, **options}, **others}


def train(told: dict[str, Any]) -> int | None:
    """Train in one process; its exit code, negative for a signal."""
    Path(told["folder"]).mkdir(exist_ok=True)
    process = _context.Process(target=run, args=(told,))
    process.start()
    process.join(300)
    return process.exitcode


def train_together(listed: list[dict[str, Any]], processes: int, folder: Path) -> None:
    """One training after the other, each by several processes that torchrun starts."""
    file = folder / "list.json"
    file.write_text(json.dumps(listed))
    for told in listed:
        Path(told["folder"]).mkdir(exist_ok=True)
    runner = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*runner, _SCRIPT, file], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def student(folder: Path) -> dict[str, Any]:
    """What the trainer said of the student."""
    found: dict[str, Any] = json.loads((folder / "student.json").read_text())
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the artifact in folder/out, by file and name."""
    files = sorted((folder / "out").rglob("*.safetensors"))
    assert files
    return {f"{file.name}:{name}": tensor for file in files for name, tensor in load_file(file).items()}


def difference(one: Path, other: Path) -> float:
    """The largest difference of any weight of two artifacts."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)
