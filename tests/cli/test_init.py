"""filterkit init: a workspace whose every line is true and read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from filterkit.config import KINDS, Settings, load_config
from filterkit.options import check_options
from filterkit.plugins import plugins


def test_a_workspace_is_made(cli: Any, tmp_path: Path) -> None:
    result = cli("init", "ws")
    assert result.returncode == 0, result.stderr
    assert sorted(p.name for p in (tmp_path / "ws").iterdir()) == [
        ".gitignore",
        "datasets",
        "filterkit.yaml",
        "filters",
        "sandbox",
        "students",
    ]
    assert "cd ws" in result.stdout
    assert cli("config", "--workspace", "ws").returncode == 0


def test_a_second_run_changes_nothing_and_says_what_is_there(cli: Any, tmp_path: Path) -> None:
    cli("init", "ws")
    (tmp_path / "ws" / "filterkit.yaml").write_text("store: mine.db\n")
    (tmp_path / "ws" / ".gitignore").unlink()
    result = cli("init", "ws")
    assert result.returncode == 0
    assert (tmp_path / "ws" / "filterkit.yaml").read_text() == "store: mine.db\n"
    assert (tmp_path / "ws" / ".gitignore").exists()
    lines = result.stdout.splitlines()
    assert "kept   ws/filterkit.yaml (was there already)" in lines
    assert "made   ws/.gitignore" in lines


def test_a_file_in_the_way_is_one_line(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "ws").write_text("in the way")
    result = cli("init", "ws")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_what_the_file_says_is_what_holds_without_it(cli: Any, tmp_path: Path) -> None:
    cli("init", "ws")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert load_config(tmp_path / "ws").to_dict() == load_config(empty).to_dict()


def test_every_example_in_the_file_is_read(cli: Any, tmp_path: Path) -> None:
    cli("init", "ws")
    file = tmp_path / "ws" / "filterkit.yaml"
    file.write_text(re.sub(r"(?m)^#(?=\S| {2})", "", file.read_text()))
    data = yaml.safe_load(file.read_text())
    assert set(data) == (set(KINDS) | set(Settings.model_fields)) - {"embedder"}
    config = load_config(tmp_path / "ws")
    for kind in ("oracle", "deployer", "executor"):
        name, options = config.backend(kind)
        assert options
        check_options(plugins().load(kind, name), kind, name, options)


def test_nothing_that_is_paid_for_or_private_goes_into_git(cli: Any, tmp_path: Path) -> None:
    import subprocess

    cli("init", "ws")
    ws = tmp_path / "ws"
    subprocess.run(["git", "init", "-q", str(ws)], check=True)
    kept_out = ["labels.db", "labels.db-wal", "datasets/a.jsonl", "students/x/model.safetensors", "sandbox/a.txt"]
    kept_out += ["filters/news/v1/model/weights.safetensors", "a.rejected.jsonl", "deployments/x/current.json"]
    kept_in = ["filterkit.yaml", "filters/news/v1/filter.yaml", "filters/news/v1/prompt.md"]
    for name in [*kept_out, *kept_in]:
        (ws / name).parent.mkdir(parents=True, exist_ok=True)
        (ws / name).touch()
    command = ["git", "-C", str(ws), "ls-files", "--others", "--exclude-standard"]
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert sorted(seen) == sorted([*kept_in, ".gitignore"])
