"""Reading what a server said: replies, and errors in the words of the contract."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any, Literal

from filterkit.api import BackendError, Fatal, RateLimited, Refused, Reply, Transient, Usage

LONGEST_MESSAGE = 240
_NO_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"}
_TOO_LONG = re.compile(r"context_length|context length|context window|too long|too many tokens|reduce the length")
_POLICY = re.compile(r"content_policy|content_filter|content policy|moderation|flagged|invalid_prompt|safety")
_PER_DAY = re.compile(r"\b(per day|rpd|tpd|daily)\b", re.IGNORECASE)
_TRY_AGAIN = re.compile(r"try again in ((?:[\d.]+(?:ms|h|m|s))+)", re.IGNORECASE)
_SPAN = re.compile(r"([\d.]+)(ms|h|m|s)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BEHIND = {502, 504, 520, 522, 523, 524}  # a proxy's words: the model behind it may have worked, and be paid
_FINISH: dict[str, Literal["stop", "length", "blocked"]] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "blocked",
}


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
    """Tokens as reported, None where nothing is."""
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


class Complaint:
    """An error as a server sent it: HTTP status, code, and message on one short line without the key."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str], key: str = "") -> None:
        error = body.get("error", body) if isinstance(body, dict) else None
        fields = error if isinstance(error, dict) else {"message": error}
        message = fields.get("message") or fields.get("detail")
        words = " ".join(str(message).split()) if isinstance(message, str) else ""
        self.status = status
        self.headers = headers
        self.message = (words.replace(key, "[secret]") if key else words)[:LONGEST_MESSAGE]
        self.codes = {str(fields.get(name)).lower() for name in ("code", "type")}
        self.all = " ".join([self.message, *(str(fields.get(name)) for name in ("code", "type", "param"))]).lower()

    @classmethod
    def inside(cls, data: dict[str, Any], key: str) -> Complaint:
        """An error in the body of a 200, whose code is an HTTP status."""
        error = data["error"]
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 502
        return cls(status, data, {}, key)

    @property
    def server_is_ill(self) -> bool:
        """Whether it is the server's trouble, not the question's."""
        return self.status >= 500 or self.status == 408

    @property
    def said(self) -> str:
        return f"HTTP {self.status}" + (f": {self.message}" if self.message else "")

    def as_error(self, server: str, model: str, key_env: str | None) -> BackendError:
        """What it means to the core."""
        what = f"{server}: {self.said}"
        if self.status == 402 or self.codes & _NO_MONEY:
            return Fatal(what, fix="Add credit to the account, then run the same command again")
        if self.status == 429:
            scope: Literal["minute", "day"] = "day" if _PER_DAY.search(self.message) else "minute"
            return RateLimited(what, retry_after_s=self.wait_s(), scope=scope)
        if self.status in (400, 413, 422) or (self.status == 403 and _POLICY.search(self.all)):
            return Refused(f"the article is too long for the model ({what})" if _TOO_LONG.search(self.all) else what)
        if self.status in (401, 403):
            named = f"the environment variable {key_env}" if key_env else "an API key: name its variable in api_key_env"
            return Fatal(what, fix=f"Check {named}" if key_env else f"The server asks for {named}")
        if self.status == 404:
            return Fatal(what, fix=f"Check the model ({model}) and base_url, which mostly ends in /v1")
        if self.status in (409, 425) or self.server_is_ill:
            return Transient(what, unbilled=self.status not in _BEHIND)
        return Refused(what)

    @property
    def about_the_article(self) -> bool:
        """Whether another article may fare better."""
        return bool(_TOO_LONG.search(self.all) or _POLICY.search(self.all))

    def wait_s(self) -> float | None:
        """Seconds to wait, as said in the headers or in words."""
        in_ms, after = self.headers.get("retry-after-ms", ""), self.headers.get("retry-after", "")
        if _is_number(in_ms):
            return float(in_ms) / 1000
        if _is_number(after):
            return float(after)
        date = email.utils.parsedate_tz(after) if after else None
        if date:
            return max(0.0, email.utils.mktime_tz(date) - time.time())
        words = _TRY_AGAIN.search(self.message)
        if words:
            return _span_s(words.group(1))
        resets = [
            _span_s(self.headers.get(f"x-ratelimit-reset-{kind}", ""))
            for kind in ("requests", "tokens")
            if self.headers.get(f"x-ratelimit-remaining-{kind}") == "0"
        ]
        return max((s for s in resets if s is not None), default=None)


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text.strip()))


def _span_s(text: str) -> float | None:
    """Seconds of "6m0s", "20ms" or "1.5"."""
    if _is_number(text):
        return float(text)
    parts = _SPAN.findall(text)
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts if _is_number(number)) if parts else None
