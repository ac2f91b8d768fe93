"""Oracles that break a promise."""

import asyncio
import json
import random
import socket
import time

from catching import caught_by, expose
from pydantic import Field

from filterkit.contracts import Options
from filterkit.errors import Transient
from filterkit.records import OracleRequest, Reply, Usage
from filterkit.testing import OracleContract
from filterkit.testing.toys import ToyOracle


@caught_by("test_options_hold_what_every_oracle_has")
class OptionsOfItsOwn(ToyOracle):
    class Options(Options):
        engine: str = Field("x", description="the model")


@caught_by("test_capabilities_are_declared")
class VagueCapability(ToyOracle):
    supports_schema = "mostly"


@caught_by("test_answer_options_are_options")
class NamesNoOption(ToyOracle):
    answer_options = ("thinking_level",)


@caught_by("test_it_opens_and_closes_without_a_question")
class ClosesWhatItNeverOpened(ToyOracle):
    client: object = None

    async def complete(self, request: OracleRequest) -> Reply:
        self.client = object()
        return await super().complete(request)

    async def aclose(self) -> None:
        if self.client is None:
            raise AttributeError("'NoneType' object has no attribute 'aclose'")


class Changed(ToyOracle):
    """Answers as the toy, and then spoils the reply."""

    def spoil(self, reply: Reply, request: OracleRequest) -> dict[str, object]:
        raise NotImplementedError

    async def complete(self, request: OracleRequest) -> Reply:
        reply = await super().complete(request)
        return reply.model_copy(update=self.spoil(reply, request))


@caught_by("test_it_answers")
class SaysNothing(Changed):
    supports_schema = False

    def spoil(self, reply: Reply, request: OracleRequest) -> dict[str, object]:
        return {"text": " "}


@caught_by("test_it_answers")
class AnswersText(ToyOracle):
    async def complete(self, request: OracleRequest) -> Reply:
        return (await super().complete(request)).text


@caught_by("test_the_answer_follows_the_schema")
class ForgetsTheFlag(Changed):
    def spoil(self, reply: Reply, request: OracleRequest) -> dict[str, object]:
        return {"text": json.dumps({"help": 1, "novelty": 2})}


@caught_by("test_it_says_which_model_replied")
class NamelessModel(Changed):
    def spoil(self, reply: Reply, request: OracleRequest) -> dict[str, object]:
        return {"model_version": ""}


@caught_by("test_usage_adds_up")
class CountsCacheTwice(Changed):
    def spoil(self, reply: Reply, request: OracleRequest) -> dict[str, object]:
        return {"usage": Usage(input=10, cached_input=90, output=1)}


@caught_by("test_usage_adds_up")
class UndeclaredCost(Changed):
    def spoil(self, reply: Reply, request: OracleRequest) -> dict[str, object]:
        return {"usage": Usage(cost_usd=0.01)}


@caught_by("test_usage_adds_up")
class PromisedCost(ToyOracle):
    reports_cost = True


@caught_by("test_the_same_question_has_the_same_answer")
class ThrowsDice(Changed):
    def spoil(self, reply: Reply, request: OracleRequest) -> dict[str, object]:
        return {"text": json.dumps({name: random.randint(0, 10) for name in ("help", "novelty", "is_advert")})}


@caught_by("test_answers_to_concurrent_questions_are_not_mixed_up")
class OneQuestionAtATime(ToyOracle):
    async def complete(self, request: OracleRequest) -> Reply:
        self.asked = request
        await asyncio.sleep(0.01)
        return await super().complete(self.asked)


@caught_by("test_the_loop_is_never_blocked")
class BlocksTheLoop(ToyOracle):
    async def complete(self, request: OracleRequest) -> Reply:
        if request.key == "request-2":
            time.sleep(0.7)
        return await super().complete(request)


@caught_by("test_it_can_be_cancelled")
class CannotBeCancelled(ToyOracle):
    async def complete(self, request: OracleRequest) -> Reply:
        try:
            return await super().complete(request)
        except BaseException as error:
            raise Transient(str(error)) from error


@caught_by("test_it_can_be_cancelled")
class DeadAfterCancel(ToyOracle):
    broken = False

    async def complete(self, request: OracleRequest) -> Reply:
        if self.broken:
            raise Transient("the connection was lost")
        try:
            return await super().complete(request)
        except asyncio.CancelledError:
            self.broken = True
            raise


@caught_by("test_any_text_is_answered_or_refused")
class StumblesOverEmoji(ToyOracle):
    async def complete(self, request: OracleRequest) -> Reply:
        if any(ord(character) > 0xFFFF for character in request.article):
            raise ValueError("a character outside of the basic plane")
        return await super().complete(request)


@caught_by("test_tokens_are_counted_offline")
class CountsOnline(ToyOracle):
    def count_tokens(self, request: OracleRequest) -> int | None:
        socket.getaddrinfo("localhost", 443)
        return super().count_tokens(request)


@caught_by("test_tokens_are_counted_offline")
class CountsInFractions(ToyOracle):
    def count_tokens(self, request: OracleRequest) -> int | None:
        return len(request.article) / 4

    async def complete(self, request: OracleRequest) -> Reply:
        return Reply(text='{"help": 1, "novelty": 2, "is_advert": 0}', model_version="x")


@caught_by("test_the_secret_stays_secret")
class ShowsItsKey(Changed):
    def spoil(self, reply: Reply, request: OracleRequest) -> dict[str, object]:
        return {"provider_id": "https://127.0.0.1/?key=" + self.ctx.secret("ACME_KEY")}


expose(globals(), OracleContract)
