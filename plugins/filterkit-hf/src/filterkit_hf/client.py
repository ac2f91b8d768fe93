"""The HTTP client that huggingface_hub uses: with timeouts, and an end to its patience.

huggingface_hub itself repeats some requests (uploads, downloads) up to five times, as long as a server's Retry-After
asks, and others not at all. Here an outage is waited out for so many seconds, whatever was asked.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any

import httpx2
from huggingface_hub import constants, set_client_factory
from huggingface_hub.utils._http import hf_request_event_hook
from huggingface_hub.utils.tqdm import disable_progress_bars

from filterkit.api import StoppedEarly
from filterkit_hf.faults import AGAIN, TRANSIENT

_CONNECT_S = 10.0


class PatientClient(httpx2.Client):
    """A client that gives up on an outage. Threads upload side by side, so each has its own count."""

    def __init__(self, patience_s: float, timeout_s: float) -> None:
        super().__init__(
            event_hooks={"request": [hf_request_event_hook]},
            follow_redirects=True,
            timeout=httpx2.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
        )
        self._patience_s = patience_s
        self._limits = self.timeout.as_dict()
        self._failing = threading.local()

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """As httpx2 does. Raises StoppedEarly instead of trying again when it has been failing for too long."""
        since: float | None = getattr(self._failing, "since", None)
        if since is not None and time.monotonic() - since > self._patience_s:
            self._failing.since = None
            raise StoppedEarly("no answer", where=request.url.host, fix=AGAIN)
        # many of huggingface_hub's functions say timeout=None, which means forever
        said = request.extensions.get("timeout") or {}
        request.extensions["timeout"] = {**self._limits, **{k: v for k, v in said.items() if v is not None}}
        try:
            response = super().send(request, **options)
        except httpx2.TransportError:
            self._failing.since = since or time.monotonic()
            raise
        if response.status_code not in TRANSIENT:
            self._failing.since = None
            return response
        self._failing.since = since or time.monotonic()
        wait = retry_after(response)
        if wait is not None and wait > self._patience_s:
            response.close()
            raise StoppedEarly(
                f"asks for {wait:,.0f} seconds of pause ({response.status_code})", where=request.url.host, fix=AGAIN
            )
        return response


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds that a server asks to wait, where it says so in seconds."""
    said = response.headers.get("Retry-After", "").strip()
    return float(said) if said.isascii() and said.isdigit() else None


def tell_nobody() -> None:
    """No telemetry in this process. Else the library tells what else is installed, and which program started it."""
    constants.HF_HUB_DISABLE_TELEMETRY = True


def install(patience_s: float, timeout_s: float) -> None:
    """Make huggingface_hub use such a client in this process, draw bars on a terminal only, and log no addresses."""
    tell_nobody()
    if not sys.stderr.isatty():
        disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its warnings name addresses that are signed
    set_client_factory(lambda: PatientClient(patience_s, timeout_s))
