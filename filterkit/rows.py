"""The rows of files as JSON objects, read as a stream: JSONL (plain, .gz, .zst) and Parquet; and lines to write.

Whatever is in a file, reading it ends with rows and reasons, in bounded memory.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from filterkit.errors import ConfigError, InputError

MAX_LINE_BYTES = 16 * 1024 * 1024

Row = tuple[int, dict[str, Any] | str]
"""Line number from 1, and the JSON object on it or, as text, why there is none."""


_UNREADABLE = (OSError, EOFError, ValueError, zlib.error)
"""What a damaged or truncated file raises while it is read."""


def read_rows(path: Path, first: int = 0, last: int | None = None) -> Iterator[Row]:
    """Rows [first, last) of a file, counted from 0; the number that comes with each counts from 1."""
    if path.suffix == ".parquet":
        yield from _parquet_rows(path, first, last)
        return
    with open_bytes(path) as file:
        yield from numbered(file, first, last)


def numbered(file: IO[bytes], first: int = 0, last: int | None = None, at: int = 0) -> Iterator[Row]:
    """Rows [first, last) of an open JSONL stream whose next line has index `at`."""
    try:
        while last is None or at < last:
            line = file.readline(MAX_LINE_BYTES + 1)
            if not line:
                return
            at += 1
            overlong = len(line) > MAX_LINE_BYTES and not line.endswith(b"\n")
            if overlong:
                _skip_line(file)
            if at <= first:
                continue
            if overlong:
                yield at, f"the line is longer than {MAX_LINE_BYTES:,} bytes"
            elif line.strip():
                yield at, parse_line(line)
    except _UNREADABLE as error:
        yield at + 1, f"the file cannot be read further ({type(error).__name__}: {error})"


def _skip_line(file: IO[bytes]) -> None:
    while piece := file.readline(1 << 20):
        if piece.endswith(b"\n"):
            return


def parse_line(line: bytes) -> dict[str, Any] | str:
    """One JSON object, or why the line holds none."""
    try:
        row = json.loads(line.decode("utf-8-sig"), parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte {error.start} of the line"
    except RecursionError:
        return "malformed JSON: nested too deeply"
    except json.JSONDecodeError as error:
        ends = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string")
        return f"{'the line is cut off or ' if ends else ''}malformed JSON: {error}"
    except ValueError as error:
        return f"malformed JSON: {error}"
    return row if isinstance(row, dict) else "malformed row: it must be a JSON object"


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def count_rows(path: Path) -> int:
    """How many lines (or Parquet rows) a file has, empty ones included; what cannot be read any more is one line."""
    count, tail = 0, b"\n"
    try:
        if path.suffix == ".parquet":
            with _pyarrow().ParquetFile(path) as parquet:
                return int(parquet.metadata.num_rows)
        with open_bytes(path) as file:
            while piece := file.read1(1 << 20):  # type: ignore[attr-defined]  # read would lose what precedes damage
                count += piece.count(b"\n")
                tail = piece[-1:]
    except _UNREADABLE:
        return count + 1  # the reader says what is wrong with the rest
    return count + (tail != b"\n")


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed by its suffix. InputError names the file."""
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rb")  # type: ignore[return-value]
        if path.suffix == ".zst":
            return io.BufferedReader(_ZstdFile(path), 1 << 17)
        return path.open("rb")
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from error


class _ZstdFile(io.RawIOBase):
    """Decompressed bytes of all frames of a file; unlike zstandard's own reader, it notices a truncated one."""

    def __init__(self, path: Path) -> None:
        self._library = _zstandard()
        self._file = path.open("rb")
        self._frame: Any = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if not self._decompress():
                return 0
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _decompress(self) -> bool:
        """Take the next piece of the file; False at its end."""
        piece = self._frame.unused_data if self._frame is not None and self._frame.eof else b""
        piece = piece or self._file.read(1 << 11)  # small: it may hold a thousand times as much
        if not piece:
            if self._frame is not None and not self._frame.eof:
                raise EOFError("the compressed file ends early")
            return False
        if self._frame is None or self._frame.eof:
            self._frame = self._library.ZstdDecompressor().decompressobj()
        try:
            self._ready = memoryview(self._frame.decompress(piece))
        except self._library.ZstdError as error:
            raise OSError(str(error)) from error
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


def compress(path: Path, data: bytes) -> bytes:
    """`data` as one member or frame of the compression that `path`'s suffix names; members may be concatenated."""
    if path.suffix == ".gz":
        return gzip.compress(data, 6, mtime=0)
    if path.suffix == ".zst":
        return _zstandard().ZstdCompressor(write_checksum=True).compress(data)  # type: ignore[no-any-return]
    return data


def dump_line(row: Mapping[str, Any]) -> bytes:
    """One JSON line. Text stays readable; a row with a lone surrogate is written in escapes."""
    text = json.dumps(row, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row, ensure_ascii=True).encode() + b"\n"


def _parquet_rows(path: Path, first: int, last: int | None) -> Iterator[Row]:
    at = 0
    try:
        with _pyarrow().ParquetFile(path) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
            skipped = 0
            while skipped < len(sizes) and at + sizes[skipped] <= first:
                at += sizes[skipped]
                skipped += 1
            for batch in file.iter_batches(batch_size=1000, row_groups=range(skipped, len(sizes))):
                start, end = max(first - at, 0), min(batch.num_rows, (last or sys.maxsize) - at)
                if start < end:
                    rows = batch.slice(start, end - start).to_pylist()
                    yield from ((at + start + i + 1, _jsonable(row)) for i, row in enumerate(rows))
                at += batch.num_rows
                if last is not None and at >= last:
                    return
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        yield at + 1, f"the file cannot be read further ({error})"


def _jsonable(row: dict[str, Any]) -> dict[str, Any] | str:
    """A Parquet row as JSON would hold it: dates as ISO text, no NaN."""
    return parse_line(json.dumps(row, default=lambda v: v.isoformat() if hasattr(v, "isoformat") else str(v)).encode())


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError("reading Parquet needs pyarrow", fix="pip install 'filterkit[parquet]'") from error
    return pyarrow.parquet


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise ConfigError("reading .zst needs zstandard", fix="pip install 'filterkit[zstd]'") from error
    return zstandard
