"""What a student's folder says of itself. That it tells the truth is tested in tests/cli/test_pipeline_bad_input.py."""

from __future__ import annotations

import json

import pytest
from helpers import Workspace

from filterkit.errors import ArtifactError
from filterkit.files import temporary_name
from filterkit.manifest import FILE_NAME, describe_files, load_manifest, save_manifest, student_hash


def test_it_reads_back_what_it_wrote(ready: Workspace) -> None:
    folder = ready / "student"
    manifest = load_manifest(folder)
    before = (folder / FILE_NAME).read_bytes()
    save_manifest(folder, manifest)
    assert (folder / FILE_NAME).read_bytes() == before
    assert manifest.gates is not None
    assert manifest.gates.passed
    assert manifest.spec.to_dict() == json.loads(before)["spec"]
    assert (manifest.data.train, manifest.data.val, manifest.data.test) == (480, 60, 60)
    assert set(manifest.packages) >= {"python", "filterkit", "fk-toys", "numpy"}


def test_the_hash_is_of_files_question_and_calibrator(ready: Workspace) -> None:
    one = load_manifest(ready / "student")
    assert one.student_hash == student_hash(one.files, one.target_hash, one.calibrator)
    other = one.calibrator.model_copy(update={"gain": (9.0,)})
    assert student_hash(one.files, one.target_hash, other) != one.student_hash
    assert student_hash({}, one.target_hash, one.calibrator) != one.student_hash
    assert student_hash(one.files, "x", one.calibrator) != one.student_hash


def test_what_filterkit_itself_writes_is_no_weight(ready: Workspace) -> None:
    """Nor is what it left half written when it was killed: the student stays usable."""
    folder = ready / "student"
    (folder / "report.html").write_text("<p>")
    (folder / temporary_name("validation.json")).write_text("{")
    (folder / temporary_name(FILE_NAME)).write_text("{")
    assert set(describe_files(folder)) == {"toy.json"}
    load_manifest(folder)


def test_what_a_deployer_put_beside_it_is_not_part_of_it(ready: Workspace) -> None:
    folder = ready / "student"
    for name in ("handler.py", "README.md", ".gitattributes", "deployment.json", "runtime/a/b.py", ".cache/x/y.lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    load_manifest(folder)
    with pytest.raises(ArtifactError, match="may not be part"):
        describe_files(folder)  # but a trainer may not make it
    (folder / "helper.py").touch()
    with pytest.raises(ArtifactError, match="helper"):
        load_manifest(folder)


@pytest.mark.parametrize("name", ["w.pkl", "W.PT", "x/model.bin", "a.npy", "h.py", "lib.so"])
def test_what_is_unpickled_or_run_may_not_be_in_it(ready: Workspace, name: str) -> None:
    path = ready / "student" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(ArtifactError, match="may not be part of a student"):
        describe_files(ready / "student")


def test_a_newer_filterkits_student_is_told_as_such(ready: Workspace) -> None:
    path = ready / "student" / FILE_NAME
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "manifest": 2}))
    with pytest.raises(ArtifactError, match="newer filterkit"):
        load_manifest(ready / "student")
