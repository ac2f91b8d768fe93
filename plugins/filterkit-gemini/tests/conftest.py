"""A server that says what a test tells it to, byte by byte, and a short way to ask the oracle."""

from __future__ import annotations

import asyncio
import json
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filterkit_gemini.oracle import GeminiOracle

from filterkit.contracts import Context
from filterkit.records import OracleRequest, Reply
from filterkit.testing import fake_context, make_request, sample_articles, tiny_spec

MODEL = "gemini-3.5-flash-lite"


class Canned:
    """Answers every request alike: a status, headers, and a body. `requests` holds the heads of what came, `bodies`
    the rest."""

    def __init__(self, status: int, body: Any, headers: dict[str, str]) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", "Content-Length": str(len(data))} | headers
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        answer = f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + data
        requests = self.requests = []
        bodies = self.bodies = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while True:
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        line = self.rfile.readline()
                        if not line:
                            return
                        head += line
                    length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
                    bodies.append(self.rfile.read(int(length[1]) if length else 0))
                    requests.append(head)
                    self.wfile.write(answer)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def canned() -> Iterator[Callable[..., Canned]]:
    made: list[Canned] = []

    def make(status: int, body: Any, headers: dict[str, str] | None = None) -> Canned:
        made.append(Canned(status, body, headers or {}))
        return made[-1]

    yield make
    for one in made:
        one.server.shutdown()
        one.server.server_close()


@pytest.fixture(params=["genai", "generativeai"])
def sdk(request: pytest.FixtureRequest) -> str:
    """Both SDKs, the older one where it is installed."""
    if request.param == "generativeai":
        pytest.importorskip("google.generativeai", reason="google-generativeai is not installed")
    return str(request.param)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return fake_context(tmp_path)


@pytest.fixture
def oracle(context: Context) -> Callable[..., GeminiOracle]:
    """Makes an oracle that asks at a URL."""

    def make(url: str, **options: Any) -> GeminiOracle:
        given = {"model": MODEL, "base_url": url, **options}
        return GeminiOracle(GeminiOracle.Options.model_validate(given), tiny_spec(), context)

    return make


@pytest.fixture
def question() -> Callable[..., OracleRequest]:
    """Makes requests; keywords replace what is in them."""

    def make(row: int = 0, **changes: Any) -> OracleRequest:
        changes.setdefault("model", MODEL)
        return make_request(tiny_spec(), sample_articles(row + 1)[row], **changes)

    return make


@pytest.fixture
def ask(oracle: Callable[..., GeminiOracle], question: Callable[..., OracleRequest]) -> Callable[..., Reply]:
    """Asks one question at a URL, on a loop of its own."""

    def run(url: str, request: OracleRequest | None = None, **options: Any) -> Reply:
        async def main() -> Reply:
            one = oracle(url, **options)
            await one.open()
            try:
                return await one.complete(request or question(model=one.model))
            finally:
                await one.aclose()

        return asyncio.run(main())

    return run
