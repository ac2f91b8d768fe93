"""What the server says, in the words of the contract."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from filterkit_anthropic.faults import REFUSALS, wait_s
from filterkit_anthropic.oracle import AnthropicOracle

from filterkit.api import BackendError, Fatal, OracleRequest, RateLimited, Refused, Transient, Unreachable
from filterkit.testing.fake_llm import FakeLLM
from filterkit.testing.samples import SECRET

from .conftest import GOOD, Canned, ask, question_about, run


def failure(kind: str, text: str = "no", code: str | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"type": kind, "message": text}
    if code:
        error["details"] = {"error_code": code}
    return {"type": "error", "error": error, "request_id": "req_7"}


def error_of(oracle: AnthropicOracle, question: OracleRequest) -> BackendError:
    with pytest.raises(BackendError) as caught:
        ask(oracle, question)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    return caught.value


BAD = "invalid_request_error"


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, failure("authentication_error", "invalid x-api-key"), Fatal, "MY_KEY"),
        (403, failure("permission_error"), Fatal, "MY_KEY"),
        (402, failure("billing_error"), Fatal, "Add credit"),
        (404, failure("not_found_error", "model: contract-model"), Fatal, "Check the model (contract-model)"),
        (400, failure(BAD, "Your credit balance is too low to access the Anthropic API."), Fatal, "Add credit"),
        (400, failure(BAD, "You have reached your specified API usage limits."), Fatal, "raise its spend limit"),
        (400, failure(BAD, "no", "organization_on_hold"), Fatal, "another organization"),
        (400, failure(BAD, "This organization has been disabled."), Fatal, "another organization"),
        (429, failure("rate_limit_error", "no", "enforced_spend_limit_reached"), Fatal, "Add credit"),
        (429, failure("rate_limit_error", "no", "contract_spend_limit_reached"), Fatal, "Add credit"),
        (429, failure("rate_limit_error", "slow down"), RateLimited, "slow down"),
        (429, failure("rate_limit_error", "too fast", "ramp_limit_exceeded"), RateLimited, "too fast"),
        (400, failure(BAD, "prompt is too long: 204983 tokens > 200000 maximum"), Refused, "too long for the model"),
        (400, failure(BAD, "input length and `max_tokens` exceed context limit: 1 + 2 > 2"), Refused, "too long"),
        (413, failure("request_too_large", "Request exceeds the maximum size"), Refused, "too long for the model"),
        (400, failure(BAD, "Output blocked by content filtering policy"), Refused, "content filtering"),
        (400, failure(BAD, "output_config.format.schema: is odd"), Fatal, "options that 'contract-model'"),
        (400, failure(BAD, "max_tokens: 99999 > 64000, which is the maximum"), Fatal, "options that 'contract-model'"),
        (400, failure(BAD, "tool_choice: forced tool use is not supported"), Fatal, "structured"),
        (400, failure(BAD, "odd"), Refused, "odd"),
        (422, failure(BAD, "odd"), Refused, "odd"),
        (400, "plain words", Refused, "HTTP 400: plain words"),
        (307, "elsewhere", Fatal, "the key is not sent on"),
        (405, "", Fatal, "/v1/messages is added"),
        (408, failure("timeout_error"), Transient, "HTTP 408"),
        (409, failure("conflict_error", "conflict"), Transient, "conflict"),
        (500, failure("api_error", "Internal server error"), Transient, "Internal server error"),
        (504, failure("timeout_error"), Transient, "HTTP 504"),
        (529, failure("overloaded_error", "Overloaded"), Transient, "HTTP 529: Overloaded"),
        (502, "<html><b>bad</b> gateway</html>", Transient, "HTTP 502: bad gateway"),
        (500, failure("api_error", f"the key {SECRET} broke it"), Transient, "the key [secret] broke it"),
        (200, failure("overloaded_error", "Overloaded"), Transient, "HTTP 529"),
        (200, failure("rate_limit_error", "wait"), RateLimited, "wait"),
        (200, "<html>Welcome</html>", Transient, "no message"),
        (200, {"object": "list"}, Transient, "no message"),
        (200, {**GOOD, "content": "text"}, Transient, "no message"),
    ],
)
def test_errors(
    make: Callable[..., AnthropicOracle],
    canned: Canned,
    question: OracleRequest,
    status: int,
    body: Any,
    kind: type[BackendError],
    words: str,
) -> None:
    canned.say(status, body, {"location": "http://127.0.0.1:9/"} if status == 307 else {})
    error = error_of(make(base_url=canned.url, api_key_env="MY_KEY"), question)
    assert type(error) is kind
    assert words in str(error)
    assert "127.0.0.1" in str(error)
    assert len(canned.bodies) == 1, "a request that failed was sent again"


@pytest.mark.parametrize("body", ['{"content": [', "[" * 100_000, "null", '"text"'])
def test_what_is_no_json_is_transient(
    make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest, body: str
) -> None:
    canned.say(200, body, {"content-type": "application/json"})
    assert type(error_of(make(base_url=canned.url), question)) is Transient


@pytest.mark.parametrize("body", [[[[]]], {"a": None}, [], "", "{", "[" * 5000, {"error": [1, None]}, {"error": "x"}])
def test_error_bodies_of_no_known_make(
    make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest, body: Any
) -> None:
    canned.say(503, body)
    assert "HTTP 503" in str(error_of(make(base_url=canned.url), question))


def test_a_long_story_is_cut(make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest) -> None:
    canned.say(500, failure("api_error", "a long\nstory " * 500))
    assert len(str(error_of(make(base_url=canned.url), question))) < 300


@pytest.mark.parametrize(("status", "unbilled"), [(500, True), (529, True), (408, True), (502, False), (504, False)])
def test_only_what_the_provider_itself_refused_is_unbilled(
    make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest, status: int, unbilled: bool
) -> None:
    canned.say(status, failure("api_error"))
    error = error_of(make(base_url=canned.url), question)
    assert isinstance(error, Transient)
    assert error.unbilled is unbilled


def test_an_overloaded_server_says_how_long(
    make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest
) -> None:
    canned.say(529, failure("overloaded_error"), {"retry-after": "7"})
    error = error_of(make(base_url=canned.url), question)
    assert isinstance(error, Transient)
    assert error.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("headers", "text", "wait", "scope"),
    [
        ({}, "slow", None, "minute"),
        ({"retry-after": "7"}, "slow", 7.0, "minute"),
        ({"retry-after": "7", "retry-after-ms": "1500"}, "slow", 1.5, "minute"),
        ({"retry-after": "40000"}, "slow", 40000.0, "day"),
        ({"retry-after": "9"}, "would exceed your rate limit of 200 requests per day", 9.0, "day"),
        ({"retry-after": "9"}, "has exceeded your daily rate limit", 9.0, "day"),
        ({"retry-after": "soon"}, "slow", None, "minute"),
        ({"retry-after": "9" * 400}, "slow", None, "minute"),
        ({"retry-after": "999999999"}, "slow", None, "minute"),
        ({"retry-after": "inf"}, "slow", None, "minute"),
        ({"retry-after": "-5"}, "slow", None, "minute"),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:00 GMT"}, "slow", None, "minute"),
    ],
)
def test_how_long_to_wait(
    make: Callable[..., AnthropicOracle],
    canned: Canned,
    question: OracleRequest,
    headers: dict[str, str],
    text: str,
    wait: float | None,
    scope: str,
) -> None:
    canned.say(429, failure("rate_limit_error", text), headers)
    error = error_of(make(base_url=canned.url), question)
    assert isinstance(error, RateLimited)
    assert (error.retry_after_s, error.scope) == (wait, scope)


class TestResets:
    NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)

    def headers(self, **kinds: tuple[str, float]) -> dict[str, str]:
        """Limits by kind: what remains, and seconds until the reset."""
        out = {"date": format_datetime(self.NOW, usegmt=True)}
        for kind, (remaining, seconds) in kinds.items():
            name = f"anthropic-ratelimit-{kind.replace('_', '-')}"
            reset = (self.NOW + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
            out |= {f"{name}-remaining": remaining, f"{name}-reset": reset}
        return out

    def test_the_longest_of_those_used_up_counts_by_the_servers_own_clock(self) -> None:
        headers = self.headers(requests=("5", 90), input_tokens=("0", 21), output_tokens=("0", 33))
        assert wait_s(headers) == 33.0

    def test_what_is_not_used_up_says_nothing(self) -> None:
        assert wait_s(self.headers(requests=("5", 90))) is None

    def test_retry_after_comes_first(self) -> None:
        assert wait_s({**self.headers(requests=("0", 90)), "retry-after": "4"}) == 4.0

    @pytest.mark.parametrize("reset", ["", "tomorrow", "99999-01-01T00:00:00Z", "2026-11-22"])
    def test_times_that_are_none(self, reset: str) -> None:
        headers = {"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": reset}
        assert wait_s({**headers, "date": format_datetime(self.NOW, usegmt=True)}) in (None, 0.0)

    def test_a_limit_that_holds_for_hours_ends_the_run(
        self, make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest
    ) -> None:
        limits = {name: value for name, value in self.headers(tokens=("0", 0)).items() if name != "date"}
        far = datetime.fromtimestamp(time.time() + 20_000, UTC).isoformat()
        canned.say(429, failure("rate_limit_error"), {**limits, "anthropic-ratelimit-tokens-reset": far})
        error = error_of(make(base_url=canned.url), question)
        assert isinstance(error, RateLimited)
        assert error.scope == "day"


def test_the_same_refusal_again_and_again_before_any_answer_ends_the_run(
    make: Callable[..., AnthropicOracle], canned: Canned
) -> None:
    def kinds(oracle: AnthropicOracle, answered_first: bool) -> list[type]:
        async def use(oracle: AnthropicOracle) -> list[type]:
            found = []
            if answered_first:
                canned.say(200, GOOD)
                await oracle.complete(question_about(0))
            canned.say(400, failure(BAD, "odd"))
            for _ in range(REFUSALS):
                try:
                    await oracle.complete(question_about(0))
                except BackendError as error:
                    found.append(type(error))
            return found

        return run(oracle, use)

    assert kinds(make(base_url=canned.url), False) == [Refused] * (REFUSALS - 1) + [Fatal]
    assert kinds(make(base_url=canned.url), True) == [Refused] * REFUSALS


def test_a_server_that_is_not_there_is_unreachable(
    make: Callable[..., AnthropicOracle], question: OracleRequest
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    error = error_of(make(base_url=url), question)
    assert type(error) is Unreachable
    assert "connection refused" in str(error)


def test_a_name_that_is_not_found_is_unreachable(make: Callable[..., AnthropicOracle], question: OracleRequest) -> None:
    assert type(error_of(make(base_url="http://no-such-host.invalid"), question)) is Unreachable


def test_https_where_http_is_spoken(
    make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest
) -> None:
    error = error_of(make(base_url=canned.url.replace("http:", "https:")), question)
    assert type(error) is Unreachable
    assert "TLS failed" in str(error)


@pytest.mark.parametrize("fault", ["drop", "reset"])
def test_a_connection_that_breaks_is_transient_and_may_be_billed(
    make: Callable[..., AnthropicOracle], question: OracleRequest, fault: str
) -> None:
    with FakeLLM(script=[fault]) as server:
        error = error_of(make(base_url=server.url, api_key_env="K"), question)
        assert server.requests == 1
    assert type(error) is Transient
    assert not error.unbilled


def test_no_answer_in_time(make: Callable[..., AnthropicOracle]) -> None:
    with FakeLLM(script=["hang"]) as server:
        error = error_of(make(base_url=server.url, api_key_env="K"), question_about(0, timeout_s=0.3))
    assert type(error) is Transient
    assert "no answer within 0.3 s" in str(error)


def test_a_cancelled_request_is_given_up_at_the_server_too(make: Callable[..., AnthropicOracle]) -> None:
    with FakeLLM(script=["hang"]) as server:

        async def cancel(oracle: AnthropicOracle) -> str:
            task = asyncio.create_task(oracle.complete(question_about(0)))
            while not server.state()["in_flight"]:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return (await oracle.complete(question_about(1))).text

        assert run(make(base_url=server.url, api_key_env="K"), cancel)
        assert server.requests == 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("rate_limit", RateLimited),
        ("quota_day", RateLimited),
        ("no_credit", Fatal),
        ("no_balance", Fatal),
        ("server_error", Transient),
        ("bad_gateway", Transient),
        ("invalid_key", Fatal),
        ("unauthorized", Fatal),
        ("forbidden", Fatal),
        ("unknown_model", Fatal),
    ],
)
def test_faults_of_the_fake_provider(
    make: Callable[..., AnthropicOracle], question: OracleRequest, fault: str, kind: type[BackendError]
) -> None:
    with FakeLLM(script=[fault], retry_after_s=2.5) as server:
        error = error_of(make(base_url=server.url, api_key_env="K"), question)
    assert type(error) is kind
    if isinstance(error, RateLimited):
        assert (error.retry_after_s, error.scope) == (2.5, "day" if fault == "quota_day" else "minute")
