"""docs/reference is what docs/generate.py writes from the code of today."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from pages import DOCS, import_file

from filterkit.plugins import plugins


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py, imported."""
    sys.path.insert(0, str(DOCS))
    try:
        return import_file("docs_generate", DOCS / "generate.py")
    finally:
        sys.path.remove(str(DOCS))


def stale(made: dict[str, str]) -> list[str]:
    """Names of pages that are not on disk as they were made."""
    return [name for name, text in made.items() if (DOCS / "reference" / name).read_text(encoding="utf-8") != text]


def test_the_reference_is_up_to_date(generate: ModuleType) -> None:
    missing = generate.own_dists() - {plugin.dist for plugin in plugins().found if plugin.state == "ok"}
    assert not missing, f"the reference tells their options; install {missing}"
    assert not stale(generate.pages()), "run `make docs` and commit what it writes"


def test_a_stale_page_is_seen(generate: ModuleType) -> None:
    made = generate.pages()
    made["hooks.md"] = made["hooks.md"].replace("before_deploy", "before_dinner")
    assert "hooks.md" in stale(made)


def test_no_page_is_left_over(generate: ModuleType) -> None:
    assert {page.name for page in (DOCS / "reference").glob("*.md")} == set(generate.pages()) | {"README.md"}
