"""One scoring server, asked through huggingface_hub's InferenceClient: patiently, and nobody else is asked."""

from __future__ import annotations

import ipaddress
import json
import random
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import InferenceClient, __version__
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.inference._common import RequestParameters
from huggingface_hub.utils._http import hf_request_event_hook

from filterkit.api import BackendError, ConfigError, StoppedEarly
from filterkit_hf.client import retry_after, tell_nobody

_BUSY = frozenset({408, 429, 502, 503, 504})
"""HTTP status codes after which the same request may work."""
_STARTING = 503
"""What the proxy of Inference Endpoints answers while a server scales up from zero."""
_FATAL = frozenset({401, 402, 403, 404, 405})
_MOST_BYTES = 64 * 2**20
_MOST_SAID = 200
_CONNECT_S = 10.0
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 8.0
_OWN_HOSTS = (".huggingface.cloud", ".huggingface.co")
"""Not .hf.space: a Space is anybody's program, which would be given the token."""


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    timeout_s: seconds that one answer may take; retries: how often a request is sent again; cold_start_s: seconds that
    a server which says 503 is waited for, however often that takes, and the longest pause that it may ask for.
    """

    timeout_s: float
    retries: int
    cold_start_s: float


class Refusal(Exception):
    """The server understood who asks, and will not answer this: `status`, and what it said of it."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{status}: {said}" if said else str(status))
        self.status = status
        self.said = said


class _Busy(Exception):
    """It may work later. after: seconds that the server asks to wait; starting: it may be waking up."""

    def __init__(self, why: str, after: float | None = None, *, starting: bool = False) -> None:
        super().__init__(why)
        self.after = after
        self.starting = starting


class Server(InferenceClient):
    """The server at one address. Its connections are its own: no redirect is followed, since texts and token are for
    this address only; without `token` none is sent, not even one that is saved on this machine."""

    def __init__(self, address: str, token: str | None, patience: Patience) -> None:
        tell_nobody()
        super().__init__(model=address, token=token, timeout=patience.timeout_s)
        self.address = address
        self._patience = patience
        self._hurry = threading.Event()
        self._warned = False
        self._connections = httpx2.Client(
            event_hooks={"request": [hf_request_event_hook]},
            follow_redirects=False,
            timeout=httpx2.Timeout(patience.timeout_s, connect=min(_CONNECT_S, patience.timeout_s)),
        )

    def post(self, path: str, payload: Mapping[str, Any]) -> Any:
        """The JSON that the server answers to the JSON `payload`, sent to `path` below its address.

        Raises Refusal; ConfigError: wrong token, wrong address; StoppedEarly: patience is over; BackendError: the
        answer is no JSON.
        """
        asked = RequestParameters(self.address + path, "text-classification", self.address, dict(payload), None, {})
        answer = self._patiently(lambda: self._inner_post(asked))
        try:
            return json.loads(answer, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise BackendError(f"answers what is no JSON: {self._said(answer)}", where=self.address) from error

    def look(self, path: str) -> Any:
        """The JSON at `path`, or None where there is none. Raises what `post` raises, but for Refusal."""
        try:
            return json.loads(self._patiently(lambda: self._send("GET", self.address + path, None, {}), strict=False))
        except (Refusal, ValueError, RecursionError):
            return None

    def hurry(self) -> None:
        """Let whoever waits for the server give up."""
        self._hurry.set()

    def go_on(self) -> None:
        """From now on it is waited for again."""
        self._hurry.clear()

    def close(self) -> None:
        self.hurry()
        self._connections.close()
        super().close()  # type: ignore[no-untyped-call]

    def _inner_post(self, request_parameters: RequestParameters, *, stream: bool = False) -> bytes:  # type: ignore[override]
        """InferenceClient sends everything through this method; here, to this address alone."""
        body = request_parameters.data
        if request_parameters.json is not None:
            body = json.dumps(request_parameters.json, allow_nan=False).encode("ascii")
        return self._send("POST", request_parameters.url, body, request_parameters.headers)

    def _send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        """Send one request, once. Raises _Busy, Refusal, ConfigError."""
        if origin(url) != origin(self.address):
            raise ConfigError("requests are for this server alone", where=self.address)
        own = {"content-type": "application/json", "user-agent": f"filterkit-hf; hf_hub/{__version__}"}
        if self.token:
            own["authorization"] = f"Bearer {self.token}"
        sent = {name: value for name, value in headers.items() if name.lower() != "authorization"} | own
        try:
            with self._connections.stream(method, url, content=body, headers=sent) as response:
                return self._checked(response, self._read(response))
        except OfflineModeIsEnabled as error:
            raise ConfigError("HF_HUB_OFFLINE forbids every request", where=self.address, fix="Unset it") from error
        except httpx2.TransportError as error:
            raise _Busy(f"no answer ({type(error).__name__}: {self._said(str(error))})") from None
        except httpx2.HTTPError as error:  # a broken encoding, for instance
            raise BackendError(f"answers what cannot be read ({self._said(str(error))})", where=self.address) from None

    def _read(self, response: httpx2.Response) -> bytes:
        """The whole answer: not more than makes sense, and not for longer than it may take."""
        deadline = time.monotonic() + self._patience.timeout_s
        pieces: list[bytes] = []
        size = 0
        for piece in response.iter_bytes():
            pieces.append(piece)
            size += len(piece)
            if size > _MOST_BYTES:
                raise BackendError(f"answers with more than {_MOST_BYTES:,} bytes", where=self.address)
            if time.monotonic() > deadline:
                raise _Busy(f"no whole answer within {self._patience.timeout_s:g} s")
        return b"".join(pieces)

    def _checked(self, response: httpx2.Response, data: bytes) -> bytes:
        status = response.status_code
        if response.is_success:
            return data
        said = self._said(data)
        if 300 <= status < 400:
            place = self._said(response.headers.get("location", ""))
            raise ConfigError(
                f"sends us elsewhere ({status}, {place}), and texts go to no other address than the given one",
                where=self.address,
                fix="Give the address itself",
            )
        if status in _BUSY:
            raise _Busy(
                f"{status}: {said}" if said else str(status), retry_after(response), starting=status == _STARTING
            )
        raise Refusal(status, said)

    def _patiently(self, send: Callable[[], bytes], *, strict: bool = True) -> bytes:
        """The answer, after as many tries as patience allows. strict: a wrong address or method is an error too."""
        began, tries = time.monotonic(), 0
        while True:
            try:
                return send()
            except Refusal as refusal:
                if refusal.status in _FATAL and (strict or refusal.status in (401, 402, 403)):
                    self._blame(refusal)
                raise
            except _Busy as busy:
                pause = self._pause(busy, tries, time.monotonic() - began)
                self._tell(busy)
            tries += 1
            if self._hurry.wait(pause):
                raise StoppedEarly("stopped", where=self.address)

    def _pause(self, busy: _Busy, tries: int, waited: float) -> float:
        """Seconds to wait before the next try; StoppedEarly when patience is over."""
        left = self._patience.cold_start_s - (waited if busy.starting else 0.0)
        if left <= 0 if busy.starting else tries >= self._patience.retries:
            self._give_up(busy)
        if busy.after is None:
            return min(_backoff(tries), left) if busy.starting else _backoff(tries)
        if busy.after > left:
            self._give_up(busy)
        return max(busy.after, _SHORTEST_PAUSE_S)

    def _tell(self, busy: _Busy) -> None:
        """Say once that a server is waited for: that can take minutes."""
        if busy.starting and not self._warned:
            self._warned = True
            wait = f"{self._patience.cold_start_s:,.0f} seconds"
            warnings.warn(f"{self.address} is starting or overloaded (503); waiting up to {wait}", stacklevel=2)

    def _give_up(self, busy: _Busy) -> NoReturn:
        asked = f", and asks for {busy.after:,.0f} seconds of pause" if busy.after is not None else ""
        raise StoppedEarly(
            f"does not answer ({busy}){asked}", where=self.address, fix="Run the same command again when it does"
        ) from None

    def _blame(self, refusal: Refusal) -> NoReturn:
        """Of what no retry and no other text would change."""
        if refusal.status in (401, 403):
            what = "the token is not accepted" if self.token else "asks for a token, and none was sent"
            raise ConfigError(
                f"{what} ({refusal})",
                where=self.address,
                fix="The options `token_env` and `authenticate` say which token, and where it may go",
            ) from None
        if refusal.status == 402:
            raise ConfigError(f"asks for a way to pay ({refusal})", where=self.address) from None
        raise ConfigError(
            f"nothing there answers such a request ({refusal})", where=self.address, fix="Check address and `dialect`"
        ) from None

    def _said(self, data: bytes | str) -> str:
        """What the server said, on one short line, without our token if it should have sent that back."""
        text = data if isinstance(data, str) else _message(data[:10_000])
        if self.token:
            text = text.replace(self.token, "[secret]")
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return line if len(line) <= _MOST_SAID else line[: _MOST_SAID - 1] + "…"


def checked_address(ref: str) -> str:
    """An address that can be asked, without its last slash. ConfigError says what is wrong with it."""
    try:
        parts = urlsplit(ref)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or (parts.port or 1) < 1
    except ValueError:
        wrong, parts = True, urlsplit("")
    if wrong:
        raise ConfigError("is no address of a server; it would begin with https://", where=ref)
    if parts.username or parts.password:
        raise ConfigError(
            "an address holds no user and no password", where=f"{parts.scheme}://{parts.hostname}", fix="Set HF_TOKEN"
        )
    if parts.hostname == "huggingface.co":
        raise ConfigError("is a page, not a server", where=ref, fix="A repository is hf://owner/name[@revision]")
    if parts.query or parts.fragment:
        raise ConfigError("an address ends before ? and #", where=ref.partition("?")[0].partition("#")[0])
    return ref.rstrip("/")


def is_private(address: str) -> bool:
    """Whether nobody in between reads what is sent there: https, or this machine."""
    return address.startswith("https://") or is_loopback(address)


def is_loopback(address: str) -> bool:
    """Whether the address is on this machine."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_hugging_face(address: str) -> bool:
    """Whether the address is one of Hugging Face's."""
    host = urlsplit(address).hostname or ""
    return f".{host}".endswith(_OWN_HOSTS)


def origin(address: str) -> tuple[str, str | None, int | None]:
    """What makes two addresses the same server."""
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port


def _backoff(tries: int) -> float:
    """Seconds before the next try, growing, and not the same for all who wait."""
    return min(0.5 * 2.0**tries, _LONGEST_PAUSE_S) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


def _message(data: bytes) -> str:
    """The message in the body of an error, where it is in one of the usual places."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data.decode("utf-8", "replace")
    for key in ("error", "message", "detail"):
        found = value.get(key) if isinstance(value, dict) else None
        if isinstance(found, dict):
            found = found.get("message")
        if isinstance(found, str):
            return found
    return data.decode("utf-8", "replace")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number in JSON")
