"""Servers to ask, and the oracle that asks them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web
from filterkit_anthropic.oracle import AnthropicOracle

from filterkit.api import OracleRequest, Reply
from filterkit.testing import fake_context, make_request, sample_articles, tiny_spec

T = TypeVar("T")

GOOD: dict[str, Any] = {
    "id": "msg_7",
    "type": "message",
    "role": "assistant",
    "model": "contract-model",
    "content": [{"type": "text", "text": '{"help": 1}'}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 10, "output_tokens": 5},
}


class Canned:
    """A server whose answers are written out: (status, body, headers), the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any, dict[str, str]]] = [(200, GOOD, {})]
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.gets: list[Any] = []  # what each GET is answered: a body, or a status and a body
        self.got: list[str] = []

    def say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.answers = [(status, body, headers or {})]

    async def handle(self, request: web.BaseRequest) -> web.Response:
        if request.method == "GET":
            self.got.append(request.path)
            answer = self.gets.pop(0)
            code, found = answer if isinstance(answer, tuple) else (200, answer)
            return web.Response(text=found) if isinstance(found, str) else web.json_response(found, status=code)
        self.bodies.append(json.loads(await request.content.read()))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.paths.append(request.path)
        status, body, headers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(body, str):
            kind = headers.get("content-type", "text/html")
            rest = {name: value for name, value in headers.items() if name != "content-type"}
            return web.Response(status=status, text=body, content_type=kind, headers=rest)
        return web.json_response(body, status=status, headers=headers)

    def serve(self, ready: threading.Event) -> None:
        async def main() -> None:
            runner = web.ServerRunner(web.Server(self.handle))
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
            ready.set()
            await self.over.wait()
            await runner.cleanup()

        asyncio.run(main())


@pytest.fixture
def canned() -> Iterator[Canned]:
    server, ready = Canned(), threading.Event()
    thread = threading.Thread(target=server.serve, args=(ready,), daemon=True)
    thread.start()
    assert ready.wait(10)
    yield server
    server.loop.call_soon_threadsafe(server.over.set)
    thread.join(10)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., AnthropicOracle]:
    """An oracle with these options; `ctx` replaces its context."""

    def build(ctx: Any = None, **options: Any) -> AnthropicOracle:
        chosen = AnthropicOracle.Options.model_validate({"model": "contract-model", "timeout_s": 20.0, **options})
        return AnthropicOracle(chosen, tiny_spec(), ctx or fake_context(tmp_path))

    return build


@pytest.fixture
def question() -> OracleRequest:
    return question_about(0)


def question_about(i: int, **changes: Any) -> OracleRequest:
    return make_request(tiny_spec(), sample_articles(i + 1)[i], **{"key": f"request-{i}", **changes})


def run(oracle: AnthropicOracle, use: Callable[[AnthropicOracle], Awaitable[T]]) -> T:
    """`use` an opened oracle on a loop of its own, closing it as the core would."""

    async def main() -> T:
        await oracle.open()
        try:
            return await asyncio.wait_for(use(oracle), 60)
        finally:
            await oracle.aclose()

    return asyncio.run(main())


def ask(oracle: AnthropicOracle, *questions: OracleRequest) -> list[Reply]:
    """Replies to questions asked one after the other."""

    async def use(oracle: AnthropicOracle) -> list[Reply]:
        return [await oracle.complete(question) for question in questions]

    return run(oracle, use)
