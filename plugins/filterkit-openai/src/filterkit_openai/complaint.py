"""What a server says when it says no: the error bodies of many makes, in the words of the contract."""

from __future__ import annotations

import email.utils
import itertools
import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from filterkit.api import BackendError, Fatal, RateLimited, Refused, Transient

LONGEST_SHOWN = 240
LONGEST_READ = 8_000  # characters that are looked through for what an error means
MOST_LEAVES = 200
MOST_NESTED = 16
LONGEST_PARSED = 200_000
LONGEST_WAIT_S = 7 * 86_400.0  # whoever asks for more is not believed

TOO_LONG = re.compile(
    r"context_length|context length|context window|context size|too long|too many tokens|reduce the length"
)
_POLICY = re.compile(r"content_policy|content_filter|content policy|moderation|flagged|invalid_prompt|safety")
_BAD_KEY = re.compile(r"(incorrect|invalid) api key|api key (not valid|not found|expired|invalid)|api_key_invalid")
_PER_DAY = re.compile(r"per[\s_-]?day|\b(rpd|tpd|daily)\b")  # Google writes it PerDay, OpenRouter per-day
_NO_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"}
_BEHIND = {502, 504, 520, 522, 523, 524}  # a proxy's words: the model behind it may have worked, and be paid

_UNIT = r"(?:ms|milliseconds?|hours?|h|minutes?|m|seconds?|s)"
_TRY_AGAIN = re.compile(rf"(?:try again|retry) (?:in|after) ((?:[\d.]{{1,12}} ?{_UNIT} ?)+)")
_SPAN = re.compile(r"([\d.]{1,12}) ?(ms|milli|h|m|s)")
_UNIT_S = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

_SAID = {"", "message", "msg", "detail", "details", "error", "errors", "description", "title", "reason", "raw", "loc"}
_ECHOES = {"input", "flagged_input", "failed_generation", "messages", "prompt", "request", "url"}
"""Fields that repeat what was sent or generated: an article's words say nothing about what went wrong."""


class Complaint:
    """An error as a server sent it: HTTP status, codes, and message on one short line without the key.

    `all` is what is searched for what the error means: every text of the body in lower case, some kB at most.
    """

    def __init__(self, status: int, body: Any, headers: Mapping[str, str], key: str = "") -> None:
        self.status, self.headers = status, headers
        body, page = _parsed(body)
        leaves = list(itertools.islice(_leaves(body), MOST_LEAVES))
        said = _line((text for name, text in leaves if name in _SAID), key)
        other = _line((text for name, text in leaves if name not in _SAID), key)
        self.message = _shortened(said or other)
        self.all = "" if page else f"{said[:LONGEST_READ]} {other[:LONGEST_READ]}".lower()
        self.codes = _codes(body)
        self._delays = [text for name, text in leaves if name == "retryDelay"]

    @classmethod
    def inside(cls, data: dict[str, Any], key: str) -> Complaint:
        """An error in the body of a 200, whose code is an HTTP status."""
        error = data["error"]
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 502
        return cls(status, {"error": error}, {}, key)

    @property
    def server_is_ill(self) -> bool:
        """Whether it is the server's trouble, not the question's."""
        return self.status >= 500 or self.status == 408

    @property
    def is_too_long(self) -> bool:
        """Whether the article does not fit into the model."""
        return bool(TOO_LONG.search(self.all))

    @property
    def is_policy(self) -> bool:
        """Whether the provider does not want to answer about this article."""
        return bool(_POLICY.search(self.all))

    @property
    def said(self) -> str:
        return f"HTTP {self.status}" + (f": {self.message}" if self.message else "")

    def as_error(self, server: str, model: str, key_env: str | None) -> BackendError:
        """What it means to the core."""
        what = f"{server}: {self.said}"
        if self.status == 402 or self.codes & _NO_MONEY:
            return Fatal(what, fix="Add credit to the account, then run the same command again")
        if self.status == 429:
            scope: Literal["minute", "day"] = "day" if _PER_DAY.search(self.all) else "minute"
            return RateLimited(what, retry_after_s=self.wait_s(), scope=scope)
        if self.status in (401, 403) and not (self.status == 403 and self.is_policy):
            return _bad_key(what, key_env)
        if self.status == 400 and _BAD_KEY.search(self.all):
            return _bad_key(what, key_env)
        if self.status == 404:
            return Fatal(what, fix=f"Check the model ({model}) and base_url, which mostly ends in /v1")
        if self.status in (409, 425) or self.server_is_ill:
            return Transient(what, unbilled=self.status not in _BEHIND, retry_after_s=self.wait_s())
        return Refused(f"the article is too long for the model ({what})" if self.is_too_long else what)

    def wait_s(self) -> float | None:
        """Seconds to wait, as said in the headers or in the body; None where nothing sensible is said."""
        waits = [self._header_s(), *(_span_s(text) for text in self._delays)]
        words = _TRY_AGAIN.search(self.all)
        if words and waits == [None] * len(waits):
            waits.append(_span_s(words.group(1)))
        if waits == [None] * len(waits):
            waits += [
                _span_s(self.headers.get(f"x-ratelimit-reset-{kind}", ""))
                for kind in ("requests", "tokens")
                if self.headers.get(f"x-ratelimit-remaining-{kind}") == "0"
            ]
        return max((s for s in waits if s is not None and s <= LONGEST_WAIT_S), default=None)

    def _header_s(self) -> float | None:
        in_ms, after = self.headers.get("retry-after-ms", ""), self.headers.get("retry-after", "")
        if _is_number(in_ms):
            return float(in_ms) / 1000
        if _is_number(after):
            return float(after)
        try:
            date = email.utils.parsedate_tz(after[:100])
            return None if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())
        except (ValueError, OverflowError):  # a date, but none of any calendar
            return None


def _bad_key(what: str, key_env: str | None) -> Fatal:
    if key_env:
        return Fatal(what, fix=f"Check the environment variable {key_env}")
    return Fatal(what, fix="The server asks for an API key: name its variable in api_key_env")


def _parsed(body: Any) -> tuple[Any, bool]:
    """A body, read as JSON where it is; and whether it is a web page, whose words are for people only."""
    if not isinstance(body, str):
        return body, False
    found = _as_json(body)
    if found is not None:
        return found, False
    page = body.lstrip()[:1] == "<"
    return re.sub(r"<[^<>]*>", " ", body[:LONGEST_READ]) if page else body, page


def _as_json(text: str) -> Any:
    """The object or list that a text is; None: it is neither."""
    if len(text) > LONGEST_PARSED or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _leaves(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """All texts of a body with the field that each stands in; what routers quote as JSON in a text is opened too."""
    if depth > MOST_NESTED:
        return
    if isinstance(value, str):
        inner = _as_json(value)
        if inner is None:
            yield name, value
        else:
            yield from _leaves(inner, name, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in _ECHOES:
                yield from _leaves(item, str(key), depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name, depth + 1)


def _codes(body: Any) -> set[str]:
    """What the error itself is called; not what a router quotes from the server behind it."""
    first = body[0] if isinstance(body, list) and body else body
    error = first.get("error", first) if isinstance(first, dict) else first
    names = [error.get("code"), error.get("type")] if isinstance(error, dict) else [error]
    return {name.lower() for name in names if isinstance(name, str)}


def _line(texts: Iterator[str], key: str) -> str:
    line = " ".join(" ".join(text.split()) for text in texts)
    for form in {key, json.dumps(key)[1:-1]} if key else ():
        line = line.replace(form, "[secret]")
    return line


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text.strip()))


def _span_s(text: str) -> float | None:
    """Seconds of "6m0s", "20ms", "20 seconds" or "1.5"."""
    if _is_number(text):
        return float(text)
    parts = _SPAN.findall(text[:100])
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts if _is_number(number)) if parts else None
