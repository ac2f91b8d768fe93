"""What tests of several rooms share: dists that are found as installed ones are, and the command line as a process."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from helpers import Inside, Workspace, dist

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a shell, we ignore Ctrl-C, and so would every process that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Site:
    """A folder of dists: real metadata, found by importlib.metadata once the folder is on the path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def add(
        self,
        dist: str,
        version: str = "1.0",
        *,
        plugin: str | None = None,
        entry_points: Mapping[str, Mapping[str, str]] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> str:
        """Install a dist. `plugin` is the source of its plugin module; the module's name is returned."""
        module = dist.replace("-", "_")
        groups = {group: dict(entries) for group, entries in (entry_points or {}).items()}
        written = dict(files or {})
        if plugin is not None:
            groups.setdefault("filterkit", {})[dist] = f"{module}.plugin"
            written |= {f"{module}/__init__.py": "", f"{module}/plugin.py": plugin}
        info = self.path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
        lines = [line for g, e in groups.items() for line in [f"[{g}]", *(f"{k} = {v}" for k, v in e.items())]]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, text in written.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return module


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Dists for `cli` to find; nothing in this process sees them."""
    return Site(tmp_path / "site")


@pytest.fixture
def local_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Dists that this process finds too, until the test ends."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(site.path))
    yield site
    for name in set(sys.modules) - before:
        if str(site.path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Runs `filterkit ARGS…` as a process that finds the dists of `site`, if there are any."""

    def run(*args: object, cwd: Path = tmp_path, **env: str) -> subprocess.CompletedProcess[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("FILTERKIT_")}
        return subprocess.run(
            [sys.executable, "-c", "from filterkit.cli.main import main; main()", *map(str, args)],
            cwd=cwd,
            env={**inherited, "PYTHONPATH": str(tmp_path / "site"), **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


@pytest.fixture(scope="session")
def toy_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toys, installed in a folder."""
    return dist(tmp_path_factory.mktemp("toys") / "site")


@pytest.fixture
def toys(toy_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toys, known in this process until the test ends."""
    monkeypatch.syspath_prepend(str(toy_site))
    monkeypatch.setattr("filterkit.plugins._plugins", None)


@pytest.fixture
def workspace(tmp_path: Path, toy_site: Path) -> Workspace:
    """An empty workspace with the tiny filter."""
    root = tmp_path / "workspace"
    root.mkdir()
    return Workspace(root, toy_site)


@pytest.fixture(scope="session")
def _validated(tmp_path_factory: pytest.TempPathFactory, toy_site: Path) -> Path:
    root = tmp_path_factory.mktemp("validated") / "workspace"
    root.mkdir()
    Workspace(root, toy_site).validated()
    return root


@pytest.fixture
def ready(tmp_path: Path, toy_site: Path, _validated: Path) -> Workspace:
    """A workspace of its own with labels.jsonl, data/ and a validated student/."""
    shutil.copytree(_validated, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace", toy_site)


@pytest.fixture(scope="session")
def _two_students(tmp_path_factory: pytest.TempPathFactory, toy_site: Path, _validated: Path) -> Path:
    root = tmp_path_factory.mktemp("two") / "workspace"
    shutil.copytree(_validated, root)
    workspace = Workspace(root, toy_site)
    workspace.ok("prepare", "tiny/v1", "--labels", "labels.jsonl", "--output-dir", "data2", "--seed", "7")
    workspace.ok("train", "tiny/v1", "--data-dir", "data2", "--output-dir", "second")
    workspace.ok("validate", "tiny/v1", "--data-dir", "data2", "--student", "second")
    return root


@pytest.fixture
def two(
    tmp_path: Path, _two_students: Path, toys: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Inside:
    """The command line in a workspace with two validated students, student/ and second/."""
    shutil.copytree(_two_students, tmp_path / "workspace")
    monkeypatch.chdir(tmp_path / "workspace")
    return Inside(tmp_path / "workspace", capsys)
