"""The examples run as they are. Those that need a student run in test_tour.py, with the tour's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pages import ROOT

EXAMPLES = ROOT / "examples"
SHOUTING = EXAMPLES / "02_third_party_oracle"


def environment(**more: str) -> dict[str, str]:
    """This environment, with its commands first on the path and nothing configured."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FILTERKIT_")}
    return {**clean, "PATH": os.pathsep.join([str(Path(sys.executable).parent), clean.get("PATH", "")]), **more}


def test_the_plugin_is_thirty_lines() -> None:
    source = SHOUTING / "src" / "filterkit_shouting"
    lines = [line for name in ("plugin.py", "oracle.py") for line in (source / name).read_text().splitlines()]
    entry_point = ["[project.entry-points.filterkit]", 'shouting = "filterkit_shouting.plugin"']
    assert "\n".join(entry_point) in (SHOUTING / "pyproject.toml").read_text()
    assert len([line for line in lines + entry_point if line.strip()]) <= 30


def test_the_plugin_keeps_its_contract() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, SHOUTING / "tests"],
        cwd=SHOUTING,
        env=environment(PYTHONPATH=str(SHOUTING / "src"), PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_your_own_labels(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "03_your_own_labels.py", tmp_path],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "filters" / "kitchen" / "v1" / "model" / "filterkit.json").is_file()
    assert '"passed"' in done.stdout


def test_every_example_is_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    names = [p.name for p in EXAMPLES.iterdir() if p.name[:2].isdecimal()]
    assert len(names) >= 4
    assert not [name for name in names if f"({name}" not in listed]
