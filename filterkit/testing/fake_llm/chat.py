"""OpenAI's protocol: `POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filterkit.testing.fake_llm.answers import Finish
from filterkit.testing.fake_llm.checks import check_chat
from filterkit.testing.fake_llm.wire import Asked, Counts, Mode, Unreadable, Why, Wire

_BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY)."
)
LOCAL_MODEL = "fake-model"  # the one that a local server has, whether a request names one or not
_MODES: dict[str, Mode] = {"text": "none", "json_object": "json_object", "json_schema": "json_schema"}


def key_of(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The API key that a request carries."""
    return headers.get("authorization", "").removeprefix("Bearer ") or None


def read(
    model: str, body: dict[str, Any], *, openai_own: bool = True, headers: Mapping[str, str] | None = None
) -> Asked:
    """A question out of a request's body, which names the model itself. Raises Unreadable."""
    check_chat(body, own=openai_own)
    messages = body.get("messages")
    if not messages:
        raise Unreadable("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if body.get("stream"):
        raise Unreadable("This server does not stream.")
    asked_format = body.get("response_format") or {"type": "text"}
    mode = _MODES.get(asked_format.get("type", ""))
    if mode is None:
        what = f"Invalid value: {asked_format.get('type')!r} for 'response_format.type'."
        raise Unreadable(what, "response_format.type", "invalid_value")
    schema = None
    if mode == "json_schema":
        schema = (asked_format.get("json_schema") or {}).get("schema")
        if schema is None:
            where = "response_format.json_schema.schema"
            raise Unreadable(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
    texts = [(m.get("role"), _text(m.get("content"))) for m in messages]
    if mode == "json_object" and not any("json" in text.lower() for _, text in texts):
        what = "'messages' must contain the word 'json' to use 'response_format' of type 'json_object'."
        raise Unreadable(what, "messages")
    return Asked(
        model=body.get("model") or model or LOCAL_MODEL,
        system="\n".join(text for role, text in texts if role in ("system", "developer")),
        user="\n".join(text for role, text in texts if role == "user"),
        schema=schema,
        mode=mode,
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        thinking=body.get("reasoning_effort") not in ("none", "minimal"),
        config={k: v for k, v in body.items() if k != "messages"},
    )


def _text(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def reply(text: str, finish: Finish, counts: Counts, model: str, number: int, tool: str | None = None) -> Wire:
    """A 200."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if finish == "refused":
        message |= {"content": None, "refusal": "I'm sorry, I can't assist with that request."}
    reasons = {"length": "length", "blocked": "content_filter"}
    output = counts.output + counts.thinking
    usage = {
        "prompt_tokens": counts.input,
        "completion_tokens": output,
        "total_tokens": counts.input + output,
        "prompt_tokens_details": {"cached_tokens": counts.cached},
        "completion_tokens_details": {"reasoning_tokens": counts.thinking},
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reasons.get(finish, "stop")}
    body = {
        "id": f"chatcmpl-fake-{number}",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }
    return Wire(200, body, {"x-request-id": f"req_fake_{number}"})


def error(fault: str, model: str, wait_s: float | None = None, limit: int | None = None, why: Why = None) -> Wire:
    """The answer to a request that got no reply. `fault` may also be "bad_request", for the reason `why`."""
    if fault == "bad_request":
        return _error(
            400, str(why), "invalid_request_error", why.code if why else None, param=why.param if why else None
        )
    if fault in ("rate_limit", "quota_day"):
        per, usual = ("min (RPM)", 3) if fault == "rate_limit" else ("day (RPD)", 200)
        most = usual if limit is None else limit
        what = f"Rate limit reached for {model} on requests per {per}: Limit {most}, Used {most}, Requested 1."
        if wait_s is not None:
            what += f" Please try again in {_span(wait_s)}."
        headers = {} if wait_s is None else {"retry-after": f"{wait_s:.9g}", "retry-after-ms": f"{wait_s * 1000:.0f}"}
        return _error(429, what, "requests", "rate_limit_exceeded", headers)
    if fault == "bad_gateway":
        return Wire(502, _BAD_GATEWAY)
    code, what, kind, name = {
        "no_credit": (
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
        ),
        "server_error": (503, "The engine is currently overloaded, please try again later.", "server_error", None),
        "unauthorized": (401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
        "invalid_key": (401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
        "no_balance": (402, "Insufficient Balance", "unknown_error", "invalid_request_error"),
        "forbidden": (403, "Your account does not have access to this model.", "permission_error", None),
        "unknown_model": (404, f"The model `{model}` does not exist.", "invalid_request_error", "model_not_found"),
        "no_key": (401, _NO_KEY, "invalid_request_error", None),
    }[fault]
    return _error(code, what, kind, name)


def _span(seconds: float) -> str:
    """A time as OpenAI writes it: 7m12s, 1.25s, 20ms."""
    if seconds < 1:
        return f"{seconds * 1000:.9g}ms"
    minutes, left = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{left:.6g}s"


def _error(
    code: int,
    message: str,
    kind: str,
    name: str | None,
    headers: dict[str, str] | None = None,
    param: str | None = None,
) -> Wire:
    body = {"error": {"message": message, "type": kind, "param": param, "code": name}}
    return Wire(code, body, headers or {})


def model_entry(name: str) -> dict[str, Any]:
    """A model in the list of models."""
    return {"id": name, "object": "model", "created": 1_790_000_000, "owned_by": "filterkit"}
