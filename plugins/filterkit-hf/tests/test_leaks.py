"""Keys and tokens do not go out, wherever they stand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from filterkit_hf import leaks
from filterkit_hf.deployer import HubDeployer
from filterkit_hf.leaks import refuse_leaks
from shipping import Workspace

from filterkit.errors import ArtifactError
from filterkit.testing.fake_hub import FakeHub

TOKENS = [
    "hf_" + "aB3dE" * 7,
    "AIza" + "Sy0-_" * 7,
    "sk-" + "proj-1234567890abcdefghij",
    "ghp_" + "a1B2" * 9,
    "AKIA" + "ABCDEFGH12345678",
    "-----BEGIN OPENSSH PRIVATE " + "KEY-----",
]
HARMLESS = [
    "hf_hub_download and hf_token", "risk-management-of-the-very-long-kind", "task-1234567890123456789012345",
    "sk-learn-is-a-nickname-for-scikit", "AIza", "hf_…", "https://huggingface.co/hf_x",
]  # fmt: skip


@pytest.mark.parametrize("token", TOKENS, ids=lambda t: t[:4])
def test_what_is_shaped_like_a_key_is_refused(tmp_path: Path, token: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(f'{{"a": "{token}"}}')
    for content in (path, path.read_bytes()):
        with pytest.raises(ArtifactError, match=r"tokenizer\.json") as refusal:
            refuse_leaks({"tokenizer.json": content}, [])
        assert token not in str(refusal.value)
    with pytest.raises(ArtifactError) as refusal:
        refuse_leaks({f"{token}.txt": b"a name can be one, too"}, [])
    assert token not in str(refusal.value)


@pytest.mark.parametrize("before", ["two\nlines\n", "tab\t", "\x1b", "\U0001f600", "name_", "='"], ids=ascii)
@pytest.mark.parametrize("token", TOKENS, ids=lambda t: t[:4])
def test_nothing_hides_in_a_text_in_json(token: str, before: str) -> None:
    """Where a line begins with a key, JSON has the letter n before it."""
    with pytest.raises(ArtifactError):
        refuse_leaks({"train.jsonl": json.dumps({"content": before + token}).encode()}, [])


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_one_is_not(text: str) -> None:
    refuse_leaks({"text": text.encode()}, [])


def test_the_values_of_secrets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArtifactError, match="secret"):
        refuse_leaks({"a": b"it is correct horse battery."}, ["correct horse battery"])
    monkeypatch.setenv("SOMEBODYS_API_KEY", "battery-staple")
    with pytest.raises(ArtifactError, match="secret"):
        refuse_leaks({"a": b"it is battery-staple."}, [])


def test_nothing_hides_where_two_pieces_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_PIECE", 1 << 12)
    path = tmp_path / "large.bin"
    for start in range((1 << 12) - 40, (1 << 12) + 1):
        path.write_bytes(b" " * start + TOKENS[0].encode() + b" " * 100)
        with pytest.raises(ArtifactError):
            refuse_leaks({"large.bin": path}, [])


def test_deploying_refuses_before_anything_is_made(
    hub: FakeHub, deployer: Callable[..., HubDeployer], student: tuple[Path, str]
) -> None:
    (student[0] / "README.md").write_text(f"# Card\n\nexport HF_TOKEN={TOKENS[0]}\n")
    with pytest.raises(ArtifactError, match=r"README\.md") as refusal:
        deployer().publish(*student)
    assert TOKENS[0] not in str(refusal.value)
    assert hub.repos == []
    assert hub.seen(TOKENS[0]) == []


@pytest.mark.heavy
def test_a_dataset_with_a_key_stays_here(hub: FakeHub, workspace: Workspace, tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        rows = (workspace.data / f"{name}.jsonl").read_text()
        (tmp_path / f"{name}.jsonl").write_text(rows.replace("council", TOKENS[1]) if name == "val" else rows)
    done = workspace.deploy(hub, "dataset_repo_id=me/labels", f"dataset_dir={tmp_path}")
    assert done.returncode == 2, done.stderr
    assert "val.jsonl" in done.stderr
    assert TOKENS[1] not in done.stdout + done.stderr
    assert hub.repos == []
