"""What fine-tuning well-known bases takes of a GPU's memory: the table of docs/explanation/will-it-fit.md.

    python benchmarks/memory.py [BASE …] [--method full] [--batch-size 8] [--tokens 512] [--dimensions 8]

Nothing is trained and nothing is downloaded: the figures are those of `filterkit train --plan`. Activations are what a
forward pass over a whole batch keeps for the backward pass, and, with gradient checkpointing, the peak of both. The
smallest card is the first of the usual sizes that fits, with how a batch is taken there: so many articles at once, "c"
with gradient checkpointing. GB are 10^9 bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from filterkit_qwen_lora.blueprint import Blueprint
from filterkit_qwen_lora.memory import Hardware, decide_for
from filterkit_qwen_lora.options import QwenLoraOptions
from filterkit_qwen_lora.published import planned_config

CARDS = (4, 6, 8, 12, 16, 24, 48, 80)
BASES = (
    "Qwen/Qwen2.5-0.5B",
    "Qwen/Qwen2.5-1.5B",
    "Qwen/Qwen2.5-3B",
    "Qwen/Qwen2.5-7B",
    "Qwen/Qwen3-0.6B",
    "google/gemma-3-270m",
    "google/gemma-3-1b-pt",
    "HuggingFaceTB/SmolLM2-135M",
    "HuggingFaceTB/SmolLM2-360M",
    "meta-llama/Llama-3.2-1B",
    "microsoft/deberta-v3-base",
    "answerdotai/ModernBERT-base",
    "google-bert/bert-base-multilingual-cased",
    "google-t5/t5-base",
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("bases", nargs="*", default=BASES)
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--dimensions", type=int, default=8)
    asked = parser.parse_args()
    print("| base | backbone | trainable | precision | weights | activations | checkpointed | smallest card, at once |")
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: | --- |")
    names = [f"dimension_{number}" for number in range(asked.dimensions)]
    for base in asked.bases:
        options = QwenLoraOptions(base_model=base, method=asked.method, batch_size=asked.batch_size)
        config, _ = planned_config(base, names, revision=None, root=Path())
        for bf16 in (False, True):
            blueprint = Blueprint(options, config, bf16=bf16, cuda=True)
            print(row(base, blueprint, min(asked.tokens, blueprint.position_limit or asked.tokens)), flush=True)


def row(base: str, blueprint: Blueprint, tokens: int) -> str:
    """One line of the table."""
    sizes, batch = blueprint.sizes, blueprint.options.batch_size
    kept = blueprint.footprint(tokens, checkpointing=False).saved.of(batch)
    peak = blueprint.footprint(tokens, checkpointing=True).peak(batch)
    return (
        f"| {base} | {sizes.backbone:,} | {sizes.trainable:,} | {'bf16' if blueprint.bf16 else 'fp32'} "
        f"| {sizes.weight_bytes / 1e9:.1f} GB | {kept / 1e9:.1f} GB | {peak / 1e9:.1f} GB "
        f"| {smallest(blueprint, tokens)} |"
    )


def smallest(blueprint: Blueprint, tokens: int) -> str:
    """The smallest of the usual cards, and the articles at once there."""
    for size in CARDS:
        decision = decide_for(blueprint, tokens, Hardware("", size * 10**9, cuda=True, bf16=blueprint.bf16))
        if decision.fits:
            return f"{size} GB, {decision.micro_batch_tokens // tokens}{' c' if decision.checkpointing else ''}"
    return f"over {CARDS[-1]} GB"


if __name__ == "__main__":
    main()
