"""Several processes of one launch at one student: torchrun's environment, with a trainer that needs no torch."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import Workspace, snapshot

from filterkit.cli.main import run
from filterkit.errors import ConfigError
from filterkit.pipeline.ranks import Ranks
from filterkit.plugins import plugins

PLUGIN = """
from filterkit.api import hookimpl

@hookimpl
def register_trainers(register):
    register("duo", "fk_duo.trainer:DuoTrainer", summary="trains in as many processes as there are")
"""
TRAINER = '''
import os, time
from typing import ClassVar
from fk_toys.toys import ToyOptions, ToyTrainer
from filterkit.api import InputError, StoppedEarly, TrainedStudent


class DuoOptions(ToyOptions):
    fails: int | None = None
    dies: int | None = None
    crashes: int | None = None
    patience_s: float = 20


class DuoTrainer(ToyTrainer):
    """All processes meet in the work folder; then process 0 learns, and the others wait until it is done."""

    Options = DuoOptions
    distributed: ClassVar[bool] = True

    def train(self, job):
        rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        assert job.out.is_dir(), "process 0 makes the folders"
        here = self.ctx.workdir / f"meets-{rank}"
        here.write_text(job.run_id + str(len(job.train.texts)))
        here.rename(self.ctx.workdir / f"met-{rank}")  # whole, for whoever reads it at once
        self.wait(lambda: len(list(self.ctx.workdir.glob("met-*"))) == world)
        assert len({p.read_text() for p in self.ctx.workdir.glob("met-*")}) == 1, "not the same job"
        if self.options.dies == rank:
            os.kill(os.getpid(), 9)
        if self.options.crashes == rank:
            raise RuntimeError(f"boom in {rank}")
        if self.options.fails == rank:
            raise InputError(f"process {rank} has no memory left")
        if rank:
            self.wait(lambda: (job.out / "toy.json").exists() or self.options.fails == 0)
            return None
        return super().train(job)

    def wait(self, until):
        end = time.monotonic() + self.options.patience_s
        while time.monotonic() < end:
            if until():
                return
            if self.ctx.stop():
                raise StoppedEarly("stopped")
            time.sleep(0.02)
        raise RuntimeError("a process did not come")
'''
TRAIN = ["train", "tiny/v1", "--data-dir", "data", "--output-dir", "student", "--trainer", "duo"]


@pytest.fixture(scope="module")
def duo_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trainer `duo`, installed in a folder."""
    site = tmp_path_factory.mktemp("duo")
    (site / "fk_duo").mkdir()
    (site / "fk_duo-1.0.dist-info").mkdir()
    (site / "fk_duo/__init__.py").touch()
    (site / "fk_duo/plugin.py").write_text(PLUGIN)
    (site / "fk_duo/trainer.py").write_text(TRAINER)
    (site / "fk_duo-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: fk-duo\nVersion: 1.0\n")
    (site / "fk_duo-1.0.dist-info/entry_points.txt").write_text("[filterkit]\nduo = fk_duo.plugin\n")
    return site


@pytest.fixture
def duo(ready: Workspace, duo_site: Path, toys: None, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with splits and without a student, and with the trainer `duo`."""
    monkeypatch.syspath_prepend(str(duo_site))
    ready.env["PYTHONPATH"] = os.pathsep.join([ready.env["PYTHONPATH"], str(duo_site)])
    shutil.rmtree(ready / "student")
    monkeypatch.chdir(ready.root)
    monkeypatch.setattr("filterkit.pipeline.ranks.LINGER_S", 0.5)
    plugins().load("trainer", "duo"), plugins().load("model", "toy")  # once here, not in every process
    return ready


class Launch:
    """What torchrun does: the same command in every process, told apart by their environment. Forks, to be quick."""

    def __init__(self, folder: Path, *arguments: object, world: int = 2, late: float = 0, port: int = 29500) -> None:
        self._said = [folder / f".said-{port}-{rank}" for rank in range(world)]
        self.processes: list[int] = []
        for rank, said in enumerate(self._said):
            told = {"RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            child = os.fork()
            if child == 0:
                _run(list(map(str, arguments)), {k: str(v) for k, v in told.items()}, said)
            self.processes.append(child)
            time.sleep(late)

    def ends(self) -> list[tuple[int, str, str]]:
        """Exit code, stdout and stderr of every process."""
        codes = {}
        until = time.monotonic() + 60
        while len(codes) < len(self.processes):
            child, status = os.waitpid(-1, os.WNOHANG)
            if child:
                codes[child] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                for process in set(self.processes) - set(codes):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.01)
        texts = [(said.with_suffix(".out"), said.with_suffix(".err")) for said in self._said]
        found = [(codes[p], *(t.read_text() for t in pair)) for p, pair in zip(self.processes, texts, strict=True)]
        for pair in texts:
            for text in pair:
                text.unlink()
        return found


def _run(arguments: list[str], told: dict[str, str], said: Path) -> None:
    os.environ.update(told)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(said.with_suffix(f".{name}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    code = run(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@pytest.fixture(autouse=True)
def _sum(duo: Workspace) -> Iterator[None]:
    yield
    assert not list(duo.root.glob("student/met-*")), "an artifact holds what the processes said to each other"


def test_all_train_and_the_first_publishes(duo: Workspace) -> None:
    first, *others = Launch(duo.root, *TRAIN, world=3).ends()
    assert first[0] == 0, first
    assert "student trained" in first[1]
    assert others == [(0, "", "")] * 2
    alone = json.loads((duo / "student/filterkit.json").read_bytes())
    assert not list(duo.root.glob(".student*"))
    duo.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "alone", "--trainer", "duo")
    assert json.loads((duo / "alone/filterkit.json").read_bytes())["student_hash"] == alone["student_hash"]


def test_a_student_that_is_there_is_found_by_all(duo: Workspace) -> None:
    duo.ok(*TRAIN)
    before = snapshot(duo.root)
    first, second = Launch(duo.root, *TRAIN).ends()
    assert first[0] == 0
    assert "was there already" in first[1]
    assert second == (0, "", "")
    assert snapshot(duo.root) == before


def test_between_the_renames_of_a_killed_publish(duo: Workspace) -> None:
    """Only process 0 mends what a kill left; the other must not take the student for missing and wait for ever."""
    duo.ok(*TRAIN)
    (duo / "student").rename(duo / ".student.old")
    first, second = Launch(duo.root, *TRAIN).ends()
    assert "was there already" in first[1]
    assert second == (0, "", "")


def test_a_process_that_starts_late(duo: Workspace) -> None:
    assert [end[0] for end in Launch(duo.root, *TRAIN, late=1).ends()] == [0, 0]


def test_a_trainer_of_one_process_is_left_alone(duo: Workspace) -> None:
    train = [*TRAIN[:-1], "toy"]
    first, second = Launch(duo.root, *train).ends()
    assert first[0] == 0, first
    assert "trains in one process; the other 1 of this launch do nothing" in first[2]
    assert second == (0, "", "")


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["-O", "fails=0"], 2, "process 0 has no memory left"),
        (["--data-dir", "nowhere"], 2, "is missing"),
        pytest.param(["-O", "stepps=3"], 2, "did you mean 'steps'", marks=pytest.mark.heavy),
        pytest.param(["--output-dir", "data"], 2, "holds no student", marks=pytest.mark.heavy),
        (["-O", "leave=x.pkl"], 2, "x.pkl may not be part"),
    ],
)
def test_the_first_fails_and_says_so_once(duo: Workspace, more: list[str], code: int, says: str) -> None:
    first, second = Launch(duo.root, *TRAIN, *more).ends()
    assert first[0] == code
    assert says in first[2]
    assert second == (code, "", "")
    again = Launch(duo.root, *TRAIN).ends()
    assert [end[0] for end in again] == [0, 0], "a failed launch disturbs the next one"
    assert not list(duo.root.glob(".student*"))


def test_what_fails_in_another_process_is_told(duo: Workspace) -> None:
    _, second = Launch(duo.root, *TRAIN, "-O", "fails=1", "-O", "pause_s=0.4").ends()
    assert second[0] == 2
    assert second[2] == "Error: process 1 has no memory left\n"


def test_the_first_is_killed(duo: Workspace) -> None:
    first, second = Launch(duo.root, *TRAIN, "-O", "dies=0", "-O", "patience_s=2").ends()
    assert first[0] == -signal.SIGKILL
    assert second[0] in (4, 70)  # 70: what the trainer makes of it when a process is missed
    assert [end[0] for end in Launch(duo.root, *TRAIN).ends()] == [0, 0], "what a killed process left is taken for news"


@pytest.mark.heavy
def test_another_launch_has_the_student(duo: Workspace) -> None:
    slow = Launch(duo.root, *TRAIN, "-O", "pause_s=0.8", port=1)
    while not list(duo.root.glob(".student.work/trainer-*/met-1")):
        time.sleep(0.02)
    first, second = Launch(duo.root, *TRAIN, "--seed", "1", port=2).ends()
    assert first[0] == 4
    assert "another process is working on" in first[2]
    assert second == (4, "", "")
    assert [end[0] for end in slow.ends()] == [0, 0]
    assert not list(duo.root.glob(".student*"))


@pytest.mark.heavy
def test_all_are_asked_to_stop(duo: Workspace) -> None:
    launch = Launch(duo.root, *TRAIN, "-O", "pause_s=0.3", "-O", "steps=5")
    while not list(duo.root.glob(".student.work/trainer-*/steps.json")):
        time.sleep(0.02)
    for process in launch.processes:
        os.kill(process, signal.SIGTERM)
    first, second = launch.ends()
    assert first[0] == 4
    assert second == (4, "", "")
    again, _ = Launch(duo.root, *TRAIN, "-O", "pause_s=0.3", "-O", "steps=5", "--json").ends()
    assert json.loads(again[1])["history"][0]["first_step"] >= 1, "what was stopped began anew"


def test_a_sealed_job(duo: Workspace) -> None:
    duo.ok("train", "tiny/v1", "--data-dir", "data", "--trainer", "duo", "--pack", "job.tar")
    first, second = Launch(duo.root, "train", "--job", "job.tar", "--output-dir", "student", "--json").ends()
    assert first[0] == 0, first
    assert second == (0, "", "")
    assert not list(duo.root.glob(".student*"))
    assert "was there already" in duo.ok(*TRAIN).stdout


@pytest.mark.heavy
def test_plans_and_packing_are_the_first_process_s(duo: Workspace) -> None:
    for more in (["--plan"], ["--pack", "job.tar"]):
        first, second = Launch(duo.root, *TRAIN, *more).ends()
        assert first[0] == 0
        assert first[1]
        assert second == (0, "", "")


@pytest.mark.parametrize("environment", [{"RANK": "1"}, {"WORLD_SIZE": "2"}, {"RANK": "", "WORLD_SIZE": ""}, {}])
def test_what_no_launcher_set_counts_for_nothing(environment: dict[str, str]) -> None:
    assert Ranks.of(environment) == Ranks()


def test_what_contradicts_itself() -> None:
    with pytest.raises(ConfigError, match="RANK is 2 and WORLD_SIZE 2"):
        Ranks.of({"RANK": "2", "WORLD_SIZE": "2"})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.heavy
@pytest.mark.parametrize("how", [["-m", "filterkit"], ["--no-python", "filterkit"]])
def test_with_the_real_torchrun(duo: Workspace, how: list[str]) -> None:
    pytest.importorskip("torch")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--master-port", str(free_port())]
    path = os.pathsep.join([str(Path(sys.executable).parent), duo.env.get("PATH", "")])
    done = subprocess.run(
        [*launcher, *how, *TRAIN],
        cwd=duo.root,
        env={**duo.env, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("student trained") == 1
