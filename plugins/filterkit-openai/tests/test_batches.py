"""Batches at OpenAI: what goes up, what comes down, and what is found again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filterkit_openai.oracle import OpenAIOracle

from filterkit.api import (
    BackendError,
    BatchItem,
    CannotTell,
    ConfigError,
    Fatal,
    JobState,
    OracleRequest,
    RateLimited,
    Refused,
    Transient,
    Unreachable,
)
from filterkit.testing import fake_context
from filterkit.testing.fake_llm import FakeLLM, openai_batches
from filterkit.testing.samples import SECRET

from .conftest import Canned, question_about, run

TOKEN = "fk-7-0123456789abcdef"


def oracle_for(make: Callable[..., OpenAIOracle], server: FakeLLM, **options: Any) -> OpenAIOracle:
    return make(**{"base_url": server.openai_url, "batches": True, "api_key_env": "MY_KEY", **options})


def questions(count: int, **changes: Any) -> list[OracleRequest]:
    return [question_about(i, key=str(100 + i), **changes) for i in range(count)]


async def over(oracle: OpenAIOracle, handle: str) -> JobState:
    while (state := await oracle.poll(handle)).state != "ended":
        await asyncio.sleep(0.02)
    return state


async def collected(oracle: OpenAIOracle, handle: str) -> list[BatchItem]:
    return [item async for item in oracle.collect(handle)]


async def whole(oracle: OpenAIOracle, asked: list[OracleRequest]) -> list[BatchItem]:
    handle = await oracle.submit(asked, TOKEN)
    await over(oracle, handle)
    return await collected(oracle, handle)


def results(oracle: OpenAIOracle, asked: list[OracleRequest]) -> dict[str, BatchItem]:
    async def use(oracle: OpenAIOracle) -> list[BatchItem]:
        return await whole(oracle, asked)

    return {item.key: item for item in run(oracle, use)}


@pytest.mark.parametrize("options", [{}, {"reasoning_effort": "none", "temperature": "omit"}, {"structured": "none"}])
def test_a_batch_asks_and_is_answered_as_live_questions_are(make: Callable[..., OpenAIOracle], options: Any) -> None:
    asked = questions(5, seed=3, correction="\nThe last answer was cut off.")

    async def both(oracle: OpenAIOracle) -> tuple[list[BatchItem], list[str]]:
        return await whole(oracle, asked), [(await oracle.complete(question)).text for question in asked]

    with FakeLLM() as server:
        items, live = run(oracle_for(make, server, **options), both)
        sent = [(e.system, e.user, e.schema, e.config) for e in server.exchanges]
    assert sent[:5] == sent[5:], "what is sent is the same to the letter"
    assert [item.reply.text for item in items if item.reply] == live
    assert [item.key for item in items] == [question.key for question in asked]
    first = items[0].reply
    assert first is not None
    assert (first.model_version, first.finish) == ("contract-model", "stop")
    assert first.usage.input


def test_bytes_are_those_of_the_file(make: Callable[..., OpenAIOracle]) -> None:
    asked = [
        *questions(3),
        question_about(3).model_copy(update={"article": "Zażółć gęślą jaźń 新聞 \U0001f600 " * 80_000}),
    ]

    async def use(oracle: OpenAIOracle) -> int:
        before = sum(oracle.request_bytes(question) for question in asked)
        batch = await oracle._servers.all[0].client.batches.retrieve(await oracle.submit(asked, TOKEN))
        stored = await oracle._servers.all[0].client.files.retrieve(batch.input_file_id)
        return before - stored.bytes

    with FakeLLM() as server:
        assert run(oracle_for(make, server), use) == 0


def test_it_is_found_again_among_many_and_not_before_its_time(make: Callable[..., OpenAIOracle]) -> None:
    async def use(oracle: OpenAIOracle) -> None:
        began = time.time()
        one = questions(1)
        handle = await oracle.submit(one, TOKEN)
        for number in range(120):
            await oracle.submit(one, f"other-{number}")
        assert await oracle.find(TOKEN, began) == handle
        assert await oracle.find(TOKEN[:-1], began) is None
        assert await oracle.find(TOKEN, began + 3600) is None, "what is older is not looked at"

    with FakeLLM(batch_lag_s=60) as server:
        run(oracle_for(make, server), use)


def test_what_was_accepted_without_an_answer_is_found(make: Callable[..., OpenAIOracle]) -> None:
    async def use(oracle: OpenAIOracle) -> str | None:
        began = time.time()
        with pytest.raises(Transient):
            await oracle.submit(questions(3), TOKEN)
        return await oracle.find(TOKEN, began)

    with FakeLLM(batch_script=["submit_lost"]) as server:
        assert run(oracle_for(make, server), use) == server.batches()[0]["id"]


def test_answers_whose_file_is_not_named_yet_are_not_given_up(
    make: Callable[..., OpenAIOracle], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = openai_batches._batch_object

    async def use(oracle: OpenAIOracle) -> list[BatchItem]:
        handle = await oracle.submit(questions(3), TOKEN)
        await over(oracle, handle)
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(openai_batches, "_batch_object", lambda job: {**told(job), "output_file_id": None})
            with pytest.raises(Transient, match="does not say yet where its answers are"):
                await collected(oracle, handle)
        return await collected(oracle, handle)

    with FakeLLM() as server:
        assert len(run(oracle_for(make, server), use)) == 3


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("upload_error", Transient),
        ("upload_limit", RateLimited),
        ("upload_cut", Transient),
        ("submit_error", Transient),
        ("submit_limit", RateLimited),
    ],
)
def test_what_was_not_accepted_is_no_job(make: Callable[..., OpenAIOracle], fault: str, kind: type) -> None:
    async def use(oracle: OpenAIOracle) -> BackendError:
        began = time.time()
        with pytest.raises(BackendError) as caught:
            await oracle.submit(questions(3), TOKEN)
        assert await oracle.find(TOKEN, began) is None
        assert getattr(caught.value, "unbilled", True), "nothing was made, for sure"
        return caught.value

    with FakeLLM(batch_script=[fault]) as server:
        error = run(oracle_for(make, server), use)
    assert type(error) is kind
    assert SECRET not in str(error)


@pytest.mark.parametrize(("fault", "says"), [("expires", "expired"), ("stopped", "cancelled")])
def test_half_a_job_is_answers_and_a_remainder_that_cost_nothing(
    make: Callable[..., OpenAIOracle], fault: str, says: str
) -> None:
    async def use(oracle: OpenAIOracle) -> tuple[JobState, list[BatchItem]]:
        handle = await oracle.submit(questions(10), TOKEN)
        return await over(oracle, handle), await collected(oracle, handle)

    with FakeLLM(batch_script=[fault]) as server:
        state, items = run(oracle_for(make, server), use)
    errors = [item.error for item in items if item.error]
    assert (state.state, state.message) == ("ended", says)
    assert len(items) == 10
    assert len(errors) == 5
    assert all(isinstance(error, Transient) and error.unbilled for error in errors)


def test_a_job_that_fails_says_why_and_brings_nothing(make: Callable[..., OpenAIOracle]) -> None:
    twice = [question_about(0, key="7"), question_about(1, key="7")]

    async def use(oracle: OpenAIOracle) -> tuple[str, int]:
        handle = await oracle.submit(twice, TOKEN)
        return (await over(oracle, handle)).message, len(await collected(oracle, handle))

    with FakeLLM() as server:
        message, count = run(oracle_for(make, server), use)
    assert message.startswith("failed: duplicate_custom_id")
    assert count == 0


@pytest.mark.parametrize("fault", ["shuffled", "repeated", "unanswered", "garbled"])
def test_odd_results_stay_with_their_questions(make: Callable[..., OpenAIOracle], fault: str) -> None:
    asked = questions(14)
    with FakeLLM() as server:
        right = {key: item.reply.text for key, item in results(oracle_for(make, server), asked).items() if item.reply}
        server.change(batch_script=[fault])
        found = results(oracle_for(make, server), asked)
    assert len(right) == 14
    assert len(found) == 14 - {"unanswered": 2, "garbled": 1}.get(fault, 0)
    assert all(item.reply and item.reply.text == right[key] for key, item in found.items())


@pytest.mark.parametrize("fault", ["results_error", "results_cut"])
def test_results_can_be_fetched_again(make: Callable[..., OpenAIOracle], tmp_path: Path, fault: str) -> None:
    async def use(oracle: OpenAIOracle) -> tuple[int, int]:
        handle = await oracle.submit(questions(20), TOKEN)
        await over(oracle, handle)
        with pytest.raises(Transient):
            await collected(oracle, handle)
        return len(await collected(oracle, handle)), len(await collected(oracle, handle))

    with FakeLLM(batch_script=[fault]) as server:
        assert run(oracle_for(make, server), use) == (20, 20)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "nothing is left lying about"


@pytest.mark.parametrize(
    ("fault", "kind", "unbilled"),
    [
        ("server_error", Transient, True),
        ("bad_gateway", Transient, True),
        ("no_credit", Fatal, None),
        ("unknown_model", Fatal, None),
    ],
)
def test_the_error_of_one_request(
    make: Callable[..., OpenAIOracle], fault: str, kind: type, unbilled: bool | None
) -> None:
    with FakeLLM(script=["ok", fault]) as server:
        items = results(oracle_for(make, server), questions(3))
    assert items["100"].reply
    assert items["102"].reply
    error = items["101"].error
    assert type(error) is kind
    assert getattr(error, "unbilled", None) is unbilled


def test_an_article_that_is_refused_is_no_sign_that_all_are(make: Callable[..., OpenAIOracle]) -> None:
    body = {"error": {"message": "This model's maximum context length is 9 tokens.", "code": "context_length_exceeded"}}
    line = json.dumps({"custom_id": "7", "response": {"status_code": 400, "body": body}, "error": None}).encode()

    async def use(oracle: OpenAIOracle) -> BatchItem | None:
        return oracle._batches()._item(line, oracle._servers.all[0].dialect, hopeless=True)

    with FakeLLM() as server:
        item = run(oracle_for(make, server), use)
    assert item
    assert isinstance(item.error, Refused)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[",
        b"[" * 100_000,
        b"null",
        b'"text"',
        b"{}",
        b'{"custom_id": 7}',
        b'{"custom_id": "7"}',
        b'{"custom_id": "7", "response": 3, "error": [1]}',
        b'{"custom_id": "7", "response": {}}',
        b'{"custom_id": "7", "response": {"status_code": "x", "body": null}}',
        b'{"custom_id": "7", "response": {"status_code": 200, "body": []}}',
        b'{"custom_id": "7", "response": {"status_code": 200, "body": {"choices": [{"message": {"content": NaN}}]}}}',
    ],
)
def test_any_line_is_an_item_or_nothing(make: Callable[..., OpenAIOracle], line: bytes) -> None:
    async def use(oracle: OpenAIOracle) -> BatchItem | None:
        return oracle._batches()._item(line, oracle._servers.all[0].dialect, False)

    with FakeLLM() as server:
        item = run(oracle_for(make, server), use)
    assert item is None or (item.key == "7" and (item.reply is None) != (item.error is None))


def test_requests_of_which_none_is_taken_are_no_fault_of_their_articles(make: Callable[..., OpenAIOracle]) -> None:
    with FakeLLM() as server:
        items = results(oracle_for(make, server, extra_body={"top_k": 3}), questions(20))
    assert {type(item.error) for item in items.values()} == {Fatal}


def test_what_a_job_teaches_the_next_one_knows_in_another_process_too(
    make: Callable[..., OpenAIOracle], tmp_path: Path
) -> None:
    asked = questions(20)
    with FakeLLM(structured=["json_object", "none"]) as server:
        with pytest.warns(UserWarning, match="takes no json_schema"):
            first = results(oracle_for(make, server), asked)
        second = results(oracle_for(make, server), asked)
        modes = {exchange.mode for exchange in server.exchanges[20:]}
        server.change(structured=["json_schema"])
        other = results(oracle_for(make, server, strict=False), asked)
    assert all(isinstance(item.error, Transient) and item.error.unbilled for item in first.values())
    assert all(item.reply for item in second.values())
    assert modes == {"json_object"}
    assert all(item.reply for item in other.values()), "other options, another beginning"


def test_it_can_be_cancelled_and_cancelled_again(make: Callable[..., OpenAIOracle]) -> None:
    async def use(oracle: OpenAIOracle) -> list[BatchItem]:
        handle = await oracle.submit(questions(10), TOKEN)
        await oracle.cancel(handle)
        await over(oracle, handle)
        await oracle.cancel(handle)
        return await collected(oracle, handle)

    with FakeLLM(batch_lag_s=1.0) as server:
        items = run(oracle_for(make, server), use)
    assert all(isinstance(item.error, Transient) and item.error.unbilled for item in items)


def test_a_job_that_is_not_over_is_not_collected(make: Callable[..., OpenAIOracle]) -> None:
    async def use(oracle: OpenAIOracle) -> None:
        handle = await oracle.submit(questions(2), TOKEN)
        assert (await oracle.poll(handle)).state == "waiting"
        with pytest.raises(Transient, match="not over"):
            await collected(oracle, handle)

    with FakeLLM(batch_lag_s=60) as server:
        run(oracle_for(make, server), use)


@pytest.mark.parametrize("handle", ["batch_none", "../../files", "x" * 5000, "ä\n"])
def test_a_handle_that_is_none(make: Callable[..., OpenAIOracle], handle: str) -> None:
    async def use(oracle: OpenAIOracle) -> None:
        for ask in (oracle.poll(handle), oracle.cancel(handle), collected(oracle, handle)):
            with pytest.raises(Fatal) as caught:
                await ask
            assert "\n" not in str(caught.value)

    with FakeLLM() as server:
        run(oracle_for(make, server), use)


def test_the_articles_are_deleted_at_the_provider_and_the_answers_are_not(make: Callable[..., OpenAIOracle]) -> None:
    async def use(oracle: OpenAIOracle) -> list[bool]:
        client = oracle._servers.all[0].client
        handle = await oracle.submit(questions(2), TOKEN)
        await over(oracle, handle)
        await collected(oracle, handle)
        batch = await client.batches.retrieve(handle)
        found = []
        for file_id in (batch.input_file_id, batch.output_file_id):
            try:
                found.append(bool(await client.files.retrieve(str(file_id))))
            except Exception:
                found.append(False)
        return found

    with FakeLLM() as server:
        assert run(oracle_for(make, server), use) == [False, True]


@pytest.mark.parametrize(
    ("status", "surely_not"), [(500, False), (502, False), (503, True), (504, False), (409, False)]
)
def test_an_error_that_may_hide_a_job(
    make: Callable[..., OpenAIOracle], canned: Canned, status: int, surely_not: bool
) -> None:
    canned.answers = [(200, {"id": "file-7"}, {}), (status, {"error": {"message": "no"}}, {})]

    async def use(oracle: OpenAIOracle) -> bool:
        with pytest.raises(Transient) as caught:
            await oracle.submit(questions(1), TOKEN)
        return caught.value.unbilled

    assert run(make(base_url=canned.url, batches=True), use) is surely_not


class TestWhoHasBatches:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"base_url": "http://localhost:8000/v1"}, "localhost:8000 is not known to have"),
            ({"base_url": ["http://a/v1", "http://b/v1"], "batches": True}, "batches go to one server"),
            ({"batches": False}, "not known to have"),
            ({"service_tier": "flex"}, "no flex tier"),
        ],
    )
    def test_it_is_said_before_anything_is_sent(
        self, make: Callable[..., OpenAIOracle], options: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(ConfigError, match=says):
            make(**options).request_bytes(question_about(0))

    def test_openais_own_has(self, make: Callable[..., OpenAIOracle]) -> None:
        assert make().request_bytes(question_about(0)) > 500

    def test_a_server_that_was_said_to_have_them_and_has_not(self, make: Callable[..., OpenAIOracle]) -> None:
        async def use(oracle: OpenAIOracle) -> str:
            with pytest.raises(Fatal) as caught:
                await oracle.submit(questions(1), TOKEN)
            return str(caught.value)

        with FakeLLM(openai_own=False) as server:
            assert "It knows no files" in run(oracle_for(make, server), use)

    def test_nobody_there(self, make: Callable[..., OpenAIOracle]) -> None:
        async def use(oracle: OpenAIOracle) -> None:
            with pytest.raises(Unreachable):
                await oracle.poll("batch_7")

        run(make(base_url="http://127.0.0.1:9/v1", batches=True), use)

    def test_a_server_without_metadata_cannot_tell(self, make: Callable[..., OpenAIOracle], canned: Canned) -> None:
        page = {"data": [{"id": "b7", "created_at": int(time.time()), "metadata": None}], "has_more": False}
        canned.get = page

        async def use(oracle: OpenAIOracle) -> None:
            with pytest.raises(CannotTell, match="b7"):
                await oracle.find(TOKEN, time.time())

        run(make(base_url=canned.url, batches=True), use)

    @pytest.mark.parametrize("body", ["<html>Welcome</html>", [], {"object": "list"}, {"id": 7}, "null"])
    def test_what_is_no_batch_is_transient(self, make: Callable[..., OpenAIOracle], canned: Canned, body: Any) -> None:
        canned.get = body

        async def use(oracle: OpenAIOracle) -> None:
            with pytest.raises(Transient):
                await oracle.poll("batch_7")

        run(make(base_url=canned.url, batches=True), use)


def test_no_secret_gets_anywhere(make: Callable[..., OpenAIOracle], tmp_path: Path) -> None:
    with FakeLLM(structured=["none"]) as server, pytest.warns(UserWarning, match="takes no json_schema"):
        items = results(
            make(fake_context(tmp_path), base_url=server.openai_url, batches=True, api_key_env="K"), questions(2)
        )
    assert SECRET not in str(items)
    assert not any(SECRET in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
