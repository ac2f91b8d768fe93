"""The report's tests share `made`, the contents of a report, and one headless Chromium."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import chromium

sys.path.insert(0, str(Path(__file__).parent))

from opened import Open, Seen


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Only for one file: see `chromium`."""
    with chromium() as running:
        yield running


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens a file of these bytes in a fresh context and watches it."""
    contexts = []

    def open_(html: bytes, *, width: int = 1280, height: int = 900, dark: bool = False) -> Seen:
        path = tmp_path / f"{len(contexts)}.html"
        path.write_bytes(html)
        scheme = "dark" if dark else "light"
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        seen = Seen(page, path.as_uri())
        context.on("request", lambda request: seen.requests.append(request.url))
        page.on("console", lambda message: seen.console.append(message.text))
        page.on("pageerror", lambda error: seen.console.append(str(error)))
        page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
        page.goto(seen.url)
        return seen

    yield open_
    for context in contexts:
        context.close()
