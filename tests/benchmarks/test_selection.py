"""The benchmark of selection runs from end to end on invented articles: what it prints, not who wins."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.heavy


def test_every_choice_is_in_every_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import articles

    texts, targets = articles.invented(100)
    with (tmp_path / "labels.jsonl").open("w", encoding="utf-8") as file:
        for text, scores in zip(texts, targets.tolist(), strict=True):
            row = {"title": "", "content": text, "scores": {f"dimension_{i}": s for i, s in enumerate(scores)}}
            file.write(json.dumps(row) + "\n")
    small = ["--seeds", "2", "--pool", "70", "--held-out", "30", "--at", "40"]
    command = [sys.executable, BENCHMARKS / "selection.py", "--labels", tmp_path / "labels.jsonl", *small]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert said.count("\n| random | ") == 3
    for name in ("stratified", "diverse", "random:0.5,diverse:0.5", "near", "uncertain", "k-center"):
        assert said.count(f"\n| {name} | ") == 4
