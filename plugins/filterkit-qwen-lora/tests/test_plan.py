"""What --plan says, from published architectures and from folders, without weights or a network."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filterkit_qwen_lora.blueprint import Blueprint
from filterkit_qwen_lora.options import QwenLoraOptions
from filterkit_qwen_lora.plan import make_plan
from filterkit_qwen_lora.published import known_bases, planned_config
from transformers import AutoConfig, AutoModel, BertConfig, Qwen2Config, Qwen3MoeConfig

from filterkit.api import ConfigError, FilterSpec, Split, TrainJob

# as their makers count them: without the word-prediction head where it is a matrix of its own
PUBLISHED = {
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512 - 152_064 * 3584,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-1.7B": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360 - 151_936 * 4096,
    "google/gemma-3-270m": 268_098_176,
    "google/gemma-3-1b-pt": 999_885_952,
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M": 361_821_120,
    "HuggingFaceTB/SmolLM2-1.7B": 1_711_376_384,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "microsoft/deberta-v3-base": 183_831_552,
    "answerdotai/ModernBERT-base": 149_014_272,
    "answerdotai/ModernBERT-large": 394_781_696,
    "google-bert/bert-base-uncased": 109_482_240,
    "google-bert/bert-base-multilingual-cased": 177_853_440,
    "FacebookAI/xlm-roberta-base": 278_043_648,
    "google-t5/t5-small": 60_506_624,
    "google/flan-t5-base": 247_577_856 - 32_128 * 768,
}

TINY = BertConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, vocab_size=100)


@pytest.fixture
def spec() -> FilterSpec:
    dimensions = [{"name": f"d{i}", "weight": 1 / 8, "description": "x"} for i in range(8)]
    return FilterSpec.model_validate({"schema": 1, "name": "x", "version": "1", "dimensions": dimensions})


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def job(texts: list[str], folder: Path) -> TrainJob:
    split = Split(texts, np.zeros((len(texts), 8), np.float32), np.ones(len(texts), np.float32), folder / "x.jsonl")
    return TrainJob(split, split, folder, 0, "run")


def tiny(folder: Path, config: Any) -> Path:
    config.save_pretrained(folder)
    return folder


@pytest.mark.usefixtures("no_network")
class TestTheDefaultRecipe:
    def test_its_figures(self, spec: FilterSpec, tmp_path: Path) -> None:
        plan = make_plan(QwenLoraOptions(gpu_memory="16GB", precision="fp32"), spec, None, root=tmp_path)
        assert plan["backbone_parameters"] == 1_543_714_304
        assert plan["head_parameters"] == 12_288
        assert plan["trainable_parameters"] == 36_941_824
        assert plan["histogram_head_parameters"] == 8 * 21 * 1537
        assert plan["trainable_percent"] == 2.39
        assert plan["trainable_percent_of"] == "the 1,543,726,592 parameters of backbone and head"
        assert plan["activations_bytes"] == pytest.approx(21e9, rel=0.02)
        assert plan["fits"] == "yes"
        assert plan["micro_batch_tokens"] < 8 * 512
        assert plan["needed_bytes"] <= 16e9
        assert "as published 2024-09" in str(plan["base_model"])

    def test_a_smaller_rank(self, spec: FilterSpec, tmp_path: Path) -> None:
        options = QwenLoraOptions(lora_r=16)
        config, _ = planned_config(options.base_model, spec.names, revision=None, root=tmp_path)
        assert Blueprint(options, config, bf16=False, cuda=False).sizes.trainable == 18_477_056


class TestAnyBase:
    def test_a_folder_with_a_config_and_nothing_else(self, spec: FilterSpec, tmp_path: Path) -> None:
        config = Qwen2Config(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=1,
            vocab_size=100,
        )
        tiny(tmp_path / "base", config)
        for place in ("base", str(tmp_path / "base")):
            plan = make_plan(QwenLoraOptions(base_model=place, precision="fp32"), spec, None, root=tmp_path)
            assert plan["head_parameters"] == 8 * 32
            assert "its folder" in str(plan["base_model"])
            assert plan["fits"] == "yes"
            assert plan["micro_batches"] == "none: the whole batch at once"

    def test_a_card_that_is_too_small(self, spec: FilterSpec, tmp_path: Path) -> None:
        tiny(tmp_path / "base", TINY)
        options = QwenLoraOptions(base_model="base", gpu_memory="500MB", precision="fp32", micro_batch_tokens=4096)
        plan = make_plan(options, spec, None, root=tmp_path)
        assert float(plan["needed_bytes"]) > 5e8
        assert str(plan["fits"]).startswith("no")
        for way in ("precision: bf16", "smaller base_model", "micro_batch_tokens"):
            assert way in str(plan["fits"])

    def test_no_more_tokens_than_the_base_can_read(self, spec: FilterSpec, tmp_path: Path) -> None:
        config = BertConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            vocab_size=100,
            max_position_embeddings=40,
        )
        tiny(tmp_path / "base", config)
        plan = make_plan(QwenLoraOptions(base_model="base"), spec, None, root=tmp_path)
        assert "articles of 40 tokens" in str(plan["activations_of"])
        assert plan["micro_batch_tokens"] == 8 * 40

    @pytest.mark.parametrize("options", [{"method": "full"}, {"freeze": "encoder"}, {"targets": "plain"}])
    def test_every_way_of_training(self, spec: FilterSpec, tmp_path: Path, options: dict[str, Any]) -> None:
        tiny(tmp_path / "base", TINY)
        asked = QwenLoraOptions(base_model="base", **options)
        plan = make_plan(asked, spec, job(["a text"] * 20, tmp_path), root=tmp_path)
        for name, value in plan.items():
            assert bool(value) if isinstance(value, str) else math.isfinite(value) and value >= 0, name
        whole = float(plan["backbone_parameters"]) + float(plan["head_parameters"])
        if "method" in options:
            assert plan["trainable_parameters"] == whole
        elif "freeze" in options:
            assert plan["trainable_parameters"] == plan["head_parameters"] == 8 * 33
        else:
            assert "histogram_head_parameters" not in plan

    def test_steps_and_tokens_of_a_job(self, spec: FilterSpec, tmp_path: Path) -> None:
        tiny(tmp_path / "base", TINY)
        texts = ["x" * 10_000, "short", "é"]
        plan = make_plan(QwenLoraOptions(base_model="base", batch_size=2), spec, job(texts, tmp_path), root=tmp_path)
        assert (plan["articles"], plan["steps_per_epoch"]) == (3, 2)
        assert plan["tokens_per_epoch_at_most"] == 512 + (5 + 2) + (2 + 2)

    @pytest.mark.usefixtures("no_network")
    def test_an_unknown_base_without_a_network_is_one_line(
        self, spec: FilterSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(ConfigError) as caught:
            make_plan(QwenLoraOptions(base_model="nobody/nothing"), spec, None, root=tmp_path)
        assert "nobody/nothing" in str(caught.value)
        assert "\n" not in str(caught.value)


class TestPublished:
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_architectures_have_the_parameters_that_their_makers_say(self, name: str) -> None:
        with torch.device("meta"):
            model = AutoModel.from_config(AutoConfig.for_model(**known_bases()[name]["config"]))
        assert sum(weight.numel() for weight in model.parameters()) == PUBLISHED[name]

    def test_a_folder_of_the_same_name_comes_first(self, tmp_path: Path) -> None:
        tiny(tmp_path / "Qwen/Qwen2.5-1.5B", Qwen2Config(hidden_size=32, num_attention_heads=2, num_hidden_layers=1))
        config, source = planned_config("Qwen/Qwen2.5-1.5B", ["a"], revision=None, root=tmp_path)
        assert (config.hidden_size, source) == (32, "its folder")


def test_an_architecture_that_cannot_be_run_without_data(spec: FilterSpec, tmp_path: Path) -> None:
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "head_dim": 16,
    }
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    config = Qwen3MoeConfig(vocab_size=100, num_key_value_heads=2, **sizes, **experts)
    config.save_pretrained(tmp_path / "base")
    plan = make_plan(QwenLoraOptions(base_model="base", precision="fp32"), spec, None, root=tmp_path)
    assert plan["head_parameters"] == 8 * 32
    assert "not known" in str(plan["memory"])


@pytest.mark.parametrize("size", ["16", "0GB", "-1GB", "lots", "9" * 400 + "GB"])
def test_a_size_that_is_none(size: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        QwenLoraOptions(gpu_memory=size)
