"""What goes over the wire, and what comes back in a 200."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from anthropic import transform_schema
from filterkit_anthropic.oracle import AnthropicOracle

from filterkit.api import ConfigError, Context, Fatal, OracleRequest, Usage
from filterkit.options import check_options
from filterkit.testing import sample_articles
from filterkit.testing.fake_llm import FakeLLM, expected_scores
from filterkit.testing.samples import SECRET

from .conftest import GOOD, Canned, ask, question_about, run

ANTHROPIC = "https://api.anthropic.com"


def test_a_question_is_one_request_with_all_that_it_says(
    make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest
) -> None:
    asked = question.model_copy(update={"correction": "\nYour last answer was cut off."})
    ask(make(base_url=canned.url, effort="low"), asked)
    assert canned.paths == ["/v1/messages"]
    assert canned.bodies == [
        {
            "model": "contract-model",
            "max_tokens": asked.max_output_tokens,
            "system": asked.system,
            "thinking": {"type": "disabled"},
            "output_config": {
                "effort": "low",
                "format": {"type": "json_schema", "schema": transform_schema(asked.json_schema)},
            },
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": asked.rubric, "cache_control": {"type": "ephemeral"}},
                        {"type": "text", "text": asked.article + asked.correction},
                    ],
                }
            ],
        }
    ]
    assert canned.headers[0]["anthropic-version"] == "2026-10-21"


def test_a_tool_can_be_forced_instead(
    make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest
) -> None:
    canned.say(200, {**GOOD, "content": [{"type": "tool_use", "id": "t", "name": "give_scores", "input": {"help": 1}}]})
    reply = ask(make(base_url=canned.url, structured="tool"), question)[0]
    sent = canned.bodies[0]
    assert "output_config" not in sent
    assert [tool["input_schema"] for tool in sent["tools"]] == [question.json_schema]
    assert sent["tool_choice"] == {"type": "tool", "name": "give_scores", "disable_parallel_tool_use": True}
    assert json.loads(reply.text) == {"help": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"system": "Be brief."},
        {"max_output_tokens": 77},
        {"model": "other"},
        {"json_schema": {"type": "object", "properties": {}}},
        {"article": "another one"},
    ],
)
def test_nothing_of_an_earlier_question_is_sent_with_a_later_one(
    make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest, change: dict[str, Any]
) -> None:
    ask(make(base_url=canned.url), question, question.model_copy(update=change))
    first, second = canned.bodies
    assert first != second


class TestCache:
    def content(self, canned: Canned) -> Any:
        return canned.bodies[0]["messages"][0]["content"]

    def test_an_hour(self, make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest) -> None:
        ask(make(base_url=canned.url, cache="1h"), question)
        assert self.content(canned)[0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}

    def test_off(self, make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest) -> None:
        ask(make(base_url=canned.url, cache="off"), question)
        assert self.content(canned) == question.user

    @pytest.mark.parametrize("structured", ["json_schema", "tool"])
    def test_the_rubric_is_found_there_from_the_second_article_on(
        self, make: Callable[..., AnthropicOracle], structured: str
    ) -> None:
        with FakeLLM(min_cached_tokens=16) as server:
            oracle = make(base_url=server.url, api_key_env="K", structured=structured)
            first, second = (reply.usage for reply in ask(oracle, question_about(0), question_about(1)))
            sent = server.exchanges
        assert first.cached_input == 0
        assert second.cached_input
        assert [first.input, second.input] == [exchange.input_tokens for exchange in sent]
        assert second.cached_input == sent[1].cached_tokens


class TestThinking:
    def test_models_are_told_not_to_in_the_way_that_they_take(self, make: Callable[..., AnthropicOracle]) -> None:
        found = {}
        for model in ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"):
            with FakeLLM(thinking_tokens=9) as server, warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                questions = [question_about(i, model=model) for i in range(2)]
                ask(make(base_url=server.url, api_key_env="K", model=model), *questions)
                statuses = [exchange.status for exchange in server.exchanges]
                last = server.exchanges[-1].config
                found[model] = (statuses, last.get("thinking"), last["output_config"].get("effort"), len(said))
        assert found == {
            "claude-haiku-5-5": ([200, 200], {"type": "disabled"}, None, 0),
            "claude-sonnet-5-5": ([400, 200, 200], {"type": "between_tools"}, None, 0),
            "claude-opus-5-5": ([400, 400, 200, 200], None, "low", 1),
        }

    def test_many_at_once_learn_it_together(self, make: Callable[..., AnthropicOracle]) -> None:
        async def together(oracle: AnthropicOracle) -> int:
            questions = [question_about(0, key=str(i), model="claude-opus-5-5") for i in range(10)]
            return len(await asyncio.gather(*(oracle.complete(q) for q in questions)))

        with FakeLLM(latency_s=0.05) as server:
            oracle = make(base_url=server.url, api_key_env="K", model="claude-opus-5-5")
            with pytest.warns(UserWarning, match="cannot stop thinking") as said:
                assert run(oracle, together) == 10
        assert len(said) == 1

    def test_what_was_chosen_is_not_given_up(self, make: Callable[..., AnthropicOracle]) -> None:
        with FakeLLM() as server:
            oracle = make(base_url=server.url, api_key_env="K", model="claude-haiku-4-5", thinking="adaptive")
            with pytest.raises(Fatal, match="options that"):
                ask(oracle, question_about(0, model="claude-haiku-4-5"))

    def test_thoughts_are_counted_and_not_part_of_the_answer(self, make: Callable[..., AnthropicOracle]) -> None:
        with FakeLLM(thinking_tokens=11) as server:
            reply = ask(make(base_url=server.url, api_key_env="K", thinking="adaptive"), question_about(0))[0]
            sent = server.exchanges[0]
        assert (reply.usage.output, reply.usage.thinking) == (sent.output_tokens + 11, 11)
        assert json.loads(reply.text)


def message(stop: str | None = "end_turn", *blocks: Any) -> dict[str, Any]:
    return {**GOOD, "content": list(blocks), "stop_reason": stop}


def text(words: Any) -> dict[str, Any]:
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("body", "finish", "expected"),
    [
        (message("end_turn", text("{}")), "stop", "{}"),
        (message("stop_sequence", text("{}")), "stop", "{}"),
        (message("tool_use", {"type": "tool_use", "input": {"a": 1}}), "stop", '{"a": 1}'),
        (message("max_tokens", text("{")), "length", "{"),
        (message("model_context_window_exceeded", text("{")), "length", "{"),
        (message("refusal"), "blocked", ""),
        (message("refusal", text("I cannot")), "blocked", "I cannot"),
        (message("pause_turn", text("{}")), "other", "{}"),
        (message(None, text("{}")), "other", "{}"),
        (message("end_turn", {"type": "thinking", "thinking": "hm"}, text("{"), text("}")), "stop", "{}"),
        (message("end_turn", "odd", {"type": "text"}, text(7), text("{}")), "stop", "{}"),
        (message("end_turn", text("a lone \ud800 one")), "stop", "a lone \ufffd one"),
    ],
)
def test_replies(
    make: Callable[..., AnthropicOracle],
    canned: Canned,
    question: OracleRequest,
    body: Any,
    finish: str,
    expected: str,
) -> None:
    canned.say(200, body)
    reply = ask(make(base_url=canned.url), question)[0]
    assert (reply.finish, reply.text) == (finish, expected)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Usage()),
        ({"input_tokens": 9}, Usage(input=9)),
        ({"input_tokens": 9, "output_tokens": 4}, Usage(input=9, output=4)),
        (
            {
                "input_tokens": 9,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 20,
                "output_tokens": 24,
                "output_tokens_details": {"thinking_tokens": 20},
            },
            Usage(input=129, cached_input=100, output=24, thinking=20),
        ),
        (
            {"input_tokens": 9, "cache_read_input_tokens": 0, "output_tokens": 4},
            Usage(input=9, cached_input=0, output=4),
        ),
        ({"cache_read_input_tokens": 5, "output_tokens_details": {"thinking_tokens": 1}}, Usage()),
        ({"input_tokens": "9", "output_tokens": -1, "output_tokens_details": 3}, Usage()),
    ],
)
def test_usage_is_what_was_reported(
    make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest, usage: Any, expected: Usage
) -> None:
    canned.say(200, {**GOOD, "usage": usage})
    assert ask(make(base_url=canned.url), question)[0].usage == expected


def test_a_reply_that_names_no_model_is_not_given_one(
    make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest
) -> None:
    canned.say(200, {k: v for k, v in GOOD.items() if k != "model"})
    assert ask(make(base_url=canned.url), question)[0].model_version == ""


def test_answers_are_right(make: Callable[..., AnthropicOracle], question: OracleRequest) -> None:
    with FakeLLM() as server:
        reply = ask(make(base_url=server.url, api_key_env="K"), question)[0]
    assert json.loads(reply.text) == expected_scores(sample_articles(1)[0].text, question.json_schema)
    assert (reply.finish, reply.model_version, reply.provider_id) == ("stop", "contract-model", "msg_fake_1")


def test_three_hundred_are_in_flight_at_once(make: Callable[..., AnthropicOracle]) -> None:
    with FakeLLM(latency_s=1.5) as server:
        questions = [question_about(0, key=str(i)) for i in range(300)]

        async def all_at_once(oracle: AnthropicOracle) -> int:
            return len(await asyncio.gather(*(oracle.complete(q) for q in questions)))

        assert run(make(base_url=server.url, api_key_env="K"), all_at_once) == 300
        assert server.max_in_flight == 300
        assert server.requests == 300


@pytest.mark.parametrize(("change", "word"), [({"temperature": 0.7}, "temperature"), ({"seed": 3}, "seed")])
def test_what_the_api_does_not_take_is_said_once_and_not_sent(
    make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest, change: dict[str, Any], word: str
) -> None:
    asked = question.model_copy(update=change)
    with pytest.warns(UserWarning, match=f"takes no {word}") as said:
        ask(make(base_url=canned.url), asked, asked)
    assert len(said) == 1
    assert word not in canned.bodies[0]


class TestKeys:
    @pytest.fixture
    def ctx(self, tmp_path: Path) -> Context:
        return Context(workdir=tmp_path)

    def test_anthropics_key_and_headers_go_to_no_other_server(
        self, make: Callable[..., AnthropicOracle], canned: Canned, ctx: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-theirs")
        monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-theirs")
        monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "Authorization: Bearer theirs\nX-Team: theirs")
        ask(make(ctx, base_url=canned.url), question_about(0))
        assert "theirs" not in str(canned.headers)

    def test_the_named_key_is_sent_and_nowhere_else(self, make: Callable[..., AnthropicOracle], canned: Canned) -> None:
        oracle = make(base_url=canned.url, api_key_env="ANY")
        reply = ask(oracle, question_about(0))[0]
        assert canned.headers[0]["authorization"] == f"Bearer {SECRET}"
        assert SECRET not in json.dumps(canned.bodies)
        assert SECRET not in reply.model_dump_json() + repr(oracle.options)

    @pytest.mark.parametrize("options", [{}, {"base_url": ANTHROPIC}, {"base_url": "http://h", "api_key_env": "X_KEY"}])
    def test_a_missing_key_is_said_before_anything_is_sent(
        self, make: Callable[..., AnthropicOracle], ctx: Context, options: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
        with pytest.raises(ConfigError, match="_KEY is not set"):
            ask(make(ctx, **options))

    @pytest.mark.parametrize("key", ["sk-hush\r", "sk-hush x", "sk-hüsh", "sk-hush\x00", "sk-hush\n"])
    def test_what_is_no_key_is_said_at_once_and_never_shown(
        self, make: Callable[..., AnthropicOracle], canned: Canned, tmp_path: Path, key: str
    ) -> None:
        ctx = Context(workdir=tmp_path, secret=lambda name: key)
        with pytest.raises(ConfigError, match="X_KEY: holds no API key") as caught:
            ask(make(ctx, base_url=canned.url, api_key_env="X_KEY"), question_about(0))
        assert "sk-h" not in str(caught.value) + repr(caught.value)
        assert not canned.bodies

    def test_without_an_address_it_is_anthropic_whatever_the_environment_says(
        self, make: Callable[..., AnthropicOracle], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")

        async def url(oracle: AnthropicOracle) -> str:
            assert oracle._client is not None
            return str(oracle._client.base_url)

        assert run(make(), url).rstrip("/") == ANTHROPIC


class TestOptions:
    def test_a_model_is_needed(self, make: Callable[..., AnthropicOracle]) -> None:
        with pytest.raises(ConfigError, match=r"no model is named.*-O model="):
            make(model="")

    @pytest.mark.parametrize(
        "options",
        [
            {"base_url": "localhost:8000"},
            {"base_url": "ftp://host"},
            {"base_url": "http://user:sk-1@host"},
            {"base_url": "http://host?key=1"},
            {"base_url": "http://host\r"},
            {"base_url": "http://host:99999"},
            {"structured": "xml"},
            {"thinking": "off"},
            {"effort": "huge"},
            {"cache": "2h"},
            {"temperature": "send"},
        ],
    )
    def test_what_cannot_work_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            check_options(AnthropicOracle, "oracle", "anthropic", {"model": "m", **options})

    @pytest.mark.parametrize(
        ("options", "share"),
        [({}, 1.0), ({"base_url": f"{ANTHROPIC}/v1/"}, 1.0), ({"base_url": "http://localhost:8000"}, None)],
    )
    def test_list_prices_are_anthropics_own(
        self, make: Callable[..., AnthropicOracle], options: dict[str, Any], share: float | None
    ) -> None:
        assert make(**options).list_price_share == share

    def test_an_address_may_end_in_v1(
        self, make: Callable[..., AnthropicOracle], canned: Canned, question: OracleRequest
    ) -> None:
        ask(make(base_url=f"{canned.url}/v1/"), question)
        assert canned.paths == ["/v1/messages"]
