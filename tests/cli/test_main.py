"""The front door: help, mistakes, and commands that other dists add."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from filterkit.cli.main import COMMANDS

COMMAND = """
import click
@click.command()
@click.option("--name", default="you")
def acme(name):
    \"\"\"Greet.\"\"\"
    click.echo(f"hello {name}")
"""


def add_command(site: Any, dist: str = "acme-kit", name: str = "acme", source: str = COMMAND) -> None:
    module = dist.replace("-", "_")
    site.add(
        dist,
        "1.2",
        entry_points={"filterkit.commands": {name: f"{module}.command:acme"}},
        files={f"{module}/__init__.py": "", f"{module}/command.py": source},
    )


def test_help_lists_every_command(cli: Any) -> None:
    shown = cli("--help")
    assert shown.returncode == 0
    for name in COMMANDS:
        assert f"\n  {name} " in shown.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_own_help_begins_with_its_line_in_the_table(name: str) -> None:
    command = importlib.import_module(f"filterkit.cli.{name}").command
    first = " ".join(command.help.split("\n\n")[0].split())
    assert first.startswith(COMMANDS[name].rstrip("."))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["lable"], "Did you mean 'label'?"),
        (["plugins", "show"], "Missing argument 'NAME'"),
        (["check"], "name at least one filter"),
        (["--no-such-option"], "No such option"),
        (["label"], "articles"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(cli: Any, arguments: list[str], expected: str) -> None:
    result = cli(*arguments)
    assert result.returncode == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


def test_a_dist_can_add_a_command(cli: Any, site: Any) -> None:
    add_command(site)
    assert "acme" in cli("--help").stdout
    assert "(from acme-kit 1.2)" in cli("--help").stdout
    assert cli("acme", "--name", "Ada").stdout == "hello Ada\n"
    listed = json.loads(cli("plugins", "--json").stdout)
    assert {"kind": "command", "name": "acme", "dist": "acme-kit", "version": "1.2", "state": "ok"}.items() <= next(
        x for x in listed if x["name"] == "acme"
    ).items()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import no_such_sdk", "ModuleNotFoundError: No module named 'no_such_sdk'"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("acme = 1", "is not a click command"),
        ("other = 1", "AttributeError"),
    ],
)
def test_a_broken_added_command_says_whose_it_is_and_hurts_no_other(
    cli: Any, site: Any, source: str, expected: str
) -> None:
    add_command(site, source=source)
    result = cli("acme")
    assert result.returncode == 2
    assert "command 'acme' of acme-kit 1.2" in result.stderr
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert cli("--help").returncode == 0
    assert cli("plugins").returncode == 0


def test_a_command_that_two_dists_claim_names_both(cli: Any, site: Any) -> None:
    add_command(site, "acme-one")
    add_command(site, "acme-two")
    result = cli("acme")
    assert result.returncode == 2
    assert "claimed by acme-one 1.2 and acme-two 1.2" in result.stderr
    assert cli("acme", FILTERKIT_DISABLE_PLUGINS="acme_two").stdout == "hello you\n"


def test_no_dist_can_replace_a_command_of_filterkit(cli: Any, site: Any) -> None:
    add_command(site, name="filters", source="raise RuntimeError('called')")
    assert cli("filters").returncode == 0
    listed = json.loads(cli("plugins", "--json").stdout)
    (line,) = [x for x in listed if x["kind"] == "command" and x["name"] == "filters"]
    assert line["state"] == "conflict"


def test_a_switched_off_command_is_gone(cli: Any, site: Any) -> None:
    add_command(site)
    off = {"FILTERKIT_DISABLE_PLUGINS": "acme-kit"}
    assert "acme" not in cli("--help", **off).stdout
    assert cli("acme", **off).returncode == 2
    assert "switched off by FILTERKIT_DISABLE_PLUGINS" in cli("plugins", **off).stdout


@pytest.mark.parametrize("arguments", ["plugins", "--help"])
def test_a_reader_that_goes_away_is_no_bug(arguments: str) -> None:
    code = f"from filterkit.cli.main import main; main(['{arguments}'])"
    command = f'"{sys.executable}" -c "{code}" | true; echo "${{PIPESTATUS[0]}}"'
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "141"
    assert result.stderr == ""


def test_an_error_keeps_its_exit_code_when_nobody_reads_it(tmp_path: Path) -> None:
    command = f"({sys.executable} -m filterkit train nosuchfilter 2>&1; echo $? > code) | true"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "code").read_text().strip() == "2"
