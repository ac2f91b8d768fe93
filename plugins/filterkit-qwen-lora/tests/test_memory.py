"""The estimate of memory against what real layers of real width keep, and what is decided on it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from filterkit_qwen_lora import simulate
from filterkit_qwen_lora.base import Base, with_lora
from filterkit_qwen_lora.blueprint import Blueprint, recompute_activations
from filterkit_qwen_lora.families import family_of
from filterkit_qwen_lora.memory import Decision, Hardware, decide, decide_for, hardware_for
from filterkit_qwen_lora.network import Network
from filterkit_qwen_lora.options import QwenLoraOptions
from torch.profiler import ProfilerActivity, profile
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    Gemma3TextConfig,
    LlamaConfig,
    ModernBertConfig,
    Qwen2Config,
)

_SMALL = {"vocab_size": 500, "pad_token_id": 0, "num_labels": 8}  # the embedding keeps nothing but token ids
CONFIGS: dict[str, Any] = {
    "Qwen2.5-1.5B": Qwen2Config(
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=2,
        num_attention_heads=12,
        num_key_value_heads=2,
        **_SMALL,
    ),
    "SmolLM2-360M": LlamaConfig(
        hidden_size=960,
        intermediate_size=2560,
        num_hidden_layers=2,
        num_attention_heads=15,
        num_key_value_heads=5,
        **_SMALL,
    ),
    "BERT-base": BertConfig(num_hidden_layers=2, **_SMALL),
    "DeBERTa-v3-base": DebertaV2Config(
        hidden_size=768,
        num_hidden_layers=2,
        num_attention_heads=12,
        intermediate_size=3072,
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        **_SMALL,
    ),
    "ModernBERT-base": ModernBertConfig(
        num_hidden_layers=4, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2, **_SMALL
    ),
    "Gemma-3-270m": Gemma3TextConfig(
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        **_SMALL,
    ),
}
ROWS, TOKENS = 2, 64


def real_network(config: Any, *, bf16: bool, method: str, checkpointing: bool) -> Network:
    """Weights, adapters and gradients as they are in the middle of a training."""
    dtype = torch.bfloat16 if bf16 and method == "lora" else torch.float32
    model = AutoModelForSequenceClassification.from_config(copy.deepcopy(config), dtype=dtype)
    family = family_of(model)
    if method == "lora":
        base = Base(model, None, family, (family.head.split(".")[0],), "base", None, dtype, None)
        model = with_lora(base, r=32, alpha=64, dropout=0.0)
    network = Network(model, family).train()
    if checkpointing:
        recompute_activations(network.transformer)
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    return network


def measured(config: Any, *, bf16: bool, method: str = "lora", checkpointing: bool = False) -> tuple[int, int]:
    """Bytes that a real forward pass saves, and the peak of bytes that it and the backward pass allocate."""
    network = real_network(config, bf16=bf16, method=method, checkpointing=checkpointing)
    own = {tensor.untyped_storage().data_ptr() for tensor in [*network.parameters(), *network.buffers()]}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.randint(5, 400, (ROWS, TOKENS))
    ids[0, -3:] = 0
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = network(ids, (ids > 0).long())[1].sum()
        saved = sum(kept.values())
        loss.backward()
    return saved, peak_of(watched)


def peak_of(watched: profile) -> int:
    """The highest sum of what was allocated and freed, in the order in which it was."""
    events = [event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def estimated(config: Any, *, bf16: bool, method: str = "lora", checkpointing: bool = False) -> tuple[float, float]:
    blueprint = Blueprint(QwenLoraOptions(method=method), config, bf16=bf16, cuda=False)
    found = blueprint.footprint(TOKENS, checkpointing=checkpointing)
    return found.saved.of(ROWS), found.peak(ROWS)


class TestAgainstRealLayers:
    @pytest.mark.parametrize(("name", "bf16"), [("Qwen2.5-1.5B", False), ("BERT-base", True)])
    def test_saved_tensors_and_peak(self, name: str, bf16: bool) -> None:
        assert estimated(CONFIGS[name], bf16=bf16) == pytest.approx(measured(CONFIGS[name], bf16=bf16), rel=0.08)

    def test_under_checkpointing(self) -> None:
        config = CONFIGS["SmolLM2-360M"]
        real = measured(config, bf16=True, checkpointing=True)
        assert estimated(config, bf16=True, checkpointing=True) == pytest.approx(real, rel=0.1)
        assert real[1] < 0.8 * measured(config, bf16=True)[1]

    @pytest.mark.heavy
    @pytest.mark.parametrize(
        ("method", "bf16", "checkpointing"),
        [("lora", False, False), ("lora", True, True), ("full", False, True), ("full", True, False)],
    )
    @pytest.mark.parametrize("name", CONFIGS)
    def test_every_family(self, name: str, method: str, bf16: bool, checkpointing: bool) -> None:
        how: dict[str, Any] = {"bf16": bf16, "method": method, "checkpointing": checkpointing}
        saved, peak = estimated(CONFIGS[name], **how)
        real_saved, real_peak = measured(CONFIGS[name], **how)
        assert peak == pytest.approx(real_peak, rel=0.12)
        if not checkpointing:  # with it, what is saved is little, and nothing is decided on it
            assert saved == pytest.approx(real_saved, rel=0.05)


class TestExtrapolation:
    @pytest.mark.parametrize(
        ("method", "checkpointing"),
        [
            ("full", True),
            pytest.param("full", False, marks=pytest.mark.heavy),
            pytest.param("lora", True, marks=pytest.mark.heavy),
            pytest.param("lora", False, marks=pytest.mark.heavy),
        ],
    )
    def test_of_layers_and_rows_is_what_all_of_them_need(self, method: str, checkpointing: bool) -> None:
        config = copy.deepcopy(CONFIGS["ModernBERT-base"])
        config.num_hidden_layers = 7
        config.layer_types = [("full" if n % 3 == 0 else "sliding") + "_attention" for n in range(7)]
        found = Blueprint(QwenLoraOptions(method=method), config, bf16=True, cuda=False)
        few = found.footprint(TOKENS, checkpointing=checkpointing)
        layers, rows = simulate.LAYERS, simulate.ROWS
        try:
            simulate.LAYERS, simulate.ROWS = (99, 99), (11, 12)
            found = Blueprint(QwenLoraOptions(method=method), config, bf16=True, cuda=False)
            all_of_it = found.footprint(TOKENS, checkpointing=checkpointing)
        finally:
            simulate.LAYERS, simulate.ROWS = layers, rows
        assert few.saved.of(11) == pytest.approx(all_of_it.saved.of(11), rel=0.02)
        assert few.peak(11) == pytest.approx(all_of_it.peak(11), rel=0.02)

    def test_a_gpu_drops_out_without_keeping_the_attention_matrix(self) -> None:
        options = QwenLoraOptions(method="full")
        cpu, gpu = (Blueprint(options, CONFIGS["BERT-base"], bf16=False, cuda=cuda) for cuda in (False, True))
        matrices = 2 * 12 * 512 * 512 * 4  # two layers of twelve heads
        saved = [each.footprint(512, checkpointing=False).saved.of(1) for each in (cpu, gpu)]
        assert saved[0] - saved[1] > 1.5 * matrices

    @pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
    def test_layer_norms_compute_in_float32_on_a_gpu(self, checkpointing: bool) -> None:
        config = CONFIGS["ModernBERT-base"]
        cpu, gpu = (Blueprint(QwenLoraOptions(), config, bf16=True, cuda=cuda) for cuda in (False, True))
        peaks = [each.footprint(64, checkpointing=checkpointing).peak(1) for each in (cpu, gpu)]
        assert peaks[1] > peaks[0] * 1.02


def gpu(size: float) -> Hardware:
    return Hardware("a GPU", int(size), cuda=True, bf16=False)


class TestDecision:
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        **_SMALL,
    )
    blueprint = Blueprint(QwenLoraOptions(), config, bf16=False, cuda=True)

    def decided(self, size: float, processes: int = 1, **options: Any) -> Decision:
        blueprint = copy.copy(self.blueprint)
        blueprint.options = QwenLoraOptions(**options)
        return decide_for(blueprint, 512, gpu(size), processes=processes)

    def whole_batch(self) -> float:
        """Bytes that a whole batch needs without checkpointing."""
        return self.decided(1e15).memory.total

    def test_much_memory_takes_the_whole_batch(self) -> None:
        decision = self.decided(self.whole_batch() * 1.001)
        assert (decision.fits, decision.checkpointing, decision.micro_batch_tokens) == (True, False, 8 * 512)

    def test_less_memory_takes_micro_batches_that_fit(self) -> None:
        size = self.whole_batch() - self.decided(1e15).memory.activations / 4
        decision = self.decided(size)
        assert (decision.fits, decision.checkpointing) == (True, False)
        assert 512 <= decision.micro_batch_tokens < 8 * 512
        assert decision.micro_batch_tokens % 512 == 0
        assert decision.memory.total <= size

    def test_little_memory_takes_checkpointing(self) -> None:
        one = self.decided(1e15, micro_batch_tokens=1, checkpointing=False).memory.total
        decision = self.decided(one - 1000)
        assert (decision.fits, decision.checkpointing) == (True, True)
        assert decision.memory.total < one

    def test_too_little_memory_is_said(self) -> None:
        decision = self.decided(1e6)
        assert (decision.fits, decision.checkpointing, decision.micro_batch_tokens) == (False, True, 512)

    def test_what_the_user_says_is_done(self) -> None:
        decision = self.decided(1e15, checkpointing=True, micro_batch_tokens=1200)
        assert (decision.checkpointing, decision.micro_batch_tokens) == (True, 1024)

    def test_processes_share_a_batch(self) -> None:
        assert self.decided(1e15, processes=4).micro_batch_tokens == 2 * 512

    def test_a_frozen_encoder_needs_no_backward_pass(self) -> None:
        memory = decide(QwenLoraOptions(freeze="encoder"), self.config, 512, gpu(1e15)).memory
        assert memory.activations < 0.3 * self.decided(1e15).memory.activations
        assert memory.optimizer == 8 * (8 * 64 + 8 * 21 * 65)

    def test_full_fine_tuning_counts_sixteen_bytes_a_parameter(self) -> None:
        memory = decide(QwenLoraOptions(method="full", targets="plain"), self.config, 512, gpu(1e15)).memory
        assert memory.gradients == memory.weights
        assert memory.optimizer == 2 * memory.weights

    def test_the_gradient_of_a_large_embedding_counts(self) -> None:
        config = copy.deepcopy(self.config)
        config.vocab_size = 200_000
        memory = decide(QwenLoraOptions(method="full", batch_size=1), config, 16, gpu(1e15)).memory
        assert memory.activations == 200_000 * 64 * 4


class TestHardware:
    def test_the_memory_that_was_asked_for(self) -> None:
        found = hardware_for(QwenLoraOptions(gpu_memory="16GB"))
        assert (found.bytes, found.cuda) == (16 * 10**9, True)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card to ask")
    def test_a_card_that_is_not_there_computes_in_float32_unless_told(self) -> None:
        assert not hardware_for(QwenLoraOptions(gpu_memory="16GB")).bf16
        assert hardware_for(QwenLoraOptions(gpu_memory="16GB", precision="bf16")).bf16

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
    def test_without_a_card_it_is_the_memory_of_the_computer(self) -> None:
        found = hardware_for(QwenLoraOptions(precision="fp32"))
        assert not found.cuda
        assert not found.bf16
        assert 10**8 < found.bytes < 10**13
