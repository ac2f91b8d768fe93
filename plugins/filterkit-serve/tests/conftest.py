"""A place with students, and a server that tests share which leave it as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the tests' own helpers: pytest's importlib mode leaves this out

from running import Place, Running, make_place


@pytest.fixture(scope="session")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Nothing in it is changed."""
    return make_place(tmp_path_factory.mktemp("serve") / "place")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """One's own."""
    return make_place(tmp_path / "place")


@pytest.fixture(scope="module")
def server(shared_place: Place) -> Iterator[Running]:
    """Two filters, with bounds that a test reaches."""
    with shared_place.serve("--max-inputs", "50", "--max-queue", "100", filters=("tiny", "other")) as running:
        yield running
