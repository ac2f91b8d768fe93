"""What screening keeps of the articles besides numbers: signatures and ids in temporary files. No texts."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterkit.files import disk_error
from filterkit.pipeline.nearby import HASHES
from filterkit.pipeline.screen.duplicates import U16


class Signatures:
    """The low halves of MinHash signatures, in a temporary file: a quarter of a gigabyte for a million texts."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="filterkit-")  # noqa: SIM115 - closed by close
        self._count = 0

    def add(self, signed: NDArray[np.uint32]) -> None:
        """More rows [m, 128]. InputError when the disk is full."""
        with _on_disk():
            self._file.write(signed.astype(np.uint16).tobytes())
        self._count += len(signed)

    def all(self) -> U16:
        """All rows [n, 128], mapped into memory."""
        if not self._count:
            return np.empty((0, HASHES), dtype=np.uint16)
        with _on_disk():
            self._file.flush()
            return np.memmap(self._file, dtype=np.uint16, mode="r", shape=(self._count, HASHES))

    def close(self) -> None:
        self._file.close()


class Ids:
    """Ids of articles by row, in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="filterkit-")  # noqa: SIM115 - closed by close
        self._ends = array("Q", [0])

    def add(self, ids: Sequence[str]) -> None:
        """Ids of the next rows."""
        packed = [one.encode("utf-8", "surrogatepass") for one in ids]
        with _on_disk():
            self._file.seek(self._ends[-1])
            self._file.write(b"".join(packed))
        for one in packed:
            self._ends.append(self._ends[-1] + len(one))

    def __getitem__(self, row: int) -> str:
        self._file.seek(self._ends[row])
        return self._file.read(self._ends[row + 1] - self._ends[row]).decode("utf-8", "surrogatepass")

    def close(self) -> None:
        self._file.close()


class Names:
    """Numbers for names that come again and again."""

    def __init__(self) -> None:
        self.names: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def number(self, name: Any) -> int:
        """The name's number, from 0 on."""
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(error, Path(tempfile.gettempdir())) from error
