"""What Anthropic's errors mean. Their texts are short, on one line, and never hold the key."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from filterkit.api import BackendError, Fatal, RateLimited, Refused, Transient
from filterkit_anthropic.options import AnthropicOptions

LONGEST = 240
"""Characters that are kept of what the server says."""

REFUSALS = 16
"""As many refusals in the same words before anything was answered: then it is not the articles."""

LONGEST_WAIT_S = 7 * 86_400.0
"""Whoever asks for a longer wait is not believed."""

LONGEST_PAUSE_S = 3600.0
"""A limit that holds for longer than this is none per minute: the run ends."""

_SPENT = {
    "contract_spend_limit_reached",
    "enforced_spend_limit_reached",
    "linked_organization_spend_limit_reached",
    "linked_organization_billing_unavailable",
}
"""Values of `error.details.error_code` that come with a 402 or a 429 and do not pass by waiting."""

_NO_MONEY = re.compile(r"credit balance|purchase credits|usage limits|spend(ing)? limit", re.I)
_ON_HOLD = re.compile(r"organization has been disabled|account has been disabled", re.I)
_PER_DAY = re.compile(r"per[\s_-]?day|\bdaily\b", re.I)
_TOO_LONG = re.compile(r"too long|exceed(s|ed)? (the )?(context|maximum size)|context (window|limit|length)", re.I)
_POLICY = re.compile(r"content filter|content policy|usage policy|safety", re.I)
_SETTINGS = re.compile(
    r"thinking|output_config|output_format|schema|tool_choice|\btools\b|cache_control|max_tokens|effort|\bmodel\b"
    r"|anthropic-(version|beta)|extra inputs|field required",
    re.I,
)
_LIMITS = ("requests", "tokens", "input-tokens", "output-tokens")
_BEHIND = frozenset((502, 504, 520, 522, 523, 524))  # a proxy's words: the model behind it may have worked, and be paid
_NEVER = frozenset((404, 405, 406, 407, 410, 411, 414, 415, 417, 426, 431, 451, 501, 505))
"""Statuses about the address or the form of the request: every other article would fare the same."""

STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that an error comes with where it is told without one."""


class Faults:
    """Turns what went wrong into what filterkit knows. `secret` is taken out of every text.

    answered: whether any request has been answered; hopeless: whether so many were refused that, without any answer,
    none of them is believed to be the article's fault. Both are set by the oracle.
    """

    def __init__(self, options: AnthropicOptions, secret: str) -> None:
        self._server, self._model, self._key_name = options.server, options.model, options.key_name
        self._secret = secret
        self._refusals: Counter[str] = Counter()
        self.answered = self.hopeless = False

    def of_status(self, status: int, body: Any, headers: Mapping[str, str]) -> BackendError:
        """What an answer with another status than 200 means. `body` is its JSON, or its text."""
        error = error_of(body)
        said = self.said(error.get("message") or error.get("type") or "")
        what = f"{self._server}: HTTP {status}" + (f": {said}" if said else "")
        if status == 402 or error.get("type") == "billing_error" or _code(error) in _SPENT:
            return _no_money(what)
        if status == 429:
            return _limited(what, said, headers)
        if status in (400, 422):
            return self._bad_request(what, said, error)
        if status == 413:
            return Refused(f"the article is too long for the model ({what})")
        if status in (401, 403):
            return Fatal(what, fix=self._mend_key())
        if 300 <= status < 400:
            return Fatal(f"{what}: it redirects, and the key is not sent on", fix="Look at base_url, or at the proxy")
        if status in _NEVER:
            return Fatal(what, fix=f"Check the model ({self._model}) and base_url, to which /v1/messages is added")
        return Transient(what, unbilled=status not in _BEHIND, retry_after_s=wait_s(headers))

    def inside(self, body: Mapping[str, Any]) -> BackendError:
        """An error in the body of a 200, as some proxies pass it on."""
        return self.of_status(STATUS_OF.get(str(error_of(body).get("type")), 500), body, {})

    def said(self, text: Any) -> str:
        """`text` on one short line, without the key."""
        text = str(text)
        if self._secret:
            text = text.replace(self._secret, "[secret]")
        line = " ".join(re.sub(r"<[^<>]*>", " ", text).split())
        return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"

    def _bad_request(self, what: str, said: str, error: Mapping[str, Any]) -> BackendError:
        if _NO_MONEY.search(said):
            return _no_money(what)
        if _code(error) == "organization_on_hold" or _ON_HOLD.search(said):
            return Fatal(what, fix="Write to Anthropic's support, or use the key of another organization")
        if _TOO_LONG.search(said):
            return Refused(f"the article is too long for the model ({what})")
        if _POLICY.search(said):
            return Refused(what)
        if _SETTINGS.search(said):  # every other article would fare the same
            fix = f"Change the options that {self._model!r} does not take (thinking, effort, structured, …)"
            return Fatal(what, fix=fix)
        return self._unclear(what)

    def _unclear(self, what: str) -> BackendError:
        """A refusal that may be about the article, or about every request of this run."""
        if not self.answered:
            self._refusals[what] += 1
            if self.hopeless or self._refusals[what] >= REFUSALS:
                fix = f"Nothing was answered yet and {REFUSALS} articles were refused: check the model and the options"
                return Fatal(what, fix=fix)
        return Refused(what)

    def _mend_key(self) -> str:
        if self._key_name:
            return f"Set the environment variable {self._key_name} to a valid key that may use the model"
        return "The server asks for an API key: name its variable in api_key_env"


def error_of(body: Any) -> Mapping[str, Any]:
    """The object that describes the error; a body of another kind becomes its message."""
    if isinstance(body, dict):
        error = body.get("error", body)
        return error if isinstance(error, dict) else {"message": error}
    return {"message": body or ""}


def _code(error: Mapping[str, Any]) -> str | None:
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    return code if isinstance(code, str) else None


def _no_money(what: str) -> Fatal:
    return Fatal(what, fix="Add credit to the organization or raise its spend limit, then run the same command again")


def _limited(what: str, said: str, headers: Mapping[str, str]) -> BackendError:
    if _NO_MONEY.search(said):
        return _no_money(what)
    wait = wait_s(headers)
    if _PER_DAY.search(said) or (wait or 0.0) > LONGEST_PAUSE_S:
        return RateLimited(what, retry_after_s=wait, scope="day")
    return RateLimited(what, retry_after_s=wait)


def wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: those of Retry-After, else until all limits that are used up are reset. None: nothing is said.

    headers: found under lower-case names.
    """
    waits = [_retry_after(headers)]
    if waits == [None]:
        waits = [
            _until(headers.get(f"anthropic-ratelimit-{kind}-reset", ""), headers)
            for kind in _LIMITS
            if headers.get(f"anthropic-ratelimit-{kind}-remaining") == "0"
        ]
    return max((s for s in waits if s is not None and 0 <= s <= LONGEST_WAIT_S), default=None)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    in_ms, after = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    if _is_number(in_ms):
        return float(in_ms) / 1000
    if _is_number(after):
        return float(after)
    when = _http_date(after)
    return None if when is None else when - _now(headers)


def _until(reset: str, headers: Mapping[str, str]) -> float | None:
    """Seconds until a time as RFC 3339 writes it."""
    try:
        when = datetime.fromisoformat(reset)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    try:
        return max(0.0, when.timestamp() - _now(headers))
    except (ValueError, OverflowError):
        return None


def _now(headers: Mapping[str, str]) -> float:
    """The server's time where it says it, so that a wrong clock here does no harm."""
    when = _http_date(headers.get("date", ""))
    return time.time() if when is None else when


def _http_date(text: str) -> float | None:
    try:
        when = parsedate_to_datetime(text[:100])
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text.strip()))
