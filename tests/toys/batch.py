"""An oracle with batches, and its provider: a SQLite file that outlives whoever is killed.

What goes wrong stands in faults.json beside it, so that a test can change it while a process waits:
`lose_reply`, `refuse`, `unreachable`, `vanish`: the next so many submits are accepted without an answer, refused for
now, not reached, lost before they arrive; `limit`: jobs that may be out at once; `cannot_tell`; `key`: the key is
refused; `forget`: no job is known any more; `hide`: jobs stay unlisted for so many seconds; `share`: the part of a job
that is run before it expires; `again`: every third item comes twice; `model`: who replies; `down`: so many polls fail;
`strangers`: keys that nobody sent; `day`: the quota of the day is used up; `bug`: submits that end by a mistake of the
oracle's own, accepted.
Words in an article decide what becomes of it: badonce, badalways, blocked, errored, skipped (once), missing (once).
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from filterkit.api import (
    Batch,
    BatchItem,
    CannotTell,
    Fatal,
    JobState,
    Options,
    Oracle,
    OracleOptions,
    OracleRequest,
    RateLimited,
    Refused,
    Reply,
    Transient,
    Unreachable,
    Usage,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    handle TEXT PRIMARY KEY, token TEXT, created REAL, requests TEXT, cancelled REAL, items TEXT
);
CREATE TABLE IF NOT EXISTS charged (article TEXT, handle TEXT, key TEXT, input INTEGER, output INTEGER);
CREATE TABLE IF NOT EXISTS met (article TEXT, word TEXT, UNIQUE (article, word));
"""


class BatchToyOptions(OracleOptions):
    provider: str = Field("provider", description="the provider's folder")
    lag_s: float = Field(0.0, ge=0, description="seconds until a job is done")
    poll_after_s: float = Field(0.05, gt=0, description="seconds until asking again")
    requests: int = Field(1000, gt=0, description="requests in one job")


class Provider:
    """The other side, as one may look at it in a test too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with self.db() as db:
            for table in SCHEMA.split(";"):
                db.execute(table)

    @contextlib.contextmanager
    def db(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.folder / "provider.db", timeout=30, isolation_level=None)
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        finally:
            db.close()

    def rows(self, query: str, *values: Any) -> list[Any]:
        with self.db() as db:
            return db.execute(query, values).fetchall()

    def fault(self, name: str) -> Any:
        path = self.folder / "faults.json"
        return json.loads(path.read_bytes()).get(name) if path.exists() else None

    def set(self, **faults: Any) -> None:
        (self.folder / "faults.json").write_text(json.dumps(faults))

    def once(self, name: str) -> bool:
        """Whether a fault that is counted happens now."""
        left = self.fault(name)
        if not left:
            return False
        path = self.folder / "faults.json"
        self.set(**{**json.loads(path.read_bytes()), name: left - 1})
        return True


class BatchToy(Batch, Oracle[BatchToyOptions]):
    Options: ClassVar[type[Options]] = BatchToyOptions
    deterministic: ClassVar[bool] = False
    batch_price_share: ClassVar[float] = 0.5
    most_bytes: ClassVar[int] = 1_000_000

    def __init__(self, options: BatchToyOptions, spec: Any, ctx: Any) -> None:
        super().__init__(options, spec, ctx)
        self.most_requests = options.requests  # type: ignore[misc]

    async def open(self) -> None:
        self.provider = Provider(self.ctx.root / self.options.provider)

    def request_bytes(self, request: OracleRequest) -> int:
        return len(request.user.encode("utf-8", "surrogatepass")) + len(request.key)

    def count_tokens(self, request: OracleRequest) -> int | None:
        return len(request.article) // 4 + 100

    async def complete(self, request: OracleRequest) -> Reply:
        charge = (sent(request), request.key, self.tokens(request))
        with self.provider.db() as db:
            db.execute("INSERT INTO charged VALUES (?, 'live', ?, ?, 20)", charge)
        return Reply(
            text=answer(request.article),
            usage=Usage(input=self.tokens(request), output=20),
            model_version=request.model,
        )

    def tokens(self, request: OracleRequest) -> int:
        return self.count_tokens(request) or 0

    async def submit(self, requests: Sequence[OracleRequest], token: str) -> str:
        self.check_key()
        provider = self.provider
        if provider.once("unreachable"):
            raise Unreachable("no route to the provider")
        if provider.once("refuse"):
            raise Transient("502 bad gateway", unbilled=True)
        if provider.fault("day"):
            raise RateLimited("batch tokens of this day are used up", scope="day")
        limit = provider.fault("limit")
        if limit is not None and len(provider.rows("SELECT 1 FROM jobs WHERE items IS NULL")) >= limit:
            raise RateLimited("too many jobs", retry_after_s=0.05)
        if provider.once("vanish"):
            raise Transient("the connection broke")
        kept = [
            {"key": r.key, "article": sent(r), "input": self.tokens(r), "model": r.model, "correction": r.correction}
            for r in requests
        ]
        with provider.db() as db:
            handle = f"job-{db.execute('SELECT count(*) FROM jobs').fetchone()[0] + 1}"
            row = (handle, token, time.time(), json.dumps(kept))
            db.execute("INSERT INTO jobs (handle, token, created, requests) VALUES (?, ?, ?, ?)", row)
        if provider.once("bug"):
            raise TypeError("'NoneType' object is not subscriptable")
        if provider.once("lose_reply"):
            raise Transient("the connection broke before the answer")
        return handle

    async def find(self, token: str, since: float) -> str | None:
        self.check_key()
        if self.provider.fault("cannot_tell"):
            raise CannotTell("this provider lists no jobs")
        seen = time.time() - (self.provider.fault("hide") or 0.0)
        query = "SELECT handle FROM jobs WHERE token = ? AND created >= ? AND created <= ?"
        found = [] if self.provider.fault("forget") else self.provider.rows(query, token, since, seen)
        return found[0][0] if found else None

    async def poll(self, handle: str) -> JobState:
        self.check_key()
        if self.provider.once("down"):
            raise Transient("503 overloaded", unbilled=True)
        requests, items, _ = self.look(handle)
        if items is None:
            return JobState(state="running", done=0, total=len(requests), poll_after_s=self.options.poll_after_s)
        return JobState(state="ended", done=len(items), total=len(requests), poll_after_s=self.options.poll_after_s)

    async def cancel(self, handle: str) -> None:
        self.check_key()
        self.look(handle)
        with self.provider.db() as db:
            db.execute("UPDATE jobs SET cancelled = COALESCE(cancelled, ?) WHERE handle = ?", (time.time(), handle))

    async def collect(self, handle: str) -> AsyncIterator[BatchItem]:
        self.check_key()
        _, items, _ = self.look(handle)
        if self.provider.fault("withheld"):
            raise Fatal("404: there is no such file")
        for number, item in enumerate(items or []):
            for _ in range(2 if self.provider.fault("again") and number % 3 == 0 else 1):
                yield self.item(item)
        if self.provider.fault("strangers"):
            yield BatchItem("no-number", error=Refused("who is that"))
            yield BatchItem("999999999", error=Refused("who is that"))

    def item(self, item: dict[str, Any]) -> BatchItem:
        if item["kind"] == "refused":
            return BatchItem(item["key"], error=Refused("blocked by the provider"))
        if item["kind"] == "unrun":
            return BatchItem(item["key"], error=Transient("was never run", unbilled=True))
        if item["kind"] == "errored":
            return BatchItem(item["key"], error=Transient("500 internal error"))
        usage = Usage(input=item["input"], output=20)
        version = self.provider.fault("model") or item["model"]
        return BatchItem(item["key"], reply=Reply(text=item["text"], usage=usage, model_version=version))

    def check_key(self) -> None:
        if self.provider.fault("key"):
            raise Fatal("401: the key is not valid")

    def look(self, handle: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None, float | None]:
        """A job's requests and, once it is over, its items; they are run, and charged, exactly once."""
        if self.provider.fault("forget"):
            raise Fatal(f"404: there is no job {handle}")
        share = self.provider.fault("share")
        with self.provider.db() as db:
            query = "SELECT created, requests, cancelled, items FROM jobs WHERE handle = ?"
            row = db.execute(query, (handle,)).fetchone()
            if row is None:
                raise Fatal(f"404: there is no job {handle}")
            created, requests, cancelled, items = row[0], json.loads(row[1]), row[2], row[3]
            if items is None and (cancelled is not None or time.time() - created >= self.options.lag_s):
                ran = len(requests)
                if cancelled is not None and self.options.lag_s:
                    ran = int(len(requests) * min(1.0, (cancelled - created) / self.options.lag_s))
                if share is not None:
                    ran = int(ran * share)
                found = [self.run(db, handle, request, number < ran) for number, request in enumerate(requests)]
                items = json.dumps([item for item in found if item is not None])
                db.execute("UPDATE jobs SET items = ? WHERE handle = ?", (items, handle))
        return requests, None if items is None else json.loads(items), cancelled

    def run(self, db: sqlite3.Connection, handle: str, request: dict[str, Any], ran: bool) -> dict[str, Any] | None:
        article, key = request["article"], request["key"]
        words = set(article.split())

        def met(word: str) -> bool:
            """Whether an article with that word comes for the first time."""
            new = "INSERT OR IGNORE INTO met VALUES (?, ?)"
            return word in words and db.execute(new, (article, word)).rowcount == 1

        if not ran or met("skipped"):
            return {"key": key, "kind": "unrun"}
        if "blocked" in words:
            return {"key": key, "kind": "refused"}
        if met("missing"):
            return None
        charge = (article, handle, key, request["input"])
        db.execute("INSERT INTO charged VALUES (?, ?, ?, ?, 20)", charge)
        if "errored" in words:
            return {"key": key, "kind": "errored"}
        text = "I would rather not." if "badalways" in words or met("badonce") else answer(article)
        return {"key": key, "kind": "reply", "text": text, "input": request["input"], "model": request["model"]}


def sent(request: OracleRequest) -> str:
    return request.article.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def answer(article: str) -> str:
    """The scores that an article's own words give away."""
    found = {name: re.search(rf"\b{word}(\d+)\b", article) for name, word in NAMES.items()}
    return json.dumps({name: int(match.group(1)) if match else 0 for name, match in found.items()})


NAMES = {"help": "helps", "novelty": "novel", "is_advert": "advert"}
