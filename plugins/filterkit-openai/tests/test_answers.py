"""What a server says, in the words of the contract."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from filterkit_openai.oracle import REFUSALS, OpenAIOracle

from filterkit.api import BackendError, Fatal, OracleRequest, RateLimited, Refused, Transient, Usage
from filterkit.testing.fake_llm import FakeLLM
from filterkit.testing.samples import SECRET

from .conftest import GOOD, Canned, ask, question_about, run


def reply_with(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


def message(finish: str = "stop", **fields: Any) -> dict[str, Any]:
    return reply_with(choices=[{"finish_reason": finish, "message": {"role": "assistant", **fields}}])


def failure(text: str = "no", code: str | None = None, kind: str | None = None) -> dict[str, Any]:
    return {"error": {"message": text, "type": kind, "code": code, "param": None}}


def error_of(oracle: OpenAIOracle, question: OracleRequest) -> BackendError:
    with pytest.raises(BackendError) as caught:
        ask(oracle, question)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("body", "finish", "text"),
    [
        (message(content="{}"), "stop", "{}"),
        (message("length", content="{"), "length", "{"),
        (message("content_filter", content=None), "blocked", ""),
        (message(content=None, refusal="I cannot"), "blocked", ""),
        (message("tool_calls", content=""), "other", ""),
        (message(content="<think>hm {1}</think>\n{}"), "stop", "{}"),
        (message(content="hm, well\n</think>\n\n{}"), "stop", "{}"),
        (message("length", content="<think>hm"), "length", ""),
        (message(content='{"a": "</think>"}'), "stop", '{"a": "</think>"}'),
        (message(content="{}", reasoning_content="hm"), "stop", "{}"),
        (message(content=[{"type": "thinking", "thinking": []}, {"type": "text", "text": "{}"}]), "stop", "{}"),
    ],
)
def test_replies(
    make: Callable[..., OpenAIOracle], canned: Canned, question: OracleRequest, body: Any, finish: str, text: str
) -> None:
    canned.say(200, body)
    reply = ask(make(base_url=canned.url), question)[0]
    assert (reply.finish, reply.text) == (finish, text)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Usage()),
        ({"prompt_tokens": 9}, Usage(input=9)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}, Usage(input=9, output=4)),
        # xAI and Gemini's OpenAI door leave thoughts out of completion_tokens, not out of the bill
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "total_tokens": 33,
                "prompt_tokens_details": {"cached_tokens": 8},
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(input=9, cached_input=8, output=24, thinking=20),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "cost": 0.00025, "prompt_tokens_details": None},
            Usage(input=9, output=4, cost_usd=0.00025),
        ),
        ({"prompt_tokens": "9", "completion_tokens": -1, "cost": "free"}, Usage()),
    ],
)
def test_usage_is_what_was_reported(
    make: Callable[..., OpenAIOracle], canned: Canned, question: OracleRequest, usage: Any, expected: Usage
) -> None:
    canned.say(200, reply_with(usage=usage))
    assert ask(make(base_url=canned.url), question)[0].usage == expected


def test_a_reply_that_names_no_model_is_not_given_one(
    make: Callable[..., OpenAIOracle], canned: Canned, question: OracleRequest
) -> None:
    canned.say(200, {k: v for k, v in GOOD.items() if k != "model"})
    assert ask(make(base_url=canned.url), question)[0].model_version == ""


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, failure("Incorrect API key provided"), Fatal, "MY_KEY"),
        (402, failure("Insufficient Balance"), Fatal, "Add credit"),
        (403, failure("no access"), Fatal, "MY_KEY"),
        (403, failure("Your input was flagged", "moderation"), Refused, "flagged"),
        (404, failure("model does not exist", "model_not_found"), Fatal, "contract-model"),
        (429, failure("quota", "insufficient_quota", "insufficient_quota"), Fatal, "Add credit"),
        (429, failure("slow down", "rate_limit_exceeded"), RateLimited, "slow down"),
        (400, failure("This model's maximum context length is 8192", "context_length_exceeded"), Refused, "too long"),
        (400, failure("max_tokens is too large for the context length of 8192"), Refused, "too long"),
        (400, failure("rejected by our safety system", "content_policy_violation"), Refused, "safety"),
        (400, failure("odd"), Refused, "odd"),
        (400, {"detail": "odd too"}, Refused, "odd too"),
        (400, "plain words", Refused, "HTTP 400"),
        (413, "<html>too large</html>", Refused, "HTTP 413"),
        (422, failure("odd"), Refused, "odd"),
        (408, failure("late"), Transient, "late"),
        (409, failure("conflict"), Transient, "conflict"),
        (500, failure("oops"), Transient, "oops"),
        (503, failure("busy"), Transient, "busy"),
        (529, failure("overloaded"), Transient, "overloaded"),
        (502, "<html>bad gateway</html>", Transient, "HTTP 502"),
        (200, failure("upstream is down", "x") | {"choices": None}, Transient, "upstream"),
        (200, {"error": {"message": "wait", "code": 429}}, RateLimited, "wait"),
        (200, "<html>Welcome</html>", Transient, "no chat completion"),
        (200, {"object": "list"}, Transient, "no chat completion"),
        (200, reply_with(choices=[]), Transient, "no chat completion"),
        (500, failure("the key " + SECRET + " broke it"), Transient, "broke it"),
    ],
)
def test_errors(
    make: Callable[..., OpenAIOracle],
    canned: Canned,
    question: OracleRequest,
    status: int,
    body: Any,
    kind: type[BackendError],
    words: str,
) -> None:
    canned.say(status, body)
    error = error_of(make(base_url=canned.url, api_key_env="MY_KEY"), question)
    assert type(error) is kind
    assert words in str(error)
    assert "127.0.0.1" in str(error)
    assert len(canned.bodies) == 1, "a request that failed was sent again"


def test_json_that_is_none_is_transient(
    make: Callable[..., OpenAIOracle], canned: Canned, question: OracleRequest
) -> None:
    canned.say(200, '{"choices": [', {"content-type": "application/json"})
    assert type(error_of(make(base_url=canned.url), question)) is Transient


@pytest.mark.parametrize(
    ("status", "unbilled"), [(500, True), (503, True), (408, True), (409, True), (502, False), (504, False)]
)
def test_only_what_the_provider_itself_refused_is_unbilled(
    make: Callable[..., OpenAIOracle], canned: Canned, question: OracleRequest, status: int, unbilled: bool
) -> None:
    canned.say(status, failure())
    error = error_of(make(base_url=canned.url), question)
    assert isinstance(error, Transient)
    assert error.unbilled is unbilled


@pytest.mark.parametrize(
    ("headers", "text", "wait", "scope"),
    [
        ({}, "slow", None, "minute"),
        ({"retry-after": "7"}, "slow", 7.0, "minute"),
        ({"retry-after": "7", "retry-after-ms": "1500"}, "slow", 1.5, "minute"),
        ({}, "on tokens per min (TPM): Limit 1. Please try again in 1m2.5s.", 62.5, "minute"),
        ({}, "Please try again in 20ms.", 0.02, "minute"),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, "slow", 360.0, "minute"),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "6m0s"}, "slow", None, "minute"),
        ({"retry-after": "soon"}, "slow", None, "minute"),
        ({"retry-after": "9"}, "on requests per day (RPD): Limit 200, Used 200.", 9.0, "day"),
    ],
)
def test_how_long_to_wait(
    make: Callable[..., OpenAIOracle],
    canned: Canned,
    question: OracleRequest,
    headers: dict[str, str],
    text: str,
    wait: float | None,
    scope: str,
) -> None:
    canned.say(429, failure(text, "rate_limit_exceeded"), headers)
    error = error_of(make(base_url=canned.url), question)
    assert isinstance(error, RateLimited)
    assert (error.retry_after_s, error.scope) == (wait, scope)


def test_a_date_to_wait_for(make: Callable[..., OpenAIOracle], canned: Canned, question: OracleRequest) -> None:
    canned.say(429, failure(), {"retry-after": formatdate(time.time() + 30, usegmt=True)})
    error = error_of(make(base_url=canned.url), question)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == pytest.approx(30, abs=3)


class TestLostConnections:
    @pytest.mark.parametrize("fault", ["drop", "reset"])
    def test_a_dropped_connection(self, make: Callable[..., OpenAIOracle], question: OracleRequest, fault: str) -> None:
        with FakeLLM(script=[fault]) as server:
            error = error_of(make(base_url=server.openai_url), question)
            assert server.requests == 1
        assert isinstance(error, Transient)
        assert not error.unbilled
        assert "dropped the connection" in str(error)

    def test_a_timeout(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM(script=["hang"]) as server:
            oracle = make(base_url=server.openai_url, timeout_s=0.3)
            error = error_of(oracle, question_about(0, timeout_s=0.3))
        assert isinstance(error, Transient)
        assert not error.unbilled
        assert "no answer within 0.3 s" in str(error)

    def test_a_timeout_of_the_question(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM(script=["hang"]) as server:
            error = error_of(make(base_url=server.openai_url), question_about(0, timeout_s=0.3))
        assert "no answer within 0.3 s" in str(error)

    def test_nobody_there(self, make: Callable[..., OpenAIOracle], question: OracleRequest) -> None:
        with FakeLLM() as server:
            url = server.openai_url
        error = error_of(make(base_url=url), question)
        assert isinstance(error, Transient)
        assert error.unbilled
        assert "cannot be reached" in str(error)


def test_a_server_that_refuses_everything_ends_the_run(
    make: Callable[..., OpenAIOracle], canned: Canned, question: OracleRequest
) -> None:
    canned.say(400, failure("tool_choice is required"))

    async def many(oracle: OpenAIOracle) -> list[type[BaseException]]:
        said = await asyncio.gather(*[oracle.complete(question) for _ in range(REFUSALS)], return_exceptions=True)
        return [type(error) for error in said if isinstance(error, BaseException)]

    kinds = run(make(base_url=canned.url), many)
    assert kinds.count(Refused) == REFUSALS - 1
    assert kinds.count(Fatal) == 1


def test_articles_that_are_too_long_never_end_the_run(
    make: Callable[..., OpenAIOracle], canned: Canned, question: OracleRequest
) -> None:
    canned.say(400, failure("maximum context length is 8192", "context_length_exceeded"))

    async def many(oracle: OpenAIOracle) -> set[type]:
        said = await asyncio.gather(*[oracle.complete(question) for _ in range(REFUSALS + 4)], return_exceptions=True)
        return {type(error) for error in said}

    assert run(make(base_url=canned.url), many) == {Refused}
