"""Files that survive a kill: written aside, synced, renamed; locks that die with their holder; hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from filterkit.errors import FilterkitError, InputError, StoppedEarly

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A file to write bytes to, which appears at `path` whole when the block ends, or not at all.

    It is synced to disk before the rename; the folder after it. A full disk or an exception leaves the old
    file untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error, path) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """`value` as indented UTF-8 JSON at `path`, atomically. NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "surrogatepass") + b"\n")


def read_json(path: Path) -> Any:
    """The JSON in `path`. Raises InputError that names the file."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not valid JSON ({error})", where=path) from error


def publish_folder(staging: Path, final: Path) -> None:
    """Put the folder `staging` at `final`, replacing what is there; killed at any instant, `final` is old or new.

    (Between the two renames `final` may be absent for a moment; `restore_folder` at the next start mends that.)
    """
    for file in staging.rglob("*"):
        if file.is_file():
            sync_file(file)
    aside = final.with_name(f".{final.name}.old")
    if aside.exists():
        shutil.rmtree(aside)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        final.replace(aside)
    staging.replace(final)
    sync_folder(final.parent)
    shutil.rmtree(aside, ignore_errors=True)


def restore_folder(final: Path) -> None:
    """Undo a publish that was killed between its two renames: the old folder comes back."""
    aside = final.with_name(f".{final.name}.old")
    if aside.exists() and not final.exists():
        aside.replace(final)


def sync_file(path: Path) -> None:
    """Flush one file to disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to disk (a no-op where the system has no such call)."""
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(root: Path, name: str) -> Path:
    """`root / name`, refused (InputError) when it would lie outside of `root` or go through a link to there."""
    base = root.resolve()
    path = (base / name).resolve()
    if path == base or not path.is_relative_to(base):
        raise InputError(f"the path {name!r} leads outside of the folder", where=root)
    return path


def disk_error(error: OSError, path: Path) -> FilterkitError:
    """An OSError from writing as one line that says what to do."""
    fix = "Free some space and run the same command again" if error.errno == 28 else None
    return InputError(f"cannot be written ({error.strerror or error})", where=path, fix=fix)


class Lock:
    """An exclusive lock on a file, released by the system when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        """Take the lock if nobody holds it; False otherwise. Never waits."""
        while True:
            file = self._lock()
            if file is None:
                return False
            if self._is_at_path(file):
                self._file = file
                return True
            file.close()  # the holder before us removed the file after we had opened it

    def _lock(self) -> IO[bytes] | None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("ab+")
        try:
            if sys.platform == "win32":
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        return file

    def _is_at_path(self, file: IO[bytes]) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._file is not None:
            self._file.close()
            self._file = None


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock at `path` for the block; StoppedEarly (exit 4) when another process holds it."""
    lock = Lock(path)
    if not lock.acquire():
        raise StoppedEarly(
            f"another process is working on {what}", where=path.parent, fix="Wait for it, then run again"
        )
    try:
        yield
    finally:
        lock.release()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
