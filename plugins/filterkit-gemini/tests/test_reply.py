"""What comes back, as the oracle hands it on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from filterkit.errors import Transient
from filterkit.records import Reply, Usage
from filterkit.testing.fake_llm import FakeLLM

Ask = Callable[..., Reply]
USAGE = {"promptTokenCount": 100, "totalTokenCount": 100}


def candidate(finish: str | None = "STOP", *parts: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    return said | ({"finishReason": finish} if finish else {})


def test_thoughts_are_not_part_of_the_text(ask: Ask, canned: Callable[..., Any]) -> None:
    parts = {"text": "Let me see.", "thought": True}, {"text": '{"help"'}, {"text": ": 1}"}
    server = canned(200, {"candidates": [candidate("STOP", *parts)], "modelVersion": "m", "responseId": "r-1"})
    reply = ask(server.url)
    assert (reply.text, reply.finish, reply.provider_id) == ('{"help": 1}', "stop", "r-1")


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "blocked"),
        ("RECITATION", "blocked"),
        ("BLOCKLIST", "blocked"),
        ("PROHIBITED_CONTENT", "blocked"),
        ("SPII", "blocked"),
        ("OTHER", "other"),
        ("MALFORMED_RESPONSE", "other"),
        ("SOMETHING_NEW", "other"),
        (None, "other"),
    ],
)
def test_how_it_ended(ask: Ask, canned: Callable[..., Any], said: str | None, finish: str) -> None:
    server = canned(200, {"candidates": [candidate(said, {"text": "{}"})], "modelVersion": "m"})
    assert ask(server.url).finish == finish


@pytest.mark.parametrize(
    ("fault", "finish"), [("blocked", "blocked"), ("refused", "blocked"), ("truncated", "length"), ("empty", "stop")]
)
def test_how_it_ended_with_either_sdk(ask: Ask, sdk: str, fault: str, finish: str) -> None:
    with FakeLLM(script=[fault]) as server:
        assert ask(server.url, sdk=sdk).finish == finish


def test_no_candidate_and_no_reason_is_not_an_answer(ask: Ask, canned: Callable[..., Any]) -> None:
    assert ask(canned(200, {"usageMetadata": USAGE, "modelVersion": "m"}).url).finish == "other"


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({}, Usage()),
        (
            {"promptTokenCount": 90, "candidatesTokenCount": 20, "totalTokenCount": 110},
            Usage(input=90, output=20),
        ),
        (
            {
                "promptTokenCount": 90,
                "cachedContentTokenCount": 60,
                "candidatesTokenCount": 20,
                "thoughtsTokenCount": 300,
                "totalTokenCount": 410,
            },
            Usage(input=90, cached_input=60, output=320, thinking=300),
        ),
        # cut off while it was thinking: there are no candidates to count
        (
            {"promptTokenCount": 90, "thoughtsTokenCount": 300, "totalTokenCount": 390},
            Usage(input=90, output=300, thinking=300),
        ),
        ({"promptTokenCount": 90, "totalTokenCount": 390}, Usage(input=90, output=300)),
        (
            {"promptTokenCount": 90, "candidatesTokenCount": 20, "thoughtsTokenCount": 5},
            Usage(input=90, output=25, thinking=5),
        ),
        ({"promptTokenCount": 90}, Usage(input=90)),
    ],
    ids=["nothing", "plain", "cached-and-thinking", "only-thoughts", "only-the-total", "no-total", "only-input"],
)
def test_tokens(ask: Ask, canned: Callable[..., Any], said: dict[str, int], usage: Usage) -> None:
    server = canned(200, {"candidates": [candidate()], "usageMetadata": said, "modelVersion": "m"})
    assert ask(server.url).usage == usage


def test_tokens_with_either_sdk(ask: Ask, sdk: str) -> None:
    with FakeLLM(thinking_tokens=50) as server:
        usage = ask(server.url, sdk=sdk, model="gemini-3.8-flash").usage
    sent = server.exchanges[0]
    assert usage.input == sent.input_tokens
    assert usage.output == sent.output_tokens + 50, "thoughts are billed as output"


def test_the_model_that_replied(ask: Ask, sdk: str) -> None:
    with FakeLLM(script=["wrong_model"]) as server:
        assert ask(server.url, sdk=sdk).model_version == "another-model-001"


def test_a_model_that_is_not_named_is_not_made_up(ask: Ask, canned: Callable[..., Any]) -> None:
    assert ask(canned(200, {"candidates": [candidate()]}).url).model_version == ""


def test_another_tier_than_the_one_asked_for_is_said_once(
    oracle: Callable[..., Any],
    question: Callable[..., Any],
    canned: Callable[..., Any],
    recwarn: pytest.WarningsRecorder,
) -> None:
    async def main(served: str | None) -> None:
        headers = {"x-gemini-service-tier": served} if served else {}
        one = oracle(canned(200, {"candidates": [candidate()]}, headers).url, service_tier="flex")
        await one.open()
        await one.complete(question())
        await one.complete(question())
        await one.aclose()

    for served in (None, "flex", "FLEX", "something-new"):
        asyncio.run(main(served))
    assert not [w for w in recwarn if "tier" in str(w.message)]
    asyncio.run(main("standard"))
    assert [str(w.message)[:43] for w in recwarn if "tier" in str(w.message)] == [
        "Google served the tier standard, not flex: "
    ]


def test_a_lone_surrogate_is_replaced(ask: Ask, canned: Callable[..., Any]) -> None:
    body = b'{"candidates": [{"content": {"parts": [{"text": "a\\ud800b \\u00e9"}]}, "finishReason": "STOP"}]}'
    assert ask(canned(200, body).url).text == "a\ufffdb é"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b'{"candidates": [',
        b"[1, 2]",
        b'"text"',
        b"null",
        b'{"candidates": 3}',
        b'{"candidates": [{"content": {"parts": [{"text": 5}]}}]}',
        b'{"usageMetadata": {"promptTokenCount": "many", "totalTokenCount": 3}}',
        b"\xff\xfe\xff",
    ],
)
def test_a_200_that_is_no_reply_may_have_been_billed(ask: Ask, canned: Callable[..., Any], body: bytes) -> None:
    with pytest.raises(Transient) as caught:
        ask(canned(200, body).url)
    assert not caught.value.unbilled
