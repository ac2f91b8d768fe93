"""Runs `filterkit demo` in an empty folder and puts what it prints into the README, with the day and the machine."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
PLACE = re.compile(r"(<!-- demo -->\n).*?(<!-- end of demo -->)", re.S)


def main() -> None:
    """Run it and write it down."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    filterkit = shutil.which("filterkit", path=environment["PATH"]) or "filterkit"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [filterkit, "demo", "demo"], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
    day = datetime.datetime.now(datetime.UTC).date()
    where = f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores"
    said = f"A real run of `filterkit demo` ({day}, {where}; `python docs/demo_output.py` writes it down):"
    block = f"{said}\n\n```text\n{done.stdout.strip()}\n```\n"
    text, count = PLACE.subn(lambda found: found.group(1) + block + found.group(2), README.read_text(encoding="utf-8"))
    if count != 1:
        sys.exit(f"{README} has {count} places for the demo's output")
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
