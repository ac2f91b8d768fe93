"""What Anthropic's Messages API refuses in a request, in its own words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from filterkit.testing.fake_llm.wire import Unreadable

NEWEST = "2026-10-21"
VERSIONS = ("2023-01-01", "2023-06-01", NEWEST)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_REQUEST = _names("""
    cache_control container diagnostics inference_geo max_tokens messages metadata model output_config service_tier
    speed stop_sequences stream system thinking tool_choice tools
""")
_SAMPLING = _names("temperature top_p top_k")  # gone with the newest version, even at their defaults
_BLOCK = _names("type text cache_control citations")
_TOOL = _names("""
    allowed_callers cache_control defer_loading description eager_input_streaming input_examples input_schema name
    strict type
""")
_OUTPUT = _names("effort format")
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_CHOICES = ("auto", "any", "tool", "none")
_MOST_BREAKPOINTS = 4

_ALWAYS_THINKS = re.compile(r"claude-(opus-5-[5-9]|fable|mythos)")
_BETWEEN_TOOLS = re.compile(r"claude-sonnet-5-[5-9]")  # how it is told not to think
_BUDGET = re.compile(r"claude-(3|(haiku|sonnet|opus)-4-[0-6])")  # these take a budget, later ones do not
_UNBOUNDED = {
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems"),
}
"""What the schema of an answer may not say of each type."""


def check_messages(body: Mapping[str, Any], version: str) -> None:
    """A request to `POST /v1/messages`. Raises Unreadable for the first thing that would be a 400."""
    _known(body, _REQUEST | (_SAMPLING if version != NEWEST else _names("")), "")
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            raise Unreadable(f"{name}: Field required")
    _check_max_tokens(body["max_tokens"])
    _check_turns(body["messages"])
    system = body.get("system")
    if system is not None:
        _check_content(system, "system")
    _check_tools(body)
    _check_output(body.get("output_config") or {})
    _check_thinking(body)
    _check_breakpoints(body)


def _known(values: Any, known: frozenset[str], where: str) -> None:
    if not isinstance(values, dict):
        raise Unreadable(f"{where}: Input should be a valid dictionary")
    for name in values:
        if name not in known:
            raise Unreadable(f"{where}.{name}: Extra inputs are not permitted".lstrip("."))


def _check_max_tokens(value: Any) -> None:
    if type(value) is not int:
        raise Unreadable("max_tokens: Input should be a valid integer")
    if value < 0:
        raise Unreadable("max_tokens: Input should be greater than or equal to 0")


def _check_turns(turns: Any) -> None:
    if not isinstance(turns, list):
        raise Unreadable("messages: Input should be a valid list")
    if not turns:
        raise Unreadable("messages: at least one message is required")
    for number, turn in enumerate(turns):
        where = f"messages.{number}"
        _known(turn, _names("role content"), where)
        if turn.get("role") not in ("user", "assistant"):
            raise Unreadable(f"{where}.role: Input should be 'user' or 'assistant'")
        if "content" not in turn:
            raise Unreadable(f"{where}.content: Field required")
        _check_content(turn["content"], where)
    if turns[-1]["role"] == "assistant":
        raise Unreadable(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def _check_content(content: Any, where: str) -> None:
    if isinstance(content, str):
        if not content and where != "system":
            raise Unreadable(f"{where}: user messages must have non-empty content")
        return
    if not isinstance(content, list):
        raise Unreadable(f"{where}.content: Input should be a valid string or list")
    for number, block in enumerate(content):
        here = f"{where}.content.{number}"
        _known(block, _BLOCK, here)
        if block.get("type") != "text" or not isinstance(block.get("text"), str):
            raise Unreadable(f"{here}.text.text: Field required")
        if not block["text"] and block.get("cache_control"):
            raise Unreadable(f"{here}: cache_control cannot be set for empty text blocks")
        if not block["text"]:
            raise Unreadable(f"{where}: text content blocks must be non-empty")
        if not block["text"].strip():
            raise Unreadable(f"{where}: text content blocks must contain non-whitespace text")


def _check_tools(body: Mapping[str, Any]) -> None:
    tools, choice = body.get("tools") or [], body.get("tool_choice")
    for number, tool in enumerate(tools):
        where = f"tools.{number}"
        _known(tool, _TOOL, where)
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", str(tool.get("name", ""))):
            raise Unreadable(f"{where}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if (tool.get("input_schema") or {}).get("type") != "object":
            raise Unreadable(f"{where}.custom.input_schema.type: Field required")
        if tool.get("strict"):
            _check_schema(tool["input_schema"], f"{where}.custom.input_schema")
    if choice is None:
        return
    if not tools:
        raise Unreadable("tool_choice may only be specified while providing tools")
    kind = choice.get("type")
    if kind not in _CHOICES:
        raise Unreadable(f"tool_choice: Input tag {kind!r} does not match any of the expected tags")
    if kind == "tool" and choice.get("name") not in [tool["name"] for tool in tools]:
        raise Unreadable(f"Tool '{choice.get('name')}' not found in provided tools")
    if kind in ("any", "tool") and _ALWAYS_THINKS.match(body["model"]):
        raise Unreadable("tool_choice: forced tool use is not supported for this model")


def _check_output(config: Any) -> None:
    _known(config, _OUTPUT, "output_config")
    effort, form = config.get("effort"), config.get("format")
    if effort is not None and effort not in _EFFORTS:
        raise Unreadable(f"output_config.effort: Input should be {', '.join(map(repr, _EFFORTS))}")
    if form is None:
        return
    if form.get("type") != "json_schema":
        raise Unreadable("output_config.format.type: Input should be 'json_schema'")
    if not isinstance(form.get("schema"), dict):
        raise Unreadable("output_config.format.schema: Field required")
    _check_schema(form["schema"], "output_config.format.schema")


def _check_schema(schema: Mapping[str, Any], where: str) -> None:
    for problem in _schema_problems(schema):
        raise Unreadable(f"{where}: {problem}")


def _schema_problems(schema: Any) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    bounds = [name for name in _UNBOUNDED.get(str(kind), ()) if name in schema]
    if bounds:
        yield f"For '{kind}' type, properties {', '.join(sorted(bounds))} are not supported"
    if kind == "object" and schema.get("additionalProperties") is not False:
        yield "For 'object' type, 'additionalProperties' must be explicitly set to false"
    for group in ("properties", "$defs"):
        for part in (schema.get(group) or {}).values():
            yield from _schema_problems(part)
    yield from _schema_problems(schema.get("items"))
    for part in schema.get("anyOf") or ():
        yield from _schema_problems(part)


def _check_thinking(body: Mapping[str, Any]) -> None:
    """Ways of thinking by model. Models that are not Anthropic's are a test's own, and take all but between_tools."""
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind, model = thinking.get("type"), body["model"]
    if kind not in ("enabled", "disabled", "adaptive", "between_tools"):
        raise Unreadable(f"thinking: Input tag {kind!r} does not match any of the expected tags")
    between = _BETWEEN_TOOLS.match(model)
    if (
        (kind == "disabled" and (between or _ALWAYS_THINKS.match(model)))
        or (kind == "between_tools" and not between)
        or (kind == "enabled" and model.startswith("claude-") and not _BUDGET.match(model))
        or (kind == "adaptive" and re.match(r"claude-(3|(haiku|sonnet|opus)-4-[0-5])", model))
    ):
        raise Unreadable(f'"thinking.type.{kind}" is not supported for this model.')
    budget = thinking.get("budget_tokens")
    if kind == "enabled" and (type(budget) is not int or budget < 1024):
        raise Unreadable("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if kind == "enabled" and budget >= body["max_tokens"]:
        raise Unreadable("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if kind in ("enabled", "adaptive") and (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        raise Unreadable("Thinking may not be enabled when tool_choice forces tool use.")


def cacheable(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """All parts of a prompt in the order of its prefix (tools, system, messages), each with its breakpoint or None."""
    for tool in body.get("tools") or ():
        yield repr({**tool, "cache_control": None}), tool.get("cache_control")
    for content in (body.get("system") or "", *(turn["content"] for turn in body["messages"])):
        if isinstance(content, str):
            yield content, None
        else:
            yield from ((block["text"], block.get("cache_control")) for block in content)


def _check_breakpoints(body: Mapping[str, Any]) -> None:
    breakpoints = [control for _, control in cacheable(body) if control is not None]
    seen_short = False
    for control in breakpoints:
        _known(control, _names("type ttl"), "cache_control")
        if control.get("type") != "ephemeral":
            raise Unreadable("cache_control.type: Input should be 'ephemeral'")
        ttl = control.get("ttl", "5m")
        if ttl not in ("5m", "1h"):
            raise Unreadable("cache_control.ephemeral.ttl: Input should be '5m' or '1h'")
        if ttl == "1h" and seen_short:
            raise Unreadable("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.")
        seen_short = seen_short or ttl == "5m"
    if len(breakpoints) > _MOST_BREAKPOINTS:
        found = len(breakpoints)
        raise Unreadable(f"A maximum of {_MOST_BREAKPOINTS} blocks with cache_control may be provided. Found {found}.")
