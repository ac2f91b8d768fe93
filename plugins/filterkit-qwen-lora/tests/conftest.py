"""Tiny checkpoints for the tests of this plugin."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the tests' own helpers: pytest's importlib mode leaves this out


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Family -> folder of its tiny checkpoint (see checkpoints.py), made once a session. Read only."""
    from checkpoints import make_checkpoint

    root = tmp_path_factory.mktemp("checkpoints")

    def find(family: str) -> Path:
        folder = root / family
        return folder if folder.exists() else make_checkpoint(folder, family)

    return find
