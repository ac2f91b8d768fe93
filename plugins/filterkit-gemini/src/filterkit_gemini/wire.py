"""Gemini's REST protocol: the part of a request that is the same all run long, and the reading of a reply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from filterkit.api import OracleRequest, Reply, Transient, Usage
from filterkit_gemini.options import GeminiOptions, Safety, thinking_config

_THRESHOLDS: dict[Safety, str] = {
    "off": "OFF",
    "none": "BLOCK_NONE",
    "high": "BLOCK_ONLY_HIGH",
    "medium": "BLOCK_MEDIUM_AND_ABOVE",
    "low": "BLOCK_LOW_AND_ABOVE",
}
_CATEGORIES = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")

_FINISHES: dict[str, Literal["stop", "length", "blocked"]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "LANGUAGE",  # the model does not read it
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ),
        "blocked",
    ),
}


def safety_settings(safety: Safety) -> list[dict[str, str]]:
    """One threshold for all categories of harm that have one; none for "default"."""
    if safety == "default":
        return []
    return [{"category": f"HARM_CATEGORY_{name}", "threshold": _THRESHOLDS[safety]} for name in _CATEGORIES]


def fixed_body(options: GeminiOptions, request: OracleRequest) -> dict[str, Any]:
    """The body of `request` without the user's turn: all that does not change from article to article."""
    generation: dict[str, Any] = {
        "temperature": request.temperature,
        "maxOutputTokens": request.max_output_tokens,
        "responseMimeType": "application/json",
        "responseJsonSchema": request.json_schema,
    }
    if request.seed is not None:
        generation["seed"] = request.seed
    thinking = thinking_config(request.model, options.thinking)
    if thinking is not None:
        generation["thinkingConfig"] = thinking
    body: dict[str, Any] = {"generationConfig": generation}
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    settings = safety_settings(options.safety)
    if settings:
        body["safetySettings"] = settings
    if options.service_tier != "standard":
        body["serviceTier"] = options.service_tier
    return body


def batch_line(options: GeminiOptions, request: OracleRequest) -> bytes:
    """The line of `request` in a batch's file: its key, and the body that a live request has."""
    contents = [{"parts": [{"text": request.user}], "role": "user"}]
    body = {"contents": contents, **fixed_body(options, request)}
    return json.dumps({"key": request.key, "request": body}).encode() + b"\n"


def read_reply(data: Any) -> Reply:
    """A reply out of the JSON of a 200. Transient when it is no reply at all."""
    try:
        return _read(data)
    except (AttributeError, TypeError, LookupError, ValueError):
        raise Transient("the provider sent something else than a reply") from None


def _read(data: Mapping[str, Any]) -> Reply:
    text = ""
    finish: Literal["stop", "length", "blocked", "other"] = "other"
    candidates = data.get("candidates") or ()
    if candidates:
        first = candidates[0]
        finish = _FINISHES.get(first.get("finishReason", ""), "other")
        parts = (first.get("content") or {}).get("parts") or ()
        text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    elif (data.get("promptFeedback") or {}).get("blockReason"):
        finish = "blocked"
    return Reply(
        text=_whole(text),
        usage=_usage(data.get("usageMetadata") or {}),
        model_version=(data.get("modelVersion") or "").removeprefix("models/"),
        finish=finish,
        provider_id=data.get("responseId") or None,
    )


def _whole(text: str) -> str:
    """`text` with U+FFFD for lone surrogates, which JSON can spell and nothing can store."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _usage(said: Mapping[str, Any]) -> Usage:
    """Tokens. What is billed as output is candidates and thoughts; the total tells it where these are left out."""
    prompt, thoughts = said.get("promptTokenCount"), said.get("thoughtsTokenCount")
    counted = [n for n in (said.get("candidatesTokenCount"), thoughts) if n is not None]
    output = sum(counted) if counted else None
    if prompt is not None and said.get("totalTokenCount") is not None:
        output = max(output or 0, said["totalTokenCount"] - prompt)
    return Usage(input=prompt, cached_input=said.get("cachedContentTokenCount"), output=output, thinking=thoughts)
