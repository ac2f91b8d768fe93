"""The fake provider's Messages API, as raw HTTP sees it: what it refuses, and what its answers look like."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from filterkit.prompt import reply_schema
from filterkit.testing import make_request, sample_articles, tiny_spec
from filterkit.testing.fake_llm import FAULTS, FakeLLM, expected_scores

SPEC = tiny_spec()
ARTICLE = sample_articles(1)[0]
QUESTION = make_request(SPEC, ARTICLE)
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "number"} for name in SPEC.names},
    "required": list(SPEC.names),
    "additionalProperties": False,
}
TOOL = {"name": "scores", "input_schema": reply_schema(SPEC)}
FORCED = {"type": "tool", "name": "scores"}
KEPT = {"type": "ephemeral"}
HEADERS = {"x-api-key": "k", "anthropic-version": "2026-10-21"}


@pytest.fixture
def server() -> Iterator[FakeLLM]:
    with FakeLLM() as fake:
        yield fake


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def question(**changes: Any) -> dict[str, Any]:
    """A body; None takes a field away."""
    body = {
        "model": "claude-haiku-5-5",
        "max_tokens": 900,
        "system": QUESTION.system,
        "messages": user([text(QUESTION.rubric, cache_control=KEPT), text(QUESTION.article)]),
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


def post(server: FakeLLM, body: Any, headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any], Any]:
    """Status, body and headers of an answer."""
    request = urllib.request.Request(f"{server.url}/v1/messages", json.dumps(body).encode(), headers or HEADERS)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), error.headers


def test_an_answer_has_the_form_of_anthropics_and_is_right(server: FakeLLM) -> None:
    status, body, headers = post(server, question())
    assert (status, body["type"], body["role"], body["stop_reason"]) == (200, "message", "assistant", "end_turn")
    assert json.loads(body["content"][0]["text"]) == expected_scores(ARTICLE.text, QUESTION.json_schema)
    assert body["model"] == "claude-haiku-5-5"
    assert body["id"].startswith("msg_")
    assert headers["request-id"]


def test_a_forced_tool_is_called(server: FakeLLM) -> None:
    status, body, _ = post(server, question(output_config=None, tools=[TOOL], tool_choice=FORCED))
    assert (status, body["stop_reason"]) == (200, "tool_use")
    block = body["content"][0]
    assert (block["type"], block["name"]) == ("tool_use", "scores")
    assert block["input"] == expected_scores(ARTICLE.text, QUESTION.json_schema)


@pytest.mark.parametrize("header", [{"x-api-key": "right"}, {"authorization": "Bearer right"}])
def test_the_key_comes_in_either_header(header: dict[str, str]) -> None:
    with FakeLLM(api_key="right") as server:
        version = {"anthropic-version": "2023-06-01"}
        assert post(server, question(), {**version, **header})[0] == 200
        status, body, _ = post(server, question(), {**version, "x-api-key": "wrong"})
        assert (status, body["error"]["type"]) == (401, "authentication_error")


def test_without_a_key_or_a_version_nothing_is_answered(server: FakeLLM) -> None:
    status, body, _ = post(server, question(), {"anthropic-version": "2026-10-21"})
    assert (status, body["error"]["message"]) == (401, "x-api-key header is required")
    status, body, _ = post(server, question(), {"x-api-key": "k"})
    assert (status, body["error"]["message"]) == (400, "anthropic-version: header is required")
    status, body, _ = post(server, question(), {**HEADERS, "anthropic-version": "2020-01-01"})
    assert (status, "not a valid version" in body["error"]["message"]) == (400, True)


def test_sampling_is_gone_with_the_newest_version(server: FakeLLM) -> None:
    older = {**HEADERS, "anthropic-version": "2023-06-01"}
    assert post(server, question(temperature=0.0), older)[0] == 200
    status, body, _ = post(server, question(temperature=1.0))
    assert (status, body["error"]["message"]) == (400, "temperature: Extra inputs are not permitted")


FORMAT = {"type": "json_schema", "schema": SCHEMA}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": "900"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": -1}, "greater than or equal to 0"),
        ({"model": None}, "model: Field required"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": []}, "at least one message is required"),
        ({"messages": {}}, "messages: Input should be a valid list"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages.0.role"),
        ({"messages": [*user("x"), {"role": "assistant", "content": "{"}]}, "prefill"),
        ({"messages": user("")}, "non-empty content"),
        ({"messages": user([text("")])}, "text content blocks must be non-empty"),
        ({"messages": user([text(" \n")])}, "non-whitespace"),
        ({"messages": user([text("", cache_control=KEPT)])}, "cache_control cannot be set for empty text blocks"),
        ({"messages": user([text("x", cached=True)])}, "messages.0.content.0.cached: Extra inputs"),
        ({"messages": user([{"type": "text"}])}, "Field required"),
        ({"seed": 1}, "seed: Extra inputs are not permitted"),
        ({"stream": True}, "does not stream"),
        ({"messages": user([text("x", cache_control={"type": "forever"})])}, "'ephemeral'"),
        ({"messages": user([text("x", cache_control={**KEPT, "ttl": "1d"})])}, "'5m' or '1h'"),
        ({"messages": user([text("x", cache_control=KEPT)] * 5)}, "maximum of 4 blocks"),
        (
            {"messages": user([text("x", cache_control=KEPT), text("y", cache_control={**KEPT, "ttl": "1h"})])},
            "must not come after",
        ),
        ({"tool_choice": FORCED}, "only be specified while providing tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "other"}}, "Tool 'other' not found"),
        ({"tools": [TOOL], "tool_choice": {"type": "maybe"}}, "'maybe'"),
        ({"tools": [{**TOOL, "name": "two words"}]}, "String should match pattern"),
        ({"tools": [{"name": "scores"}]}, "input_schema.type"),
        ({"tools": [{**TOOL, "strict": True}]}, "are not supported"),
        ({"tools": [TOOL], "tool_choice": FORCED, "thinking": {"type": "adaptive"}}, "forces tool use"),
        ({"model": "claude-opus-5-5", "tools": [TOOL], "tool_choice": FORCED}, "forced tool use is not supported"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "schema: Field required"),
        ({"output_config": {"format": {"type": "json_object"}}}, "'json_schema'"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"mode": "x"}}, "output_config.mode: Extra inputs"),
        ({"output_config": {"format": {**FORMAT, "schema": reply_schema(SPEC)}}}, "maximum, minimum are not supported"),
        (
            {"output_config": {"format": {**FORMAT, "schema": {"type": "object", "properties": {}}}}},
            "'additionalProperties' must be explicitly set to false",
        ),
        ({"thinking": {"type": "off"}}, "'off'"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, '"thinking.type.enabled" is not supported'),
        ({"thinking": {"type": "between_tools"}}, '"thinking.type.between_tools" is not supported'),
        ({"model": "claude-opus-5-5", "thinking": {"type": "disabled"}}, '"thinking.type.disabled" is not supported'),
        ({"model": "claude-haiku-4-5", "thinking": {"type": "adaptive"}}, '"thinking.type.adaptive" is not supported'),
        ({"model": "claude-haiku-4-5", "thinking": {"type": "enabled", "budget_tokens": 9}}, "equal to 1024"),
        ({"model": "claude-haiku-4-5", "thinking": {"type": "enabled", "budget_tokens": 2000}}, "must be greater than"),
    ],
)
def test_what_the_api_refuses(server: FakeLLM, changes: dict[str, Any], says: str) -> None:
    status, body, _ = post(server, question(**changes))
    assert (status, body["type"], body["error"]["type"]) == (400, "error", "invalid_request_error")
    assert says in body["error"]["message"]
    assert server.exchanges[0].fault == "bad_request"


@pytest.mark.parametrize("body", [[], "text", 7, None, {"messages": user([7])}, {"system": 7}])
def test_bodies_of_another_kind_are_refused_too(server: FakeLLM, body: Any) -> None:
    if isinstance(body, dict):
        body = question(**body)
    assert post(server, body)[0] == 400


def test_only_what_stands_before_a_breakpoint_is_cached() -> None:
    with FakeLLM(min_cached_tokens=8) as server:
        usages = [post(server, question())[1]["usage"] for _ in range(2)]
        plain = question(messages=user(QUESTION.user))
        never = [post(server, plain)[1]["usage"] for _ in range(2)]
    prefix = (len(QUESTION.system) + len(QUESTION.rubric)) // 4
    names = ("cache_creation_input_tokens", "cache_read_input_tokens")
    assert [[usage[name] for name in names] for usage in usages] == [[prefix, 0], [0, prefix]]
    assert usages[0]["input_tokens"] == usages[1]["input_tokens"] > 0
    assert [[usage[name] for name in names] for usage in never] == [[0, 0], [0, 0]]


def test_thoughts_are_part_of_the_output() -> None:
    with FakeLLM(thinking_tokens=50) as server:
        thought = post(server, question())[1]
        quiet = post(server, question(thinking={"type": "disabled"}))[1]
    assert thought["content"][0]["type"] == "thinking"
    assert thought["usage"]["output_tokens"] == quiet["usage"]["output_tokens"] + 50
    assert thought["usage"]["output_tokens_details"] == {"thinking_tokens": 50}
    assert [block["type"] for block in quiet["content"]] == ["text"]


def test_a_limit_is_said_in_anthropics_headers() -> None:
    with FakeLLM(requests_per_minute=1) as server:
        assert post(server, question())[0] == 200
        status, body, headers = post(server, question())
    assert (status, body["error"]["type"]) == (429, "rate_limit_error")
    assert float(headers["retry-after"]) > 0
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert "T" in headers["anthropic-ratelimit-requests-reset"]


STATUSES = {
    "rate_limit": 429,
    "quota_day": 429,
    "no_credit": 400,
    "server_error": 529,
    "invalid_key": 401,
    "unauthorized": 401,
    "no_balance": 402,
    "forbidden": 403,
    "unknown_model": 404,
}


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"hang", "drop", "reset", "bad_gateway"}))
@pytest.mark.parametrize("forced", [False, True])
def test_every_fault_has_its_answer(fault: str, forced: bool) -> None:
    body = question(output_config=None, tools=[TOOL], tool_choice=FORCED) if forced else question()
    right = expected_scores(ARTICLE.text, QUESTION.json_schema)
    with FakeLLM(script=[fault]) as server:
        status, said, _ = post(server, body)
    assert status == STATUSES.get(fault, 200)
    if status != 200:
        assert said["type"] == "error"
        return
    stop = {"truncated": "max_tokens", "blocked": "refusal", "refused": "refusal"}.get(fault)
    assert stop is None or said["stop_reason"] == stop
    right_input = [block for block in said["content"] if block.get("input") == right]
    assert not right_input or fault == "wrong_model"


def test_models_are_listed_in_anthropics_form() -> None:
    with FakeLLM(models=["claude-haiku-5-5"]) as server:
        request = urllib.request.Request(f"{server.url}/v1/models", headers=HEADERS)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            assert [(m["type"], m["id"]) for m in json.load(answer)["data"]] == [("model", "claude-haiku-5-5")]
        assert post(server, question(model="other"))[0] == 404
