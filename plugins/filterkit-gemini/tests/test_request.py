"""What is sent: the whole of it, once."""

from __future__ import annotations

import asyncio
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filterkit_gemini.oracle import GeminiOracle

from filterkit.errors import BackendError, Transient
from filterkit.records import OracleRequest, Reply
from filterkit.testing.fake_llm import FakeLLM

Ask = Callable[..., Reply]
Question = Callable[..., OracleRequest]


def test_the_request_is_sent_as_it_is(ask: Ask, question: Question) -> None:
    request = question(correction="\n\nThe score of help was missing.", seed=7, max_output_tokens=321, temperature=0.25)
    with FakeLLM() as server:
        ask(server.url, request)
    sent = server.exchanges[0]
    assert sent.model == request.model
    assert sent.system == request.system
    assert sent.user == request.rubric + request.article + request.correction
    assert sent.config["generationConfig"] == {
        "temperature": 0.25,
        "maxOutputTokens": 321,
        "seed": 7,
        "responseMimeType": "application/json",
        "responseJsonSchema": request.json_schema,
        "thinkingConfig": {"thinkingLevel": "MINIMAL"},
    }
    assert set(sent.config) == {"generationConfig", "safetySettings"}
    assert sent.headers["x-goog-api-key"] == "contract-suite-secret"
    assert "?" not in sent.path, "a key in the address would end up in the logs of proxies"


def test_dimensions_stay_in_order(ask: Ask, question: Question) -> None:
    request = question()
    with FakeLLM() as server:
        ask(server.url, request)
    assert list(server.exchanges[0].schema["properties"]) == list(request.json_schema["properties"])


def test_the_older_sdk_sends_what_it_can(ask: Ask, question: Question) -> None:
    pytest.importorskip("google.generativeai")
    request = question(correction="\n\nAgain.", temperature=0.25, max_output_tokens=321)
    with FakeLLM() as server:
        ask(server.url, request, sdk="generativeai")
    sent = server.exchanges[0]
    assert (sent.model, sent.system, sent.user) == (request.model, request.system, request.user)
    config = sent.config["generationConfig"]
    assert (config["temperature"], config["maxOutputTokens"]) == (0.25, 321)
    assert config["responseMimeType"] == "application/json"
    assert config["responseSchema"]["required"] == request.json_schema["required"]
    assert set(config["responseSchema"]["properties"]) == set(request.json_schema["properties"])
    assert {s["threshold"] for s in sent.config["safetySettings"]} == {5}  # OFF, as a number
    assert sent.headers["x-goog-api-key"] == "contract-suite-secret"


@pytest.mark.parametrize(
    ("model", "thinking", "sent"),
    [
        ("gemini-3.5-flash-lite", "auto", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.1-flash-lite", "auto", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.8-flash", "auto", {"thinkingLevel": "LOW"}),
        ("gemini-3.1-pro-preview", "auto", {"thinkingLevel": "LOW"}),
        ("models/gemini-3.8-flash", "high", {"thinkingLevel": "HIGH"}),
        ("gemini-flash-latest", "auto", {"thinkingLevel": "LOW"}),
        ("gemini-2.5-flash", "auto", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "off", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "auto", {"thinkingBudget": 128}),
        ("gemini-2.5-flash-lite", "medium", {"thinkingBudget": 8192}),
        ("gemini-2.0-flash", "auto", None),
        ("gemma-4", "auto", None),
    ],
)
def test_thinking_is_off_or_as_little_as_can_be(
    ask: Ask, model: str, thinking: str, sent: dict[str, Any] | None
) -> None:
    with FakeLLM() as server:
        ask(server.url, model=model, thinking=thinking)
    assert server.exchanges[0].config["generationConfig"].get("thinkingConfig") == sent


def test_flex_and_safety(ask: Ask) -> None:
    with FakeLLM() as server:
        ask(server.url, service_tier="flex", safety="high")
        ask(server.url, safety="default")
        ask(server.url)
    flex, default, usual = (e.config for e in server.exchanges)
    assert flex["serviceTier"] == "flex"
    assert {s["threshold"] for s in flex["safetySettings"]} == {"BLOCK_ONLY_HIGH"}
    assert set(default) == {"generationConfig"}
    assert {s["threshold"] for s in usual["safetySettings"]} == {"OFF"}
    assert len({s["category"] for s in usual["safetySettings"]}) == 4


def test_another_question_is_not_sent_with_the_settings_of_the_last(
    oracle: Callable[..., GeminiOracle], question: Question
) -> None:
    async def main(url: str) -> None:
        one = oracle(url)
        await one.open()
        await one.complete(question(max_output_tokens=100))
        await one.complete(question(max_output_tokens=200, system="Another one. Scores are numbers from 0 to 10."))
        await one.aclose()

    with FakeLLM() as server:
        asyncio.run(main(server.url))
    assert [e.config["generationConfig"]["maxOutputTokens"] for e in server.exchanges] == [100, 200]
    assert server.exchanges[1].system.startswith("Another one")


@pytest.mark.parametrize("fault", ["rate_limit", "server_error", "bad_gateway", "drop", "reset", "forbidden"])
def test_nothing_is_sent_twice(ask: Ask, sdk: str, fault: str) -> None:
    with FakeLLM(faults={fault: 1.0}, retry_after_s=0.01) as server:
        with pytest.raises(BackendError):
            ask(server.url, sdk=sdk)
        assert server.requests == 1


def test_a_reply_is_not_continued_by_another_request(ask: Ask, canned: Callable[..., Any]) -> None:
    candidate = {"content": {"parts": [{"text": "{"}]}, "finishReason": "CONTINUATION", "continuationToken": "AAAA"}
    server = canned(200, {"candidates": [candidate], "modelVersion": "m"})
    assert ask(server.url).finish == "other"
    assert len(server.requests) == 1


def test_the_environment_does_not_redirect_to_vertex(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_API_KEY", "another-key")
    with FakeLLM(api_key="contract-suite-secret") as server:
        assert ask(server.url).finish == "stop"


class Proxy:
    """A proxy that leads nowhere, and keeps what it was asked to lead to."""

    def __init__(self) -> None:
        asked: list[str] = []
        self.asked = asked

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                asked.append(self.rfile.readline().decode().strip())

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    made = Proxy()
    for name in ("ALL_PROXY", "HTTP_PROXY", "NO_PROXY", "all_proxy", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", made.url)
    threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_the_environment_does_not_lead_the_key_elsewhere(
    ask: Ask, sdk: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeLLM() as server:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", server.url)
        monkeypatch.setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "example.org")
        monkeypatch.setenv("GOOGLE_GENAI_USE_ENTERPRISE", "true")
        with pytest.raises(BackendError):
            ask(None, sdk=sdk)
        assert server.requests == 0
    assert proxy.asked, "it must have gone by the proxy"
    assert {line.split()[1] for line in proxy.asked} == {"generativelanguage.googleapis.com:443"}


def test_the_environment_does_not_choose_the_version(ask: Ask, sdk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeLLM() as server:
        ask(server.url, sdk=sdk)
        monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v1alpha")
        monkeypatch.setenv("GOOGLE_GENAI_CLIENT_MODE", "replay")
        ask(server.url, sdk=sdk)
    assert [e.path.split("/")[1] for e in server.exchanges] == ["v1beta", "v1beta"]


def test_the_process_ends_though_the_provider_hangs(tmp_path: Path, sdk: str) -> None:
    code = """
import asyncio, pathlib, sys
from filterkit.testing import fake_context, make_request, sample_articles, tiny_spec
from filterkit_gemini.oracle import GeminiOracle as O

async def main():
    options = O.Options(base_url=sys.argv[1], sdk=sys.argv[2], timeout_s=30)
    one = O(options, tiny_spec(), fake_context(pathlib.Path(sys.argv[3])))
    await one.open()
    request = make_request(tiny_spec(), sample_articles()[0], model=one.model, timeout_s=30)
    task = asyncio.create_task(one.complete(request))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await one.aclose()
    print("closed", flush=True)

asyncio.run(main())
"""
    with FakeLLM(latency_s=25.0) as server:
        arguments = [sys.executable, "-c", code, server.url, sdk, str(tmp_path)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "closed"
            try:
                process.wait(5)
            finally:
                process.kill()
            assert process.stderr is not None
            assert not process.stderr.read()
        assert server.requests == 1


def test_hundreds_are_in_flight(oracle: Callable[..., GeminiOracle], question: Question, sdk: str) -> None:
    """No pool of 100 connections, no 32 threads: what is asked at once is at the provider at once."""
    request = question()

    async def main(url: str) -> list[Reply]:
        one = oracle(url, sdk=sdk)
        await one.open()
        replies = await asyncio.gather(*(one.complete(request) for _ in range(300)))
        await one.aclose()
        return replies

    with FakeLLM(latency_s=2.0) as server:
        replies = asyncio.run(main(server.url))
        assert server.max_in_flight > (150 if sdk == "generativeai" else 290)  # threads take their time to start
    assert all(reply.finish == "stop" for reply in replies)


def test_connections_are_kept_alive(oracle: Callable[..., GeminiOracle], question: Question, sdk: str) -> None:
    async def main(url: str) -> None:
        one = oracle(url, sdk=sdk)
        await one.open()
        for _ in range(12):
            await one.complete(question())
        await one.aclose()

    with FakeLLM() as server:
        asyncio.run(main(server.url))
    assert len({e.connection for e in server.exchanges}) <= (3 if sdk == "generativeai" else 1)  # one per thread


def test_a_hanging_provider_costs_the_timeout_and_no_more(ask: Ask, question: Question, sdk: str) -> None:
    with FakeLLM(script=["hang"]) as server, pytest.raises(Transient, match=r"no answer within 0\.3 s") as caught:
        ask(server.url, question(timeout_s=0.3), sdk=sdk)
    assert not caught.value.unbilled, "it may have been answered, and billed"


def test_cancelling_closes_the_connection(oracle: Callable[..., GeminiOracle], question: Question) -> None:
    async def main(server: FakeLLM) -> Reply:
        one = oracle(server.url)
        await one.open()
        task = asyncio.create_task(one.complete(question()))
        while not server.state()["in_flight"]:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            while server.state()["in_flight"]:
                await asyncio.sleep(0.01)
        reply = await one.complete(question())
        await one.aclose()
        return reply

    with FakeLLM(script=["hang"]) as server:
        assert asyncio.run(main(server)).finish == "stop"


def test_it_can_be_opened_again_on_another_loop(oracle: Callable[..., GeminiOracle], question: Question) -> None:
    with FakeLLM() as server:
        one = oracle(server.url)

        async def main() -> str:
            await one.open()
            reply = await one.complete(question())
            await one.aclose()
            await one.aclose()
            return reply.text

        assert asyncio.run(main()) == asyncio.run(main())
