"""Every family is loaded, adapted and read as it should be."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from checkpoints import FAMILIES, VARIANTS
from filterkit_qwen_lora.base import load_base, load_config, with_lora
from filterkit_qwen_lora.families import family_of
from filterkit_qwen_lora.histogram import Histogram, centres, medians, soften
from filterkit_qwen_lora.network import Network
from filterkit_qwen_lora.tokens import Reader

from filterkit.api import ConfigError

NAMES = ("help", "novelty", "is_advert")
SEVEN = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
EXPECTED: dict[str, tuple[str, set[str], set[str]]] = {
    "qwen2": ("score", {"score"}, SEVEN),
    "qwen3": ("score", {"score"}, SEVEN),
    "gemma3": ("score", {"score"}, SEVEN),
    "gemma3-multimodal": ("score", {"score"}, SEVEN),
    "llama": ("score", {"score"}, SEVEN),
    "llama-classifier": ("score", {"score"}, SEVEN),
    "gpt2": ("score", {"score"}, {"c_attn", "c_fc", "c_proj"}),
    "deberta": ("classifier", {"classifier", "pooler"}, {"query_proj", "key_proj", "value_proj", "dense"}),
    "deberta-plain": ("classifier", {"classifier", "pooler"}, {"query_proj", "key_proj", "value_proj", "dense"}),
    "bert": ("classifier", {"classifier", "bert.pooler"}, {"query", "key", "value", "dense"}),
    "bert-plain": ("classifier", {"classifier"}, {"query", "key", "value", "dense"}),
    "roberta": ("classifier.out_proj", {"classifier"}, {"query", "key", "value", "dense"}),
    "modernbert": ("classifier", {"classifier"}, {"Wqkv", "Wo", "Wi"}),
    "t5": ("classification_head.out_proj", {"classification_head"}, {"q", "k", "v", "o", "wi", "wo"}),
    "t5-untied": ("classification_head.out_proj", {"classification_head"}, {"q", "k", "v", "o", "wi_0", "wi_1", "wo"}),
}
ALL = [*FAMILIES, *(pytest.param(family, marks=pytest.mark.heavy) for family in VARIANTS)]
TEXTS = ["the village council met", "x", "neighbours helped " * 40, "", "人民日报 <|endoftext|>"]


@pytest.mark.parametrize("family", ALL)
def test_the_right_parts_are_trained(family: str, checkpoint: Callable[[str], Path]) -> None:
    head, fresh, targets = EXPECTED[family]
    base = load_base(str(checkpoint(family)), NAMES)
    assert base.family.head == head
    assert set(base.fresh) == fresh
    assert set(base.family.targets) == targets
    model = with_lora(base, r=4, alpha=8, dropout=0.0)
    trained = {name.removeprefix("base_model.model.") for name, p in model.named_parameters() if p.requires_grad}
    adapted = {name.split(".lora_")[0] for name in trained if ".lora_" in name}
    assert {name.rpartition(".")[2] for name in adapted} == targets
    assert all(any(part.isdigit() for part in name.split(".")) for name in adapted), "an adapter outside of the blocks"
    whole = {name.split(".modules_to_save.")[0] for name in trained if ".lora_" not in name}
    assert whole == fresh
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("family", ALL)
def test_padding_and_batch_mates_change_nothing(family: str, checkpoint: Callable[[str], Path]) -> None:
    base = load_base(str(checkpoint(family)), NAMES)
    reader = Reader(base.tokenizer, 64, "head", limit=base.limit)
    network = Network(base.model, base.family)
    rows = reader.encode(TEXTS)
    with torch.no_grad():
        features, together = network(*reader.pad(rows))
        alone = torch.cat([network(*reader.pad([row]))[1] for row in rows])
        ids, mask = reader.pad(rows)
        stock = base.model(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together, stock, atol=1e-5, rtol=0)
    torch.testing.assert_close(network.plain(features), together)


@pytest.mark.parametrize("family", ["qwen2", "bert", "t5", "gpt2"])
def test_gradients_reach_adapters_and_both_heads(family: str, checkpoint: Callable[[str], Path]) -> None:
    base = load_base(str(checkpoint(family)), NAMES)
    reader = Reader(base.tokenizer, 64, "head")
    network = Network(with_lora(base, r=4, alpha=8, dropout=0.0), base.family, Histogram(32, 3, 21))
    assert network.histogram is not None
    torch.nn.init.normal_(network.histogram.linear.weight)
    features, plain = network(*reader.pad(reader.encode(TEXTS)))
    (plain.square().mean() + network.histogram(features).square().mean()).backward()
    got = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {name for name, p in network.named_parameters() if p.requires_grad and "lora_A" not in name} <= got


def test_bf16_bodies_keep_float32_heads(checkpoint: Callable[[str], Path]) -> None:
    base = load_base(str(checkpoint("qwen2")), NAMES, dtype=torch.bfloat16)
    reader = Reader(base.tokenizer, 64, "head")
    network = Network(base.model, base.family)
    assert network.head.weight.dtype == torch.float32
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            features, plain = network(*reader.pad(reader.encode(TEXTS)))
        assert features.dtype == plain.dtype == torch.float32
        torch.testing.assert_close(plain, features @ network.head.weight.T)


def test_the_same_seed_makes_the_same_student_and_leaves_others_alone(checkpoint: Callable[[str], Path]) -> None:
    def weights(seed: int) -> tuple[Any, Any]:
        model = with_lora(load_base(str(checkpoint("deberta")), NAMES, seed=seed), r=2, alpha=2, dropout=0.0, seed=seed)
        state = model.state_dict()
        return state[next(k for k in state if "lora_A" in k)], state[next(k for k in state if "pooler" in k)]

    before = torch.random.get_rng_state()
    one, again, other = weights(1), weights(1), weights(2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_text_part_of_a_model_that_sees_is_loaded(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("gemma3-multimodal")
    whole = transformers.Gemma3ForConditionalGeneration.from_pretrained(folder)
    base = load_base(str(folder), NAMES)
    assert base.family.name == "gemma3_text"
    language = whole.model.language_model.state_dict()
    assert all(torch.equal(tensor, language[name]) for name, tensor in base.model.model.state_dict().items())


def test_a_head_for_other_classes_is_replaced(checkpoint: Callable[[str], Path]) -> None:
    base = load_base(str(checkpoint("llama-classifier")), NAMES)
    assert base.model.score.weight.shape == (3, 32)
    assert base.model.config.id2label == dict(enumerate(NAMES))


def test_learnt_positions_bound_what_is_read(checkpoint: Callable[[str], Path]) -> None:
    limits = {
        family: load_base(str(checkpoint(family)), NAMES).limit for family in ("bert", "roberta", "gpt2", "qwen2")
    }
    assert limits == {"bert": 512, "roberta": 128, "gpt2": 1024, "qwen2": None}
    base = load_base(str(checkpoint("roberta")), NAMES)
    reader = Reader(base.tokenizer, 512, "head", limit=base.limit)
    _, scores = Network(base.model, base.family)(*reader.pad(reader.encode(["the village " * 500])))
    assert torch.isfinite(scores).all()


def test_a_bidirectional_decoder_is_not_taken_for_causal() -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20, "head_dim": 8}
    for both_ways in (False, True):
        config = transformers.Gemma3TextConfig(**sizes, use_bidirectional_attention=both_ways)
        with torch.device("meta"):
            model = transformers.Gemma3TextForSequenceClassification(config)
        assert family_of(model).causal is not both_ways


def test_the_config_alone_tells_the_dimensions(checkpoint: Callable[[str], Path]) -> None:
    config = load_config(str(checkpoint("gemma3-multimodal")), NAMES)
    assert config.model_type == "gemma3_text"
    assert config.num_labels == 3
    assert config.problem_type == "regression"


def _changed(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def _other_body(folder: Path) -> None:
    transformers.BertModel(
        transformers.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(folder)
    _changed(folder, num_hidden_layers=2)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda folder: (folder / "config.json").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded"),
        (lambda folder: _changed(folder, model_type="no-such-model"), "cannot be loaded"),
        (lambda folder: _changed(folder, model_type="clip"), "no text classifier"),
        (lambda folder: _changed(folder, quantization_config={"quant_method": "gptq", "bits": 4}), "quantised"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"half"), "cannot be loaded"),
        (_without_tokenizer, "no tokenizer"),
        (_other_body, "no whole BertForSequenceClassification"),
    ],
)
def test_what_is_no_base_model_is_one_line(
    damage: Callable[[Path], Any], what: str, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint("bert"), tmp_path / "base"))
    damage(folder)
    with pytest.raises(ConfigError, match=what) as raised:
        load_base(str(folder), NAMES)
    assert "\n" not in str(raised.value)
    assert str(folder) in str(raised.value)


def test_code_that_a_base_brings_is_not_run(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"model_type": "evil", "auto_map": {"AutoConfig": "evil.EvilConfig"}, "architectures": ["Evil"]})
    )
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ConfigError, match="never does"):
        load_base(str(folder), NAMES)
    assert not (tmp_path / "ran").exists()


def test_a_missing_folder_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        load_base(str(tmp_path / "nowhere"), NAMES)


def test_nobody_is_asked_to_convert_old_weights(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []
    real = transformers.AutoModelForSequenceClassification.from_pretrained

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(os.environ.get("DISABLE_SAFETENSORS_CONVERSION"))
        return real(*arguments, **options)

    monkeypatch.delenv("DISABLE_SAFETENSORS_CONVERSION", raising=False)
    monkeypatch.setattr(transformers.AutoModelForSequenceClassification, "from_pretrained", watched)
    load_base(str(checkpoint("bert")), NAMES)
    assert seen == ["1"]
    assert "DISABLE_SAFETENSORS_CONVERSION" not in os.environ


def test_loading_is_silent(checkpoint: Callable[[str], Path], capfd: pytest.CaptureFixture[str]) -> None:
    with_lora(load_base(str(checkpoint("gpt2")), NAMES), r=2, alpha=2, dropout=0.0)
    written = capfd.readouterr()
    assert written.out + written.err == ""


def test_histograms_decode_to_what_they_were_made_of() -> None:
    bins = centres(0, 10, 21)
    targets = torch.tensor([[0.0, 0.1, 4.9, 10.0], [2.5, 7.25, 9.9, torch.nan]])
    soft = soften(targets, bins, 0.6)
    known = ~targets.isnan()
    torch.testing.assert_close(soft.sum(dim=-1)[known], torch.ones(int(known.sum())))
    assert soft[~known].abs().sum() == 0
    middle = known & (targets > 1) & (targets < 9)
    torch.testing.assert_close(medians(soft, bins)[middle], targets[middle], atol=0.02, rtol=0)
    assert medians(soft, bins)[known].min() >= 0
    narrow = soften(torch.tensor([3.3]), bins, 1e-4)
    assert narrow.argmax() == 7


def test_medians_are_those_of_numpy() -> None:
    bins = torch.tensor([0.0, 1.0, 2.0])
    probs = torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [0.5, 0, 0.5], [0.25, 0.5, 0.25], [0.2, 0.2, 0.6]])
    torch.testing.assert_close(medians(probs, bins), torch.tensor([0.0, 2.0, 0.5, 1.0, 1.5 + 1 / 6]))
