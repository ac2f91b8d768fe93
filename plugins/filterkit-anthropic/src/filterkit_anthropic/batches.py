"""Anthropic's Message Batches API, through the SDK.

A batch carries nothing of ours but the `custom_id` of each request: "<token>_<key>". There is no underscore in a token.
What cannot be read there while a batch is running is written down here: how many requests it has, and its id as soon as
that is known.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import anthropic
import httpx2

from filterkit.api import (
    BackendError,
    BatchItem,
    CannotTell,
    Fatal,
    JobState,
    OracleRequest,
    RateLimited,
    Refused,
    Transient,
)
from filterkit_anthropic.connection import CONNECT_S, lost
from filterkit_anthropic.faults import REFUSALS, STATUS_OF, Faults, error_of
from filterkit_anthropic.wire import NoReply, Thinking, read_reply

PATH = "/v1/messages/batches"
CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
CLOCK_SKEW_S = 60.0
CALL = anthropic.Timeout(60.0, connect=CONNECT_S)
TRANSFER = anthropic.Timeout(600.0, connect=CONNECT_S)  # between two signs of life, while much is on its way
JSON = {"content-type": "application/json"}
RAW = {"X-Stainless-Raw-Response": "stream"}  # the SDK's word for a body that is not read at once
NOTHING_MADE = (503, 529)  # errors of the server that come before any work
LOOK_AGAIN_S = 10.0  # at batches of which it is to be told whose they are
PAGE = 100
BREATH = 100  # lines after which others on the loop have their turn
NAMED = 10  # candidates in a message

Learn = Callable[[Thinking, Mapping[str, Any]], bool]


class Unknown(Fatal):
    """A 404: there is no such batch, or it has no results (any more)."""


class Jobs:
    """The batches of one key.

    folder: where files lie while they travel, and what is known of batches. body: a request as `complete` sends it, in
    a way of not thinking. learn: whether the error of such a request teaches to ask for another way.
    """

    def __init__(
        self,
        client: anthropic.AsyncAnthropic,
        faults: Faults,
        server: str,
        model: str,
        folder: Path,
        body: Callable[[OracleRequest, Thinking], dict[str, Any]],
        learn: Learn,
    ) -> None:
        self._client, self._faults, self._folder = client, faults, folder
        self._server, self._model = server, model
        self._body, self._learn = body, learn

    async def submit(self, requests: Sequence[OracleRequest], token: str, thinking: Thinking) -> str:
        """The id of the batch that was made."""
        path, known = self._path(f"{token}.body"), {"requests": len(requests), "thinking": thinking}
        try:
            await self._write(path, requests, token, thinking)
            self._note(token, known)
            with self._asking("batch", makes=True):
                made: Any = await self._client.post(
                    PATH,
                    cast_to=object,
                    content=_chunks(path),
                    options={"headers": {**JSON, "content-length": str(path.stat().st_size)}, "timeout": TRANSFER},
                )
                handle = _id(made)
        finally:
            path.unlink(missing_ok=True)
        self._note(token, {**known, "handle": handle})
        return handle

    async def find(self, token: str, since: float) -> str | None:
        """The batch that was noted under the token, or one whose first result names it.

        A batch that is running tells nothing, unless its number of requests is another one. CannotTell names those
        that may be it, and asks to be asked again while any of them runs.
        """
        notes = self._notes()
        noted = notes.get(token, {})
        if "handle" in noted:
            return await self._if_known(str(noted["handle"]))
        others = {note.get("handle") for note in notes.values()}
        running: list[str] = []
        silent: list[str] = []
        async for batch in self._since(since - CLOCK_SKEW_S):
            handle = _id(batch)
            if handle in others or not _may_have(batch, noted.get("requests")):
                continue
            if batch.get("processing_status") != "ended":
                running.append(handle)
                continue
            first = await self._first_custom_id(handle)
            if first is None:
                silent.append(handle)
            elif first.startswith(f"{token}_"):
                self._note(token, {**noted, "handle": handle})
                return handle
        if running or silent:
            raise self._cannot_tell(running, silent)
        return None

    def _cannot_tell(self, running: list[str], silent: list[str]) -> CannotTell:
        named = ", ".join([*running, *silent][:NAMED]) + (" …" if len(running) + len(silent) > NAMED else "")
        what = f"{self._server} does not say what a batch is called before it has ended: {named} may be it"
        return CannotTell(what, retry_after_s=LOOK_AGAIN_S if running else None)

    async def poll(self, handle: str) -> JobState:
        """Where the batch stands. Requests count as done only when all of them are."""
        batch = await self._batch(handle)
        counts = _counts(batch.get("request_counts"))
        total, status = sum(counts.values()), str(batch.get("processing_status"))
        parts = [f"{number} {name}" for name, number in counts.items() if number and name != "processing"]
        return JobState(
            state="ended" if status == "ended" else "running",
            done=total - counts.get("processing", 0) if counts else None,
            total=total if counts else None,
            message=", ".join([status.replace("_", " "), *parts]),
            poll_after_s=_patience(_unix(batch.get("created_at"))),
        )

    async def cancel(self, handle: str) -> None:
        """A batch that is over already is left as it is."""
        try:
            with self._asking(f"batch {handle}"):
                await self._client.messages.batches.cancel(handle, timeout=CALL)
        except (Fatal, Transient):
            if (await self.poll(handle)).state != "ended":
                raise

    async def collect(self, handle: str) -> AsyncIterator[BatchItem]:
        """All results, as they come. Nothing is deleted at Anthropic, where a batch and its results go together."""
        batch = await self._batch(handle)
        if batch.get("processing_status") != "ended":
            raise Transient(f"{self._server}: batch {handle} is not over yet")
        counts = _counts(batch.get("request_counts"))
        self._faults.answered |= counts.get("succeeded", 0) > 0
        self._faults.hopeless = counts.get("errored", 0) >= REFUSALS
        noted = next((note for note in self._notes().values() if note.get("handle") == handle), {})
        path = self._path(f"{handle}.results")
        try:
            with path.open("wb") as file:
                async for chunk in self._results(handle):
                    file.write(chunk)
            with path.open("rb") as file:
                for number, line in enumerate(file):
                    item = self._item(line, noted.get("thinking", "disabled"))
                    if item is not None:
                        yield item
                    if number % BREATH == 0:
                        await asyncio.sleep(0)
        finally:
            path.unlink(missing_ok=True)

    def learnt(self) -> str:
        """How an earlier job has taught to ask the model not to think, "" for nothing."""
        try:
            return self._lesson.read_text("utf-8").strip()
        except (OSError, ValueError):
            return ""

    def remember(self, thinking: Thinking) -> None:
        """What the next job, which another process may submit, is to know."""
        self._lesson.write_text(thinking, "utf-8")

    @property
    def _lesson(self) -> Path:
        return self._path(f"learnt-{self._server}-{self._model}.txt")

    def _path(self, name: str) -> Path:
        """Where something lies here. A handle may be anything that a user has typed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / re.sub(r"[^\w.-]", "_", name[-100:], flags=re.ASCII)

    def _note(self, token: str, what: Mapping[str, Any]) -> None:
        path = self._path(f"{token}.json")
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(what), "utf-8")
        draft.replace(path)

    def _notes(self) -> dict[str, dict[str, Any]]:
        """What is known of batches, by token."""
        found: dict[str, dict[str, Any]] = {}
        for path in self._folder.glob("*.json"):
            try:
                note = json.loads(path.read_text("utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(note, dict):
                found[path.stem] = note
        return found

    async def _write(self, path: Path, requests: Sequence[OracleRequest], token: str, thinking: Thinking) -> None:
        with path.open("wb") as file:
            for number, request in enumerate(requests):
                file.write(b"," if number else b'{"requests":[')
                file.write(entry(token, request.key, self._body(request, thinking)))
                if number % BREATH == 0:
                    await asyncio.sleep(0)
            file.write(b"]}")

    async def _batch(self, handle: str) -> dict[str, Any]:
        with self._asking(f"batch {handle}"):
            batch = (await self._client.messages.batches.retrieve(handle, timeout=CALL)).to_dict(warnings=False)
            _id(batch)
            return batch

    async def _since(self, oldest: float) -> AsyncIterator[dict[str, Any]]:
        """Batches that were created since `oldest`, the newest first."""
        seen: set[str] = set()
        with self._asking("batches"):
            async for batch in self._client.messages.batches.list(limit=PAGE, timeout=CALL):
                found = batch.to_dict(warnings=False)
                created = _unix(found.get("created_at"))
                if _id(found) in seen or (created is not None and created < oldest):
                    return
                seen.add(_id(found))
                yield found

    async def _results(self, handle: str) -> AsyncGenerator[bytes, None]:
        """The results as they come, from our own server whatever address it names: the key goes nowhere else."""
        response: Any
        with self._asking(f"batch {handle} (or has no results of it)"):
            path = f"{PATH}/{quote(handle, safe='')}/results"
            response = await self._client.get(path, cast_to=object, options={"headers": RAW, "timeout": TRANSFER})
            try:
                async for chunk in response.iter_bytes(1 << 16):
                    yield chunk
            finally:
                await response.close()

    async def _if_known(self, handle: str) -> str | None:
        """A handle whose batch is still there."""
        try:
            await self._batch(handle)
        except Unknown:
            return None
        return handle

    async def _first_custom_id(self, handle: str) -> str | None:
        """What the first result is called; None where there is none to be had."""
        begun = b""
        async with aclosing(self._results(handle)) as results:
            try:
                async for chunk in results:
                    *lines, begun = (begun + chunk).split(b"\n")
                    for found in map(_parsed, lines):
                        if found is not None:
                            return found[0]
            except Unknown:
                return None
        return None

    def _item(self, line: bytes, thinking: Thinking) -> BatchItem | None:
        """A line of results; None for one that does not say what it answers."""
        found = _parsed(line)
        if found is None or "_" not in found[0]:
            return None
        key, result = found[0].partition("_")[2], found[1]
        kind = result.get("type")
        if kind == "succeeded":
            try:
                return BatchItem(key, reply=read_reply(result.get("message")))
            except NoReply:
                what = f"{self._server}: answered with something that is no message"
                return BatchItem(key, error=Transient(what))
        if kind == "errored":
            return BatchItem(key, error=self._error(result.get("error"), thinking))
        why = kind if kind in ("expired", "canceled") else "nothing is said of it"
        return BatchItem(key, error=Transient(f"{self._server}: never run ({why})", unbilled=True))

    def _error(self, body: Any, thinking: Thinking) -> BackendError:
        """What the error of one request means. Anthropic charges for none of them."""
        error = error_of(body)
        status = STATUS_OF.get(str(error.get("type")), 500)
        found = self._faults.of_status(status, body, {})
        if status == 400 and self._learn(thinking, error):
            return Transient(f"{found.what}: asked otherwise next time", unbilled=True)
        if isinstance(found, Transient | RateLimited):
            return Transient(found.what, unbilled=True)
        return found

    @contextmanager
    def _asking(self, about: str, *, makes: bool = False) -> Iterator[None]:
        """What goes wrong while the server is asked, in the words of the contract. makes: a job may be made here."""
        try:
            yield
        except anthropic.APIStatusError as error:
            no = self._no(error, about)
            if makes and isinstance(no, Transient) and error.status_code not in NOTHING_MADE:
                no.unbilled = False  # it may have failed when the job was made
            raise no from None
        except (anthropic.APIConnectionError, aiohttp.ClientError, httpx2.HTTPError) as error:
            raise lost(error, self._server) from None
        except (AttributeError, ValueError, TypeError):
            raise Transient(f"{self._server}: answered with something that is no {about}") from None

    def _no(self, error: anthropic.APIStatusError, about: str) -> BackendError:
        found = self._faults.of_status(error.status_code, error.body, error.response.headers)
        if error.status_code == 404:
            fix = f"It knows no {about}: check base_url, and whether the key is of the same workspace"
            return Unknown(found.what, fix=fix)
        return Fatal(found.what, fix=f"It takes no such {about}") if isinstance(found, Refused) else found


def entry(token: str, key: str, body: dict[str, Any]) -> bytes:
    """A request as it stands in a batch. ValueError: the provider would not take its name."""
    name = f"{token}_{key}"
    if not CUSTOM_ID.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the custom_id of a request")
    asked = {"custom_id": name, "params": body}
    return json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 16):
            yield chunk


def _parsed(line: bytes) -> tuple[str, dict[str, Any]] | None:
    """A result's custom_id, and what it says; None for a line that is none."""
    try:
        data = json.loads(line)
        name, result = data["custom_id"], data["result"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return None
    return (name, result) if isinstance(name, str) and isinstance(result, dict) else None


def _id(batch: Any) -> str:
    """Raises ValueError where there is none: the SDK checks nothing that it reads."""
    found = batch.get("id")
    if not isinstance(found, str) or not found:
        raise ValueError("no id")
    return found


def _may_have(batch: Mapping[str, Any], requests: Any) -> bool:
    """Whether a batch may be one of so many requests; None for an unknown number."""
    counts = _counts(batch.get("request_counts"))
    return requests is None or not counts or sum(counts.values()) == requests


def _counts(counts: Any) -> dict[str, int]:
    """Requests by what became of them."""
    if not isinstance(counts, dict):
        return {}
    return {str(name): number for name, number in counts.items() if isinstance(number, int) and number >= 0}


def _unix(when: Any) -> float | None:
    try:
        found = when if isinstance(when, datetime) else datetime.fromisoformat(str(when))
        return found.timestamp()
    except (ValueError, OverflowError):
        return None


def _patience(created: float | None) -> float:
    """Seconds until the next look: soon for a new batch, then a minute."""
    age = 600.0 if created is None else time.time() - created
    return min(60.0, max(1.0, age / 10))
