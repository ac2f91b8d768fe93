"""What a server was told on its command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Bounds of everything that a stranger can make grow, and how long each may take.

    body: bytes of one request's body. inputs: articles of one request. queue: articles that wait for one student.
    held: bytes of all requests that are being read or scored. connections: at once. wait_s: how long the first article
    waits for others to be scored with it. read_s: seconds a client has for its headers, and again for its body; the
    same for taking an answer. drain_s: seconds that accepted requests have left after SIGTERM; accept_s: for how many
    of them new connections are still taken. watch_s: seconds between two looks at the students' folders, None never.
    """

    body: int = 8_000_000
    inputs: int = 1024
    queue: int = 4096
    held: int = 64_000_000
    connections: int = 1000
    wait_s: float = 0.001
    read_s: float = 10.0
    drain_s: float = 30.0
    accept_s: float = 0.0
    watch_s: float | None = 1.0
    token: bytes | None = None
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter, by name or path, and where its student lies."""

    filter: str
    student: Path
