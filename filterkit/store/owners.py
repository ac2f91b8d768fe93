"""Who works on the store: a labeller holds a lock file and a lease as long as it lives.

The lock dies with its process, so a rerun right after a kill takes over at once. The lease is for a process
that lives but stands still (suspended by Ctrl-Z): after it, others take over its questions. A batch job is an owner
too, without a process, a lock or an end of its lease: it is over when somebody collected it (see `jobs`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from filterkit.errors import StoreError
from filterkit.files import Lock

GRACE_S = 5.0
"""How long, in this process's own running time, an expired lease must stay expired before it is believed:
after a suspend of the whole machine the other labeller gets the chance to renew."""
OTHERS = """
    SELECT id, name, lease_until FROM owners
    WHERE ended IS NULL AND id <> ? AND id NOT IN (SELECT owner FROM jobs WHERE ended IS NULL)
"""


@dataclass
class Owner:
    """One living labeller of one store. `id` is its number in the store."""

    name: str
    lease_s: float
    lock: Lock
    id: int = 0


@dataclass
class Owners:
    """The lock files beside the store, and the judgement who is alive."""

    store: Path
    _expired: dict[int, tuple[float, float]] = field(default_factory=dict)

    def lock_file(self, name: str) -> Path:
        return self.store.with_name(self.store.name + ".owners") / f"{name}.lock"

    def enlist(self, lease_s: float) -> Owner:
        """A new owner, its lock held; its row is written by the caller, in the same write transaction."""
        name = uuid.uuid4().hex
        lock = Lock(self.lock_file(name))
        if not lock.acquire():
            raise StoreError("a lock file cannot be locked", where=lock.path, fix="Keep the store on a local disk")
        return Owner(name, lease_s, lock)

    def sweep(self, connection: sqlite3.Connection) -> None:
        """In a write transaction: remove lock files that no living owner has, left by kills at an owner's first or
        last moment. Others enlist in write transactions too, so that no file is seen half made."""
        living = {f"{name}.lock" for (name,) in connection.execute("SELECT name FROM owners WHERE ended IS NULL")}
        for path in self.lock_file("").parent.glob("*.lock"):
            if path.name not in living:
                with contextlib.suppress(OSError):
                    path.unlink()

    def remove(self, name: str) -> None:
        """Remove the lock file of an owner whose end is committed."""
        self.lock_file(name).unlink(missing_ok=True)

    def bury(self, connection: sqlite3.Connection, number: int) -> None:
        """In a write transaction: what the owner left open counts at its reserved cost and may be asked again."""
        now = time.time()
        lost = "UPDATE attempts SET outcome = 'lost', closed = ? WHERE outcome IS NULL AND owner = ?"
        connection.execute(lost, (now, number))
        connection.execute("UPDATE owners SET ended = ? WHERE id = ?", (now, number))

    def bury_dead(self, connection: sqlite3.Connection, me: int) -> list[str]:
        """Bury every owner who died, in a write transaction; their names, to be removed once it is committed."""
        dead = [row for row in connection.execute(OTHERS, (me,)).fetchall() if not self._alive(*row)]
        for number, _, _ in dead:
            self.bury(connection, number)
        return [name for _, name, _ in dead]

    def living(self, connection: sqlite3.Connection, me: int = 0) -> int:
        """How many labellers, `me` left out, work on the store. Writes nothing."""
        return sum(self._alive(*row) for row in connection.execute(OTHERS, (me,)).fetchall())

    def _alive(self, number: int, name: str, lease_until: float) -> bool:
        path = self.lock_file(name)
        if path.exists():  # where someone removed it, the lease alone decides
            lock = Lock(path)
            if lock.acquire():
                lock.release()
                return False
        if time.time() < lease_until:
            self._expired.pop(number, None)
            return True
        seen_lease, since = self._expired.get(number, (None, 0.0))
        if seen_lease != lease_until:
            self._expired[number] = (lease_until, time.monotonic())
            return True
        return time.monotonic() - since < GRACE_S
