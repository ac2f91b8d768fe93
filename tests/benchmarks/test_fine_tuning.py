"""The benchmarks of fine-tuning run from end to end, on tiny random models: what they print, not how good it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.heavy


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Holds `labels.jsonl`, 40 articles with scores, and two tiny models: `llama` and `bert`."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import articles
    import bases
    from transformers import BertConfig, LlamaConfig

    texts, targets = articles.invented(40)
    with (tmp_path / "labels.jsonl").open("w", encoding="utf-8") as file:
        for text, scores in zip(texts, targets.tolist(), strict=True):
            row = {"title": "", "content": text, "scores": {f"dimension_{i}": s for i, s in enumerate(scores)}}
            file.write(json.dumps(row) + "\n")
    sizes: dict[str, Any] = {"vocab_size": 500, "hidden_size": 32, "intermediate_size": 64}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2}
    bases.random_base(LlamaConfig(**sizes, num_key_value_heads=1), texts, tmp_path / "llama")
    bases.random_base(BertConfig(**sizes), texts, tmp_path / "bert")
    return tmp_path


def run(script: str, *arguments: object) -> list[list[str]]:
    """The cells of the table that a benchmark prints."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_students_are_compared_and_their_answers_are_kept(folder: Path) -> None:
    asked = ["--labels", folder / "labels.jsonl", "--base", folder / "llama", "--minilm", folder / "bert"]
    asked += ["--folds", 2, "--epochs", 1, "--max-tokens", 32, "--resume-dir", folder / "kept"]
    table = run("students.py", *asked)
    names = [cells[0] for cells in table]
    assert names == [
        "constant median",
        "TF-IDF + ridge",
        "MiniLM + ridge",
        "lite",
        "**qwen-lora**",
        "… its plain head",
        "… calibrated on its val split",
        "LoRA, squared error",
        "mean of qwen-lora and lite",
    ]
    assert all(1 < float(cells[1]) < 6 for cells in table)
    assert [cells[4] == "" for cells in table] == [name == "**qwen-lora**" for name in names]
    kept = {path: path.stat().st_mtime_ns for path in (folder / "kept").iterdir()}
    assert len(kept) == 2 * 6

    (folder / "kept" / sorted(kept)[0].name).unlink()
    assert [cells[:6] for cells in run("students.py", *asked)] == [cells[:6] for cells in table]
    again = {path: path.stat().st_mtime_ns for path in (folder / "kept").iterdir()}
    assert again.keys() == kept.keys()
    assert sum(again[path] != kept[path] for path in kept) == 1


def test_speed_is_compared(folder: Path) -> None:
    table = run("training.py", "--base", folder / "llama", "--articles", 40, "--rounds", 1)
    assert [cells[0] for cells in table] == ["padding to 512, fp32, checkpointing", "**qwen-lora**", "… in fp32"]
    assert table[0][2] == "1.0 ×"
    padding = [int(cells[4].rstrip("%")) for cells in table]
    assert padding[0] > 50 > padding[1] == padding[2]


def test_errors_are_compared(folder: Path) -> None:
    labels = folder / "labels.jsonl"
    table = run("training.py", "--base", folder / "llama", "--labels", labels, "--quality", "--epochs", 1)
    assert [cells[0] for cells in table] == ["padding to 512, fp32, checkpointing", "**qwen-lora**"]
    assert all(1 < float(cells[1]) < 6 for cells in table)
