"""What a server says, in the words of the contract."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from filterkit_openai.oracle import OpenAIOracle
from filterkit_openai.servers import REFUSALS

from filterkit.api import BackendError, Fatal, OracleRequest, RateLimited, Refused, Transient, Unreachable, Usage
from filterkit.testing.fake_llm import FakeLLM
from filterkit.testing.samples import SECRET

from .conftest import GOOD, Canned, ask, question_about, run

SELF_SIGNED = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]


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
        (400, "plain words", Refused, "HTTP 400: plain words"),
        (400, {"error": "prompt is too long"}, Refused, "too long for the model"),
        (400, {"detail": [{"loc": ["body", "n"], "msg": "is odd", "input": "safety"}]}, Refused, "body n is odd"),
        (422, {"object": "error", "message": {"detail": [{"loc": ["body"], "msg": "is odd"}]}}, Refused, "is odd"),
        (400, [{"error": {"code": 400, "message": "odd", "status": "INVALID_ARGUMENT"}}], Refused, "odd"),
        (400, [{"error": {"message": "API key not valid. Please pass a valid one."}}], Fatal, "MY_KEY"),
        (400, failure("Incorrect API key provided: x"), Fatal, "MY_KEY"),
        (400, {"error": "Bad Request", "message": "odd"}, Refused, "odd"),
        (429, {"error": "insufficient_quota"}, Fatal, "Add credit"),
        (
            400,
            {"error": {"message": "Provider returned error", "metadata": {"raw": '{"message": "prompt is too long"}'}}},
            Refused,
            "Provider returned error prompt is too long",
        ),
        (403, failure("long story " * 60 + "it was flagged"), Refused, "long story"),
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
        ({}, "Rate limit exceeded: free-models-per-day-high-balance.", None, "day"),
        ({}, "Limit reached (TPD)", None, "day"),
        ({}, "your daily limit", None, "day"),
        ({}, "a long story " * 40 + "Please try again in 20 seconds.", 20.0, "minute"),
        ({}, "Please retry in 34.5s.", 34.5, "minute"),
        ({"retry-after": "9" * 400}, "slow", None, "minute"),
        ({"retry-after": "999999999"}, "slow", None, "minute"),
        ({"retry-after": "inf"}, "slow", None, "minute"),
        ({"retry-after": "-5"}, "slow", None, "minute"),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:00 GMT"}, "slow", None, "minute"),
        ({"retry-after-ms": "nan", "retry-after": "2"}, "slow", 2.0, "minute"),
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


@pytest.mark.parametrize(
    ("quota", "scope"), [("GenerateRequestsPerDayPerProject", "day"), ("GenerateRequestsPerMinutePerProject", "minute")]
)
@pytest.mark.parametrize("routed", [False, True])
def test_googles_quotas(
    make: Callable[..., OpenAIOracle], canned: Canned, question: OracleRequest, quota: str, scope: str, routed: bool
) -> None:
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"},
    ]
    body: Any = [{"error": {"code": 429, "message": "Quota exceeded", "details": details}}]
    if routed:
        body = {"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": json.dumps(body)}}}
    canned.say(429, body)
    error = error_of(make(base_url=canned.url), question)
    assert isinstance(error, RateLimited)
    assert (error.retry_after_s, error.scope) == (34.0, scope)


@pytest.mark.parametrize("body", [[[[[]]]], {"a": None}, [], "", "{", "[" * 5000, {"error": [1, None]}])
def test_error_bodies_of_no_known_make(
    make: Callable[..., OpenAIOracle], canned: Canned, question: OracleRequest, body: Any
) -> None:
    canned.say(503, body)
    assert "HTTP 503" in str(error_of(make(base_url=canned.url), question))


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
        assert isinstance(error, Unreachable)
        assert "cannot be reached: connection refused" in str(error)

    def test_a_name_that_nobody_has(self, make: Callable[..., OpenAIOracle], question: OracleRequest) -> None:
        error = error_of(make(base_url="http://no-such-host.invalid/v1"), question)
        assert "cannot be reached: its name is not found" in str(error)

    def test_https_to_a_server_that_speaks_http(
        self, make: Callable[..., OpenAIOracle], canned: Canned, question: OracleRequest
    ) -> None:
        error = error_of(make(base_url=canned.url.replace("http:", "https:")), question)
        assert "cannot be reached: TLS failed" in str(error)

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="a certificate is made with openssl")
    def test_a_certificate_that_nobody_vouches_for(
        self, make: Callable[..., OpenAIOracle], question: OracleRequest, tmp_path: Path
    ) -> None:
        key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
        subprocess.run(
            ["openssl", *SELF_SIGNED, "-keyout", key, "-out", cert],
            check=True,
            capture_output=True,
        )
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(cert, key)

        async def use(oracle: OpenAIOracle) -> str:
            server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port, ssl=tls)
            async with server:
                with pytest.raises(Transient) as caught:
                    await oracle.complete(question)
            return str(caught.value)

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        said = run(make(base_url=f"https://127.0.0.1:{port}/v1"), use)
        assert "its TLS certificate is not accepted (self-signed certificate" in said.replace(
            "self signed", "self-signed"
        )

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK's, about aiohttp
    def test_a_proxy_that_is_gone(
        self, make: Callable[..., OpenAIOracle], question: OracleRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://me:hush@127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", "")
        error = error_of(make(base_url="http://example.invalid/v1"), question)
        assert "cannot be reached: the proxy does not answer" in str(error)
        assert "hush" not in str(error)


@pytest.mark.parametrize(
    ("options", "given", "warned"),
    [
        ({"service_tier": "flex"}, "default", True),
        ({"service_tier": "flex"}, "flex", False),
        ({"service_tier": "flex"}, None, False),
        ({}, "on_demand", False),
    ],
)
def test_a_tier_of_another_price_is_said_once(
    make: Callable[..., OpenAIOracle], canned: Canned, options: Any, given: str | None, warned: bool
) -> None:
    canned.say(200, reply_with(service_tier=given))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        ask(make(base_url=canned.url, **options), question_about(0), question_about(1))
    assert [f"service tier {given!r}, flex was asked" in str(w.message) for w in heard] == [True] * warned


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
