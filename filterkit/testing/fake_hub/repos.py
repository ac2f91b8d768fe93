"""Users, repositories, branches, tags and commits of the Hub's API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import yaml

from filterkit.testing.fake_hub.attributes import default_attributes
from filterkit.testing.fake_hub.state import repository, revision, writer
from filterkit.testing.fake_hub.storage import Commit, Repository, pointer, regular_file
from filterkit.testing.fake_hub.wire import Answer, Call, Refused, Route, date

REPO = r"/api/(models|datasets)/([^/]+/[^/]+)"


def whoami(call: Call) -> Answer:
    """GET /api/whoami-v2."""
    if call.role is None:
        raise Refused(401, "Invalid username or password.")
    user = call.state.settings.user
    token = {"displayName": "fake", "role": call.role}
    auth = {"type": "access_token", "accessToken": token}
    return Answer({"type": "user", "id": "0" * 24, "name": user, "fullname": user, "orgs": [], "auth": auth})


def validate_yaml(call: Call) -> Answer:
    """POST /api/validate-yaml: whether a card's front matter is YAML. (The Hub also knows licences and languages.)"""
    problem = card_problem(str(call.json().get("content", "")))
    if problem is not None:
        return Answer({"errors": [{"message": problem}], "warnings": []}, 400)
    return Answer({"errors": [], "warnings": []})


def card_problem(card: str) -> str | None:
    """What the Hub has against the front matter of a card."""
    if not card.startswith("---\n"):
        return None
    try:
        front = yaml.safe_load(card[4:].split("\n---", 1)[0])
    except yaml.YAMLError as error:
        return f"YAML metadata is invalid: {str(error).splitlines()[0]}"
    return None if front is None or isinstance(front, dict) else "YAML metadata must be a mapping"


def create(call: Call) -> Answer:
    """POST /api/repos/create. Public unless asked otherwise, as on the Hub."""
    writer(call)
    asked = call.json()
    key = _key(call, asked)
    url = f"{call.state.base}/{'datasets/' if key[0] == 'dataset' else ''}{key[1]}"
    if key in call.state.repos:
        body = {"error": f"You already created this {key[0]} repo", "url": url}
        return Answer(body, 409, {"X-Error-Message": body["error"]})
    private = asked.get("visibility") == "private" or asked.get("private") is True
    repo = call.state.repos[key] = Repository(*key, private=private)
    attributes = regular_file(call.state.objects, default_attributes(key[0]))
    repo.commit("main", {".gitattributes": attributes}, "initial commit")
    return Answer({"url": url, "name": key[1], "id": key[1]})


def delete(call: Call) -> Answer:
    """DELETE /api/repos/delete."""
    kind, repo_id = _key(call, call.json())
    repository(call, f"{kind}s", repo_id, write=True)
    del call.state.repos[kind, repo_id]
    return Answer(b"OK")


def _key(call: Call, asked: dict[str, Any]) -> tuple[str, str]:
    user = call.state.settings.user
    kind, owner = asked.get("type") or "model", asked.get("organization") or user
    if kind not in ("model", "dataset"):
        raise Refused(400, f"this fake has no repositories of type {kind}")
    if owner != user:
        raise Refused(403, f"You don't have the rights to create a {kind} under the namespace {owner!r}")
    return kind, f"{owner}/{asked.get('name')}"


def settings(call: Call, kind: str, repo_id: str) -> Answer:
    """PUT …/settings: private or public."""
    repo = repository(call, kind, repo_id, write=True)
    asked = call.json()
    if "visibility" in asked or "private" in asked:
        repo.private = asked.get("visibility") == "private" or asked.get("private") is True
    return Answer({"private": repo.private})


def info(call: Call, kind: str, repo_id: str, name: str = "main") -> Answer:
    """GET …, GET …/revision/NAME: a repository at a revision."""
    repo = repository(call, kind, repo_id)
    commit = revision(call, repo, unquote(name))
    blobs = call.query.get("blobs", "").lower() in ("true", "1")
    body = {
        "_id": "0" * 24,
        "id": repo_id,
        "author": repo_id.split("/")[0],
        "sha": commit.sha,
        "lastModified": date(commit.at),
        "createdAt": date(repo.at),
        "private": repo.private,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "siblings": [_sibling(commit, path, blobs) for path in sorted(commit.files)],
    }
    return Answer(body | ({"modelId": repo_id} if kind == "models" else {}))


def _sibling(commit: Commit, path: str, blobs: bool) -> dict[str, Any]:
    file = commit.files[path]
    if not blobs:
        return {"rfilename": path}
    sizes = {"sha256": file.sha256, "size": file.size, "pointerSize": len(pointer(file.sha256, file.size))}
    return {"rfilename": path, "size": file.size, "blobId": file.oid} | ({"lfs": sizes} if file.lfs else {})


def auth_check(call: Call, kind: str, repo_id: str, write: str | None) -> Answer:
    """GET …/auth-check and …/auth-check/write."""
    repository(call, kind, repo_id, write=write is not None)
    return Answer({})


def refs(call: Call, kind: str, repo_id: str) -> Answer:
    """GET …/refs."""
    repo = repository(call, kind, repo_id)

    def listed(folder: str, names: dict[str, str]) -> list[dict[str, str]]:
        return [{"name": n, "ref": f"refs/{folder}/{n}", "targetCommit": sha} for n, sha in sorted(names.items())]

    branches, tags = listed("heads", repo.branches), listed("tags", repo.tags)
    return Answer({"branches": branches, "converts": [], "tags": tags, "pullRequests": []})


def create_branch(call: Call, kind: str, repo_id: str, name: str) -> Answer:
    """POST …/branch/NAME, from `startingPoint` or main."""
    repo, name = repository(call, kind, repo_id, write=True), unquote(name)
    start = revision(call, repo, call.json().get("startingPoint") or "main")
    return _new_ref(repo.branches, "heads", name, start.sha)


def create_tag(call: Call, kind: str, repo_id: str, at: str) -> Answer:
    """POST …/tag/REVISION."""
    repo = repository(call, kind, repo_id, write=True)
    return _new_ref(repo.tags, "tags", str(call.json().get("tag")), revision(call, repo, unquote(at)).sha)


def _new_ref(names: dict[str, str], folder: str, name: str, sha: str) -> Answer:
    if name in names:
        raise Refused(409, f"Reference refs/{folder}/{name} already exists")
    names[name] = sha
    return Answer(b"OK")


def delete_branch(call: Call, kind: str, repo_id: str, name: str) -> Answer:
    """DELETE …/branch/NAME; not main."""
    if unquote(name) == "main":
        raise Refused(403, "Cannot delete the default branch")
    return _drop_ref(repository(call, kind, repo_id, write=True).branches, unquote(name))


def delete_tag(call: Call, kind: str, repo_id: str, name: str) -> Answer:
    """DELETE …/tag/NAME."""
    return _drop_ref(repository(call, kind, repo_id, write=True).tags, unquote(name))


def _drop_ref(names: dict[str, str], name: str) -> Answer:
    if names.pop(name, None) is None:
        raise Refused(404, f"Reference {name} not found", "RevisionNotFound")
    return Answer(b"OK")


def commits(call: Call, kind: str, repo_id: str, name: str) -> Answer:
    """GET …/commits/REVISION, newest first."""
    repo = repository(call, kind, repo_id)
    user = {"user": call.state.settings.user}
    return page(
        call,
        [
            {"id": c.sha, "title": c.title, "message": c.message, "authors": [user], "date": date(c.at)}
            for c in repo.history(revision(call, repo, unquote(name)))
        ],
    )


def page(call: Call, entries: list[dict[str, Any]]) -> Answer:
    """One page of a list; the next one's address is in the Link header."""
    size, start = call.state.settings.page, int(call.query.get("cursor", "0"))
    headers = {}
    if start + size < len(entries):
        query = {**call.query, "cursor": str(start + size)}
        address = "&".join(f"{quote(k)}={quote(v)}" for k, v in query.items())
        headers["Link"] = f'<{call.state.base}{call.path}?{address}>; rel="next"'
    return Answer(entries[start : start + size], headers=headers)


def no_xet(call: Call, *_: str) -> Answer:
    """GET …/xet-write-token/…: says what to do instead."""
    raise Refused(400, "this fake Hub speaks no Xet: set HF_HUB_DISABLE_XET=1 before huggingface_hub is imported")


ROUTES: list[Route] = [
    ("GET", r"/api/whoami-v2", whoami),
    ("POST", r"/api/validate-yaml", validate_yaml),
    ("POST", r"/api/repos/create", create),
    ("DELETE", r"/api/repos/delete", delete),
    ("PUT", REPO + "/settings", settings),
    ("GET", REPO, info),
    ("GET", REPO + "/revision/([^/]+)", info),
    ("GET", REPO + "/auth-check(/write)?", auth_check),
    ("GET", REPO + "/refs", refs),
    ("POST", REPO + "/branch/([^/]+)", create_branch),
    ("DELETE", REPO + "/branch/([^/]+)", delete_branch),
    ("POST", REPO + "/tag/([^/]+)", create_tag),
    ("DELETE", REPO + "/tag/([^/]+)", delete_tag),
    ("GET", REPO + "/commits/([^/]+)", commits),
    ("GET", REPO + "/xet-(?:read|write)-token/.+", no_xet),
]
