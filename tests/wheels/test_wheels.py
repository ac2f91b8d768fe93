"""The wheels of core, plugins and filter, built here and installed into an empty environment, do the job there."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORACLES = ("filterkit_gemini", "filterkit_openai", "filterkit_anthropic")
NOT_IN_THE_DEMO = (*ORACLES, "filterkit_qwen_lora", "filterkit_hf", "filterkit_serve")
DISTS = [ROOT, *sorted(p.parent for p in ROOT.glob("plugins/*/pyproject.toml")), ROOT / "filters" / "uplifting"]


def run(*command: object, cwd: Path, fails: bool = False) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "FILTERKIT"))}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        *DISTS,
        cwd=folder,
    )
    return folder


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Path:
    """The bin folder of an environment that holds the core's wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=True)
    core = next(wheels.glob("filterkit-*.whl"))
    run(folder / "bin" / "python", "-m", "pip", "install", "-q", core, cwd=folder)
    return folder / "bin"


def test_every_dist_has_a_wheel_with_a_licence(wheels: Path) -> None:
    found = sorted(wheels.glob("*.whl"))
    assert len(found) == len(DISTS)
    for wheel in found:
        names = zipfile.ZipFile(wheel).namelist()
        assert any("LICENSE" in name for name in names), wheel.name
        unwanted = [n for n in names if "/model/" in n or n.endswith(".pyc") or Path(n).match("test_*.py")]
        assert not unwanted, wheel.name


def test_core_alone_works_and_says_what_to_install(empty: Path, tmp_path: Path) -> None:
    listed = run(empty / "python", "-m", "pip", "list", cwd=tmp_path)
    assert "scikit-learn" not in listed
    assert "torch" not in listed
    assert "demo" in run(empty / "filterkit", "--help", cwd=tmp_path)
    assert "replay" in run(empty / "filterkit", "plugins", cwd=tmp_path)
    assert "pip install" in run(empty / "filterkit", "demo", cwd=tmp_path, fails=True)


def test_demo_runs_from_the_wheels(empty: Path, wheels: Path, tmp_path: Path) -> None:
    rest = [w for w in wheels.glob("*.whl") if not w.name.startswith(("filterkit-0", *NOT_IN_THE_DEMO))]
    run(empty / "python", "-m", "pip", "install", "-q", *rest, cwd=tmp_path)
    said = run(empty / "filterkit", "demo", cwd=tmp_path)
    assert "filterkit-demo" in said
    assert "The gates" in said
    assert "not_uplifting" in said
    assert len((tmp_path / "filterkit-demo" / "verdicts.jsonl").read_text().splitlines()) == 12
    assert "uplifting" in run(empty / "filterkit", "filters", cwd=tmp_path)


@pytest.mark.heavy
def test_oracles_come_with_their_sdks(empty: Path, wheels: Path, tmp_path: Path) -> None:
    run(empty / "python", "-m", "pip", "install", "-q", *(next(wheels.glob(f"{o}-*")) for o in ORACLES), cwd=tmp_path)
    run(
        empty / "python",
        "-c",
        "import filterkit_gemini.genai_client, filterkit_openai.oracle, filterkit_anthropic.oracle, json_repair",
        cwd=tmp_path,
    )
    for name in ("gemini", "openai", "anthropic"):
        assert "base_url" in run(empty / "filterkit", "plugins", "show", name, cwd=tmp_path)
