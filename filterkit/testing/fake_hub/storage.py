"""What the fake stores: repositories with commits, and the bytes of all files in a folder, named by SHA-256."""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

CHUNK = 1 << 20


@dataclass(frozen=True)
class File:
    """A file of a commit. stored: the name of its bytes in Objects. size in bytes; sha256, oid: hex, oid being git's
    of the blob (in LFS: of the pointer)."""

    stored: str
    sha256: str
    size: int
    oid: str
    lfs: bool


@dataclass(frozen=True)
class Commit:
    """A commit. sha: 40 hex digits, not git's own. files: by path. at: seconds since 1970."""

    sha: str
    parent: str | None
    title: str
    message: str
    at: float
    files: Mapping[str, File] = field(repr=False)


class Objects:
    """Bytes on disk: of files, and of uploads that no commit names yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, stored: str) -> Path:
        """Where bytes lie."""
        return self.folder / stored

    def add(self, content: IO[bytes]) -> tuple[str, int]:
        """Store bytes; their SHA-256 and number."""
        draft = self.path(f"draft-{secrets.token_hex(8)}")
        digest, size = hashlib.sha256(), 0
        with draft.open("wb") as file:
            while chunk := content.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
        draft.rename(self.path(digest.hexdigest()))
        return digest.hexdigest(), size

    def tampered(self, content: bytes) -> str:
        """Store bytes that pass themselves off as others."""
        name = f"tampered-{secrets.token_hex(8)}"
        self.path(name).write_bytes(content)
        return name

    def contains(self, text: bytes) -> Iterator[str]:
        """The names of all stored bytes that hold a text."""
        for path in sorted(self.folder.iterdir()):
            tail = b""
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    if text in tail + chunk:
                        yield path.name
                        break
                    tail = (tail + chunk)[-len(text) :]


def regular_file(objects: Objects, content: bytes) -> File:
    """A file that lies in git itself."""
    digest = hashlib.sha256(content).hexdigest()
    objects.path(digest).write_bytes(content)
    return File(digest, digest, len(content), _blob_oid(content), lfs=False)


def lfs_file(sha256: str, size: int) -> File:
    """A file that lies in LFS; in git there is a pointer."""
    return File(sha256, sha256, size, _blob_oid(pointer(sha256, size)), lfs=True)


def pointer(sha256: str, size: int) -> bytes:
    """The text of an LFS pointer (git-lfs, docs/spec.md)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def _blob_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Repository:
    """A repository. type: "model" or "dataset". lfs: the objects that were uploaded for it, {sha256: size}."""

    _numbers = itertools.count()

    def __init__(self, repo_type: str, repo_id: str, private: bool) -> None:
        self.type, self.id, self.private = repo_type, repo_id, private
        self.at = time.time()
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.lfs: dict[str, int] = {}

    def find(self, revision: str, *, stale: bool = False) -> Commit:
        """The commit of a branch, tag or sha; for names with stale=True its parent. Raises KeyError."""
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        sha = self.branches.get(name) or self.tags.get(name)
        if sha is None:
            return self.commits[revision]
        commit = self.commits[sha]
        return self.commits[commit.parent] if stale and commit.parent else commit

    def commit(self, branch: str, files: Mapping[str, File], title: str, message: str = "") -> Commit:
        """A new commit at the end of a branch, which may be new."""
        parent, at = self.branches.get(branch), time.time()
        tree = sorted((path, file.oid) for path, file in files.items())
        text = json.dumps([self.type, self.id, parent, tree, title, message, at, next(self._numbers)])
        commit = Commit(hashlib.sha1(text.encode()).hexdigest(), parent, title, message, at, dict(files))
        self.commits[commit.sha] = commit
        self.branches[branch] = commit.sha
        return commit

    def history(self, commit: Commit) -> Iterator[Commit]:
        """A commit and all before it, newest first."""
        yield commit
        while commit.parent is not None:
            commit = self.commits[commit.parent]
            yield commit

    def swap(self, commit: Commit, path: str, file: File) -> None:
        """Another file in a commit that keeps its sha: what only a Hub gone wrong does."""
        self.commits[commit.sha] = Commit(
            commit.sha, commit.parent, commit.title, commit.message, commit.at, {**commit.files, path: file}
        )
