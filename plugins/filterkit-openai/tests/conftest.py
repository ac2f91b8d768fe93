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
from filterkit_openai.oracle import OpenAIOracle

from filterkit.api import OracleRequest, Reply
from filterkit.testing import fake_context, make_request, sample_articles, tiny_spec

T = TypeVar("T")

GOOD = {
    "id": "chatcmpl-7",
    "model": "contract-model",
    "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": '{"help": 1}'}}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}


class Canned:
    """A server whose answers are written out: (status, body, headers), the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any, dict[str, str]]] = [(200, GOOD, {})]
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.get: Any = None  # what a GET is answered

    def say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.answers = [(status, body, headers or {})]

    async def handle(self, request: web.BaseRequest) -> web.Response:
        if request.method == "GET":
            return web.json_response(self.get) if not isinstance(self.get, str) else web.Response(text=self.get)
        sent = await request.content.read()
        self.bodies.append({} if request.content_type == "multipart/form-data" else json.loads(sent))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.paths.append(request.path)
        status, body, headers = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(body, str):
            return web.Response(status=status, text=body, content_type="text/html", headers=headers)
        return web.json_response(body, status=status, headers=headers)

    def serve(self, ready: threading.Event) -> None:
        async def main() -> None:
            runner = web.ServerRunner(web.Server(self.handle))
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
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
def make(tmp_path: Path) -> Callable[..., OpenAIOracle]:
    """An oracle with these options; `ctx` replaces its context."""

    def build(ctx: Any = None, **options: Any) -> OpenAIOracle:
        chosen = OpenAIOracle.Options.model_validate({"model": "contract-model", "timeout_s": 20.0, **options})
        return OpenAIOracle(chosen, tiny_spec(), ctx or fake_context(tmp_path))

    return build


@pytest.fixture
def question() -> OracleRequest:
    return question_about(0)


def question_about(i: int, **changes: Any) -> OracleRequest:
    return make_request(tiny_spec(), sample_articles(i + 1)[i], **{"key": f"request-{i}", **changes})


def run(oracle: OpenAIOracle, use: Callable[[OpenAIOracle], Awaitable[T]]) -> T:
    """`use` an opened oracle on a loop of its own, closing it as the core would."""

    async def main() -> T:
        await oracle.open()
        try:
            return await asyncio.wait_for(use(oracle), 60)
        finally:
            await oracle.aclose()

    return asyncio.run(main())


def ask(oracle: OpenAIOracle, *questions: OracleRequest) -> list[Reply]:
    """Replies to questions asked one after the other."""

    async def use(oracle: OpenAIOracle) -> list[Reply]:
        return [await oracle.complete(question) for question in questions]

    return run(oracle, use)
