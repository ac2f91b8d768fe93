"""The Messages API: what stands in a request, and the reading of a reply."""

from __future__ import annotations

import json
from typing import Any, Literal

from anthropic import transform_schema

from filterkit.api import OracleRequest, Reply, Usage
from filterkit_anthropic.options import AnthropicOptions

TOOL = "give_scores"

Thinking = Literal["disabled", "between_tools", "always", "adaptive"]
"""How the model is asked to think. between_tools comes to not at all, for there is no tool to wait for. always: the
model cannot be stopped, so that nothing is said but to make little effort."""

_FINISH: dict[str, Literal["stop", "length", "blocked"]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "blocked",
}


class NoReply(Exception):
    """A 200 that holds no message."""


class Form:
    """What the requests of a run have in common, made once: all of a body but the user's turn."""

    def __init__(self, request: OracleRequest, options: AnthropicOptions, thinking: Thinking) -> None:
        self._first, self._thinking, self._cache = request, thinking, options.cache
        self._head: dict[str, Any] = {"model": request.model, "max_tokens": request.max_output_tokens}
        if request.system:
            self._head["system"] = request.system
        if thinking != "always":
            self._head["thinking"] = {"type": thinking}
        output: dict[str, Any] = {}
        effort = options.effort or ("low" if thinking == "always" else None)
        if effort:
            output["effort"] = effort
        if options.structured == "json_schema":
            # The API refuses bounds in a schema; the SDK's own function moves them into descriptions.
            output["format"] = {"type": "json_schema", "schema": transform_schema(request.json_schema)}
        else:
            self._head["tools"] = [
                {"name": TOOL, "description": "Takes the scores of the article.", "input_schema": request.json_schema}
            ]
            self._head["tool_choice"] = {"type": "tool", "name": TOOL, "disable_parallel_tool_use": True}
        if output:
            self._head["output_config"] = output

    def fits(self, request: OracleRequest, thinking: Thinking) -> bool:
        """Whether it can be used for this request."""
        first = self._first
        return (
            thinking == self._thinking
            and request.system == first.system
            and request.model == first.model
            and request.max_output_tokens == first.max_output_tokens
            and request.json_schema == first.json_schema
        )

    def body(self, request: OracleRequest) -> dict[str, Any]:
        """All of a request. Neither temperature nor seed: the API takes none."""
        return {**self._head, "messages": [{"role": "user", "content": self._user(request)}]}

    def _user(self, request: OracleRequest) -> str | list[dict[str, Any]]:
        """Rubric, article, correction; all up to the end of the rubric is the same for every article."""
        if self._cache == "off" or not request.rubric.strip():  # an empty block is refused
            return request.user
        kept: dict[str, Any] = {"type": "ephemeral"} | ({"ttl": "1h"} if self._cache == "1h" else {})
        return [
            {"type": "text", "text": request.rubric, "cache_control": kept},
            {"type": "text", "text": request.article + request.correction},
        ]


def read_reply(data: Any) -> Reply:
    """A 200 as a Reply. Raises NoReply."""
    blocks = data.get("content") if isinstance(data, dict) else None
    if not isinstance(blocks, list):
        raise NoReply
    model, name = data.get("model"), data.get("id")
    return Reply(
        text=_whole(_text([block for block in blocks if isinstance(block, dict)])),
        usage=read_usage(data.get("usage")),
        model_version=model if isinstance(model, str) else "",
        finish=_FINISH.get(str(data.get("stop_reason")), "other"),
        provider_id=name if isinstance(name, str) else None,
    )


def _text(blocks: list[dict[str, Any]]) -> str:
    """The input of the tool that was called, or all text; thoughts are neither."""
    for block in blocks:
        if block.get("type") == "tool_use":
            return json.dumps(block.get("input"), ensure_ascii=False)
    texts = (block.get("text") for block in blocks if block.get("type") == "text")
    return "".join(text for text in texts if isinstance(text, str))


def _whole(text: str) -> str:
    """`text` with U+FFFD for lone surrogates, which JSON can spell and nothing can store."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def read_usage(usage: Any) -> Usage:
    """Tokens as reported, None where nothing is.

    `input_tokens` counts only what was neither read from the cache nor written to it; here all three are input. That
    writing costs more than the input price has no place in Usage.
    """
    if not isinstance(usage, dict):
        return Usage()
    fresh, cached = _count(usage.get("input_tokens")), _count(usage.get("cache_read_input_tokens"))
    written = _count(usage.get("cache_creation_input_tokens"))
    output, details = _count(usage.get("output_tokens")), usage.get("output_tokens_details")
    thought = _count(details.get("thinking_tokens")) if isinstance(details, dict) else None
    return Usage(
        input=None if fresh is None else fresh + (cached or 0) + (written or 0),
        cached_input=None if fresh is None else cached,
        output=output,
        thinking=None if thought is None or output is None else min(thought, output),
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
