"""What a student's folder holds, for filterkit and for anybody without it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import FAMILIES, VARIANTS
from filterkit_qwen_lora.artifact import load_student, save_student
from filterkit_qwen_lora.base import load_base
from filterkit_qwen_lora.histogram import centres
from filterkit_qwen_lora.model import HfModel
from filterkit_qwen_lora.network import Network
from filterkit_qwen_lora.quiet import quiet
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from students import BINS, make_student, nudged_network, small_spec
from transformers import AutoModelForSequenceClassification

from filterkit.api import ArtifactError
from filterkit.testing.base import same_bytes
from filterkit.testing.samples import fake_context

SPEC = small_spec()
TEXTS = [
    "the village council met on tuesday",
    "neighbours helped to carry the new sensor " * 3,
    "x",
    "人民日报 没有 空格 новости",
    "volunteers </ s> said <|endoftext|>",
    "and again <|end_of_text|> [SEP] [PAD] <pad> <eos>",
    "the road report " * 300,
]
ALL = [*FAMILIES, *(pytest.param(family, marks=pytest.mark.heavy) for family in VARIANTS)]
BY_PEFT_ALONE = {*FAMILIES, *VARIANTS} - {"gemma3-multimodal", "llama-classifier"}
"""The other two have to be loaded in another way than by name: only the text part, a head of another size."""


@dataclass(frozen=True)
class Made:
    """A student's folder, its base, and what an environment without filterkit makes of it."""

    root: Path
    base: Path
    bare: dict[str, Any]


@pytest.fixture(scope="module")
def made(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """Family -> its student, scored in a process in which filterkit cannot be imported; all of a group at once."""

    @cache
    def group(families: tuple[str, ...]) -> dict[str, Made]:
        folder = tmp_path_factory.mktemp("students")
        roots = {family: make_student(folder / family, checkpoint(family), SPEC) for family in families}
        answers = without_filterkit([(roots[f], checkpoint(f) if f in BY_PEFT_ALONE else None) for f in families])
        return {f: Made(roots[f], checkpoint(f), answer) for f, answer in zip(families, answers, strict=True)}

    return lambda family: group(FAMILIES if family in FAMILIES else VARIANTS)[family]


def without_filterkit(students: list[tuple[Path, Path | None]]) -> list[dict[str, Any]]:
    """What plain transformers and peft make of students (root and base folder)."""
    jobs = [
        {"root": str(root), "base": base and str(base), "texts": TEXTS, "labels": SPEC.names} for root, base in students
    ]
    command = [sys.executable, str(Path(__file__).with_name("bare.py"))]
    ran = subprocess.run(command, input=json.dumps(jobs), capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    answers: list[dict[str, Any]] = json.loads(ran.stdout)
    return answers


def plain_scores(root: Path, texts: list[str], context: Path) -> np.ndarray[Any, Any]:
    options = HfModel.Options.model_validate({"head": "plain"})
    scorer = HfModel(options, SPEC, fake_context(context)).load(str(root), device="cpu", threads=1)
    return scorer.predict(scorer.encode(texts)).scores


@pytest.mark.parametrize("family", ALL)
def test_anybody_gets_the_plain_scores(family: str, made: Callable[[str], Made], tmp_path: Path) -> None:
    one = made(family)
    ours = plain_scores(one.root, TEXTS, tmp_path)
    assert np.ptp(ours, axis=0).max() > 1e-3, "scores that do not differ would prove nothing"
    np.testing.assert_allclose(one.bare["alone"], ours, atol=1e-4, rtol=0)
    np.testing.assert_allclose(one.bare["batched"], ours, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ALL)
def test_the_adapter_reloads_with_peft_alone(family: str, made: Callable[[str], Made]) -> None:
    if family not in BY_PEFT_ALONE:
        pytest.skip("its base cannot be loaded by name alone")
    one = made(family)
    np.testing.assert_allclose(one.bare["adapter"], one.bare["alone"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ALL)
def test_what_was_trained_is_what_is_loaded(family: str, checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    base = load_base(str(checkpoint(family)), SPEC.names)
    network = nudged_network(base)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    save_student(tmp_path / "a", network, base, SPEC, bins=centres(0, 10, BINS), dtype=torch.float32, card="")
    after = network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items()), "saving changed the network"
    loaded = load_student(tmp_path / "a", SPEC)
    batch = loaded.reader.pad(loaded.reader.encode(TEXTS))
    with torch.no_grad():
        features, plain = network(*batch)
        again, plain_again = loaded.network(*batch)
    np.testing.assert_allclose(plain_again, plain, atol=1e-4)
    assert network.histogram is not None
    assert loaded.network.histogram is not None
    with torch.no_grad():
        np.testing.assert_allclose(loaded.network.histogram(again), network.histogram(features), atol=1e-3)


@pytest.mark.parametrize("family", ALL)
def test_saving_again_changes_nothing(family: str, made: Callable[[str], Made], tmp_path: Path) -> None:
    root = made(family).root
    loaded = load_student(root, SPEC)
    base = load_base(str(made(family).base), SPEC.names)
    same = replace(base, model=loaded.network.model, tokenizer=loaded.reader.tokenizer)
    card = (root / "README.md").read_text(encoding="utf-8")
    save_student(tmp_path / "a", loaded.network, same, SPEC, bins=loaded.bins, dtype=loaded.stored, card=card)
    first, second = same_bytes(root), same_bytes(tmp_path / "a")
    assert second == {name: data for name, data in first.items() if not name.startswith("adapter/")}


@pytest.mark.parametrize("family", ALL)
def test_an_adapter_that_was_reloaded_is_saved_as_the_same_student(
    family: str, made: Callable[[str], Made], tmp_path: Path
) -> None:
    one = made(family)
    base = load_base(str(one.base), SPEC.names, seed=5)
    with quiet():
        model = PeftModel.from_pretrained(base.model, str(one.root / "adapter")).eval()
    loaded = load_student(one.root, SPEC)
    network = Network(model, base.family, loaded.network.histogram)
    card = (one.root / "README.md").read_text(encoding="utf-8")
    save_student(tmp_path / "a", network, base, SPEC, bins=loaded.bins, dtype=loaded.stored, card=card)
    assert same_bytes(tmp_path / "a") == same_bytes(one.root)


@pytest.mark.parametrize("family", ALL)
def test_names_stay_when_the_libraries_save_it(family: str, made: Callable[[str], Made], tmp_path: Path) -> None:
    one = made(family)
    model = AutoModelForSequenceClassification.from_pretrained(one.root)
    model.save_pretrained(tmp_path / "root")
    assert keys(tmp_path / "root" / "model.safetensors") == keys(one.root / "model.safetensors")
    base = load_base(str(one.base), SPEC.names).model
    with quiet():
        PeftModel.from_pretrained(base, str(one.root / "adapter")).save_pretrained(tmp_path / "adapter")
    name = "adapter_model.safetensors"
    assert keys(tmp_path / "adapter" / name) == keys(one.root / "adapter" / name)


def keys(path: Path) -> set[str]:
    with safe_open(path, "pt") as file:
        return set(file.keys())


def test_a_student_trained_in_full_has_no_adapter(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    root = make_student(tmp_path / "a", checkpoint("bert"), SPEC, lora=False, histogram=False)
    assert not (root / "adapter").exists()
    assert load_student(root, SPEC).bins is None


def test_weights_are_stored_in_the_precision_asked_for(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    from checkpoints import make_checkpoint

    published = make_checkpoint(tmp_path / "base", "qwen2", dtype=torch.bfloat16)
    base = load_base(str(published), SPEC.names)
    assert base.published == torch.bfloat16
    root = make_student(tmp_path / "a", published, SPEC, dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in load_file(root / "model.safetensors").values()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in load_file(root / "adapter" / "adapter_model.safetensors").values()} == {
        torch.float32
    }
    loaded = load_student(root, SPEC)
    assert loaded.stored == torch.bfloat16
    assert load_student(root, SPEC, dtype=torch.float32).network.head.weight.dtype == torch.float32
    _, scores = loaded.network(*loaded.reader.pad(loaded.reader.encode(TEXTS)))
    assert scores.dtype == torch.float32
    # and without a word, anybody computes in float32, as filterkit does on a CPU
    [bare] = without_filterkit([(root, None)])
    np.testing.assert_allclose(bare["batched"], plain_scores(root, TEXTS, tmp_path), atol=1e-4, rtol=0)


def test_big_models_are_sharded_and_load(
    checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filterkit_qwen_lora.artifact._SHARD", "50KB")
    root = make_student(tmp_path / "a", checkpoint("llama"), SPEC)
    assert len(list(root.glob("model-*.safetensors"))) > 1
    load_student(root, SPEC)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"scale": {"min": 0, "max": 5}}, "scale"),
        ({"input": {"student": {"max_tokens": 128}}}, "student input"),
        ({"input": {"student": {"max_tokens": 64, "keep": "head+tail"}}}, "student input"),
        ({"dimensions": [{"name": "help", "weight": 1}]}, "dimensions"),
    ],
)
def test_a_student_of_another_filter_is_refused(change: dict[str, Any], what: str, made: Callable[[str], Made]) -> None:
    with pytest.raises(ArtifactError, match=f"another .*{what}"):
        load_student(made("bert").root, small_spec(**change))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _without_a_tensor(path: Path) -> None:
    tensors = load_file(path)
    tensors.popitem()
    save_file(tensors, path, metadata={"format": "pt"})


def _not_finite(path: Path) -> None:
    tensors = load_file(path)
    tensors["bias"][0] = torch.nan
    save_file(tensors, path)


def _of_another_width(path: Path) -> None:
    tensors = load_file(path)
    tensors["weight"] = tensors["weight"][:, :7].contiguous()
    save_file(tensors, path)


def _other_labels(path: Path) -> None:
    path.write_text(path.read_text().replace('"help"', '"harm"'))


def _next_format(path: Path) -> None:
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("student.json", Path.unlink),
        ("student.json", _cut),
        ("student.json", _next_format),
        ("config.json", Path.unlink),
        ("config.json", _other_labels),
        ("model.safetensors", Path.unlink),
        ("model.safetensors", _cut),
        ("model.safetensors", _without_a_tensor),
        ("tokenizer.json", Path.unlink),
        ("tokenizer.json", _cut),
        ("histogram.safetensors", Path.unlink),
        ("histogram.safetensors", _cut),
        ("histogram.safetensors", _not_finite),
        ("histogram.safetensors", _of_another_width),
    ],
)
def test_a_damaged_folder_is_one_line(
    name: str, damage: Callable[[Path], None], made: Callable[[str], Made], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(made("bert").root, tmp_path / "a"))
    load_student(root, SPEC)
    damage(root / name)
    with pytest.raises(ArtifactError) as raised:
        load_student(root, SPEC)
    assert "\n" not in str(raised.value)
    assert str(root) in str(raised.value)


def test_pickled_weights_are_never_read(made: Callable[[str], Made], tmp_path: Path) -> None:
    root = Path(shutil.copytree(made("bert").root, tmp_path / "a"))
    torch.save(load_file(root / "model.safetensors"), root / "pytorch_model.bin")
    (root / "model.safetensors").unlink()
    with pytest.raises(ArtifactError):
        load_student(root, SPEC)


def test_bins_and_histogram_come_together(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    base = load_base(str(checkpoint("bert")), SPEC.names)
    with pytest.raises(ValueError, match="together"):
        save_student(
            tmp_path / "a", Network(base.model, base.family), base, SPEC, bins=centres(0, 10, 3),
            dtype=torch.float32, card="",
        )  # fmt: skip
