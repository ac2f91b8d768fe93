"""filterkit new: skeletons that can be installed and pass their own tests at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from filterkit.skeleton import PLUGIN_KINDS


def install(source: Path, target: Path) -> None:
    """Build and install a dist into a folder, as a user's pip would."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True, timeout=120)


def own_tests(source: Path, site: Path | None) -> str:
    """The last line of a dist's own tests, run from its folder with what is installed in `site`."""
    env = {**os.environ, "PYTHONPATH": str(site or "")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=source, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_a_new_plugin_installs_and_passes_its_own_tests(cli: Any, tmp_path: Path, kind: str) -> None:
    made = cli("new", "plugin", "my-own", "--kind", kind)
    assert made.returncode == 0, made.stderr
    source = tmp_path / "filterkit-my-own"
    install(source, tmp_path / "site")
    (line,) = [x for x in json.loads(cli("plugins", "--json").stdout) if x["name"] == "my-own" and x["kind"] == kind]
    assert (line["dist"], line["version"], line["state"]) == ("filterkit-my-own", "0.1.0", "ok")
    assert cli("plugins", "show", "my-own").returncode == 0
    assert "passed" in own_tests(source, tmp_path / "site")
    assert "@" not in "".join(p.name for p in source.rglob("*"))


def test_a_new_trainer_brings_its_model(cli: Any, tmp_path: Path) -> None:
    cli("new", "plugin", "my-own", "--kind", "trainer")
    install(tmp_path / "filterkit-my-own", tmp_path / "site")
    listed = json.loads(cli("plugins", "show", "my-own", "--json").stdout)
    assert [x["kind"] for x in listed] == ["model", "trainer"]


def test_a_new_filter_installs_and_passes_its_own_tests(cli: Any, tmp_path: Path) -> None:
    made = cli("new", "filter", "good-news", "--dir", "filters")
    assert made.returncode == 0, made.stderr
    source = tmp_path / "filters" / "good-news"
    assert cli("check", source / "v1").returncode == 0
    assert "passed" in own_tests(source, None)
    (source / "v1" / "model").mkdir()
    (source / "v1" / "model" / "weights.safetensors").write_bytes(b"a student, which never travels with its filter")
    install(source, tmp_path / "site")
    assert cli("check", "good-news").stdout == "good-news: nothing is wrong\n"
    (row,) = [r for r in json.loads(cli("filters", "--json").stdout) if r["name"] == "good-news"]
    assert (row["version"], row["from"]) == ("1", "filterkit-filter-good-news 0.1.0")
    assert sorted(p.name for p in Path(row["path"]).iterdir()) == ["filter.yaml", "prompt.md"]


def test_the_own_tests_of_a_filter_see_what_is_wrong(cli: Any, tmp_path: Path) -> None:
    cli("new", "filter", "news")
    spec = tmp_path / "news" / "v1" / "filter.yaml"
    spec.write_text(spec.read_text().replace("weight: 0.6", "weight: 0.7"))
    with pytest.raises(AssertionError, match=r"sum to 1\.1"):
        own_tests(tmp_path / "news", None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["filter", "Good News"], "no name for a filter"),
        (["filter", "../escape"], "no name for a filter"),
        (["filter", "news-"], "no name for a filter"),
        (["filter", "n" * 65], "no name for a filter"),
        (["plugin", "my_oracle"], "no name for a backend"),
        (["plugin", "3d"], "no name for a backend"),
        (["plugin", "x/y"], "no name for a backend"),
        (["plugin", "gemini"], "belongs to filterkit-gemini"),
        (["plugin", "postfilter"], "belongs to filterkit-postfilter"),
        (["plugin", "replay"], "belongs to filterkit 0.1.0"),
        (["plugin", "x", "--kind", "oracel"], "is not one of"),
    ],
)
def test_a_name_that_will_not_do_is_refused(cli: Any, tmp_path: Path, arguments: list[str], expected: str) -> None:
    result = cli("new", *arguments)
    assert result.returncode == 2
    assert expected in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("what", "folder"), [("filter", "news"), ("plugin", "filterkit-news")])
def test_nothing_is_overwritten(cli: Any, tmp_path: Path, what: str, folder: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "README.md").write_text("mine")
    result = cli("new", what, "news")
    assert result.returncode == 2
    assert f"{folder}: is there already" in result.stderr
    assert [p.name for p in (tmp_path / folder).iterdir()] == ["README.md"]
    assert (tmp_path / folder / "README.md").read_text() == "mine"
