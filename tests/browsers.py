"""The system's Chromium, without a window, for tests that look at pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

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


@contextmanager
def chromium() -> Iterator[Any]:
    """For the fixture of one file: as long as playwright is started this thread has a running event loop, and no other
    test may start one. Skips where there is none."""
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
