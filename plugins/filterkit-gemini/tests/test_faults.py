"""What goes wrong at the provider, as the core is told."""

from __future__ import annotations

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
    for ahead, least, most in ((20, 17, 20), (-20, 0, 0)):
        server = canned(429, problem(429, "later"), {"Retry-After": formatdate(time.time() + ahead, usegmt=True)})
        error = fails(ask, server.url, sdk=sdk)
        assert isinstance(error, RateLimited)
        assert error.retry_after_s is not None
        assert least <= error.retry_after_s <= most


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


@pytest.mark.parametrize("status", [500, 503, 504, 529, 408])
def test_errors_that_pass(ask: Ask, canned: Callable[..., Any], sdk: str, status: int) -> None:
    error = fails(ask, canned(status, problem(status, "Try again later.")).url, sdk=sdk)
    assert isinstance(error, Transient)
    assert error.unbilled


@pytest.mark.parametrize(
    "body",
    [b"", b"oops", b"[]", b'"oops"', b"{", b'[{"error": {"message": "in a list"}}]', b'{"error": "text"}', b"\xff"],
)
def test_errors_in_any_form(ask: Ask, canned: Callable[..., Any], sdk: str, body: bytes) -> None:
    assert isinstance(fails(ask, canned(503, body).url, sdk=sdk), Transient)
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
