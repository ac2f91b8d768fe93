"""Message Batches: what goes up, what comes down, and what is found again where nothing can be written on a batch."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from filterkit_anthropic.oracle import AnthropicOracle

from filterkit.api import (
    BackendError,
    BatchItem,
    CannotTell,
    Fatal,
    JobState,
    OracleRequest,
    RateLimited,
    Refused,
    Transient,
    Unreachable,
)
from filterkit.testing.fake_llm import FakeLLM
from filterkit.testing.samples import SECRET

from .conftest import Canned, question_about, run

TOKEN = "fk-7-0123456789abcdef"
Make = Callable[..., AnthropicOracle]


def oracle_for(make: Make, server: FakeLLM, **options: Any) -> AnthropicOracle:
    return make(**{"base_url": server.url, "api_key_env": "MY_KEY", **options})


def questions(count: int, **changes: Any) -> list[OracleRequest]:
    return [question_about(i, key=str(100 + i), **changes) for i in range(count)]


async def over(oracle: AnthropicOracle, handle: str) -> JobState:
    while (state := await oracle.poll(handle)).state != "ended":
        await asyncio.sleep(0.02)
    return state


async def collected(oracle: AnthropicOracle, handle: str) -> list[BatchItem]:
    return [item async for item in oracle.collect(handle)]


async def whole(oracle: AnthropicOracle, asked: list[OracleRequest]) -> list[BatchItem]:
    handle = await oracle.submit(asked, TOKEN)
    await over(oracle, handle)
    return await collected(oracle, handle)


def results(oracle: AnthropicOracle, asked: list[OracleRequest]) -> dict[str, BatchItem]:
    async def use(oracle: AnthropicOracle) -> list[BatchItem]:
        return await whole(oracle, asked)

    return {item.key: item for item in run(oracle, use)}


@pytest.mark.parametrize("options", [{}, {"structured": "tool", "cache": "1h"}, {"thinking": "adaptive"}])
def test_a_batch_asks_and_is_answered_as_live_questions_are(make: Make, options: Any) -> None:
    asked = questions(5, correction="\nThe last answer was cut off.")

    async def both(oracle: AnthropicOracle) -> tuple[list[BatchItem], list[str]]:
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


def test_the_rubric_is_cached_in_a_batch_too(make: Make) -> None:
    with FakeLLM(min_cached_tokens=16) as server:
        items = results(oracle_for(make, server), questions(3))
    cached = [item.reply.usage.cached_input for item in items.values() if item.reply]
    assert cached[0] == 0
    assert all(cached[1:])


def test_bytes_and_names_are_within_the_limits(make: Make, canned: Canned) -> None:
    token = "t" * 40
    asked = [*questions(3), question_about(3).model_copy(update={"article": "Zażółć 新聞 \U0001f600 " * 50})]
    canned.say(200, {"id": "msgbatch_7"})

    async def use(oracle: AnthropicOracle) -> int:
        await oracle.submit(asked, token)
        return sum(oracle.request_bytes(question) for question in asked)

    said = run(make(base_url=canned.url), use)
    sent = canned.bodies[0]["requests"]
    assert len(json.dumps({"requests": sent}, ensure_ascii=False, separators=(",", ":")).encode()) <= said + 20
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", request["custom_id"]) for request in sent)
    assert canned.headers[0]["content-length"]


def test_a_key_that_cannot_be_a_name_is_said_before_anything_is_sent(make: Make, canned: Canned) -> None:
    async def use(oracle: AnthropicOracle) -> None:
        with pytest.raises(ValueError, match="custom_id"):
            await oracle.submit([question_about(0, key="a key")], TOKEN)

    run(make(base_url=canned.url), use)
    assert not canned.bodies


class TestFinding:
    def test_what_was_submitted_here_is_known(self, make: Make) -> None:
        async def use(oracle: AnthropicOracle) -> None:
            began = time.time()
            handle = await oracle.submit(questions(2), TOKEN)
            await oracle.submit(questions(2), "other")
            assert await oracle.find(TOKEN, began) == handle
            assert await oracle.find("never-submitted", began) is None

        with FakeLLM(batch_lag_s=60) as server:
            run(oracle_for(make, server), use)

    def test_one_that_is_over_is_known_by_its_results(self, make: Make, tmp_path: Path) -> None:
        async def use(oracle: AnthropicOracle) -> None:
            began = time.time()
            for number in range(3):
                await over(oracle, await oracle.submit(questions(2), f"other-{number}"))
            handle = await oracle.submit(questions(2), TOKEN)
            await over(oracle, handle)
            shutil.rmtree(tmp_path / "batches")
            assert await oracle.find(TOKEN, began) == handle
            assert await oracle.find(TOKEN[:-1], began) is None
            assert await oracle.find("never", began + 3600) is None, "what is older is not looked at"

        with FakeLLM(batch_lag_s=0.05) as server:
            run(oracle_for(make, server), use)

    def test_one_that_is_running_cannot_be_told_from_a_strangers(self, make: Make) -> None:
        async def use(oracle: AnthropicOracle) -> tuple[str, str | None]:
            began = time.time()
            with pytest.raises(Transient):
                await oracle.submit(questions(3), TOKEN)
            with pytest.raises(CannotTell) as caught:
                await oracle.find(TOKEN, began)
            assert caught.value.retry_after_s, "it can be told later"
            while server.batches()[0]["status"] != "succeeded":
                await oracle.poll(server.batches()[0]["id"])
            return str(caught.value), await oracle.find(TOKEN, began)

        with FakeLLM(batch_script=["submit_lost"], batch_lag_s=0.3) as server:
            said, found = run(oracle_for(make, server), use)
            handle = server.batches()[0]["id"]
        assert handle in said
        assert found == handle

    def test_strangers_of_another_size_are_none_of_ours(self, make: Make, tmp_path: Path) -> None:
        async def stranger(oracle: AnthropicOracle) -> None:
            await oracle.submit(questions(5), "stranger")

        async def use(oracle: AnthropicOracle) -> None:
            with pytest.raises(Transient):
                await oracle.submit(questions(3), TOKEN)
            assert await oracle.find(TOKEN, time.time()) is None

        with FakeLLM(batch_lag_s=60) as server:
            run(oracle_for(make, server), stranger)
            shutil.rmtree(tmp_path / "batches")
            server.change(batch_script=["upload_cut"])
            run(oracle_for(make, server), use)

    def test_one_that_the_provider_has_no_more_is_not_found(self, make: Make) -> None:
        async def use(oracle: AnthropicOracle) -> None:
            await oracle.submit(questions(1), TOKEN)
            server.reset()
            assert await oracle.find(TOKEN, time.time()) is None

        with FakeLLM() as server:
            run(oracle_for(make, server), use)

    def test_pages_are_followed_to_the_end_and_no_further(self, make: Make, canned: Canned) -> None:
        pages = []
        for first in (0, 100, 150):
            batches = [stub(f"b{first + i}", time.time()) for i in range(100)]
            pages.append({"data": batches, "has_more": True, "first_id": "b0", "last_id": batches[-1]["id"]})
        canned.gets = pages

        async def use(oracle: AnthropicOracle) -> None:
            with pytest.raises(CannotTell, match="b0, b1, "):
                await oracle.find(TOKEN, time.time())

        run(make(base_url=canned.url), use)
        assert len(canned.got) == 3, "a page that repeats itself is the last one"

    def test_a_batch_whose_results_are_gone_cannot_be_told(self, make: Make, canned: Canned) -> None:
        page = {"data": [stub("b7", time.time(), "ended")], "has_more": False}
        canned.gets = [page, (404, {"type": "error", "error": {"type": "not_found_error", "message": "gone"}})]

        async def use(oracle: AnthropicOracle) -> None:
            with pytest.raises(CannotTell, match="b7") as caught:
                await oracle.find(TOKEN, time.time())
            assert caught.value.retry_after_s is None

        run(make(base_url=canned.url), use)


def stub(id: str, created: float, status: str = "in_progress") -> dict[str, Any]:
    return {"id": id, "processing_status": status, "created_at": datetime.fromtimestamp(created, UTC).isoformat()}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("submit_error", Transient), ("submit_limit", RateLimited), ("upload_error", Transient)],
)
def test_what_was_not_accepted_is_no_job(make: Make, fault: str, kind: type) -> None:
    async def use(oracle: AnthropicOracle) -> BackendError:
        began = time.time()
        with pytest.raises(BackendError) as caught:
            await oracle.submit(questions(3), TOKEN)
        assert await oracle.find(TOKEN, began) is None
        return caught.value

    with FakeLLM(batch_script=[fault]) as server:
        error = run(oracle_for(make, server), use)
    assert type(error) is kind
    assert getattr(error, "unbilled", True), "nothing was made, for sure"
    assert SECRET not in str(error)


@pytest.mark.parametrize(("status", "surely_not"), [(500, False), (502, False), (529, True), (409, False)])
def test_an_error_that_may_hide_a_batch(make: Make, canned: Canned, status: int, surely_not: bool) -> None:
    canned.say(status, {"type": "error", "error": {"type": "api_error", "message": "no"}})

    async def use(oracle: AnthropicOracle) -> bool:
        with pytest.raises(Transient) as caught:
            await oracle.submit(questions(1), TOKEN)
        return caught.value.unbilled

    assert run(make(base_url=canned.url), use) is surely_not


@pytest.mark.parametrize(("fault", "says"), [("expires", "5 expired"), ("stopped", "5 canceled")])
def test_half_a_job_is_answers_and_a_remainder_that_cost_nothing(make: Make, fault: str, says: str) -> None:
    async def use(oracle: AnthropicOracle) -> tuple[JobState, list[BatchItem]]:
        handle = await oracle.submit(questions(10), TOKEN)
        return await over(oracle, handle), await collected(oracle, handle)

    with FakeLLM(batch_script=[fault]) as server:
        state, items = run(oracle_for(make, server), use)
    errors = [item.error for item in items if item.error]
    assert state.state == "ended"
    assert says in state.message
    assert "5 succeeded" in state.message
    assert (state.done, state.total, len(items), len(errors)) == (10, 10, 10, 5)
    assert all(isinstance(error, Transient) and error.unbilled for error in errors)


@pytest.mark.parametrize("fault", ["shuffled", "repeated", "unanswered", "garbled"])
def test_odd_results_stay_with_their_questions(make: Make, fault: str) -> None:
    asked = questions(14)
    with FakeLLM() as server:
        right = {key: item.reply.text for key, item in results(oracle_for(make, server), asked).items() if item.reply}
        server.change(batch_script=[fault])
        found = results(oracle_for(make, server), asked)
    assert len(right) == 14
    assert len(found) == 14 - {"unanswered": 2, "garbled": 1}.get(fault, 0)
    assert all(item.reply and item.reply.text == right[key] for key, item in found.items())


@pytest.mark.parametrize("fault", ["results_error", "results_cut"])
def test_results_can_be_fetched_again(make: Make, tmp_path: Path, fault: str) -> None:
    async def use(oracle: AnthropicOracle) -> tuple[int, int]:
        handle = await oracle.submit(questions(20), TOKEN)
        await over(oracle, handle)
        with pytest.raises(Transient):
            await collected(oracle, handle)
        return len(await collected(oracle, handle)), len(await collected(oracle, handle))

    with FakeLLM(batch_script=[fault]) as server:
        assert run(oracle_for(make, server), use) == (20, 20)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{TOKEN}.json"]


@pytest.mark.parametrize(
    ("fault", "kind", "unbilled"),
    [
        ("server_error", Transient, True),
        ("bad_gateway", Transient, True),
        ("no_credit", Fatal, None),
        ("unknown_model", Fatal, None),
    ],
)
def test_the_error_of_one_request(make: Make, fault: str, kind: type, unbilled: bool | None) -> None:
    with FakeLLM(script=["ok", fault]) as server:
        items = results(oracle_for(make, server), questions(3))
    assert items["100"].reply
    assert items["102"].reply
    error = items["101"].error
    assert type(error) is kind
    assert getattr(error, "unbilled", None) is unbilled


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[" * 100_000,
        b"null",
        b'"text"',
        b"{}",
        b'{"custom_id": 7, "result": {}}',
        b'{"custom_id": "no-token", "result": {}}',
        b'{"custom_id": "t_7", "result": []}',
        b'{"custom_id": "t_7", "result": {}}',
        b'{"custom_id": "t_7", "result": {"type": "succeeded"}}',
        b'{"custom_id": "t_7", "result": {"type": "succeeded", "message": {"content": [NaN]}}}',
        b'{"custom_id": "t_7", "result": {"type": "errored", "error": [1]}}',
        b'{"custom_id": "t_7", "result": {"type": "errored"}}',
        b'{"custom_id": "t_7", "result": {"type": ["x"]}}',
    ],
)
def test_any_line_is_an_item_or_nothing(make: Make, canned: Canned, line: bytes) -> None:
    async def use(oracle: AnthropicOracle) -> BatchItem | None:
        return oracle._batches()._item(line, "disabled")

    item = run(make(base_url=canned.url), use)
    assert item is None or (item.key == "7" and (item.reply is None) != (item.error is None))


@pytest.mark.parametrize("answered", [False, True])
def test_a_refusal_is_believed_where_anything_was_answered(make: Make, canned: Canned, answered: bool) -> None:
    odd = {"type": "errored", "error": {"type": "error", "error": {"type": "invalid_request_error", "message": "odd"}}}
    lines = [json.dumps({"custom_id": f"t_{i}", "result": odd}) for i in range(20)]
    counts = {"succeeded": int(answered), "errored": 20, "processing": 0}
    canned.gets = [{**stub("b7", time.time(), "ended"), "request_counts": counts}, "\n".join(lines)]

    async def use(oracle: AnthropicOracle) -> list[BatchItem]:
        return await collected(oracle, "b7")

    kinds = {type(item.error) for item in run(make(base_url=canned.url), use)}
    assert kinds == {Refused if answered else Fatal}


def test_what_a_job_teaches_the_next_one_knows_in_another_process_too(make: Make) -> None:
    model = "claude-opus-5-5"
    asked = questions(3, model=model)
    with FakeLLM() as server:
        first = results(oracle_for(make, server, model=model), asked)
        with pytest.warns(UserWarning, match="cannot stop thinking"):
            second = results(oracle_for(make, server, model=model), asked)
        third = results(oracle_for(make, server, model=model), asked)
        sent = server.exchanges[-1].config
    for refused in (first, second):
        assert all(isinstance(item.error, Transient) and item.error.unbilled for item in refused.values())
    assert all(item.reply for item in third.values())
    assert "thinking" not in sent
    assert sent["output_config"]["effort"] == "low"


def test_two_jobs_that_were_asked_in_the_same_way_teach_once(make: Make) -> None:
    model = "claude-sonnet-5-5"

    async def use(oracle: AnthropicOracle) -> list[BatchItem]:
        handles = [await oracle.submit(questions(2, model=model), f"{TOKEN}-{number}") for number in range(2)]
        for handle in handles:
            await over(oracle, handle)
            await collected(oracle, handle)
        return await whole(oracle, questions(2, model=model))

    with FakeLLM() as server:
        items = run(oracle_for(make, server, model=model), use)
        sent = server.exchanges[-1].config
    assert all(item.reply for item in items)
    assert sent["thinking"] == {"type": "between_tools"}


def test_it_can_be_cancelled_and_cancelled_again(make: Make) -> None:
    async def use(oracle: AnthropicOracle) -> list[BatchItem]:
        handle = await oracle.submit(questions(10), TOKEN)
        await oracle.cancel(handle)
        await over(oracle, handle)
        await oracle.cancel(handle)
        return await collected(oracle, handle)

    with FakeLLM(batch_lag_s=1.0) as server:
        items = run(oracle_for(make, server), use)
    assert len(items) == 10
    assert all(isinstance(item.error, Transient) and item.error.unbilled for item in items)


def test_a_job_that_is_not_over_is_not_collected(make: Make) -> None:
    async def use(oracle: AnthropicOracle) -> None:
        handle = await oracle.submit(questions(2), TOKEN)
        state = await oracle.poll(handle)
        assert (state.state, state.done, state.total) == ("running", 0, 2)
        with pytest.raises(Transient, match="not over"):
            await collected(oracle, handle)

    with FakeLLM(batch_lag_s=60) as server:
        run(oracle_for(make, server), use)


@pytest.mark.parametrize("handle", ["msgbatch_none", "../../models", "x" * 5000, "ä\n"])
def test_a_handle_that_is_none(make: Make, handle: str) -> None:
    async def use(oracle: AnthropicOracle) -> None:
        for ask in (oracle.poll(handle), oracle.cancel(handle), collected(oracle, handle)):
            with pytest.raises(Fatal) as caught:
                await ask
            assert "\n" not in str(caught.value)

    with FakeLLM() as server:
        run(oracle_for(make, server), use)


@pytest.mark.parametrize("body", ["<html>Welcome</html>", [], {"object": "list"}, {"id": 7}, "null"])
def test_what_is_no_batch_is_transient(make: Make, canned: Canned, body: Any) -> None:
    canned.gets = [body]

    async def use(oracle: AnthropicOracle) -> None:
        with pytest.raises(Transient):
            await oracle.poll("msgbatch_7")

    run(make(base_url=canned.url), use)


def test_nobody_there(make: Make) -> None:
    async def use(oracle: AnthropicOracle) -> None:
        with pytest.raises(Unreachable):
            await oracle.submit(questions(1), TOKEN)

    run(make(base_url="http://127.0.0.1:9"), use)


def test_a_server_without_batches(make: Make, canned: Canned) -> None:
    canned.say(404, {"type": "error", "error": {"type": "not_found_error", "message": "Not found"}})

    async def use(oracle: AnthropicOracle) -> None:
        with pytest.raises(Fatal, match="knows no batch"):
            await oracle.submit(questions(1), TOKEN)

    run(make(base_url=canned.url), use)


def test_the_key_follows_no_address_that_a_server_names(make: Make, canned: Canned) -> None:
    elsewhere = {**stub("b7", time.time(), "ended"), "results_url": "http://127.0.0.1:9/results"}
    canned.gets = [elsewhere, ""]

    async def use(oracle: AnthropicOracle) -> list[BatchItem]:
        return await collected(oracle, "b7")

    assert run(make(base_url=canned.url, api_key_env="K"), use) == []
    assert canned.got == ["/v1/messages/batches/b7", "/v1/messages/batches/b7/results"]


def test_no_secret_gets_anywhere(make: Make, tmp_path: Path) -> None:
    with FakeLLM() as server:
        items = results(oracle_for(make, server), questions(2))
    assert SECRET not in str(items)
    assert not any(SECRET in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
