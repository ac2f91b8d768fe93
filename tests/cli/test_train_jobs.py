"""A training that goes away in a sealed job and comes home as a student."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from helpers import FILTER, PROMPT, Inside, Workspace, labelled, read_jsonl, snapshot, write_filter

from filterkit.files import sha256_file
from filterkit.manifest import FileEntry, Forced, describe_files, load_manifest, save_manifest, student_hash
from filterkit.pipeline.jobs import SealedJob
from filterkit.plugins import plugins

TRAIN = ["train", "tiny/v1", "--data-dir", "data"]
PACK = [*TRAIN, "--pack", "job.tar"]
RUN = ["train", "--job", "job.tar", "--output-dir", "away"]
IMPORT = ["students", "import", "away", "--filter", "tiny/v1", "--data-dir", "data", "--output-dir", "student"]
HOME = [*TRAIN, "--output-dir", "student"]


@dataclass(frozen=True)
class Here(Inside):
    """The command line in this process, standing in a workspace of splits, without a student."""

    def refused(self, *arguments: object, says: str) -> None:
        """One line of error with `says` in it, and nothing is written."""
        before = snapshot(self.root)
        said = self(*arguments, code=2)
        assert says in said.err, said.err
        assert said.err.startswith(("Error: ", "Usage: ")), said.err
        assert "Traceback" not in said.err
        assert snapshot(self.root) == before

    def alter(self, name: str, change: Callable[[dict[str, bytes]], object]) -> None:
        """Write the tar `name` anew with other content."""
        with tarfile.open(self / name) as tar:
            content = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]
        change(content)
        with tarfile.open(self / name, "w") as tar:
            for member, data in content.items():
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, toy_site: Path) -> Path:
    """A workspace with splits, a sealed job, and what became of it."""
    root = tmp_path_factory.mktemp("start")
    workspace = Workspace(root, toy_site)
    write_filter(workspace.filter, FILTER + "gates: {mae: 9, median_gain: null, spearman: null, coverage: null}\n")
    workspace.prepared()
    workspace.ok(*PACK)
    workspace.ok(*RUN)
    return root


@pytest.fixture
def here(
    start: Path, tmp_path: Path, toys: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    shutil.copytree(start, tmp_path / "home", ignore=shutil.ignore_patterns("away", "job.tar"))
    monkeypatch.chdir(tmp_path / "home")
    return Here(tmp_path / "home", capsys)


@pytest.fixture
def elsewhere(here: Here, toy_site: Path) -> Workspace:
    """Another machine."""
    (here.root.parent / "elsewhere").mkdir()
    return Workspace(here.root.parent / "elsewhere", toy_site)


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "filterkit.json").read_bytes())
    return found


# There and back


def test_there_and_back(here: Here) -> None:
    said = here(*PACK, "-O", "steps=4", "--seed", "5")
    assert "pip install filterkit==0.1.0 fk-toys==1.0" in said.out
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    shutil.move(here / "job.tar", elsewhere / "job.tar")
    (here / "data").rename(here / "hidden")  # nothing of home is there
    (here / "tiny").rename(here / "hidden-tiny")
    os.chdir(elsewhere)
    done = here(*RUN)
    assert "student trained: away" in done.out
    assert "filterkit students import away --filter FILTER --job job.tar" in done.out
    assert sorted(p.name for p in elsewhere.iterdir()) == ["away", "job.tar"]
    assert "was there already" in here(*RUN).out
    os.chdir(here.root)
    (here / "hidden").rename(here / "data")
    (here / "hidden-tiny").rename(here / "tiny")
    shutil.move(elsewhere / "away", here / "away")
    shutil.move(elsewhere / "job.tar", here / "job.tar")
    said = here(*IMPORT, "--job", "job.tar")
    assert "student imported: student" in said.out
    assert "scored 8 articles" in said.out
    assert "was there already" in here(*HOME, "-O", "steps=4", "--seed", "5").out
    away, home = manifest(here / "away"), manifest(here / "student")
    assert away["run_id"] == home["run_id"]
    assert away["data"] == home["data"]
    here(*HOME[:-1], "own", "-O", "steps=4", "--seed", "5")
    assert manifest(here / "own")["student_hash"] == home["student_hash"]
    assert home["job"] == away["job"]
    assert manifest(here / "own")["job"] is None


def test_the_test_split_stays_at_home(here: Here) -> None:
    here(*PACK)
    sealed = (here / "job.tar").read_bytes()
    for name, travels in (("train", True), ("val", True), ("test", False)):
        for row in read_jsonl(here / f"data/{name}.jsonl"):
            assert (row["content"].encode() in sealed) is travels
    with tarfile.open(here / "job.tar") as tar:
        assert tar.getnames() == [
            "job.json", "data/train.jsonl", "data/val.jsonl", "filter/filter.yaml", "filter/prompt.md"
        ]  # fmt: skip


def test_equal_jobs_are_equal_files(here: Here) -> None:
    here(*PACK)
    before = (here / "job.tar").read_bytes()
    (here / "job.tar").unlink()
    os.utime(here / "data/train.jsonl")
    here(*PACK)
    assert (here / "job.tar").read_bytes() == before
    here(*PACK, "--seed", "1")
    assert (here / "job.tar").read_bytes() != before


def test_options_said_there_are_recorded(here: Here) -> None:
    here(*PACK, "-O", "steps=4")
    said = json.loads(here(*RUN, "-O", "steps=2", "--seed", "3", "--json").out)
    assert said["trainer_options"] == {"steps": 2}
    assert said["seed"] == 3
    here.refused(*IMPORT, "--job", "job.tar", says="option steps is 2, not 4")
    here(*IMPORT)
    assert "was there already" in here(*HOME, "-O", "steps=2", "--seed", "3").out


def test_only_the_job_and_the_command_line_count_there(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here(*PACK)
    (here / "filterkit.yaml").write_text("trainer: {use: toy, steps: 9}\n")
    monkeypatch.setenv("FILTERKIT_TRAINER__PAUSE_S", "3")
    assert json.loads(here(*RUN, "--json").out)["trainer_options"] == {}


def test_a_plan_of_a_job(here: Here) -> None:
    here(*TRAIN, "--pack", "job.tar", "--trainer", "lite")
    before = snapshot(here.root)
    said = here("train", "--job", "job.tar", "--plan")
    assert "plan of lite for tiny, 96 + 12 articles:" in said.out
    assert snapshot(here.root) == before


def test_paths_in_options_are_told(here: Here) -> None:
    (here / "base").mkdir()
    said = here(*PACK, "--trainer", "lite", "-O", "embedding=base")
    assert "option embedding is the path 'base', which must exist where the job runs" in said.err
    said = here(*PACK, "--trainer", "lite", "-O", "embedding=../models/x")
    assert "'../models/x'" in said.err
    assert here(*PACK, "--trainer", "lite").err == ""


def test_a_trainer_that_is_not_here_can_be_packed_for(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    claims, others = plugins().claims, [p for p in plugins().found if p.dist != "filterkit-qwen-lora"]
    monkeypatch.setattr(plugins(), "claims", lambda kind, name: [] if name == "qwen-lora" else claims(kind, name))
    monkeypatch.setattr(plugins(), "found", others)
    said = here(*PACK, "--trainer", "qwen-lora", "--epochs", "3")
    assert "not installed here, so its options were not checked" in said.err
    assert "pip install filterkit-qwen-lora" in said.err
    here.refused(*RUN, says="there is no trainer 'qwen-lora'. Install it: pip install filterkit-qwen-lora")
    here.refused(*PACK, "--trainer", "qwen-loro", says="Did you mean 'qwen-lora'?")


def test_a_trainer_of_strangers_that_is_not_there(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here(*PACK)
    monkeypatch.setattr(plugins(), "claims", lambda kind, name: [])
    here.refused(*RUN, says="there is no trainer 'toy' here. Install it: pip install fk-toys==1.0")


def test_another_filterkit_there(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here(*PACK)
    for module in ("jobs", "train"):
        monkeypatch.setattr(f"filterkit.pipeline.{module}.__version__", "0.9")
    assert "packed by filterkit 0.1.0, and this is 0.9" in here(*RUN).err
    monkeypatch.undo()
    os.chdir(here.root)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*RUN, "--data-dir", "data"], "leave --data-dir out"),
        ([*RUN, "--filter", "tiny/v1"], "leave FILTER out"),
        ([*RUN, "--trainer", "toy"], "leave --trainer out"),
        ([*RUN, "-O", "trainer.use=lite"], "is for trainer 'toy'"),
        ([*RUN, "-O", "stepps=3"], "did you mean 'steps'"),
        ([*RUN, "--epochs", "3"], "unknown key 'epochs'"),
        (RUN[:3], "--job needs --output-dir"),
        ([*RUN[:2], "nowhere.tar", *RUN[3:]], "No such file"),
        ([*RUN[:2], "data/train.jsonl", *RUN[3:]], "is no tar archive"),
        ([*PACK, "--plan"], "one at a time"),
        ([*PACK, "--job", "job.tar"], "one at a time"),
        ([*TRAIN, "--pack", "data/val.jsonl"], "is there already, and is no sealed job"),
        ([*TRAIN, "--pack", "nowhere/"], "is a directory"),
        ([*PACK, "-O", "stepps=3"], "did you mean 'steps'"),
        ([*TRAIN[:2], "--data-dir", "nowhere", "--pack", "new.tar"], "is missing"),
    ],
)
def test_what_cannot_be(away: Here, arguments: list[str], says: str) -> None:
    (away / "nowhere").mkdir()
    away.refused(*arguments, says=says)


# Jobs that were tampered with


def head(content: dict[str, bytes], **changes: Any) -> None:
    content["job.json"] = json.dumps({**json.loads(content["job.json"]), **changes}).encode()


BREAKS: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "other rows": (lambda c: c.update({"data/train.jsonl": c["data/train.jsonl"].replace(b"Notice", b"notice")}), ""),
    "more rows": (lambda c: c.update({"data/train.jsonl": c["data/train.jsonl"] * 2}), "another size"),
    "other options": (lambda c: head(c, options={"steps": 1}), "the hash in job.json is another"),
    "newer": (lambda c: head(c, job=2), "newer filterkit (job 2)"),
    "unknown keys": (lambda c: head(c, extra=1), "unknown key 'extra'"),
    "no object": (lambda c: c.update({"job.json": b"[]"}), "is not an object"),
    "no JSON": (lambda c: c.update({"job.json": b"{"}), "not valid JSON"),
    "no head": (lambda c: c.pop("job.json"), "is no sealed job"),
    "no val": (lambda c: c.pop("data/val.jsonl"), "data/val.jsonl is missing"),
    "another file": (lambda c: c.update({"data/test.jsonl": b"{}"}), "which the job does not list"),
    "a way out": (lambda c: c.update({"../x": b"{}"}), "unsafe name"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_an_altered_job(away: Here, name: str) -> None:
    change, says = BREAKS[name]
    away.alter("job.tar", change)
    away.refused(*RUN[:-1], "new", says=says or "is damaged or was altered (its SHA-256 is another)")


def sealed_anew(content: dict[str, bytes], **changes: Any) -> None:
    """A job whose hash is right, whatever it says."""
    data = {**json.loads(content["job.json"]), **changes}
    data.pop("hash")
    head(content, **changes, hash=SealedJob.model_validate(data).hash)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"files": {"../../x": {"size": 1, "sha256": "0"}}}, "unsafe name"),
        ({"files": {}}, "it must list a filter"),
        ({"filter": "other"}, "its filter is not the one that it names"),
        ({"target_hash": "0" * 64}, "its filter is not the one that it names"),
        ({"packages": {"filterkit": "0.1.0; rm -rf /"}}, "packages"),
        ({"packages": {}}, "is another"),
    ],
)
def test_a_job_that_was_made_to_do_harm(away: Here, changes: dict[str, Any], says: str) -> None:
    try:
        away.alter("job.tar", lambda content: sealed_anew(content, **changes))
    except ValueError:
        away.alter("job.tar", lambda content: head(content, **changes))
    away.refused(*RUN[:-1], "new", says=says)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_job_that_is_cut_short(away: Here, share: float) -> None:
    whole = (away / "job.tar").read_bytes()
    (away / "job.tar").write_bytes(whole[: int(len(whole) * share)])
    away.refused(*RUN[:-1], "new", says="job.tar")


def test_a_killed_run_goes_on(here: Here, elsewhere: Workspace) -> None:
    """Killed with SIGKILL in the middle of training, it is found by its run id and does no step twice."""
    here(*PACK, "-O", "pause_s=0.2", "-O", "steps=4")
    shutil.copy(here / "job.tar", elsewhere / "job.tar")
    process = elsewhere.start(*RUN)
    while not list(elsewhere.root.glob(".away.work/trainer-*/steps.json")):
        time.sleep(0.01)
    process.kill()
    process.wait()
    os.chdir(elsewhere.root)
    said = json.loads(here(*RUN, "--json").out)
    assert said["history"][0]["first_step"] >= 1
    assert not list(elsewhere.root.glob(".away*"))
    os.chdir(here.root)


@pytest.mark.heavy
def test_a_stopped_run_goes_on(here: Here, elsewhere: Workspace) -> None:
    here(*PACK, "-O", "pause_s=0.2", "-O", "steps=4")
    shutil.copy(here / "job.tar", elsewhere / "job.tar")
    process = elsewhere.start(*RUN)
    while not list(elsewhere.root.glob(".away.work/trainer-*/steps.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 4


# Home


@pytest.fixture
def away(here: Here, start: Path) -> Here:
    """A student that was trained elsewhere, and its job."""
    shutil.copy(start / "job.tar", here / "job.tar")
    shutil.copytree(start / "away", here / "away")
    return here


def tarred(here: Here, *arguments: str) -> str:
    subprocess.run(["tar", "-cf", "away.tar", *arguments], cwd=here.root, check=True)
    return "away.tar"


@pytest.mark.parametrize("how", [["away"], ["-C", "away", "."], ["./away/"], ["--format=gnu", "away"]])
def test_a_tar_comes_home_too(away: Here, how: list[str]) -> None:
    name = tarred(away, *how)
    away(*IMPORT[:2], name, *IMPORT[3:], "--job", "job.tar")
    assert load_manifest(away / "student").job
    assert not list(away.root.glob(".student*"))


def test_what_was_validated_elsewhere_does_not_count(away: Here) -> None:
    away("validate", "tiny/v1", "--student", "away", "--data-dir", "data")
    found = load_manifest(away / "away")
    assert found.gates is not None
    forced = Forced(reason="trust me", gates="none", at=datetime.now(UTC))
    save_manifest(away / "away", found.model_copy(update={"forced": forced}))
    away(*IMPORT)
    home = load_manifest(away / "student")
    assert (home.gates, home.metrics, home.forced) == (None, None, None)
    assert {p.name for p in (away / "student").iterdir()} == {"filterkit.json", "toy.json"}
    assert "never validated" in away("deploy", "tiny/v1", "--student", "student", code=1).err


def test_the_same_student_again_keeps_what_was_validated_here(away: Here) -> None:
    away(*IMPORT)
    away("validate", "tiny/v1", "--student", "student", "--data-dir", "data")
    assert "was home already" in away(*IMPORT).out
    assert load_manifest(away / "student").gates is not None


def test_in_its_place_already(away: Here) -> None:
    """Copied straight to where it belongs, it is verified all the same, and its gates are dropped."""
    away("validate", "tiny/v1", "--student", "away", "--data-dir", "data")
    away(*IMPORT[:-1], "away")
    assert load_manifest(away / "away").gates is None
    away(*IMPORT[:-1], "away", "--json")
    (away / "away/toy.json").write_text("{}")
    away.refused(*IMPORT[:-1], "away", says="toy.json is cut short or altered")


def test_an_old_student_is_replaced(away: Here) -> None:
    away(*HOME, "--seed", "9")
    away(*IMPORT)
    assert manifest(away / "student")["seed"] == 0
    assert not list(away.root.glob(".student*"))


def test_nothing_but_a_student_is_replaced(away: Here) -> None:
    (away / "mine").mkdir()
    (away / "mine/notes.txt").write_text("mine")
    away.refused(*IMPORT[:-1], "mine", says="is not empty and holds no student")


def test_a_changed_policy_is_no_hindrance(away: Here) -> None:
    text = (away / "tiny/v1/filter.yaml").read_text()
    (away / "tiny/v1/filter.yaml").write_text(text.replace("0.75", "0.5").replace("0.25", "0.5"))
    away(*IMPORT)
    assert load_manifest(away / "student").spec.dimensions[0].weight == 0.5


def test_a_format_that_is_not_installed(away: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = plugins().claims
    monkeypatch.setattr(plugins(), "claims", lambda kind, name: [] if kind == "model" else claims(kind, name))
    assert "not tried: model 'toy' is not installed here" in away(*IMPORT).err
    assert load_manifest(away / "student")


def rewrite(folder: Path, **changes: Any) -> None:
    """A manifest that is true to itself, and says something else."""
    save_manifest(folder, load_manifest(folder, verify=False).model_copy(update=changes))


def spoil_weights(folder: Path) -> None:
    path = folder / "toy.json"
    path.write_bytes(path.read_bytes().replace(b"[", b"{", 1))


def other_data(folder: Path) -> None:
    found = load_manifest(folder)
    rewrite(folder, data=found.data.model_copy(update={"fingerprint": "0" * 64}))


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights": (spoil_weights, "is damaged or was altered"),
    "no weights": (lambda f: (f / "toy.json").unlink(), "toy.json is missing"),
    "one more file": (lambda f: (f / "x.json").touch(), "x.json' is not in the manifest"),
    "a link": (lambda f: (f / "x.json").symlink_to("/etc/passwd"), "x.json' is no plain file"),
    "a pipe": (lambda f: os.mkfifo(f / "x.json"), "x.json' is no plain file"),
    "manifest": (lambda f: (f / "filterkit.json").write_text("{}"), "is damaged or was altered"),
    "no manifest": (lambda f: (f / "filterkit.json").unlink(), "there is no student here"),
    "other data": (other_data, "learnt from other splits"),
    "other request": (lambda f: rewrite(f, request_hash="0" * 64), "another rubric"),
    "a way out": (lambda f: rewrite(f, files={"../x": load_manifest(f).files["toy.json"]}), "away"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "tar"])
@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_student(away: Here, name: str, packed: bool) -> None:
    change, says = SPOILT[name]
    change(away / "away")
    source = tarred(away, "away") if packed else "away"
    says = {"there is no student here": "there is no student in it"}.get(says, says) if packed else says
    away.refused(*IMPORT[:2], source, *IMPORT[3:], says=says)


def test_a_student_of_a_hostile_format_is_not_loaded(away: Here) -> None:
    (away / "away/x.pkl").write_bytes(b"\x80\x04.")
    found = load_manifest(away / "away", verify=False)
    files = {**found.files, "x.pkl": FileEntry(size=3, sha256=sha256_file(away / "away/x.pkl"))}
    rewrite(away / "away", files=files, student_hash=student_hash(files, found.target_hash, found.calibrator))
    away.refused(*IMPORT, says="x.pkl may not be part of a student")


def test_of_another_filter_rubric_or_data(away: Here) -> None:
    text = (away / "tiny/v1/filter.yaml").read_text()
    write_filter(away / "other", text.replace("name: tiny", "name: other"))
    away("prepare", "other", "--labels", "labels.jsonl", "--output-dir", "data-other")
    other = ["--filter", "other", "--data-dir", "data-other", "--output-dir", "student"]
    away.refused("students", "import", "away", *other, says="was trained for filter 'tiny'")
    write_filter(away / "rubric", text, PROMPT.replace("Score", "Judge"))
    away("prepare", "rubric", "--labels", "labels.jsonl", "--output-dir", "data-rubric")
    rubric = ["--filter", "rubric", "--data-dir", "data-rubric", "--output-dir", "student"]
    away.refused("students", "import", "away", *rubric, says="another rubric")
    Path("more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labelled(130)))
    away("prepare", "tiny/v1", "--labels", "more.jsonl", "--output-dir", "data-more")
    more = ["--filter", "tiny/v1", "--data-dir", "data-more", "--output-dir", "student"]
    away.refused("students", "import", "away", *more, says="learnt from other splits")


def test_of_another_job(away: Here) -> None:
    away(*TRAIN, "--pack", "job2.tar", "--seed", "2")
    away.refused(*IMPORT, "--job", "job2.tar", says="seed is 0, not 2")
    away(*HOME)
    away.refused(*IMPORT[:2], "student", *IMPORT[3:-1], "new", "--job", "job.tar", says="was trained without a job")


def test_a_student_that_cannot_score(away: Here) -> None:
    """It is as its manifest says, and useless."""
    (away / "away/toy.json").write_text('{"means": [0.1], "words": {}}')
    found, files = load_manifest(away / "away", verify=False), describe_files(away / "away")
    rewrite(away / "away", files=files, student_hash=student_hash(files, found.target_hash, found.calibrator))
    away.refused(*IMPORT, says="cannot be used here")


def test_what_is_no_student(away: Here) -> None:
    away.refused(*IMPORT[:2], "nowhere", *IMPORT[3:], says="is not there")
    away.refused(*IMPORT[:2], "job.tar", *IMPORT[3:], says="there is no student in it")
    away.refused(*IMPORT[:2], "labels.jsonl", *IMPORT[3:], says="is no tar archive")
    away.refused(*IMPORT[:2], "tiny/v1", *IMPORT[3:], says="there is no student here")


def test_a_tar_with_more_beside_the_student(away: Here) -> None:
    away.refused(*IMPORT[:2], tarred(away, "away", "labels.jsonl"), *IMPORT[3:], says="is not part of the student")


def test_json(away: Here) -> None:
    said = json.loads(away(*IMPORT, "--json").out)
    assert said["already_there"] is False
    assert said["tried"] == 8
    assert said["student"] == "student"
    packed = json.loads(away(*PACK, "--json").out)
    assert packed["hash"] == manifest(away / "student")["job"]
