"""The commands of the README's tour and of the tutorial do what the pages say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import DOCS, ROOT, Block, blocks, section
from tour import Command, Ran, commands, printed, run

TUTORIAL = DOCS / "tutorial" / "first-filter.md"
README = ROOT / "README.md"


@pytest.fixture(scope="session")
def toured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Ran]]:
    """The folder in which the README's tour was run, and what its commands did."""
    folder = tmp_path_factory.mktemp("tour")
    return folder, run(blocks(README, "console"), folder)


def test_the_readmes_tour(toured: tuple[Path, list[Ran]]) -> None:
    ran = toured[1]
    assert len(ran) >= 8
    assert not [problem for one in ran for problem in one.problems()]


def test_the_readme_shows_what_the_demo_prints(toured: tuple[Path, list[Ran]]) -> None:
    """Numbers differ from machine to machine; the steps, and whether the gates let the student through, do not."""
    shown = section(README.read_text(encoding="utf-8"), "What the demo prints")
    assert "A real run of `filterkit demo` (20" in shown
    printed_now = toured[1][0].output
    for line in printed_now.splitlines():
        if re.match(r"\d\. |The gates |not deployed|live|\d+ articles: ", line):
            assert re.split(r"[:(]", line)[0] in shown, "run `python docs/demo_output.py`"
    assert "1. label" in printed_now


def test_the_readmes_python(toured: tuple[Path, list[Ran]]) -> None:
    code = "\n".join(block.text for block in blocks(README, "python run"))
    assert "load_student" in code
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=toured[0], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["01_score_with_python.py", "04_bring_a_policy_change.py"])
def test_examples_with_the_tours_student(name: str, toured: tuple[Path, list[Ran]]) -> None:
    student = toured[0] / "tour" / "students" / "uplifting" / "v1"
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, student], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 10


def test_the_tutorial(tmp_path: Path) -> None:
    ran = run(blocks(TUTORIAL, "console", "sh"), tmp_path)
    assert len(ran) >= 8
    assert not [problem for one in ran for problem in one.problems()]


def test_commands_are_read_as_they_are_typed() -> None:
    text = "$ one \\\n  --more\nout\n\n$ cat > f <<'END'\na\nEND\n$ false  # exit code 1\n"
    found = commands([Block("console", text, "here"), Block("sh", "two\nthree\n", "there")])
    assert [c.text for c in found] == [
        "one \\\n  --more",
        "cat > f <<'END'\na\nEND",
        "false  # exit code 1",
        "two\nthree",
    ]
    assert [c.exit_code for c in found] == [0, 0, 1, 0]
    assert [c.lines for c in found] == [["out"], [], [], []]


def test_a_page_that_is_wrong_is_seen(tmp_path: Path) -> None:
    text = "$ echo hello; cd /\nhullo\n$ pwd\n/\n$ false\n$ true  # exit code 3\n$ echo 1 of 2\n… of 2\n"
    wrong = [one.problems() for one in run([Block("console", text, "here")], tmp_path)]
    assert [bool(w) for w in wrong] == [True, False, True, True, False]
    assert "hullo" in wrong[0][0]


def test_a_line_stands_for_a_whole_line() -> None:
    assert printed("a … c", "x\n  a b c\n")
    assert not printed("a b", "a b c\n")
    assert Ran(Command("x", "here", 0, ["a"]), 0, "b").problems()
