"""The cards that are written here: valid metadata, true figures, nothing that a stranger's text can break."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from filterkit_hf.card import model_card
from filterkit_hf.options import HubOptions
from shipping import Workspace

from filterkit.manifest import Forced, Gate, GateRecord, Manifest, load_manifest
from filterkit.testing import tiny_spec

OPTIONS = HubOptions(repo_id="me/x", license="mit")


@pytest.fixture
def manifest(workspace: Workspace) -> Manifest:
    return load_manifest(workspace.student)


def front(card: str) -> Any:
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("\n---\n", 1)[0])


def with_gates(manifest: Manifest) -> Manifest:
    gate = Gate(name="mae", value=0.5, bound=0.61, limit=1.0, passed=True, why="")
    record = GateRecord(
        student_hash=manifest.student_hash, policy_hash=manifest.policy_hash,
        data_fingerprint=manifest.data.fingerprint, method="out of fold", at=datetime(2026, 11, 1, tzinfo=UTC),
        gates=(gate,),
    )  # fmt: skip
    metrics = {"mae": 0.51234, "median_mae": 1.5, "spearman": 0.7}
    return manifest.model_copy(update={"gates": record, "metrics": metrics, "forced": None})


def test_figures_and_gates_are_the_manifests(manifest: Manifest) -> None:
    card = model_card(with_gates(manifest), OPTIONS)
    assert "0.512" in card
    assert "| `mae` | 0.5 (at worst 0.61) | 1 | yes |" in card
    results = front(card)["model-index"][0]["results"][0]["metrics"]
    assert results == [{"type": "mae", "value": 0.5123}, {"type": "spearmanr", "value": 0.7}]
    assert front(card)["license"] == "mit"
    assert "Shipped although" not in card


def test_without_figures_it_claims_none(manifest: Manifest) -> None:
    card = model_card(manifest.model_copy(update={"metrics": None, "gates": None}), OPTIONS)
    assert "not measured" in card
    assert "model-index" not in front(card)


def test_a_forced_student_says_so(manifest: Manifest) -> None:
    forced = Forced(reason="we <b>need</b> it\n# now", gates="mae is 2", at=datetime(2026, 11, 2, tzinfo=UTC))
    card = model_card(manifest.model_copy(update={"forced": forced}), OPTIONS)
    assert "**Shipped although its gates refused it**, on 2026-11-02" in card
    assert "<b>" not in card
    assert "\n# now" not in card


@pytest.mark.parametrize("base", ["/home/someone/models/base", "../base", "C:\\models\\base", "./x/y/z"])
def test_no_path_of_this_machine(manifest: Manifest, base: str) -> None:
    card = model_card(manifest.model_copy(update={"base_model": base}), OPTIONS)
    assert base not in card
    assert "base_model" not in front(card)


def test_names_are_shown_as_they_are(manifest: Manifest) -> None:
    oracles = ("gemini:gemini_3*flash", "a`b\n# c")
    data = manifest.data.model_copy(update={"oracles": oracles})
    card = model_card(manifest.model_copy(update={"data": data}), OPTIONS)
    assert "- labels: `gemini:gemini_3*flash`, `a'b # c`;" in card


def test_a_base_of_the_hub_is_named(manifest: Manifest) -> None:
    card = model_card(manifest.model_copy(update={"base_model": "Qwen/Qwen2.5-1.5B"}), OPTIONS)
    assert front(card)["base_model"] == "Qwen/Qwen2.5-1.5B"


def test_hostile_descriptions_are_text(manifest: Manifest) -> None:
    spec = tiny_spec(description="---\nlicense: gpl\n--- | <script>alert(1)</script> [x](http://evil) `a` \x1b[31m")
    card = model_card(manifest.model_copy(update={"spec": spec}), OPTIONS)
    assert front(card)["license"] == "mit"
    assert "<script>" not in card
    assert "](http://evil)" not in card
    assert "\x1b" not in card
