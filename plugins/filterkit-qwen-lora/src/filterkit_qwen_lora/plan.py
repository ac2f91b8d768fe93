"""`--plan`: what a training would take, said before anything is downloaded."""

from __future__ import annotations

from pathlib import Path

from filterkit.api import FilterSpec, TrainJob
from filterkit_qwen_lora.blueprint import Blueprint, Sizes, UnknownFootprintError
from filterkit_qwen_lora.memory import Decision, Hardware, decide_for, hardware_for
from filterkit_qwen_lora.options import QwenLoraOptions
from filterkit_qwen_lora.published import planned_config

Plan = dict[str, float | str]

_STATED_RATE = 20e12
"""Operations a second for the time that is told: what cards of 16 to 24 GB reach in bf16 training, when kept busy."""
_SPECIAL = 2
"""Special tokens around a text, at most."""


def make_plan(
    options: QwenLoraOptions, spec: FilterSpec, job: TrainJob | None, *, root: Path, hardware: Hardware | None = None
) -> Plan:
    """Numbers (parameters; bytes; seconds) and words, in the order in which they are read. Loads no weights.

    root: where relative paths of folders start. hardware: what to plan for; None: as options.gpu_memory says, else what
    is at hand. Without a job, for articles of the most tokens that the filter lets a student read. Raises ConfigError
    when the base is not known.
    """
    config, source = planned_config(options.base_model, spec.names, revision=options.revision, root=root)
    hardware = hardware or hardware_for(options)
    blueprint = Blueprint(options, config, bf16=hardware.bf16, cuda=hardware.cuda)
    tokens = spec.input.student.max_tokens
    tokens = min(tokens, blueprint.position_limit or tokens)
    found: Plan = {
        "base_model": f"{options.base_model} ({config.model_type}, {source})",
        **_parameters(blueprint.sizes),
    }
    try:
        return found | _footprint(blueprint, tokens, hardware, job)
    except UnknownFootprintError:
        return found | {"memory": "not known of this architecture without data; training tries, and halves its batches"}


def _footprint(blueprint: Blueprint, tokens: int, hardware: Hardware, job: TrainJob | None) -> Plan:
    decision = decide_for(blueprint, tokens, hardware)
    return {
        **_activations(blueprint, tokens, hardware),
        **_memory(decision, hardware),
        **_what_is_done(blueprint, decision, tokens, hardware),
        **({} if job is None else _work(blueprint, decision, tokens, job)),
    }


def _parameters(sizes: Sizes) -> Plan:
    whole = sizes.backbone + sizes.head
    found: Plan = {"backbone_parameters": sizes.backbone, "head_parameters": sizes.head}
    if sizes.adapters:
        found["adapter_parameters"] = sizes.adapters
    found["trainable_parameters"] = sizes.trainable
    found["trainable_percent"] = round(100 * sizes.trainable / whole, 2)
    found["trainable_percent_of"] = f"the {whole:,} parameters of backbone and head"
    if sizes.histogram:
        found["histogram_head_parameters"] = sizes.histogram
        found["histogram_head"] = "trained beside, and counted in none of the figures above"
    return found


def _activations(blueprint: Blueprint, tokens: int, hardware: Hardware) -> Plan:
    """What the forward pass of a whole batch keeps for the backward pass."""
    options = blueprint.options
    found: Plan = {"precision": _precision(options, hardware)}
    if options.freeze == "encoder":
        return found | {"activations": "none are kept: the base is frozen, and every article passes through it once"}
    batch = options.batch_size
    found["activations_bytes"] = round(blueprint.footprint(tokens, checkpointing=False).saved.of(batch))
    found["activations_of"] = f"{batch} articles of {tokens} tokens at once, without checkpointing"
    if hardware.bf16:
        in_fp32 = Blueprint(options, blueprint.config, bf16=False, cuda=hardware.cuda)
        found["activations_in_fp32_bytes"] = round(in_fp32.footprint(tokens, checkpointing=False).saved.of(batch))
    checkpointed = blueprint.footprint(tokens, checkpointing=True)
    found["activations_with_checkpointing_bytes"] = round(checkpointed.peak(batch))
    return found


def _precision(options: QwenLoraOptions, hardware: Hardware) -> str:
    if hardware.bf16:
        return "bf16 matrix products; what learns stays in float32"
    if options.precision == "auto" and options.gpu_memory is not None:
        return "fp32, to be safe: a card that computes in bf16 (from 2020 on) needs less, see precision: bf16"
    return "fp32"


def _memory(decision: Decision, hardware: Hardware) -> Plan:
    memory = decision.memory
    return {
        "weights_bytes": memory.weights,
        "gradients_bytes": memory.gradients,
        "optimizer_bytes": memory.optimizer,
        "micro_batch_bytes": round(memory.activations),
        "reserve_bytes": round(memory.reserve),
        "reserve": "0.8 GB for libraries and kernels, and 5 % of the micro-batch for gaps",
        "needed_bytes": round(memory.total),
        "available_bytes": hardware.bytes,
        "available": hardware.name,
    }


def _what_is_done(blueprint: Blueprint, decision: Decision, tokens: int, hardware: Hardware) -> Plan:
    options = blueprint.options
    rows = decision.micro_batch_tokens // tokens
    found: Plan = {
        "fits": "yes" if decision.fits else f"no. {_remedies(options, hardware)}",
        "checkpointing": "yes, which costs a third to a half more time" if decision.checkpointing else "no",
        "micro_batch_tokens": decision.micro_batch_tokens,
        "micro_batches": f"{rows} of a batch's {options.batch_size} articles at once, if each has {tokens} tokens",
    }
    if rows >= options.batch_size:
        found["micro_batches"] = "none: the whole batch at once"
    return found


def _remedies(options: QwenLoraOptions, hardware: Hardware) -> str:
    """What the user can change, the mildest first."""
    ways = []
    if options.checkpointing is False:
        ways.append("leave checkpointing to filterkit")
    if options.micro_batch_tokens is not None:
        ways.append("leave micro_batch_tokens to filterkit")
    if not hardware.bf16:
        ways.append("precision: bf16")
    if options.method == "full":
        ways.append("method: lora")
    ways += ["fewer tokens (input.student.max_tokens of the filter)", "a smaller base_model", "more memory"]
    return f"What helps: {'; '.join(ways)}"


def _work(blueprint: Blueprint, decision: Decision, tokens: int, job: TrainJob) -> Plan:
    """Steps, tokens, operations. Counting tokens would take the tokenizer: they are bounded by the texts' bytes."""
    options, articles = blueprint.options, len(job.train.texts)
    bound = sum(min(tokens, len(text.encode("utf-8", "replace")) + _SPECIAL) for text in job.train.texts)
    frozen = options.freeze == "encoder"
    passes = 1 if frozen else options.passes
    operations = passes * bound * blueprint.sizes.multiplied * _operations(options, decision)
    return {
        "articles": articles,
        "epochs": options.passes,
        "steps_per_epoch": -(-articles // options.batch_size),
        "tokens_per_epoch_at_most": bound,
        "petaflop_at_most": round(operations / 1e15, 3),
        "at_20_teraflops_seconds": round(operations / _STATED_RATE, 1),
        "time": "at most that on a device that reaches 20 TFLOP/s; divide the petaflop by what yours reaches",
    }


def _operations(options: QwenLoraOptions, decision: Decision) -> int:
    """For each token and each parameter it is multiplied with: two for the forward pass, two for the gradient of what
    comes in, two for that of a weight that learns, two for running the forward pass again. Attention is left out."""
    if options.freeze == "encoder":
        return 2
    return 4 + 2 * (options.method == "full") + 2 * decision.checkpointing
