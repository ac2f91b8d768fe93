"""A thin layer over HfApi: one repository, outages waited out, errors as filterkit's."""

from __future__ import annotations

import glob
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    snapshot_download,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash

from filterkit.api import Context, GateRefused, StoppedEarly, sha256_file
from filterkit_hf.client import install
from filterkit_hf.faults import AGAIN, NotThere, Outage, translate
from filterkit_hf.options import hub_address, token_of

T = TypeVar("T")
Content = Path | bytes
"""A file to be uploaded: where it lies, or what it holds."""
_LONGEST_PAUSE_S = 8.0
_PLAIN_PATH = re.compile(r"(?!(?:.*/)?\.\.?(?:/|$))[^/\\\0]+(?:/[^/\\\0]+)*")
"""A path of named parts below a folder, none of them '.' or '..'."""


@dataclass(frozen=True)
class Stored:
    """A file of a revision. oid: the SHA-256 of its bytes where it is large (LFS), else git's SHA-1 of it."""

    oid: str
    large: bool
    size: int

    def is_of(self, content: Content) -> bool:
        """Whether these are the bytes, by what the Hub says that it stores."""
        if self.size != size_of(content):
            return False
        return self.oid == (sha256_of(content) if self.large else git_hash(_bytes(content)))


def size_of(content: Content) -> int:
    """Bytes."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def sha256_of(content: Content) -> str:
    """Hex SHA-256 of the bytes."""
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else sha256_file(content)


def _bytes(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


class Access:
    """The way to the Hub for one configured backend: its token, its patience. Nothing is sent before it is used."""

    def __init__(self, ctx: Context, *, patience_s: float, timeout_s: float) -> None:
        self._ctx = ctx
        self.patience_s = patience_s
        self._timeout_s = timeout_s
        self._api: HfApi | None = None

    @property
    def token(self) -> str:
        """The user's token, from HF_TOKEN."""
        return token_of(self._ctx, "HF_TOKEN")

    @property
    def credentials(self) -> str | Literal[False]:
        """What the library sends: the token; False sends none, not even one that is saved on this machine."""
        return self.token

    @property
    def api(self) -> HfApi:
        """huggingface_hub's own client; the calls through it go in `call`."""
        if self._api is None:
            install(self.patience_s, self._timeout_s)
            self._api = HfApi(endpoint=hub_address(), token=self.credentials, library_name="filterkit-hf")
        return self._api

    def call(self, where: str, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """`function(*args, **options)`, again during an outage as long as patience lasts. Only for what may be done
        twice. Raises filterkit's errors, whatever the library raises."""
        began, pause = time.monotonic(), 0.5
        while True:
            try:
                return function(*args, **options)
            except Exception as error:
                fault = translate(error, where)
                if not isinstance(fault, Outage) or time.monotonic() - began + pause > self.patience_s:
                    raise fault from None  # the library's exceptions hold requests, and those the token
            self.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def wait(self, seconds: float) -> None:
        """Wait, unless the user wants to stop: then StoppedEarly."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._ctx.stop():
                raise StoppedEarly("stopped", fix=AGAIN)
            time.sleep(min(left, 0.2))


class Repo:
    """One repository on the Hub."""

    def __init__(self, access: Access, repo_id: str, kind: Literal["model", "dataset"] = "model") -> None:
        self.access = access
        self.repo_id = repo_id
        self.kind: Literal["model", "dataset"] = kind
        self._which: dict[str, Any] = {"repo_id": repo_id, "repo_type": kind}

    @property
    def url(self) -> str:
        """Its address, for people."""
        prefix = "datasets/" if self.kind == "dataset" else ""
        return f"{hub_address()}/{prefix}{self.repo_id}"

    def _call(self, name: str, **options: Any) -> Any:
        return self.access.call(self.repo_id, getattr(self.access.api, name), **self._which, **options)

    def private(self) -> bool | None:
        """Whether only its owner may read it; None where there is no such repository."""
        try:
            return bool(self._call("repo_info").private)
        except NotThere:
            return None

    def create(self, *, private: bool) -> None:
        """Make it. Harmless where it is there already; who may read it then stays as it is."""
        self._call("create_repo", private=private, exist_ok=True)

    def branches(self) -> dict[str, str]:
        """Branch -> its commit."""
        return {ref.name: ref.target_commit for ref in self._call("list_repo_refs").branches}

    def tags(self) -> dict[str, str]:
        """Tag -> its commit."""
        return {ref.name: ref.target_commit for ref in self._call("list_repo_refs").tags}

    def head(self, revision: str) -> str | None:
        """The commit of a branch, asked afresh; None where branch or repository is not there."""
        try:
            return str(self._call("repo_info", revision=revision).sha)
        except NotThere:
            return None

    def tree(self, commit: str) -> dict[str, Stored]:
        """Every file of a commit. GateRefused where a path would lead out of the folder it is downloaded to."""

        def listed() -> dict[str, Stored]:
            entries: Iterator[Any] = iter(
                self.access.api.list_repo_tree(**self._which, revision=commit, recursive=True)
            )
            return {e.path: _stored(e) for e in entries if isinstance(e, RepoFile)}

        found = self.access.call(self.repo_id, listed)
        odd = next((path for path in found if not _PLAIN_PATH.fullmatch(path)), None)
        if odd is not None:
            raise GateRefused(f"holds a file with the path {odd!r}", where=self.repo_id)
        return found

    def fetch(self, commit: str, folder: Path, only: list[str] | None = None) -> None:
        """Download the files of a commit into a new `folder`, from the Hub and no cache. `only` are names of `tree`."""
        if only is None:
            self.tree(commit)
        options = {"local_dir": folder, "cache_dir": folder / ".cache" / "hub", "force_download": True}
        api = self.access.api
        self.access.call(
            self.repo_id,
            snapshot_download,
            **self._which,
            **options,
            revision=commit,
            allow_patterns=None if only is None else [glob.escape(name) for name in only],
            endpoint=api.endpoint,
            token=self.access.credentials,
            library_name="filterkit-hf",
        )

    def create_branch(self, name: str, commit: str) -> None:
        """A branch that starts at a commit. Harmless where it is there already."""
        self._call("create_branch", branch=name, revision=commit, exist_ok=True)

    def delete_branch(self, name: str) -> None:
        """Harmless where it is not there."""
        try:
            self._call("delete_branch", branch=name)
        except NotThere:
            return

    def move_tag(self, name: str, commit: str) -> None:
        """Let a tag name this commit, and no other."""
        at = self.tags().get(name)
        if at == commit:
            return
        if at is not None:
            self._call("delete_tag", tag=name)
        self._call("create_tag", tag=name, revision=commit)

    def commit(
        self,
        branch: str,
        parent: str,
        message: str,
        *,
        add: Mapping[str, Content] | None = None,
        copy: Mapping[str, str] | None = None,
        delete: Iterable[str] = (),
    ) -> None:
        """One commit on top of `parent`, all of it or nothing. Changed when the branch is elsewhere meanwhile.

        copy: path -> commit of this repository whose file of that path it is. Not repeated after an outage: whether it
        was done must be looked up first.
        """
        operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
            *(CommitOperationAdd(path, content) for path, content in (add or {}).items()),
            *(CommitOperationCopy(path, path, src_revision=source) for path, source in (copy or {}).items()),
            *(CommitOperationDelete(path, is_folder=False) for path in delete),
        ]
        try:
            self.access.api.create_commit(
                **self._which,
                operations=operations,
                commit_message=message,
                revision=branch,
                parent_commit=parent,
            )
        except Exception as error:
            raise translate(error, self.repo_id) from None

    def settle(self, done: Callable[[], bool], act: Callable[[], None]) -> None:
        """Look whether it is done, else do it, until it is. An outage is waited out, a lost race looked at once.

        For changes of which nobody knows, once the answer is lost, whether they were made.
        """
        began, pause = time.monotonic(), 0.5
        fault: StoppedEarly | None = None
        while not done():
            if fault is not None:
                if not isinstance(fault, Outage) or time.monotonic() - began + pause > self.access.patience_s:
                    raise fault
                self.access.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            try:
                act()
                fault = Outage("does not show what was just committed", where=self.repo_id)
            except StoppedEarly as stopped:
                fault = stopped


def _stored(entry: RepoFile) -> Stored:
    if entry.lfs is not None:
        return Stored(entry.lfs.sha256, True, entry.lfs.size)
    return Stored(entry.blob_id, False, entry.size)
