"""The report's tests share `made`, the contents of a report, and one headless Chromium."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from opened import Open, Seen

_BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def _absent(why: str) -> None:
    if os.environ.get("NEED_BROWSER"):
        pytest.fail(f"{why}, and this run needs it (NEED_BROWSER is set)")
    pytest.skip(why)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, without a window; only for one file, since as long as playwright is started this thread
    has a running event loop, and no other test may start one."""
    program = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        _absent("there is no Chromium on this machine")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _absent("playwright is not installed (pip install -e '.[dev]')")
    with sync_playwright() as started:
        running = started.chromium.launch(executable_path=program, args=list(_QUIET))
        yield running
        running.close()


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
