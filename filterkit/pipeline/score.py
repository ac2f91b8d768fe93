"""score: new articles in, verdicts out, as shards that survive a kill.

The state of a run lies in `OUTPUT.run/`: plan.json (inputs, students, policies, shards), one part per finished
shard and, written after it, its counts. A rerun skips what is done; the output is joined from the parts at the
end and appears whole. So memory does not grow with the input, and nothing is ever half there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from filterkit.contracts import Context, Executor
from filterkit.errors import ConfigError, FilterkitError, StoppedEarly
from filterkit.files import atomic_write, locked, read_json, write_json
from filterkit.filters import load_filter
from filterkit.io import expand
from filterkit.manifest import load_manifest
from filterkit.options import make_backend
from filterkit.pipeline.shards import Counts, Judge, ShardWriter, make_worker, read_shard
from filterkit.records import Record, Shard, ShardResult
from filterkit.rows import count_rows
from filterkit.spec import FilterSpec
from filterkit.student import check_fits, make_postfilter

SHARD_ROWS = 5_000
COPY_BYTES = 1 << 20


class InputFile(Record):
    """An input as it was when the run was planned."""

    path: str
    size: int
    modified_ns: int


class Plan(Record):
    """plan.json: what a run is. A rerun with another plan is refused."""

    plan: int = 1
    inputs: tuple[InputFile, ...]
    judges: tuple[Judge, ...]
    fields: dict[str, str]
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class ScoreReport:
    """What a run did. `skipped` filters could not be loaded: name -> why."""

    counts: Counts
    resumed: int
    output: Path
    rejects: Path | None
    skipped: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether every line became a verdict of every filter."""
        return not (self.counts.rejected or self.counts.failed or self.skipped)

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.counts.model_dump(),
            "resumed_shards": self.resumed,
            "output": str(self.output),
            "rejects": str(self.rejects) if self.rejects else None,
            "skipped_filters": dict(self.skipped),
        }


class Progress(Record):
    """How far a run is: shards and rows done, rows in all."""

    shards: int
    of_shards: int
    rows: int = Field(description="rows read so far, in this and earlier runs")
    of_rows: int


def score(
    filters: Sequence[tuple[str, Path]],
    files: Sequence[str | Path],
    output: Path,
    *,
    executor: tuple[str, Mapping[str, Any]] = ("local", {}),
    fields: Mapping[str, str] | None = None,
    device: str = "auto",
    threads: int | None = None,
    restart: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> ScoreReport:
    """Judge every article of `files` by each (filter, student folder) and write one row per article to `output`.

    A filter that cannot be loaded is skipped, unless none can. Raises ConfigError when a half-done run of
    another plan is in the way (and not `restart`), StoppedEarly when `stop()` turned true.
    """
    run = output.with_name(output.name + ".run")
    with locked(run / "lock", f"the run {output}"):
        judges, skipped, spec = _judges(filters, device, threads)
        plan = _plan(judges, files, fields or {}, run, restart)
        resumed = sum(_is_done(run, shard.id) for shard in plan.shards)
        _work(plan, spec, run, output, executor, progress, stop)
        counts, rejects = _join(plan, run, output)
        shutil.rmtree(run, ignore_errors=True)
    return ScoreReport(counts, resumed, output, rejects, skipped)


def _judges(
    filters: Sequence[tuple[str, Path]], device: str, threads: int | None
) -> tuple[list[Judge], dict[str, str], FilterSpec]:
    """Who can judge, who cannot and why, and the spec of the first who can."""
    judges: list[Judge] = []
    skipped: dict[str, str] = {}
    specs: list[FilterSpec] = []
    for name, student in filters:
        try:
            loaded = load_filter(name)
            manifest = load_manifest(student, verify=False)
            check_fits(loaded, manifest, student)
            make_postfilter(loaded.spec).close()
        except FilterkitError as error:
            if len(filters) == 1:
                raise
            skipped[name] = str(error)
            continue
        specs.append(loaded.spec)
        judges.append(
            Judge(
                name=loaded.name,
                filter=str(loaded.path.resolve()),
                student=str(student.resolve()),
                student_hash=manifest.student_hash,
                policy_hash=loaded.spec.policy_hash,
                device=device,
                threads=threads,
            )
        )
    if not judges:
        raise ConfigError(f"no filter can be used, the first: {next(iter(skipped.values()))}")
    if len({j.name for j in judges}) < len(judges):
        raise ConfigError("two of the filters have the same name", fix="Score them one after the other")
    return judges, skipped, specs[0]


def _plan(
    judges: Sequence[Judge], files: Sequence[str | Path], fields: Mapping[str, str], run: Path, restart: bool
) -> Plan:
    """The plan of this run: the one on disk if it is the same, else a new one."""
    paths = expand(files)
    stats = [(p.resolve(), p.stat()) for p in paths]
    inputs = tuple(InputFile(path=str(p), size=s.st_size, modified_ns=s.st_mtime_ns) for p, s in stats)
    wanted = Plan(inputs=inputs, judges=tuple(judges), fields=dict(fields), shards=())
    file = run / "plan.json"
    if file.is_file() and not restart:
        found = Plan.model_validate(read_json(file))
        if found.model_copy(update={"shards": ()}) == wanted:
            return found
        raise ConfigError(
            "a run with other inputs, students or policies is half done",
            where=run,
            fix="Finish it with the command it was started with, or discard it with --restart",
        )
    for leftover in ("done", "parts"):
        shutil.rmtree(run / leftover, ignore_errors=True)
    plan = wanted.model_copy(update={"shards": tuple(_shards([p for p, _ in stats]))})
    write_json(file, plan.model_dump(mode="json"))
    return plan


def _shards(paths: Sequence[Path]) -> Iterator[Shard]:
    number = 0
    for path in paths:
        rows = count_rows(path)
        for first in range(0, rows, SHARD_ROWS):
            yield Shard(id=f"{number:06d}", uri=str(path), rows=(first, min(first + SHARD_ROWS, rows)))
            number += 1


def _work(
    plan: Plan,
    spec: FilterSpec,
    run: Path,
    output: Path,
    executor: tuple[str, Mapping[str, Any]],
    progress: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> None:
    """Have the executor work on all shards that are not done."""
    total = sum(_rows(s) for s in plan.shards)
    finished = {s.id: _rows(s) for s in plan.shards if _is_done(run, s.id)}
    backend: Executor[Any] = make_backend("executor", *executor, spec, Context(workdir=run, stop=stop))
    try:
        results: Iterator[ShardResult] = backend.map_shards(
            plan.shards,
            partial(read_shard, fields=plan.fields),
            partial(make_worker, plan.judges),
            ShardWriter(str(run), output.suffix),
            done=lambda shard_id: _is_done(run, shard_id),
        )
        for result in results:
            if result.error:
                raise StoppedEarly(
                    f"shard {result.shard} failed: {result.error}", fix="Run the same command again to go on"
                )
            finished[result.shard] = result.read
            progress(
                Progress(shards=len(finished), of_shards=len(plan.shards), rows=sum(finished.values()), of_rows=total)
            )
            if stop():
                raise StoppedEarly("stopped", where=run, fix="Run the same command again to go on")
    finally:
        backend.close()


def _rows(shard: Shard) -> int:
    return shard.rows[1] - shard.rows[0] if shard.rows else 0


def _is_done(run: Path, shard_id: str) -> bool:
    return (run / "done" / f"{shard_id}.json").is_file() and (run / "parts" / shard_id).is_file()


def _join(plan: Plan, run: Path, output: Path) -> tuple[Counts, Path | None]:
    """The parts as one output file, the rejects beside it, and the counts in sum."""
    counts = [Counts.model_validate(read_json(run / "done" / f"{s.id}.json")) for s in plan.shards]
    total = sum(counts, Counts())
    _concatenate([run / "parts" / s.id for s in plan.shards], output)
    rejects = output.with_name(output.name.split(".")[0] + ".rejected.jsonl")
    if not total.rejected:
        rejects.unlink(missing_ok=True)
        return total, None
    _concatenate([p for s in plan.shards if (p := run / "parts" / f"{s.id}.rejected").is_file()], rejects)
    return total, rejects


def _concatenate(parts: Sequence[Path], output: Path) -> None:
    with atomic_write(output) as out:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, out, COPY_BYTES)
