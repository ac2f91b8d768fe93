"""The documentation as text: its pages, their blocks of code, their headings and links."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block: its words after the backticks, its text, and where it stands."""

    info: str
    text: str
    where: str


def all_pages() -> list[Path]:
    """Every Markdown page of this repository that people read."""
    tops = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "NOTICE.md")]
    docs = [page for page in sorted(DOCS.rglob("*.md")) if page.parent.name != "_intro"]  # those are parts of pages
    return [*tops, *docs, *sorted(ROOT.glob("examples/**/*.md"))]


def blocks(page: Path, *infos: str) -> list[Block]:
    """The blocks of a page, or those of the given kinds."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        indent = match.group(1)
        body = "".join(one.removeprefix(indent) for one in match.group(3).splitlines(keepends=True))
        found.append(Block(match.group(2).strip(), body, f"{page.relative_to(ROOT)}:{line}"))
    return [block for block in found if not infos or block.info in infos]


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", text)


def spoken_code(text: str) -> str:
    """What stands in a page as code: blocks, and words between backticks. Prose names nothing."""
    inline = re.findall(r"`([^`\n]+)`", prose(text))
    return "\n".join([match.group(3) for match in FENCE.finditer(text)] + inline)


def section(text: str, heading: str) -> str:
    """A page's part under a heading, up to the next heading of its level or above; empty when there is none."""
    match = re.search(rf"^(#+) {re.escape(heading)}\n", text, re.M)
    if match is None:
        return ""
    level = len(match.group(1))
    rest = text[match.end() :]
    end = re.search(rf"^#{{1,{level}}} ", rest, re.M)
    return rest[: end.start()] if end else rest


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings make, as Git hosts make them."""
    heads = re.findall(r"^#+ (.+)$", prose(text), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def import_file(name: str, path: Path) -> ModuleType:
    """A Python file as a module of this process."""
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


def import_page(page: Path, folder: Path) -> ModuleType:
    """All `python run` blocks of a page, as one module."""
    code = "\n\n".join(block.text for block in blocks(page, "python run"))
    assert code, f"{page} has no block `python run`"
    name = f"page_{page.parent.name.replace('-', '_')}_{page.stem.replace('-', '_')}"
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    return import_file(name, folder / f"{name}.py")
