"""Several servers, some of them ill; and what each of them takes."""

from __future__ import annotations

import asyncio
import contextlib
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from filterkit_openai import servers as module
from filterkit_openai.oracle import OpenAIOracle

from filterkit.api import BackendError, Fatal, OracleRequest, RateLimited, Refused, Reply, Transient, Unreachable
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


def another(i: int) -> OracleRequest:
    """A question about an article of its own."""
    return question_about(0, key=str(i)).model_copy(update={"article": f"article {i}"})


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

    def test_all_down_is_a_pause_that_costs_no_article_a_try(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM() as one, FakeLLM() as two:
            urls = both(one, two)

        async def story(oracle: OpenAIOracle) -> list[Reply | BaseException]:
            first = await answers(oracle, 4)
            await asyncio.sleep(1.05)
            return [*first, *await answers(oracle, 3)]  # two of these probe

        said = run(make(base_url=urls), story)
        for pause in said:
            assert isinstance(pause, Unreachable), "else articles fail without having been asked about"
        assert said[0].retry_after_s is None, "the other one may work"
        for pause in said[1:]:
            assert isinstance(pause, Unreachable)
            assert pause.retry_after_s is not None
            assert 0.0 <= pause.retry_after_s <= 2.0
            for url in urls:
                assert url.split("/")[2] in str(pause)
            assert "cannot be reached" in str(pause)

    def test_servers_that_are_ill_are_a_pause_too(self, make: Callable[..., OpenAIOracle]) -> None:
        with FakeLLM(faults={"server_error": 1.0}) as one, FakeLLM(faults={"bad_gateway": 1.0}) as two:
            said = run(make(base_url=both(one, two)), lambda oracle: answers(oracle, 12))
            assert one.requests + two.requests == 2 * module.FAILURES
        for pause in said[2 * module.FAILURES :]:
            assert isinstance(pause, RateLimited), "else articles fail without having been asked about"
            assert "HTTP 503" in str(pause)
            assert "HTTP 502" in str(pause)

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


class TestRefusals:
    """What happens to articles when a server says no for reasons of its own."""

    def test_a_server_that_refuses_fast_does_not_swallow_the_run(
        self, make: Callable[..., OpenAIOracle], canned: Canned
    ) -> None:
        canned.say(400, {"error": {"message": "tool_choice is required"}})
        lost: list[BaseException] = []

        async def work(oracle: OpenAIOracle) -> int:
            left, done = iter(range(300)), 0

            async def worker() -> None:
                nonlocal done
                for i in left:
                    for _ in range(4):
                        try:
                            await oracle.complete(another(i))
                        except BackendError as error:
                            if not isinstance(error, Transient) or not error.unbilled:
                                lost.append(error)
                                break
                        else:
                            done += 1
                            break

            await asyncio.gather(*(worker() for _ in range(40)))
            return done

        with FakeLLM(latency_s=0.1) as good, pytest.warns(UserWarning, match="tool_choice is required") as heard:
            assert run(make(base_url=[canned.url, good.openai_url]), work) == 300
        assert not lost
        assert len(canned.bodies) < 30, "it is set aside"
        assert len([w for w in heard if "refuses" in str(w.message)]) == 1

    def test_an_article_that_one_server_refuses_is_asked_about_elsewhere(
        self, make: Callable[..., OpenAIOracle], canned: Canned
    ) -> None:
        with FakeLLM() as good:

            async def story(oracle: OpenAIOracle) -> list[Reply | BaseException]:
                await answers(oracle, 2)
                canned.say(400, {"error": {"message": "odd"}})
                return await answers(oracle, 12)

            said = run(make(base_url=[canned.url, good.openai_url]), story)
        assert [type(s) for s in said if not isinstance(s, Reply)] == [Transient]
        assert len(canned.bodies) == 2, "it is not asked about this article again, and not set aside either"

    def test_an_article_that_is_too_long_for_one_may_fit_another(
        self, make: Callable[..., OpenAIOracle], canned: Canned
    ) -> None:
        canned.say(400, {"error": {"message": "maximum context length is 8192", "code": "context_length_exceeded"}})
        with FakeLLM() as roomy:
            said = run(make(base_url=[canned.url, roomy.openai_url]), lambda oracle: answers(oracle, 2))
        assert [type(s) for s in said] == [Transient, Reply]

    def test_an_article_that_all_refuse_is_refused(self, make: Callable[..., OpenAIOracle], canned: Canned) -> None:
        canned.say(400, {"error": {"message": "maximum context length is 8192", "code": "context_length_exceeded"}})
        said = run(make(base_url=[canned.url, f"{canned.url}/other"]), lambda oracle: answers(oracle, 2))
        assert [type(s) for s in said] == [Transient, Refused]

    def test_a_server_that_begins_to_refuse_everything_is_set_aside(
        self, make: Callable[..., OpenAIOracle], canned: Canned
    ) -> None:
        with FakeLLM() as good:

            async def story(oracle: OpenAIOracle) -> None:
                await answers(oracle, 2)
                canned.say(422, {"error": {"message": "the model was unloaded"}})
                for i in range(20):
                    with contextlib.suppress(Transient):
                        await oracle.complete(another(i))

            with pytest.warns(UserWarning, match="was unloaded"):
                run(make(base_url=[canned.url, good.openai_url]), story)
        assert len(canned.bodies) == 1 + module.FAILURES

    def test_when_all_refuse_everything_the_run_ends(self, make: Callable[..., OpenAIOracle], canned: Canned) -> None:
        canned.say(400, {"error": {"message": "tool_choice is required"}})
        other = f"{canned.url}/other"

        async def together(oracle: OpenAIOracle) -> list[Any]:
            asked = [oracle.complete(another(i)) for i in range(40)]
            return await asyncio.gather(*asked, return_exceptions=True)

        with warnings.catch_warnings(record=True):
            said = run(make(base_url=[canned.url, other]), together)
        assert any(isinstance(s, Fatal) for s in said)
        assert not any(isinstance(s, Refused) for s in said), "no article is to blame"


def test_a_rest_is_not_cut_short_by_a_later_refusal(make: Callable[..., OpenAIOracle], canned: Canned) -> None:
    slow_down = {"error": {"message": "slow down"}}
    canned.answers = [(429, slow_down, {"retry-after": "30"}), (429, slow_down, {})]

    async def story(oracle: OpenAIOracle) -> float:
        asked = [oracle.complete(question_about(0)) for _ in range(4)]
        await asyncio.gather(*asked, return_exceptions=True)
        return max(s.rests_until for s in oracle._servers.all) - time.monotonic()

    with FakeLLM(latency_s=0.2) as other:
        assert run(make(base_url=[canned.url, other.openai_url]), story) > 20


def test_a_503_that_says_how_long_rests_that_server_only(make: Callable[..., OpenAIOracle], canned: Canned) -> None:
    canned.say(503, {"error": {"message": "loading the model"}}, {"retry-after": "30"})
    with FakeLLM() as other:
        said = run(make(base_url=[canned.url, other.openai_url]), lambda oracle: answers(oracle, 8))
    assert len(canned.bodies) == 1
    (error,) = [s for s in said if not isinstance(s, Reply)]
    assert isinstance(error, Transient)
    assert error.retry_after_s is None, "the article need not wait"


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

    @pytest.mark.parametrize(
        "words",
        [
            "maximum context length is 8192 with json_schema; max_tokens beyond is not supported. Reduce the length",
            "the article quotes response_format and grammar",
        ],
    )
    def test_what_is_no_complaint_about_a_field_gives_none_up(
        self, make: Callable[..., OpenAIOracle], canned: Canned, words: str
    ) -> None:
        canned.answers = [(400, {"error": {"message": words}}, {}), (200, GOOD, {})]
        said = run(make(base_url=canned.url), lambda oracle: answers(oracle, 2))
        assert isinstance(said[0], Refused)
        assert [body["response_format"]["type"] for body in canned.bodies] == ["json_schema"] * 2
        assert "max_tokens" in canned.bodies[1]

    @pytest.mark.parametrize(
        "body",
        [
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
            {"error": "unsupported parameter: seed"},
            "seed: unknown field",
            {"error": {"message": "x " * 400 + "Unknown name seed"}},
        ],
    )
    def test_fields_are_given_up_in_every_make_of_complaint(
        self, make: Callable[..., OpenAIOracle], canned: Canned, body: Any
    ) -> None:
        canned.answers = [(422, body, {}), (200, GOOD, {})]
        with pytest.warns(UserWarning, match="takes no seed"):
            ask(make(base_url=canned.url), question_about(0, seed=1))
        assert ["seed" in body for body in canned.bodies] == [True, False]

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
