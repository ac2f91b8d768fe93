"""What is said of batch jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from filterkit.cli.common import counted, print_table
from filterkit.cli.progress import duration, plain
from filterkit.contracts import JobState
from filterkit.pipeline.batches import Event, Out
from filterkit.store.jobs import JobRow

SAY_EVERY_S = 30.0
HEADS = ("JOB", "STATE", "FILTER", "ORACLE", "MODEL", "REQUESTS", "LABELLED", "FAILED", "SINCE", "HANDLE")


class Teller:
    """Says what happens to jobs, a line each. How a job stands is said when it changed, and now and then."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, float]] = {}
        self._waits = ""

    def __call__(self, event: Event) -> None:
        if event.kind == "waiting":
            if event.why != self._waits:
                self._waits = event.why
                click.echo(f"waiting: {plain(event.why)}", err=True)
        elif event.job is not None and event.kind == "stands":
            self._stands(event.job, event.state)
        elif event.job is not None:
            click.echo(happened(event, event.job), err=True)

    def _stands(self, job: JobRow, state: JobState | None) -> None:
        text, now = standing(state), time.monotonic()
        before, said = self._said.get(job.token, ("", 0.0))
        kind = text.partition(",")[0]
        if kind != before.partition(",")[0] or (text != before and now - said >= SAY_EVERY_S):
            self._said[job.token] = (text, now)
            click.echo(f"{job.token}: {text}", err=True)


def happened(event: Event, job: JobRow) -> str:
    """An event in words."""
    if event.kind == "submitted":
        return f"{job.token}: submitted, {counted(job.requests, 'request')}"
    if event.kind == "found":
        return f"{job.token}: was submitted before; found again, {counted(job.requests, 'request')}"
    if event.kind == "unsent":
        why = f" ({plain(event.why)})" if event.why else ""
        return f"{job.token}: was never submitted{why}; its {counted(job.requests, 'question')} can be asked again"
    if event.kind == "lost":
        return f"{job.token}: lost ({plain(event.why)})"
    return f"{job.token}: collected{' after it was cancelled' if job.cancelled else ''}, {outcome(job)}"


def outcome(job: JobRow) -> str:
    """What became of a job's requests, in words."""
    parts = [f"{job.labelled:,} of {counted(job.requests, 'request')} labelled"]
    parts += [f"{job.failed:,} failed"] if job.failed else []
    again = job.again + job.released
    parts += [f"{again:,} to be asked again ({job.released:,} of them were never run)"] if job.released else []
    parts += [f"{again:,} to be asked again"] if job.again and not job.released else []
    return ", ".join(parts)


def standing(state: JobState | None) -> str:
    """How a provider says that a job stands."""
    if state is None:
        return "out"
    done = f", {state.done:,} of {state.total:,} done" if state.done is not None and state.total else ""
    said = f" ({plain(state.message, 120)})" if state.message else ""
    return f"{state.state}{done}{said}"


def show_out(out: Sequence[Out], left: int, come_back: str) -> None:
    """What is out, and how to go on."""
    for one in out:
        since = duration(max(0.0, time.time() - one.job.created))
        click.echo(f"  {one.job.token}: {counted(one.job.requests, 'request')}, {standing(one.state)}, since {since}")
    if left:
        click.echo(f"  {counted(left, 'article')} not asked yet")
    if out:
        jobs = "A batch job is out." if len(out) == 1 else f"{len(out):,} batch jobs are out."
        click.echo(f"{jobs} {come_back}", err=True)
    elif left:
        click.echo("Run the same command again to go on.", err=True)


def job_data(job: JobRow, state: JobState | None = None) -> dict[str, Any]:
    """A job for --json. How it stands at its provider is there where it was asked."""
    row = asdict(job)
    question, oracle = row.pop("question"), row.pop("oracle")
    for name in ("owner", "first", "last"):
        del row[name]
    named = {"filter": question["filter_name"], "oracle": oracle["name"], "model": question["model"]}
    times = {name: _time(row.pop(name)) for name in ("created", "submitted", "cancelled", "ended")}
    named |= {"request_hash": question["request_hash"], "options": oracle["options"]}
    return {**row, **named, **times, "provider": None if state is None else state.model_dump()}


def show_jobs(found: Sequence[JobRow]) -> None:
    """A table of jobs."""
    rows = []
    for job in found:
        state = "cancelling" if job.cancelled and job.ended is None else job.state
        question = job.question
        since = (_time(job.ended or job.submitted or job.created) or "")[:16].replace("T", " ")
        counts = (f"{job.requests:,}", f"{job.labelled:,}", f"{job.failed:,}")
        names = (question.filter_name, question.oracle, question.model or "-")
        rows.append((job.token, state, *names, *counts, since, job.handle or "-"))
    print_table(HEADS, [[plain(cell, 120) for cell in row] for row in rows])


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
