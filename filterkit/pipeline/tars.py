"""Tar archives: written so that equal content gives equal bytes, read as what a stranger may have made.

Only plain files and folders are read. A link, a device, a name that leads elsewhere, a member that says nothing of
where it ends: refused before anything is written.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from filterkit.errors import InputError
from filterkit.files import atomic_write

MOST_MEMBERS = 10_000
_MOST_AT_ONCE = 16 * 2**10
"""Bytes that a header may have: tarfile reads one whole, however long it says it is."""
_PIECE = 2**20
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\:]")


@dataclass(frozen=True)
class Member:
    """Where a plain file's content lies in the archive, in bytes."""

    offset: int
    size: int


def write_tar(path: Path, content: Mapping[str, bytes]) -> None:
    """The content in the order given, with nothing in the archive that says when, where or by whom. Atomic."""
    with atomic_write(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))


def members(path: Path) -> dict[str, Member]:
    """The plain files of an archive by name. InputError on one that is none, is damaged, or holds anything unsafe."""
    found: dict[str, Member] = {}
    last = -1
    try:
        with path.open("rb") as file, tarfile.open(fileobj=_Careful(file), mode="r:") as tar:
            end = path.stat().st_size
            for info in tar:
                name = info.name.removeprefix("./")
                if info.offset_data <= last or info.size < 0 or len(found) >= MOST_MEMBERS:
                    raise tarfile.ReadError("its headers make no sense")
                last = info.offset_data
                if info.isdir():
                    continue
                if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
                    raise InputError(f"{name!r} is no plain file", where=path)
                check_name(name, path)
                if name in found:
                    raise InputError(f"{name!r} is in it twice", where=path)
                if info.offset_data + info.size > end:
                    raise tarfile.ReadError("it is cut short")
                found[name] = Member(info.offset_data, info.size)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", where=path) from error
    except (tarfile.TarError, ValueError, EOFError, OverflowError, RecursionError) as error:
        raise InputError(f"is no tar archive, is compressed, or is damaged ({error})", where=path) from error
    return found


def check_name(name: str, where: Path) -> None:
    """InputError unless `name` is a relative path that leads to one place, below, on every system."""
    if len(name) > 240 or _UNSAFE.search(name) or any(part in ("", ".", "..") for part in name.split("/")):
        raise InputError(f"holds a file of an unsafe name ({name[:80]!r})", where=where)


def read_member(path: Path, member: Member, most: int) -> bytes:
    """A small member's content. InputError when it is larger than `most` bytes."""
    if member.size > most:
        raise InputError(f"says of itself more than {most:,} bytes", where=path)
    with path.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size)


def copy_member(path: Path, member: Member, target: Path) -> None:
    """A member's content into the new file `target`, its folders made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    with path.open("rb") as file, target.open("xb") as out:
        file.seek(member.offset)
        while left and (piece := file.read(min(left, _PIECE))):
            out.write(piece)
            left -= len(piece)


class _Careful(io.RawIOBase):
    """A file that gives tarfile no more at once than a header takes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE:
            raise tarfile.ReadError("a header in it is too long")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
