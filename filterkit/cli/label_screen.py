"""Screening before paying, as `filterkit label` and `filterkit run` do it: what is left out, and how that is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import click

from filterkit.cli.common import F, counted
from filterkit.cli.label_job import Job
from filterkit.cli.progress import plain, watched
from filterkit.cli.steps import Labelling, before_labelling
from filterkit.files import atomic_write
from filterkit.io import read_places, readable, refuse_to_overwrite, rejects_name
from filterkit.pipeline.screen import Decision, Screening, ScreenReport, text_key
from filterkit.policy import make_prefilter
from filterkit.records import Article
from filterkit.rows import dump_line
from filterkit.spec import FilterSpec
from filterkit.store import Key

CHUNK = 1000
ENOUGH = 20_000
"""Articles that are looked at before it is asked for the first time whether they are enough for --limit."""
NAMED = 5

screen_option: Callable[[F], F] = click.option(
    "--no-screen",
    "no_screen",
    is_flag=True,
    help="Ask about near-duplicates, boilerplate and what the prefilter holds back, too.",
)


@dataclass(frozen=True)
class Kept:
    """The sieve that screening makes. keys: `text_key` of what is left out."""

    spec: FilterSpec
    keys: frozenset[int]

    def keep(self, articles: Iterable[Article]) -> Iterator[Article]:
        """The articles that are asked about, in their order."""
        if not self.keys:
            return iter(articles)
        return (article for article in articles if text_key(self.spec, article) not in self.keys)


def screened(job: Job, no_screen: bool = False, *, whole: bool = False) -> Job:
    """The job without the articles that are not worth a label; says so, and writes which these are.

    With a limit only so many articles are looked at as it takes to fill it, unless `whole`. Raises InputError for files
    of another format, or more articles than can be compared here; PluginError when the filter's prefilter is missing.
    """
    if no_screen or not _any_part(job):
        return job
    pipe = next((file for file in readable(job.files) if not file.is_file()), None)
    if pipe is not None:
        click.echo(f"note: {plain(str(pipe))} can be read only once, so nothing is screened", err=True)
        return job
    file = left_out_file(job)
    with before_labelling(job.filter, job.config, job.store_file) as labelling, ExitStack() as stack:
        decision = _decided(job, stack.enter_context(closing(_screening(job, labelling, stack))), whole)
        _write(decision, file)
    report = decision.report
    _say(report, file)
    told = {**report.to_dict(), "file": str(file) if report.left_out else None}
    return job.with_sieve(Kept(job.filter.spec, decision.keys), {"screen": told})


def left_out_file(job: Job) -> Path:
    """Where it is written what is left out: `<first file>.left-out.jsonl`, beside the rejected lines."""
    name = rejects_name(readable(job.files)[0].name).removesuffix("rejected.jsonl")
    path = job.config.workspace / f"{name}left-out.jsonl"
    refuse_to_overwrite(job.files, path)
    return path


def _any_part(job: Job) -> bool:
    parts = job.config.settings.label.screen
    held = parts.prefilter and job.filter.spec.prefilter is not None
    return parts.near_duplicates is not None or parts.boilerplate or held


def _screening(job: Job, labelling: Labelling, stack: ExitStack) -> Screening:
    parts = job.config.settings.label.screen
    prefilter = make_prefilter(job.filter.spec) if parts.prefilter else None
    if prefilter is not None:
        stack.callback(prefilter.close)

    def standings(hashes: Sequence[str]) -> list[str]:
        if labelling.store is None:
            return ["free"] * len(hashes)
        states = labelling.store.states(labelling.question, [Key(one) for one in hashes])
        return ["free" if s.kind == "failed" and job.retry_failed else s.kind for s in states]

    return Screening(
        job.filter.spec,
        standings,
        near_duplicates=parts.near_duplicates,
        boilerplate=parts.boilerplate,
        prefilter=prefilter,
    )


def _decided(job: Job, screening: Screening, whole: bool) -> Decision:
    found = watched((file, line, article) for file, line, article, _ in read_places(job.files, job.fields))
    limit = None if whole else job.limit
    enough = max(ENOUGH, 2 * (limit or 0))
    while chunk := list(islice(found, CHUNK)):
        screening.add(chunk)
        if limit is not None and len(screening) >= enough:
            decision = screening.decide()
            if decision.report.kept >= limit:
                return decision
            enough *= 4
    return screening.decide()


def _write(decision: Decision, path: Path) -> None:
    """Which articles are left out and why, a line each; no file where there are none."""
    if not decision.report.left_out:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as file:
        for one in decision.left_out():
            file.write(dump_line({name: value for name, value in asdict(one).items() if value not in (None, "")}))


def _say(report: ScreenReport, file: Path) -> None:
    if report.left_out:
        kinds = (
            (report.near_duplicates, counted(report.near_duplicates, "near-duplicate")),
            (report.boilerplate, f"{report.boilerplate:,} boilerplate ({_named(report.boilerplate_by)})"),
            (report.prefilter, f"{report.prefilter:,} held back by the prefilter"),
        )
        what = ", ".join(words for count, words in kinds if count)
        click.echo(
            f"left out {report.left_out:,} of {counted(report.read, 'article')} before asking: {what}; "
            f"which and why: {file}; --no-screen asks about them, too",
            err=True,
        )
    _say_rules("the prefilter held back", report.blocked_by, report.blocked_by_source)
    _say_rules("shadow rules would hold back", report.shadowed_by, report.shadowed_by_source)


def _say_rules(what: str, by_language: Counter[str], by_source: Counter[str]) -> None:
    if by_language:
        click.echo(f"  {what}, by language: {_named(by_language)}; by source: {_named(by_source)}", err=True)


def _named(counts: Counter[str]) -> str:
    more = f", and {len(counts) - NAMED:,} more" if len(counts) > NAMED else ""
    return ", ".join(f"{plain(name, 80)} {count:,}" for name, count in counts.most_common(NAMED)) + more
