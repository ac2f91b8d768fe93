"""A connection that is cut, wherever that may be: main shows the old files or the new ones, and a rerun completes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filterkit_hf.deployer import HubDeployer
from shipping import Workspace

from filterkit.errors import StoppedEarly
from filterkit.manifest import load_manifest
from filterkit.testing.fake_hub import FakeHub

Make = Callable[..., HubDeployer]
REQUESTS = 12
"""Requests that change something when one student goes live after another: branch, LFS, commits, tags."""
QUICK = {(5, False), (7, True)}
POINTS = [
    pytest.param(request, answer, marks=[] if (request, answer) in QUICK else [pytest.mark.heavy])
    for request in range(1, REQUESTS + 1)
    for answer in (False, True)
]
"""Twenty-four: halfway through each of those requests, and when it is done but before its answer."""


def ship(one: HubDeployer, student: Path) -> None:
    one.activate(one.publish(student, load_manifest(student).student_hash))


@pytest.fixture(scope="session")
def small(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two small students of large (LFS) and small files; what they score does not matter here."""
    from filterkit.manifest import describe_files, save_manifest, student_hash

    made = []
    for name in ("old", "new"):
        folder = tmp_path_factory.mktemp("cuts") / name
        shutil.copytree(workspace.student, folder)
        for weights in ("embedding.safetensors", "lite.safetensors"):
            (folder / weights).write_bytes(f"{weights} {name} ".encode() * 30_000)
        manifest = load_manifest(folder, verify=False)
        files = describe_files(folder)
        named = student_hash(files, manifest.target_hash, manifest.calibrator)
        save_manifest(folder, manifest.model_copy(update={"files": files, "student_hash": named}))
        made.append(folder)
    return made[0], made[1]


@pytest.mark.parametrize(("request_number", "answer"), POINTS)
def test_old_or_new_and_never_a_mix(
    hub: FakeHub, deployer: Make, small: tuple[Path, Path], request_number: int, answer: bool
) -> None:
    old, new = small
    ship(deployer(), old)
    before = hub.repo("me/x").files()
    hub.cut_after(request_number, answer=answer, down=True)
    with pytest.raises(StoppedEarly, match="again"):
        ship(deployer(patience_s=0), new)
    hub.faults.clear()
    shown = hub.repo("me/x").files()
    ship(deployer(), new)
    after = hub.repo("me/x").files()
    assert shown in (before, after), "main shows a mix of two students"
    for name in load_manifest(new).files:
        assert after[name] == (new / name).read_bytes()
    assert hub.repo("me/x").head("v1") == hub.repo("me/x").head()
    assert len(hub.repo("me/x").commits()) == 3, "the rerun committed once more than needed"


@pytest.mark.heavy
@pytest.mark.parametrize("size", [1, 20_000, 100_000, 300_000, 500_000, 700_000])
def test_cut_after_so_many_bytes(hub: FakeHub, deployer: Make, small: tuple[Path, Path], size: int) -> None:
    hub.cut_after(size=size, down=True)
    with pytest.raises(StoppedEarly, match="again"):
        ship(deployer(patience_s=0), small[0])
    hub.faults.clear()
    shown = set(hub.repo("me/x").files()) if hub.repos else {".gitattributes"}
    ship(deployer(), small[0])
    assert shown in ({".gitattributes"}, set(hub.repo("me/x").files()))


def test_there_are_as_many_requests_as_are_cut(hub: FakeHub, deployer: Make, small: tuple[Path, Path]) -> None:
    ship(deployer(), small[0])
    before = hub.uploaded[0]
    ship(deployer(), small[1])
    assert hub.uploaded[0] - before == REQUESTS


@pytest.mark.heavy
def test_a_short_cut_is_mended_without_a_rerun(hub: FakeHub, deployer: Make, small: tuple[Path, Path]) -> None:
    ship(deployer(), small[0])
    for request in range(1, 8):
        hub.cut_after(request)
    ship(deployer(patience_s=20), small[1])
    assert hub.repo("me/x").files()["lite.safetensors"] == (small[1] / "lite.safetensors").read_bytes()


@pytest.mark.heavy
def test_a_first_upload_that_is_cut_leaves_main_empty(hub: FakeHub, deployer: Make, small: tuple[Path, Path]) -> None:
    hub.cut_after(4, down=True)
    with pytest.raises(StoppedEarly):
        ship(deployer(patience_s=0), small[0])
    hub.faults.clear()
    assert set(hub.repo("me/x").files()) == {".gitattributes"}
    assert deployer().current() is None
    ship(deployer(), small[0])
    assert "lite.safetensors" in hub.repo("me/x").files()
