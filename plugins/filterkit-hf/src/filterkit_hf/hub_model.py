"""Model `huggingface-hub`: a student on the Hub, fetched and run here."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from filterkit.api import (
    ArtifactError,
    ConfigError,
    Model,
    Options,
    Prediction,
    Scorer,
    load_manifest,
    load_scorer,
    sha256_file,
)
from filterkit_hf.hub import Access, Repo
from filterkit_hf.options import RepoId, token_if_set

_ADDRESS = re.compile(r"hf://(?P<repo>[^@/]+/[^@/]+?)/?(?:@(?P<revision>[^@\\?#]+))?")


class HubModelOptions(Options):
    """How long the Hub is waited for."""

    patience_s: float = Field(30.0, ge=0, le=3600, description="seconds of outage that are waited out")
    timeout_s: float = Field(60.0, gt=0, le=3600, description="seconds without a byte after which a connection is dead")


class _Address(Options):
    """hf://owner/name@revision, in its parts."""

    repo: RepoId
    revision: str


class Reader(Access):
    """The way to the Hub for who only reads: what is public needs no token."""

    @property
    def credentials(self) -> str | Literal[False]:
        return token_if_set(self._ctx, "HF_TOKEN") or False


class HubScorer(Scorer):
    """The scorer of what was fetched into `folder`, which goes when it is closed."""

    def __init__(self, scorer: Scorer, folder: tempfile.TemporaryDirectory[str]) -> None:
        self._scorer = scorer
        self._folder = folder
        self.max_batch = scorer.max_batch
        self.share_key = scorer.share_key

    def encode(self, texts: Sequence[str]) -> Any:
        return self._scorer.encode(texts)

    def predict(self, encoded: Any) -> Prediction:
        return self._scorer.predict(encoded)

    def close(self) -> None:
        self._scorer.close()
        self._folder.cleanup()


class HubModel(Model[HubModelOptions]):
    """Reads hf://owner/name, or hf://owner/name@REVISION (a branch, a tag, a commit); without one, main.

    The revision is asked afresh each time, and its files are fetched from the Hub and from no cache.
    """

    Options: ClassVar[type[Options]] = HubModelOptions
    remote: ClassVar[bool] = True

    def load(
        self,
        ref: str,
        *,
        device: str = "auto",
        threads: int | None = None,
        shared: MutableMapping[str, Any] | None = None,
    ) -> HubScorer:
        """The scorer of the student at `ref`, after its hashes were checked.

        Raises ConfigError and InputError (address, token, no such revision), StoppedEarly (outage), ArtifactError (no
        student, damaged, for another filter).
        """
        folder = _fetched(*self._revision(ref))
        try:
            manifest = load_manifest(Path(folder.name), verify=False)
            if manifest.target_hash != self.spec.target_hash:
                raise ArtifactError("is a student for another filter, or for other dimensions of it", where=ref)
            return HubScorer(load_scorer(Path(folder.name), device=device, threads=threads), folder)
        except ArtifactError as error:
            folder.cleanup()
            raise ArtifactError(error.what, where=ref, fix="Deploy it again") from None
        except BaseException:
            folder.cleanup()
            raise

    def hashes(self, ref: str) -> dict[str, str]:
        """Path -> hex SHA-256 of every file of the revision, from the bytes that the Hub sends. ArtifactError where
        these are not the bytes that it says it stores."""
        repo, commit = self._revision(ref)
        with _fetched(repo, commit) as name:
            tree = repo.tree(commit)
            for path, stored in sorted(tree.items()):
                if not stored.is_of(Path(name) / path):
                    raise ArtifactError(f"{path} is not the file that the Hub says it is", where=ref)
            return {path: sha256_file(Path(name) / path) for path in sorted(tree)}

    def stored(self, ref: str, name: str) -> bytes | None:
        """One file of the revision, as the Hub sends it."""
        with _fetched(*self._revision(ref), [name]) as folder:
            path = Path(folder) / name
            return path.read_bytes() if path.is_file() else None

    def student_hash(self, ref: str) -> str | None:
        """That of the manifest there; None where there is none that can be read."""
        data = self.stored(ref, "filterkit.json")
        try:
            said = json.loads(data or b"").get("student_hash")
        except (ValueError, AttributeError, RecursionError):
            return None
        return said if isinstance(said, str) else None

    def _revision(self, ref: str) -> tuple[Repo, str]:
        """The repository, and the commit that the revision is now."""
        address = _parse(ref)
        access = Reader(self.ctx, patience_s=self.options.patience_s, timeout_s=self.options.timeout_s)
        repo = Repo(access, address.repo)
        commit = repo.head(address.revision)
        if commit is None:
            raise ConfigError("is not there, or HF_TOKEN may not see it", where=ref)
        return repo, commit


def _fetched(repo: Repo, commit: str, only: list[str] | None = None) -> tempfile.TemporaryDirectory[str]:
    """The files of a commit, or only those named, in a folder of their own."""
    folder = tempfile.TemporaryDirectory(prefix="filterkit-hub-")
    try:
        repo.fetch(commit, Path(folder.name), only)
    except BaseException:
        folder.cleanup()
        raise
    return folder


def _parse(ref: str) -> _Address:
    found = _ADDRESS.fullmatch(ref)
    try:
        if found is None:
            raise ValueError("no match")
        return _Address(repo=found["repo"], revision=found["revision"] or "main")
    except ValueError as error:
        raise ConfigError("is no student on the Hub; it would be hf://owner/name@revision", where=ref) from error
