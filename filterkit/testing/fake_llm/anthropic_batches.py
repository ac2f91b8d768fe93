"""Anthropic's Message Batches API: `/v1/messages/batches`."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from aiohttp import web

from filterkit.testing.fake_llm import anthropic
from filterkit.testing.fake_llm.batches import ENDED, Job, Outcome, TooLarge, result_lines
from filterkit.testing.fake_llm.sending import cut, hang_up, respond
from filterkit.testing.fake_llm.wire import Unreadable, Wire

if TYPE_CHECKING:
    from filterkit.testing.fake_llm.server import Desk

MOST_BYTES = 256_000_000
MOST_REQUESTS = 100_000
_PATH = re.compile(r"^/v1/messages/batches(?:/([^/]+)(?:/(cancel|results))?)?$")
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DAY_S = 86_400.0
_FAILED = {"type": "error", "error": {"type": "api_error", "message": "Internal server error"}}
_COUNTS = {"answered": "succeeded", "errored": "errored", "expired": "expired", "cancelled": "canceled"}


async def handle(request: web.BaseRequest, desk: Desk) -> web.StreamResponse | None:
    """The answer to a request that is about batches, None for any other."""
    match = _PATH.match(request.path)
    if match is None:
        return None
    desk.others += 1
    fault = desk.stranger(request, "anthropic")
    if fault:
        return desk.refuse("anthropic", fault)
    id, more = match.groups()
    asked = (request.method, "id" if id else "", more or "")
    try:
        anthropic.version_of(request.headers)
        if asked == ("POST", "", ""):
            return await _submit(request, desk)
        if asked == ("GET", "", ""):
            return await _list(request, desk)
        if asked in (("GET", "id", ""), ("POST", "id", "cancel")):
            return await _look(request, desk, id, cancel=more == "cancel")
        if asked == ("GET", "id", "results"):
            return await _results(request, desk, id)
    except Unreadable as problem:
        return desk.refuse("anthropic", "bad_request", str(problem))
    return _error(404, "not_found_error", f"Not found: {request.method} {request.path}")


async def _submit(request: web.BaseRequest, desk: Desk) -> web.StreamResponse:
    sent = await request.content.read()
    faults = desk.batches.faults("upload") | desk.batches.faults("submit")
    if faults & {"upload_error", "submit_error"}:
        return desk.refuse("anthropic", "server_error")
    if faults & {"upload_limit", "submit_limit"}:
        return desk.refuse("anthropic", "rate_limit")
    if "upload_cut" in faults:
        return hang_up(request)
    try:
        desk.batches.check_size(len(sent))
    except TooLarge as problem:
        return _error(413, "request_too_large", str(problem))
    if len(sent) > MOST_BYTES:
        return _error(413, "request_too_large", "Request exceeds the maximum size")
    requests = _requests(sent)
    job = desk.batches.submit(
        "anthropic",
        requests,
        id=f"msgbatch_{uuid4().hex[:24]}",
        model=str(requests[0][1].get("model", "")),
        name=requests[0][0].partition("_")[0],
    )
    return hang_up(request) if "submit_lost" in faults else respond(Wire(200, _batch_object(job, request)))


def _requests(sent: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Raises Unreadable for what is a 400 at once; what stands in `params` is looked at later."""
    try:
        body = json.loads(sent)
    except ValueError:
        raise Unreadable("The request body is not valid JSON") from None
    asked = body.get("requests") if isinstance(body, dict) else None
    if not isinstance(asked, list):
        raise Unreadable("requests: Field required")
    extra = [name for name in body if name != "requests"]
    if extra:
        raise Unreadable(f"{extra[0]}: Extra inputs are not permitted")
    if not asked:
        raise Unreadable("requests: List should have at least 1 item after validation, not 0")
    if len(asked) > MOST_REQUESTS:
        raise Unreadable(f"requests: List should have at most {MOST_REQUESTS} items after validation, not {len(asked)}")
    found = [_request(number, item) for number, item in enumerate(asked)]
    if len({key for key, _ in found}) < len(found):
        raise Unreadable("requests: Each custom_id must be unique within a batch")
    return found


def _request(number: int, item: Any) -> tuple[str, dict[str, Any]]:
    where = f"requests.{number}"
    if not isinstance(item, dict) or not {"custom_id", "params"} <= set(item):
        raise Unreadable(f"{where}: custom_id and params: Field required")
    for name in item:
        if name not in ("custom_id", "params"):
            raise Unreadable(f"{where}.{name}: Extra inputs are not permitted")
    key, params = item["custom_id"], item["params"]
    if not isinstance(key, str) or not _CUSTOM_ID.fullmatch(key):
        raise Unreadable(f"{where}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
    if not isinstance(params, dict):
        raise Unreadable(f"{where}.params: Input should be a valid dictionary")
    if params.get("stream"):
        raise Unreadable(f"{where}.params.stream: streaming is not supported in a batch")
    return key, params


async def _list(request: web.BaseRequest, desk: Desk) -> web.StreamResponse:
    asked = request.query.get("limit", "20")
    if not asked.isdigit() or not 1 <= int(asked) <= 1000:
        raise Unreadable("limit: Input should be from 1 to 1000")
    jobs, limit = await desk.batches.newest_first("anthropic"), int(asked)
    ids = [job.id for job in jobs]
    after, before = request.query.get("after_id"), request.query.get("before_id")
    for name, cursor in (("after_id", after), ("before_id", before)):
        if cursor is not None and cursor not in ids:
            raise Unreadable(f"{name}: no such batch")
    left = jobs[ids.index(after) + 1 :] if after is not None else jobs
    page, more = left[:limit], len(left) > limit
    if before is not None:
        left = jobs[: ids.index(before)]
        page, more = left[-limit:], len(left) > limit
    data = [_batch_object(job, request) for job in page]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return respond(Wire(200, {"data": data, "has_more": more, **ends}))


async def _look(request: web.BaseRequest, desk: Desk, id: str, *, cancel: bool) -> web.StreamResponse:
    job = await desk.batches.look("anthropic", id)
    if job is None:
        return _error(404, "not_found_error", f"Message Batch {id} not found")
    if "poll_error" in desk.batches.faults("poll"):
        return desk.refuse("anthropic", "server_error")
    if cancel and job.status in ENDED:
        raise Unreadable(f"Batch {id} cannot be canceled because it has already ended")
    if cancel:
        await desk.batches.cancel(job)
    return respond(Wire(200, _batch_object(job, request)))


async def _results(request: web.BaseRequest, desk: Desk, id: str) -> web.StreamResponse:
    job = await desk.batches.look("anthropic", id)
    if job is None:
        return _error(404, "not_found_error", f"Message Batch {id} not found")
    if job.status not in ENDED:
        return _error(404, "not_found_error", f"Message Batch {id} has no available results: it is in progress")
    faults = desk.batches.faults("results")
    if "results_error" in faults:
        return desk.refuse("anthropic", "server_error")
    outcomes = job.results()
    if job.status == "failed":
        outcomes = [Outcome(key, "errored", 500, _FAILED) for key, _ in job.requests]
    data = b"".join(result_lines(job, outcomes, _line))
    if "results_cut" in faults:
        return await cut(request, data)
    return web.Response(body=data, content_type="application/x-jsonl")


def _line(outcome: Outcome) -> dict[str, Any]:
    result: dict[str, Any] = {"type": _COUNTS[outcome.kind]}
    if outcome.kind == "answered":
        result["message"] = outcome.body
    elif outcome.kind == "errored":
        result["error"] = outcome.body if isinstance(outcome.body, dict) else _FAILED
    return {"custom_id": outcome.key, "result": result}


def _batch_object(job: Job, request: web.BaseRequest) -> dict[str, Any]:
    over = job.status in ENDED
    counts = {name: job.counts[kind] if over else 0 for kind, name in _COUNTS.items()}
    missing = len(job.requests) - sum(counts.values())
    counts |= {"processing": 0, "errored": counts["errored"] + missing} if over else {"processing": missing}
    return {
        "id": job.id,
        "type": "message_batch",
        "processing_status": "ended" if over else "canceling" if job.status == "cancelling" else "in_progress",
        "request_counts": counts,
        "created_at": _time(job.created),
        "expires_at": _time(job.created + _DAY_S),
        "ended_at": None if job.ended is None else _time(job.ended),
        "cancel_initiated_at": None if job.cancelled is None else _time(job.cancelled),
        "archived_at": None,
        "results_url": f"{request.url.origin()}/v1/messages/batches/{job.id}/results" if over else None,
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _error(status: int, kind: str, message: str) -> web.Response:
    return respond(Wire(status, {"type": "error", "error": {"type": kind, "message": message}}))
