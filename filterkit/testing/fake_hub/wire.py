"""What the parts of the fake share: a request as it was read, an answer as it is written, and a refusal."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from filterkit.testing.fake_hub.state import State

LARGE_BODY = 10_000_000  # bytes that are taken into memory at most
Role = Literal["write", "read"] | None


@dataclass
class Call:
    """A request. path: percent-encoded. body: at its start, `size` bytes long. role: what the token allows, None for a
    request without one. stale: branches and tags are read as the commit before."""

    state: State
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: IO[bytes]
    size: int
    role: Role
    stale: bool = False

    def text(self) -> bytes:
        """The whole body. Raises Refused for a large one."""
        if self.size > LARGE_BODY:
            raise Refused(413, "Payload Too Large")
        self.body.seek(0)
        return self.body.read()

    def json(self) -> dict[str, Any]:
        """The body as a JSON object, {} where there is no body. Raises Refused."""
        try:
            value = json.loads(self.text() or b"{}")
        except ValueError:
            raise Refused(400, "Invalid JSON in the request's body") from None
        if not isinstance(value, dict):
            raise Refused(400, "the request's body must be a JSON object")
        return value


@dataclass
class Answer:
    """An HTTP answer. body: JSON, or the bytes themselves; file: a stored file instead, whole or the `span` of it."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    file: Path | None = None
    span: tuple[int, int] | None = None


Route = tuple[str, str, Callable[..., Answer | Awaitable[Answer]]]  # method, pattern of the path, handler


class Refused(Exception):
    """The Hub says no. code: its X-Error-Code, which the client turns into classes of exceptions."""

    def __init__(
        self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers or {}

    def answer(self) -> Answer:
        """As it goes over the wire."""
        headers = {"X-Error-Message": self.message.splitlines()[0], **self.headers}
        if self.code is not None:
            headers["X-Error-Code"] = self.code
        return Answer({"error": self.message}, self.status, headers)


def date(at: float) -> str:
    """Seconds since 1970 as the Hub writes them."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
