"""Deployments are recorded, listed, held against their targets, and taken back."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import FILTER, Inside, Workspace, write_filter

from filterkit.pipeline.deployments import records_in

DEPLOY = ("deploy", "tiny/v1", "--student")


def deployed(two: Inside, student: str, *more: str) -> str:
    """Deploy a student; the id."""
    made: dict[str, Any] = json.loads(two(*DEPLOY, student, "--json", *more).out)
    identity: str = made["deployment"]["id"]
    return identity


def live(root: Path) -> str:
    found: str = json.loads((root / "deployments/tiny/current.json").read_bytes())["id"]
    return found


def record_files(root: Path) -> list[Path]:
    return sorted((root / ".filterkit/deployments").iterdir())


def test_what_was_deployed_is_listed_newest_last(two: Inside) -> None:
    first, second = deployed(two, "student"), deployed(two, "second")
    lines = two("deployments").out.splitlines()
    assert [re.search(r"[0-9a-f]{16}", line)[0] for line in lines[1:]] == [first, second]  # type: ignore[index]
    assert " earlier " in lines[1]
    assert re.search(r"passed +live ", lines[2])
    said = json.loads(two("deployments", "tiny", "--json").out)
    assert [d["live"] for d in said["deployments"]] == [False, True]
    newest = said["deployments"][-1]
    assert newest["files"].keys() >= {"toy.json", "filterkit.json"}
    assert newest["deployer"] == "local"
    assert newest["before"]["id"] == first
    assert all(gate["passed"] and gate["limit"] is not None for gate in newest["gates"])
    assert len(newest["samples"]) >= 5
    assert said["disagreements"] == []
    assert "nothing of another was deployed" in two("deployments", "another").out


def test_the_same_deployment_again_is_one_record(two: Inside) -> None:
    assert deployed(two, "student") == deployed(two, "student")
    assert len(record_files(two.root)) == 1


def test_a_plan_does_nothing(two: Inside) -> None:
    said = two(*DEPLOY, "student", "--plan").out
    assert "would ship 4 files" in said
    assert json.loads(two(*DEPLOY, "student", "--plan", "--json").out)["files"] == 4
    assert not (two / "deployments").exists()
    assert not list((two / ".filterkit").glob("deployments/*"))


def test_roll_back_goes_back_and_not_forth_again(two: Inside) -> None:
    first, second = deployed(two, "student"), deployed(two, "second")
    said = two("rollback", "tiny/v1").out
    assert f"live: {first}" in said
    assert f"until now: {second}" in said
    assert "gate mae:" in said
    assert "before it: nothing" in said
    assert live(two.root) == first
    again = two("rollback", "tiny/v1", code=2).err
    assert f"{first} is live, and nothing was live before it" in again
    assert f"--to {second}" in again
    assert live(two.root) == first
    assert "live (rollback)" in two("deployments").out
    assert "nothing was done" in two("rollback", "tiny/v1", "--to", first[:6]).out
    assert f"before it: {first}" in two("rollback", "tiny/v1", "--to", second).out
    assert live(two.root) == second


def test_going_back_needs_neither_the_student_nor_the_policy_of_then(two: Inside) -> None:
    first, _ = deployed(two, "student"), deployed(two, "second")
    shutil.rmtree(two / "student")
    write_filter(two / "tiny/v1", FILTER + "gates: {mae: 0.0001}\n")
    assert f"live: {first}" in two("rollback", "tiny/v1").out


def test_three_steps_back(two: Inside) -> None:
    first, second = deployed(two, "student"), deployed(two, "second")
    assert deployed(two, "student") == first
    for expected in (second, first):
        assert json.loads(two("rollback", "tiny/v1", "--json").out)["deployment"]["id"] == expected
    two("rollback", "tiny/v1", code=2)


@pytest.mark.parametrize("name", ["toy.json", "filterkit.json", "report.html"])
def test_a_copy_that_was_altered_since_is_not_put_live_again(two: Inside, name: str) -> None:
    first, second = deployed(two, "student"), deployed(two, "second")
    file = two / f"deployments/tiny/versions/{first}/student/{name}"
    file.write_bytes(file.read_bytes()[:-2] + b" }")
    assert f"{name} out there is not the file" in two("rollback", "tiny/v1", code=1).err
    assert live(two.root) == second
    assert "refused" in json.loads(two("rollback", "tiny/v1", "--json", code=1).out)
    assert json.loads(two("deployments", "--json").out)["disagreements"] == []


def test_what_is_not_known_cannot_be_gone_back_to(two: Inside) -> None:
    assert "nothing is live there" in two("rollback", "tiny/v1", code=2).err
    deployed(two, "student")
    assert "no deployment 'nope' is recorded" in two("rollback", "tiny/v1", "--to", "nope", code=2).err


def test_what_is_live_and_in_no_record_is_told(two: Inside) -> None:
    first = deployed(two, "student")
    second = deployed(two, "second")
    record_files(two.root)[-1].unlink()
    said = two("deployments", code=1)
    assert f"{second} is live there, which no record here knows; {first} is recorded as live" in said.err
    assert json.loads(two("deployments", "--json", code=1).out)["targets"][0]["live"] == second
    assert two("deployments", "--offline").err == ""
    refused = two("rollback", "tiny/v1", code=2).err
    assert f"what is live, {second}, is in no record here" in refused
    assert f"--to {first}" in refused


def test_another_one_that_is_live_is_told(two: Inside) -> None:
    first, second = deployed(two, "student"), deployed(two, "second")
    (two / "deployments/tiny/current.json").write_text(json.dumps({"id": first, "previous": None, "at": "now"}))
    assert f"{first} is live there, which was put live on" in two("deployments", code=1).err
    (two / "deployments/tiny/current.json").unlink()
    assert f"{second} is recorded as live, and nothing is live there" in two("deployments", code=1).err


def test_a_target_that_cannot_be_asked_is_said_so_and_no_more(two: Inside) -> None:
    deployed(two, "student")
    (file,) = record_files(two.root)
    file.write_text(file.read_text().replace('"deployer": "local"', '"deployer": "uninstalled"'))
    assert "not asked: " in two("deployments").err


def test_a_live_copy_that_somebody_removed_is_told_and_can_be_left(two: Inside) -> None:
    first, second = deployed(two, "student"), deployed(two, "second")
    shutil.rmtree(two / f"deployments/tiny/versions/{second}")
    said = two("deployments", code=1).err
    assert f"{second} is recorded as live, and what lies there is broken: " in said
    refused = two("rollback", "tiny/v1", code=2).err
    assert f"what is live is broken (deployment {second} is not there" in refused
    assert f"--to {first}" in refused
    assert f"live: {first}" in two("rollback", "tiny/v1", "--to", first).out
    two("deployments")


def test_a_live_copy_that_somebody_altered_is_told_and_deploying_mends_it(two: Inside) -> None:
    first = deployed(two, "student")
    file = two / f"deployments/tiny/versions/{first}/student/toy.json"
    file.write_bytes(file.read_bytes() + b" ")
    assert "was altered since it was published" in two("deployments", code=1).err
    assert deployed(two, "student") == first
    two("deployments")
    assert len(record_files(two.root)) == 1


@pytest.mark.parametrize("name", ["current.json", "versions/{}/deployment.json"])
def test_a_target_that_is_torn_is_told_and_another_student_mends_it(two: Inside, name: str) -> None:
    first = deployed(two, "student")
    (two / "deployments/tiny" / name.format(first)).write_text("torn")
    assert f"{first} is recorded as live, and what lies there is broken: " in two("deployments", code=1).err
    second = deployed(two, "second")
    assert live(two.root) == second
    two("deployments")


def test_a_record_that_leads_elsewhere_is_said_so(two: Inside) -> None:
    deployed(two, "student")
    two.root.rename(two.root.parent / "moved")
    os.chdir(two.root.parent / "moved")
    assert "the recorded options lead to" in two("deployments").err


def test_torn_and_foreign_files_are_told_and_left_out(two: Inside) -> None:
    first = deployed(two, "student")
    folder = two / ".filterkit/deployments"
    (folder / "torn.json").write_text('{"record": 1, "id": "x')
    (folder / "list.json").write_text("[1]")
    (folder / "foreign.json").write_text('{"record": 1, "hello": "\\u001b[31mworld"}')
    said = two("deployments")
    assert first in said.out
    assert said.err.count("left out: ") == 3
    assert "\x1b" not in said.out + said.err


def test_a_record_of_an_earlier_filterkit_is_read(two: Inside) -> None:
    first, second = deployed(two, "student"), deployed(two, "second")
    for file in record_files(two.root):
        record = json.loads(file.read_bytes())
        old = {key: record[key] for key in ("id", "target", "student_hash", "at", "url", "state", "forced")}
        file.write_text(json.dumps(old))
    said = two("deployments", "tiny")
    assert first in said.out
    assert second in said.out
    assert "do not say which deployer" in said.err
    assert "holds no hashes" in two("rollback", "tiny/v1", code=1).err


def test_several_targets_have_to_be_told_apart(two: Inside) -> None:
    for path in ("here", "there"):
        deployed(two, "student", "-O", f"path={path}")
        deployed(two, "second", "-O", f"path={path}")
    assert "Say which: --deployer" in two("rollback", "tiny/v1", code=2).err
    two("rollback", "tiny/v1", "-O", "path=there")
    found = json.loads(two("deployments", "--json").out)
    assert [bool(d["live"]) for d in found["deployments"]] == [False, True, False, False, True]


def test_a_deployment_at_another_target_is_said_to_be_there(two: Inside) -> None:
    first = deployed(two, "student", "-O", "path=here")
    said = two("rollback", "tiny/v1", "-O", "path=there", "--to", first, code=2).err
    assert f"{first} is recorded at {two.root / 'here/tiny'}, and not here" in said


def test_a_reason_is_said_once_for_a_deployment(two: Inside) -> None:
    write_filter(two / "tiny/v1", FILTER + "gates: {mae: 0.0001}\n")
    deployed(two, "student", "--force", "a trial")
    deployed(two, "second", "--force", "another trial")
    two("rollback", "tiny/v1")
    assert two("deployments").out.count("forced: a trial") == 1


def test_the_one_recorded_target_need_not_be_named(two: Inside) -> None:
    first = deployed(two, "student", "-O", "path=elsewhere")
    deployed(two, "second", "-O", "path=elsewhere")
    assert f"live: {first}" in two("rollback", "tiny/v1").out


def test_no_secret_is_recorded(two: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    from filterkit.contracts.base import environment_secret

    monkeypatch.setenv("HF_TOKEN", "hf_not_to_be_seen")
    environment_secret("HF_TOKEN")
    deployed(two, "student", "-O", "path=x-hf_not_to_be_seen")
    assert all(b"hf_not_to_be_seen" not in file.read_bytes() for file in record_files(two.root))


KILLED = """
import os, signal, sys
from filterkit.builtin.local import LocalDeployer
from filterkit.cli.main import main
activate = LocalDeployer.activate
def killed(self, deployment):
    {then}
    os.kill(os.getpid(), signal.SIGKILL)
LocalDeployer.activate = killed
main(["deploy", "tiny/v1", "--student", "second"])
"""


@pytest.mark.parametrize("then", ["pass", "activate(self, deployment)"])
def test_a_kill_around_the_activation_is_seen_and_the_rerun_completes_it(
    two: Inside, toy_site: Path, then: str
) -> None:
    first = deployed(two, "student")
    command = [sys.executable, "-c", KILLED.format(then=then)]
    (two / "scratch").mkdir()
    environment = Workspace(two / "scratch", toy_site).env
    assert subprocess.run(command, cwd=two.root, env=environment, check=False).returncode == -signal.SIGKILL
    was_live = then != "pass"
    said = two("deployments", code=1 if was_live else 0)
    assert "activating" in said.out.splitlines()[-1]
    assert ("did not come to its end" in said.err) == was_live
    second = deployed(two, "second")
    assert live(two.root) == second
    records, _ = records_in(two.root).read()
    assert [(r.id, r.status) for r in records] == [(first, "live"), (second, "live")]
    assert records[-1].before is not None
    assert records[-1].before.id == first
    two("deployments")
    assert f"live: {first}" in two("rollback", "tiny/v1").out


def test_a_missing_folder_of_records_is_no_matter(two: Inside) -> None:
    shutil.rmtree(two / ".filterkit", ignore_errors=True)
    assert "nothing was deployed from this workspace" in two("deployments").out
