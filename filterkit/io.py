"""Articles and labelled articles, read as a stream out of the rows of files.

A line that cannot be read is counted and noted with its number and reason; it never stops the others.
"""

from __future__ import annotations

import contextlib
import glob
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from filterkit.articles import to_article
from filterkit.errors import ConfigError, InputError
from filterkit.files import disk_error
from filterkit.records import ARTICLE_TEXT_FIELDS, Article, Label
from filterkit.reply import BadReply, check_score
from filterkit.rows import MAX_LINE_BYTES, open_bytes, read_rows
from filterkit.spec import FilterSpec

_CELL = rb'"?[\w .-]{1,60}"?'
_CSV_HEAD = re.compile(b"|".join(rb"%b(?:%b%b)+" % (_CELL, comma, _CELL) for comma in (b",", b";", b"\t")))
"""A line of column names, as CSV begins with."""


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


def readable(patterns: Iterable[str | Path]) -> list[Path]:
    """The files that paths and globs name, as `expand`. InputError when one is of another format than we read."""
    paths = expand(patterns)
    for path in paths:
        _refuse_other_formats(path)
    return paths


def _refuse_other_formats(path: Path) -> None:
    suffix = Path(path.name.removesuffix(".gz").removesuffix(".zst")).suffix.lower()
    if suffix in (".xlsx", ".xls", ".ods"):
        raise InputError("is a spreadsheet; give JSON lines or Parquet", where=path)
    if suffix in (".csv", ".tsv"):
        raise InputError("looks like CSV; give JSON lines or Parquet", where=path)
    if path.suffix == ".parquet" or not path.is_file():  # what a pipe gives can be read only once
        return
    first, second = _head(path)
    if first.startswith(b"[") and _is_array(first):
        raise InputError("is one JSON array; give one object a line", where=path, fix="For example with `jq -c '.[]'`")
    if _CSV_HEAD.fullmatch(first) and not second.startswith(b"{"):
        raise InputError("looks like CSV; give JSON lines or Parquet", where=path)


def _head(path: Path) -> tuple[bytes, bytes]:
    """The first two lines that are not empty, bare, and empty where there are none; the reader tells of damage."""
    found: list[bytes] = []
    with contextlib.suppress(OSError, EOFError, ValueError, zlib.error), open_bytes(path) as file:
        while len(found) < 2 and (line := file.readline(MAX_LINE_BYTES)):
            bare = line.removeprefix(b"\xef\xbb\xbf").strip()
            found += [bare] if bare else []
    first, second, *_ = [*found, b"", b""]
    return first, second


def _is_array(line: bytes) -> bool:
    """Whether a line that begins with a bracket begins an array of articles, and is not just a wrong line."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return True
    return not row or isinstance(row[0], dict)


def rejects_name(name: str) -> str:
    """Where the lines of file `name` go that cannot be used: `news.jsonl.gz` -> `news.rejected.jsonl`."""
    for suffix in (".gz", ".zst", ".jsonl", ".json", ".parquet"):
        name = name.removesuffix(suffix)
    return f"{name}.rejected.jsonl"


def refuse_to_overwrite(files: Iterable[str | Path], *outputs: Path) -> None:
    """ConfigError when one of the outputs is one of the input files."""
    inputs = {path.resolve() for path in expand(files)}
    for output in outputs:
        if output.resolve() in inputs:
            raise ConfigError("is an input and would be overwritten", where=output, fix="Rename one of the two")


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
    return (article for article, _ in read_pairs(files, fields, rejects))


def read_pairs(
    files: Sequence[str | Path], fields: Mapping[str, str] | None = None, rejects: Rejects | None = None
) -> Iterator[tuple[Article, dict[str, Any]]]:
    """Every article of the files, in order, beside the row it was made of: all its fields as they are."""
    return ((article, row) for _, _, article, row in read_places(files, fields, rejects))


def read_places(
    files: Sequence[str | Path], fields: Mapping[str, str] | None = None, rejects: Rejects | None = None
) -> Iterator[tuple[str, int, Article, dict[str, Any]]]:
    """As `read_pairs`, and where each stands: the file, and the line or row from 1."""
    rejects = rejects or Rejects()
    for path in readable(files):
        for number, row in read_rows(path):
            article = row if isinstance(row, str) else _try(to_article, row, fields)
            if isinstance(article, str) or isinstance(row, str):
                rejects.add(str(path), number, str(article))
            else:
                yield str(path), number, article, row


def read_labelled(
    files: Sequence[str | Path], spec: FilterSpec, rejects: Rejects | None = None
) -> Iterator[tuple[Article, Label]]:
    """Every labelled article of the files whose scores answer `spec`; the others are rejected.

    An explicit null says that a score is unknown; an absent or unknown dimension is a mistake.
    """
    rejects = rejects or Rejects()
    for path in readable(files):
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


def to_label(row: Mapping[str, Any], spec: FilterSpec) -> Label:
    """The `scores` (and `evidence`, `oracle`, `model`) of a JSON object. ValueError says what is wrong.

    Scores that are made of several answers (`samples`, as prepared rows have it) may lie between the scale's steps.
    """
    scores = row.get("scores")
    if not isinstance(scores, Mapping):
        raise ValueError("scores are missing" if scores is None else "scores must be an object")
    extra = [str(k) for k in scores if k not in spec.names]
    if extra:
        raise ValueError(f"unknown dimension: {extra[0][:60]!r} is not one of the filter's")
    known: dict[str, float] = {}
    samples = row.get("samples")
    merged = isinstance(samples, int) and samples > 1
    for name in spec.names:
        if name not in scores:
            raise ValueError(f"missing dimension: {name!r} has no score (write null where it is unknown)")
        if scores[name] is not None:
            try:
                known[name] = check_score(spec, name, scores[name], between_steps=merged)
            except BadReply as error:
                raise ValueError(f"bad score: {error}") from None
    if not known:
        raise ValueError("no score is known")
    evidence = row.get("evidence")
    words = {k: v for k, v in evidence.items() if isinstance(v, str)} if isinstance(evidence, Mapping) else {}
    oracle, model = (row.get(k) if isinstance(row.get(k), str) else None for k in ("oracle", "model"))
    return Label(known, words, oracle, model)
