"""Links lead somewhere, and what stands in a page as code is code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pages import DOCS, ROOT, Block, all_pages, anchors, blocks, prose

from filterkit.config import KINDS, Settings
from filterkit.spec import FilterSpec, problems
from filterkit.yamlfile import loads

PAGES = all_pages()
INFOS = {"python", "python run", "yaml", "json", "text", "sh", "console", "toml", ""}
"""`python` compiles, `python run` runs, yaml, json and toml parse, `console` and `sh` in the README's tour run."""

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def broken_links(page: Path, text: str) -> list[str]:
    """Links to files or headings that are not there. Links to the web are not followed."""
    wrong = []
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", prose(text))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        there = text if target == page else target.read_text(encoding="utf-8") if anchor and target.is_file() else ""
        if not target.exists() or (anchor and anchor not in anchors(there)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not broken_links(page, text)


def test_a_broken_link_is_seen() -> None:
    text = "# Here\n\n[a](#here) [b](#there) [c](README.md) [d](../NO.md) `[e](nowhere)`\n"
    assert broken_links(DOCS / "README.md", text) == ["#there", "../NO.md"]


def test_every_page_of_docs_is_linked_from_another() -> None:
    linked = set()
    for page in PAGES:
        for link in LINK.findall(prose(page.read_text(encoding="utf-8"))):
            linked.add((page.parent / link.partition("#")[0]).resolve())
    alone = [p for p in DOCS.rglob("*.md") if p.resolve() not in linked and p.parent.name != "_intro"]
    assert not alone


ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]


@pytest.mark.parametrize("block", ALL_BLOCKS, ids=lambda b: b.where)
def test_blocks_are_what_they_say(block: Block) -> None:
    assert block.info in INFOS, f"{block.where}: unknown kind of block {block.info!r}"
    check(block)


def check(block: Block) -> None:
    """Raises when the block is no valid text of its kind."""
    if block.info.startswith("python"):
        compile(block.text, block.where, "exec")
    elif block.info == "json":
        json.loads(block.text)
    elif block.info == "toml":
        import tomllib

        tomllib.loads(block.text)
    elif block.info == "yaml":
        data, _ = loads(block.text, block.where)
        if "schema" in data and "dimensions" in data:
            assert not problems(FilterSpec.model_validate(data))
        else:
            known = {*KINDS, *Settings.model_fields, *FilterSpec.model_fields}
            assert not set(data) - known, f"{block.where}: nothing reads {set(data) - known}"


def test_a_block_that_is_wrong_is_seen() -> None:
    for info, text, error in [
        ("python", "def f(:", SyntaxError),
        ("json", "{'a': 1}", ValueError),
        ("yaml", "teapot: 1", AssertionError),
        ("toml", "a = ", ValueError),
    ]:
        with pytest.raises(error):
            check(Block(info, text, "here"))
    with pytest.raises((yaml.YAMLError, Exception)):
        check(Block("yaml", "a: *b", "here"))


RUN = [page for page in PAGES if blocks(page, "python run") and page.parent.name != "extend"]


@pytest.mark.parametrize("page", RUN, ids=lambda p: str(p.relative_to(ROOT)))
def test_code_runs(page: Path, tmp_path: Path) -> None:
    if page.name == "README.md" and page.parent == ROOT:
        pytest.skip("test_tour.py runs it, in the folder of the tour")
    code = "\n".join(block.text for block in blocks(page, "python run"))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
