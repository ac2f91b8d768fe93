"""`python -I guarded.py TOOLKIT FOLDER`: TOOLKIT serves FOLDER's handler; only FOLDER's filterkit can be imported.

For tests in an interpreter that has filterkit and its plugins installed: an endpoint has not.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

NOT_THERE = {"click", "pluggy", "yaml", "rich"}
"""What the core needs besides, and a shipped student does not."""


class Guard:
    """First on sys.meta_path."""

    def __init__(self, folder: Path) -> None:
        self._runtime = str(folder.resolve() / "runtime")

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for what may be imported as usual."""
        top = name.partition(".")[0]
        if top in NOT_THERE and "torch" not in sys.modules:
            raise ModuleNotFoundError(f"{name} is not on an endpoint", name=name)
        if not top.startswith("filterkit"):
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or not (spec.origin or "").startswith(self._runtime):
            raise ModuleNotFoundError(f"{name} is not in runtime/", name=name)
        return spec


if __name__ == "__main__":
    toolkit, folder = sys.argv[1:]
    sys.meta_path.insert(0, Guard(Path(folder)))  # type: ignore[arg-type]
    sys.argv = [toolkit, folder]
    runpy.run_path(toolkit, run_name="__main__")
