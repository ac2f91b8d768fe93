"""What goes wrong at the provider, as the core is told."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from filterkit.errors import BackendError, Fatal, RateLimited, Refused, Transient
from filterkit.records import Reply
from filterkit.testing.fake_llm import FakeLLM

Ask = Callable[..., Reply]
SECRET = "contract-suite-secret"
RPC = "type.googleapis.com/google.rpc."


def problem(code: int, message: str, status: str = "", *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def fails(ask: Ask, url: str, **options: Any) -> BackendError:
    with pytest.raises(BackendError) as caught:
        ask(url, **options)
    text = str(caught.value)
    assert SECRET not in text
    assert SECRET not in repr(caught.value.__cause__)
    assert len(caught.value.what.splitlines()) == 1
    assert "<" not in text, "a gateway's HTML is no message"
    assert len(text) < 400
    return caught.value


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("rate_limit", RateLimited),
        ("quota_day", RateLimited),
        ("server_error", Transient),
        ("bad_gateway", Transient),
        ("drop", Transient),
        ("reset", Transient),
        ("invalid_key", Fatal),
        ("unauthorized", Fatal),
        ("no_balance", Fatal),
        ("forbidden", Fatal),
        ("unknown_model", Fatal),
    ],
)
def test_every_fault_of_the_provider(ask: Ask, sdk: str, fault: str, kind: type[BackendError]) -> None:
    with FakeLLM(script=[fault], retry_after_s=1.25) as server:
        error = fails(ask, server.url, sdk=sdk)
    assert type(error) is kind
    if isinstance(error, RateLimited):
        assert error.scope == ("day" if fault == "quota_day" else "minute")
        assert error.retry_after_s == (None if fault == "quota_day" else 1.25)
    if isinstance(error, Transient):
        answered = fault in ("server_error", "bad_gateway")
        assert error.unbilled is answered, "only what the provider itself refused is certainly not billed"
    if isinstance(error, Fatal):
        assert error.fix, "the user must be told what to do"


def test_a_wrong_key_names_the_variable(ask: Ask) -> None:
    with FakeLLM(api_key="another") as server:
        assert "GEMINI_API_KEY" in str(fails(ask, server.url))


def test_an_unknown_model_is_named(ask: Ask, sdk: str) -> None:
    with FakeLLM(models=["gemini-3.8-flash"]) as server:
        assert "gemini-3.5-flash-lite" in str(fails(ask, server.url, sdk=sdk))


@pytest.mark.parametrize(
    ("headers", "details", "wait_s"),
    [
        ({}, [], None),
        ({"Retry-After": "7"}, [], 7),
        ({"retry-after": "7"}, [{"@type": RPC + "RetryInfo", "retryDelay": "12.5s"}], 12.5),
        ({"Retry-After": "30"}, [{"@type": RPC + "RetryInfo", "retryDelay": "12.5s"}], 30),
        ({"Retry-After": "soon"}, [{"@type": RPC + "RetryInfo", "retryDelay": "later"}], None),
        ({}, [{"@type": RPC + "RetryInfo", "retryDelay": "0s"}], None),
        ({"Retry-After": "0"}, [{"@type": RPC + "RetryInfo", "retryDelay": "3s"}], 3),
        ({"Retry-After": "9" * 400}, [], None),
        ({"Retry-After": "99999999"}, [{"@type": RPC + "RetryInfo", "retryDelay": "9" * 400 + "s"}], None),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, [], None),
    ],
)
def test_how_long_to_wait(
    ask: Ask, canned: Callable[..., Any], sdk: str, headers: dict[str, str], details: list[Any], wait_s: float | None
) -> None:
    body = problem(429, "Quota exceeded", "RESOURCE_EXHAUSTED")
    body["error"]["details"] = details
    error = fails(ask, canned(429, body, headers).url, sdk=sdk)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == wait_s


def test_details_in_a_form_of_their_own_are_passed_over(ask: Ask, canned: Callable[..., Any]) -> None:
    body = problem(429, "Quota exceeded")
    body["error"]["details"] = ["no object", {"violations": "none"}, {"violations": [None]}, {"retryDelay": "3s"}]
    error = fails(ask, canned(429, body).url)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 3


def test_a_date_in_retry_after_is_turned_into_seconds(ask: Ask, canned: Callable[..., Any], sdk: str) -> None:
    for ahead in (20, -20):
        server = canned(429, problem(429, "later"), {"Retry-After": formatdate(time.time() + ahead, usegmt=True)})
        error = fails(ask, server.url, sdk=sdk)
        assert isinstance(error, RateLimited)
        if ahead > 0:
            assert error.retry_after_s is not None
            assert 17 <= error.retry_after_s <= 20
        else:
            assert error.retry_after_s is None, "a pause of 0 would be none"


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("You exceeded your current quota. Please retry in 38.2s.", 38.2),
        ("Please retry in 1m2.5s.", 62.5),
        ("Please retry in 512.5ms.", 0.5125),
        ("Please retry in " + "9" * 400 + "s.", None),
        ("Please retry in a moment.", None),
    ],
)
def test_the_message_says_how_long_to_wait(
    ask: Ask, canned: Callable[..., Any], sdk: str, said: str, wait_s: float | None
) -> None:
    for status in (429, 503):
        error = fails(ask, canned(status, problem(status, said)).url, sdk=sdk)
        assert isinstance(error, RateLimited | Transient)
        assert error.retry_after_s == wait_s


def test_the_day_outweighs_the_minute(ask: Ask, canned: Callable[..., Any]) -> None:
    quotas = [{"quotaId": "GenerateRequestsPerMinutePerProject"}, {"quotaId": "GenerateRequestsPerDayPerProject"}]
    details = {"violations": quotas}, {"retryDelay": "40s"}
    error = fails(ask, canned(429, problem(429, "Quota", "RESOURCE_EXHAUSTED", *details)).url)
    assert isinstance(error, RateLimited)
    assert error.scope == "day"


def test_used_up_credit_is_not_waited_for(ask: Ask, canned: Callable[..., Any]) -> None:
    server = canned(429, problem(429, "Your prepayment credits are depleted.", "RESOURCE_EXHAUSTED"))
    assert isinstance(fails(ask, server.url), Fatal)


@pytest.mark.parametrize(
    ("message", "status", "kind"),
    [
        ("The input token count (1500000) exceeds the maximum number of tokens allowed.", "INVALID_ARGUMENT", Refused),
        ("Request contains an invalid argument.", "INVALID_ARGUMENT", Refused),
        ("API key expired. Please renew the API key.", "INVALID_ARGUMENT", Fatal),
        ("User location is not supported for the API use.", "FAILED_PRECONDITION", Fatal),
        ("Thinking level MINIMAL is not supported for this model.", "INVALID_ARGUMENT", Fatal),
        ('Unknown name "serviceTier": Cannot find field.', "INVALID_ARGUMENT", Fatal),
    ],
)
def test_a_bad_request(
    ask: Ask, canned: Callable[..., Any], sdk: str, message: str, status: str, kind: type[BackendError]
) -> None:
    error = fails(ask, canned(400, problem(400, message, status)).url, sdk=sdk)
    assert type(error) is kind
    assert message[:20] in str(error)


@pytest.mark.parametrize("status", [500, 503, 504, 529, 408, 409, 425, 421, 423, 440, 460, 499])
def test_errors_that_pass(ask: Ask, canned: Callable[..., Any], sdk: str, status: int) -> None:
    error = fails(ask, canned(status, problem(status, "Try again later.")).url, sdk=sdk)
    assert isinstance(error, Transient)
    assert error.unbilled


def test_a_request_that_google_gives_up_under_load_does_not_end_the_run(
    ask: Ask, canned: Callable[..., Any], sdk: str
) -> None:
    details = {"@type": RPC + "ErrorInfo", "reason": "backendError"}
    server = canned(499, problem(499, "The operation was cancelled.", "CANCELLED", details))
    error = fails(ask, server.url, sdk=sdk)
    assert isinstance(error, Transient)
    assert error.unbilled


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 407, 415, 431, 501])
def test_errors_that_every_article_would_meet(ask: Ask, canned: Callable[..., Any], sdk: str, status: int) -> None:
    error = fails(ask, canned(status, problem(status, "No.")).url, sdk=sdk)
    assert isinstance(error, Fatal)
    assert error.fix


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_key_does_not_follow_a_redirect(ask: Ask, canned: Callable[..., Any], sdk: str, status: int) -> None:
    other = canned(200, {"candidates": []})
    server = canned(status, b"", {"Location": other.url + "/v1beta/models/m:generateContent"})
    error = fails(ask, server.url, sdk=sdk)
    assert isinstance(error, Fatal)
    assert other.url in str(error), "the user must know where it leads"
    assert (len(server.requests), len(other.requests)) == (1, 0)


def many(oracle: Callable[..., Any], question: Callable[..., Any], url: str, count: int, **options: Any) -> list[Any]:
    """The errors of `count` articles, one after the other, with one oracle; None for an answer."""

    async def main() -> list[Any]:
        one = oracle(url, **options)
        await one.open()
        errors: list[Any] = []
        for row in range(count):
            try:
                await one.complete(question(row))
            except BackendError as error:
                errors.append(error)
            else:
                errors.append(None)
        await one.aclose()
        return errors

    return asyncio.run(main())


def test_refusals_in_the_same_words_before_any_answer_end_the_run(
    oracle: Callable[..., Any], question: Callable[..., Any], canned: Callable[..., Any], sdk: str
) -> None:
    server = canned(400, problem(400, "Request contains an invalid argument.", "INVALID_ARGUMENT"))
    errors = many(oracle, question, server.url, 16, sdk=sdk)
    assert [type(error) for error in errors] == [Refused] * 15 + [Fatal]
    assert "invalid argument" in str(errors[-1])
    assert "options" in errors[-1].fix


def test_articles_that_are_too_long_never_end_the_run(
    oracle: Callable[..., Any], question: Callable[..., Any], canned: Callable[..., Any]
) -> None:
    server = canned(400, problem(400, "The input token count exceeds the maximum number of tokens allowed."))
    assert {type(error) for error in many(oracle, question, server.url, 40)} == {Refused}


def test_refusals_after_an_answer_never_end_the_run(oracle: Callable[..., Any], question: Callable[..., Any]) -> None:
    answers = iter([b'{"candidates": []}'])

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        ok = next(answers, None)
        body = ok or b'{"error": {"message": "Request contains an invalid argument."}}'
        status = b"200 OK" if ok else b"400 Bad Request"
        writer.write(b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        writer.close()

    async def main() -> list[type[BackendError]]:
        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            one = oracle(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            await one.open()
            kinds = []
            for row in range(40):
                try:
                    await one.complete(question(row))
                except BackendError as error:
                    kinds.append(type(error))
            await one.aclose()
            return kinds

    assert asyncio.run(main()) == [Refused] * 39


@pytest.mark.parametrize(
    "body",
    [b"", b"oops", b"[]", b'"oops"', b"{", b'[{"error": {"message": "in a list"}}]', b'{"error": "text"}', b"\xff"],
)
def test_errors_in_any_form(ask: Ask, canned: Callable[..., Any], sdk: str, body: bytes) -> None:
    assert isinstance(fails(ask, canned(503, body).url, sdk=sdk), Transient)
    assert isinstance(fails(ask, canned(401, body).url, sdk=sdk), Fatal)
    assert isinstance(fails(ask, canned(503, body, {"Content-Type": "text/html"}).url, sdk=sdk), Transient)


def test_the_key_is_taken_out_of_what_the_provider_says(ask: Ask, canned: Callable[..., Any], sdk: str) -> None:
    said = f"The key {SECRET}\n\nis not allowed; " + "and so on " * 100
    for status in (400, 401, 403, 404, 429, 500):
        fails(ask, canned(status, problem(status, said)).url, sdk=sdk)


def test_a_server_that_is_not_there(ask: Ask, sdk: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        error = fails(ask, url, sdk=sdk)
    assert isinstance(error, Transient)
    assert error.unbilled is (sdk == "genai"), "nothing was sent, which the older SDK does not tell apart"
