"""A process that serves a revision of a repository, as the container of an Inference Endpoint does."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from filterkit.testing.fake_hub import toolkit
from filterkit.testing.fake_hub.state import State
from filterkit.testing.fake_hub.storage import Commit

_PASSED_ON = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
STOP_S = 10.0


class Container:
    """A started process: it is `ready`, or `failed`, or neither yet. variables: of its environment, besides the few
    that every process needs: it sees no token and no package of the one that started it."""

    def __init__(self, state: State, commit: Commit, variables: Mapping[str, str]) -> None:
        self._folder = state.folder / f"container-{secrets.token_hex(4)}"
        self._folder.mkdir()
        with state.lock:
            for path, file in commit.files.items():
                target = self._folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(state.objects.path(file.stored), target)
        self._errors = self._folder.with_suffix(".errors")
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(state.settings.python), "-I", toolkit.__file__, str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                env=environment | dict(variables),
                cwd=self._folder,
            )

    @property
    def ready(self) -> bool:
        """It serves."""
        return not self.failed and self._port.exists()

    @property
    def failed(self) -> bool:
        """It has ended."""
        return self._process.poll() is not None

    @property
    def log(self) -> str:
        """The end of what it wrote."""
        return self._errors.read_text("utf-8", "replace")[-2000:]

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self._port.read_text()}"

    @property
    def _port(self) -> Path:
        return self._folder.with_suffix(".port")

    def stop(self) -> None:
        """End it and remove its files."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
