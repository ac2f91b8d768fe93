"""What Gemini's errors mean. Their texts are short, on one line, and never hold the key."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from filterkit.api import BackendError, Fatal, RateLimited, Refused, Transient, Unreachable

LONGEST = 200
"""Characters that are kept of what a provider says."""

REFUSALS = 16
"""As many refusals in the same words before anything was answered: then it is not the articles."""

LONGEST_WAIT_S = 86_400.0
"""A longer wait than a day is no answer to a limit per minute, but a mistake."""

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|h|m|s))+"
_RETRY_IN = re.compile(rf"\b(?:retry|try again) (?:in|after) ({_DURATION})", re.I)

_NEVER = frozenset((402, 404, 405, 406, 407, 410, 411, 414, 415, 417, 426, 431, 451, 501, 505))
"""Statuses about the address or the form of the request: every other article would fare the same. Those with a
meaning of their own come first; what is neither here nor there, such as 499 when Google gives a request up, passes."""

_MEND_FORM = "Does base_url lead to a server that speaks Gemini's protocol?"

_NO_MONEY = re.compile(r"credits? (is|are|has been|have been) (depleted|exhausted|used up)|spend(ing)? cap", re.I)
_BAD_KEY = re.compile(r"api key (not valid|expired|not found|invalid)|reported as leaked", re.I)
_SETTINGS = re.compile(r"thinking|schema|generation_?config|safety_?settings|service_?tier|unknown name", re.I)
_TOO_LONG = re.compile(r"token count|too long|payload size|exceeds the maximum", re.I)


class Faults:
    """Turns what went wrong into what filterkit knows. `secret` is taken out of every text.

    answered: whether any request has been answered; set by the oracle.
    """

    def __init__(self, model: str, key_name: str, secret: str) -> None:
        self._model, self._key_name, self._secret = model, key_name, secret
        self._refusals: Counter[str] = Counter()
        self.answered = False

    def of_status(self, status: int, body: Any, headers: Mapping[str, str]) -> BackendError:
        """What an answer with another status than 200 means. `body` is its JSON, or its text."""
        error = _error_of(body)
        said = self.said(error.get("message") or error.get("status") or "")
        what = f"HTTP {status}: {said}" if said else f"HTTP {status}"
        if status == 429:
            return self._limited(what, error, headers)
        if status in (400, 422):
            return self._bad_request(what, error)
        if status == 413:
            return Refused(what)
        if 300 <= status < 400:
            return self._redirected(status, headers)
        if status in (401, 403):
            return Fatal(what, fix=self._mend_key())
        if status in _NEVER:
            return Fatal(what, fix=self._mend(status))
        return Transient(what, unbilled=status >= 400, retry_after_s=_wait(error, headers))

    def of_connection(self, error: BaseException, *, never_sent: bool = False) -> Transient:
        """A connection that was not made, or broke. What was never sent is not billed."""
        said = self.said(str(error)) or type(error).__name__
        return Unreachable(f"no connection: {said}") if never_sent else Transient(f"connection lost: {said}")

    def said(self, text: str) -> str:
        """`text` on one short line, without the key."""
        if self._secret:
            text = text.replace(self._secret, "[secret]")
        text = re.sub(r"//[^/@\s]*@", "//[secret]@", text)  # a proxy's password
        line = " ".join(re.sub(r"<[^<>]*>", " ", text).split())
        return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"

    def _redirected(self, status: int, headers: Mapping[str, str]) -> Fatal:
        where = next((v for name, v in headers.items() if name.lower() == "location"), "")
        return Fatal(
            f"HTTP {status}: redirected to {self.said(where) or 'nowhere'}, where the key is not sent",
            fix="If you trust that address, name it in base_url; else leave base_url out, or look at the proxy",
        )

    def _limited(self, what: str, error: Mapping[str, Any], headers: Mapping[str, str]) -> BackendError:
        if _NO_MONEY.search(what):
            return Fatal(what, fix="Top up the balance, or raise the cap, of the project that the key belongs to")
        if any("PerDay" in quota for quota in _quota_ids(error)):
            return RateLimited(what, scope="day")
        return RateLimited(what, retry_after_s=_wait(error, headers))

    def _bad_request(self, what: str, error: Mapping[str, Any]) -> BackendError:
        reasons = {detail.get("reason") for detail in _details(error)}
        if "API_KEY_INVALID" in reasons or _BAD_KEY.search(what):
            return Fatal(what, fix=self._mend_key())
        if error.get("status") == "FAILED_PRECONDITION":  # no billing account, or not served in this country
            return Fatal(what, fix="See to the billing and the region of the project that the key belongs to")
        if _SETTINGS.search(what) and not _TOO_LONG.search(what):  # every other article would fare the same
            return Fatal(what, fix=f"Change the options that {self._model!r} does not take (thinking, safety, …)")
        return Refused(what) if _TOO_LONG.search(what) else self._unclear(what)

    def _unclear(self, what: str) -> BackendError:
        """A refusal that may be about the article, or about every request of this run."""
        if not self.answered:
            self._refusals[what] += 1
            if self._refusals[what] >= REFUSALS:
                fix = (
                    f"Nothing was answered yet and {REFUSALS} articles were refused so: check the model and the options"
                )
                return Fatal(what, fix=fix)
        return Refused(what)

    def _mend(self, status: int) -> str | None:
        if status == 402:
            return "Top up the balance of the project that the key belongs to"
        if status == 404:
            return f"Is the model {self._model!r} spelt as Google names it, and base_url right?"
        return "See to the proxy that the environment names" if status == 407 else _MEND_FORM

    def _mend_key(self) -> str:
        return f"Set the environment variable {self._key_name} to a valid key of a project that may use the Gemini API"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, given as such or as a date; None without one."""
    value = next((v for name, v in headers.items() if name.lower() == "retry-after"), "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
        if when.tzinfo is None:  # an HTTP date is in GMT
            when = when.replace(tzinfo=UTC)
        return when.timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def _wait(error: Mapping[str, Any], headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait, in the body or in the headers; the longest one that makes sense.

    "0s" says no more than nothing does: None leaves the pause to the core.
    """
    waits = (_retry_info(error), _retry_in(error), retry_after(headers))
    return max((w for w in waits if w is not None and 0 < w <= LONGEST_WAIT_S), default=None)


def _retry_info(error: Mapping[str, Any]) -> float | None:
    for detail in _details(error):
        said = str(detail.get("retryDelay", ""))
        if re.fullmatch(_DURATION, said):
            return _seconds(said)
    return None


def _retry_in(error: Mapping[str, Any]) -> float | None:
    """Seconds as the message says it: "Please retry in 1m2.5s."."""
    match = _RETRY_IN.search(str(error.get("message") or ""))
    return _seconds(match[1].lower()) if match else None


def _seconds(duration: str) -> float:
    return sum(float(number) * _UNIT_S[unit] for number, unit in re.findall(r"([\d.]+)(ms|h|m|s)", duration))


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
