"""All that the fake knows: settings, repositories, Inference Endpoints, faults, and who may do what."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from filterkit.testing.fake_hub.faults import Faults, Seen
from filterkit.testing.fake_hub.storage import Commit, Objects, Repository
from filterkit.testing.fake_hub.wire import Call, Refused, Role

if TYPE_CHECKING:
    from filterkit.testing.fake_hub.endpoints import Endpoint

BAD_TOKEN = "Invalid credentials in Authorization header"
READ_ONLY = "Forbidden: you must use a write token for this"


@dataclass(frozen=True)
class Settings:
    """The arguments of FakeHub."""

    token: str = "hf_fakeWriteToken"
    read_token: str = "hf_fakeReadToken"
    user: str = "me"
    python: str | Path = sys.executable
    polls: int = 2
    cold_requests: int = 1
    multipart_bytes: int = 8 << 20
    page: int = 1000


@dataclass
class State:
    """What there is. base: the server's own URL. lock: held by whoever reads or changes `repos` from a thread."""

    settings: Settings
    folder: Path
    faults: Faults
    base: str = ""
    repos: dict[tuple[str, str], Repository] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    requests: list[Seen] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.objects = Objects(self.folder / "objects")
        self._key = secrets.token_bytes(16)

    def role(self, authorization: str | None) -> Role:
        """What a request's Authorization header allows. Raises Refused for a token that is none."""
        if authorization is None:
            return None
        token = authorization.removeprefix("Bearer ")
        if token == self.settings.token:
            return "write"
        if token == self.settings.read_token:
            return "read"
        raise Refused(401, BAD_TOKEN)

    def signed(self, path: str) -> str:
        """A URL that needs no token, and on another host, as those of the Hub's storage and content network."""
        elsewhere = self.base.replace("127.0.0.1", "localhost")
        return f"{elsewhere}{quote(path)}?signature={self._signature(quote(path))}"

    def check_signature(self, call: Call) -> None:
        """Raises Refused for a URL that `signed` did not make, and for a token, which is not meant for that host."""
        if "Authorization" in call.headers:
            raise Refused(400, "Only one auth mechanism allowed")
        if not hmac.compare_digest(call.query.get("signature", ""), self._signature(call.path)):
            raise Refused(403, "SignatureDoesNotMatch")

    def _signature(self, path: str) -> str:
        return hmac.new(self._key, path.encode(), hashlib.sha256).hexdigest()


def repository(call: Call, kind: str, repo_id: str, *, write: bool = False) -> Repository:
    """The repository that a request names, if it may. kind: "models" or "datasets". Raises Refused."""
    found = call.state.repos.get((kind.removesuffix("s"), repo_id))
    if found is None or (found.private and call.role is None):
        if call.role is None:
            raise Refused(401, "Invalid username or password.", "RepoNotFound")
        raise Refused(404, "Repository not found", "RepoNotFound")
    if write:
        writer(call)
    return found


def writer(call: Call) -> None:
    """Raises Refused unless the request's token may write."""
    if call.role is None:
        raise Refused(401, "Invalid username or password.")
    if call.role != "write":
        raise Refused(403, READ_ONLY)


def revision(call: Call, repo: Repository, name: str) -> Commit:
    """The commit that a request names. Raises Refused."""
    try:
        return repo.find(name, stale=call.stale)
    except KeyError:
        raise Refused(404, f"Invalid rev id: {name}", "RevisionNotFound") from None
