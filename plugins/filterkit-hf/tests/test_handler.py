"""handler.py and its runtime/, run where no filterkit is installed: the same answers as at home, and no others."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from endpoints_here import UPLIFTING, Endpoint, lite_student, ship
from filterkit_hf.endpoint_model import EndpointModel

from filterkit.api import FilterSpec, load_manifest, load_student
from filterkit.manifest import Forced, save_manifest
from filterkit.testing import ModelContract
from filterkit.testing.samples import HOSTILE_TEXTS, fake_context

ARTICLES = [json.loads(line) for line in (UPLIFTING / "sample/fresh.jsonl").read_text().splitlines()]
ODD = [
    {"title": "", "content": ""},
    {"content": 3},
    {"title": "no content"},
    {"title": "nul \x00", "content": "control \x1b[31m characters and \u202e turned ones"},
    {"title": "t", "content": "c", "unknown": {"fields": [1, None]}},
]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lite_student(tmp_path_factory.mktemp("lite"))


@pytest.fixture(scope="module")
def shipped(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    return ship(student, tmp_path_factory.mktemp("shipped") / "repository")


@pytest.fixture(scope="module")
def endpoint(shipped: Path) -> Iterator[Endpoint]:
    with Endpoint(shipped) as running:
        yield running


@pytest.fixture(scope="module")
def spec(student: Path) -> FilterSpec:
    return load_manifest(student).spec


def same(answers: list[dict[str, Any]], student: Path, articles: list[dict[str, Any]]) -> None:
    """The answers are what the student in the folder says here."""
    verdicts = list(load_student(student, quiet=True).judge(articles))
    assert len(answers) == len(verdicts)
    for answer, verdict in zip(answers, verdicts, strict=True):
        said = verdict.to_dict()
        assert answer.get("error") == said.get("error")
        for name in ("tier", "sure", "passed", "reasons"):
            assert answer[name] == said[name], name
        assert answer["scores"].keys() == said["scores"].keys()
        assert list(answer["scores"].values()) == pytest.approx(list(said["scores"].values()), abs=1e-4)
        assert answer["overall"] == pytest.approx(said["overall"], abs=1e-4)
        assert answer["overall_interval"] == pytest.approx(said["overall_interval"], abs=1e-4)


def test_the_same_verdicts_as_at_home(endpoint: Endpoint, student: Path) -> None:
    articles = [*ARTICLES, *ODD]
    answers = endpoint.right({"inputs": articles})
    same(answers, student, articles)
    assert {one["tier"] for one in answers} >= {"connection", "not_uplifting"}, "the tiers postfilter went along"
    assert {"collective_benefit_floor"} in [set(one["reasons"]) for one in answers]
    single = endpoint.right({"inputs": ARTICLES[0]})
    assert single == answers[0], "an input that is not in a list gets an answer that is in none"


def test_raw_scores_as_labels(endpoint: Endpoint, student: Path, spec: FilterSpec) -> None:
    texts = ["Neighbours rebuilt the school together.", "The bank raised its fees.", ""]
    scorer = load_student(student).scorer
    raw = scorer.predict(scorer.encode(texts)).scores
    parameters = {"top_k": len(spec.names), "function_to_apply": "none", "truncation": True}
    answers = endpoint.right({"inputs": texts, "parameters": parameters})
    found = [{one["label"]: one["score"] for one in row} for row in answers]
    np.testing.assert_allclose([[row[name] for name in spec.names] for row in found], raw, atol=1e-4)
    assert len(endpoint.right({"inputs": "one text", "parameters": {"top_k": 3}})[0]) == 3


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"inputs": ["x"] * 1025}, "1,025 inputs in one request; at most 1,024"),
        ({"inputs": ["x"] * 1_000_000}, "1,000,000 inputs"),
        ({"inputs": "x" * 1_000_001}, "longer than 1,000,000 characters"),
        ({"inputs": None}, "not NoneType"),
        ({"inputs": [3]}, "not int"),
        ({"inputs": [["a", "b"]]}, "not list"),
        (b'{"inputs": [NaN]}', "not float"),
        ({"inputs": "x", "parameters": []}, None),
        ({"inputs": "x", "parameters": ["top_k"]}, "must be an object"),
        ({"inputs": "x", "parameters": {"temperature": 1}}, "unknown parameter 'temperature'"),
        ({"inputs": "x", "parameters": {"top_k": 0}}, "top_k"),
        ({"texts": "x"}, "inputs"),
    ],
)
def test_requests_that_are_refused(body: Any, says: str | None, endpoint: Endpoint) -> None:
    status, answer = endpoint.ask(body)
    if says is None:
        assert status == 200
    else:
        assert status == 400
        assert says in answer["error"]
        assert "Traceback" not in answer["error"]
        assert "/" not in answer["error"], "no path of the endpoint's"


def test_hostile_texts_are_scored_as_at_home(endpoint: Endpoint, student: Path) -> None:
    articles = [{"title": "t", "content": text} for text in HOSTILE_TEXTS]
    articles[5]["content"] = "x" * 999_999
    same(endpoint.right({"inputs": articles}), student, articles)
    assert len(endpoint.right({"inputs": list(HOSTILE_TEXTS)})) == len(HOSTILE_TEXTS)
    assert endpoint.right({"inputs": []}) == []


def test_nothing_of_an_installed_filterkit_is_needed(shipped: Path) -> None:
    """The guard itself: without runtime/ there is no filterkit, and none of what only the core needs."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from guarded import Guard\n"
        "sys.meta_path.insert(0, Guard(Path(sys.argv[2])))\n"
        "for name in ('filterkit', 'filterkit_lite', 'click', 'pluggy', 'yaml'):\n"
        "    try: __import__(name)\n"
        "    except ModuleNotFoundError: continue\n"
        "    sys.exit(f'{name} could be imported')\n"
    )
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, here, shipped], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def load_handler(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("a_handler", folder / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_flipped_bit_in_any_file_is_noticed(shipped: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shipped, tmp_path / "copy")
    handler = load_handler(shipped)
    handler.check_files(folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    assert len(files) > 30
    for file in files:
        data = file.read_bytes()
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        with pytest.raises(RuntimeError, match=f"{file.name}|deployment.json is damaged"):
            handler.check_files(folder)
        file.write_bytes(data)
    handler.check_files(folder)
    (folder / "runtime/filter.json").rename(folder / "elsewhere.json")
    with pytest.raises(RuntimeError, match=r"filter\.json"):
        handler.check_files(folder)
    (folder / "elsewhere.json").rename(folder / "runtime/filter.json")
    (folder / "runtime/numpy.py").write_text("evil = True\n")
    with pytest.raises(RuntimeError, match=r"runtime/numpy.py was not shipped"):
        handler.check_files(folder)


def test_an_endpoint_with_a_damaged_file_does_not_start(shipped: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shipped, tmp_path / "copy")
    weights = folder / "lite.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(RuntimeError, match=r"lite\.safetensors is not the file that was shipped"), Endpoint(folder):
        pass


@pytest.mark.heavy
def test_nor_does_one_that_nobody_vouches_for(shipped: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shipped, tmp_path / "copy")
    weights = folder / "lite.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (folder / "deployment.json").unlink()
    with pytest.raises(RuntimeError, match=r"lite\.safetensors is damaged or was altered"), Endpoint(folder):
        pass


def test_it_runs_beside_the_filterkit_that_it_was_copied_from(shipped: Path, tmp_path: Path) -> None:
    """In one process with this very filterkit: then its modules are the copies. Not beside another version of it."""
    before = list(sys.path)
    try:
        handler = load_handler(shipped)
        assert handler.EndpointHandler(str(shipped))({"inputs": ["a text"]})[0]["scores"]
        folder = shutil.copytree(shipped, tmp_path / "copy")
        (folder / "deployment.json").unlink()
        with (folder / "runtime/filterkit/overall.py").open("a") as file:
            file.write("# another version\n")
        with pytest.raises(RuntimeError, match=r"this process has loaded another filterkit\.overall"):
            handler.EndpointHandler(str(folder))
    finally:
        sys.path[:] = before


def test_the_policy_of_the_filter_counts_and_a_forced_student_says_so_once(
    student: Path, spec: FilterSpec, tmp_path: Path
) -> None:
    """A filter whose tiers changed is not trained again: the manifest still has the old ones."""
    copy = shutil.copytree(student, tmp_path / "student")
    manifest = load_manifest(copy)
    forced = Forced(reason="a try", gates="mae", at=manifest.created)
    save_manifest(copy, manifest.model_copy(update={"forced": forced}))
    raw = spec.to_dict()
    raw["postfilter"]["tiers"] = [{"name": "good", "at_least": 1}, {"name": "other"}]
    with Endpoint(ship(copy, tmp_path / "repository", FilterSpec.model_validate(raw))) as endpoint:
        for _ in range(2):
            answers = endpoint.right({"inputs": ARTICLES})
            assert {one["tier"] for one in answers} <= {"good", "other"}
    assert endpoint.log.count("shipped although its gates refused it (mae): a try") == 1


class TestEndpointModel(ModelContract):
    """The remote model keeps the contract of models, asking this handler."""

    @pytest.fixture
    def backend(self) -> type[EndpointModel]:
        return EndpointModel

    @pytest.fixture
    def spec(self, student: Path) -> FilterSpec:
        return load_manifest(student).spec

    @pytest.fixture
    def artifact(self, endpoint: Endpoint) -> str:
        return endpoint.url


def test_a_remote_student_judges_as_a_local_one(endpoint: Endpoint, student: Path) -> None:
    here, there = load_student(student), load_student(student, remote=endpoint.url)
    articles = [*ARTICLES, *ODD]
    ours, theirs = list(here.judge(articles)), list(there.judge(articles))
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.tier, mine.reasons, mine.passed, mine.error) == (
            other.tier,
            other.reasons,
            other.passed,
            other.error,
        )
        assert list(mine.scores.values()) == pytest.approx(list(other.scores.values()), abs=1e-4)
    there.close()


def test_the_endpoint_gives_its_own_verdicts(
    endpoint: Endpoint, student: Path, spec: FilterSpec, tmp_path: Path
) -> None:
    scorer = EndpointModel(EndpointModel.Options(), spec, fake_context(tmp_path)).load(endpoint.url)  # type: ignore[arg-type]
    answers = scorer.verdicts(ARTICLES)
    assert answers is not None
    same(answers, student, ARTICLES)
    scorer.close()
