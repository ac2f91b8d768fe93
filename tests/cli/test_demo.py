"""The demo, both ways it can end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filterkit.cli.main import run


def test_the_gates_refuse_and_then_let_it_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", str(tmp_path / "demo")]) == 0
    refused = capsys.readouterr().out
    assert "The gates refuse this student." in refused
    assert "not deployed:" in refused
    assert not (tmp_path / "demo/deployments").exists()
    verdicts = [json.loads(line) for line in (tmp_path / "demo/verdicts.jsonl").read_text().splitlines()]
    assert len(verdicts) == 12
    assert {v["tier"] for v in verdicts} == {"impact", "connection", "not_uplifting"}

    monkeypatch.setenv("FILTERKIT_GATES__MAE", "9")
    assert run(["demo", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr()
    assert "416 were already" in said.out, "nothing is asked again"
    assert "The gates passed." in said.out
    assert "live:" in said.out
    assert "loosened by the workspace from 1 to 9" in said.err
    assert (tmp_path / "demo/deployments/uplifting/current.json").is_file()
