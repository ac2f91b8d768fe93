"""Filter packages: found by path and by name, read as data, and told all that is wrong with them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from filterkit.errors import SpecError
from filterkit.filters import MAX_PROMPT_BYTES, check_filter, find_filter, installed_filters, load_filter

YAML = """\
schema: 1
name: {name}
version: "{version}"
dimensions:
  - {{name: help, weight: 1}}
"""
RUBRIC = "Score help.\n\n{{article}}\n"


def make_filter(folder: Path, text: str = YAML.format(name="news", version="1"), prompt: str | bytes = RUBRIC) -> Path:
    """A filter package's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "filter.yaml").write_text(text, encoding="utf-8")
    (folder / "prompt.md").write_bytes(prompt.encode() if isinstance(prompt, str) else prompt)
    return folder


def install(site: Any, name: str, *versions: str, dist: str | None = None, init: str | None = None) -> str:
    """A dist that brings a filter in some versions."""
    package = f"{(dist or f'acme-{name}').replace('-', '_')}_data"
    files: dict[str, str] = {} if init is None else {f"{package}/__init__.py": init}
    for version in versions:
        files[f"{package}/v{version}/filter.yaml"] = YAML.format(name=name, version=version)
        files[f"{package}/v{version}/prompt.md"] = RUBRIC
    site.add(dist or f"acme-{name}", entry_points={"filterkit.filters": {name: package}}, files=files)
    return package


def test_a_filter_is_found_by_its_folder_or_its_file(tmp_path: Path) -> None:
    folder = make_filter(tmp_path / "news" / "v1")
    for way in (folder, folder / "filter.yaml", str(folder), tmp_path / "news"):
        assert load_filter(way).name == "news"


def test_the_folder_of_several_versions_stands_for_the_highest(tmp_path: Path) -> None:
    for version in ("1", "9", "10", "2-rc1", "10-rc1"):
        make_filter(tmp_path / "news" / f"v{version}", YAML.format(name="news", version=version))
    assert load_filter(tmp_path / "news").spec.version == "10"


def test_a_folder_without_a_filter_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"holds no filter\.yaml"):
        find_filter(tmp_path)


def test_an_installed_filter_is_found_by_name_and_version(local_site: Any) -> None:
    install(local_site, "news", "1", "9", "10")
    assert load_filter("news").spec.version == "10"
    assert load_filter("news@9").spec.version == "9"
    with pytest.raises(SpecError, match=r"no version '3'\. There is: 1, 9, 10"):
        load_filter("news@3")


def test_finding_an_installed_filter_runs_none_of_its_code(local_site: Any, tmp_path: Path) -> None:
    package = install(local_site, "news", "1", init=f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert load_filter("news").name == "news"
    assert not (tmp_path / "ran").exists()
    assert package not in sys.modules


def test_not_even_a_parent_package_is_run(local_site: Any, tmp_path: Path) -> None:
    files = {"acme_parent/__init__.py": f"open({str(tmp_path / 'ran')!r}, 'w')", "acme_parent/data/v1/filter.yaml": ""}
    local_site.add("acme", entry_points={"filterkit.filters": {"nested": "acme_parent.data"}}, files=files)
    assert [row[2] for row in installed_filters() if row[0] == "nested"] == [None]
    assert not (tmp_path / "ran").exists()


def test_a_misspelt_name_gets_a_guess(local_site: Any) -> None:
    install(local_site, "newsworthy", "1")
    with pytest.raises(SpecError, match=r"no installed filter 'newswothy'\. Did you mean 'newsworthy'\?"):
        load_filter("newswothy")
    with pytest.raises(SpecError, match=r"Known filters: .*newsworthy"):
        load_filter("zzz")


def test_a_name_that_two_dists_claim_is_an_error_that_names_both(local_site: Any) -> None:
    install(local_site, "news", "1", dist="acme-one")
    install(local_site, "news", "2", dist="acme-two")
    with pytest.raises(SpecError, match=r"claimed by acme-one 1\.0 and acme-two 1\.0"):
        load_filter("news")


@pytest.mark.parametrize("value", ["no_such_package", "os.path", "acme_empty:thing", "acme_empty_data"])
def test_a_broken_filter_dist_is_listed_as_broken(local_site: Any, value: str) -> None:
    local_site.add(
        "acme-empty", entry_points={"filterkit.filters": {"empty": value}}, files={"acme_empty_data/__init__.py": ""}
    )
    (row,) = [r for r in installed_filters() if r[0] == "empty"]
    assert row[2] is None
    assert "acme-empty 1.0: broken" in row[3]
    with pytest.raises(SpecError):
        load_filter("empty")


def test_all_that_is_wrong_is_said_at_once_with_its_line(tmp_path: Path) -> None:
    text = """\
schema: 1
name: News
version: 1
dimensions:
  - {name: help, weight: 0.5}
  - name: novelty
    wieght: 0.5
scael: {min: 0}
"""
    folder = make_filter(tmp_path / "f", text)
    said = [line.removeprefix(f"{folder}/") for line in check_filter(folder)]
    assert [line.split(": ")[0] for line in sorted(said)] == [
        "filter.yaml:2",
        "filter.yaml:3",
        "filter.yaml:7",
        "filter.yaml:8",
    ]
    assert "filter.yaml:7: unknown key 'dimensions.1.wieght'; did you mean 'weight'?" in said
    assert "filter.yaml:8: unknown key 'scael'; did you mean 'scale'?" in said
    with pytest.raises(SpecError, match=r"\(and 3 more\)\. `filterkit check .*` lists everything"):
        load_filter(folder)


def test_a_fault_in_an_item_is_not_told_twice_and_the_rubric_is_checked_too(tmp_path: Path) -> None:
    text = YAML.format(name="news", version="1").replace("weight: 1", "weight: -1")
    folder = make_filter(tmp_path / "f", text, prompt="no place for it")
    first, second = check_filter(folder)
    assert first.startswith(f"{folder}/filter.yaml:5: dimensions.0.weight: ")
    assert second.startswith(f"{folder}/prompt.md: must hold")


def test_what_only_the_whole_shows_has_lines_too(tmp_path: Path) -> None:
    text = YAML.format(name="news", version="1").replace("weight: 1", "weight: 0.4, anchors: {12: x}")
    folder = make_filter(tmp_path / "f", text, prompt="no place for it")
    said = check_filter(folder)
    assert said == [
        f"{folder}/filter.yaml:5: anchor 12 of 'help' lies outside of the scale",
        f"{folder}/filter.yaml:4: the weights of the scores sum to 0.4, not to 1",
        f"{folder}/prompt.md: must hold {{{{article}}}} exactly once, not 0 times",
    ]


PROMPTS: dict[str, tuple[str | bytes, str]] = {
    "no placeholder": ("Score it.", "exactly once, not 0 times"),
    "two placeholders": ("{{article}} and {{article}}", "exactly once, not 2 times"),
    "placeholder in the middle": ("Score it.\n{{article}}\nNow answer.", "must end with {{article}}"),
    "nothing but the placeholder": ("\n {{article}}", "has no rubric"),
    "not UTF-8": (b"Score caf\xe9 {{article}}", "is not UTF-8 (byte 9)"),
    "gigantic": (b"x" * MAX_PROMPT_BYTES + b"{{article}}", "larger than 500,000 bytes"),
}


@pytest.mark.parametrize("case", PROMPTS)
def test_a_rubric_that_cannot_be_asked_is_refused(tmp_path: Path, case: str) -> None:
    prompt, expected = PROMPTS[case]
    folder = make_filter(tmp_path / "f", prompt=prompt)
    (said,) = check_filter(folder)
    assert said.startswith(f"{folder}/prompt.md: ")
    assert expected in said


@pytest.mark.parametrize("name", ["../secret.md", "/etc/passwd", ".", "", "link.md", "sub/../../secret.md"])
def test_a_rubric_outside_of_the_package_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.md").write_text(RUBRIC)
    text = YAML.format(name="news", version="1") + f"prompt: {name!r}\n"
    folder = make_filter(tmp_path / "f", text)
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    (said,) = check_filter(folder)
    assert said.startswith(f"{folder}/filter.yaml:6: ")
    assert "leads outside of the folder" in said


def test_a_missing_rubric_is_named(tmp_path: Path) -> None:
    folder = make_filter(tmp_path / "f")
    (folder / "prompt.md").unlink()
    (said,) = check_filter(folder)
    assert said == f"{folder}/prompt.md: cannot be read (No such file or directory)"


def test_broken_yaml_is_one_problem_with_a_line(tmp_path: Path) -> None:
    folder = make_filter(tmp_path / "f", "schema: 1\nname: [x\n")
    (said,) = check_filter(folder)
    assert said.startswith(f"{folder}/filter.yaml:")


def test_the_rubric_reads_the_same_whatever_its_line_ends(tmp_path: Path) -> None:
    unix = load_filter(make_filter(tmp_path / "a"))
    windows = load_filter(make_filter(tmp_path / "b", prompt=b"\xef\xbb\xbf" + RUBRIC.replace("\n", "\r\n").encode()))
    assert windows.prompt == unix.prompt
    assert windows.request_hash() == unix.request_hash()


def test_a_filter_that_was_loaded_can_be_asked_about(tmp_path: Path) -> None:
    loaded = load_filter(make_filter(tmp_path / "f"))
    assert loaded.rubric == "Score help.\n\n"
    assert yaml.safe_load((loaded.path / "filter.yaml").read_text())["name"] == loaded.name
