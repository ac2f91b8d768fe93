"""handler.py of a student of transformers; and handlers in environments that hold their requirements and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from endpoints_here import REPOSITORY, UPLIFTING, Endpoint, lite_student, ship
from shipping import Workspace

from filterkit.api import load_manifest, load_student
from filterkit.testing.samples import sample_articles

sys.path.append(str(REPOSITORY / "plugins/filterkit-qwen-lora/tests"))  # for its tiny checkpoints


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of a tiny Qwen2, trained for one epoch."""
    from checkpoints import make_checkpoint

    workspace = Workspace(tmp_path_factory.mktemp("hf"), rows=60)
    base = make_checkpoint(workspace.root / "base", "qwen2")
    options = [word for o in ("epochs=1", "lora_r=4", "precision=fp32") for word in ("-O", f"trainer.{o}")]
    done = workspace.run(
        "train", workspace.filter, "--data-dir", workspace.data, "--output-dir", workspace.student,
        "--trainer", "qwen-lora", "--model-name", base, *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return workspace.student


@pytest.fixture(scope="module")
def shipped(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ship(student, tmp_path_factory.mktemp("shipped") / "repository")


def check(endpoint: Endpoint, student: Path, articles: list[dict[str, Any]]) -> None:
    """The endpoint answers as the student in the folder does here."""
    local = load_student(student, device="cpu")
    answers = endpoint.right({"inputs": articles})
    for answer, verdict in zip(answers, local.judge(articles), strict=True):
        assert list(answer["scores"].values()) == pytest.approx(list(verdict.scores.values()), abs=1e-4)
        assert answer["overall"] == pytest.approx(verdict.overall, abs=1e-4)
        assert (answer["tier"], tuple(answer["reasons"])) == (verdict.tier, verdict.reasons)
    names = load_manifest(student).spec.names
    texts = [article["content"] for article in articles]
    raw = local.scorer.predict(local.scorer.encode(texts)).scores
    rows = endpoint.right({"inputs": texts, "parameters": {"top_k": len(names), "function_to_apply": "none"}})
    found = [{one["label"]: one["score"] for one in row} for row in rows]
    np.testing.assert_allclose([[row[name] for name in names] for row in found], raw, atol=1e-4)


@pytest.mark.heavy
def test_a_student_of_transformers(shipped: Path, student: Path) -> None:
    with Endpoint(shipped) as endpoint:
        check(endpoint, student, [article.to_dict() for article in sample_articles(6)])


def alone(folder: Path, requirements: Path, *options: object) -> Path:
    """The Python of an environment that holds these requirements only."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    python = folder / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements, *options],
        check=True,
        timeout=900,
    )
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=json"], capture_output=True, check=True, timeout=120
    )
    installed = {one["name"].lower() for one in json.loads(listed.stdout)}
    assert not [name for name in installed if name.startswith("filterkit")]
    return python


@pytest.mark.heavy
def test_lite_with_its_requirements_only(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    student = lite_student(tmp_path / "workspace")
    folder = ship(student, tmp_path / "repository")
    python = alone(tmp_path / "alone", folder / "requirements.txt")
    fresh = (UPLIFTING / "sample/fresh.jsonl").read_text().splitlines()
    with Endpoint(folder, python) as endpoint:
        check(endpoint, student, [json.loads(line) for line in fresh])


@pytest.mark.heavy
def test_transformers_with_its_requirements_only(shipped: Path, student: Path, tmp_path: Path) -> None:
    constraints = REPOSITORY / "constraints.txt"  # the smaller torch, where there is a choice
    python = alone(tmp_path / "alone", shipped / "requirements.txt", "-c", constraints)
    with Endpoint(shipped, python) as endpoint:
        check(endpoint, student, [article.to_dict() for article in sample_articles(6)])
