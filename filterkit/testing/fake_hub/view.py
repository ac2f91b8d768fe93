"""What a test may ask a stored repository, and change in it behind the client's back."""

from __future__ import annotations

from filterkit.testing.fake_hub.state import State
from filterkit.testing.fake_hub.storage import Commit, File, Repository, lfs_file, regular_file


class RepoView:
    """A repository as the fake stores it. A revision is a branch, a tag or a commit's sha. Raises KeyError for another,
    and for a path that is not there."""

    def __init__(self, state: State, repo: Repository) -> None:
        self._state, self._repo = state, repo

    @property
    def private(self) -> bool:
        """Whether only its owner sees it."""
        return self._repo.private

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """All files of a revision, with their contents (of LFS files: the object's, not the pointer's)."""
        with self._state.lock:
            return {path: self._read(file) for path, file in self._repo.find(revision).files.items()}

    def lfs(self, revision: str = "main") -> set[str]:
        """The paths of the files that lie in LFS."""
        with self._state.lock:
            return {path for path, file in self._repo.find(revision).files.items() if file.lfs}

    def head(self, branch: str = "main") -> str:
        """The sha of the commit that a branch or tag points at."""
        with self._state.lock:
            return self._repo.find(branch).sha

    def commits(self, branch: str = "main") -> list[Commit]:
        """The commits of a branch, newest first."""
        with self._state.lock:
            return list(self._repo.history(self._repo.find(branch)))

    @property
    def refs(self) -> dict[str, str]:
        """All branches and tags ("refs/heads/main", "refs/tags/v1"), with the shas that they point at."""
        with self._state.lock:
            heads = {f"refs/heads/{name}": sha for name, sha in self._repo.branches.items()}
            return heads | {f"refs/tags/{name}": sha for name, sha in self._repo.tags.items()}

    def set_file(self, path: str, content: bytes, branch: str = "main") -> str:
        """Commit a file on a branch, as another client would; the new commit's sha."""
        with self._state.lock:
            commit = self._repo.find(branch)
            file = self._store(content, commit.files[path].lfs if path in commit.files else False)
            return self._repo.commit(branch, {**commit.files, path: file}, f"Change {path}").sha

    def replace(self, path: str, content: bytes, revision: str = "main") -> None:
        """Another content under the same name and the same commit, with hashes and sizes that fit it."""
        with self._state.lock:
            commit = self._repo.find(revision)
            self._repo.swap(commit, path, self._store(content, commit.files[path].lfs))

    def flip_bit(self, path: str, revision: str = "main", *, byte: int = 0, bit: int = 0) -> None:
        """Flip one bit of a stored file under the same commit, hashes and size. byte: its index, also from the end."""
        with self._state.lock:
            commit = self._repo.find(revision)
            file = commit.files[path]
            content = bytearray(self._read(file))
            content[byte] ^= 1 << bit
            stored = self._state.objects.tampered(bytes(content))
            self._repo.swap(commit, path, File(stored, file.sha256, file.size, file.oid, file.lfs))

    def _store(self, content: bytes, lfs: bool) -> File:
        file = regular_file(self._state.objects, content)
        if not lfs:
            return file
        self._repo.lfs[file.sha256] = file.size
        return lfs_file(file.sha256, file.size)

    def _read(self, file: File) -> bytes:
        return self._state.objects.path(file.stored).read_bytes()
