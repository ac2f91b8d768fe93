"""Reading what a server answered."""

from __future__ import annotations

from typing import Any, Literal

from filterkit.api import Reply, Usage
from filterkit_openai.complaint import Complaint

_FINISH: dict[str, Literal["stop", "length", "blocked"]] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "blocked",
}


def read_answer(data: Any, *, money: bool, key: str) -> Reply | Complaint:
    """The body of a 200: a reply, or the error that routers put there. ValueError: it is neither."""
    if isinstance(data, dict) and data.get("error") and not data.get("choices"):  # a router's way to say 502
        return Complaint.inside(data, key)
    return read_reply(data, money=money)


def read_reply(data: Any, *, money: bool) -> Reply:
    """A 200 as a Reply. `money`: a cost that the server reports is believed. ValueError: it is no chat completion."""
    first = _first_choice(data)
    message = first.get("message")
    if not isinstance(message, dict):
        raise ValueError("there is no message")
    finish: Literal["stop", "length", "blocked", "other"] = _FINISH.get(str(first.get("finish_reason")), "other")
    model, name = data.get("model"), data.get("id")
    return Reply(
        text=without_thoughts(_text(message.get("content"))),
        usage=read_usage(data.get("usage"), money=money),
        model_version=model if isinstance(model, str) else "",
        finish="blocked" if message.get("refusal") else finish,
        provider_id=name if isinstance(name, str) else None,
    )


def _first_choice(data: Any) -> dict[str, Any]:
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError("there are no choices")
    return choices[0]


def _text(content: Any) -> str:
    if isinstance(content, list):  # some servers send thoughts and text as parts
        return "".join(p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str))
    return content if isinstance(content, str) else ""


def without_thoughts(text: str) -> str:
    """`text` without the <think>…</think> that a local reasoning model begins with; "" when it never stopped thinking.

    Chat templates often open the thought in the prompt, so that the answer holds only its end.
    """
    if "</think>" in text and not text.lstrip().startswith(("{", "`")):
        return text.split("</think>", 1)[1].lstrip()
    return "" if text.lstrip().startswith("<think>") else text


def read_usage(usage: Any, *, money: bool) -> Usage:
    """Tokens as reported, None where nothing is.

    `prompt_tokens_details.cache_write_tokens` has no place in Usage: a write is charged a quarter more than the input
    that it is part of, and neither more tokens nor a price of our own would be the truth. With `cache_breakpoint` only
    the rubric is written, once while it stays cached, and the surcharge is next to nothing.
    """
    if not isinstance(usage, dict):
        return Usage()
    sent, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    total = _count(usage.get("total_tokens"))
    cached = _count(_within(usage, "prompt_tokens_details", "cached_tokens"))
    thought = _count(_within(usage, "completion_tokens_details", "reasoning_tokens"))
    if sent is not None and written is not None and total is not None:
        written = max(written, total - sent)  # some leave the thoughts out here, and charge them
    return Usage(
        input=sent,
        cached_input=None if cached is None or sent is None else min(cached, sent),
        output=written,
        thinking=None if thought is None or written is None else min(thought, written),
        cost_usd=_dollars(usage.get("cost")) if money else None,
    )


def _within(usage: dict[str, Any], part: str, name: str) -> Any:
    details = usage.get(part)
    return details.get(name) if isinstance(details, dict) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _dollars(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 <= value < 1e6 else None
