"""OpenAI's Files and Batch APIs: `/v1/files`, `/v1/batches`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from aiohttp import BodyPartReader, MultipartReader, web

from filterkit.testing.fake_llm.batches import ENDED, Job, Outcome, StoredFile, TooLarge, result_lines
from filterkit.testing.fake_llm.sending import cut, hang_up, respond
from filterkit.testing.fake_llm.wire import Unreadable, Wire

if TYPE_CHECKING:
    from filterkit.testing.fake_llm.server import Desk

MOST_BYTES = 200_000_000
MOST_REQUESTS = 50_000
MOST_ERRORS = 20
ENDPOINT = "/v1/chat/completions"
_PATH = re.compile(r"^/v1/(files|batches)(?:/([^/]+)(?:/(content|cancel))?)?$")
_KNOWN = ("input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after")
_LINE = ("custom_id", "method", "url", "body")
_STATUS = {
    "waiting": "validating",
    "running": "in_progress",
    "cancelling": "cancelling",
    "succeeded": "completed",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
}
_NEVER_RUN = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed, for the batch was cancelled."),
}

Errors = list[dict[str, Any]]


async def handle(request: web.BaseRequest, desk: Desk) -> web.StreamResponse | None:
    """The answer to a request that is about files or batches, None for any other. Local servers know neither."""
    match = _PATH.match(request.path)
    if match is None or not desk.settings.openai_own:
        return None
    desk.others += 1
    fault = desk.stranger(request, "openai")
    if fault:
        return desk.refuse("openai", fault)
    kind, id, more = match.groups()
    asked = (request.method, kind, "id" if id else "", more or "")
    try:
        if asked == ("POST", "files", "", ""):
            return await _upload(request, desk)
        if asked == ("POST", "batches", "", ""):
            return await _submit(request, desk)
        if asked == ("GET", "batches", "", ""):
            return await _list(request, desk)
        if kind == "batches" and asked in (("GET", "batches", "id", ""), ("POST", "batches", "id", "cancel")):
            return await _look(desk, id, cancel=more == "cancel")
        if asked == ("GET", "files", "id", "content"):
            return await _content(request, desk, id)
        if asked in (("GET", "files", "id", ""), ("DELETE", "files", "id", "")):
            return _file(desk, id, delete=request.method == "DELETE")
    except Unreadable as problem:
        return _error(400, str(problem), problem.param, problem.code)
    return _error(404, f"Invalid URL ({request.method} {request.path})")


async def _upload(request: web.BaseRequest, desk: Desk) -> web.StreamResponse:
    faults = desk.batches.faults("upload")
    if request.content_type != "multipart/form-data":
        raise Unreadable("We could not parse a multipart form out of your request.")
    fields, name, data = dict[str, str](), "", b""
    async for part in MultipartReader(request.headers, request.content):  # request.multipart() ends at 1 MiB
        if not isinstance(part, BodyPartReader):
            raise Unreadable("We could not parse a multipart form out of your request.")
        if part.name == "file":
            name, data = part.filename or "", bytes(await part.read())
        else:
            fields[str(part.name)] = bytes(await part.read()).decode("utf-8", "replace")
    for fault, name_of_it in (("upload_error", "server_error"), ("upload_limit", "rate_limit")):
        if fault in faults:
            return desk.refuse("openai", name_of_it)
    if "upload_cut" in faults:
        return hang_up(request)
    if fields.get("purpose") != "batch":
        raise Unreadable(f"{fields.get('purpose')!r} is not one of ['batch'] - 'purpose'", "purpose")
    if not name.endswith(".jsonl"):
        raise Unreadable("Invalid file format for Batch API. Must be .jsonl", "file")
    try:
        if len(data) > MOST_BYTES:
            raise TooLarge(f"the file has {len(data)} bytes, at most {MOST_BYTES} are allowed")
        stored = desk.batches.add_file("openai", data, id=f"file-{uuid4().hex[:22]}", name=name, purpose="batch")
    except TooLarge as problem:
        return _error(413, str(problem))
    return respond(Wire(200, _file_object(stored)))


def _file(desk: Desk, id: str, *, delete: bool) -> web.StreamResponse:
    stored = desk.batches.files.get(id)
    if stored is None or stored.protocol != "openai":
        return _error(404, f"No such File object: {id}", "id")
    if delete:
        del desk.batches.files[id]
        return respond(Wire(200, {"id": id, "object": "file", "deleted": True}))
    return respond(Wire(200, _file_object(stored)))


async def _content(request: web.BaseRequest, desk: Desk, id: str) -> web.StreamResponse:
    stored = desk.batches.files.get(id)
    if stored is None or stored.protocol != "openai":
        return _error(404, f"No such File object: {id}", "id")
    faults = desk.batches.faults("results")
    if "results_error" in faults:
        return desk.refuse("openai", "server_error")
    if "results_cut" in faults:
        return await cut(request, stored.data)
    return web.Response(body=stored.data, content_type="application/octet-stream")


async def _submit(request: web.BaseRequest, desk: Desk) -> web.StreamResponse:
    faults = desk.batches.faults("submit")
    try:
        body = json.loads(await request.content.read())
    except ValueError:
        raise Unreadable("We could not parse the JSON body of your request.") from None
    _check(body)
    for fault, name in (("submit_error", "server_error"), ("submit_limit", "rate_limit")):
        if fault in faults:
            return desk.refuse("openai", name)
    source = desk.batches.files.get(body["input_file_id"])
    if source is None or source.protocol != "openai" or source.more.get("purpose") != "batch":
        raise Unreadable(f"Invalid file id: {body['input_file_id']}", "input_file_id")
    requests, errors = _requests(source.data)
    job = desk.batches.submit(
        "openai",
        [] if errors else requests,
        id=f"batch_{uuid4().hex}",
        model=requests[0][1].get("model", "") if requests else "",
        name=str((body.get("metadata") or {}).get("filterkit", "")),
        message=errors[0]["message"] if errors else "",
        asked=body,
        errors=errors,
    )
    return hang_up(request) if "submit_lost" in faults else respond(Wire(200, _batch_object(job)))


def _check(body: Any) -> None:
    """What is a 400 at once; the lines of the file are looked at later."""
    if not isinstance(body, dict):
        raise Unreadable("We could not parse the JSON body of your request.")
    unknown = [name for name in body if name not in _KNOWN]
    if unknown:
        raise Unreadable(f"Unrecognized request argument supplied: {unknown[0]}")
    for name in _KNOWN[:3]:
        if not isinstance(body.get(name), str):
            raise Unreadable(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    if body["endpoint"] != ENDPOINT:
        raise Unreadable(f"Invalid value: {body['endpoint']!r}.", "endpoint", "invalid_value")
    if body["completion_window"] != "24h":
        what = f"Invalid value: {body['completion_window']!r}. Supported values are: '24h'."
        raise Unreadable(what, "completion_window", "invalid_value")
    _check_metadata(body.get("metadata") or {})
    kept = body.get("output_expires_after")
    if kept is not None and (kept.get("anchor") != "created_at" or not 3600 <= kept.get("seconds", 0) <= 2_592_000):
        raise Unreadable("Invalid 'output_expires_after'.", "output_expires_after", "invalid_value")


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict):
        raise Unreadable("Invalid type for 'metadata': expected an object.", "metadata", "invalid_type")
    if len(metadata) > 16:
        raise Unreadable("Invalid 'metadata': too many properties.", "metadata", "object_above_max_properties")
    for name, value in metadata.items():
        if len(name) > 64 or not isinstance(value, str) or len(value) > 512:
            raise Unreadable(f"Invalid 'metadata.{name}'.", f"metadata.{name}", "invalid_value")


def _requests(data: bytes) -> tuple[list[tuple[str, dict[str, Any]]], Errors]:
    """The requests of a file, and what is wrong with it."""
    requests: list[tuple[str, dict[str, Any]]] = []
    errors: Errors = []
    seen: set[str] = set()
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            requests.append(_request(line, seen, requests[0][1] if requests else {}))
        except Unreadable as problem:
            found = {"code": problem.code, "line": number, "message": str(problem), "param": problem.param}
            errors.append(found)
            if len(errors) >= MOST_ERRORS:
                break
    if not data.strip():
        errors.append({"code": "empty_file", "line": None, "message": "The input file is empty.", "param": None})
    if len(requests) > MOST_REQUESTS:
        what = f"The batch input file contains more requests than the limit of {MOST_REQUESTS}."
        errors.append({"code": "request_limit_exceeded", "line": None, "message": what, "param": None})
    return requests, errors


def _request(line: bytes, seen: set[str], first: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    try:
        asked = json.loads(line)
    except ValueError:
        raise Unreadable("This line is not parseable as valid JSON.", None, "invalid_json_line") from None
    if not isinstance(asked, dict):
        raise Unreadable("This line is not parseable as valid JSON.", None, "invalid_json_line")
    for name in _LINE:
        if name not in asked:
            raise Unreadable(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    key, body = asked["custom_id"], asked["body"]
    if not isinstance(key, str) or not isinstance(body, dict):
        raise Unreadable("Invalid type for 'custom_id' or 'body'.", "custom_id", "invalid_type")
    if key in seen:
        raise Unreadable(f"The custom_id '{key}' is a duplicate of another one.", "custom_id", "duplicate_custom_id")
    if asked["method"] != "POST":
        raise Unreadable("The method must be POST.", "method", "invalid_method")
    if asked["url"] != ENDPOINT:
        raise Unreadable(
            "The URL provided for this request does not match the batch endpoint.", "url", "mismatched_url"
        )
    if first and body.get("model") != first.get("model"):
        what = f"The provided model '{body.get('model')}' does not match '{first.get('model')}'."
        raise Unreadable(
            f"{what} The same model must be used for all requests in a batch.", "model", "mismatched_model"
        )
    seen.add(key)
    return key, body


async def _list(request: web.BaseRequest, desk: Desk) -> web.StreamResponse:
    asked = request.query.get("limit", "20")
    if not asked.isdigit() or not 1 <= int(asked) <= 100:
        raise Unreadable("Invalid 'limit': expected an integer from 1 to 100.", "limit", "invalid_value")
    jobs, after, limit = await desk.batches.newest_first("openai"), request.query.get("after"), int(asked)
    if after is not None:
        ids = [job.id for job in jobs]
        if after not in ids:
            raise Unreadable(f"No batch found with id '{after}'.", "after", "invalid_value")
        jobs = jobs[ids.index(after) + 1 :]
    page = [_published(desk, job) for job in jobs[:limit]]
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return respond(Wire(200, {"object": "list", "data": page, **ends, "has_more": len(jobs) > limit}))


async def _look(desk: Desk, id: str, *, cancel: bool) -> web.StreamResponse:
    job = await desk.batches.look("openai", id)
    if job is None:
        return _error(404, f"No batch found with id '{id}'.", "id")
    if "poll_error" in desk.batches.faults("poll"):
        return desk.refuse("openai", "server_error")
    if cancel and job.status in ENDED:
        return _error(409, f"Cannot cancel a batch with status '{_STATUS[job.status]}'.")
    if cancel:
        await desk.batches.cancel(job)
    return respond(Wire(200, _published(desk, job)))


def _published(desk: Desk, job: Job) -> dict[str, Any]:
    """A batch as it is shown. The files of one that is over are there from the first look on."""
    if job.status in ENDED and "files" not in job.more:
        results = job.results()
        answered = [outcome for outcome in results if outcome.kind == "answered"]
        failed = [outcome for outcome in results if outcome.kind != "answered"]
        job.more["files"] = [_store(desk, job, "output", answered), _store(desk, job, "error", failed)]
    return _batch_object(job)


def _store(desk: Desk, job: Job, name: str, outcomes: list[Outcome]) -> str | None:
    if not outcomes:
        return None
    id, data = f"file-{uuid4().hex[:22]}", b"".join(result_lines(job, outcomes, _line))
    more = {"purpose": "batch_output"}
    desk.batches.files[id] = StoredFile(id, data, "openai", f"{job.id}_{name}.jsonl", time.time(), more)
    return id


def _line(outcome: Outcome) -> dict[str, Any]:
    out: dict[str, Any] = {"id": f"batch_req_{outcome.key}", "custom_id": outcome.key, "response": None, "error": None}
    if outcome.kind in _NEVER_RUN:
        code, message = _NEVER_RUN[outcome.kind]
        return {**out, "error": {"code": code, "message": message}}
    return {**out, "response": {"status_code": outcome.status, "request_id": "req_fake", "body": outcome.body}}


def _file_object(stored: StoredFile) -> dict[str, Any]:
    return {
        "id": stored.id,
        "object": "file",
        "bytes": len(stored.data),
        "created_at": int(stored.created),
        "filename": stored.name,
        "purpose": stored.more.get("purpose"),
        "status": "processed",
    }


def _batch_object(job: Job) -> dict[str, Any]:
    asked, errors = job.more["asked"], job.more["errors"]
    output, error = job.more.get("files", (None, None))
    failed = job.status == "failed"
    why = errors or [{"code": "internal_error", "line": None, "message": job.message, "param": None}]
    return {
        "id": job.id,
        "object": "batch",
        "endpoint": ENDPOINT,
        "model": job.model,
        "errors": {"object": "list", "data": why} if failed else None,
        "input_file_id": asked["input_file_id"],
        "completion_window": "24h",
        "status": _STATUS[job.status],
        "output_file_id": output,
        "error_file_id": error,
        "created_at": int(job.created),
        "metadata": asked.get("metadata"),
        "request_counts": {
            "total": len(job.requests),
            "completed": job.counts["answered"],
            "failed": job.counts.total() - job.counts["answered"],
        },
        **dict(_times(job)),
    }


def _times(job: Job) -> Iterator[tuple[str, int | None]]:
    over = None if job.ended is None else int(job.ended)
    yield "expires_at", int(job.created) + 86_400
    yield "cancelling_at", None if job.cancelled is None else int(job.cancelled)
    for status, name in (("succeeded", "completed"), ("failed",) * 2, ("expired",) * 2, ("cancelled",) * 2):
        yield f"{name}_at", over if job.status == status else None


def _error(status: int, message: str, param: str | None = None, code: str | None = None) -> web.Response:
    body = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return respond(Wire(status, {"error": body}))
