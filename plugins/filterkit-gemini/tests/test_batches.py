"""Batches, with google-genai over a real socket: what goes up, what is found again, what comes down."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from filterkit_gemini.oracle import GeminiOracle
from filterkit_gemini.wire import batch_line

from filterkit.contracts import BatchItem, Context
from filterkit.errors import BackendError, CannotTell, ConfigError, Fatal, RateLimited, Refused, Transient
from filterkit.records import OracleRequest, Reply
from filterkit.testing import fake_context, make_request, sample_articles, tiny_spec
from filterkit.testing.fake_llm import FakeLLM
from filterkit.testing.samples import HOSTILE_TEXTS, SECRET

T = TypeVar("T")
MODEL = "gemini-3.5-flash-lite"
COUNT = 21


@pytest.fixture
def server() -> Iterator[FakeLLM]:
    with FakeLLM(batch_lag_s=0.0) as server:
        yield server


@pytest.fixture
def use(oracle: Callable[..., GeminiOracle]) -> Callable[..., Any]:
    """Does something with an opened oracle, on a loop of its own."""

    def run(url: str, what: Callable[[GeminiOracle], Awaitable[T]], **options: Any) -> T:
        async def main() -> T:
            one = oracle(url, **options)
            await one.open()
            try:
                return await asyncio.wait_for(what(one), 30)
            finally:
                await one.aclose()

        return asyncio.run(main())

    return run


@pytest.fixture
def requests(question: Callable[..., OracleRequest]) -> list[OracleRequest]:
    return [question(row, key=str(row)) for row in range(COUNT)]


async def collected(oracle: GeminiOracle, handle: str) -> list[BatchItem]:
    while (state := await oracle.poll(handle)).state != "ended":
        assert state.poll_after_s <= 1  # a young batch is looked at soon
        await asyncio.sleep(0.02)
    return [item async for item in oracle.collect(handle)]


def whole(requests: list[OracleRequest]) -> Callable[[GeminiOracle], Awaitable[list[BatchItem]]]:
    async def run(oracle: GeminiOracle) -> list[BatchItem]:
        return await collected(oracle, await oracle.submit(requests, "token-1"))

    return run


def replies(items: list[BatchItem]) -> dict[str, Reply]:
    return {item.key: item.reply for item in items if item.reply is not None}


def errors(items: list[BatchItem]) -> dict[str, BackendError]:
    return {item.key: item.error for item in items if item.error is not None}


def test_replies_are_those_of_live_requests(
    server: FakeLLM, use: Callable[..., Any], requests: list[OracleRequest]
) -> None:
    items = use(server.url, whole(requests))
    live = use(server.url, lambda oracle: asyncio.gather(*(oracle.complete(request) for request in requests)))
    assert [item.key for item in items] == [request.key for request in requests]
    assert [item.reply.model_copy(update={"provider_id": None}) for item in items] == [
        reply.model_copy(update={"provider_id": None}) for reply in live
    ]
    paid = server.paid()
    assert paid["batch"] == paid["live"]
    assert set(paid["batch"].values()) == {1}


def test_what_went_up_is_deleted_and_what_came_down_can_be_had_again(
    server: FakeLLM, use: Callable[..., Any], requests: list[OracleRequest], context: Context
) -> None:
    async def twice(oracle: GeminiOracle) -> tuple[list[BatchItem], list[BatchItem]]:
        handle = await oracle.submit(requests, "token-1")
        return await collected(oracle, handle), await collected(oracle, handle)

    first, second = use(server.url, twice)
    assert first == second
    assert len(first) == COUNT
    assert server.state()["files"] == 1  # the results: nobody can know whether they are stored by now
    assert list(context.workdir.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"thinking": "high"},
        {"safety": "default"},
        {"safety": "low"},
        {"model": "gemini-2.5-flash", "thinking": "off"},
    ],
    ids=str,
)
def test_the_body_of_a_request_is_that_of_a_live_one(
    canned: Callable[..., Any], use: Callable[..., Any], oracle: Callable[..., GeminiOracle], options: dict[str, Any]
) -> None:
    server = canned(200, {"candidates": [{"content": {"parts": [{"text": "{}"}]}, "finishReason": "STOP"}]})
    spec, model = tiny_spec(evidence="short"), options.get("model", MODEL)
    articles = [replace(article, content=text) for article in sample_articles(1) for text in HOSTILE_TEXTS]
    asked = [make_request(spec, article, key=f"é{n}", model=model) for n, article in enumerate(articles)]
    asked += [
        asked[0].model_copy(update={"seed": 7, "correction": "\nAgain, please.", "temperature": 1.0}),
        asked[0].model_copy(update={"system": ""}),
    ]

    async def live(one: GeminiOracle) -> None:
        for request in asked:
            await one.complete(request)

    use(server.url, live, **options)
    lines = [json.loads(batch_line(oracle("http://x", **options).options, request)) for request in asked]
    assert [line["request"] for line in lines] == [json.loads(body) for body in server.bodies]
    assert [line["key"] for line in lines] == [request.key for request in asked]


def test_the_file_is_as_long_as_its_requests_are_said_to_be(
    server: FakeLLM, use: Callable[..., Any], requests: list[OracleRequest]
) -> None:
    async def run(oracle: GeminiOracle) -> tuple[int, str]:
        size = sum(oracle.request_bytes(request) for request in requests)
        server.change(batch_file_bytes=size)
        await oracle.submit(requests, "token-1")
        server.change(batch_file_bytes=size - 1)
        with pytest.raises(Fatal) as refused:
            await oracle.submit(requests, "token-2")
        return size, str(refused.value)

    size, said = use(server.url, run)
    assert f"{size} bytes" in said
    assert len(server.batches()) == 1


def test_a_submit_whose_answer_is_lost_is_found(
    server: FakeLLM, use: Callable[..., Any], requests: list[OracleRequest]
) -> None:
    server.change(batch_script=["submit_lost"])

    async def run(oracle: GeminiOracle) -> list[BatchItem]:
        since = time.time()
        with pytest.raises(Transient) as lost:
            await oracle.submit(requests, "token-1")
        assert not lost.value.unbilled
        assert await oracle.find("token-2", since) is None
        handle = await oracle.find("token-1", since)
        assert handle is not None
        return await collected(oracle, handle)

    assert len(replies(use(server.url, run))) == COUNT
    assert len(server.batches()) == 1


@pytest.mark.parametrize("fault", ["submit_error", "submit_limit", "upload_error", "upload_limit", "upload_cut"])
def test_a_submit_that_failed_left_no_job(
    server: FakeLLM, use: Callable[..., Any], requests: list[OracleRequest], context: Context, fault: str
) -> None:
    server.change(batch_script=[fault])

    async def run(oracle: GeminiOracle) -> BackendError:
        with pytest.raises(BackendError) as failed:
            await oracle.submit(requests, "token-1")
        assert await oracle.find("token-1", time.time()) is None
        assert len(replies(await whole(requests)(oracle))) == COUNT
        return failed.value

    error = use(server.url, run)
    assert isinstance(error, RateLimited if fault.endswith("_limit") else Transient)
    if isinstance(error, Transient):  # 503 may come from a gateway that handed the submit on; without a file none was
        assert error.unbilled == fault.startswith("upload")
    assert server.state()["files"] == (2 if fault == "submit_error" else 1)
    assert list(context.workdir.iterdir()) == []


def test_a_job_is_found_behind_pages_of_newer_ones(
    server: FakeLLM, use: Callable[..., Any], requests: list[OracleRequest]
) -> None:
    async def run(oracle: GeminiOracle) -> None:
        since = time.time()
        handle = await oracle.submit(requests[:1], "token-1")
        for number in range(205):
            await asyncio.to_thread(_inline_batch, server.url, f"other-{number % 200}")
        assert await oracle.find("token-1", since) == handle
        assert await oracle.find("other-199", since) is not None
        with pytest.raises(CannotTell, match="2 batches are named other-0"):
            await oracle.find("other-0", since)

    use(server.url, run)


def _inline_batch(url: str, name: str) -> None:
    body = {"batch": {"displayName": name, "inputConfig": {"requests": {"requests": []}}}}
    headers = {"x-goog-api-key": "k", "content-type": "application/json"}
    request = urllib.request.Request(
        f"{url}/v1beta/models/{MODEL}:batchGenerateContent", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def _operation(state: str = "BATCH_STATE_SUCCEEDED", **more: Any) -> dict[str, Any]:
    metadata = {"displayName": "token-1", "state": state, "createTime": "2026-01-01T00:00:00.123456789Z"}
    return {"name": "batches/abc", "metadata": metadata | more.pop("metadata", {}), **more}


def test_the_search_ends_before_the_job_can_have_been_submitted(
    canned: Callable[..., Any], use: Callable[..., Any]
) -> None:
    server = canned(200, {"operations": [_operation()], "nextPageToken": "more"})
    assert use(server.url, lambda oracle: oracle.find("another", time.time())) is None
    assert len(server.requests) == 1
    assert b"GET /v1beta/batches?pageSize=100 " in server.requests[0]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("BATCH_STATE_PENDING", "waiting"),
        ("JOB_STATE_QUEUED", "waiting"),
        ("JOB_STATE_PAUSED", "waiting"),
        ("BATCH_STATE_RUNNING", "running"),
        ("JOB_STATE_UPDATING", "running"),
        ("BATCH_STATE_CANCELLING", "running"),
        ("BATCH_STATE_SOMETHING_NEW", "running"),
        ("BATCH_STATE_SUCCEEDED", "ended"),
        ("JOB_STATE_PARTIALLY_SUCCEEDED", "ended"),
        ("BATCH_STATE_FAILED", "ended"),
        ("BATCH_STATE_CANCELLED", "ended"),
        ("BATCH_STATE_EXPIRED", "ended"),
    ],
)
def test_states(canned: Callable[..., Any], use: Callable[..., Any], state: str, expected: str) -> None:
    stats = {"requestCount": "10", "successfulRequestCount": "4", "failedRequestCount": "1"}
    error = {"code": 3, "message": f"Line 3 is\nno JSON, said {SECRET}."}
    server = canned(200, _operation(state, metadata={"batchStats": stats}, error=error))
    found = use(server.url, lambda oracle: oracle.poll("batches/abc"))
    assert (found.state, found.done, found.total, found.poll_after_s) == (expected, 5, 10, 60.0)
    assert found.message.startswith(state.partition("_STATE_")[2].lower().replace("_", " "))
    assert found.message.endswith("Line 3 is no JSON, said [secret].")


@pytest.mark.parametrize(
    "said", [{}, {"metadata": []}, {"metadata": {"state": 7, "batchStats": {"requestCount": "x"}}}]
)
def test_a_batch_of_which_little_is_said_goes_on(
    canned: Callable[..., Any], use: Callable[..., Any], said: Any
) -> None:
    found = use(canned(200, said).url, lambda oracle: oracle.poll("batches/abc"))
    assert (found.state, found.done, found.total) == ("running", None, None)


def test_a_batch_that_nobody_knows_is_fatal(server: FakeLLM, use: Callable[..., Any]) -> None:
    with pytest.raises(Fatal, match="Google knows no batches/gone"):
        use(server.url, lambda oracle: oracle.poll("batches/gone"))


@pytest.mark.parametrize("handle", ["", "batches/", "batches/../models", "batches/a?b=c", "batches/a/b", "msgbatch_1"])
def test_a_handle_of_another_kind_is_never_sent(server: FakeLLM, use: Callable[..., Any], handle: str) -> None:
    for ask in (GeminiOracle.poll, GeminiOracle.cancel):
        with pytest.raises(Fatal, match="is no batch of Gemini's"):
            use(server.url, lambda oracle, ask=ask: ask(oracle, handle))
    assert server.state()["others"] == 0


@pytest.mark.parametrize(
    ("fault", "keys"),
    [
        ("shuffled", set(range(COUNT))),
        ("repeated", set(range(COUNT))),
        ("unanswered", set(range(COUNT)) - {3, 10, 17}),
        ("garbled", set(range(COUNT)) - {10}),
        ("expires", set(range(10))),
        ("fails", set()),
    ],
)
def test_a_job_that_did_not_go_as_it_should(
    server: FakeLLM, use: Callable[..., Any], requests: list[OracleRequest], fault: str, keys: set[int]
) -> None:
    server.change(batch_script=[fault])
    items = use(server.url, whole(requests))
    assert {int(key) for key in replies(items)} == keys
    assert errors(items) == {}


def test_what_somebody_else_stopped_was_never_run(
    server: FakeLLM, use: Callable[..., Any], requests: list[OracleRequest]
) -> None:
    server.change(batch_script=["stopped"])
    items = use(server.url, whole(requests))
    assert {int(key) for key in replies(items)} == set(range(10))
    assert all(isinstance(error, Transient) and error.unbilled for error in errors(items).values())
    assert {int(key) for key in errors(items)} == set(range(10, COUNT))


def test_cancelled_half_way(use: Callable[..., Any], requests: list[OracleRequest]) -> None:
    async def run(oracle: GeminiOracle) -> list[BatchItem]:
        handle = await oracle.submit(requests, "token-1")
        with pytest.raises(Transient, match="not ended"):
            await collected_now(oracle, handle)
        while not (await oracle.poll(handle)).done:
            await asyncio.sleep(0.02)
        await oracle.cancel(handle)
        items = await collected(oracle, handle)
        await oracle.cancel(handle)  # what has ended stays as it is
        return items

    async def collected_now(oracle: GeminiOracle, handle: str) -> list[BatchItem]:
        return [item async for item in oracle.collect(handle)]

    with FakeLLM(batch_lag_s=3.0) as server:
        items = use(server.url, run)
    done = replies(items)
    assert 0 < len(done) < COUNT
    assert server.state()["batch_answered"] == len(done)
    assert len(done) + len(errors(items)) == COUNT


@pytest.mark.parametrize("fault", ["poll_error", "results_error", "results_cut"])
def test_what_passes_is_transient_and_gives_no_part(
    server: FakeLLM, use: Callable[..., Any], requests: list[OracleRequest], fault: str
) -> None:
    async def run(oracle: GeminiOracle) -> list[BatchItem]:
        handle = await oracle.submit(requests, "token-1")
        server.change(batch_script=[fault])
        got = []
        with pytest.raises(Transient):
            got = [item async for item in oracle.collect(handle)]
        assert got == []
        return await collected(oracle, handle)

    assert len(replies(use(server.url, run))) == COUNT


def test_each_article_meets_its_own_fate(use: Callable[..., Any], question: Callable[..., OracleRequest]) -> None:
    fates = ["ok", "malformed", "blocked", "truncated", "server_error", "reset"]
    requests = [question(row, key=fate) for row, fate in enumerate(fates)]
    bad = question(9, key="bad").model_copy(update={"temperature": 9.0})
    with FakeLLM(batch_lag_s=0.0, script=fates) as server:
        items = use(server.url, whole([*requests, bad]))
    finishes = {key: reply.finish for key, reply in replies(items).items()}
    assert finishes == {"ok": "stop", "malformed": "stop", "blocked": "blocked", "truncated": "length"}
    failed = errors(items)
    assert set(failed) == {"server_error", "reset", "bad"}
    assert isinstance(failed["bad"], Fatal | Refused)
    assert "temperature" in str(failed["bad"])
    for key in ("server_error", "reset"):  # they failed at Google's: tried, and not for nothing
        assert isinstance(failed[key], Transient)
        assert not failed[key].unbilled


def test_lines_of_any_kind_are_read(canned: Callable[..., Any], use: Callable[..., Any]) -> None:
    good = {"candidates": [{"content": {"parts": [{"text": "{}"}]}, "finishReason": "STOP"}], "modelVersion": MODEL}
    inlined = [
        {"metadata": {"key": "a"}, "response": good},
        {"key": "b", "error": {"code": 1, "message": "cancelled"}},
        {"key": "c", "error": {"code": 499, "message": "cancelled"}},
        {"key": "d", "error": {"code": 13, "message": f"internal {SECRET}"}},
        {"key": "e", "error": {"code": 3, "message": "The input token count exceeds the maximum."}},
        {"key": "f", "error": "what?"},
        {"key": "limit", "error": {"code": 8, "message": "Too many tokens."}},
        {"key": "option", "error": {"code": 3, "message": "Thinking level is not supported for this model."}},
        {"key": "g", "response": {"candidates": "what?"}},
        {"key": "h"},
        {"key": 7, "response": good},
        "what?",
        None,
    ]
    output = {"inlinedResponses": {"inlinedResponses": inlined}}
    server = canned(200, _operation(metadata={"output": output}, done=True))
    items = use(server.url, lambda oracle: collected(oracle, "batches/abc"))
    assert set(replies(items)) == {"a"}
    failed = errors(items)
    kinds = {key: (type(error), getattr(error, "unbilled", None)) for key, error in failed.items()}
    tried = (Transient, False)
    expected = {"e": (Refused, None), "option": (Fatal, None)}
    assert kinds == expected | dict.fromkeys(("b", "c", "limit"), (Transient, True)) | dict.fromkeys("dfgh", tried)
    assert SECRET not in str(failed["d"])


def test_results_that_google_deleted_are_lost_for_good(
    server: FakeLLM, use: Callable[..., Any], requests: list[OracleRequest]
) -> None:
    async def run(oracle: GeminiOracle) -> None:
        handle = await oracle.submit(requests, "token-1")
        await collected(oracle, handle)
        name = handle.replace("batches/", "files/batch-")
        address = urllib.request.Request(
            f"{server.url}/v1beta/{name}", headers={"x-goog-api-key": "k"}, method="DELETE"
        )
        await asyncio.to_thread(lambda: urllib.request.urlopen(address).read())
        with pytest.raises(Fatal, match="are gone"):
            await collected(oracle, handle)

    use(server.url, run)


def test_the_key_does_not_follow_a_redirect(canned: Callable[..., Any], use: Callable[..., Any]) -> None:
    elsewhere = canned(200, _operation())
    server = canned(302, {}, {"Location": f"{elsewhere.url}/v1beta/batches/abc"})
    with pytest.raises(Fatal, match="redirected"):
        use(server.url, lambda oracle: oracle.poll("batches/abc"))
    assert elsewhere.requests == []


def test_articles_go_up_only_to_the_address_that_was_named(
    canned: Callable[..., Any], use: Callable[..., Any], requests: list[OracleRequest]
) -> None:
    elsewhere = canned(200, {})
    server = canned(
        200,
        {"file": {"name": "files/x"}, "name": "batches/abc"},
        {"x-goog-upload-url": f"{elsewhere.url}/upload", "x-goog-upload-status": "final"},
    )
    assert use(server.url, lambda oracle: oracle.submit(requests, "token-1")) == "batches/abc"
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("options", "fix"),
    [({"sdk": "generativeai"}, "Use sdk genai"), ({"service_tier": "flex"}, "Leave service_tier out")],
)
def test_what_has_no_batches_says_so_before_anything_is_sent(
    oracle: Callable[..., GeminiOracle], question: Callable[..., OracleRequest], options: dict[str, str], fix: str
) -> None:
    one = oracle("http://127.0.0.1:9", **options)
    with pytest.raises(ConfigError, match=fix):
        one.request_bytes(question())
    with pytest.raises(ConfigError, match=fix):
        one.collect("batches/abc")


def test_a_disk_that_cannot_be_written_ends_the_run(
    server: FakeLLM, requests: list[OracleRequest], tmp_path: Any
) -> None:
    (tmp_path / "file").write_text("in the way")
    options = GeminiOracle.Options.model_validate({"base_url": server.url, "model": MODEL})
    given = fake_context(tmp_path)
    one = GeminiOracle(options, tiny_spec(), Context(workdir=tmp_path / "file" / "work", secret=given.secret))

    async def main() -> None:
        await one.open()
        try:
            await one.submit(requests, "token-1")
        finally:
            await one.aclose()

    with pytest.raises(Fatal, match="cannot be written"):
        asyncio.run(main())
