"""What Gemini's errors mean. Their texts are short, on one line, and never hold the key."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from filterkit.api import BackendError, Fatal, RateLimited, Refused, Transient

LONGEST = 200
"""Characters that are kept of what a provider says."""

_NO_MONEY = re.compile(r"credits? (is|are|has been|have been) (depleted|exhausted|used up)|spend(ing)? cap", re.I)
_BAD_KEY = re.compile(r"api key (not valid|expired|not found|invalid)|reported as leaked", re.I)
_SETTINGS = re.compile(r"thinking|schema|generation_?config|safety_?settings|service_?tier|unknown name", re.I)
_TOO_LONG = re.compile(r"token count|too long|payload size|exceeds the maximum", re.I)


class Faults:
    """Turns what went wrong into what filterkit knows. `secret` is taken out of every text."""

    def __init__(self, model: str, key_name: str, secret: str) -> None:
        self._model, self._key_name, self._secret = model, key_name, secret

    def of_status(self, status: int, body: Any, headers: Mapping[str, str]) -> BackendError:
        """What an answer with another status than 200 means. `body` is its JSON, or its text."""
        error = _error_of(body)
        said = self.said(error.get("message") or error.get("status") or "")
        what = f"HTTP {status}: {said}" if said else f"HTTP {status}"
        if status == 429:
            return self._limited(what, error, headers)
        if status == 400:
            return self._bad_request(what, error)
        if status == 413:
            return Refused(what)
        if status in (401, 403):
            return Fatal(what, fix=self._mend_key())
        if status == 402:
            return Fatal(what, fix="Top up the balance of the project that the key belongs to")
        if status == 404:
            return Fatal(what, fix=f"Is the model {self._model!r} spelt as Google names it, and base_url right?")
        if status in (408, 409, 425) or status >= 500:
            return Transient(what, unbilled=True)
        if 400 <= status < 500:
            return Fatal(what)
        return Transient(what)

    def of_connection(self, error: BaseException, *, never_sent: bool = False) -> Transient:
        """A connection that was not made, or broke. What was never sent is not billed."""
        said = self.said(str(error)) or type(error).__name__
        return Transient(f"no connection: {said}" if never_sent else f"connection lost: {said}", unbilled=never_sent)

    def said(self, text: str) -> str:
        """`text` on one short line, without the key."""
        if self._secret:
            text = text.replace(self._secret, "[secret]")
        line = " ".join(re.sub(r"<[^<>]*>", " ", text).split())
        return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"

    def _limited(self, what: str, error: Mapping[str, Any], headers: Mapping[str, str]) -> BackendError:
        if _NO_MONEY.search(what):
            return Fatal(what, fix="Top up the balance, or raise the cap, of the project that the key belongs to")
        if any("PerDay" in quota for quota in _quota_ids(error)):
            return RateLimited(what, scope="day")
        waits = [w for w in (_retry_info(error), retry_after(headers)) if w is not None]
        return RateLimited(what, retry_after_s=max(waits, default=None))

    def _bad_request(self, what: str, error: Mapping[str, Any]) -> BackendError:
        reasons = {detail.get("reason") for detail in _details(error)}
        if "API_KEY_INVALID" in reasons or _BAD_KEY.search(what):
            return Fatal(what, fix=self._mend_key())
        if error.get("status") == "FAILED_PRECONDITION":  # no billing account, or not served in this country
            return Fatal(what, fix="See to the billing and the region of the project that the key belongs to")
        if _SETTINGS.search(what) and not _TOO_LONG.search(what):  # every other article would fare the same
            return Fatal(what, fix=f"Change the options that {self._model!r} does not take (thinking, safety, …)")
        return Refused(what)

    def _mend_key(self) -> str:
        return f"Set the environment variable {self._key_name} to a valid key of a project that may use the Gemini API"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, given as such or as a date; None without one."""
    value = next((v for name, v in headers.items() if name.lower() == "retry-after"), "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:  # an HTTP date is in GMT
        when = when.replace(tzinfo=UTC)
    return max(0.0, when.timestamp() - time.time())


def _retry_info(error: Mapping[str, Any]) -> float | None:
    for detail in _details(error):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(detail.get("retryDelay", "")))
        if match:
            return float(match[1])
    return None


def _quota_ids(error: Mapping[str, Any]) -> Iterator[str]:
    for detail in _details(error):
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                yield str(violation.get("quotaId", ""))


def _details(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    details = error.get("details")
    yield from (d for d in (details if isinstance(details, list) else ()) if isinstance(d, dict))


def _error_of(body: Any) -> Mapping[str, Any]:
    """The object that describes the error; a body of another kind becomes its message."""
    if isinstance(body, list) and body:  # streams and some gateways put it into a list
        body = body[0]
    if isinstance(body, dict):
        error = body.get("error", body)
        return error if isinstance(error, dict) else {"message": str(error)}
    return {"message": str(body or "")}
