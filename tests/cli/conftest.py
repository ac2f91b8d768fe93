"""What tests of several commands share."""

from __future__ import annotations

import pytest
from batch_bench import Bench
from helpers import Inside, Workspace


@pytest.fixture
def bench(
    workspace: Workspace, toys: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    monkeypatch.chdir(workspace.root)
    return Bench(workspace, Inside(workspace.root, capsys))
