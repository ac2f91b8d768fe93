"""Git LFS as the Hub speaks it: the batch API, uploads whole and in parts, and their verification."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import IO, Any

from filterkit.testing.fake_hub.state import repository
from filterkit.testing.fake_hub.storage import CHUNK, Repository
from filterkit.testing.fake_hub.wire import Answer, Call, Refused, Route

GIT = r"/(datasets/)?((?!api/|datasets/)[^/]+/[^/]+?)\.git/info/lfs"
PLACE = r"/_storage/(models|datasets)/([^/]+/[^/]+)/([0-9a-f]{64})/(\d+)"


def batch(call: Call, datasets: str | None, repo_id: str) -> Answer:
    """POST …/objects/batch (git-lfs, docs/api/batch.md): where objects go to, or come from."""
    asked = call.json()
    kind, upload = "datasets" if datasets else "models", asked.get("operation") == "upload"
    repo = repository(call, kind, repo_id, write=upload)
    step = _upload if upload else _download
    objects = [step(call, repo, str(o["oid"]), int(o["size"])) for o in asked.get("objects", [])]
    parts = any("chunk_size" in o.get("actions", {}).get("upload", {}).get("header", {}) for o in objects)
    return Answer({"transfer": "multipart" if parts else "basic", "objects": objects, "hash_algo": "sha256"})


def _upload(call: Call, repo: Repository, oid: str, size: int) -> dict[str, Any]:
    thing: dict[str, Any] = {"oid": oid, "size": size}
    if re.fullmatch("[0-9a-f]{64}", oid) is None:
        return thing | {"error": {"code": 422, "message": "the oid is no SHA-256"}}
    if repo.lfs.get(oid) == size:
        return thing
    datasets = "datasets/" if repo.type == "dataset" else ""
    verify = {"href": f"{call.state.base}/{datasets}{repo.id}.git/info/lfs/objects/verify"}
    place = f"/_storage/{repo.type}s/{repo.id}/{oid}/{size}"
    part = call.state.settings.multipart_bytes
    if size <= part:
        return thing | {"actions": {"upload": {"href": call.state.signed(place)}, "verify": verify}}
    upload = f"{place}/{secrets.token_hex(8)}"
    header = {"chunk_size": str(part)}
    for number in range(1, -(-size // part) + 1):
        header[f"{number:05}"] = call.state.signed(f"{upload}/{number}")
    return thing | {"actions": {"upload": {"href": call.state.signed(upload), "header": header}, "verify": verify}}


def _download(call: Call, repo: Repository, oid: str, size: int) -> dict[str, Any]:
    thing: dict[str, Any] = {"oid": oid, "size": size}
    if repo.lfs.get(oid) != size:
        return thing | {"error": {"code": 404, "message": "Object does not exist"}}
    return thing | {"actions": {"download": {"href": call.state.signed(f"/_content/{oid}/{oid}")}}}


def put(call: Call, kind: str, repo_id: str, oid: str, size: str) -> Answer:
    """PUT of a whole object to the storage, by its signed URL."""
    repo = _signed(call, kind, repo_id)
    _keep(call, repo, oid, int(size), call.body)
    return Answer(b"", headers={"ETag": f'"{oid}"'})


def put_part(call: Call, kind: str, repo_id: str, oid: str, _size: str, upload: str, number: str) -> Answer:
    """PUT of a part."""
    _signed(call, kind, repo_id)
    call.body.seek(0)
    etag, part = hashlib.sha256(), call.state.objects.path(f"part-{upload}-{number}")
    with part.open("wb") as file:
        while chunk := call.body.read(CHUNK):
            etag.update(chunk)
            file.write(chunk)
    return Answer(b"", headers={"ETag": f'"{etag.hexdigest()}"'})


def complete(call: Call, kind: str, repo_id: str, oid: str, size: str, upload: str) -> Answer:
    """POST that ends an upload in parts: they become the object."""
    repo, asked = _signed(call, kind, repo_id), call.json()
    parts = [call.state.objects.path(f"part-{upload}-{p['partNumber']}") for p in asked.get("parts", [])]
    whole = call.state.objects.path(f"whole-{upload}")
    try:
        with whole.open("wb") as file:
            for part, said in zip(parts, asked["parts"], strict=True):
                if not part.exists() or hashlib.sha256(part.read_bytes()).hexdigest() != said["etag"].strip('"'):
                    raise Refused(400, "InvalidPart")
                file.write(part.read_bytes())
        with whole.open("rb") as stored:
            _keep(call, repo, oid, int(size), stored)
    finally:
        whole.unlink()
    for part in parts:
        part.unlink()
    return Answer({"location": f"/_content/{oid}"})


def _signed(call: Call, kind: str, repo_id: str) -> Repository:
    call.state.check_signature(call)
    repo = call.state.repos.get((kind.removesuffix("s"), repo_id))
    if repo is None:
        raise Refused(404, "Not Found")
    return repo


def _keep(call: Call, repo: Repository, oid: str, size: int, body: IO[bytes]) -> None:
    """Store an object, if it is the one that was announced."""
    body.seek(0)
    got, length = call.state.objects.add(body)
    if (got, length) != (oid, size):
        raise Refused(400, "BadDigest: the content's SHA-256 is not the object's oid")
    repo.lfs[oid] = size


def verify(call: Call, datasets: str | None, repo_id: str) -> Answer:
    """POST …/objects/verify: whether an object has arrived."""
    repo = repository(call, "datasets" if datasets else "models", repo_id, write=True)
    asked = call.json()
    if repo.lfs.get(str(asked.get("oid"))) != asked.get("size"):
        raise Refused(404, "Object does not exist")
    return Answer({})


ROUTES: list[Route] = [
    ("POST", GIT + "/objects/batch", batch),
    ("POST", GIT + "/objects/verify", verify),
    ("PUT", PLACE, put),
    ("PUT", PLACE + r"/(\w+)/(\d+)", put_part),
    ("POST", PLACE + r"/(\w+)", complete),
]
