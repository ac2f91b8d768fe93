"""Gemini's batches and files: `models/MODEL:batchGenerateContent`, `batches/ID`, and the resumable upload of files.

The resource is a long-running operation, as in the REST reference: name, metadata (displayName, state, batchStats, …),
and once it is done, response or error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from uuid import uuid4

from aiohttp import web

from filterkit.testing.fake_llm.batches import ENDED, Batches, Job, Outcome, StoredFile, TooLarge, result_lines
from filterkit.testing.fake_llm.sending import cut, hang_up, respond
from filterkit.testing.fake_llm.wire import Unreadable, Wire

if TYPE_CHECKING:
    from filterkit.testing.fake_llm.server import Desk

_CREATE = re.compile(r"^/v1[^/]*/models/(.+):batchGenerateContent$")
_BATCH = re.compile(r"^/v1[^/]*/batches(?:/([^/:]+))?(:cancel)?$")
_UPLOAD = re.compile(r"^/upload/v1[^/]*/files$")
_FILE = re.compile(r"^(/download)?/v1[^/]*/files/([^/:]+)(:download)?$")
_STATES = {
    "waiting": "BATCH_STATE_PENDING",
    "running": "BATCH_STATE_RUNNING",
    "cancelling": "BATCH_STATE_CANCELLING",
    "succeeded": "BATCH_STATE_SUCCEEDED",
    "failed": "BATCH_STATE_FAILED",
    "expired": "BATCH_STATE_EXPIRED",
    "cancelled": "BATCH_STATE_CANCELLED",
}
_FAILURES = {"failed": 3, "expired": 4, "cancelled": 1}  # google.rpc.Code
_CODES = {400: 3, 401: 16, 402: 9, 403: 7, 404: 5, 429: 8, 502: 14, 503: 14}
MOST_INLINE_BYTES = 20_000_000
MOST_ON_A_PAGE = 100
_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"


async def handle(request: web.BaseRequest, desk: Desk) -> web.StreamResponse | None:
    """The answer to a request that is about Gemini's batches or files; None for another one."""
    path, method = request.path, request.method
    if "anthropic-version" in request.headers or "authorization" in request.headers:
        return None
    if method == "POST" and _UPLOAD.match(path):
        return await _upload(request, desk)
    created, batch, file = _CREATE.match(path), _BATCH.match(path), _FILE.match(path)
    if not (created or batch or file):
        return None
    desk.others += 1
    fault = desk.stranger(request, "gemini")
    if fault:
        return desk.refuse("gemini", fault)
    if created and method == "POST":
        return await _create(request, desk, unquote(created[1]))
    if batch:
        return await _about_batch(request, desk, batch[1], cancels=bool(batch[2]))
    if file:
        return await _about_file(request, desk, file)
    return None


async def _upload(request: web.BaseRequest, desk: Desk) -> web.StreamResponse:
    """Both requests of a resumable upload: the start, which needs a key, and the bytes, which need its address."""
    batches, command = desk.batches, request.headers.get("x-goog-upload-command", "")
    if command == "start":
        return await _start(request, desk)
    upload = batches.uploads.get(request.query.get("upload_id", ""))
    if upload is None:
        return desk.refuse("gemini", "bad_request", "Upload has already been terminated.")
    if upload["fault"] == "upload_cut":
        del batches.uploads[request.query["upload_id"]]
        await request.content.readany()
        return hang_up(request)
    if int(request.headers.get("x-goog-upload-offset", -1)) != len(upload["data"]):
        return desk.refuse("gemini", "bad_request", f"Upload offset is not {len(upload['data'])}.")
    upload["data"] += await request.content.read()
    if len(upload["data"]) > upload["size"]:
        return desk.refuse("gemini", "bad_request", "More bytes than the upload was started with.")
    if "finalize" not in command:
        return respond(Wire(200, {}, {"x-goog-upload-status": "active"}))
    if len(upload["data"]) != upload["size"]:
        return desk.refuse("gemini", "bad_request", "Fewer bytes than the upload was started with.")
    del batches.uploads[request.query["upload_id"]]
    try:
        stored = batches.add_file("gemini", bytes(upload["data"]), mime=upload["mime"], name=upload["name"])
    except TooLarge as problem:
        return desk.refuse("gemini", "bad_request", str(problem))
    return respond(Wire(200, {"file": _file_entry(stored)}, {"x-goog-upload-status": "final"}))


async def _start(request: web.BaseRequest, desk: Desk) -> web.StreamResponse:
    fault = desk.stranger(request, "gemini")
    if fault:
        return desk.refuse("gemini", fault)
    faults, headers = desk.batches.faults("upload"), request.headers
    if "upload_error" in faults:
        return desk.refuse("gemini", "server_error")
    if "upload_limit" in faults:
        return desk.refuse("gemini", "rate_limit")
    said = await _body(request)
    file = said.get("file") if isinstance(said, dict) else None
    size = headers.get("x-goog-upload-header-content-length", "")
    if headers.get("x-goog-upload-protocol") != "resumable" or not size.isdigit() or not isinstance(file, dict):
        return desk.refuse("gemini", "bad_request", "Invalid start of a resumable upload.")
    try:
        desk.batches.check_size(int(size))
    except TooLarge as problem:
        return desk.refuse("gemini", "bad_request", str(problem))
    upload = uuid4().hex
    mime = headers.get("x-goog-upload-header-content-type", "")
    desk.batches.uploads[upload] = {
        "data": bytearray(),
        "size": int(size),
        "mime": mime,
        "name": file.get("displayName", ""),
        "fault": "upload_cut" if "upload_cut" in faults else "",
    }
    url = f"{request.scheme}://{request.host}{request.path}?upload_id={upload}&upload_protocol=resumable"
    return respond(Wire(200, {}, {"x-goog-upload-url": url, "x-goog-upload-status": "active"}))


def _file_entry(stored: StoredFile) -> dict[str, Any]:
    return {
        "name": f"files/{stored.id}",
        "displayName": stored.name,
        "mimeType": stored.more["mime"],
        "sizeBytes": str(len(stored.data)),
        "createTime": _time(stored.created),
        "uri": f"https://generativelanguage.googleapis.com/v1beta/files/{stored.id}",
        "state": "ACTIVE",
        "source": "GENERATED" if stored.more.get("generated") else "UPLOADED",
    }


async def _create(request: web.BaseRequest, desk: Desk, model: str) -> web.StreamResponse:
    faults = desk.batches.faults("submit")
    if "submit_error" in faults:
        return desk.refuse("gemini", "server_error")
    if "submit_limit" in faults:
        return desk.refuse("gemini", "rate_limit")
    if desk.settings.models is not None and model not in desk.settings.models:
        return desk.refuse("gemini", "unknown_model", model=model)
    try:
        name, source, requests, message = _read_batch(await _body(request), desk.batches)
    except Unreadable as problem:
        return desk.refuse("gemini", "bad_request", str(problem))
    job = desk.batches.submit("gemini", requests, model=model, name=name, message=message, source=source)
    return hang_up(request) if "submit_lost" in faults else respond(Wire(200, _operation(job)))


def _read_batch(body: Any, batches: Batches) -> tuple[str, str, list[tuple[str, dict[str, Any]]], str]:
    """Display name, name of the file (inline: ""), requests with their keys, and why it is to fail, out of a body."""
    batch = _object(body, "", {"batch"}).get("batch")
    batch = _object(batch, "batch", {"displayName", "inputConfig", "model", "priority"})
    config = _object(batch.get("inputConfig"), "batch.input_config", {"fileName", "requests"})
    name = batch.get("displayName")
    if not isinstance(name, str) or not name:
        raise Unreadable("* BatchGenerateContentRequest.batch.display_name: display_name is required")
    if len(config) != 1:
        raise Unreadable("* BatchGenerateContentRequest.batch.input_config: exactly one source is required")
    if "requests" in config:
        if len(json.dumps(body)) > MOST_INLINE_BYTES:
            raise Unreadable("Request payload size exceeds the limit: 20971520 bytes.")
        inline = _object(config["requests"], "batch.input_config.requests", {"requests"}).get("requests") or []
        return name, "", [_inline(one) for one in inline], ""
    stored = batches.files.get(str(config["fileName"]).removeprefix("files/"))
    if stored is None or stored.protocol != "gemini" or stored.more.get("generated"):
        raise Unreadable(f"File {config['fileName']} not found.")
    if stored.more["mime"] not in ("application/jsonl", "jsonl"):
        raise Unreadable(f"Unsupported mime type of the batch's input file: {stored.more['mime']}")
    try:
        return name, f"files/{stored.id}", list(_requests(stored.data)), ""
    except Unreadable as problem:  # the file is read later: the batch is accepted, and fails
        return name, f"files/{stored.id}", [], str(problem)


def _requests(data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(data.splitlines(), 1):
        try:
            value = json.loads(line)
        except ValueError:
            raise Unreadable(f"Line {number} of the input file is no JSON.") from None
        one = _object(value, f"line {number}", {"key", "request"})
        if not isinstance(one.get("key"), str) or not isinstance(one.get("request"), dict):
            raise Unreadable(f"Line {number} of the input file needs a key and a request.")
        yield one["key"], one["request"]


def _inline(one: Any) -> tuple[str, dict[str, Any]]:
    one = _object(one, "batch.input_config.requests.requests", {"request", "metadata"})
    request = _object(one.get("request"), "request", None)
    return str((one.get("metadata") or {}).get("key", "")), {k: v for k, v in request.items() if k != "model"}


def _object(value: Any, where: str, known: set[str] | None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"Invalid value at '{where}': it is no object.")
    for name in value:
        if known is not None and name not in known:
            raise Unreadable(f"Invalid JSON payload received. Unknown name \"{name}\" at '{where}': Cannot find field.")
    return value


async def _about_batch(request: web.BaseRequest, desk: Desk, id: str | None, *, cancels: bool) -> web.StreamResponse:
    if request.method == "GET" and id is None:
        return await _list(request, desk)
    if request.method == "GET" and "poll_error" in desk.batches.faults("poll"):
        return desk.refuse("gemini", "server_error")
    job = await desk.batches.look("gemini", id or "")
    if job is None:
        return respond(_status(404, "NOT_FOUND", f"Requested entity was not found: batches/{id}"))
    if request.method == "GET":
        _keep_results(job, desk.batches)
        return respond(Wire(200, _operation(job)))
    if request.method == "POST" and cancels:
        if job.status in ENDED:
            return respond(_status(400, "FAILED_PRECONDITION", f"The batch is already {job.status}."))
        await desk.batches.cancel(job)
        return respond(Wire(200, {}))
    if request.method == "DELETE":
        del desk.batches.jobs[job.id]
        return respond(Wire(200, {}))
    return respond(_status(404, "NOT_FOUND", f"no such method: {request.method} {request.path}"))


async def _list(request: web.BaseRequest, desk: Desk) -> web.Response:
    size, after = request.query.get("pageSize", "50"), request.query.get("pageToken", "0")
    if not (size.isdigit() and after.isdigit()):
        return desk.refuse("gemini", "bad_request", "Invalid page.")
    first, count = int(after), min(int(size) or 50, MOST_ON_A_PAGE)
    jobs = await desk.batches.newest_first("gemini")
    body: dict[str, Any] = {"operations": [_operation(job) for job in jobs[first : first + count]]} if jobs else {}
    if len(jobs) > first + count:
        body["nextPageToken"] = str(first + count)
    return respond(Wire(200, body))


def _keep_results(job: Job, batches: Batches) -> None:
    """Write the file of what an ended job brought, once; none where nothing was answered, or a file deleted since."""
    if job.status not in ENDED or not job.more["source"] or "results" in job.more or not job.run:
        return
    data = b"".join(result_lines(job, _seen(job), _line))
    stored = batches.add_file("gemini", data, id=f"batch-{job.id}", mime="application/jsonl", generated=True)
    job.more["results"] = f"files/{stored.id}"


def _seen(job: Job) -> list[Outcome]:
    """What the provider hands out: what was never run has no line, but in a cancelled job."""
    return [outcome for outcome in job.results() if outcome.kind != "expired"]


def _line(outcome: Outcome) -> dict[str, Any]:
    return {"key": outcome.key, **_result(outcome)}


def _result(outcome: Outcome) -> dict[str, Any]:
    if outcome.kind == "answered":
        return {"response": outcome.body}
    if outcome.kind == "errored":
        said = outcome.body.get("error", {}) if isinstance(outcome.body, Mapping) else {}
        return {"error": {"code": _CODES.get(outcome.status, 13), "message": said.get("message", "Internal error.")}}
    return {"error": {"code": 1, "message": "The request was cancelled."}}


def _operation(job: Job) -> dict[str, Any]:
    counts, name = job.counts, f"batches/{job.id}"
    over = counts["errored"] + counts["expired"] + counts["cancelled"]
    stats = {
        "requestCount": len(job.requests),
        "successfulRequestCount": counts["answered"],
        "failedRequestCount": over,
        "pendingRequestCount": 0 if job.status in ENDED else len(job.requests) - counts["answered"] - over,
    }
    metadata: dict[str, Any] = {
        "@type": _TYPE,
        "name": name,
        "model": f"models/{job.model}",
        "displayName": job.name,
        "inputConfig": {"fileName": job.more["source"]} if job.more["source"] else {},
        "createTime": _time(job.created),
        "updateTime": _time(job.ended or job.created),
        "batchStats": {key: str(count) for key, count in stats.items() if count},
        "state": _STATES[job.status],
    }
    body: dict[str, Any] = {"name": name, "metadata": metadata}
    if job.status not in ENDED:
        return body
    metadata["endTime"] = _time(job.ended or job.created)
    output: dict[str, Any] = {}
    if "results" in job.more:
        output = {"responsesFile": job.more["results"]}
    elif not job.more["source"]:
        inline = [{"metadata": {"key": outcome.key}, **_result(outcome)} for outcome in _seen(job)]
        output = {"inlinedResponses": {"inlinedResponses": inline}}
    if output:
        metadata["output"] = output
    body["done"] = True
    if job.status in _FAILURES:
        return body | {"error": {"code": _FAILURES[job.status], "message": job.message}}
    return body | {"response": {"@type": f"{_TYPE}Output", **output}}


async def _about_file(request: web.BaseRequest, desk: Desk, path: re.Match[str]) -> web.StreamResponse:
    downloads, id, wants = bool(path[1]), path[2], bool(path[3])
    stored = desk.batches.files.get(id)
    if stored is None or stored.protocol != "gemini":
        why = f"You do not have permission to access the File {id} or it may not exist."
        return respond(_status(403, "PERMISSION_DENIED", why))
    if request.method == "DELETE" and not wants:
        del desk.batches.files[id]
        return respond(Wire(200, {}))
    if request.method == "GET" and not wants:
        return respond(Wire(200, _file_entry(stored)))
    if request.method != "GET" or request.query.get("alt") != "media":
        return respond(_status(404, "NOT_FOUND", f"no such method: {request.method} {request.path}"))
    if not stored.more.get("generated"):
        return respond(_status(400, "INVALID_ARGUMENT", "Only generated files can be downloaded."))
    if not downloads:  # the address that the SDK asks leads on to the one that the docs name
        return respond(Wire(302, {}, {"location": f"/download{request.path}?alt=media"}))
    faults = desk.batches.faults("results")
    if "results_error" in faults:
        return desk.refuse("gemini", "server_error")
    if "results_cut" in faults:
        return await cut(request, stored.data)
    return web.Response(body=stored.data, content_type="application/jsonl")


async def _body(request: web.BaseRequest) -> Any:
    try:
        return json.loads(await request.content.read() or b"{}")
    except ValueError:
        return None


def _status(code: int, status: str, message: str) -> Wire:
    return Wire(code, {"error": {"code": code, "message": message, "status": status}})


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
