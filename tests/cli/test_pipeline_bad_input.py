"""What is wrong with files, folders, filters and students, as the command line says it: one line, and nothing lost."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import FILTER, Workspace, labelled, read_jsonl, snapshot, unlabelled, write_filter, write_jsonl

from filterkit.errors import FilterkitError
from filterkit.manifest import FileEntry, load_manifest, save_manifest, student_hash

SCORE = ["score", "tiny/v1", "--student", "student", "--articles", "in.jsonl", "--output", "out.jsonl"]
PREPARE = ["prepare", "tiny/v1", "--labels", "labels.jsonl", "--output-dir", "data"]
TRAIN = ["train", "tiny/v1", "--data-dir", "data", "--output-dir", "student"]
VALIDATE = ["validate", "tiny/v1", "--data-dir", "data", "--student", "student"]
DEPLOY = ["deploy", "tiny/v1", "--student", "student"]

BAD_LINES: dict[str, tuple[bytes, str]] = {
    "malformed": (b'{"title": "x", "content": ', "malformed JSON"),
    "not UTF-8": (b'{"title": "x", "content": "\xff\xfe"}', "not UTF-8"),
    "no object": (b'["x"]', "must be a JSON object"),
    "empty content": (b'{"id": "e", "title": "x", "content": "  "}', "content is empty"),
    "no content": (b'{"id": "n", "title": "x"}', "content is missing"),
    "content is no text": (b'{"content": 5}', "content must be text"),
    "id is no text": (b'{"id": [1], "content": "x"}', "id must be text"),
    "NaN": (b'{"content": "x", "row": NaN}', "NaN is not a number"),
    "too large a number": (b'{"content": "x", "row": 1e999}', "too large"),
    "deep": (b'{"content": "x", "row": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
}


def test_bad_lines_are_rejected_one_by_one_and_the_others_judged(ready: Workspace) -> None:
    good = list(unlabelled(6))
    write_jsonl(ready / "in.jsonl", [*good[:3], *(line for line, _ in BAD_LINES.values()), b"", *good[3:]])
    done = ready.ok(*SCORE, "--json", code=3)
    report = json.loads(done.stdout)
    assert (report["written"], report["rejected"], report["failed"]) == (6, len(BAD_LINES), 0)
    assert [row["id"] for row in read_jsonl(ready / "out.jsonl")] == [row["id"] for row in good]
    rejects = read_jsonl(ready / "out.rejected.jsonl")
    assert [r["line"] for r in rejects] == list(range(4, 4 + len(BAD_LINES)))
    for reject, (_, why) in zip(rejects, BAD_LINES.values(), strict=True):
        assert why in reject["reason"]
        assert len(reject["reason"]) < 300


def test_the_rejects_of_an_earlier_run_go_when_there_are_none(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", [*unlabelled(2), b"{"])
    ready.ok(*SCORE, code=3)
    assert (ready / "out.rejected.jsonl").exists()
    write_jsonl(ready / "in.jsonl", unlabelled(2))
    ready.ok(*SCORE)
    assert not (ready / "out.rejected.jsonl").exists()


def test_a_gigantic_line_is_rejected_in_bounded_memory(ready: Workspace) -> None:
    good = list(unlabelled(2))
    with (ready / "in.jsonl").open("wb") as file:
        file.write(json.dumps(good[0]).encode() + b'\n{"content": "')
        for _ in range(100):
            file.write(b"x" * 4_000_000)
        file.write(b'"}\n' + json.dumps(good[1]).encode() + b"\n")
    report, peak = measured(ready, SCORE)
    assert report.returncode == 3, report.stderr
    assert [row["id"] for row in read_jsonl(ready / "out.jsonl")] == [row["id"] for row in good]
    assert read_jsonl(ready / "out.rejected.jsonl")[0]["line"] == 2
    assert peak < 350, f"{peak:.0f} MB for a line of 400 MB"


@pytest.mark.heavy
def test_many_huge_lines_are_scored_in_bounded_memory(ready: Workspace) -> None:
    with (ready / "in.jsonl").open("wb") as file:
        for i in range(40):
            file.write(b'{"id": "%d", "content": "' % i + b"word " * 2_000_000 + b'"}\n')
    report, peak = measured(ready, SCORE)
    assert report.returncode == 0, report.stderr
    assert peak < 500, f"{peak:.0f} MB for 40 lines of 10 MB"


def measured(workspace: Workspace, arguments: list[str]) -> tuple[subprocess.CompletedProcess[str], float]:
    """A command and its highest memory, in MB; not by ru_maxrss, which begins at what its parent had."""
    code = (
        "import sys; from filterkit.cli.main import run; code = run(sys.argv[1:]);"
        "print('PEAK', open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr);"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=workspace.root,
        env=workspace.env,
        capture_output=True,
        text=True,
        check=False,
    )
    peak = int(done.stderr.split("PEAK")[1])
    return done, peak / 1024


@pytest.mark.parametrize("damage", ["truncated", "flipped", "not compressed"])
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_damaged_compressed_file_gives_all_that_can_be_read(ready: Workspace, damage: str, suffix: str) -> None:
    import zstandard

    plain = b"".join(json.dumps(row).encode() + b"\n" for row in unlabelled(5_500, length=30))
    packed = gzip.compress(plain) if suffix == ".gz" else zstandard.ZstdCompressor(write_checksum=True).compress(plain)
    if damage == "truncated":
        packed = packed[: len(packed) * 3 // 4]
    elif damage == "flipped":
        packed = packed[: len(packed) // 2] + bytes([packed[len(packed) // 2] ^ 0xFF]) + packed[len(packed) // 2 + 1 :]
    else:
        packed = plain
    file = ready / f"in.jsonl{suffix}"
    file.write_bytes(packed)
    done = ready.ok("score", "tiny/v1", "--student", "student", "--articles", file, "--output", "out.jsonl", code=3)
    assert "Traceback" not in done.stderr
    written = [row["id"] for row in read_jsonl(ready / "out.jsonl")]
    if damage != "flipped":  # where the bit is, lines differ; the format's checksum tells only at its end
        assert written == [f"a{i:06d}" for i in range(len(written))]
    if damage == "truncated":
        assert 3_000 < len(written) < 5_500
    assert "cannot be read further" in read_jsonl(ready / "out.rejected.jsonl")[-1]["reason"]


def test_missing_ids_come_from_the_content_and_double_ids_are_scored_each(ready: Workspace) -> None:
    rows = list(unlabelled(3))
    del rows[0]["id"]
    rows[2]["id"] = rows[1]["id"]
    write_jsonl(ready / "in.jsonl", rows)
    ready.ok(*SCORE)
    ids = [row["id"] for row in read_jsonl(ready / "out.jsonl")]
    assert len(ids[0]) == 32
    assert ids[1] == ids[2]


BAD_SCORES: dict[str, Any] = {
    "off the scale": {"help": 11},
    "below the scale": {"help": -0.1},
    "text": {"help": "5"},
    "truth": {"help": True},
    "huge": {"help": 10**400},
    "missing": {"help": ...},
    "extra": {"kindness": 3},
    "none known": {"help": None, "novelty": None, "is_advert": None},
}


def bad_label(name: str) -> bytes:
    row = labelled(200)[150]
    row["scores"] = {k: v for k, v in {**row["scores"], **BAD_SCORES[name]}.items() if v is not ...}
    return json.dumps(row).encode()


NOT_FINITE = [
    json.dumps(labelled(200)[160]).replace('"help": ', f'"help": {n}, "x": ').encode()
    for n in ("NaN", "-Infinity", "1e400")
]


def test_bad_labels_are_rejected_and_the_others_prepared(workspace: Workspace) -> None:
    no_scores = {k: v for k, v in labelled(1)[0].items() if k != "scores"}
    bad = [*map(bad_label, BAD_SCORES), *NOT_FINITE, json.dumps(no_scores).encode()]
    workspace.labels([*labelled(40), *bad])
    done = workspace.ok(*PREPARE, "--json", code=3)
    report = json.loads(done.stdout)
    assert report["rejected"] == len(bad)
    assert sum(report["splits"].values()) == 40
    rejects = read_jsonl(workspace / "data/labels.rejected.jsonl")
    assert [r["line"] for r in rejects] == list(range(41, 41 + len(bad)))
    workspace.labels(labelled(40))
    clean = json.loads(workspace.ok(*PREPARE, "--json").stdout)
    assert clean["fingerprint"] == report["fingerprint"]
    assert clean["unchanged"]
    assert not (workspace / "data/labels.rejected.jsonl").exists()


def test_an_unknown_score_is_null(workspace: Workspace) -> None:
    rows = labelled(40)
    for row in rows[:20]:
        row["scores"]["novelty"] = None
    workspace.labels(rows)
    workspace.ok(*PREPARE)
    workspace.ok(*TRAIN)
    kept = [
        r["scores"]["novelty"]
        for name in ("train", "val", "test")
        for r in read_jsonl(workspace / f"data/{name}.jsonl")
    ]
    assert kept.count(None) == 20


def test_one_id_with_two_texts_is_told(workspace: Workspace) -> None:
    rows = labelled(40)
    rows[5]["id"] = rows[4]["id"]
    workspace.labels([*rows, rows[7]])
    done = workspace.ok(*PREPARE, code=3)
    assert "id 'a000004' has two texts" in done.stderr
    assert "1 with the same text" in done.stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "0 different texts"), (b"\n\n \n", "0 different texts"), (b"{}\n", "1 line was rejected")],
)
def test_labels_that_hold_nothing(workspace: Workspace, content: bytes, says: str) -> None:
    (workspace / "labels.jsonl").write_bytes(content)
    workspace.refused(*PREPARE, says=says)


def test_copies_of_one_text_are_no_data(workspace: Workspace) -> None:
    rows = labelled(30)
    for row in rows:
        row["content"] = "Always the very same words about the very same thing, told again."
        row["title"] = "Again"
        row["group"] = "one"
    workspace.labels(rows)
    workspace.refused(*PREPARE, says="too few to split")


def test_files_that_are_not_there_or_no_files(ready: Workspace) -> None:
    ready.refused("prepare", "tiny/v1", "--labels", "nowhere.jsonl", says=("nowhere.jsonl", "no such file"))
    ready.refused("prepare", "tiny/v1", "--labels", "data", says=("data", "is a folder"))
    ready.refused(*SCORE, says=("in.jsonl", "no such file"))
    ready.refused(
        "score", "tiny/v1", "--student", "student", "--articles", "data", "--output", "o.jsonl", says="is a folder"
    )
    ready.refused(
        "train",
        "tiny/v1",
        "--data-dir",
        "nowhere",
        "--output-dir",
        "s",
        says=("train.jsonl is missing", "filterkit prepare"),
    )
    ready.refused(
        "validate", "tiny/v1", "--data-dir", "data", "--student", "nowhere", says=("nowhere", "filterkit train")
    )
    ready.refused("deploy", "tiny/v1", "--student", "nowhere", says="there is no student here")
    assert not list(ready.root.glob("*.run"))


def test_empty_input_is_an_empty_output(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", [])
    ready.ok(*SCORE)
    assert (ready / "out.jsonl").read_bytes() == b""
    ready.ok(*SCORE[:-1], "out.jsonl.gz")
    assert gzip.decompress((ready / "out.jsonl.gz").read_bytes()) == b""


def test_an_input_is_never_overwritten(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", unlabelled(3))
    before = (ready / "in.jsonl").read_bytes()
    ready.refused(*SCORE[:-1], "in.jsonl", says="would be overwritten")
    shutil.copy(ready / "in.jsonl", ready / "out.rejected.jsonl")
    ready.refused(
        "score",
        "tiny/v1",
        "--student",
        "student",
        "--articles",
        "out.rejected.jsonl",
        "--output",
        "out.jsonl",
        says="over",
    )
    assert (ready / "in.jsonl").read_bytes() == (ready / "out.rejected.jsonl").read_bytes() == before
    labels = write_jsonl(ready / "data/mine.rejected.jsonl", labelled(30))
    ready.ok("prepare", "tiny/v1", "--labels", labels, "--output-dir", "data2")
    empty = write_jsonl(ready / "mine.jsonl", [])
    ready.refused(
        *PREPARE[:2], "--labels", empty, "--labels", labels, "--output-dir", "data", says="would be overwritten"
    )
    assert labels.exists()


def test_training_never_replaces_what_is_no_student(ready: Workspace) -> None:
    (ready / "mine").mkdir()
    (ready / "mine/thesis.txt").write_text("years of work")
    ready.refused(*TRAIN[:-1], "mine", says="holds no student")
    ready.refused(*TRAIN[:-1], "data", says="holds no student")
    ready.refused(*TRAIN[:-1], ".", says="holds no student")
    assert (ready / "mine/thesis.txt").read_text() == "years of work"
    write_filter(ready / "other", FILTER.replace("name: tiny", "name: other"))
    ready.ok("prepare", "other", "--labels", "labels.jsonl", "--output-dir", "data-other")
    ready.refused(
        "train", "other", "--data-dir", "data-other", "--output-dir", "student", says="student of filter 'tiny'"
    )


TARGET = FILTER.replace("prompt:", "input: {student: {max_tokens: 100}}\nprompt:")
POLICY = FILTER.replace("prompt:", "postfilter: {use: overall, pass_at: 5}\nprompt:")


def test_a_changed_question_to_the_student_is_refused(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", unlabelled(5))
    write_filter(ready.filter, TARGET)
    for arguments in (SCORE, VALIDATE, DEPLOY):
        ready.refused(*arguments, says="other dimensions, scale or input")
    ready.refused(*TRAIN, says="prepared for another filter, other dimensions, scale or input")


def test_a_changed_question_to_the_oracle_is_refused(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", unlabelled(5))
    write_filter(ready.filter, FILTER, "Score quite differently.\n\n{{article}}\n")
    for arguments in (SCORE, VALIDATE, DEPLOY):
        ready.refused(*arguments, says="another rubric")
    ready.refused(*TRAIN, says="another rubric")


def test_a_changed_policy_costs_only_a_validation(ready: Workspace) -> None:
    write_jsonl(ready / "in.jsonl", unlabelled(30))
    ready.ok(*DEPLOY)
    ready.ok(*SCORE)
    assert all(row["passed"] for row in read_jsonl(ready / "out.jsonl"))
    weights = json.loads((ready / "student/filterkit.json").read_bytes())["student_hash"]
    write_filter(ready.filter, POLICY)
    ready.ok(*SCORE)
    rows = read_jsonl(ready / "out.jsonl")
    assert [row["passed"] for row in rows] == [row["overall"] >= 5 for row in rows]
    assert {row["passed"] for row in rows} == {True, False}
    ready.refused(*DEPLOY, code=1, says=("changed since validation", "filterkit validate"))
    assert "was there already" in ready.ok(*TRAIN).stdout
    ready.refused(*DEPLOY, code=1, says="changed since validation")
    ready.ok(*VALIDATE)
    ready.ok(*DEPLOY)
    assert json.loads((ready / "student/filterkit.json").read_bytes())["student_hash"] == weights


def test_gates_that_the_workspace_tightened_are_asked_before_deploying(ready: Workspace) -> None:
    (ready / "filterkit.yaml").write_text("gates: {mae: 0.9}\n")
    ready.refused(*DEPLOY, code=1, says="gates in force are not those")
    ready.ok(*VALIDATE)
    ready.ok(*DEPLOY)


def test_gates_refuse_a_student_that_learnt_nothing(ready: Workspace) -> None:
    ready.ok(*TRAIN, "-O", "constant=true")
    done = ready.ok(*VALIDATE, code=1)
    assert "FAIL  mae" in done.stdout
    assert "FAIL  median_gain" in done.stdout
    ready.refused(*DEPLOY, code=1, says=("the gates refuse this student", "the limit 1"))


def test_a_student_that_was_never_validated_does_not_ship(ready: Workspace) -> None:
    ready.ok(*TRAIN, "--seed", "1")
    ready.refused(*DEPLOY, code=1, says="never validated")


@pytest.mark.parametrize("name", ["toy.json", "filterkit.json"])
def test_a_flipped_bit_in_any_file_is_noticed(ready: Workspace, name: str) -> None:
    write_jsonl(ready / "in.jsonl", unlabelled(5))
    path = ready / "student" / name
    content = path.read_bytes()
    at = content.rindex(b"7")
    path.write_bytes(content[:at] + b"6" + content[at + 1 :])
    for arguments in (SCORE, VALIDATE, DEPLOY):
        ready.refused(*arguments, says="altered")
    assert not (ready / "out.jsonl").exists()
    assert "trained" in ready.ok(*TRAIN).stdout, "training again mends it"
    ready.ok(*SCORE)


def edits(manifest: dict[str, Any]) -> list[tuple[str, Any]]:
    """Every field of a manifest with another value of its type."""
    other: dict[type, Callable[[Any], Any]] = {
        str: lambda v: v + "x",
        int: lambda v: v + 1,
        bool: lambda v: not v,
        dict: lambda v: {**v, "x": 1},
        list: lambda v: [*v, {}],
        type(None): lambda _: "x",
    }
    return [(key, other[type(value)](value)) for key, value in manifest.items()]


def test_every_edited_field_of_the_manifest_is_noticed(ready: Workspace, toys: None) -> None:
    from filterkit.student import load_student

    path = ready / "student/filterkit.json"
    manifest = json.loads(path.read_bytes())
    load_student(ready / "student", ready.filter).close()
    passed = json.loads(path.read_bytes())
    passed["gates"]["gates"][0]["value"] = 0.25
    for key, value in [
        *edits(manifest),
        ("gates", passed["gates"]),
        ("gates", None),
        ("files", {"../x": {"size": 1, "sha256": "0"}}),
    ]:
        path.write_text(json.dumps({**manifest, key: value}))
        with pytest.raises(FilterkitError, match=r"altered|newer|valid"):
            load_manifest(ready / "student", verify=False)
        path.write_text(json.dumps({k: v for k, v in manifest.items() if k != key}))
        with pytest.raises(FilterkitError, match=r"altered|newer|valid"):
            load_manifest(ready / "student", verify=False)
    ready.refused(*DEPLOY, says="altered")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"manifest": 2}', b"\xff", b'{"checksum": null}'])
def test_a_manifest_that_is_none(ready: Workspace, content: bytes) -> None:
    (ready / "student/filterkit.json").write_bytes(content)
    with pytest.raises(FilterkitError, match=r"filterkit\.json"):
        load_manifest(ready / "student")
    if content == b"{":
        ready.refused(*VALIDATE, says="filterkit.json")


def test_a_manifest_that_leads_out_of_the_folder(ready: Workspace) -> None:
    """Even with a checksum that is right."""
    outside = ready / "secret.json"
    outside.write_text("{}")
    manifest = load_manifest(ready / "student")
    files = {**manifest.files, "../secret.json": FileEntry(size=2, sha256="0" * 64)}
    hashed = student_hash(files, manifest.target_hash, manifest.calibrator)
    save_manifest(ready / "student", manifest.model_copy(update={"files": files, "student_hash": hashed}))
    ready.refused(*VALIDATE, says="leads outside of the folder")


@pytest.mark.parametrize("intruder", ["extra.json", "weights.pkl", "sub/evil.py", "link.json", "linked-folder"])
def test_a_file_that_does_not_belong_to_the_student(ready: Workspace, intruder: str) -> None:
    path = ready / "student" / intruder
    path.parent.mkdir(exist_ok=True)
    if "link" in intruder:
        path.symlink_to(ready / "data" if intruder == "linked-folder" else ready / "data/data.json")
    else:
        path.write_bytes(pickle.dumps({}))
    with pytest.raises(FilterkitError, match=intruder):
        load_manifest(ready / "student")
    if intruder == "weights.pkl":
        ready.refused(*VALIDATE, says=intruder)
        ready.refused(*DEPLOY, says=intruder)


def test_a_file_that_is_missing(ready: Workspace) -> None:
    (ready / "student/toy.json").unlink()
    ready.refused(*VALIDATE, says="toy.json is missing")
    assert "trained" in ready.ok(*TRAIN).stdout


def test_a_trainer_that_leaves_a_pickle_publishes_nothing(ready: Workspace) -> None:
    ready.refused(*TRAIN[:-1], "other", "-O", "leave=state.pkl", says="state.pkl may not be part of a student")
    assert not (ready / "other").exists()


def test_splits_edited_after_prepare(ready: Workspace) -> None:
    path = ready / "data/test.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"row": ', b'"row":  ', 1))
    ready.refused(*VALIDATE, says="test.jsonl is not the file that was prepared")
    ready.refused(*TRAIN, says=("test.jsonl is not the file that was prepared", "filterkit prepare"))


def test_splits_made_elsewhere_are_taken_at_their_word(ready: Workspace) -> None:
    (ready / "mine").mkdir()
    for name, rows in (("train", labelled(300)), ("val", labelled(350)[300:]), ("test", labelled(430)[350:])):
        write_jsonl(ready / f"mine/{name}.jsonl", rows)
    ready.ok("train", "tiny/v1", "--data-dir", "mine", "--output-dir", "own")
    ready.ok("validate", "tiny/v1", "--data-dir", "mine", "--student", "own")
    ready.refused("validate", "tiny/v1", "--data-dir", "data", "--student", "own", says="trained on other splits")
    write_jsonl(ready / "mine/val.jsonl", [b'{"content": "x"}'])
    ready.refused(
        "train", "tiny/v1", "--data-dir", "mine", "--output-dir", "own", says=("val.jsonl", "scores are missing")
    )


@pytest.mark.parametrize("path", ["../../secret.md", "/etc/passwd"])
def test_a_rubric_that_leads_out_of_the_package(ready: Workspace, path: str) -> None:
    (ready.root / "secret.md").write_text("{{article}}")
    write_filter(ready.filter, FILTER.replace("prompt: prompt.md", f"prompt: {path}"))
    ready.refused(*TRAIN, says=("filter.yaml:8", "leads outside of the folder"))


@pytest.mark.parametrize("arguments", [PREPARE, TRAIN, SCORE, VALIDATE])
def test_a_folder_that_cannot_be_written(ready: Workspace, arguments: list[str]) -> None:
    """A file stands where a folder is needed, which stops root as well."""
    write_jsonl(ready / "in.jsonl", unlabelled(5))
    (ready / "file").touch()
    before = snapshot(ready.root)
    if arguments is VALIDATE:
        shutil.rmtree(ready / ".filterkit", ignore_errors=True)
        (ready / ".filterkit").touch()
        arguments = [*VALIDATE, "--folds", "2"]
        before = snapshot(ready.root)
    elif arguments is SCORE:
        arguments = [*SCORE[:-1], "file/out.jsonl"]
    else:
        arguments = [*arguments[:-1], "file/out"]
    ready.refused(*arguments, says=".filterkit" if "validate" in arguments else "file")
    assert snapshot(ready.root) == before


@pytest.mark.parametrize("step", ["prepare", "train", "score", "validate", "deploy"])
def test_a_full_disk_loses_nothing(ready: Workspace, step: str) -> None:
    """No file may grow beyond some bytes, as on a disk that fills up; with room again, the same command completes."""
    write_jsonl(ready / "in.jsonl", unlabelled(2_000))
    write_jsonl(ready / "labels.jsonl", labelled(200))
    arguments = {
        "prepare": PREPARE,
        "train": [*TRAIN, "--seed", "1"],
        "score": SCORE,
        "validate": VALIDATE,
        "deploy": DEPLOY,
    }
    allowed = {"prepare": 20_000, "train": 20_000, "score": 100_000, "validate": 500, "deploy": 10_000}[step]
    before = snapshot(ready.root)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, allowed))

    done = ready.run(*arguments[step], preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("Error: ") == 1
    assert "Traceback" not in done.stderr
    assert "cannot" in done.stderr
    now = snapshot(ready.root)
    kept = {name: now.get(name) for name in before if step != "prepare" or name != "data/data.json"}
    assert kept == {name: before[name] for name in kept}, "something that was there is gone"
    assert not [name for name in now if name.endswith(".tmp")]
    ready.ok(*arguments[step])
    ready.ok(*VALIDATE, "--folds", "2") if step == "validate" else None
    assert not [n for n in snapshot(ready.root) if n.endswith((".tmp", ".work", ".run", ".staging", ".old"))]


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounting needs root")
def test_a_disk_that_is_really_full(ready: Workspace, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        write_jsonl(ready / "in.jsonl", unlabelled(2_000))
        arguments = [*SCORE[:-1], disk / "out.jsonl"]
        ready.refused(*arguments, says=("No space left", "Free some space and run the same command again"))
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        ready.ok(*arguments)
        assert len(read_jsonl(disk / "out.jsonl")) == 2_000
    finally:
        subprocess.run(["umount", disk], check=True)
