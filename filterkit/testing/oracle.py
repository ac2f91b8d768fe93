"""The contract suite of oracles."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from filterkit.contracts import Oracle, OracleOptions
from filterkit.errors import BackendError
from filterkit.records import Article, OracleRequest, Reply
from filterkit.reply import parse_reply
from filterkit.spec import FilterSpec
from filterkit.testing.base import BackendContract, no_network
from filterkit.testing.samples import HOSTILE_TEXTS, SECRET, make_request

T = TypeVar("T")
LONGEST_PAUSE_S = 0.5


class OracleContract(BackendContract):
    """Give it an oracle that can answer about `articles`: with a server of your own on 127.0.0.1, or none at all."""

    kind = Oracle

    @pytest.fixture
    def requests(self, spec: FilterSpec, articles: list[Article]) -> list[OracleRequest]:
        """Requests that the oracle can answer."""
        return [make_request(spec, article, key=f"request-{i}") for i, article in enumerate(articles)]

    def run(self, make: Callable[..., Any], use: Callable[[Oracle[Any]], Awaitable[T]]) -> T:
        """`use` an opened oracle on a loop of its own, closing it as the core would."""

        async def main() -> T:
            oracle = make()
            await oracle.open()
            try:
                return await asyncio.wait_for(use(oracle), 60)
            finally:
                await oracle.aclose()
                oracle.close()

        return asyncio.run(main())

    def ask(self, make: Callable[..., Any], *requests: OracleRequest) -> list[Reply]:
        """The replies to requests that are asked one after the other."""

        async def use(oracle: Oracle[Any]) -> list[Reply]:
            return [await oracle.complete(request) for request in requests]

        return self.run(make, use)

    def test_options_hold_what_every_oracle_has(self, backend: type[Oracle[Any]]) -> None:
        assert issubclass(backend.Options, OracleOptions), "derive Options from filterkit.api.OracleOptions"

    def test_capabilities_are_declared(self, backend: type[Oracle[Any]]) -> None:
        for name in ("supports_schema", "reports_cost", "deterministic"):
            assert isinstance(getattr(backend, name), bool), f"{name} must be True or False, on the class"

    def test_answer_options_are_options(self, backend: type[Oracle[Any]]) -> None:
        unknown = set(backend.answer_options) - set(backend.Options.model_fields)
        assert not unknown, f"answer_options names what is no option: {unknown}"

    def test_it_opens_and_closes_without_a_question(self, make: Callable[..., Any]) -> None:
        self.ask(make)
        self.ask(make)

    def test_it_answers(self, make: Callable[..., Any], requests: list[OracleRequest]) -> None:
        reply = self.ask(make, requests[0])[0]
        assert isinstance(reply, Reply)
        assert reply.text.strip(), "an answer is empty: raise Refused, or say finish='blocked'"

    def test_the_answer_follows_the_schema(
        self, make: Callable[..., Any], backend: type[Oracle[Any]], spec: FilterSpec, requests: list[OracleRequest]
    ) -> None:
        if not backend.supports_schema:
            pytest.skip("it does not promise to follow a schema")
        label = parse_reply(spec, self.ask(make, requests[0])[0].text)
        assert set(label.scores) == set(spec.names)

    def test_it_says_which_model_replied(self, make: Callable[..., Any], requests: list[OracleRequest]) -> None:
        assert self.ask(make, requests[0])[0].model_version.strip(), "model_version is empty"

    def test_usage_adds_up(
        self, make: Callable[..., Any], backend: type[Oracle[Any]], requests: list[OracleRequest]
    ) -> None:
        usage = self.ask(make, requests[0])[0].usage
        counts = (usage.input, usage.cached_input, usage.output, usage.thinking, usage.cost_usd)
        assert all(c is None or c >= 0 for c in counts), "tokens and dollars are not negative"
        assert (usage.cached_input or 0) <= (usage.input or 0), "cached_input is part of input"
        assert (usage.thinking or 0) <= (usage.output or 0), "thinking is part of output"
        if backend.reports_cost:
            assert usage.cost_usd is not None, "reports_cost is True, but cost_usd is None"
        else:
            assert usage.cost_usd is None, "cost_usd is given, but reports_cost is False"

    def test_the_same_question_has_the_same_answer(
        self, make: Callable[..., Any], backend: type[Oracle[Any]], requests: list[OracleRequest]
    ) -> None:
        if not backend.deterministic:
            pytest.skip("it does not claim to be deterministic")
        other_key = requests[0].model_copy(update={"key": "another attempt, with another key"})
        first, second = self.ask(make, requests[0], other_key)
        assert first.text == second.text, "deterministic is True, but the answer changed with the request's key"

    def test_answers_to_concurrent_questions_are_not_mixed_up(
        self, make: Callable[..., Any], backend: type[Oracle[Any]], requests: list[OracleRequest]
    ) -> None:
        async def together(oracle: Oracle[Any]) -> list[Reply]:
            return list(await asyncio.gather(*(oracle.complete(r) for r in requests)))

        replies = self.run(make, together)
        assert len(replies) == len(requests)
        if backend.deterministic:
            alone = self.ask(make, *requests)
            assert [r.text for r in replies] == [r.text for r in alone], "concurrent answers belong to other questions"

    def test_the_loop_is_never_blocked(self, make: Callable[..., Any], requests: list[OracleRequest]) -> None:
        pauses: list[float] = [0.0]

        async def beat() -> None:
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.01)
                pauses.append(time.monotonic() - before)

        async def watched(oracle: Oracle[Any]) -> None:
            heart = asyncio.create_task(beat())
            await asyncio.sleep(0.02)
            await asyncio.gather(*(oracle.complete(r) for r in requests[:3]))
            await asyncio.sleep(0.02)
            heart.cancel()

        self.run(make, watched)
        assert max(pauses) < LONGEST_PAUSE_S, f"complete() held up all others for {max(pauses):.1f} s"

    def test_it_can_be_cancelled(self, make: Callable[..., Any], requests: list[OracleRequest]) -> None:
        async def cancel_one(oracle: Oracle[Any]) -> Reply:
            task = asyncio.create_task(oracle.complete(requests[0]))
            await asyncio.sleep(0)
            if task.cancel():  # False: it had answered already
                done, _ = await asyncio.wait({task}, timeout=5)
                assert done, "complete() was cancelled and went on"
                assert task.cancelled(), "complete() swallowed the cancellation: let CancelledError through"
            return await oracle.complete(requests[1])

        assert self.run(make, cancel_one).text, "after a cancelled request it answers no more"

    @pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=lambda t: f"{len(t)}-characters")
    def test_any_text_is_answered_or_refused(self, make: Callable[..., Any], spec: FilterSpec, text: str) -> None:
        request = make_request(spec, Article("hostile", "", text))
        try:
            reply = self.ask(make, request)[0]
        except BackendError:
            return
        assert isinstance(reply, Reply)

    def test_tokens_are_counted_offline(self, make: Callable[..., Any], requests: list[OracleRequest]) -> None:
        oracle = make()
        with no_network("count_tokens"):
            counts = [oracle.count_tokens(request) for request in requests]
        assert all(c is None or (isinstance(c, int) and c >= 0) for c in counts), "count_tokens gives a number or None"

    def test_the_secret_stays_secret(self, make: Callable[..., Any], requests: list[OracleRequest]) -> None:
        oracle = make()
        reply = self.ask(make, requests[0])[0]
        assert SECRET not in repr(oracle.options)
        assert SECRET not in reply.model_dump_json(), "a reply carries the secret"
