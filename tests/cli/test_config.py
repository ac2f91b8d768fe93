"""filterkit config: what is in force, and where it came from. filterkit filters: what is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILTER = """\
schema: 1
name: news
version: "1"
dimensions: [{name: help, weight: 1}]
oracle: {use: replay, labels: [a.jsonl]}
gates: {mae: 1.0}
"""


def workspace(root: Path, text: str) -> None:
    """A workspace with a filter."""
    (root / "filterkit.yaml").write_text(text)
    (root / "news").mkdir()
    (root / "news" / "filter.yaml").write_text(FILTER)
    (root / "news" / "prompt.md").write_text("Score.\n{{article}}\n")


def test_every_value_is_shown_with_where_it_came_from(cli: Any, tmp_path: Path) -> None:
    workspace(tmp_path, "store: mine.db\noracle:\n  timeout_s: 5\n")
    result = cli("config", "news", "-O", "trainer.landmarks=300", FILTERKIT_LABEL__CONCURRENCY="8")
    assert result.returncode == 0, result.stderr
    rows = {line.split()[0]: line.split(None, 2)[1:] for line in result.stdout.splitlines()}
    assert rows["store"] == ['"mine.db"', "filterkit.yaml:1"]
    assert rows["oracle.use"] == ['"replay"', "filter news"]
    assert rows["oracle.timeout_s"] == ["5", "filterkit.yaml:3"]
    assert rows["label.concurrency"] == ["8", "FILTERKIT_LABEL__CONCURRENCY"]
    assert rows["label.max_attempts"] == ["4", "default"]
    assert rows["trainer.landmarks"] == ["300", "command line"]
    assert rows["gates.mae"] == ["1.0", "filter news"]
    assert rows["gates.median_gain"] == ["0.05", "default"]


def test_a_loosened_gate_is_told(cli: Any, tmp_path: Path) -> None:
    workspace(tmp_path, "gates: {mae: 2}\n")
    result = cli("config", "news")
    assert "Note: gate mae was loosened by the workspace from 1 to 2" in result.stdout
    found = json.loads(cli("config", "news", "--json").stdout)
    assert (found["values"]["gates"]["mae"], found["values"]["gates"]["median_gain"]) == (2.0, 0.05)
    assert found["origins"]["gates.mae"] == "filterkit.yaml:1"
    assert len(found["loosened_gates"]) == 1


def test_an_option_that_no_one_reads_is_an_error(cli: Any, tmp_path: Path) -> None:
    workspace(tmp_path, "executor:\n  use: local\n  workes: 3\n")
    result = cli("config")
    assert result.returncode == 2
    assert "filterkit.yaml:3: executor local: unknown key 'workes'; did you mean 'workers'?" in result.stderr


def test_a_section_that_no_one_reads_is_an_error(cli: Any, tmp_path: Path) -> None:
    workspace(tmp_path, "stroe: x\n")
    result = cli("config")
    assert result.returncode == 2
    assert result.stderr == "Error: filterkit.yaml:1: unknown key 'stroe'. Did you mean 'store'?\n"


def test_secrets_are_never_shown(cli: Any, tmp_path: Path) -> None:
    workspace(tmp_path, "")
    secret = "sk-hunter2"
    shown = cli("config", "--json", GEMINI_API_KEY=secret, HF_TOKEN=secret)
    assert shown.returncode == 0
    assert secret not in shown.stdout + shown.stderr
    for env in ({"FILTERKIT_ORACLE__API_KEY": secret}, {"FILTERKIT_DEPLOYER__TOKEN": secret}):
        refused = cli("config", **env)
        assert refused.returncode == 2
        assert "looks like a secret" in refused.stderr
        assert secret not in refused.stdout + refused.stderr
    refused = cli("config", "-O", f"oracle.api_key={secret}")
    assert refused.returncode == 2
    assert secret not in refused.stdout + refused.stderr


def test_another_workspace_can_be_named(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "filterkit.yaml").write_text("store: theirs.db\n")
    for result in (cli("config", "--workspace", "other"), cli("config", FILTERKIT_WORKSPACE="other")):
        assert "theirs.db" in result.stdout
    missing = cli("config", "--workspace", "nowhere")
    assert missing.returncode == 2
    assert "filterkit init nowhere" in missing.stderr


def test_installed_filters_are_listed(cli: Any, site: Any) -> None:
    files = {f"acme_news/v{v}/{name}": text for v in (1, 2) for name, text in (("filter.yaml", FILTER),)}
    site.add("acme-news", "3.0", entry_points={"filterkit.filters": {"news": "acme_news"}}, files=files)
    site.add("acme-lost", entry_points={"filterkit.filters": {"lost": "no_such_package"}})
    result = cli("filters")
    assert result.returncode == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["news", "1", "acme-news", "3.0", str(site.path / "acme_news" / "v1")] in lines
    assert ["news", "2", "acme-news", "3.0", str(site.path / "acme_news" / "v2")] in lines
    assert any("broken" in line for line in result.stdout.splitlines() if line.startswith("lost"))
    found = json.loads(cli("filters", "--json").stdout)
    assert [r["version"] for r in found if r["name"] == "news"] == ["1", "2"]
