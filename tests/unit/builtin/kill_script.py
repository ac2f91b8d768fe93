"""Run by test_local.py as a program: FOLDER SCENARIO. Kills a deployment at every file operation it makes.

Each time a forked child starts from the same state, does its work, and is killed with SIGKILL right before or after
a file operation, at the first such moment, then at the second, … until it gets through. After each kill the parent
looks as any reader would, does the work again, and looks again. Prints one JSON line: how many kills there were.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filterkit.builtin.local import LocalDeployer
from filterkit.errors import ArtifactError
from filterkit.records import Deployment
from filterkit.testing import fake_context, make_student, tiny_spec

FILE_CALLS = {
    "open", "open_code", "write", "flush", "fsync", "close", "replace", "rename", "mkdir", "unlink", "remove",
    "rmdir", "chmod", "sendfile", "truncate", "flock",
}  # fmt: skip
SPEC = tiny_spec()


def deployer(root: Path) -> LocalDeployer:
    options: Any = LocalDeployer.Options.model_validate({"path": str(root / "deployments")})
    return LocalDeployer(options, SPEC, fake_context(root))


def die_at(count: int) -> None:
    """Kill this process right before or after a file operation, the `count`-th such moment from now on."""
    left = itertools.count(1)

    def hear(_frame: object, event: str, function: Any) -> None:
        if event in ("c_call", "c_return") and function.__name__ in FILE_CALLS and next(left) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(hear)


def attempt(work: Callable[[], object], count: int) -> bool:
    """Whether `work` came to its end in a child that dies at file operation `count`."""
    child = os.fork()
    if child == 0:
        die_at(count)
        work()
        sys.setprofile(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        return True
    assert os.WTERMSIG(status) == signal.SIGKILL
    return False


def usable(root: Path, deployment: Deployment) -> None:
    """The deployment can be opened (which checks every hash) and scores."""
    scorer = deployer(root).open(deployment)
    assert len(scorer.predict(scorer.encode(["neighbours helped"])).scores) == 1


def sweep(root: Path, scenario: str) -> int:
    old, new = root / "old", root / "new"
    old_hash = make_student(old, SPEC, fake_context(root))
    new_hash = make_student(new, SPEC, fake_context(root), rows=60)
    prepared = deployer(root)
    first = prepared.publish(old, old_hash)
    prepared.activate(first)
    allowed = {old_hash, new_hash}
    if scenario == "repair":
        damaged = root / "deployments" / "tiny" / "versions" / first.id / "student" / "toy.json"
        damaged.write_bytes(b"{}")
    second, whole = first, prepared.fetch_hashes(first)
    if scenario == "remove":
        second = prepared.publish(new, new_hash)
        whole = prepared.fetch_hashes(second)
        allowed = {old_hash}
    shutil.move(root / "deployments", root / "start")

    def work() -> None:
        one = deployer(root)
        if scenario == "deploy":
            one.activate(one.publish(new, new_hash))
        elif scenario == "repair":
            one.publish(old, old_hash)
        else:
            one.remove(second)

    for count in itertools.count(1):
        shutil.rmtree(root / "deployments", ignore_errors=True)
        shutil.copytree(root / "start", root / "deployments")
        through = attempt(work, count)
        if scenario != "repair":  # what is damaged is not usable before it is repaired
            live = deployer(root).current()
            assert live is not None
            assert live.student_hash in allowed, "a kill left another student live"
            usable(root, live)
        if scenario == "remove":
            with contextlib.suppress(ArtifactError):  # it is there whole, or gone
                assert deployer(root).fetch_hashes(second) == whole
        work()
        live = deployer(root).current()
        assert live is not None
        assert live.student_hash == (new_hash if scenario == "deploy" else old_hash)
        usable(root, live)
        versions = root / "deployments" / "tiny" / "versions"
        assert {p.name for p in versions.iterdir()} == {first.id, live.id}, "leftovers were not cleared away"
        # an activation that was killed in mid-write leaves a temporary file, which the next publish clears away
        deployer(root).publish(old, old_hash)
        assert {p.name for p in versions.parent.iterdir()} == {".lock", "versions", "current.json"}
        if through:
            return count - 1
    raise AssertionError("unreachable")


if __name__ == "__main__":
    print(json.dumps({"kills": sweep(Path(sys.argv[1]), sys.argv[2])}))
