"""Files of the Hub's API: how to upload them, commits, listings, downloads."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote

from filterkit.testing.fake_hub.attributes import LARGE_BYTES, default_attributes, to_lfs
from filterkit.testing.fake_hub.repos import REPO, card_problem, page
from filterkit.testing.fake_hub.state import repository, revision
from filterkit.testing.fake_hub.storage import Commit, File, Repository, lfs_file, pointer, regular_file
from filterkit.testing.fake_hub.wire import Answer, Call, Refused, Route

RESOLVE = r"/(datasets/)?((?!api/|datasets/)[^/]+/[^/]+)/resolve/([^/]+)/(.+)"
RACE = "A commit has happened since. Please refresh and try again."
NO_OBJECT = "Your push was rejected because an LFS pointer pointed to a file that does not exist."


def preupload(call: Call, kind: str, repo_id: str, name: str) -> Answer:
    """POST …/preupload/BRANCH: LFS or regular, and what the branch holds now. The branch must exist."""
    repo = repository(call, kind, repo_id, write=True)
    files = revision(call, repo, unquote(name)).files
    attributes = default_attributes(repo.type).decode()
    if ".gitattributes" in files:
        attributes = call.state.objects.path(files[".gitattributes"].stored).read_text("utf-8", "replace")
    answers = []
    for asked in call.json().get("files", []):
        path, old = asked["path"], files.get(asked["path"])
        lfs = to_lfs(path, asked["size"], attributes)
        oid = {} if old is None else {"oid": old.sha256 if old.lfs else old.oid}
        answers.append({"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False} | oid)
    return Answer({"files": answers, "commitOid": revision(call, repo, unquote(name)).sha})


def commit(call: Call, kind: str, repo_id: str, name: str) -> Answer:
    """POST …/commit/BRANCH, in NDJSON: all of it or nothing. One that changes nothing makes a commit as well."""
    repo, branch = repository(call, kind, repo_id, write=True), unquote(name)
    if branch not in repo.branches:
        raise Refused(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    if "create_pr" in call.query:
        raise Refused(400, "this fake Hub has no pull requests")
    header: dict[str, Any] = {}
    files = dict(repo.find(branch).files)
    for key, value in _lines(call):
        if key == "header":
            header = value
        else:
            _apply(call, repo, files, key, value)
    if not header.get("summary"):
        raise Refused(400, "a commit needs a header with a summary")
    if header.get("parentCommit") not in (None, repo.branches[branch]):
        raise Refused(412, RACE)
    made = repo.commit(branch, files, header["summary"], header.get("description") or "")
    url = f"{call.state.base}/{'datasets/' if kind == 'datasets' else ''}{repo_id}/commit/{made.sha}"
    return Answer({"success": True, "commitOid": made.sha, "commitUrl": url, "hookOutput": ""})


def _lines(call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
    call.body.seek(0)
    for line in call.body:
        try:
            item = json.loads(line)
            yield item["key"], item["value"]
        except (ValueError, KeyError, TypeError):
            raise Refused(400, "Invalid NDJSON in the request's body") from None


def _apply(call: Call, repo: Repository, files: dict[str, File], key: str, value: dict[str, Any]) -> None:
    path = str(value.get("path", "")).rstrip("/")
    if not path or any(part in ("", ".", "..", ".git") for part in path.split("/")):
        raise Refused(400, f"Invalid path: {path!r}")
    if key == "file":
        files[path] = _regular(call, path, base64.b64decode(value["content"]))
    elif key == "lfsFile":
        size = repo.lfs.get(value["oid"])
        if size is None or value.get("size", size) != size:
            raise Refused(400, NO_OBJECT)
        files[path] = lfs_file(value["oid"], size)
    elif key == "deletedFile":
        if files.pop(path, None) is None:
            raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
    elif key == "deletedFolder":
        inside = [p for p in files if p.startswith(f"{path}/")]
        if not inside:
            raise Refused(404, "A folder with this name doesn't exist", "EntryNotFound")
        for p in inside:
            del files[p]
    else:
        raise Refused(400, f"Invalid key: {key}")


def _regular(call: Call, path: str, content: bytes) -> File:
    if len(content) > LARGE_BYTES:
        raise Refused(400, f"Your push was rejected because {path} is larger than 10 MB: use LFS")
    if path == "README.md":
        problem = card_problem(content.decode("utf-8", "replace"))
        if problem is not None:
            raise Refused(400, f"Invalid metadata in README.md: {problem}")
    return regular_file(call.state.objects, content)


def tree(call: Call, kind: str, repo_id: str, name: str, folder: str | None = None) -> Answer:
    """GET …/tree/REVISION[/FOLDER]: files and folders, in pages."""
    found = revision(call, repository(call, kind, repo_id), unquote(name))
    inside = f"{unquote(folder)}/" if folder else ""
    paths = [p for p in _paths(found) if p.startswith(inside) and p != inside]
    if inside and not paths:
        raise Refused(404, f"{unquote(folder or '')} does not exist on {unquote(name)}", "EntryNotFound")
    if call.query.get("recursive", "").lower() not in ("true", "1"):
        paths = [p for p in paths if "/" not in p.removeprefix(inside).rstrip("/")]
    return page(call, [_entry(found, p) for p in paths])


def paths_info(call: Call, kind: str, repo_id: str, name: str) -> Answer:
    """POST …/paths-info/REVISION: those of the paths that exist."""
    found = revision(call, repository(call, kind, repo_id), unquote(name))
    known = set(_paths(found))
    asked = parse_qs(call.text().decode()).get("paths", [])
    exact = [p if p in known else p.rstrip("/") + "/" for p in asked]
    return Answer([_entry(found, p) for p in exact if p in known])


def _paths(found: Commit) -> list[str]:
    """All files, and all folders with a "/" at their ends."""
    folders = {path[: m.end()] for path in found.files for m in re.finditer("/", path)}
    return sorted({*found.files, *folders})


def _entry(found: Commit, path: str) -> dict[str, Any]:
    if path.endswith("/"):
        below = [(p, f.oid) for p, f in sorted(found.files.items()) if p.startswith(path)]
        oid = hashlib.sha1(json.dumps(below).encode()).hexdigest()
        return {"type": "directory", "oid": oid, "size": 0, "path": path.rstrip("/")}
    file = found.files[path]
    entry = {"type": "file", "oid": file.oid, "size": file.size, "path": path}
    size = len(pointer(file.sha256, file.size))
    return entry | ({"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": size}} if file.lfs else {})


def resolve(call: Call, datasets: str | None, repo_id: str, name: str, path: str) -> Answer:
    """HEAD, GET /REPO/resolve/REVISION/PATH. LFS files are elsewhere: a redirect says where."""
    repo = repository(call, "datasets" if datasets else "models", repo_id)
    found = revision(call, repo, unquote(name))
    path, at = unquote(path), {"X-Repo-Commit": found.sha}
    file = found.files.get(path)
    if file is None:
        raise Refused(404, "Entry not found", "EntryNotFound", at)
    if not file.lfs:
        return _download(call, file, at | {"ETag": f'"{file.oid}"'})
    linked = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
    place = call.state.signed(f"/_content/{file.stored}/{path}")
    return Answer(f"Found. Redirecting to {place}".encode(), 302, at | linked | {"Location": place})


def content(call: Call, stored: str, _path: str) -> Answer:
    """GET of the Hub's content network, by a signed URL."""
    call.state.check_signature(call)
    file = call.state.objects.path(stored)
    if not file.exists():
        raise Refused(404, "Not Found")
    return _download(call, File(stored, stored, file.stat().st_size, stored, lfs=True), {"ETag": f'"{stored}"'})


def _download(call: Call, file: File, headers: dict[str, str]) -> Answer:
    """A file's bytes, or those that a Range header asks for."""
    headers |= {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    stored = call.state.objects.path(file.stored)
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("Range", ""))
    if wanted is None:
        return Answer(headers=headers, file=stored)
    first, last = int(wanted[1]), min(int(wanted[2] or file.size), file.size - 1)
    if first > last:
        raise Refused(416, "Requested Range Not Satisfiable", headers={"Content-Range": f"bytes */{file.size}"})
    headers |= {"Content-Range": f"bytes {first}-{last}/{file.size}"}
    return Answer(status=206, headers=headers, file=stored, span=(first, last + 1 - first))


ROUTES: list[Route] = [
    ("POST", REPO + "/preupload/([^/]+)", preupload),
    ("POST", REPO + "/commit/([^/]+)", commit),
    ("GET", REPO + "/tree/([^/]+)(?:/(.+))?", tree),
    ("POST", REPO + "/paths-info/([^/]+)", paths_info),
    ("GET", RESOLVE, resolve),
    ("GET", r"/_content/([\w-]+)/(.+)", content),
]
