"""The local executor when things die: real processes, real signals."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from filterkit.builtin.executor import LocalExecutor
from filterkit.errors import ConfigError
from filterkit.testing import executor as suite
from filterkit.testing import fake_context, tiny_spec

SCRIPT = Path(__file__).parent / "executor_script.py"


def run(folder: Path, workers: int, *plans: str, retries: int = 1, kind: str = "fine") -> list[dict[str, Any]]:
    """The script's output, the results in the order of their shards."""
    command = [sys.executable, str(SCRIPT), str(folder), str(workers), str(retries), kind, *plans]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return sorted((json.loads(line) for line in done.stdout.splitlines()), key=lambda row: row.get("shard", ""))


def pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_several_workers_share_the_shards(tmp_path: Path) -> None:
    results = run(tmp_path, 2, *["ok"] * 6)
    assert [r["error"] for r in results] == [None] * 6
    assert len(set(pids(tmp_path))) == 2
    assert not any(is_alive(pid) for pid in pids(tmp_path))


def test_a_killed_worker_costs_one_try_of_its_own_shard(tmp_path: Path) -> None:
    results = run(tmp_path, 2, "die-once", "ok", "ok", "ok")
    assert [(r["shard"], r["error"]) for r in results] == [(f"s{i}", None) for i in range(4)]
    assert (tmp_path / "s0.tries").read_text() == "xx"
    assert [(tmp_path / f"s{i}.tries").read_text() for i in (1, 2, 3)] == ["x"] * 3, "another shard was worked on twice"


def test_a_shard_that_kills_its_workers_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    results = run(tmp_path, 2, "die", "ok", "ok", retries=2)
    assert [r["error"] is None for r in results] == [False, True, True]
    assert "died 3 times (exit code -9)" in results[0]["error"]
    assert (tmp_path / "s0.tries").read_text() == "xxx"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("kind", "what"), [("input", "no such model"), ("error", "cannot build")])
def test_a_worker_that_cannot_be_built_ends_the_run(tmp_path: Path, workers: int, kind: str, what: str) -> None:
    (only,) = run(tmp_path, workers, "ok", "ok", kind=kind)
    assert what in only["raised"]


def test_a_worker_that_dies_while_it_starts_ends_the_run(tmp_path: Path) -> None:
    (only,) = run(tmp_path, 2, "ok", "ok", kind="die")
    assert "ended while it was starting (exit code -9)" in only["raised"]


@pytest.mark.parametrize("workers", [1, 2])
def test_no_further_shard_is_begun_after_stop(tmp_path: Path, workers: int) -> None:
    results = run(tmp_path, workers, *["ok-then-stop"] * 9)
    assert 1 <= len(results) <= workers, "only what was under way is finished"


@pytest.mark.parametrize("to_group", [True, False], ids=["terminal", "parent-only"])
def test_ctrl_c_ends_all_processes_at_once(tmp_path: Path, to_group: bool) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path), "2", "3", "fine", "slow", "slow"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as one:
        wait_for(tmp_path / "slow")
        if to_group:
            os.killpg(one.pid, signal.SIGINT)
        else:
            one.send_signal(signal.SIGINT)
        out, err = one.communicate(timeout=20)
    assert json.loads(out) == {"raised": "KeyboardInterrupt"}
    assert "Traceback" not in err
    assert not any(is_alive(pid) for pid in pids(tmp_path))


def test_ctrl_c_while_workers_are_starting_is_quiet(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path), "2", "3", "fine", "slow", "slow"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as one:
        children = Path(f"/proc/{one.pid}/task/{one.pid}/children")
        until = time.monotonic() + 30
        while len(children.read_text().split()) < 3:  # multiprocessing's own helper, and two workers
            assert time.monotonic() < until
        os.killpg(one.pid, signal.SIGINT)
        out, err = one.communicate(timeout=20)
    assert json.loads(out) == {"raised": "KeyboardInterrupt"}
    assert "Traceback" not in err


def test_workers_do_not_outlive_a_killed_parent_for_long(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path), "2", "0", "fine", *["ok"] * 200]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as one:
        wait_for(tmp_path / "pids")
        time.sleep(0.3)
        one.kill()
    until = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids(tmp_path)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(is_alive(pid) for pid in pids(tmp_path))


def wait_for(path: Path) -> None:
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until, f"{path.name} never came"
        time.sleep(0.02)


def test_leaving_early_leaves_no_process_behind(tmp_path: Path) -> None:
    options: Any = LocalExecutor.Options.model_validate({"workers": 2})
    one = LocalExecutor(options, tiny_spec(), fake_context(tmp_path))
    shards = suite.ExecutorContract().shards(tmp_path, 0, 0, 0, 0)
    make_worker = partial(suite.make_worker, tmp_path)
    results = one.map_shards(shards, suite.read, make_worker, suite.write, done=lambda _id: False)
    next(iter(results))
    assert multiprocessing.active_children()
    results.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


def test_gpus_are_not_shared_out(tmp_path: Path) -> None:
    options: Any = LocalExecutor.Options.model_validate({})
    one = LocalExecutor(options, tiny_spec(), fake_context(tmp_path))
    with pytest.raises(ConfigError, match="does not share out GPUs"):
        one.map_shards([], suite.read, lambda: abs, suite.write, done=lambda _id: False, workers=2, gpus_per_worker=1)
