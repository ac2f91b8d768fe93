"""A page of a report in a browser, watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Seen:
    """An open page, and all that happened in it that should not."""

    page: Any
    url: str
    console: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def troubles(self) -> dict[str, object]:
        """What a page of ours never does; empty when all is well."""
        found: dict[str, object] = {
            "console": self.console,
            "dialogs": self.dialogs,
            "requests": [url for url in self.requests if url != self.url],
            "canary": self.page.evaluate("window.canary ?? 0"),
            "where": self.page.url if self.page.url.split("#")[0] != self.url else "",
        }
        return {name: value for name, value in found.items() if value}


Open = Callable[..., Seen]
