"""The card of a student."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from filterkit_qwen_lora.card import base_licence, model_card
from students import make_student, small_spec

SPEC = small_spec(description="what helps")


def front_of(card: str) -> dict[str, Any]:
    _, front, _ = card.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(front)
    return found


def test_the_hub_learns_what_it_wants_to_know() -> None:
    front = front_of(
        model_card(
            SPEC, base_model="Qwen/Qwen2.5-1.5B", method="lora", languages=("nl", "en"), datasets=("me/news",),
            figures={"val_mae": 0.91234567, "val_spearman": 0.8, "seconds": 3.0},
        )
    )  # fmt: skip
    assert front["base_model"] == "Qwen/Qwen2.5-1.5B"
    assert front["base_model_relation"] == "finetune"
    assert front["license"] == "apache-2.0"
    assert front["pipeline_tag"] == "text-classification"
    assert front["library_name"] == "transformers"
    assert front["language"] == ["en", "nl"]
    assert front["datasets"] == ["me/news"]
    assert front["metrics"] == ["mae", "spearmanr"]
    results = front["model-index"][0]["results"][0]
    assert {one["type"]: one["value"] for one in results["metrics"]} == {"mae": 0.9123, "spearmanr": 0.8}


def test_the_hub_s_own_reader_takes_it() -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(model_card(SPEC, base_model="bert-base-cased", method="full", figures={"val_mae": 1.0}))
    assert card.data.eval_results
    assert card.data.eval_results[0].metric_value == 1.0
    assert card.data.license == "apache-2.0"


def test_figures_of_another_head_are_not_the_model_s() -> None:
    card = model_card(SPEC, base_model="bert-base-cased", method="lora", figures={"val_mae": 1.0}, histogram=True)
    assert "model-index" not in front_of(card)
    assert "by the second head: mean absolute error 1.000" in card


def test_a_folder_is_not_named(tmp_path: Path) -> None:
    base = tmp_path / "secret-place" / "base"
    base.mkdir(parents=True)
    for name in (str(base), f"{tmp_path}/gone", "./some/where", "~/models/x", "C:\\models\\x"):
        card = model_card(SPEC, base_model=name, method="lora")
        assert "base_model" not in front_of(card)
        assert not re.search(r"secret-place|some/where|models|gone", card)


def test_a_folder_that_looks_like_an_id_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "model").mkdir(parents=True)
    assert "base_model" not in front_of(model_card(SPEC, base_model="org/model", method="lora"))


@pytest.mark.parametrize(
    ("base", "licence"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", "apache-2.0"),
        ("Qwen/Qwen2.5-3B", "other"),
        ("Qwen/Qwen3-4B", "apache-2.0"),
        ("google/gemma-3-1b-pt", "gemma"),
        ("meta-llama/Llama-3.2-1B", "llama3.2"),
        ("microsoft/deberta-v3-base", "mit"),
        ("google/flan-t5-small", "apache-2.0"),
        ("somebody/something", "other"),
    ],
)
def test_known_licences(base: str, licence: str) -> None:
    assert base_licence(base) == licence


def test_a_folder_may_say_its_licence(tmp_path: Path) -> None:
    assert base_licence(str(tmp_path)) == "other"
    (tmp_path / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# x\nlicense: gpl\n")
    assert base_licence(str(tmp_path)) == "mit"


def test_hostile_words_stay_words() -> None:
    hostile = (
        'a | b\n---\nlicense: mit\n# Big <script>alert(1)</script> [x](http://e) `code` {{y}} "q" \x00\ud800 ![i](j)'
    )
    dimensions = [{"name": "help", "weight": 1.0, "description": hostile}]
    card = model_card(small_spec(description=hostile, dimensions=dimensions), base_model="x/y", method="lora")
    card.encode()
    front = front_of(card)
    assert front["license"] == "other"
    body = card.split("---\n", 2)[2]
    row = next(line for line in body.splitlines() if line.startswith("| `help`"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert not re.search(r"(?<!\\)<script", body)
    assert not re.search(r"^(# Big|license)", body, re.MULTILINE)
    assert "\x00" not in card


def test_every_dimension_is_told() -> None:
    card = model_card(SPEC, base_model="x/y", method="frozen")
    for one in SPEC.dimensions:
        assert f"| `{one.name}` | {one.role} |" in card
        assert one.description in card


def test_what_the_student_reads_is_told() -> None:
    both = small_spec(input={"student": {"max_tokens": 600, "keep": "head+tail"}})
    card = model_card(both, base_model="x/y", method="lora", reads=512)
    assert "512 tokens" in card
    assert "beginning and the end" in card


@pytest.mark.heavy
def test_the_code_on_it_runs(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    root = make_student(tmp_path / "a", checkpoint("qwen2"), SPEC)
    code = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.replace("'", '"'))
    assert set(found) == set(SPEC.names)
