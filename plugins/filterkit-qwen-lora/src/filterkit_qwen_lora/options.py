"""The options of trainer `qwen-lora` and of its model. Nothing of weight is imported here."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from filterkit.api import Options

FORMAT = "hf-sequence-classification"
"""Name of the model format that the trainer makes."""
STOPPED = "Run the same command again: it goes on where it stopped"
"""What to do after a training was stopped."""

_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def bytes_of(text: str) -> int:
    """Bytes of a size such as 16GB, 23.5 GiB or 800mb. ValueError when it is none."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text, re.IGNORECASE | re.ASCII)
    unit = found and _UNITS.get(found[2].lower())
    if not found or not unit or not 0 < float(found[1]) < 1e9:
        raise ValueError(f"{text!r} is no size: write it as 16GB or 16GiB")
    return int(float(found[1]) * unit)


def _size(text: str) -> str:
    bytes_of(text)
    return text.strip()


class QwenLoraOptions(Options):
    """The defaults are a recipe for some thousands of articles; options left at null follow from the others."""

    aside: ClassVar[frozenset[str]] = frozenset(
        {"checkpointing", "micro_batch_tokens", "gpu_memory", "checkpoint_minutes", "report_to"}
    )

    base_model: str = Field(
        "Qwen/Qwen2.5-1.5B", min_length=1, description="a model of the Hugging Face Hub, or a folder"
    )
    revision: str | None = Field(None, description="branch, tag or commit of the base model on the Hub")
    method: Literal["lora", "full"] = Field("lora", description="train low-rank adapters, or all weights")
    freeze: Literal["none", "encoder"] = Field(
        "none", description="encoder: texts are embedded once by the base as it is, and only the heads learn"
    )
    epochs: int | None = Field(
        None, ge=1, le=1000, description="passes over the articles; null: 3, with a frozen encoder 20"
    )
    batch_size: int = Field(8, ge=1, le=4096, description="articles a step, over all processes and micro-batches")
    learning_rate: float | None = Field(
        None, gt=0, le=1, description="of the adapters or weights; null: 3e-4 with LoRA, 2e-5 with method full"
    )
    head_learning_rate: float = Field(1e-3, gt=0, le=1, description="of the heads")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    weight_decay: float = Field(0.0, ge=0, le=1, description="of AdamW")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients longer than this are cut to it")
    lora_r: int = Field(32, ge=1, le=1024, description="rank of the adapters")
    lora_alpha: int = Field(64, ge=1, le=4096, description="the adapters' scale is lora_alpha / lora_r")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the adapters")
    targets: Literal["histogram", "plain"] = Field(
        "histogram", description="what teaches the base: histograms over the scale, or the scores themselves"
    )
    loss: Literal["l1", "huber", "mse"] = Field("l1", description="the plain scores' loss")
    bins: int = Field(21, ge=3, le=201, description="bins of the histogram")
    width: float = Field(
        0.06, gt=0, le=0.5, description="softening of the histogram's targets, as a share of the scale"
    )
    rarity: float = Field(
        0.0,
        ge=0,
        le=1,
        description="weigh articles with rare high scores up: 0 not, 1 in inverse proportion to their share",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 where the hardware computes in it, else fp32"
    )
    weights: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="precision in which the student is stored; auto: that of the base"
    )
    checkpointing: bool | None = Field(
        None,
        description="gradient checkpointing: less memory, a third to a half more time; null: where it is needed",
    )
    micro_batch_tokens: int | None = Field(
        None, ge=1, description="most tokens at once, padding included; null: what fits the memory"
    )
    gpu_memory: Annotated[str, AfterValidator(_size)] | None = Field(
        None, description="memory to plan for, such as 16GB; null: that of the card at hand"
    )
    best: Literal["mae", "spearman", "recall", "last"] = Field(
        "mae", description="measure on the val split by which the best epoch is chosen; last: the last one"
    )
    recall_at: int = Field(20, ge=1, description="recall is of the best so many articles by overall")
    early_stopping: int | None = Field(None, ge=1, description="stop after so many epochs that were no better")
    checkpoint_minutes: float = Field(10.0, ge=0, description="a checkpoint at least so often; 0: after each step")
    report_to: tuple[Literal["wandb", "trackio", "tensorboard", "mlflow"], ...] = Field(
        (), description="experiment trackers that are told; each has to be installed"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> QwenLoraOptions:
        if self.freeze == "encoder" and self.method == "full":
            raise ValueError("method full trains the encoder, and freeze encoder does not: leave one out")
        if self.early_stopping is not None and self.best == "last":
            raise ValueError("early_stopping needs a measure: set best to mae, spearman or recall")
        return self

    @property
    def passes(self) -> int:
        """Epochs in effect."""
        return self.epochs or (20 if self.freeze == "encoder" else 3)

    @property
    def rate(self) -> float:
        """Learning rate of what is not a head, in effect."""
        return self.learning_rate or (2e-5 if self.method == "full" else 3e-4)


class HfModelOptions(Options):
    """How a student is run."""

    head: Literal["best", "plain"] = Field(
        "best",
        description="best: the histogram's medians and uncertainty, where there are; plain: what other tools read",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: fp32 on a CPU, on a GPU the precision of the stored weights"
    )
