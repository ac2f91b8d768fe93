"""The labelled data goes along only when it is asked for, and without texts where that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from filterkit_hf.dataset import dataset_files
from filterkit_hf.options import HubOptions
from shipping import Workspace, rows

from filterkit.errors import ArtifactError, InputError
from filterkit.manifest import load_manifest
from filterkit.testing.fake_hub import FakeHub


@pytest.mark.heavy
def test_it_goes_along_as_it_is(hub: FakeHub, workspace: Workspace) -> None:
    done = workspace.deploy(hub, "dataset_repo_id=me/labels", "license=cc-by-4.0")
    assert done.returncode == 0, done.stderr
    assert "dataset repository me/labels (private), with titles and contents" in done.stdout
    repo = hub.repo("me/labels", "dataset")
    assert repo.private
    files = repo.files()
    assert set(files) == {".gitattributes", "README.md", "train.jsonl", "val.jsonl", "test.jsonl"}
    for name in ("train.jsonl", "val.jsonl", "test.jsonl"):
        assert files[name] == (workspace.data / name).read_bytes()
    assert len(repo.commits()) == 2
    front = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert front["license"] == "cc-by-4.0"
    splits = {one["split"]: one["path"] for one in front["configs"][0]["data_files"]}
    assert splits == {"train": "train.jsonl", "validation": "val.jsonl", "test": "test.jsonl"}
    assert "96 in train.jsonl" in files["README.md"].decode()
    model = yaml.safe_load(hub.repo("me/x").files()["README.md"].decode().split("---")[1])
    assert model["datasets"] == ["me/labels"]

    before = len(hub.requests)
    again = workspace.deploy(hub, "dataset_repo_id=me/labels", "license=cc-by-4.0")
    assert again.returncode == 0, again.stderr
    assert {seen.method for seen in hub.requests[before:]} == {"GET", "HEAD"}


@pytest.mark.heavy
def test_without_it_nothing_of_it_goes(hub: FakeHub, workspace: Workspace) -> None:
    assert workspace.deploy(hub).returncode == 0
    assert hub.repos == [("model", "me/x")]
    text = rows(workspace.data / "train.jsonl")[0]["content"]
    assert hub.seen(text) == []


@pytest.mark.heavy
def test_a_public_dataset_is_refused_unless_asked_for(hub: FakeHub, workspace: Workspace) -> None:
    opened = workspace.deploy(hub, "dataset_repo_id=me/labels", "public=true")
    assert opened.returncode == 0, opened.stderr
    assert not hub.repo("me/labels", "dataset").private
    done = workspace.deploy(hub, "repo_id=me/other", "dataset_repo_id=me/labels")
    assert done.returncode == 2
    assert "me/labels: is public" in done.stderr


def data(tmp_path: Path, workspace: Workspace, row: dict[str, object]) -> Path:
    for name in ("val", "test"):
        (tmp_path / f"{name}.jsonl").write_bytes((workspace.data / f"{name}.jsonl").read_bytes())
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path


def options(**more: object) -> HubOptions:
    return HubOptions.model_validate({"repo_id": "me/x", "dataset_repo_id": "me/labels", **more})


def test_texts_are_left_out_on_request(workspace: Workspace, tmp_path: Path) -> None:
    row = {
        "id": "https://example.org/a-story", "title": "TITLE", "content": "CONTENT", "url": "https://example.org/a-story",
        "summary": "SUMMARY", "evidence": {"help": "QUOTE"}, "group": "TITLE", "language": "en", "source": "a paper",
        "scores": {"help": 3.0, "novelty": 1.0, "is_advert": 0.0}, "oracle": "sample",
    }  # fmt: skip
    folder = data(tmp_path, workspace, row)
    files = dataset_files(load_manifest(workspace.student), folder, options(dataset_text=False))
    kept = files["train.jsonl"]
    assert isinstance(kept, bytes)
    for word in (b"TITLE", b"CONTENT", b"SUMMARY", b"QUOTE", b"example.org"):
        assert word not in kept
    out = json.loads(kept)
    assert out["scores"] == row["scores"]
    assert (out["language"], out["source"], out["oracle"]) == ("en", "a paper", "sample")
    assert len(out["id"]) == 32
    card = files["README.md"]
    assert isinstance(card, bytes)
    assert b"were left out" in card


@pytest.mark.parametrize("line", ["not json", "[1]", '{"id": '])
def test_a_line_that_is_no_article(workspace: Workspace, tmp_path: Path, line: str) -> None:
    folder = data(tmp_path, workspace, {"id": "a"})
    (folder / "val.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=r"val\.jsonl:1"):
        dataset_files(load_manifest(workspace.student), folder, options())


def test_a_missing_split(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dataset_dir"):
        dataset_files(load_manifest(workspace.student), tmp_path, options())


def test_data_of_another_student_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    folder = data(tmp_path, workspace, {"id": "a"})
    said = {"info": {"fingerprint": "0" * 64}, "files": {}}
    (folder / "data.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="not valid"):
        dataset_files(load_manifest(workspace.student), folder, options())
    import hashlib

    said["files"] = {
        name: hashlib.sha256((folder / f"{name}.jsonl").read_bytes()).hexdigest() for name in ("train", "val", "test")
    }
    (folder / "data.json").write_text(json.dumps(said))
    with pytest.raises(ArtifactError, match="other data"):
        dataset_files(load_manifest(workspace.student), folder, options())


@pytest.mark.heavy
def test_a_dataset_repository_of_somebody_else_is_left_alone(hub: FakeHub, workspace: Workspace) -> None:
    assert workspace.deploy(hub, "dataset_repo_id=me/labels").returncode == 0
    hub.repo("me/labels", "dataset").set_file("other.parquet", b"theirs")
    done = workspace.deploy(hub, "dataset_repo_id=me/labels")
    assert done.returncode == 2
    assert "other.parquet" in done.stderr


def test_a_row_that_is_no_text_is_named(workspace: Workspace, tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.jsonl").write_bytes(b"{}\n" if name != "val" else b'{}\n{"id": "\xff"}\n')
    with pytest.raises(InputError, match=r"val\.jsonl:2: is not JSON"):
        dataset_files(load_manifest(workspace.student), tmp_path, HubOptions(repo_id="me/x", dataset_repo_id="me/y"))
