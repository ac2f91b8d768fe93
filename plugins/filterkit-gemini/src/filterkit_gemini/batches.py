"""Gemini's batches: a file of requests goes up, a batch is made of it, and a file of replies comes down.

How a batch stands is read from the JSON itself: the SDK's own reading leaves out the counts, the error and the name of
the file that went up. See https://ai.google.dev/gemini-api/docs/batch-api.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal, NoReturn, cast

from google.genai import types

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
    Unreachable,
)
from filterkit_gemini.faults import Faults
from filterkit_gemini.genai_client import GenaiClient
from filterkit_gemini.options import GeminiOptions
from filterkit_gemini.wire import batch_line, read_reply

SLOWEST_BYTES_PER_S = 50_000
"""An upload that is slower than this is given up."""

CLOCKS_DIFFER_S = 3600.0
"""So far may Google's clock be from ours."""

PAGE, MOST_PAGES = 100, 1000
POLL_SHARE, SOONEST_POLL_S, LATEST_POLL_S = 0.2, 0.5, 60.0
"""A batch is looked at again after this share of its age."""

_HANDLE = re.compile(r"batches/[\w-]+", re.ASCII)
_FILE = re.compile(r"files/[\w.-]+", re.ASCII)
_STATES: dict[str, Literal["waiting", "running", "ended"]] = {
    "QUEUED": "waiting",
    "PENDING": "waiting",
    "PAUSED": "waiting",
    "RUNNING": "running",
    "UPDATING": "running",
    "CANCELLING": "running",
    **dict.fromkeys(("SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"), "ended"),
}

CANCELLED, TOO_MANY = 499, 429
_HTTP_OF_RPC = {1: CANCELLED, 3: 400, 4: 504, 5: 404, 7: 403, 8: TOO_MANY, 9: 400, 11: 400, 12: 501, 14: 503, 16: 401}
"""Google's codes of errors (google.rpc.Code) as HTTP; all others are 500."""


class Batches:
    """Submits, finds, looks at, cancels and collects batches."""

    def __init__(self, client: GenaiClient, options: GeminiOptions, faults: Faults, workdir: Path) -> None:
        self._client, self._options, self._faults, self._workdir = client, options, faults, workdir

    async def submit(self, requests: Sequence[OracleRequest], token: str) -> str:
        """The handle of a new batch, of the one model that all of them ask for."""
        with self._scratch() as file:
            for number, request in enumerate(requests):
                _write(file, batch_line(self._options, request))
                if number % PAGE == 0:
                    await asyncio.sleep(0)  # whoever renews a lock or a display has its turn
            uploaded = await self._upload(file, token)
        try:
            return await self._create(uploaded, requests[0].model, token)
        except (Fatal, RateLimited):  # there is no batch; after another error there may be one, which needs its file
            await self._delete(uploaded)
            raise

    async def find(self, token: str, since: float) -> str | None:
        """The batch whose display name is `token`."""
        found: set[str] = set()
        page: Any = ""
        for _ in range(MOST_PAGES):
            said = await self._get("batches", pageSize=PAGE, **({"pageToken": page} if page else {}))
            jobs = [_Job(one) for one in _list(said.get("operations"))]
            found |= {job.name for job in jobs if job.display_name == token and _HANDLE.fullmatch(job.name)}
            page = said.get("nextPageToken")
            # Newest first; a page as a whole, for two of one moment may have changed places.
            if not page or (jobs and all(job.created < since - CLOCKS_DIFFER_S for job in jobs)):
                break
        else:
            raise CannotTell(f"there are too many batches to find {token} among them")
        if len(found) > 1:
            raise CannotTell(f"{len(found)} batches are named {token}: {', '.join(sorted(found))}")
        return found.pop() if found else None

    async def poll(self, handle: str) -> JobState:
        """Where it stands."""
        job = await self._look(handle)
        said = self._faults.said(job.error)
        return JobState(
            state=job.state,
            done=job.done,
            total=job.total,
            message=f"{job.word}: {said}" if said else job.word,
            poll_after_s=min(LATEST_POLL_S, max(SOONEST_POLL_S, (time.time() - job.created) * POLL_SHARE)),
        )

    async def cancel(self, handle: str) -> None:
        """Stop it; one that has ended stays as it is."""
        try:
            async with asyncio.timeout(self._options.timeout_s):
                with self._client.explained():
                    await self._client.sdk.aio.batches.cancel(name=_checked(handle))
        except TimeoutError:
            raise _too_slow(self._options.timeout_s) from None
        except (Fatal, Refused) as error:
            if (await self._look(handle)).state != "ended":
                raise Fatal(error.what) from None

    async def collect(self, handle: str) -> AsyncIterator[BatchItem]:
        """What became of its requests, in the order in which Google says so.

        The file that went up is deleted then. The one that came down is left to Google, which deletes it: what is
        yielded here may not be stored yet, and a later run shall find it again.
        """
        job = await self._look(handle)
        if job.state != "ended":
            raise Transient(f"{handle} has not ended yet")
        if job.answered and not job.responses_file and not job.inlined:  # paid for: they are not to be asked again
            raise Transient(f"{handle} does not say yet where its results are")
        if job.responses_file:
            with self._scratch() as file:
                await self._download(handle, job.responses_file, file)
                for line in file:
                    item = self._item(_json(line))
                    if item is not None:
                        yield item
        else:
            for one in job.inlined:
                item = self._item(one)
                if item is not None:
                    yield item
        if _FILE.fullmatch(job.input_file):
            await self._delete(job.input_file)

    async def _get(self, path: str, **query: str | int) -> dict[str, Any]:
        said = await self._client.get(path, **query)
        if not isinstance(said, dict):
            raise Transient("the provider sent something else than what was asked for")
        return said

    async def _look(self, handle: str) -> _Job:
        try:
            return _Job(await self._get(_checked(handle)))
        except Fatal as error:
            if not error.what.startswith("HTTP 404"):
                raise
            raise Fatal(f"Google knows no {handle}: {error.what}") from None

    async def _upload(self, file: IO[bytes], token: str) -> str:
        size = file.tell()
        file.seek(0)
        seconds = self._options.timeout_s + size / SLOWEST_BYTES_PER_S
        try:
            async with asyncio.timeout(seconds):
                with self._client.explained():
                    uploaded = await self._client.sdk.aio.files.upload(
                        file=_raw(file),
                        config=types.UploadFileConfig(
                            display_name=token,
                            mime_type="application/jsonl",
                            # said again, for the SDK would follow whatever host the answer names
                            http_options=types.HttpOptions(base_url=self._options.url),
                        ),
                    )
        except TimeoutError:
            raise Transient(f"the file was not taken within {seconds:.0f} s", unbilled=True) from None
        except (KeyError, TypeError, AttributeError):
            raise Transient("the provider did not take the file", unbilled=True) from None
        except Transient as error:  # whatever became of the file, no batch was made of it
            raise Transient(error.what, unbilled=True, retry_after_s=error.retry_after_s) from None
        except Refused as error:
            raise Fatal(f"the file was not taken: {error.what}") from None
        if not uploaded.name or not _FILE.fullmatch(uploaded.name):
            raise Transient("the provider did not say under which name it keeps the file", unbilled=True)
        return uploaded.name

    async def _create(self, uploaded: str, model: str, token: str) -> str:
        """The handle. Once this was sent there may be a batch, also where a gateway says 5xx: that is no refusal."""
        try:
            async with asyncio.timeout(self._options.timeout_s):
                with self._client.explained():
                    job = await self._create_once(uploaded, model, token)
        except TimeoutError:
            raise _too_slow(self._options.timeout_s) from None
        except Unreachable:
            raise
        except Transient as error:
            raise Transient(error.what, retry_after_s=error.retry_after_s) from None
        except Refused as error:
            raise Fatal(f"the batch was refused: {error.what}") from None
        if not job.name or not _HANDLE.fullmatch(job.name):
            raise Transient("the provider did not say what it calls the batch")
        return job.name

    async def _create_once(self, uploaded: str, model: str, token: str) -> types.BatchJob:
        config = types.CreateBatchJobConfig(display_name=token)
        try:
            return await self._client.sdk.aio.batches.create(model=model, src=uploaded, config=config)
        except (ValueError, TypeError, AttributeError, KeyError):
            raise Transient("the provider sent something that cannot be read") from None

    async def _download(self, handle: str, name: str, file: IO[bytes]) -> None:
        if not _FILE.fullmatch(name):
            raise Transient("the provider did not say where the results are")
        try:
            await self._client.download(name, lambda part: _write(file, part))
        except Fatal as error:
            if not error.what.startswith(("HTTP 403", "HTTP 404")):
                raise
            raise Fatal(f"the results of {handle} are gone: {error.what}") from None
        file.seek(0)

    async def _delete(self, name: str) -> None:
        """Delete a file where that can be: Google does so anyway after two days."""
        with suppress(Exception):
            async with asyncio.timeout(self._options.timeout_s):
                await self._client.sdk.aio.files.delete(name=name)

    def _scratch(self) -> IO[bytes]:
        """A file without a name where there is such a thing: it is gone with the process, however that ends."""
        try:
            self._workdir.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryFile(dir=self._workdir)
        except OSError as error:
            _no_room(error)

    def _item(self, said: Any) -> BatchItem | None:
        """What became of a request; None for what is no result, whose key is then missing."""
        if not isinstance(said, dict):
            return None
        metadata = said.get("metadata")
        key = said.get("key", metadata.get("key") if isinstance(metadata, dict) else None)
        if not isinstance(key, str):
            return None
        if said.get("response") is None:
            return BatchItem(key, error=self._error(said.get("error", said.get("status"))))
        try:
            reply = read_reply(said["response"])
        except Transient as error:
            return BatchItem(key, error=error)
        self._faults.answered = True
        return BatchItem(key, reply)

    def _error(self, said: Any) -> BackendError:
        """An error of one request. Fatal where it is about all of them, such as an option that the model does not take.

        One that was cancelled, or held back by a limit, was never run; others have failed, and count as tried.
        """
        if not isinstance(said, dict) or not isinstance(said.get("code"), int):
            return Transient("the provider says neither an answer nor an error")
        code = said["code"]
        status = code if code >= 100 else _HTTP_OF_RPC.get(code, 500)
        error = self._faults.of_status(status, {"error": said}, {})
        if isinstance(error, Transient | RateLimited):
            return Transient(error.what, unbilled=status in (CANCELLED, TOO_MANY))
        return error


class _Job:
    """A batch out of the JSON of its operation, of which nothing is certain."""

    def __init__(self, operation: Any) -> None:
        operation = _dict(operation)
        self._metadata = _dict(operation.get("metadata"))
        self.name = str(operation.get("name") or "")
        self.display_name = self._metadata.get("displayName")
        self.created = _seconds(self._metadata.get("createTime"))
        word = str(self._metadata.get("state") or "").rpartition("_STATE_")[2]
        self.word = word.lower().replace("_", " ") or "state unknown"
        self.state = _STATES.get(word, "ended" if operation.get("done") else "running")
        self.error = str(_dict(operation.get("error")).get("message") or "")
        output = _dict(self._metadata.get("output")) or _dict(operation.get("response"))
        self.responses_file = str(output.get("responsesFile") or "")
        self.inlined = _list(_dict(output.get("inlinedResponses")).get("inlinedResponses"))
        self.input_file = str(_dict(self._metadata.get("inputConfig")).get("fileName") or "")

    @property
    def total(self) -> int | None:
        """How many requests it has."""
        return self._count("requestCount")

    @property
    def answered(self) -> int:
        """How many of them had an answer, as far as Google says so."""
        return self._count("successfulRequestCount") or 0

    @property
    def done(self) -> int | None:
        """How many of them had an answer or an error; none where Google leaves the counts out."""
        counts = [self._count("successfulRequestCount"), self._count("failedRequestCount")]
        return None if self.total is None else sum(count or 0 for count in counts)

    def _count(self, name: str) -> int | None:
        value = str(_dict(self._metadata.get("batchStats")).get(name, ""))
        return int(value) if re.fullmatch(r"[0-9]{1,12}", value) else None


def _checked(handle: str) -> str:
    if not _HANDLE.fullmatch(handle):
        raise Fatal(f"{handle!r} is no batch of Gemini's", fix="Those look like batches/abc123")
    return handle


def _too_slow(seconds: float) -> Transient:
    return Transient(f"no answer within {seconds:.0f} s")


def _raw(file: IO[bytes]) -> io.IOBase:
    """The file itself: where a file must have a name (Windows), it comes in a wrapper that the SDK does not take."""
    return cast(io.IOBase, getattr(file, "file", file))


def _write(file: IO[bytes], data: bytes) -> None:
    try:
        file.write(data)
    except OSError as error:
        _no_room(error)


def _no_room(error: OSError) -> NoReturn:
    what = f"a file of the batch cannot be written: {error.strerror or error}"
    raise Fatal(what, fix="See to the disk that the workspace is on") from None


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _seconds(said: Any) -> float:
    """Unix time of a timestamp, which may have nanoseconds; now where there is none."""
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", said)).timestamp()
    except (TypeError, ValueError):
        return time.time()
