"""Articles and labelled articles, read as a stream: JSONL (plain, .gz, .zst) and Parquet.

A line that cannot be read is counted and noted with its number and reason; it never stops the others.
"""

from __future__ import annotations

import glob
import gzip
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from filterkit.errors import ConfigError, InputError
from filterkit.files import disk_error
from filterkit.prompt import BadReply, check_score
from filterkit.records import ARTICLE_TEXT_FIELDS, Article, Label, sha256_text
from filterkit.spec import FilterSpec

MAX_LINE_BYTES = 16 * 1024 * 1024
SHOWN_BYTES = 200

Row = tuple[int, dict[str, Any] | str]
"""Line number from 1, and the JSON object on it or, as text, why there is none."""


class Rejects:
    """Counts lines that cannot be used and, given a path, writes them to a JSONL file made at the first one."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.count = 0
        self.reasons: Counter[str] = Counter()
        self.first: str | None = None
        self._file: IO[str] | None = None
        if path is not None:
            path.unlink(missing_ok=True)

    def add(self, file: str, line: int, reason: str, **more: Any) -> None:
        """Note one line."""
        self.count += 1
        self.reasons[reason.split(":")[0][:80]] += 1
        self.first = self.first or f"{file}:{line}: {reason}"
        if self.path is None:
            return
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("w", encoding="utf-8")
            self._file.write(json.dumps({"file": file, "line": line, "reason": reason, **more}) + "\n")
            self._file.flush()
        except OSError as error:
            raise disk_error(error, self.path) from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def expand(patterns: Iterable[str | Path]) -> list[Path]:
    """The files that paths and globs name, in order, each once. InputError when one names nothing."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        names = [path] if path.exists() else [Path(p) for p in sorted(glob.glob(str(pattern), recursive=True))]
        if not names:
            raise InputError("there is no such file", where=pattern)
        for name in names:
            if name.is_dir():
                raise InputError("is a folder; name the files in it", where=name, fix=f"For example {name}/*.jsonl")
            found[name] = None
    return list(found)


def parse_fields(text: str | None) -> dict[str, str]:
    """`content=text,id=url` as {"content": "text", "id": "url"}. ConfigError when it is not of that form."""
    out: dict[str, str] = {}
    known = {"id", "title", "content", *ARTICLE_TEXT_FIELDS}
    for pair in filter(None, (text or "").split(",")):
        ours, equals, theirs = pair.partition("=")
        if not equals or not theirs or ours not in known:
            raise ConfigError(
                f"--fields takes field=column pairs, not {pair!r}", fix=f"Fields: {', '.join(sorted(known))}"
            )
        out[ours] = theirs
    return out


def read_articles(
    files: Sequence[str | Path], fields: Mapping[str, str] | None = None, rejects: Rejects | None = None
) -> Iterator[Article]:
    """Every article of the files, in order. `fields` maps our names to the file's columns."""
    rejects = rejects or Rejects()
    for path in expand(files):
        for number, row in read_rows(path):
            article = row if isinstance(row, str) else _try(to_article, row, fields)
            if isinstance(article, str):
                rejects.add(str(path), number, article)
            else:
                yield article


def read_labelled(
    files: Sequence[str | Path], spec: FilterSpec, rejects: Rejects | None = None
) -> Iterator[tuple[Article, Label]]:
    """Every labelled article of the files whose scores answer `spec`; the others are rejected.

    An explicit null says that a score is unknown; an absent or unknown dimension is a mistake.
    """
    rejects = rejects or Rejects()
    for path in expand(files):
        for number, row in read_rows(path):
            article = row if isinstance(row, str) else _try(to_article, row, None)
            label = article if isinstance(article, str) else _try(to_label, row, spec)
            if isinstance(article, str) or isinstance(label, str):
                rejects.add(str(path), number, str(label))
            else:
                yield article, label


def _try(make: Any, *args: Any) -> Any:
    """What `make` returns, or the reason (a text) why it cannot."""
    try:
        return make(*args)
    except ValueError as error:
        return str(error)


def to_article(row: Mapping[str, Any], fields: Mapping[str, str] | None = None) -> Article:
    """A JSON object as an article. ValueError says what is wrong with it."""
    rest = dict(row)
    taken: dict[str, Any] = {}
    for name in ("id", "title", "content", *ARTICLE_TEXT_FIELDS):
        taken[name] = rest.pop((fields or {}).get(name, name), None)
    title, content = _text(taken["title"], "title"), _text(taken["content"], "content")
    if not content.strip():
        raise ValueError("content is empty")
    for name in ARTICLE_TEXT_FIELDS:
        if taken[name] is not None and not isinstance(taken[name], str):
            rest[name], taken[name] = taken[name], None
    article_id = _identity(taken["id"]) or sha256_text(f"{title}\n\n{content}")[:32]
    return Article(
        article_id,
        title,
        content,
        *(taken[n] for n in ARTICLE_TEXT_FIELDS),
        extra=rest,  # type: ignore[misc]
    )


def to_label(row: Mapping[str, Any], spec: FilterSpec) -> Label:
    """The `scores` (and `evidence`, `oracle`, `model`) of a JSON object. ValueError says what is wrong."""
    scores = row.get("scores")
    if not isinstance(scores, Mapping):
        raise ValueError("scores are missing" if scores is None else "scores must be an object")
    extra = [str(k) for k in scores if k not in spec.names]
    if extra:
        raise ValueError(f"unknown dimension: {extra[0][:60]!r} is not one of the filter's")
    known: dict[str, float] = {}
    for name in spec.names:
        if name not in scores:
            raise ValueError(f"missing dimension: {name!r} has no score (write null where it is unknown)")
        if scores[name] is not None:
            try:
                known[name] = check_score(spec, name, scores[name])
            except BadReply as error:
                raise ValueError(f"bad score: {error}") from None
    if not known:
        raise ValueError("no score is known")
    evidence = row.get("evidence")
    words = {k: v for k, v in evidence.items() if isinstance(v, str)} if isinstance(evidence, Mapping) else {}
    oracle, model = (row.get(k) if isinstance(row.get(k), str) else None for k in ("oracle", "model"))
    return Label(known, words, oracle, model)


def _identity(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("id must be text or a whole number")
    text = clean(str(value))
    if len(text) > 1000:
        raise ValueError("id is longer than 1,000 characters")
    return text


def _text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, not {type(value).__name__}")
    return clean(value)


def clean(text: str) -> str:
    """`text` with lone surrogates (which no UTF-8 writer takes) replaced by U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


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
    except (OSError, EOFError, ValueError) as error:  # a damaged or truncated compressed stream
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
    """How many lines (or Parquet rows) a file has, empty ones included."""
    if path.suffix == ".parquet":
        return int(_pyarrow().ParquetFile(path).metadata.num_rows)
    count, tail = 0, b"\n"
    try:
        with open_bytes(path) as file:
            while piece := file.read(1 << 20):
                count += piece.count(b"\n")
                tail = piece[-1:]
    except (OSError, EOFError):
        return count + 1  # the reader says what is wrong with the rest
    return count + (tail != b"\n")


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed by its suffix. InputError names the file."""
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rb")  # type: ignore[return-value]
        if path.suffix == ".zst":
            return _zstandard().open(path, "rb")  # type: ignore[no-any-return]
        return path.open("rb")
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from error


def compress(path: Path, data: bytes) -> bytes:
    """`data` as one member or frame of the compression that `path`'s suffix names; members may be concatenated."""
    if path.suffix == ".gz":
        return gzip.compress(data, 6, mtime=0)
    if path.suffix == ".zst":
        return _zstandard().compress(data)  # type: ignore[no-any-return]
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
        file = _pyarrow().ParquetFile(path)
        for batch in file.iter_batches(batch_size=1000):
            if at + batch.num_rows > first:
                for offset, row in enumerate(batch.to_pylist()):
                    if at + offset >= first and (last is None or at + offset < last):
                        yield at + offset + 1, _jsonable(row)
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
