"""What can be said to the server, and what it tells, is in its how-to."""

from __future__ import annotations

import re
from pathlib import Path

from filterkit_serve.command import command
from running import Running

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")


def test_every_option_is_named() -> None:
    options = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    assert len(options) > 15
    assert not {name for name in options if name not in PAGE}


def test_every_metric_is_named_and_there(server: Running) -> None:
    page = server.ask("GET", "/metrics").body.decode()
    there = set(re.findall(r"^# TYPE (filterkit_\w+) ", page, re.M))
    named = set(re.findall(r"^\| `(filterkit_\w+)`", PAGE, re.M))
    assert there == named


def test_every_address_is_named(server: Running) -> None:
    paths = server.ask("GET", "/openapi.json").json["paths"]
    known = {path.replace("{name}", "NAME") for path in paths}
    assert not {path for path in known if not re.search(rf"`(GET|POST) {re.escape(path)}`", PAGE)} - {"/openapi.json"}
