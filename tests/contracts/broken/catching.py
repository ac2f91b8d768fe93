"""Says which test of a suite must catch a broken backend, and puts the suite in front of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def caught_by(test: str) -> Callable[[type], type]:
    """Marks a broken backend with the one test that it is there for."""

    def mark(backend: type) -> type:
        backend.caught_by = test  # type: ignore[attr-defined]
        return backend

    return mark


def expose(module: dict[str, Any], suite: type) -> None:
    """A test class `TestX(suite)` in `module` for every backend X there that was marked."""
    marked = [value for value in module.values() if isinstance(value, type) and "caught_by" in vars(value)]
    for backend in marked:
        fixture = pytest.fixture(lambda self, backend=backend: backend)
        module[f"Test{backend.__name__}"] = type(f"Test{backend.__name__}", (suite,), {"backend": fixture})
