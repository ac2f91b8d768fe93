"""Inference Endpoints: their API under /v2, and their inference."""

from __future__ import annotations

import asyncio
import json
import re
import time
from copy import deepcopy
from typing import Any
from urllib.parse import quote

import aiohttp

from filterkit.testing.fake_hub.running import Container
from filterkit.testing.fake_hub.state import State, repository, revision, writer
from filterkit.testing.fake_hub.wire import Answer, Call, Refused, Route, date

ENDPOINTS = r"/v2/endpoint/([^/]+)"
START_S = 120.0
_STARTING = ("pending", "initializing", "updating")
_HIDDEN = "********"
# (accelerator, instance type, size, architecture, accelerators, CPUs, GB, GB of the GPU, the fake's own USD per hour)
_HARDWARE = [
    ("cpu", "intel-spr", "x1", "Intel Sapphire Rapids", 1, 1, 2, None, 0.033),
    ("cpu", "intel-spr", "x2", "Intel Sapphire Rapids", 2, 2, 4, None, 0.067),
    ("cpu", "intel-spr", "x4", "Intel Sapphire Rapids", 4, 4, 8, None, 0.134),
    ("gpu", "nvidia-t4", "x1", "Nvidia Tesla T4", 1, 3, 14, 16, 0.5),
    ("gpu", "nvidia-l4", "x1", "Nvidia L4", 1, 7, 30, 24, 0.8),
]
_PLACES = [("aws", "us-east-1"), ("aws", "eu-west-1")]


class Endpoint:
    """An Inference Endpoint. It is `running` when it was asked for `polls` times and its container serves."""

    def __init__(self, state: State, asked: dict[str, Any]) -> None:
        self._state, self.asked = state, asked
        self.state, self.message = "pending", ""
        self.created = self.updated = time.time()
        self._polls = self._cold = 0
        self._serving: Container | None = None
        self._next: Container | None = None

    @property
    def url(self) -> str:
        """Where it answers, whatever its state."""
        return f"{self._state.base}/_endpoint/{quote(self.asked['name'])}"

    def raw(self) -> dict[str, Any]:
        """As the API shows it: without its secrets."""
        shown = deepcopy(self.asked)
        if "secrets" in shown["model"]:
            shown["model"]["secrets"] = dict.fromkeys(shown["model"]["secrets"], _HIDDEN)
        user = {"id": "0" * 24, "name": self._state.settings.user}
        replicas = int(self._serving is not None)
        status = {"state": self.state, "message": self.message, "readyReplica": replicas, "targetReplica": 1}
        status |= {"createdAt": date(self.created), "updatedAt": date(self.updated)}
        status |= {"createdBy": user, "updatedBy": user, "private": None}
        if self._serving is not None or self.state == "scaledToZero":
            status["url"] = self.url
        return shown | {"status": status, "healthRoute": "/health"}

    def start(self, state: str) -> None:
        """Start a container of the revision that is asked for; the one that serves goes on meanwhile."""
        model = self.asked["model"]
        found = self._state.repos["model", model["repository"]].find(model["revision"])
        self.drop_next()
        self._next = Container(self._state, found, {**model.get("env", {}), **model.get("secrets", {})})
        self.state, self.message, self._polls, self.updated = state, "", 0, time.time()

    def poll(self) -> None:
        """One look at it from outside."""
        self._polls += 1
        if self.state not in _STARTING or self._next is None:
            return
        if self._next.failed:
            self.state, self.message = "updateFailed" if self.state == "updating" else "failed", self._next.log
        elif self._next.ready and self._polls >= self._state.settings.polls:
            self._serve_next()
        elif self.state == "pending":
            self.state = "initializing"

    def _serve_next(self) -> None:
        if self._serving is not None:
            self._serving.stop()
        self._serving, self._next, self.state = self._next, None, "running"

    def stop(self, state: str) -> None:
        """Nothing of it runs any more."""
        self.drop_next()
        if self._serving is not None:
            self._serving.stop()
        self._serving, self._cold, self.state, self.updated = None, 0, state, time.time()

    def drop_next(self) -> None:
        """End the container that was being started."""
        if self._next is not None:
            self._next.stop()
        self._next = None

    async def container(self) -> Container:
        """The one that takes a request. Raises Refused. The first ones of a cold start it refuses."""
        if self.state == "paused":
            raise Refused(400, "Bad Request: Endpoint is paused, ask a maintainer to restart it")
        if self.state == "scaledToZero":
            await self._wake()
        if self._serving is None or self._serving.failed:
            raise Refused(503, "Service Unavailable")
        return self._serving

    async def _wake(self) -> None:
        self._cold += 1
        if self._next is None:
            self.start("scaledToZero")
        if self._cold <= self._state.settings.cold_requests:
            raise Refused(503, "Service Unavailable")
        for _ in range(int(START_S / 0.05)):
            if self._next is None or self._next.failed:
                break
            if self._next.ready:
                self._serve_next()
                break
            await asyncio.sleep(0.05)


def hardware(call: Call, _namespace: str) -> Answer:
    """GET /v2/provider/NAMESPACE: hardware and prices, which are this fake's own."""
    _reader(call)
    vendors: dict[str, dict[str, Any]] = {}
    for vendor, region in _PLACES:
        computes = [_compute(f"{vendor}-{region}", *line) for line in _HARDWARE]
        entry = vendors.setdefault(vendor, {"name": vendor, "status": "available", "regions": []})
        entry["regions"].append({"name": region, "label": region, "status": "available", "computes": computes})
    return Answer({"vendors": list(vendors.values())})


def _compute(place: str, *line: Any) -> dict[str, Any]:
    names = (
        "accelerator instanceType instanceSize architecture numAccelerators numCpus memoryGb gpuMemoryGb pricePerHour"
    )
    compute = dict(zip(names.split(), line, strict=True))
    quota = {"maxAccelerators": 8, "usedAccelerators": 0}
    return compute | {"id": f"{place}-{line[1]}-{line[2]}", "status": "available", "quota": quota}


def create(call: Call, namespace: str) -> Answer:
    """POST /v2/endpoint/NAMESPACE."""
    writer(call)
    asked = call.json()
    name = str(asked.get("name"))
    if namespace != call.state.settings.user:
        raise Refused(403, f"You may not create endpoints in {namespace}")
    if re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", name) is None:
        raise Refused(400, f"Invalid endpoint name {name!r}: at most 32 of a-z, 0-9 and -")
    if name in call.state.endpoints:
        raise Refused(409, f"Endpoint {name} already exists")
    _check(call, asked)
    endpoint = Endpoint(call.state, asked)
    endpoint.start("pending")
    call.state.endpoints[name] = endpoint
    return Answer(endpoint.raw(), 202)


def update(call: Call, namespace: str, name: str) -> Answer:
    """PUT /v2/endpoint/NAMESPACE/NAME: only what changes is sent. The old one serves until the new one does."""
    endpoint = _endpoint(call, namespace, name, write=True)
    changed = _merged(endpoint.asked, call.json())
    _check(call, changed)
    endpoint.asked = changed
    if endpoint.state != "paused":
        endpoint.start("updating" if endpoint.state in ("running", "updating", "updateFailed") else "pending")
    return Answer(endpoint.raw())


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _merged(old.get(key), value) for key, value in new.items()}
    return new


def _check(call: Call, asked: dict[str, Any]) -> None:
    """Raises Refused for what cannot run here; pins the revision."""
    try:
        place, compute, model = asked["provider"], asked["compute"], asked["model"]
        found = (place["vendor"], place["region"]) in _PLACES and any(
            (compute["accelerator"], compute["instanceType"], compute["instanceSize"]) == line[:3] for line in _HARDWARE
        )
        repo = repository(call, "models", model["repository"])
        revision_asked, image = model.get("revision") or "main", model["image"]
    except (KeyError, TypeError) as missing:
        raise Refused(400, f"Bad Request: missing {missing}") from None
    if not found:
        raise Refused(400, "Bad Request: no such hardware")
    if asked.get("type") not in ("authenticated", "public"):
        raise Refused(400, "Bad Request: this fake serves the types authenticated and public")
    if set(image) != {"huggingface"}:
        raise Refused(400, "Bad Request: this fake runs no image but huggingface")
    model["revision"] = revision(call, repo, revision_asked).sha
    model.setdefault("task", None)


def get(call: Call, namespace: str, name: str) -> Answer:
    """GET /v2/endpoint/NAMESPACE/NAME: each one is a poll."""
    endpoint = _endpoint(call, namespace, name)
    endpoint.poll()
    return Answer(endpoint.raw())


def listed(call: Call, _namespace: str) -> Answer:
    """GET /v2/endpoint/NAMESPACE."""
    _reader(call)
    return Answer({"items": [endpoint.raw() for endpoint in call.state.endpoints.values()]})


def act(call: Call, namespace: str, name: str, action: str) -> Answer:
    """POST …/pause, …/resume, …/scale-to-zero."""
    endpoint = _endpoint(call, namespace, name, write=True)
    if action == "pause":
        endpoint.stop("paused")
    elif action == "scale-to-zero":
        endpoint.stop("scaledToZero")
    elif endpoint.state == "running":
        raise Refused(400, "Bad Request: Endpoint is already running")
    else:
        endpoint.start("pending")
    return Answer(endpoint.raw())


def delete(call: Call, namespace: str, name: str) -> Answer:
    """DELETE /v2/endpoint/NAMESPACE/NAME."""
    _endpoint(call, namespace, name, write=True).stop("deleted")
    del call.state.endpoints[name]
    return Answer(b"", 202)


async def infer(call: Call, name: str, path: str) -> Answer:
    """Any request to an endpoint's own address goes to its container."""
    endpoint = call.state.endpoints.get(name)
    if endpoint is None:
        raise Refused(404, "Not Found")
    if endpoint.asked["type"] != "public" and call.role is None:
        raise Refused(401, "Unauthorized")
    container = await endpoint.container()
    headers = {"Content-Type": call.headers.get("Content-Type", "application/json")}
    async with aiohttp.ClientSession() as session:
        address, body = container.url + (path or "/"), call.text()
        async with session.request(call.method, address, data=body, headers=headers) as reply:
            kind = {"Content-Type": reply.headers["Content-Type"]}
            return Answer(await reply.read(), reply.status, kind)


def _reader(call: Call) -> None:
    if call.role is None:
        raise Refused(401, "Unauthorized")


def _endpoint(call: Call, namespace: str, name: str, *, write: bool = False) -> Endpoint:
    _reader(call)
    if write:
        writer(call)
    endpoint = call.state.endpoints.get(name)
    if endpoint is None or namespace != call.state.settings.user:
        raise Refused(404, f"Endpoint {name} not found")
    return endpoint


def shown(state: State) -> dict[str, dict[str, Any]]:
    """All endpoints, as copies."""
    found: dict[str, dict[str, Any]] = json.loads(json.dumps({n: e.raw() for n, e in state.endpoints.items()}))
    return found


ROUTES: list[Route] = [
    ("GET", r"/v2/provider/([^/]+)", hardware),
    ("POST", ENDPOINTS, create),
    ("GET", ENDPOINTS, listed),
    ("GET", ENDPOINTS + "/([^/]+)", get),
    ("PUT", ENDPOINTS + "/([^/]+)", update),
    ("DELETE", ENDPOINTS + "/([^/]+)", delete),
    ("POST", ENDPOINTS + "/([^/]+)/(pause|resume|scale-to-zero)", act),
    ("GET", r"/_endpoint/([^/]+)(/.*)?", infer),
    ("POST", r"/_endpoint/([^/]+)(/.*)?", infer),
]
