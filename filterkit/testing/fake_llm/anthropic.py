"""Anthropic's protocol: `POST /v1/messages`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from filterkit.testing.fake_llm.answers import Finish
from filterkit.testing.fake_llm.messages_checks import NEWEST, VERSIONS, cacheable, check_messages
from filterkit.testing.fake_llm.wire import Asked, Counts, Unreadable, Why, Wire

_BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_NO_CREDIT = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase "
    "credits."
)
_NOT_THINKING = ("disabled", "between_tools")  # there are no tools to think between


def key_of(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The API key that a request carries: in either header, of which x-api-key counts first."""
    return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ") or None


def read(
    model: str, body: dict[str, Any], *, openai_own: bool = True, headers: Mapping[str, str] | None = None
) -> Asked:
    """A question out of a request's body, which names the model itself. Raises Unreadable.

    headers: the request's; None for one that has none of its own, which is then of the newest version.
    """
    check_messages(body, version_of(headers))
    if body.get("stream"):
        raise Unreadable("This server does not stream.")
    choice = body.get("tool_choice") or {}
    tool = next((tool for tool in body.get("tools") or () if tool["name"] == choice.get("name")), None)
    form = (body.get("output_config") or {}).get("format")
    schema = tool["input_schema"] if tool else form["schema"] if form else None
    users = [turn["content"] for turn in body["messages"] if turn["role"] == "user"]
    return Asked(
        model=body["model"],
        system=_text(body.get("system") or ""),
        user="\n".join(_text(content) for content in users),
        schema=schema,
        mode="none" if schema is None else "json_schema",
        max_tokens=body["max_tokens"],
        thinking=(body.get("thinking") or {}).get("type") not in _NOT_THINKING,
        config={k: v for k, v in body.items() if k not in ("messages", "system")},
        tool=tool["name"] if tool else None,
        prefix=_prefix(body),
    )


def version_of(headers: Mapping[str, str] | None) -> str:
    """The API version that a request asks for; the newest for one without headers. Raises Unreadable."""
    version = NEWEST if headers is None else headers.get("anthropic-version")
    if version is None:
        raise Unreadable("anthropic-version: header is required")
    if version not in VERSIONS:
        raise Unreadable(f'anthropic-version: "{version}" is not a valid version')
    return version


def _text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


def _prefix(body: Mapping[str, Any]) -> str:
    """What is cached: all up to the last breakpoint, "" where there is none."""
    parts = list(cacheable(body))
    last = max((number for number, (_, control) in enumerate(parts) if control is not None), default=-1)
    return "".join(text for text, _ in parts[: last + 1])


def reply(text: str, finish: Finish, counts: Counts, model: str, number: int, tool: str | None = None) -> Wire:
    """A 200. tool: the one that was to be called."""
    content, stop = _content(text, finish, number, tool)
    refused = {"type": "refusal", "category": None, "explanation": None} if stop == "refusal" else None
    body = {
        "id": f"msg_fake_{number}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "stop_details": refused,
        "usage": {
            "input_tokens": counts.input - counts.cached - counts.written,
            "cache_read_input_tokens": counts.cached,
            "cache_creation_input_tokens": counts.written,
            "cache_creation": {"ephemeral_5m_input_tokens": counts.written, "ephemeral_1h_input_tokens": 0},
            "output_tokens": counts.output + counts.thinking,
            "output_tokens_details": {"thinking_tokens": counts.thinking},
            "service_tier": "standard",
        },
    }
    if counts.thinking:
        content.insert(0, {"type": "thinking", "thinking": "", "signature": "fake"})
    return Wire(200, body, {"request-id": f"req_fake_{number}"})


def _content(text: str, finish: Finish, number: int, tool: str | None) -> tuple[list[dict[str, Any]], str]:
    """The blocks of a reply, and why it ended. A tool's input is an object: what is none comes as text."""
    if finish == "blocked":
        return [], "refusal"
    if finish == "refused":
        return [{"type": "text", "text": "I can't help with that."}], "refusal"
    value = _as_object(text) if tool else None
    if value is not None:
        block = {"type": "tool_use", "id": f"toolu_fake_{number}", "name": tool, "input": value}
        return [block], "max_tokens" if finish == "length" else "tool_use"
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    return blocks, "max_tokens" if finish == "length" else "end_turn"


def _as_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is; None for what JSON does not know (NaN) or forbids (a key twice)."""
    try:
        value = json.loads(text, parse_constant=_refuse, object_pairs_hook=_once_each)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _refuse(name: str) -> None:
    raise ValueError(name)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def error(fault: str, model: str, wait_s: float | None = None, limit: int | None = None, why: Why = None) -> Wire:
    """The answer to a request that got no reply. `fault` may also be "bad_request", for the reason `why`."""
    if fault == "bad_request":
        return _error(400, "invalid_request_error", str(why))
    if fault in ("rate_limit", "quota_day"):
        return _too_many("minute" if fault == "rate_limit" else "day", wait_s, limit)
    if fault == "bad_gateway":
        return Wire(502, _BAD_GATEWAY)
    code, kind, what = {
        "no_credit": (400, "invalid_request_error", _NO_CREDIT),
        "server_error": (529, "overloaded_error", "Overloaded"),
        "unauthorized": (401, "authentication_error", "invalid bearer token"),
        "invalid_key": (401, "authentication_error", "invalid x-api-key"),
        "no_balance": (402, "billing_error", "There is an issue with your billing or payment information."),
        "forbidden": (403, "permission_error", "Your API key does not have permission to use the specified resource."),
        "unknown_model": (404, "not_found_error", f"model: {model}"),
        "no_key": (401, "authentication_error", "x-api-key header is required"),
    }[fault]
    return _error(code, kind, what)


def _too_many(per: str, wait_s: float | None, limit: int | None) -> Wire:
    most = limit if limit is not None else 50
    what = f"This request would exceed your organization's rate limit of {most} requests per {per}."
    headers = {"anthropic-ratelimit-requests-limit": str(most), "anthropic-ratelimit-requests-remaining": "0"}
    if wait_s is not None:
        reset = datetime.now(UTC) + timedelta(seconds=wait_s)
        headers |= {"retry-after": f"{wait_s:.9g}", "anthropic-ratelimit-requests-reset": reset.isoformat()}
    return _error(429, "rate_limit_error", what, headers)


def _error(code: int, kind: str, message: str, headers: dict[str, str] | None = None) -> Wire:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"}
    return Wire(code, body, {"request-id": "req_fake", **(headers or {})})


def model_entry(name: str) -> dict[str, Any]:
    """A model in the list of models."""
    return {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
