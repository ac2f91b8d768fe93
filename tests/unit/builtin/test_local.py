from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from filterkit.builtin.local import LocalDeployer
from filterkit.errors import ArtifactError, FilterkitError, InputError, StoppedEarly
from filterkit.files import Lock
from filterkit.student import load_student
from filterkit.testing import fake_context, make_student, tiny_spec

HERE = Path(__file__).parent
Student = tuple[Path, str]


@pytest.fixture
def student(tmp_path: Path) -> Student:
    return tmp_path / "student", make_student(tmp_path / "student", tiny_spec(), fake_context(tmp_path))


@pytest.fixture
def other(tmp_path: Path) -> Student:
    return tmp_path / "other", make_student(tmp_path / "other", tiny_spec(), fake_context(tmp_path), rows=60)


@pytest.fixture
def local(tmp_path: Path) -> LocalDeployer:
    options: Any = LocalDeployer.Options.model_validate({"path": str(tmp_path / "deployments")})
    return LocalDeployer(options, tiny_spec(), fake_context(tmp_path))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "deployments" / "tiny"


def test_a_version_is_a_folder_that_anyone_can_load(local: LocalDeployer, student: Student, root: Path) -> None:
    deployment = local.publish(*student)
    folder = root / "versions" / deployment.id / "student"
    assert deployment.url == folder.as_uri()
    verdict = next(load_student(folder).judge([{"title": "", "content": "neighbours helped"}]))
    assert verdict.overall is not None


def test_current_says_what_was_live_before(local: LocalDeployer, student: Student, other: Student, root: Path) -> None:
    first, second = local.publish(*student), local.publish(*other)
    local.activate(first)
    local.activate(second)
    local.activate(second)
    pointer = json.loads((root / "current.json").read_text())
    assert (pointer["id"], pointer["previous"]) == (second.id, first.id)


def test_publishing_again_mends_a_damaged_copy(local: LocalDeployer, student: Student, root: Path) -> None:
    deployment = local.publish(*student)
    local.activate(deployment)
    (root / "versions" / deployment.id / "student" / "toy.json").write_text("{}")
    with pytest.raises(ArtifactError, match="damaged or was altered"):
        local.open(deployment)
    local.publish(*student)
    local.open(deployment)
    assert local.current() is not None


def test_a_stray_file_out_there_is_seen(local: LocalDeployer, student: Student, root: Path) -> None:
    deployment = local.publish(*student)
    (root / "versions" / deployment.id / "student" / "extra.json").write_text("{}")
    assert "extra.json" in local.fetch_hashes(deployment)


def test_links_are_not_shipped(local: LocalDeployer, student: Student) -> None:
    (student[0] / "passwords.txt").symlink_to("/etc/passwd")
    with pytest.raises(ArtifactError, match=r"passwords\.txt is a link"):
        local.publish(*student)


@pytest.mark.parametrize("name", ["../../precious", "../../../tmp_precious", "..", "."])
def test_an_id_is_not_a_way_out(local: LocalDeployer, student: Student, root: Path, name: str) -> None:
    deployment = local.publish(*student)
    precious = root / "versions" / name
    precious.mkdir(parents=True, exist_ok=True)
    (precious / "deployment.json").write_bytes((root / "versions" / deployment.id / "deployment.json").read_bytes())
    made_up = deployment.model_copy(update={"id": name})
    for use in (local.remove, local.activate, local.open, local.fetch_hashes):
        with pytest.raises(InputError, match="is not a deployment of this target"):
            use(made_up)
    assert (precious / "deployment.json").is_file()


def test_a_student_validated_again_is_another_copy(local: LocalDeployer, student: Student) -> None:
    first = local.publish(*student)
    (student[0] / "validation.json").write_text("{}")
    second = local.publish(*student)
    assert second.id != first.id
    assert second.student_hash == first.student_hash
    assert set(local.fetch_hashes(second)) - set(local.fetch_hashes(first)) == {"validation.json"}


def test_an_empty_folder_is_refused(local: LocalDeployer, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nothing to publish"):
        local.publish(tmp_path / "nothing", "0" * 64)


@pytest.mark.parametrize("text", ['{"id": "../../../../etc"}', "{", "[]", '{"id": 7}', '{"id": "0000000000000000"}'])
def test_a_tampered_pointer_is_an_error_and_not_a_way_out(
    local: LocalDeployer, student: Student, root: Path, text: str
) -> None:
    local.activate(local.publish(*student))
    (root / "current.json").write_text(text)
    with pytest.raises(FilterkitError) as error:
        local.current()
    assert str(root) in str(error.value)


def test_a_deployment_of_another_student_is_refused(local: LocalDeployer, student: Student) -> None:
    deployment = local.publish(*student).model_copy(update={"student_hash": "f" * 64})
    for use in (local.open, local.fetch_hashes, local.activate):
        with pytest.raises(InputError, match="holds another student"):
            use(deployment)


def test_a_second_deployer_is_told_to_wait(local: LocalDeployer, student: Student, root: Path) -> None:
    deployment = local.publish(*student)
    lock = Lock(root / ".lock")
    assert lock.acquire()
    for use in (lambda: local.publish(*student), lambda: local.activate(deployment), lambda: local.remove(deployment)):
        with pytest.raises(StoppedEarly, match="another process is deploying here"):
            use()
    lock.release()
    local.activate(deployment)


PUBLISHER = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from kill_script import deployer
from filterkit.errors import StoppedEarly
from filterkit.testing.toys import register_toys

register_toys()
root, students = Path(sys.argv[2]), json.loads(sys.argv[3])
waited = 0
print("ready", flush=True)
sys.stdin.readline()
for turn in range(25):
    for folder, student_hash in students:
        while True:
            try:
                one = deployer(root)
                published = one.publish(Path(folder), student_hash)
                one.activate(published)
                break
            except StoppedEarly:
                waited += 1
                time.sleep(0.002)
        live = one.current()
        one.open(live)
print(waited)
"""


def test_publishers_at_the_same_time_spoil_nothing(
    local: LocalDeployer, student: Student, other: Student, tmp_path: Path, root: Path
) -> None:
    students = [(str(folder), student_hash) for folder, student_hash in (student, other)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(HERE), str(tmp_path), json.dumps(students[::turn])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for turn in (1, -1, 1)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [p.returncode for p in processes] == [0, 0, 0], outputs
    assert sum(int(out) for out, _ in outputs) > 0, "they never met"
    before = {p.name: (p / "deployment.json").read_bytes() for p in (root / "versions").iterdir()}
    assert set(before) == {local.publish(*student).id, local.publish(*other).id}
    assert before == {p.name: (p / "deployment.json").read_bytes() for p in (root / "versions").iterdir()}


@pytest.mark.parametrize("scenario", ["deploy", "repair", "remove"])
def test_a_kill_at_any_file_operation_loses_nothing(tmp_path: Path, scenario: str) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "kill_script.py"), str(tmp_path), scenario],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["kills"] >= {"deploy": 100, "repair": 100, "remove": 25}[scenario]


def test_a_full_disk_is_one_line_and_leaves_the_live_one_alone(
    local: LocalDeployer, student: Student, other: Student, root: Path
) -> None:
    first = local.publish(*student)
    local.activate(first)
    (other[0] / "large.json").write_text("[" + "0," * 200_000 + "0]")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # the system refuses to write longer files
    try:
        with pytest.raises(InputError, match="cannot copy the student here") as error:
            local.publish(*other)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert local.current() == first
    assert {p.name for p in (root / "versions").iterdir() if not p.name.startswith(".")} == {first.id}
    second = local.publish(*other)
    assert {p.name for p in (root / "versions").iterdir()} == {first.id, second.id}
