"""Labelling on a real terminal: the panel, the question before spending, and Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import PROMPT, Workspace, command, labelled, read_jsonl, write_filter

CTRL_C = b"\x03"
LABEL = ["label", "tiny/v1", "--articles", "in.jsonl", "--oracle", "replay", "-O", "labels=in.jsonl"]
SLOW = [*LABEL, "-O", "latency_s=0.5"]


class Terminal:
    """A command on a terminal of its own. `screen` is all that it has written, without colours and cursor moves."""

    def __init__(self, workspace: Workspace, arguments: list[str], columns: int = 100, **env: str) -> None:
        self._ours, theirs = pty.openpty()
        bare = {k: v for k, v in workspace.env.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self._process = subprocess.Popen(
            command(*arguments),
            cwd=workspace.root,
            env={**bare, "TERM": "xterm-256color", **env},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C reaches who owns the terminal
        )
        os.close(theirs)
        self.raw = b""

    @property
    def screen(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw.decode("utf-8", "replace"))

    def send(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def until(self, text: str, seconds: float = 30) -> None:
        """Wait until `text` was written."""
        deadline = time.monotonic() + seconds
        while text not in self.screen:
            assert time.monotonic() < deadline, f"{text!r} never came:\n{self.screen}"
            assert self._read(), f"it ended without {text!r}:\n{self.screen}"

    def end(self, seconds: float = 60) -> int:
        """Wait for the command's end; its exit code."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, self.screen
        return self._process.wait(timeout=10)

    def _read(self) -> bool:
        if select.select([self._ours], [], [], 0.2)[0]:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # how Linux says that the other end was closed
                return False
            self.raw += piece
            return bool(piece)
        return True

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(workspace: Workspace) -> Iterator[Any]:
    """Starts `filterkit ARGS…` on a terminal."""
    workspace.labels(labelled(300), "in.jsonl")
    begun: list[Terminal] = []

    def start(arguments: list[str], **more: Any) -> Terminal:
        begun.append(Terminal(workspace, arguments, **more))
        return begun[-1]

    yield start
    for one in begun:
        one.close()


def labels(workspace: Workspace) -> int:
    """Articles that are labelled in the store."""
    workspace.ok("prepare", "tiny/v1", "--output-dir", "out", "--oracle", "replay")
    return sum(len(read_jsonl(workspace / f"out/{name}.jsonl")) for name in ("train", "val", "test"))


def test_a_panel_shows_how_far_it_is_and_leaves_only_the_summary(terminal: Any) -> None:
    run = terminal(SLOW)
    run.until(" of 300 articles (")
    run.until("in flight")
    run.until(" left")
    run.until("Ctrl-C finishes what is in flight")
    assert run.end() == 0
    assert "300 articles: 300 labelled now" in run.screen
    assert run.raw.rstrip().endswith(b"requests, $0.00.")
    cleared = run.raw.rindex("╯".encode())
    assert run.raw.count(b"\x1b[2K", cleared) >= 9  # every line of the panel was wiped
    assert b"\x1b[?25h" in run.raw[cleared:]  # the cursor is back


def test_ctrl_c_finishes_what_is_in_flight_and_says_how_to_go_on(terminal: Any, workspace: Workspace) -> None:
    run = terminal(SLOW)
    run.until(" of 300 articles (")
    run.until(" labelled")
    run.send(CTRL_C)
    run.until("Stopping: waiting for")
    assert run.end() == 130
    assert "Stopped. Run the same command again to go on." in run.screen
    [now] = re.findall(r"articles: (\d+) labelled now", run.screen)
    assert 0 < int(now) < 300
    done = workspace.ok(*LABEL)
    assert f"{300 - int(now)} labelled now, {now} were already" in done.stdout
    assert labels(workspace) == 300


def test_a_second_ctrl_c_stops_at_once_and_loses_nothing(terminal: Any, workspace: Workspace) -> None:
    run = terminal([*LABEL, "-O", "latency_s=15"])
    run.until("64 of 64 in flight")
    started = time.monotonic()
    run.send(CTRL_C)
    run.until("Stopping")
    run.send(CTRL_C)
    assert run.end() == 130
    assert time.monotonic() - started < 8
    assert "Run the same command again to go on" in run.screen
    assert b"\x1b[?25h" in run.raw  # the cursor is back
    assert "300 labelled now" in workspace.ok(*LABEL).stdout


def test_a_narrow_terminal_gets_a_narrow_panel(terminal: Any) -> None:
    run = terminal(SLOW, columns=30)
    run.until("Ctrl-C")
    run.send(CTRL_C)
    run.end()
    panel = run.screen[run.screen.index("╭") : run.screen.rindex("╯")]
    wide = [line for line in panel.splitlines() if line.startswith(("│", "╭")) and len(line) > 30]
    assert not wide


def test_no_color_is_obeyed(terminal: Any) -> None:
    run = terminal(SLOW, NO_COLOR="1")
    run.until("in flight")
    run.end()
    colours = re.findall(rb"\x1b\[([0-9;]+)m", run.raw)
    assert not [code for code in colours if re.search(rb"(^|;)(3|4|9)[0-9]", code)]


def test_a_dumb_terminal_gets_plain_lines(terminal: Any) -> None:
    run = terminal(SLOW, TERM="dumb")
    assert run.end() == 0
    assert b"\x1b" not in run.raw
    assert "300 labelled now" in run.screen


def test_without_a_terminal_plain_lines_come_now_and_then(terminal: Any, workspace: Workspace) -> None:
    (workspace / "filterkit.yaml").write_text("label: {concurrency: 12}\n")
    done = workspace.ok(*SLOW)
    lines = [line for line in done.stderr.splitlines() if " labelled, " in line]
    assert re.search(r"^\d+ of 300 articles \(\d+%\); \d+ labelled, 0 already, 0 failed; .* left$", lines[0])
    assert lines[-1].startswith("300 of 300 articles (100%); 300 labelled")
    assert "\x1b" not in done.stderr


def test_only_articles_count_and_no_speed_is_said_while_there_is_none(terminal: Any, workspace: Workspace) -> None:
    (workspace / "filterkit.yaml").write_text("label: {concurrency: 12}\n")
    workspace.labels([*labelled(119), b"", b"no article", *labelled(120)[119:]], "in.jsonl")
    done = workspace.ok(*LABEL, "-O", "latency_s=1.3", code=3)
    lines = [line for line in done.stderr.splitlines() if " labelled, " in line]
    assert lines[-1].startswith("120 of 120 articles (100%)")
    assert " 0.0 a second" not in done.stderr


def changed(terminal: Any, workspace: Workspace, *more: str) -> Terminal:
    """The same articles under another rubric, on a terminal."""
    workspace.ok(*LABEL)
    write_filter(workspace.root / "tiny" / "v1", prompt=PROMPT.replace("Score", "Rate"))
    run: Terminal = terminal([*LABEL, *more])
    return run


def test_before_a_changed_rubric_is_asked_it_wants_a_yes(terminal: Any, workspace: Workspace) -> None:
    run = changed(terminal, workspace)
    run.until("300 of these will be asked again")
    run.until("Ask about them again? [y/N]")
    run.send(b"n\n")
    assert run.end() == 4
    assert "nothing was asked" in run.screen
    yes = terminal(LABEL)
    yes.until("[y/N]")
    yes.send(b"y\n")
    assert yes.end() == 0
    assert "300 labelled now" in yes.screen


def test_ctrl_c_at_the_question_asks_nothing(terminal: Any, workspace: Workspace) -> None:
    run = changed(terminal, workspace)
    run.until("[y/N]")
    time.sleep(1)  # Python misses a signal in the instant between its prompt and its read
    run.send(CTRL_C)
    assert run.end() == 130
    assert "labelled now" not in run.screen


def test_yes_asks_no_question(terminal: Any, workspace: Workspace) -> None:
    run = changed(terminal, workspace, "--yes")
    assert run.end() == 0
    assert "300 of these will be asked again" in run.screen
    assert "[y/N]" not in run.screen
