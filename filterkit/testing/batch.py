"""The contract suite of oracles that answer batches."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from filterkit.contracts import Batch, BatchItem, JobState, Oracle
from filterkit.errors import BackendError, CannotTell, Fatal, RateLimited, Refused, Transient
from filterkit.records import Article, OracleRequest, Reply
from filterkit.reply import parse_reply
from filterkit.spec import FilterSpec
from filterkit.testing.base import no_network
from filterkit.testing.oracle import LONGEST_PAUSE_S, OracleContract
from filterkit.testing.samples import HOSTILE_TEXTS, SECRET, make_request

ENDS_WITHIN_S = 60.0
LONGEST_POLL_S = 0.2
"""How long the suite waits at most before it asks again, whatever `poll_after_s` says."""


def new_token() -> str:
    """A token that nobody has used."""
    return f"contract-{uuid.uuid4().hex[:20]}"


async def until_ended(oracle: Any, handle: str) -> JobState:
    """Wait for a job's end."""
    deadline = time.monotonic() + ENDS_WITHIN_S
    while True:
        state = await oracle.poll(handle)
        assert isinstance(state, JobState), f"poll gives a JobState, not {type(state).__name__}"
        if state.state == "ended":
            return state
        assert time.monotonic() < deadline, f"the job has not ended after {ENDS_WITHIN_S:g} s: {state}"
        await asyncio.sleep(min(LONGEST_POLL_S, state.poll_after_s))


async def collected(oracle: Any, handle: str) -> list[BatchItem]:
    """What an ended job brought."""
    items = [item async for item in oracle.collect(handle)]
    for item in items:
        assert isinstance(item, BatchItem), f"collect gives BatchItems, not {type(item).__name__}"
        assert (item.reply is None) != (item.error is None), f"an item is a reply or an error: {item}"
        right = isinstance(item.error, Refused | Transient | Fatal | None)
        assert right, f"an item's error is Refused, Transient or Fatal, not {type(item.error).__name__}"
    return items


async def asked(oracle: Any, requests: Sequence[OracleRequest]) -> list[BatchItem]:
    """Requests as one job, from submit to collect."""
    handle = await oracle.submit(requests, new_token())
    await until_ended(oracle, handle)
    return await collected(oracle, handle)


class BatchContract(OracleContract):
    """All of OracleContract, and batches. Give it a provider of your own on 127.0.0.1 whose jobs end within seconds.

    The provider must outlive the oracle: the suite makes several of them, as a rerun after a kill does.
    """

    def as_job(self, make: Callable[..., Any], requests: Sequence[OracleRequest]) -> list[BatchItem]:
        """What a job of these requests brings."""
        return self.run(make, lambda oracle: asked(oracle, requests))

    def submitted(self, make: Callable[..., Any], requests: Sequence[OracleRequest], token: str) -> str:
        """The handle of a job, submitted by an oracle that is gone afterwards."""
        return self.run(make, lambda oracle: _as_batch(oracle).submit(requests, token))

    def test_it_is_a_batch(self, backend: type[Oracle[Any]]) -> None:
        assert issubclass(backend, Batch), "derive it from filterkit.api.Batch and Oracle"

    def test_what_a_batch_takes_and_costs_is_declared(self, make: Callable[..., Any]) -> None:
        oracle = make()
        assert 0 < oracle.batch_price_share <= 1, "batch_price_share is a share of the live price"
        for name in ("most_requests", "most_bytes"):
            value = getattr(oracle, name)
            assert isinstance(value, int), f"{name} must be a whole number"
            assert value > 0, f"{name} must be positive"

    def test_bytes_are_counted_offline(
        self, make: Callable[..., Any], spec: FilterSpec, requests: list[OracleRequest]
    ) -> None:
        oracle = make()
        longer = make_request(spec, Article("long", "", "a word " * 1000))
        with no_network("request_bytes"):
            sizes = [oracle.request_bytes(request) for request in (requests[0], longer)]
        assert all(isinstance(size, int) and size > 0 for size in sizes), "request_bytes gives a number of bytes"
        assert sizes[1] - sizes[0] > 5000, "a longer article takes as many bytes more"

    def test_every_request_of_a_batch_comes_back_under_its_key(
        self, make: Callable[..., Any], requests: list[OracleRequest]
    ) -> None:
        items = self.as_job(make, requests)
        keys = {request.key for request in requests}
        assert {item.key for item in items} <= keys, "there are keys that nobody sent"
        assert {item.key for item in items if item.reply is not None} == keys, "requests came back without a reply"

    def test_replies_of_a_batch_are_those_of_complete(
        self, make: Callable[..., Any], backend: type[Oracle[Any]], spec: FilterSpec, requests: list[OracleRequest]
    ) -> None:
        replies = {item.key: item.reply for item in self.as_job(make, requests) if item.reply is not None}
        live = self.ask(make, *requests)
        for request, alone in zip(requests, live, strict=True):
            reply = replies[request.key]
            assert isinstance(reply, Reply)
            assert reply.model_version == alone.model_version, "another model_version in a batch"
            assert reply.finish == alone.finish, "another finish in a batch"
            if backend.supports_schema:
                assert set(parse_reply(spec, reply.text).scores) == set(spec.names)
            if backend.deterministic:
                assert reply.text == alone.text, f"{request.key} came back with the answer to another question"

    def test_usage_in_a_batch_adds_up(
        self, make: Callable[..., Any], backend: type[Oracle[Any]], requests: list[OracleRequest]
    ) -> None:
        for item in self.as_job(make, requests[:3]):
            assert item.reply is not None
            usage = item.reply.usage
            assert (usage.cached_input or 0) <= (usage.input or 0), "cached_input is part of input"
            assert (usage.thinking or 0) <= (usage.output or 0), "thinking is part of output"
            assert (usage.cost_usd is not None) == backend.reports_cost, "cost_usd is given where reports_cost says so"
            live = self.ask(make, requests[0])[0].usage
            said = [(name, getattr(usage, name) is None) for name in ("input", "output")]
            assert said == [(name, getattr(live, name) is None) for name in ("input", "output")], (
                "what complete() reports of tokens a batch reports too"
            )

    def test_a_job_is_found_by_its_token(self, make: Callable[..., Any], requests: list[OracleRequest]) -> None:
        since, tokens = time.time() - 60, [new_token(), new_token()]
        handles = [self.submitted(make, requests[:2], token) for token in tokens]
        assert handles[0] != handles[1], "two jobs have one handle"
        for token, handle in zip(tokens, handles, strict=True):
            with contextlib.suppress(CannotTell):
                found = self.run(make, functools.partial(_find, token=token, since=since))
                assert found == handle, "find gives the handle that submit gave, also to a new process"

    def test_a_token_that_was_never_submitted_is_not_found(
        self, make: Callable[..., Any], requests: list[OracleRequest]
    ) -> None:
        self.submitted(make, requests[:2], new_token())
        with contextlib.suppress(CannotTell):
            found = self.run(make, functools.partial(_find, token=new_token(), since=time.time() - 60))
            assert found is None, "find gives None for a token that was never submitted, or raises CannotTell"

    def test_a_job_outlives_who_submitted_it_and_can_be_collected_again(
        self, make: Callable[..., Any], requests: list[OracleRequest]
    ) -> None:
        handle = self.submitted(make, requests, new_token())

        async def collect(oracle: Any) -> dict[str, str]:
            await until_ended(oracle, handle)
            return {item.key: item.reply.text for item in await collected(oracle, handle) if item.reply is not None}

        first, second = self.run(make, collect), self.run(make, collect)
        assert first.keys() == {request.key for request in requests}, "a new process does not get what was submitted"
        assert first == second, "collected again, it brings something else"

    def test_cancelling_can_be_repeated(self, make: Callable[..., Any], requests: list[OracleRequest]) -> None:
        async def cancel(oracle: Any) -> list[BatchItem]:
            handle = await oracle.submit(requests, new_token())
            await oracle.cancel(handle)
            await oracle.cancel(handle)
            await until_ended(oracle, handle)
            await oracle.cancel(handle)
            return await collected(oracle, handle)

        items = self.run(make, cancel)
        assert {item.key for item in items} <= {request.key for request in requests}
        for item in items:
            unbilled = not isinstance(item.error, Transient) or item.error.unbilled
            assert unbilled, "what was cancelled before it was run is Transient(unbilled=True)"

    @pytest.mark.parametrize("verb", ["poll", "cancel", "collect"])
    def test_an_unknown_handle_is_a_backend_error(self, make: Callable[..., Any], verb: str) -> None:
        async def use(oracle: Any) -> None:
            if verb == "collect":
                await collected(oracle, "no-such-handle")
            else:
                await getattr(oracle, verb)("no-such-handle")

        with pytest.raises(BackendError) as raised:
            self.run(make, use)
        passing = isinstance(raised.value, Transient | RateLimited)
        assert not passing, "a job that is not there will not be there later either: raise Fatal"
        assert SECRET not in str(raised.value), "an error carries the secret"

    def test_any_text_can_be_in_a_batch(self, make: Callable[..., Any], spec: FilterSpec) -> None:
        requests = [
            make_request(spec, Article(f"hostile-{n}", "", text), key=f"hostile-{n}")
            for n, text in enumerate(HOSTILE_TEXTS)
        ]
        items = self.as_job(make, requests)
        assert {item.key for item in items} == {request.key for request in requests}, "texts were lost on the way"

    def test_the_loop_is_never_blocked_by_a_batch(
        self, make: Callable[..., Any], requests: list[OracleRequest]
    ) -> None:
        pauses = [0.0]

        async def beat() -> None:
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.01)
                pauses.append(time.monotonic() - before)

        async def watched(oracle: Any) -> None:
            heart = asyncio.create_task(beat())
            await asyncio.sleep(0.02)
            await asked(oracle, requests)
            await asyncio.sleep(0.02)
            heart.cancel()

        self.run(make, watched)
        assert max(pauses) < LONGEST_PAUSE_S, f"a batch held up all others for {max(pauses):.1f} s"

    def test_a_batch_keeps_the_secret(self, make: Callable[..., Any], requests: list[OracleRequest]) -> None:
        async def said(oracle: Any) -> str:
            handle = await oracle.submit(requests[:2], new_token())
            state = await until_ended(oracle, handle)
            return " ".join([handle, state.model_dump_json(), *map(repr, await collected(oracle, handle))])

        assert SECRET not in self.run(make, said), "a handle, a state or an item carries the secret"


def _as_batch(oracle: Oracle[Any]) -> Batch:
    assert isinstance(oracle, Batch)
    return oracle


async def _find(oracle: Oracle[Any], *, token: str, since: float) -> str | None:
    return await _as_batch(oracle).find(token, since)
