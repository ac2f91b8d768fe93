"""Gemini's REST protocol: `POST /VERSION/models/MODEL:generateContent`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filterkit.testing.fake_llm.answers import Finish
from filterkit.testing.fake_llm.checks import camel, check_gemini
from filterkit.testing.fake_llm.wire import Asked, Counts, Unreadable, Why, Wire

_RPC = "type.googleapis.com/google.rpc."
_METRIC = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
_NO_KEY = (
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
    "form of API consumer identity to call this API."
)
_BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


def key_of(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The API key that a request carries."""
    return headers.get("x-goog-api-key") or query.get("key")


def read(
    model: str, body: dict[str, Any], *, openai_own: bool = True, headers: Mapping[str, str] | None = None
) -> Asked:
    """A question out of a request's body. Raises Unreadable."""
    check_gemini(model, body)
    body = camel(body)
    contents = body.get("contents")
    if not contents:
        raise Unreadable("* GenerateContentRequest.contents: contents is not specified")
    if isinstance(contents, dict):
        contents = [contents]
    config = camel(body.get("generationConfig") or {})
    thinking = camel(config.get("thinkingConfig") or {})
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    plain = config.get("responseMimeType") != "application/json"
    if schema is not None and plain:
        raise Unreadable("Response schema is only supported with the response mime type: 'application/json'")
    return Asked(
        model=model,
        system=_text(body.get("systemInstruction")),
        user="\n".join(_text(content) for content in contents if content.get("role", "user") == "user"),
        schema=schema,
        mode="json_schema" if schema is not None else "none" if plain else "json_object",
        max_tokens=config.get("maxOutputTokens"),
        thinking=thinking.get("thinkingBudget") != 0 and str(thinking.get("thinkingLevel")).upper() != "MINIMAL",
        config={k: v for k, v in body.items() if k not in ("contents", "systemInstruction")}
        | ({"generationConfig": config | ({"thinkingConfig": thinking} if thinking else {})} if config else {}),
    )


def _text(content: dict[str, Any] | None) -> str:
    return "".join(part.get("text", "") for part in (content or {}).get("parts") or [])


def reply(text: str, finish: Finish, counts: Counts, model: str, number: int, tool: str | None = None) -> Wire:
    """A 200."""
    usage: dict[str, Any] = {"promptTokenCount": counts.input, "totalTokenCount": counts.input}
    body: dict[str, Any] = {"usageMetadata": usage, "modelVersion": model, "responseId": f"fake-{number}"}
    if finish == "blocked":
        return Wire(200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **body})
    usage["candidatesTokenCount"] = counts.output
    usage["totalTokenCount"] += counts.output + counts.thinking
    if counts.cached:
        usage["cachedContentTokenCount"] = counts.cached
    if counts.thinking:
        usage["thoughtsTokenCount"] = counts.thinking
    candidate: dict[str, Any] = {"index": 0, "finishReason": "STOP" if finish == "stop" else "MAX_TOKENS"}
    if finish == "refused":
        candidate["finishReason"] = "SAFETY"
        candidate["safetyRatings"] = [
            {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}
        ]
    else:
        candidate["content"] = {"role": "model", **({"parts": [{"text": text}]} if text else {})}
    return Wire(200, {"candidates": [candidate], **body})


def error(fault: str, model: str, wait_s: float | None = None, limit: int | None = None, why: Why = None) -> Wire:
    """The answer to a request that got no reply. `fault` may also be "bad_request", for the reason `why`."""
    if fault in ("rate_limit", "quota_day"):
        return _too_many(model, "PerDay" if fault == "quota_day" else "PerMinute", wait_s, limit)
    if fault == "bad_request":
        violation = {"field": why.param, "description": str(why)} if why and why.param else {"description": str(why)}
        info = {"@type": _RPC + "BadRequest", "fieldViolations": [violation]}
        return _status(400, "INVALID_ARGUMENT", str(why), *([info] if why and why.param is not None else []))
    if fault == "bad_gateway":
        return Wire(502, _BAD_GATEWAY)
    if fault == "invalid_key":
        info = {"@type": _RPC + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
        return _status(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", info)
    if fault == "unknown_model":
        return _status(404, "NOT_FOUND", f"models/{model} is not found for API version v1beta.")
    code, status, what = {
        "server_error": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        "unauthorized": (401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
        "no_balance": (402, "FAILED_PRECONDITION", "The prepaid balance of this project is used up."),
        "forbidden": (403, "PERMISSION_DENIED", "The caller does not have permission."),
        "no_key": (403, "PERMISSION_DENIED", _NO_KEY),
        "no_credit": (429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
    }[fault]
    return _status(code, status, what)


def _too_many(model: str, per: str, wait_s: float | None, limit: int | None) -> Wire:
    violation = {
        "quotaMetric": _METRIC,
        "quotaId": f"GenerateRequests{per}PerProjectPerModel-FreeTier",
        "quotaDimensions": {"location": "global", "model": model},
        "quotaValue": str(limit if limit is not None else 15),
    }
    details: list[dict[str, Any]] = [{"@type": _RPC + "QuotaFailure", "violations": [violation]}]
    what = "You exceeded your current quota, please check your plan and billing details."
    if wait_s is not None:  # comes with the quota of the day as well, where waiting so long is of no use
        details.append({"@type": _RPC + "RetryInfo", "retryDelay": f"{wait_s:.9g}s"})
        what += f" Please retry in {wait_s:.9g}s."
    return _status(429, "RESOURCE_EXHAUSTED", what, *details)


def _status(code: int, status: str, message: str, *details: dict[str, Any]) -> Wire:
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return Wire(code, {"error": error})


def model_entry(name: str) -> dict[str, Any]:
    """A model in the list of models."""
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
