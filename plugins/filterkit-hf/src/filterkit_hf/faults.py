"""What huggingface_hub raises, as filterkit's errors: one line each, with what to do next and no secret in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from filterkit.api import ArtifactError, ConfigError, FilterkitError, InputError, StoppedEarly

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP status codes after which the same request may work."""
AGAIN = "Run the same command again; it goes on from there"
_NO_SENSE = (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError)
"""What huggingface_hub raises at downloads that were cut, answers that are no JSON or other JSON, and Xet's faults."""
_MOST_SAID = 200
_ADDRESS = re.compile(r"\(?https?://\S+")


class Outage(StoppedEarly):
    """The other side cannot be reached, or says that it cannot answer now."""

    def __init__(self, what: str, *, where: object = None) -> None:
        super().__init__(what, where=where, fix=AGAIN)


class Changed(StoppedEarly):
    """Somebody else changed the repository meanwhile (409, 412)."""


class NotThere(InputError):
    """The repository, the revision or the file is not there, or this token may not know of it (404)."""


def translate(error: Exception, where: str) -> FilterkitError:
    """The filterkit error for what huggingface_hub raised while working on `where`.

    Outage for what may work later, Changed for a lost race, NotThere, ConfigError for what token or options are to
    blame for. What is none of these is an InputError in the library's own words.
    """
    for cause in _chain(error):
        if isinstance(cause, FilterkitError):
            return cause
        if isinstance(cause, OfflineModeIsEnabled):
            return ConfigError("HF_HUB_OFFLINE forbids every request", where=where, fix="Unset it")
        if isinstance(cause, HfHubHTTPError | httpx2.HTTPStatusError):
            return _by_status(cause, where)
        if isinstance(cause, httpx2.TransportError):
            return Outage(f"no answer ({type(cause).__name__}: {_said(str(cause))})", where=where)
        if isinstance(cause, EntryNotFoundError):
            return NotThere("a file is not there", where=where)
        if isinstance(cause, HFValidationError):
            return ConfigError(_said(str(cause)), where=where)
    if isinstance(error, ValueError) and "metadata in README.md" in str(error):
        return ArtifactError(_said(str(error)), where="README.md", fix="Mend the card's front matter")
    if isinstance(error, _NO_SENSE):
        return Outage(f"an answer made no sense ({_said(str(error))})", where=where)
    return InputError(f"{type(error).__name__}: {_said(str(error))}", where=where)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that led to it: uploads and downloads in threads wrap what happened."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _by_status(error: HfHubHTTPError | httpx2.HTTPStatusError, where: str) -> FilterkitError:
    status = error.response.status_code
    said = _said(getattr(error, "server_message", None) or "")
    words = f" ({said})" if said else ""
    if status in TRANSIENT or status >= 500:
        return Outage(f"answers {status}{words}", where=where)
    if status == 401:
        return ConfigError(
            "the token in HF_TOKEN is not known there, or there is none (401)",
            where=where,
            fix="Make one under Settings, Access Tokens: export HF_TOKEN=…",
        )
    if status == 403:
        return ConfigError(
            f"the token in HF_TOKEN may not do that (403){words}",
            where=where,
            fix="Give it write access to this repository, and to Inference Endpoints where one is deployed",
        )
    if status == 402:
        return ConfigError(f"asks for a way to pay (402){words}", where=where, fix="See Settings, Billing there")
    if status in (409, 412):
        return Changed(f"was changed by somebody else meanwhile ({status}){words}", where=where, fix=AGAIN)
    if isinstance(error, RepositoryNotFoundError):
        return NotThere("is not there, or HF_TOKEN may not see it", where=where)
    if isinstance(error, RevisionNotFoundError):
        return NotThere("has no such revision", where=where)
    if status == 404:
        return NotThere(f"is not there{words}", where=where)
    return ConfigError(f"refuses the request ({status}){words}", where=where)


def _said(text: str) -> str:
    """What a stranger said, on one short line and without addresses: those of uploads are signed, and so secret."""
    line = " ".join("".join(c if c.isprintable() else " " for c in _ADDRESS.sub("…", text)).split())
    return line if len(line) <= _MOST_SAID else line[: _MOST_SAID - 1] + "…"
