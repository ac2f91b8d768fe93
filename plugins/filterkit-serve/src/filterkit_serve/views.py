"""Everything that is read and not scored: health, metrics, what is served, the page and its files."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from filterkit_serve import openapi
from filterkit_serve.log import Log
from filterkit_serve.meters import CONTENT_TYPE, Meters
from filterkit_serve.served import Live, Shelf

PAGE = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js", "/icon.svg": "icon.svg"}
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
OPEN = frozenset({*PAGE, "/health", "/ready", "/openapi.json"})
"""What is shown without a token: nothing of it says what is served or how much."""


class Views:
    """The routes that read. draining: set when the server is about to end."""

    def __init__(self, shelf: Shelf, meters: Meters, log: Log) -> None:
        self.draining = False
        self._shelf = shelf
        self._meters = meters
        self._log = log
        meters.ready.set_function(lambda: float(self.welcome))
        meters.log_dropped.set_function(lambda: log.dropped)

    @property
    def welcome(self) -> bool:
        """Whether requests should be sent here."""
        return self._shelf.ready and not self.draining

    def routes(self) -> list[Route]:
        """All of them."""
        pages = [Route(path, _file(name)) for path, name in PAGE.items()]
        own = {
            "/health": self.health,
            "/ready": self.ready,
            "/metrics": self.metrics,
            "/openapi.json": self.openapi,
            "/v1/filters": self.filters,
        }
        return [*pages, *(Route(path, view) for path, view in own.items())]

    async def health(self, _request: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _request: Request) -> Response:
        """503 while students are loaded and while the server ends."""
        if self.welcome:
            return JSONResponse({"status": "ready"})
        status = "draining" if self.draining else "loading"
        return JSONResponse({"status": status}, 503, {"retry-after": "1"})

    async def metrics(self, _request: Request) -> Response:
        """Prometheus' text format."""
        return Response(self._meters.page(), media_type=CONTENT_TYPE)

    async def openapi(self, _request: Request) -> Response:
        """OpenAPI 3.1"""
        return JSONResponse(openapi.description())

    async def filters(self, _request: Request) -> Response:
        """What is served: filters, their dimensions, tiers and rules, and whose answers these are."""
        return JSONResponse({"filters": [_described(live) for live in self._shelf.live()]})


def _described(live: Live) -> dict[str, Any]:
    spec, postfilter = live.student.spec, live.student.postfilter
    return {
        "filter": live.name,
        "version": live.version,
        "student_hash": live.student_hash,
        "description": spec.description,
        "scale": {"min": spec.scale.min, "max": spec.scale.max},
        "dimensions": [
            {"name": d.name, "role": d.role, "weight": d.weight, "description": d.description} for d in spec.dimensions
        ],
        "tiers": list(postfilter.tiers),
        "rules": list(postfilter.rules),
    }


def _file(name: str) -> Any:
    """An endpoint that gives a file of the page. It may load nothing from elsewhere, nor be shown inside another."""
    content = (files("filterkit_serve") / "page" / name).read_bytes()
    kind = _KINDS[name.rpartition(".")[2]]
    headers = {"content-security-policy": _POLICY, "referrer-policy": "no-referrer", "x-frame-options": "DENY"}

    async def give(_request: Request) -> Response:
        return Response(content, media_type=kind, headers=headers)

    return give
