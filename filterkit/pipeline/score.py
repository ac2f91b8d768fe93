"""score: new articles in, verdicts out, as shards that survive a kill.

The state of a run lies in `OUTPUT.run/`: plan.json (inputs, students, policies, shards) and in a folder named by the
plan's hash one part per finished shard and, written after it, its counts. A rerun skips what is done; the output is
joined from the parts at the end and appears whole. So memory does not grow with the input, and nothing is ever half
there. A worker that outlived its killed parent writes into its own plan's folder, or what would be there anyway.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from filterkit.contracts import Context, Executor
from filterkit.errors import ConfigError, FilterkitError, InputError, RateLimited, StoppedEarly, Transient
from filterkit.files import atomic_write, locked, read_json, write_json
from filterkit.filters import load_filter
from filterkit.forced import tell_forced
from filterkit.io import expand, refuse_to_overwrite, rejects_name
from filterkit.manifest import load_manifest
from filterkit.options import make_backend
from filterkit.pipeline.shards import Counts, Judge, ShardWriter, Worker, close_inputs, make_worker, read_shard
from filterkit.plugins import plugins
from filterkit.policy import check_policy
from filterkit.records import Record, Shard, ShardResult, canonical_json, sha256_text
from filterkit.rows import compress, count_rows
from filterkit.shipped import student_folder
from filterkit.spec import FilterSpec
from filterkit.student import check_fits, check_same, remote_model

PLAN = "plan.json"
OUTPUT_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
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

    @property
    def folder(self) -> str:
        """Name of the folder of this plan's parts."""
        return sha256_text(canonical_json(self.model_dump(mode="json")))[:16]


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
    remotes: Sequence[str] = (),
    remote_options: Mapping[str, Any] = {},
    restart: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> ScoreReport:
    """Judge every article of `files` by each (filter, student folder) and write one row per article to `output`.

    remotes: the address that scores in the place of each student, which then only calibrates; none, or one a filter.
    A filter that cannot be loaded is skipped, unless none can. Raises ConfigError when a half-done run of
    another plan is in the way (and not `restart`) or `output` cannot be one, StoppedEarly when `stop()` turned true
    or a shard failed.
    """
    if not output.name.endswith(OUTPUT_SUFFIXES):
        raise ConfigError(f"the output must end in one of {', '.join(OUTPUT_SUFFIXES)}", where=output)
    rejects = output.with_name(rejects_name(output.name))
    refuse_to_overwrite(files, output, rejects)
    judges, skipped, spec = _judges(filters, remotes or [None] * len(filters), remote_options)
    run = output.with_name(output.name + ".run")
    make_backend("executor", *executor, spec, Context(workdir=run)).close()  # wrong options, before anything is planned
    with locked(run / "lock", f"the run {output}"):
        plan = _plan(judges, files, fields or {}, run, restart)
        resumed = sum(_is_done(run / plan.folder, shard.id) for shard in plan.shards)
        work = partial(make_worker, plan.judges, device, threads, dict(remote_options))
        _work(plan, spec, work, run / plan.folder, output, executor, progress, stop)
        counts = _join(plan, run / plan.folder, output, rejects)
        (run / PLAN).unlink()  # first: killed while the rest is removed, the next run does not rely on it
        shutil.rmtree(run, ignore_errors=True)
    return ScoreReport(counts, resumed, output, rejects if counts.rejected else None, skipped)


def _judges(
    filters: Sequence[tuple[str, Path]], remotes: Sequence[str | None], remote_options: Mapping[str, Any]
) -> tuple[list[Judge], dict[str, str], FilterSpec]:
    """Who can judge, who cannot and why, and the spec of the first who can."""
    judges: list[Judge] = []
    skipped: dict[str, str] = {}
    specs: list[FilterSpec] = []
    for (name, folder), remote in zip(filters, remotes, strict=True):
        try:
            student = student_folder(folder)
            loaded = load_filter(name)
            manifest = load_manifest(student, verify=remote is None)
            check_fits(loaded, manifest, student)
            if remote is None:
                plugins().load("model", manifest.format)
            else:
                there = remote_model(remote, loaded.spec, remote_options)
                check_same(there, remote, manifest, student)
                there.close()
            check_policy(loaded.spec)
        except FilterkitError as error:
            if len(filters) == 1:
                raise
            skipped[name] = str(error)
            continue
        tell_forced(manifest)
        specs.append(loaded.spec)
        judges.append(
            Judge(
                name=loaded.name,
                filter=str(loaded.path.resolve()),
                student=str(student.resolve()),
                student_hash=manifest.student_hash,
                policy_hash=loaded.spec.policy_hash,
                prefilter=loaded.spec.prefilter,
                remote=remote,
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
    for path in paths:
        if not path.is_file():
            raise InputError("is not a file that can be read twice", where=path, fix="Write its lines to a file first")
    stats = [(p.resolve(), p.stat()) for p in paths]
    inputs = tuple(InputFile(path=str(p), size=s.st_size, modified_ns=s.st_mtime_ns) for p, s in stats)
    wanted = Plan(inputs=inputs, judges=tuple(judges), fields=dict(fields), shards=())
    file = run / PLAN
    if file.is_file() and not restart:
        found = _read_plan(file)
        if found is not None and found.model_copy(update={"shards": ()}) == wanted:
            return found
        if found is None or any(_is_done(run / found.folder, shard.id) for shard in found.shards):
            raise ConfigError(
                "a run with other inputs, students or policies is half done",
                where=run,
                fix="Finish it with the command it was started with, or discard it with --restart",
            )
    file.unlink(missing_ok=True)
    for leftover in run.iterdir():
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
    plan = wanted.model_copy(update={"shards": tuple(_shards([p for p, _ in stats]))})
    write_json(file, plan.model_dump(mode="json"))
    return plan


def _read_plan(file: Path) -> Plan | None:
    """The plan on disk; None when another version of filterkit wrote it."""
    try:
        return Plan.model_validate(read_json(file))
    except ValidationError:
        return None


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
    work: Callable[[], Worker],
    run: Path,
    output: Path,
    executor: tuple[str, Mapping[str, Any]],
    progress: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> None:
    """Have the executor work on all shards that are not done."""
    total = sum(_rows(s) for s in plan.shards)
    finished = {s.id: _rows(s) for s in plan.shards if _is_done(run, s.id)}
    failed: list[ShardResult] = []
    again = "Run the same command again to go on"

    def tell() -> None:
        rows = sum(finished.values())
        progress(Progress(shards=len(finished), of_shards=len(plan.shards), rows=rows, of_rows=total))

    tell()
    backend: Executor[Any] = make_backend("executor", *executor, spec, Context(workdir=run, stop=stop))
    try:
        results: Iterator[ShardResult] = backend.map_shards(
            plan.shards,
            partial(read_shard, fields=plan.fields),
            work,
            ShardWriter(str(run), output.suffix),
            done=lambda shard_id: _is_done(run, shard_id),
        )
        for result in results:
            if result.error:
                failed.append(result)
                continue
            finished[result.shard] = result.read
            tell()
            if stop():
                break
    except (Transient, RateLimited) as error:  # of a remote model; what is done is done
        raise StoppedEarly(str(error), where=output, fix=again) from error
    finally:
        backend.close()
        close_inputs()
    if failed:
        raise StoppedEarly(
            f"{len(failed)} of {len(plan.shards)} shards failed, the first: {failed[0].error}", where=output, fix=again
        )
    if len(finished) < len(plan.shards):
        raise StoppedEarly(f"stopped after {len(finished)} of {len(plan.shards)} shards", where=output, fix=again)


def _rows(shard: Shard) -> int:
    return shard.rows[1] - shard.rows[0] if shard.rows else 0


def _is_done(run: Path, shard_id: str) -> bool:
    return (run / "done" / f"{shard_id}.json").is_file() and (run / "parts" / shard_id).is_file()


def _join(plan: Plan, run: Path, output: Path, rejects: Path) -> Counts:
    """The parts as one output file, the rejects (if any) in another, and the counts in sum."""
    counts = [Counts.model_validate(read_json(run / "done" / f"{s.id}.json")) for s in plan.shards]
    total = sum(counts, Counts())
    if total.rejected:
        _concatenate([p for s in plan.shards if (p := run / "parts" / f"{s.id}.rejected").is_file()], rejects)
    else:
        rejects.unlink(missing_ok=True)
    _concatenate([run / "parts" / s.id for s in plan.shards], output)
    return total


def _concatenate(parts: Sequence[Path], output: Path) -> None:
    """The parts one after the other; without any, what an empty file of the output's compression holds."""
    with atomic_write(output) as out:
        if not any(part.stat().st_size for part in parts):
            out.write(compress(output, b""))
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, out, COPY_BYTES)
