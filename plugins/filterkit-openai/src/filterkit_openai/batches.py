"""OpenAI's Batch API: a file of requests goes up, files of answers come down, all through the SDK."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import aiohttp
import httpx2
import openai

from filterkit.api import (
    BackendError,
    BatchItem,
    CannotTell,
    Fatal,
    JobState,
    OracleRequest,
    Refused,
    Reply,
    Transient,
    Unreachable,
)
from filterkit_openai.answers import read_answer
from filterkit_openai.complaint import Complaint
from filterkit_openai.connections import what_broke
from filterkit_openai.dialect import Dialect
from filterkit_openai.servers import REFUSALS, Server

COMPLETIONS: Literal["/v1/chat/completions"] = "/v1/chat/completions"
TOKEN, DIALECT = "filterkit", "dialect"  # names of a batch's metadata
CLOCK_SKEW_S = 60.0
TRANSFER_S = 600.0  # without a sign of life, while a file goes up or down
KEPT_S = 30 * 86_400  # how long the files of answers stay at OpenAI: the longest it takes
NOTHING_MADE = (503, 529)  # errors of the server that come before any work
PAGE = 100
BREATH = 100  # lines after which others on the loop have their turn
_STATES: dict[str, Literal["waiting", "ended"]] = {
    "validating": "waiting",
    "failed": "ended",
    "completed": "ended",
    "expired": "ended",
    "cancelled": "ended",
}

Body = Callable[[Dialect, OracleRequest], dict[str, Any]]
Learn = Callable[[Dialect, Complaint], bool]


class Jobs:
    """The batches of one server.

    folder: where files lie while they travel. body: a request as `complete` sends it in a dialect. learn: whether a
    complaint about a request that was asked in a dialect teaches how to ask it otherwise; what one job has taught is
    known to the next one, which another process may submit.
    """

    def __init__(self, server: Server, model: str, folder: Path, body: Body, learn: Learn) -> None:
        self._server, self._model, self._folder = server, model, folder
        self._body, self._learn = body, learn
        self._begun_with = self._remembered = server.dialect.as_text()
        self._recall()

    async def submit(self, requests: Sequence[OracleRequest], token: str) -> str:
        """The id of the batch that was made."""
        path = self._path(f"{token}.jsonl")
        client, dialect = self._server.client, self._server.dialect
        try:
            with path.open("wb") as file:
                for number, request in enumerate(requests):
                    file.write(request_line(request.key, self._body(dialect, request)))
                    if number % BREATH == 0:
                        await asyncio.sleep(0)
            with self._asking("files"), path.open("rb") as file:
                upload = (path.name, file, "application/jsonl")
                sent = _id(await client.files.create(file=upload, purpose="batch", timeout=TRANSFER_S))
        except Transient as error:
            error.unbilled = True  # without a job there is nothing to pay
            raise
        finally:
            path.unlink(missing_ok=True)
        with self._asking("batches", makes=True):
            batch = await client.batches.create(
                input_file_id=sent,
                endpoint=COMPLETIONS,
                completion_window="24h",
                metadata={TOKEN: token, DIALECT: dialect.as_text()},
                output_expires_after={"anchor": "created_at", "seconds": KEPT_S},
            )
            return _id(batch)

    async def find(self, token: str, since: float) -> str | None:
        """The newest batches come first; those from before `since` are not looked at."""
        seen: set[str] = set()
        nameless: list[str] = []
        with self._asking("batches"):
            async for batch in self._server.client.batches.list(limit=PAGE):
                handle = _id(batch)
                if handle in seen or (_number(batch, "created_at") or 0) < since - CLOCK_SKEW_S:
                    break
                seen.add(handle)
                if _metadata(batch).get(TOKEN) == token:
                    return handle
                if batch.metadata is None and not self._server.options.is_openai:
                    nameless.append(handle)
        if nameless:
            what = f"{self._server.name} keeps no metadata of batches: any of {', '.join(nameless[:10])} may be it"
            raise CannotTell(what)
        return None

    async def poll(self, handle: str) -> JobState:
        """Where the batch stands."""
        batch = await self._batch(handle)
        status, counts = str(getattr(batch, "status", "")), getattr(batch, "request_counts", None)
        answered, failed = _number(counts, "completed"), _number(counts, "failed")
        return JobState(
            state=_STATES.get(status, "running"),
            done=None if answered is None else answered + (failed or 0),
            total=_number(counts, "total"),
            message=status + self._why_failed(batch),
            poll_after_s=_patience(_number(batch, "created_at")),
        )

    async def cancel(self, handle: str) -> None:
        """A batch that is over already is left as it is."""
        try:
            with self._asking(f"batch {handle}"):
                await self._server.client.batches.cancel(handle)
        except (Fatal, Transient):
            if (await self.poll(handle)).state != "ended":
                raise

    async def collect(self, handle: str) -> AsyncIterator[BatchItem]:
        """All that was answered, then all that failed.

        Of the files at OpenAI only the one with the requests is deleted: the others may be needed once more, and go by
        themselves after 30 days.
        """
        batch = await self._batch(handle)
        if _STATES.get(str(batch.status)) != "ended":
            raise Transient(f"{self._server.name}: batch {handle} is not over yet ({batch.status})")
        asked_in = Dialect.from_text(_metadata(batch).get(DIALECT)) or self._server.dialect
        counts = getattr(batch, "request_counts", None)
        if _number(counts, "completed") and not batch.output_file_id:  # paid for: they are not to be asked again
            raise Transient(f"{self._server.name}: batch {handle} does not say yet where its answers are")
        hopeless = _number(counts, "completed") == 0 and (_number(counts, "failed") or 0) >= REFUSALS
        for file_id in (batch.output_file_id, batch.error_file_id):
            if not file_id:
                continue
            path = self._path(f"{handle}.jsonl")
            try:
                await self._download(file_id, path)
                for number, line in enumerate(_lines(path)):
                    item = self._item(line, asked_in, hopeless)
                    if item is not None:
                        yield item
                    if number % BREATH == 0:
                        await asyncio.sleep(0)
            finally:
                path.unlink(missing_ok=True)
        await self._delete(batch.input_file_id)

    def _recall(self) -> None:
        """Go on in the dialect that an earlier job has taught, unless the options say otherwise since."""
        try:
            begun_with, learnt = json.loads(self._lesson.read_text("utf-8"))
        except (OSError, ValueError, TypeError):
            return
        if begun_with == self._begun_with:
            self._server.dialect = Dialect.from_text(learnt) or self._server.dialect

    def _remember(self) -> None:
        learnt = self._server.dialect.as_text()
        if learnt != self._remembered:
            self._lesson.write_text(json.dumps([self._begun_with, learnt]), "utf-8")
            self._remembered = learnt

    @property
    def _lesson(self) -> Path:
        return self._path(f"learnt-{self._server.name}-{self._model}.json")

    def _path(self, name: str) -> Path:
        """Where a file lies while it travels. A handle may be anything that a user has typed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / "".join(c if c.isalnum() or c in "-_." else "_" for c in name[-100:])

    async def _batch(self, handle: str) -> Any:
        with self._asking(f"batch {handle}"):
            batch = await self._server.client.batches.retrieve(handle)
            _id(batch)
            return batch

    async def _download(self, file_id: str, path: Path) -> None:
        with self._asking(f"file {file_id}"), path.open("wb") as file:
            content = self._server.client.files.with_streaming_response.content(file_id, timeout=TRANSFER_S)
            async with content as response:
                async for chunk in response.iter_bytes(1 << 16):
                    file.write(chunk)

    async def _delete(self, file_id: str) -> None:
        try:
            with self._asking(f"file {file_id}"):
                await self._server.client.files.delete(file_id)
        except BackendError:
            return  # it goes by itself after 30 days

    def _item(self, line: bytes, asked_in: Dialect, hopeless: bool) -> BatchItem | None:
        """A line of answers; None for one that does not say what it answers. hopeless: the batch holds no answer."""
        try:
            data = json.loads(line)
            key, response = data["custom_id"], data.get("response")
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
            return None
        if not isinstance(key, str):
            return None
        if not isinstance(response, dict):
            return BatchItem(key, error=self._not_run(data.get("error")))
        status, body = response.get("status_code"), response.get("body")
        if status != 200:
            complaint = Complaint(status if isinstance(status, int) else 500, body, {}, self._server.key)
            return BatchItem(key, error=self._error(complaint, asked_in, hopeless))
        try:
            said = read_answer(body, money=not self._server.options.is_openai, key=self._server.key)
        except ValueError:
            return BatchItem(key, error=Transient(f"{self._server.name}: answered with no chat completion"))
        if isinstance(said, Reply):
            return BatchItem(key, reply=said)
        return BatchItem(key, error=self._error(said, asked_in, hopeless))

    def _not_run(self, error: Any) -> Transient:
        complaint = Complaint(0, {"error": error}, {}, self._server.key)
        return Transient(f"{self._server.name}: never run ({complaint.message or 'no reason given'})", unbilled=True)

    def _error(self, complaint: Complaint, asked_in: Dialect, hopeless: bool) -> BackendError:
        """What the error of one request means. OpenAI charges for none of them."""
        what = f"{self._server.name}: {complaint.said}"
        if self._learn(asked_in, complaint):
            self._remember()
            return Transient(f"{what}: asked otherwise next time", unbilled=True)
        error = complaint.as_error(self._server.name, self._model, self._server.options.api_key_env)
        if isinstance(error, Fatal):
            return error
        if not isinstance(error, Refused):
            return Transient(what, unbilled=True)
        if hopeless and not complaint.is_too_long and not complaint.is_policy:
            return Fatal(
                what, fix="Not one request of the batch was answered: check the model and the oracle's options"
            )
        return error

    def _why_failed(self, batch: Any) -> str:
        """What was wrong with the whole batch, as ": words"."""
        found = getattr(getattr(batch, "errors", None), "data", None) or []
        texts = [f"{error.code or ''} {error.message or ''}".strip() for error in found[:3]]
        said = Complaint(0, "; ".join(texts), {}, self._server.key).message
        return f": {said}" if said else ""

    @contextmanager
    def _asking(self, about: str, *, makes: bool = False) -> Iterator[None]:
        """What goes wrong while the server is asked, in the words of the contract. makes: a job may be made here."""
        try:
            yield
        except openai.APIStatusError as error:
            complaint = Complaint(error.status_code, error.response.text, error.response.headers, self._server.key)
            no = self._no(complaint, about)
            if makes and isinstance(no, Transient) and complaint.status not in NOTHING_MADE:
                no.unbilled = False  # it may have failed when the job was made
            raise no from None
        except (openai.APIConnectionError, aiohttp.ClientError, httpx2.HTTPError) as error:
            trouble, unreachable = what_broke(error, TRANSFER_S)
            what = f"{self._server.name}: {trouble}"
            raise (Unreachable(what) if unreachable else Transient(what)) from None
        except (AttributeError, ValueError, TypeError):
            raise Transient(f"{self._server.name}: answered with something that is none of its {about}") from None

    def _no(self, complaint: Complaint, about: str) -> BackendError:
        what = f"{self._server.name}: {complaint.said}"
        if complaint.status == 404:
            return Fatal(what, fix=f"It knows no {about}: check base_url, and whether the key is of the same project")
        error = complaint.as_error(self._server.name, self._model, self._server.options.api_key_env)
        return Fatal(what, fix=f"It takes no such {about}") if isinstance(error, Refused) else error


def request_line(key: str, body: dict[str, Any]) -> bytes:
    """A request as a line of the file that goes up."""
    asked = {"custom_id": key, "method": "POST", "url": COMPLETIONS, "body": body}
    return json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def _id(thing: Any) -> str:
    """The SDK checks nothing that it reads. Raises ValueError where there is no id."""
    if not isinstance(thing.id, str) or not thing.id:
        raise ValueError("no id")
    return str(thing.id)


def _number(thing: Any, name: str) -> int | None:
    value = getattr(thing, name, None)
    return value if isinstance(value, int) and value >= 0 else None


def _metadata(batch: Any) -> dict[str, Any]:
    found = getattr(batch, "metadata", None)
    return found if isinstance(found, dict) else {}


def _patience(created_at: int | None) -> float:
    """Seconds until the next look: soon for a new batch, whose mistakes are found at once, then a minute."""
    age = 600.0 if created_at is None else time.time() - created_at
    return min(60.0, max(1.0, age / 10))


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file
