"""Files that survive a kill: written aside, synced, renamed; locks that die with their holder; hashes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from filterkit.errors import FilterkitError, InputError, StoppedEarly

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A file to write bytes to, which appears at `path` whole when the block ends, or not at all.

    It is synced to disk before the rename; the folder after it. A full disk or an exception leaves the old
    file untouched. What a killed writer leaves beside it is taken over by the next one of the same file.
    """
    temporary = path.with_name(temporary_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _open_alone(temporary)
    except OSError as error:
        raise disk_error(error, path) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if sys.platform != "win32":
                temporary.replace(path)  # before the lock goes
        if sys.platform == "win32":
            temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _DISK and error.filename in (None, str(temporary)):
            raise disk_error(error, path) from error
        raise
    sync_folder(path.parent)


def temporary_name(name: str) -> str:
    """Name of the file in which `name` is written until it is whole."""
    temporary = f".{name}.tmp"
    return temporary if len(temporary.encode("utf-8", "surrogateescape")) < 250 else f".{_short_hash(name)}.tmp"


def _short_hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _open_alone(path: Path) -> IO[bytes]:
    """The emptied file at `path`, locked: a second writer waits until the first has renamed or removed it."""
    while True:
        file = path.open("ab")
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # a file system without locks has one writer at a time, or bad luck
                fcntl.flock(file, fcntl.LOCK_EX)
        if _is_at(path, file):
            file.truncate(0)
            file.seek(0)  # what a killed writer left had put us at its end
            return file
        file.close()


def _is_at(path: Path, file: IO[bytes]) -> bool:
    """Whether `path` still names the open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


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
    for path in staging.rglob("*"):
        if path.is_file():
            sync_file(path)
        elif path.is_dir():
            sync_folder(path)
    sync_folder(staging)
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
    """Mend a publish that was killed: between its renames, the old folder comes back; after them, it is removed."""
    aside = final.with_name(f".{final.name}.old")
    if not aside.exists():
        return
    if final.exists():
        shutil.rmtree(aside)
    else:
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
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    fix = "Free some space and run the same command again" if full else None
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
            if _is_at(self.path, file):
                self._file = file
                return True
            file.close()  # the holder before us removed the file after we had opened it

    def held(self) -> bool:
        """Whether somebody holds it. Nothing is made to find out."""
        try:
            file = self.path.open("rb+")
        except FileNotFoundError:
            return False
        with file:
            return not _lock_alone(file)

    def _lock(self) -> IO[bytes] | None:
        file = self._open()
        if _lock_alone(file):
            return file
        file.close()
        return None

    def _open(self) -> IO[bytes]:
        while True:
            with contextlib.suppress(FileNotFoundError):  # the holder before us removed the folder
                _make_folder(self.path.parent)
                return self.path.open("ab+")

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _make_folder(path: Path) -> None:
    """The folder, made if it is not there. FileNotFoundError when somebody removes it meanwhile."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        if path.exists():
            raise
        raise FileNotFoundError(path) from None


def _lock_alone(file: IO[bytes]) -> bool:
    """Lock an open file unless somebody else has; closing it ends that."""
    try:
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock at `path` for the block; StoppedEarly (exit 4) when another process holds it.

    The file, and its folder if that was made for it and is empty, are removed while it is still held, so that
    nothing is left; who waits for it notices.
    """
    was_there = path.parent.exists()
    lock = Lock(path)
    if not lock.acquire():
        raise StoppedEarly(
            f"another process is working on {what}", where=path.parent, fix="Wait for it, then run again"
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            path.unlink()
            if not was_there:
                path.parent.rmdir()
        lock.release()
