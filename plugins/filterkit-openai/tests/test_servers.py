"""Several servers, some of them ill; and what each of them takes."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from filterkit_openai import servers as module
from filterkit_openai.oracle import OpenAIOracle

from filterkit.api import BackendError, Fatal, OracleRequest, RateLimited, Refused, Reply, Transient
from filterkit.testing.fake_llm import FakeLLM

from .conftest import GOOD, Canned, ask, question_about, run


async def answers(oracle: OpenAIOracle, n: int) -> list[Reply | BaseException]:
    """What n questions, asked one after the other, bring."""
    out: list[Reply | BaseException] = []
    for i in range(n):
        try:
            out.append(await oracle.complete(question_about(0, key=str(i))))
        except BackendError as error:
            out.append(error)
    return out


def both(one: FakeLLM, two: FakeLLM) -> list[str]:
    return [one.openai_url, two.openai_url]


class TestRouting:
    def test_load_is_spread_by_what_is_in_flight(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM(latency_s=0.05) as quick, FakeLLM(latency_s=0.4) as slow:

            async def work(oracle: OpenAIOracle) -> None:
                left = iter(range(80))

                async def worker() -> None:
                    for i in left:
                        await oracle.complete(question_about(0, key=str(i)))

                await asyncio.gather(*(worker() for _ in range(8)))

            run(make(base_url=both(quick, slow)), work)
            assert quick.requests + slow.requests == 80
            assert quick.requests > 3 * slow.requests
            assert slow.max_in_flight <= 4

    def test_one_is_killed_and_comes_back(
        self, make: Callable[..., OpenAIOracle], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "FIRST_COOL_OFF_S", 0.2)
        with FakeLLM() as steady:
            with FakeLLM() as shaky:
                urls = both(shaky, steady)
            port = int(urls[0].split(":")[2].split("/")[0])

            async def story(oracle: OpenAIOracle) -> None:
                said = await answers(oracle, 10)
                lost = [s for s in said if isinstance(s, BaseException)]
                assert len(lost) == 1, "only the first question finds out that a server is gone"
                assert "cannot be reached" in str(lost[0])
                assert steady.requests == 9
                await asyncio.sleep(0.25)
                lost = [s for s in await answers(oracle, 10) if isinstance(s, BaseException)]
                assert len(lost) == 1, "one question probes it when its cool-off is over"
                await asyncio.sleep(0.25)
                assert not [s for s in await answers(oracle, 4) if isinstance(s, BaseException)], "cool-off grows"
                with FakeLLM(port=port) as back:
                    await asyncio.sleep(0.25)
                    assert not [s for s in await answers(oracle, 10) if isinstance(s, BaseException)]
                    assert back.requests == 5

            run(make(base_url=urls), story)

    def test_only_one_question_probes_a_server(
        self, make: Callable[..., OpenAIOracle], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "FIRST_COOL_OFF_S", 0.1)
        with FakeLLM(script=["server_error"] * 3 + ["hang"]) as ill, FakeLLM(latency_s=0.1) as steady:

            async def story(oracle: OpenAIOracle) -> None:
                await answers(oracle, 6)
                await asyncio.sleep(0.15)
                asked = [asyncio.create_task(oracle.complete(question_about(0))) for _ in range(10)]
                await asyncio.sleep(0.4)
                assert ill.requests == 4
                assert sum(task.done() for task in asked) == 9
                for task in asked:
                    task.cancel()
                await asyncio.gather(*asked, return_exceptions=True)
                assert not [s for s in await answers(oracle, 4) if isinstance(s, BaseException)]
                assert ill.requests > 4, "a probe that was cancelled leaves room for another one"

            run(make(base_url=both(ill, steady)), story)

    def test_stray_errors_do_not_set_a_server_aside(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM(script=["server_error", "server_error", "ok"] * 3) as moody, FakeLLM() as steady:
            said = run(make(base_url=both(moody, steady)), lambda oracle: answers(oracle, 18))
            assert moody.requests == 9
            assert sum(isinstance(s, Transient) for s in said) == 6

    def test_a_server_that_keeps_failing_is_set_aside(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM(faults={"server_error": 1.0}) as ill, FakeLLM() as steady:
            run(make(base_url=both(ill, steady)), lambda oracle: answers(oracle, 30))
            assert ill.requests == module.FAILURES

    def test_a_server_that_hangs_is_set_aside_though_the_core_cancels(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM(faults={"hang": 1.0}) as hung, FakeLLM() as steady:

            async def story(oracle: OpenAIOracle) -> None:
                for i in range(20):
                    try:
                        async with asyncio.timeout(0.2):
                            await oracle.complete(question_about(0, key=str(i), timeout_s=0.2))
                    except (TimeoutError, Transient):
                        pass

            run(make(base_url=both(hung, steady)), story)
            assert hung.requests == module.FAILURES
            assert steady.requests == 20 - module.FAILURES

    def test_all_down_is_said_with_their_names(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM() as one, FakeLLM() as two:
            urls = both(one, two)
        said = run(make(base_url=urls), lambda oracle: answers(oracle, 3))
        last = said[-1]
        assert isinstance(last, Transient)
        assert last.unbilled
        for url in urls:
            assert url.split("/")[2] in str(last)
        assert "cannot be reached" in str(last)

    def test_a_single_server_is_never_set_aside(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM(script=["server_error"] * 10) as server:
            said = run(make(base_url=server.openai_url), lambda oracle: answers(oracle, 12))
            assert server.requests == 12
            assert isinstance(said[-1], Reply)

    def test_a_full_server_rests_while_another_has_room(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM(requests_per_minute=2, window_s=60) as full, FakeLLM() as roomy:
            said = run(make(base_url=both(full, roomy)), lambda oracle: answers(oracle, 20))
            kinds = [type(s) for s in said if not isinstance(s, Reply)]
            assert kinds == [Transient], "the pause is the server's, not the run's"
            assert roomy.requests == 17

    def test_when_all_are_full_the_run_pauses_as_long_as_the_first_says(
        self, make: Callable[..., OpenAIOracle]
    ) -> None:
        with FakeLLM(requests_per_minute=1, window_s=9) as one, FakeLLM(requests_per_minute=1, window_s=30) as two:
            said = run(make(base_url=both(one, two)), lambda oracle: answers(oracle, 6))
            last = said[-1]
            assert isinstance(last, RateLimited)
            assert last.retry_after_s == pytest.approx(9, abs=1.5)
            assert one.requests + two.requests == 4, "a server that rests is not asked"


class TestDialect:
    def test_auto_gives_way_once_and_says_so(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM(structured=["json_object", "none"]) as server:
            with pytest.warns(UserWarning, match="takes no json_schema") as said:
                replies = ask(make(base_url=server.openai_url), *(question_about(i) for i in range(3)))
            assert [e.mode for e in server.exchanges] == ["json_schema", "json_object", "json_object", "json_object"]
        assert len(said) == 1
        assert all(reply.text.startswith("{") for reply in replies)

    def test_auto_ends_with_the_prompt_alone(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM(structured=["none"]) as server:
            with pytest.warns(UserWarning, match="takes no"):
                reply = ask(make(base_url=server.openai_url), question_about(0))[0]
            assert [e.mode for e in server.exchanges] == ["json_schema", "json_object", "none"]
        assert '"help"' in reply.text

    def test_many_at_once_learn_it_together(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM(structured=["none"], latency_s=0.05) as server:

            async def together(oracle: OpenAIOracle) -> int:
                return len(await asyncio.gather(*(oracle.complete(question_about(i)) for i in range(10))))

            with pytest.warns(UserWarning, match="takes no") as said:
                assert run(make(base_url=server.openai_url), together) == 10
            assert len(said) == 2
            assert server.requests == 30

    def test_each_server_has_its_own(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM() as able, FakeLLM(structured=["none"]) as plain:
            servers = [able.openai_url, {"base_url": plain.openai_url, "structured": "none"}]
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                ask(make(base_url=servers), *(question_about(i) for i in range(4)))
            assert {e.mode for e in able.exchanges} == {"json_schema"}
            assert {e.mode for e in plain.exchanges} == {"none"}

    def test_what_was_declared_is_not_given_up(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM(structured=["none"]) as server, pytest.raises(Refused, match="response_format"):
            ask(make(base_url=server.openai_url, structured="json_schema"), question_about(0))

    @pytest.mark.parametrize(
        ("words", "gone", "instead", "said"),
        [
            ("Unsupported value: 'temperature' does not support 0 with this model.", "temperature", None, True),
            ("seed: Extra inputs are not permitted", "seed", None, True),
            (
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
                "max_tokens",
                "max_completion_tokens",
                False,
            ),
        ],
    )
    def test_a_field_that_the_server_does_not_take_is_left_out(
        self,
        make: Callable[..., OpenAIOracle],
        canned: Canned,
        words: str,
        gone: str,
        instead: str | None,
        said: bool,
    ) -> None:
        canned.answers = [(400, {"error": {"message": words}}, {}), (200, GOOD, {})]
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            ask(make(base_url=canned.url), question_about(0, seed=1), question_about(1, seed=1))
        assert [gone in body for body in canned.bodies] == [True, False, False]
        assert instead is None or instead in canned.bodies[1]
        assert len(heard) == said

    def test_a_server_that_takes_neither_name_of_a_field_is_not_asked_for_ever(
        self, make: Callable[..., OpenAIOracle], canned: Canned
    ) -> None:
        canned.say(400, {"error": {"message": "max_tokens and max_completion_tokens are not supported"}})
        with pytest.raises(Refused):
            ask(make(base_url=canned.url), question_about(0))
        assert len(canned.bodies) == 2

    def test_a_cache_breakpoint_that_an_older_model_refuses(
        self, make: Callable[..., OpenAIOracle], canned: Canned, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("filterkit_openai.options.ServerOptions.is_openai", True)
        refusal = {"error": {"message": "prompt_cache_options is not supported with this model"}}
        canned.answers = [(400, refusal, {}), (200, GOOD, {})]
        question: OracleRequest = question_about(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ask(make(base_url=canned.url), question)
        assert canned.bodies[1]["messages"][1]["content"] == question.user
        assert "prompt_cache_options" not in canned.bodies[1]


def test_a_wrong_model_on_one_server_ends_the_run(make: Callable[..., OpenAIOracle]) -> None:
    with FakeLLM(models=["other"]) as wrong, FakeLLM() as right:
        said: list[Any] = run(make(base_url=both(wrong, right)), lambda oracle: answers(oracle, 2))
    fatal = next(s for s in said if isinstance(s, Fatal))
    assert wrong.openai_url.split("/")[2] in str(fatal)
