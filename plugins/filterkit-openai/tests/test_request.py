"""What goes over the wire: one request for a question, and what stands in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filterkit_openai.oracle import OpenAIOracle
from filterkit_openai.plugin import register_prices

from filterkit.api import ConfigError, Context, OracleRequest, Price
from filterkit.options import check_options
from filterkit.plugins import plugins
from filterkit.testing import sample_articles
from filterkit.testing.fake_llm import FakeLLM, expected_scores
from filterkit.testing.samples import SECRET

from .conftest import Canned, ask, question_about, run

OPENAI = "https://api.openai.com/v1"


def test_the_plugin_is_installed_and_has_prices() -> None:
    assert plugins().load("oracle", "openai") is OpenAIOracle
    assert plugins().prices["gpt-6-luna"].source.startswith("https://developers.openai.com/")
    listed: dict[str, Price] = {}
    register_prices(lambda model, **values: listed.update({model: Price(**values)}))
    assert all(p.cached_input is not None and p.cached_input < p.input < p.output for p in listed.values())


def test_a_question_is_one_request_with_all_that_it_says(
    make: Callable[..., OpenAIOracle], canned: Canned, question: OracleRequest
) -> None:
    asked = question.model_copy(update={"seed": 7, "correction": "\nYour last answer was cut off."})
    oracle = make(
        base_url=canned.url,
        reasoning_effort="low",
        service_tier="flex",
        extra_body={"chat_template_kwargs": {"enable_thinking": False}},
    )
    ask(oracle, asked)
    assert canned.paths == ["/v1/chat/completions"]
    assert canned.bodies == [
        {
            "model": "contract-model",
            "max_tokens": asked.max_output_tokens,
            "temperature": asked.temperature,
            "seed": 7,
            "reasoning_effort": "low",
            "service_tier": "flex",
            "chat_template_kwargs": {"enable_thinking": False},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "scores", "strict": True, "schema": asked.json_schema},
            },
            "messages": [
                {"role": "system", "content": asked.system},
                {"role": "user", "content": asked.rubric + asked.article + asked.correction},
            ],
        }
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"system": "Be brief."},
        {"temperature": 0.5},
        {"max_output_tokens": 77},
        {"seed": 3},
        {"model": "other"},
        {"json_schema": {"type": "object", "properties": {}}},
        {"article": "another one"},
    ],
)
def test_nothing_of_an_earlier_question_is_sent_with_a_later_one(
    make: Callable[..., OpenAIOracle], canned: Canned, question: OracleRequest, change: dict[str, Any]
) -> None:
    ask(make(base_url=canned.url), question, question.model_copy(update=change))
    first, second = canned.bodies
    assert first != second


def test_the_schema_stands_in_the_prompt_where_the_server_is_not_given_it(
    make: Callable[..., OpenAIOracle], canned: Canned
) -> None:
    ask(make(base_url=canned.url, structured="json_object"), question_about(0), question_about(1))
    first, second = canned.bodies
    assert first["response_format"] == {"type": "json_object"}
    assert first["messages"][0] == second["messages"][0], "the system text must be the same for all articles"
    assert '"help"' in first["messages"][0]["content"]
    ask(make(base_url=canned.url, structured="none"), question_about(0))
    assert "response_format" not in canned.bodies[2]
    assert '"help"' in canned.bodies[2]["messages"][0]["content"]


def test_openai_is_told_to_cache_up_to_the_article(make: Callable[..., OpenAIOracle], question: OracleRequest) -> None:
    oracle = make(base_url=OPENAI)
    question = question.model_copy(update={"correction": "\nThe answer before was cut off."})

    async def body(oracle: OpenAIOracle) -> dict[str, Any]:
        server = oracle._servers.all[0]
        return oracle._body(server.dialect, question)

    sent = run(oracle, body)
    parts = sent["messages"][1]["content"]
    assert "".join(part["text"] for part in parts) == question.user
    assert parts[0]["text"] == question.rubric
    assert parts[0]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    assert "prompt_cache_breakpoint" not in parts[1]
    assert sent["prompt_cache_options"] == {"mode": "explicit"}
    assert sent["max_completion_tokens"] == question.max_output_tokens
    assert "max_tokens" not in sent


def test_without_an_address_it_is_openai_whatever_the_environment_says(
    make: Callable[..., OpenAIOracle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")

    async def url(oracle: OpenAIOracle) -> str:
        return str(oracle._servers.all[0].client.base_url)

    assert run(make(), url) == f"{OPENAI}/"


class TestKeys:
    @pytest.fixture
    def ctx(self, tmp_path: Path) -> Context:
        return Context(workdir=tmp_path)

    def test_openais_key_goes_to_no_other_server(
        self, make: Callable[..., OpenAIOracle], canned: Canned, ctx: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-the-key-of-openai")
        ask(make(ctx, base_url=canned.url), question_about(0))
        assert "sk-the-key-of-openai" not in str(canned.headers)

    def test_the_named_key_is_sent(
        self, make: Callable[..., OpenAIOracle], canned: Canned, ctx: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEEP_KEY", "sk-deep")
        ask(make(ctx, base_url=[{"base_url": canned.url, "api_key_env": "DEEP_KEY"}]), question_about(0))
        assert canned.headers[0]["authorization"] == "Bearer sk-deep"

    @pytest.mark.parametrize("options", [{}, {"base_url": OPENAI}, {"base_url": "http://h/v1", "api_key_env": "X_KEY"}])
    def test_a_missing_key_is_said_before_anything_is_sent(
        self, make: Callable[..., OpenAIOracle], ctx: Context, options: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(ConfigError, match="_KEY is not set"):
            ask(make(ctx, **options))

    def test_what_the_environment_says_for_openai_goes_to_no_other_server(
        self, make: Callable[..., OpenAIOracle], canned: Canned, ctx: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_ORG_ID", "theirs-org")
        monkeypatch.setenv("OPENAI_PROJECT_ID", "theirs-project")
        monkeypatch.setenv("OPENAI_ADMIN_KEY", "theirs-admin")
        monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer theirs\nX-Team: theirs")
        ask(make(ctx, base_url=canned.url), question_about(0))
        assert "theirs" not in str(canned.headers)

    def test_openai_itself_is_told_the_organization(
        self, make: Callable[..., OpenAIOracle], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_ORG_ID", "org-1")

        async def organization(oracle: OpenAIOracle) -> str | None:
            return oracle._servers.all[0].client.organization

        assert run(make(base_url=OPENAI), organization) == "org-1"

    @pytest.mark.parametrize("key", ["sk-hush\r", "sk-hush x", "sk-hüsh", "sk-hush\x00", "sk-hush\n"])
    def test_what_is_no_key_is_said_at_once_and_never_shown(
        self,
        make: Callable[..., OpenAIOracle],
        canned: Canned,
        tmp_path: Path,
        key: str,
    ) -> None:
        ctx = Context(workdir=tmp_path, secret=lambda name: key)
        with pytest.raises(ConfigError, match="X_KEY: holds no API key") as caught:
            ask(make(ctx, base_url=canned.url, api_key_env="X_KEY"), question_about(0))
        assert "hush" not in str(caught.value) + repr(caught.value)
        assert "hüsh" not in str(caught.value) + repr(caught.value)
        assert not canned.bodies


class TestOptions:
    def test_a_model_is_needed(self, make: Callable[..., OpenAIOracle]) -> None:
        with pytest.raises(ConfigError, match=r"no model is named.*-O model="):
            make(model="")

    @pytest.mark.parametrize(
        "options",
        [
            {"base_url": "localhost:8000/v1"},
            {"base_url": "ftp://host/v1"},
            {"base_url": "http://user:sk-1@host/v1"},
            {"base_url": "http://host/v1?key=1"},
            {"base_url": "http://host/v1?"},
            {"base_url": "http://host/v1#part"},
            {"base_url": "http://host/v1\r"},
            {"base_url": "http://host/v 1"},
            {"base_url": "http://host:99999/v1"},
            {"base_url": []},
            {"base_url": ["http://a/v1", "http://a/v1/"]},
            {"base_url": [{"base_url": "http://a/v1", "weight": 2}]},
            {"structured": "xml"},
            {"extra_body": {"messages": []}},
        ],
    )
    def test_what_cannot_work_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            check_options(OpenAIOracle, "oracle", "openai", {"model": "m", **options})

    @pytest.mark.parametrize(
        ("options", "share"),
        [
            ({}, 1.0),
            ({"service_tier": "flex"}, 0.5),
            ({"base_url": "https://eu.api.openai.com/v1"}, 1.1),
            ({"base_url": "http://localhost:8000/v1"}, None),
            ({"base_url": "https://api.openai.com.example.org/v1"}, None),
            ({"base_url": [OPENAI, "http://localhost:8000/v1"]}, None),
        ],
    )
    def test_list_prices_are_openais_own(
        self, make: Callable[..., OpenAIOracle], options: dict[str, Any], share: float | None
    ) -> None:
        assert make(**options).list_price_share == share


def test_three_hundred_are_in_flight_at_once(make: Callable[..., OpenAIOracle]) -> None:
    with FakeLLM(latency_s=1.5) as server:
        questions = [question_about(0, key=str(i)) for i in range(300)]

        async def all_at_once(oracle: OpenAIOracle) -> int:
            return len(await asyncio.gather(*(oracle.complete(q) for q in questions)))

        assert run(make(base_url=server.openai_url), all_at_once) == 300
        assert server.max_in_flight == 300
        assert server.requests == 300


def test_answers_are_right_and_counted(make: Callable[..., OpenAIOracle]) -> None:
    with FakeLLM(thinking_tokens=11, min_cached_tokens=1) as server:
        question = question_about(0)
        _, reply = ask(make(base_url=server.openai_url), question, question)
        sent = server.exchanges[1]
    assert json.loads(reply.text) == expected_scores(sample_articles(1)[0].text, question.json_schema)
    usage = reply.usage
    assert (usage.input, usage.cached_input) == (sent.input_tokens, sent.cached_tokens)
    assert usage.cached_input
    assert (usage.output, usage.thinking) == (sent.output_tokens + 11, 11)
    assert (reply.finish, reply.model_version, reply.provider_id) == ("stop", "contract-model", "chatcmpl-fake-2")


def test_a_cancelled_request_is_given_up_at_the_server_too(make: Callable[..., OpenAIOracle]) -> None:
    with FakeLLM(script=["hang"]) as server:

        async def cancel(oracle: OpenAIOracle) -> str:
            task = asyncio.create_task(oracle.complete(question_about(0)))
            while not server.state()["in_flight"]:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return (await oracle.complete(question_about(1))).text

        assert run(make(base_url=server.openai_url), cancel)
        assert server.requests == 2


def test_the_secret_is_sent_and_nowhere_else(make: Callable[..., OpenAIOracle], canned: Canned) -> None:
    oracle = make(base_url=canned.url, api_key_env="ANY")
    reply = ask(oracle, question_about(0))[0]
    assert canned.headers[0]["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in json.dumps(canned.bodies)
    assert SECRET not in reply.model_dump_json() + repr(oracle.options)


def test_flex_waits_longer_unless_something_else_is_said() -> None:
    options = OpenAIOracle.Options
    assert options.model_validate({"model": "m"}).timeout_s == 60.0
    assert options.model_validate({"model": "m", "service_tier": "flex"}).timeout_s == 900.0
    assert options.model_validate({"model": "m", "service_tier": "flex", "timeout_s": 30}).timeout_s == 30.0


def test_prices_are_of_the_last_months() -> None:
    listed: dict[str, Price] = {}
    register_prices(lambda model, **values: listed.update({model: Price(**values)}))
    assert min(price.as_of for price in listed.values()) >= "2026-09-01"
