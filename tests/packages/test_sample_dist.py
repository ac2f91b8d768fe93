"""A third party's dist, installed for real and used through its entry points, in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parent / "filterkit-sample"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the sample dist."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--target", target, SAMPLE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def python(site: Path | None, *arguments: str, **environment: str) -> str:
    """Run Python with `site` on its path; what it printed."""
    path = {"PYTHONPATH": str(site)} if site else {}
    done = subprocess.run(
        [sys.executable, *arguments],
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | path | environment,
        cwd=site,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


LIST = """
import sys
from filterkit.plugins import plugins
found = plugins()
print([(e.name, e.dist, e.version) for e in found.entries("oracle") if e.dist == "filterkit-sample"])
print([p.state for p in found.found if p.name == "sample"])
print("filterkit_sample.oracle" in sys.modules)
"""


def test_it_is_listed_and_not_imported(installed: Path) -> None:
    entries, states, imported = python(installed, "-c", LIST).splitlines()
    assert entries == "[('counting', 'filterkit-sample', '0.1.0')]"
    assert states == "['ok']"
    assert imported == "False"


def test_it_is_gone_where_it_is_not_installed_or_switched_off(installed: Path) -> None:
    assert python(None, "-c", LIST).splitlines()[0] == "[]"
    entries, states, _ = python(installed, "-c", LIST, FILTERKIT_DISABLE_PLUGINS="filterkit-sample").splitlines()
    assert entries == "[]"
    assert states == "['off']"


def test_its_filter_is_found_by_name_and_asks_its_oracle(installed: Path) -> None:
    script = """
import asyncio, pathlib, tempfile
import filterkit
from filterkit.contracts import Context
from filterkit.options import make_backend
from filterkit.reply import parse_reply
from filterkit.records import Article
from filterkit.testing import make_request

for name in ("sample", "sample@1"):
    found = filterkit.load_filter(name)
choice = found.spec.oracle
oracle = make_backend("oracle", choice.use, choice.options, found.spec, Context(pathlib.Path(tempfile.gettempdir())))
request = make_request(found.spec, Article("1", "", "They help. Help!"))
print(parse_reply(found.spec, asyncio.run(oracle.complete(request)).text).scores, found.path)
"""
    scores, _, path = python(installed, "-c", script).partition("} ")
    assert scores == "{'help': 2.0"
    assert Path(path) == installed / "filterkit_sample_filter" / "v1"


def test_its_oracle_passes_the_contract_suite_unchanged(installed: Path) -> None:
    # the dist's own tests, run as its author runs them: no configuration of ours
    report = python(
        installed, "-m", "pytest", str(SAMPLE / "tests"), "-q", "-p", "no:cacheprovider",
        "-c", os.devnull, f"--rootdir={SAMPLE}", f"--confcutdir={SAMPLE}", PYTHONDONTWRITEBYTECODE="1",
    )  # fmt: skip
    assert " passed" in report
    assert "skipped" not in report


def test_an_oracle_plugin_is_thirty_lines_with_its_entry_point() -> None:
    source = SAMPLE / "src" / "filterkit_sample"
    lines = (source / "plugin.py").read_text().splitlines() + (source / "oracle.py").read_text().splitlines()
    entry_point = ["[project.entry-points.filterkit]", 'sample = "filterkit_sample.plugin"']
    assert "\n".join(entry_point) in (SAMPLE / "pyproject.toml").read_text()
    assert len([line for line in lines + entry_point if line.strip()]) <= 30
