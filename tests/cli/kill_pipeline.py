"""Run by test_pipeline_kill.py as a program: SITE FOLDER SCENARIO HOW_MANY. Kills one step again and again.

Each time the workspace starts from the same state, and a forked child runs the command line and is killed with
SIGKILL right before or after a file operation. Then the same command runs to its end, and everything that lies in the
workspace is compared with what an unbroken run leaves. HOW_MANY moments are spread over all there are; 0 takes each.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers import FILTER, Workspace, labelled, snapshot, unlabelled, write_filter, write_jsonl

from filterkit.cli.main import run
from filterkit.manifest import OWN_FILES
from filterkit.plugins import plugins

FILE_CALLS = {
    "open", "open_code", "write", "writelines", "flush", "fsync", "close", "replace", "rename", "mkdir", "unlink",
    "remove", "rmdir", "chmod", "truncate", "flock", "execute", "commit",
}  # fmt: skip

TRAIN = ["train", "tiny/v1", "--data-dir", "data", "--output-dir", "student"]
VALIDATE = ["validate", "tiny/v1", "--data-dir", "data", "--student", "student"]
SCENARIOS: dict[str, tuple[list[str], list[str]]] = {
    "prepare": (["labels"], ["prepare", "tiny/v1", "--labels", "labels.jsonl", "--output-dir", "data"]),
    "prepare-again": (["data"], ["prepare", "tiny/v1", "--labels", "more.jsonl", "--output-dir", "data"]),
    "train": (["data"], TRAIN),
    "train-again": (["data", "student"], [*TRAIN, "--seed", "1"]),
    "pack": (["data"], [*TRAIN[:4], "--pack", "job.tar"]),
    "job": (["data", "job"], ["train", "--job", "job.tar", "--output-dir", "student"]),
    "import": (
        ["data", "student", "away"],
        ["students", "import", "away", "--filter", "tiny/v1", "--data-dir", "data", "--output-dir", "student"],
    ),
    "validate": (["data", "student"], VALIDATE),
    "folds": (["data", "student"], [*VALIDATE, "--folds", "3"]),
    "deploy": (["data", "student", "validated"], ["deploy", "tiny/v1", "--student", "student"]),
    "score": (
        ["data", "student", "input"],
        ["score", "tiny/v1", "--student", "student", "--articles", "in.jsonl", "--output", "out.jsonl.gz"],
    ),
    "run": (
        ["labels"],
        ["run", "tiny/v1", "--oracle", "replay", "-O", "oracle.labels=labels.jsonl", "--articles", "labels.jsonl"],
    ),
}
"""What must be there before, and the command that is killed."""
_TIMES = re.compile(r"\d{4}-\d\d-\d\dT[\d.]+Z|(?<=/)[0-9a-f]{16}(?=/|$)")

_SAID_AT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.]*")


_DIFFER = {"at", "when", "created", "checksum", "history", "id", "url"}


def plain(value: Any) -> Any:
    """JSON without what may differ: times, the ids and hashes that follow from them, where the trainer began."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in _DIFFER and not (k in OWN_FILES and isinstance(v, str))}
        return {k: plain(v) for k, v in kept.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value


def left(workspace: Path) -> dict[str, Any]:
    """Everything in the workspace, comparable; the label store only by its presence."""
    found: dict[str, Any] = {}
    for name, content in snapshot(workspace).items():
        value: Any = content
        if name.endswith(".json"):
            value = plain(json.loads(content))
        if name.endswith(".html"):
            value = _SAID_AT.sub("*", content.decode())
        if name.startswith("labels.db"):
            if name not in ("labels.db", "labels.db.owners"):
                continue  # SQLite's own log, which the next connection empties
            value = "store"
        found[_TIMES.sub("*", name)] = value
    return found


def forked(arguments: list[str], before: Callable[[], None] = lambda: None) -> int | None:
    """Exit code of the command line in a child, None when it was killed."""
    child = os.fork()
    if child == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        before()
        code = run(arguments)
        sys.setprofile(None)
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None


def die_at(count: int) -> Callable[[], None]:
    """Kill this process at the `count`-th moment right before or after a file operation."""

    def arm() -> None:
        moments = itertools.count(1)

        def hear(_frame: object, event: str, function: Any) -> None:
            if event in ("c_call", "c_return") and function.__name__ in FILE_CALLS and next(moments) == count:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(hear)

    return arm


def moments_of(arguments: list[str]) -> int:
    """How many moments there are in an unbroken run."""
    reader, writer = os.pipe()

    def arm() -> None:
        seen = [0]

        def hear(_frame: object, event: str, function: Any) -> None:
            seen[0] += event in ("c_call", "c_return") and function.__name__ in FILE_CALLS

        sys.setprofile(hear)
        exit_now = os._exit

        def told(code: int) -> None:
            sys.setprofile(None)
            os.write(writer, str(seen[0]).encode())
            exit_now(code)

        os._exit = told  # type: ignore[assignment]

    forked(arguments, arm)
    return int(os.read(reader, 100))


def prepare(workspace: Workspace, parts: list[str]) -> None:
    """The state that a scenario starts from, with gates that a dozen test articles can pass."""
    write_filter(workspace.filter, FILTER + "gates: {mae: 9, median_gain: null, spearman: null, coverage: null}\n")
    write_jsonl(workspace / "labels.jsonl", labelled(120))
    write_jsonl(workspace / "more.jsonl", labelled(130))
    steps = {
        "data": SCENARIOS["prepare"][1],
        "student": TRAIN,
        "validated": VALIDATE,
        "job": SCENARIOS["pack"][1],
        "away": [*TRAIN[:-1], "away", "--seed", "1"],
    }
    for part in parts:
        if part == "input":
            rows = [*unlabelled(40), b"not json", *unlabelled(35, seed=2)]
            write_jsonl(workspace / "in.jsonl", rows)
        elif part in steps:
            assert forked(steps[part]) == 0


def sweep(folder: Path, site: Path, scenario: str, how_many: int) -> int:
    for command in ("label", "prepare", "train", "students", "validate", "deploy", "score", "run"):
        importlib.import_module(f"filterkit.cli.{command}")  # once here, not in every child
    plugins().load("model", "toy")
    parts, arguments = SCENARIOS[scenario]
    start, work = folder / "start", folder / "work"
    work.mkdir()
    os.chdir(work)
    prepare(Workspace(work, site), parts)
    os.chdir(folder)
    shutil.move(work, start)

    def afresh() -> None:
        os.chdir(folder)
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(start, work)
        os.chdir(work)

    if scenario == "score":
        import filterkit.pipeline.score

        filterkit.pipeline.score.SHARD_ROWS = 20
    expected_code = 3 if scenario == "score" else 0  # a line of the input is no JSON
    afresh()
    assert forked(arguments) == expected_code
    expected = left(work)
    afresh()
    if expected_code:
        (work / "in.jsonl").write_bytes((work / "in.jsonl").read_bytes().replace(b"not json\n", b'{"content": "x"}\n'))
    total = moments_of(arguments)
    step = max(1, total // how_many) if how_many else 1
    kills = 0
    for count in range(1 + (total % step) // 2, total + 1, step):
        afresh()
        killed = forked(arguments, die_at(count)) is None
        kills += killed
        code = forked(arguments)
        assert code == expected_code, f"exit code {code} after a kill at {count} of {total}"
        found = left(work)
        assert found.keys() == expected.keys(), f"{count} of {total}: {sorted(found.keys() ^ expected.keys())}"
        different = [name for name in found if found[name] != expected[name]]
        assert not different, f"{different} differ after a kill at {count} of {total}"
    return kills


if __name__ == "__main__":
    print(json.dumps({"kills": sweep(Path(sys.argv[2]), Path(sys.argv[1]), sys.argv[3], int(sys.argv[4]))}))
