"""What a worker does with one shard of a scoring run: read it, judge it, write its part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from filterkit.articles import to_article
from filterkit.errors import ArtifactError
from filterkit.files import atomic_write, write_json
from filterkit.filters import load_filter
from filterkit.judging import Verdict
from filterkit.records import Article, Record, Shard, ShardResult
from filterkit.rows import Row, compress, dump_line, numbered, open_bytes, read_rows
from filterkit.spec import Choice
from filterkit.student import Student, load_student

BATCH = 1024
BATCH_CHARS = 32_000_000
"""A batch ends after so many characters, too: gigantic articles come in small batches."""


class Judge(Record):
    """One filter and its student, as paths and hashes, so that a worker anywhere can load them and be sure.

    remote: the address that scores in the student's place.
    """

    name: str
    filter: str
    student: str
    student_hash: str
    policy_hash: str
    prefilter: Choice | None = None
    remote: str | None = None


class Counts(Record):
    """Rows of a shard or a run. `blocked` and `failed` rows are written, `rejected` lines are not.

    tiers: "filter/tier" -> rows; blocked_by, blocked_by_source: "rule/language" and "rule/source" -> rows that a
    prefilter held back; shadowed_by, shadowed_by_source: that it would have, by rules in shadow mode.
    """

    read: int = 0
    written: int = 0
    rejected: int = 0
    failed: int = 0
    blocked: int = 0
    tiers: dict[str, int] = {}
    blocked_by: dict[str, int] = {}
    blocked_by_source: dict[str, int] = {}
    shadowed_by: dict[str, int] = {}
    shadowed_by_source: dict[str, int] = {}

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            read=self.read + other.read,
            written=self.written + other.written,
            rejected=self.rejected + other.rejected,
            failed=self.failed + other.failed,
            blocked=self.blocked + other.blocked,
            tiers=_sum(self.tiers, other.tiers),
            blocked_by=_sum(self.blocked_by, other.blocked_by),
            blocked_by_source=_sum(self.blocked_by_source, other.blocked_by_source),
            shadowed_by=_sum(self.shadowed_by, other.shadowed_by),
            shadowed_by_source=_sum(self.shadowed_by_source, other.shadowed_by_source),
        )


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return dict(Counter(one) + Counter(other))


class _PrefilterCounts:
    """What a prefilter held back, by language and by source; and, apart from it, what it would have."""

    def __init__(self) -> None:
        self.blocked = 0
        self._blocked: tuple[Counter[str], Counter[str]] = Counter(), Counter()
        self._shadowed: tuple[Counter[str], Counter[str]] = Counter(), Counter()

    def add(self, verdict: Verdict) -> None:
        rule = verdict.reasons[0] if verdict.blocked else verdict.shadow
        if rule is None:
            return
        self.blocked += verdict.blocked
        by_language, by_source = self._blocked if verdict.blocked else self._shadowed
        by_language[f"{rule}/{verdict.article.language or 'unknown'}"] += 1
        by_source[f"{rule}/{verdict.article.source or 'unknown'}"] += 1

    def counts(self) -> Counts:
        blocked, blocked_source = map(dict, self._blocked)
        shadowed, shadowed_source = map(dict, self._shadowed)
        return Counts(
            blocked=self.blocked,
            blocked_by=blocked,
            blocked_by_source=blocked_source,
            shadowed_by=shadowed,
            shadowed_by_source=shadowed_source,
        )


@dataclass
class Judged:
    """The result of one batch: output lines, rejected lines, counts."""

    lines: list[bytes] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)


@dataclass(frozen=True)
class Batch:
    """Lines of one input file."""

    uri: str
    rows: list[Row]
    fields: Mapping[str, str]


RESERVED = {"scores", "overall", "overall_interval", "tier", "sure", "passed", "reasons", "error", "verdicts"}
"""Fields that a verdict adds: an article's own fields of these names do not travel, or they would pass for ours."""

_cursor: dict[str, tuple[IO[bytes], int]] = {}
"""The one input this process has open, and the index of its next line: shards come in order, so a compressed
file is decompressed once per worker and not once per shard."""


def read_shard(shard: Shard, *, fields: Mapping[str, str]) -> Iterator[Batch]:
    """The lines of a shard in batches."""
    batch: list[Row] = []
    chars = 0
    for row in _rows_of(shard):
        batch.append(row)
        chars += _chars(row)
        if len(batch) == BATCH or chars >= BATCH_CHARS:
            yield Batch(shard.uri, batch, fields)
            batch, chars = [], 0
    if batch:
        yield Batch(shard.uri, batch, fields)


def _chars(row: Row) -> int:
    """Roughly how long a row is: what it holds as text."""
    return len(row[1]) if isinstance(row[1], str) else sum(len(v) for v in row[1].values() if isinstance(v, str))


def _rows_of(shard: Shard) -> Iterator[Row]:
    first, last = shard.rows or (0, None)
    path = Path(shard.uri)
    if path.suffix == ".parquet" or last is None:
        yield from read_rows(path, first, last)
        return
    file, at = _cursor.pop(shard.uri, (None, 0))
    if file is None or at > first:
        close_inputs()
        file, at = open_bytes(path), 0
    yield from numbered(file, first, last, at)
    _cursor[shard.uri] = (file, last)  # reached only when the shard was read to its end


def close_inputs() -> None:
    """Close what `read_shard` keeps open in this process."""
    for file, _ in _cursor.values():
        file.close()
    _cursor.clear()


class Worker:
    """Loaded students that judge batches. Students that can share base weights do."""

    def __init__(
        self, judges: Sequence[Judge], device: str, threads: int | None, remote_options: Mapping[str, Any]
    ) -> None:
        shared: dict[str, Any] = {}
        self._students = [(judge.name, _load(judge, device, threads, shared, remote_options)) for judge in judges]

    def __call__(self, batch: Batch) -> Judged:
        result = Judged()
        articles: list[Article] = []
        for number, row in batch.rows:
            try:
                if isinstance(row, str):
                    raise ValueError(row)
                articles.append(to_article(row, batch.fields))
            except ValueError as error:
                result.rejects.append({"file": batch.uri, "line": number, "reason": str(error)})
        columns = {name: self._judge(name, student, articles, result) for name, student in self._students}
        for index, article in enumerate(articles):
            verdicts = {name: rows[index] for name, rows in columns.items()}
            more = next(iter(verdicts.values())) if len(verdicts) == 1 else {"verdicts": verdicts}
            row = {k: v for k, v in article.to_dict().items() if k not in RESERVED}
            result.lines.append(dump_line({**row, **more}))
        result.counts += Counts(read=len(batch.rows), written=len(articles), rejected=len(result.rejects))
        return result

    def _judge(self, name: str, student: Student, articles: list[Article], result: Judged) -> list[dict[str, Any]]:
        """One verdict per article, as the fields that it adds."""
        out: list[dict[str, Any]] = []
        tiers: Counter[str] = Counter()
        held_back = _PrefilterCounts()
        failed = 0
        for verdict in student.judge(articles):
            held_back.add(verdict)
            failed += verdict.error is not None
            if verdict.tier is not None:
                tiers[f"{name}/{verdict.tier}"] += 1
            out.append(verdict.to_dict())
        result.counts += Counts(failed=failed, tiers=dict(tiers)) + held_back.counts()
        return out


def make_worker(
    judges: Sequence[Judge], device: str, threads: int | None, remote_options: Mapping[str, Any] = {}
) -> Worker:
    """Called once per process, there. remote_options: those of the model that reads a judge's remote address."""
    return Worker(judges, device, threads, remote_options)


def _load(
    judge: Judge, device: str, threads: int | None, shared: dict[str, Any], remote_options: Mapping[str, Any]
) -> Student:
    loaded = load_filter(judge.filter)
    student = load_student(
        judge.student,
        loaded,
        device=device,
        threads=threads,
        shared=shared,
        quiet=True,
        remote=judge.remote,
        remote_options=remote_options,
    )
    found = (student.manifest.student_hash, loaded.spec.policy_hash, loaded.spec.prefilter)
    if found != (judge.student_hash, judge.policy_hash, judge.prefilter):
        raise ArtifactError("the student or the filter changed while the run was going on", where=judge.student)
    return student


@dataclass(frozen=True)
class ShardWriter:
    """Writes a shard's part and rejects, then its counts: a shard is done when its counts are there."""

    run: str
    suffix: str

    def __call__(self, shard: Shard, results: Iterable[Judged]) -> ShardResult:
        run = Path(self.run)
        counts = Counts()
        rejects: list[dict[str, Any]] = []
        with atomic_write(run / "parts" / shard.id) as file:
            for result in results:
                if result.lines:
                    file.write(compress(Path(f"part{self.suffix}"), b"".join(result.lines)))
                rejects.extend(result.rejects)
                counts += result.counts
        if rejects:
            with atomic_write(run / "parts" / f"{shard.id}.rejected") as file:
                file.writelines(dump_line(r) for r in rejects)
        write_json(run / "done" / f"{shard.id}.json", counts.model_dump())
        return ShardResult(
            shard=shard.id,
            read=counts.read,
            written=counts.written,
            rejected=counts.rejected,
            failed=counts.failed,
        )
