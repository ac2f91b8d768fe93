"""Runs the commands of a page, as a reader would type them, and holds what they print against what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pages import Block

EXIT_CODE = re.compile(r"# exit code (\d+)\s*$", re.M)
MARK = "\x1e"


@dataclass
class Command:
    """One command of a page: its text, the exit code it is to have, the lines that it is to print."""

    text: str
    where: str
    exit_code: int
    lines: list[str]


@dataclass
class Ran:
    """What a command did."""

    command: Command
    exit_code: int
    output: str

    def problems(self) -> list[str]:
        """How it differs from the page; empty when it does not."""
        head = f"{self.command.where}: {self.command.text.splitlines()[0]}"
        if self.exit_code != self.command.exit_code:
            return [f"{head}: exit code {self.exit_code}, not {self.command.exit_code}\n{self.output}"]
        return [
            f"{head}: does not print {line!r}\n{self.output}"
            for line in self.command.lines
            if not printed(line, self.output)
        ]


def printed(line: str, output: str) -> bool:
    """Whether a line of the output is `line`; `…` in it stands for anything."""
    pattern = r"\s*" + r".*".join(re.escape(part) for part in line.strip().split("…")) + r"\s*"
    return any(re.fullmatch(pattern, one) for one in output.splitlines())


def commands(blocks: Sequence[Block]) -> list[Command]:
    """The commands of `console` blocks (lines after `$ `, and what they print) and of `sh` blocks (the whole block)."""
    found: list[Command] = []
    for block in blocks:
        if block.info == "sh":
            found.append(_command(block.text.strip(), block))
            continue
        for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
            typed, output = _typed(part.splitlines())
            found.append(_command(typed, block))
            found[-1].lines = [line for line in output if line.strip(" …")]
    return found


def _command(text: str, block: Block) -> Command:
    code = EXIT_CODE.search(text)
    return Command(text, block.where, int(code.group(1)) if code else 0, [])


def _typed(lines: list[str]) -> tuple[str, list[str]]:
    """A command with its continued lines and here-document, and the lines after it."""
    last = 0
    while lines[last].endswith("\\"):
        last += 1
    here = re.search(r"<<\s*'?(\w+)'?", lines[0])
    if here:
        last = lines.index(here.group(1))
    return "\n".join(lines[: last + 1]), lines[last + 1 :]


def run(blocks: Sequence[Block], folder: Path) -> list[Ran]:
    """Type all commands into one shell that begins in `folder`, with this environment's commands."""
    asked = commands(blocks)
    script = "\n".join(f"{{ {command.text}\n}} 2>&1\nprintf '\\n{MARK}%d{MARK}' $?" for command in asked)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FILTERKIT_")}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**clean, "PATH": path, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    parts = done.stdout.split(MARK)
    assert len(parts) == 2 * len(asked) + 1, done.stdout + done.stderr
    return [
        Ran(command, int(code), output) for command, output, code in zip(asked, parts[::2], parts[1::2], strict=False)
    ]
