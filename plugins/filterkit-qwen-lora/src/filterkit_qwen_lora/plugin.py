"""What this dist adds to filterkit."""

from __future__ import annotations

from collections.abc import Callable

from filterkit.api import hookimpl


@hookimpl
def register_trainers(register: Callable[..., None]) -> None:
    register(
        "qwen-lora",
        "filterkit_qwen_lora.trainer:QwenLoraTrainer",
        summary="fine-tunes Qwen2.5-1.5B, or any Hugging Face base, with LoRA",
    )


@hookimpl
def register_models(register: Callable[..., None]) -> None:
    register(
        "hf-sequence-classification",
        "filterkit_qwen_lora.model:HfModel",
        summary="students that plain transformers loads too",
    )
