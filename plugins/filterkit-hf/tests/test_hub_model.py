"""Model `huggingface-hub` against a fake Hub: the revision as it is stored now, or an error in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filterkit_hf.hub_model import HubModel, HubScorer
from huggingface_hub import HfApi

from filterkit.api import (
    ArtifactError,
    ConfigError,
    Context,
    FilterkitError,
    FilterSpec,
    StoppedEarly,
    load_scorer,
    sha256_file,
)
from filterkit.testing import tiny_spec
from filterkit.testing.fake_hub import FakeHub
from filterkit.testing.samples import SECRET

TEXTS = ["neighbours helped volunteers", "a new sensor prototype", ""]
Load = Callable[..., HubScorer]


@pytest.fixture
def model(spec: FilterSpec, context: Context) -> HubModel:
    options = HubModel.Options.model_validate({"patience_s": 0.3, "timeout_s": 20})
    return HubModel(options, spec, context)  # type: ignore[arg-type]


@pytest.fixture
def api(hub: FakeHub) -> HfApi:
    api = HfApi(endpoint=hub.url, token=SECRET)
    api.create_repo("me/x", private=True)
    return api


def uploaded(api: HfApi, folder: Path, revision: str | None = None) -> str:
    return str(api.upload_folder(repo_id="me/x", folder_path=folder, revision=revision).oid)


def scores(scorer: Any) -> Any:
    found = scorer.predict(scorer.encode(TEXTS)).scores
    scorer.close()
    return found


def test_the_same_scores_as_from_the_folder(model: HubModel, api: HfApi, student: tuple[Path, str]) -> None:
    commit = uploaded(api, student[0])
    here = scores(load_scorer(student[0]))
    for ref in ("hf://me/x", "hf://me/x@main", f"hf://me/x@{commit}", "hf://me/x/"):
        np.testing.assert_array_equal(scores(model.load(ref)), here)


def test_a_branch_is_what_it_is_now(
    model: HubModel, api: HfApi, student: tuple[Path, str], other: tuple[Path, str]
) -> None:
    first = uploaded(api, student[0])
    before = scores(model.load("hf://me/x"))
    uploaded(api, other[0])
    after = scores(model.load("hf://me/x"))
    np.testing.assert_array_equal(after, scores(load_scorer(other[0])))
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(scores(model.load(f"hf://me/x@{first}")), before)


def test_the_fetched_files_go_with_the_scorer(model: HubModel, api: HfApi, student: tuple[Path, str]) -> None:
    uploaded(api, student[0])
    scorer = model.load("hf://me/x")
    folder = Path(scorer._folder.name)
    assert (folder / "filterkit.json").is_file()
    scorer.close()
    scorer.close()
    assert not folder.exists()


def test_hashes_are_of_the_bytes(model: HubModel, api: HfApi, hub: FakeHub, student: tuple[Path, str]) -> None:
    uploaded(api, student[0])
    found = model.hashes("hf://me/x")
    expected = {p.relative_to(student[0]).as_posix(): sha256_file(p) for p in student[0].rglob("*") if p.is_file()}
    assert {name: found[name] for name in expected} == expected
    assert set(found) - set(expected) <= {".gitattributes"}


@pytest.mark.parametrize("name", [".gitattributes", "filterkit.json", "toy.json"])
def test_bytes_that_the_hub_does_not_claim_have_no_hash(
    model: HubModel, api: HfApi, hub: FakeHub, student: tuple[Path, str], name: str
) -> None:
    """.gitattributes is the Hub's own: nobody else vouches for it."""
    uploaded(api, student[0])
    hub.repo("me/x").flip_bit(name, byte=3)
    with pytest.raises(ArtifactError, match=f"{name} is not the file that the Hub says it is"):
        model.hashes("hf://me/x")


def test_other_bytes_are_refused(
    model: HubModel, api: HfApi, student: tuple[Path, str], other: tuple[Path, str]
) -> None:
    uploaded(api, student[0])
    api.upload_file(repo_id="me/x", path_or_fileobj=other[0] / "toy.json", path_in_repo="toy.json")
    with pytest.raises(ArtifactError, match=r"toy\.json is damaged or was altered") as caught:
        model.load("hf://me/x")
    assert caught.value.where == "hf://me/x"
    api.delete_file(repo_id="me/x", path_in_repo="filterkit.json")
    with pytest.raises(ArtifactError, match="there is no student here"):
        model.load("hf://me/x")


def test_a_student_of_another_filter(api: HfApi, student: tuple[Path, str], context: Context) -> None:
    uploaded(api, student[0])
    dimensions = [{"name": "else", "weight": 1.0}]
    another = HubModel(HubModel.Options(), tiny_spec(dimensions=dimensions), context)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="for another filter"):
        another.load("hf://me/x")


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("hf://me", "is no student on the Hub"),
        ("hf://me/x/y", "is no student on the Hub"),
        ("hf://me/x@", "is no student on the Hub"),
        ("hf://me/../x", "is no student on the Hub"),
        ("hf://me/nothing", "is not there, or HF_TOKEN may not see it"),
        ("hf://me/x@nothing", "is not there"),
        ("hf://you/x", "is not there"),
    ],
)
def test_what_is_not_there(ref: str, says: str, model: HubModel, api: HfApi) -> None:
    with pytest.raises(FilterkitError, match=says) as caught:
        model.load(ref)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_without_a_token(
    api: HfApi,
    hub: FakeHub,
    student: tuple[Path, str],
    spec: FilterSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is public is for everybody; what is private is not there."""
    uploaded(api, student[0])
    monkeypatch.delenv("HF_TOKEN")
    model = HubModel(HubModel.Options.model_validate({"patience_s": 0.3}), spec, Context(workdir=tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="HF_TOKEN"):
        model.load("hf://me/x")
    api.update_repo_settings("me/x", private=False)
    assert scores(model.load("hf://me/x")).shape == (3, 3)


def test_an_outage(model: HubModel, api: HfApi, hub: FakeHub, student: tuple[Path, str]) -> None:
    uploaded(api, student[0])
    hub.__exit__()
    with pytest.raises(StoppedEarly) as caught:
        model.load("hf://me/x")
    assert caught.value.exit_code == 4
    hub.__enter__()


def test_one_file_as_it_is_stored(model: HubModel, api: HfApi, student: tuple[Path, str]) -> None:
    uploaded(api, student[0])
    assert model.stored("hf://me/x", "filterkit.json") == (student[0] / "filterkit.json").read_bytes()
    assert model.stored("hf://me/x", "deployment.json") is None
