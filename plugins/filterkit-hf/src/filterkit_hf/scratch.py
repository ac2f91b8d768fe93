"""A folder for what was downloaded, which is gone afterwards, even when a run before this one was killed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from filterkit.api import Lock

_PREFIX = "fetched-"


class Scratch:
    """At most one folder below `root`. Those of runs that are no more, by their locks, are removed with it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: tuple[Path, Lock] | None = None

    def make(self) -> Path:
        """A new empty folder, in place of the one before."""
        self.drop()
        self._root.mkdir(parents=True, exist_ok=True)
        for path in self._root.glob(f"{_PREFIX}*.lock"):
            self._sweep(path)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._root))
        lock = Lock(folder.with_name(f"{folder.name}.lock"))
        lock.acquire()
        self._made = (folder, lock)
        return folder

    def drop(self) -> None:
        """Remove the folder. Harmless where there is none."""
        if self._made is not None:
            folder, lock = self._made
            shutil.rmtree(folder, ignore_errors=True)
            lock.path.unlink(missing_ok=True)
            lock.release()
            self._made = None

    def _sweep(self, path: Path) -> None:
        lock = Lock(path)
        if lock.acquire():
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)
            lock.release()
