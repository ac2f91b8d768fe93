"""The command line starts fast: what is not needed is not imported."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

HEAVY = ("numpy", "pydantic", "yaml", "torch", "sklearn", "scipy", "rich", "asyncio", "sqlite3", "pyarrow")
PROBE = """
import sys
from filterkit.cli.main import run
code = run({arguments!r})
print("IMPORTED", *[name for name in {names!r} if name in sys.modules])
sys.exit(code)
"""


def imported(arguments: list[str], names: tuple[str, ...], path: str = "") -> list[str]:
    """Which of `names` are imported after a command."""
    result = subprocess.run(
        [sys.executable, "-c", PROBE.format(arguments=arguments, names=names)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": path, "PATH": ""},
    )
    (line,) = [x for x in result.stdout.splitlines() if x.startswith("IMPORTED")]
    return line.split()[1:]


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_imports_click_and_nothing_of_weight(arguments: list[str]) -> None:
    names = (*HEAVY, "pluggy", "filterkit.plugins", "filterkit.config", "filterkit.cli.label")
    assert imported(arguments, names) == []


def test_help_imports_no_plugin_and_no_added_command(site: Any) -> None:
    site.add(
        "acme-kit",
        plugin="raise RuntimeError('imported')",
        entry_points={"filterkit.commands": {"acme": "acme_kit.command:acme"}},
        files={"acme_kit/command.py": "raise RuntimeError('imported')"},
    )
    assert imported(["--help"], ("acme_kit", "acme_kit.plugin", "acme_kit.command"), str(site.path)) == []


@pytest.mark.parametrize("arguments", [["plugins"], ["plugins", "--json"], ["plugins", "--help"]])
def test_the_list_of_plugins_imports_no_backend(arguments: list[str]) -> None:
    names = (*HEAVY, "filterkit.contracts", "filterkit.builtin.local", "filterkit_postfilter.tiers")
    assert imported(arguments, names) == []


def test_the_public_modules_import_nothing_of_weight() -> None:
    code = "import sys, filterkit, filterkit.api; print(*[n for n in {names!r} if n in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code.format(names=HEAVY)], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []


def test_an_added_command_in_a_zip_is_found_too(cli: Any, tmp_path: Path) -> None:
    """The short cut past importlib.metadata must never hide a command."""
    (tmp_path / "site").mkdir()
    archive = tmp_path / "acme.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("acme_kit-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme-kit\nVersion: 1.0\n")
        file.writestr("acme_kit-1.0.dist-info/entry_points.txt", "[filterkit.commands]\nacme = acme_kit:acme\n")
        file.writestr(
            "acme_kit.py", "import click\nacme = click.Command('acme', callback=lambda: click.echo('hello'))\n"
        )
    assert "(from acme-kit 1.0)" in cli("--help", PYTHONPATH=str(archive)).stdout
    assert cli("acme", PYTHONPATH=str(archive)).stdout == "hello\n"


def test_one_broken_plugin_among_thirty_is_one_warning(cli: Any, site: Any) -> None:
    """What thirty cost is measured by benchmarks/startup.py."""
    for number in range(30):
        register = f"register('dummy-{number}', 'a.b:C')"
        source = f"from filterkit.api import hookimpl\n@hookimpl\ndef register_oracles(register): {register}\n"
        site.add(f"dummy-{number}", "1.0", plugin=source if number != 15 else "import a_module_that_is_not_there")
    result = cli("plugins")
    assert result.returncode == 0
    warned = result.stderr.splitlines()
    assert len(warned) == 1
    assert "dummy-15 1.0 is broken" in warned[0]
    assert result.stdout.count("dummy-") >= 29
