"""`filterkit label --select`: the choice is made in a pass of its own, and kept until the command came to its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from filterkit.cli.label_job import Job
from filterkit.cli.progress import watched
from filterkit.cli.selecting import Choosing, chosen_words, strategies_of, told_of
from filterkit.cli.steps import before_labelling, work_dir
from filterkit.errors import InputError
from filterkit.files import read_json, sha256_file, write_json
from filterkit.io import expand
from filterkit.manifest import load_manifest
from filterkit.pipeline.choose.candidates import key_of, offer
from filterkit.pipeline.choose.choice import choose
from filterkit.prompt import sent_text
from filterkit.records import Article, canonical_json, sha256_text
from filterkit.shipped import student_folder
from filterkit.spec import FilterSpec
from filterkit.store import Key, Question, Store


@dataclass(frozen=True)
class Chosen:
    """Lets the chosen texts through, each once."""

    spec: FilterSpec
    keys: frozenset[int]

    def keep(self, articles: Iterable[Article]) -> Iterator[Article]:
        left = set(self.keys)
        for article in articles:
            if not left:
                return
            key = key_of(sha256_text(sent_text(self.spec, article)))
            if key in left:
                left.remove(key)
                yield article


@dataclass(frozen=True)
class Selection:
    """A job that is narrowed to what was chosen; `kept` is where the choice lies until the job is done."""

    job: Job
    kept: Path | None = None

    def over(self, code: int) -> int:
        """The exit code of the command. Where it came to its end (0, or 3: some failed), the next one chooses anew."""
        if self.kept is not None and code in (0, 3):
            self.kept.unlink(missing_ok=True)
        return code


def select(job: Job, choosing: Choosing, *, keep: bool = True) -> Selection:
    """The job with `--limit` of its articles chosen; the job as it is where nothing is to be chosen.

    A run that was stopped goes on with its own choice, which lies in the workspace: what it had labelled by then would
    make it choose others. With `keep=False` (--dry-run) nothing is written.
    """
    if not choosing.parts:
        return Selection(job)
    if job.limit is None:
        raise click.UsageError("--select chooses so many articles: give --limit N, too")
    pipe = next((file for file in expand(job.files) if not file.is_file()), None)
    if pipe is not None:
        raise InputError(
            "can be read only once, and --select reads twice", where=pipe, fix="Let `filterkit sample` choose of it"
        )
    with before_labelling(job.filter, job.config, job.store_file) as labelling:
        kept = work_dir(job.config, "choices") / f"{_identity(job, choosing, labelling.question)}.json"
        found = _read(kept)
        goes_on = found is not None
        if found is None:
            found = _choose(job, choosing, labelling.store, labelling.question)
            if keep:
                write_json(kept, found)
    again = " (chosen before; the run that did so had not ended)" if goes_on else ""
    click.echo(f"{chosen_words(choosing, found['told'])}{again}", err=True)
    sieve = Chosen(job.filter.spec, frozenset(int(key, 16) for key in found["keys"]))
    return Selection(job.with_sieve(sieve, {"selection": found["told"]}), kept if keep else None)


def _choose(job: Job, choosing: Choosing, store: Store | None, question: Question) -> dict[str, Any]:
    spec, limit = job.filter.spec, job.limit
    assert limit is not None

    def stands(hashes: Any) -> list[str]:
        assert store is not None
        return [state.kind for state in store.states(question, [Key(one) for one in hashes])]

    offers = (offer(article, sha256_text(sent_text(spec, article))) for article in watched(_all(job)))
    with strategies_of(choosing, limit, job.config, spec, job.filter.name, job.fields) as strategies:
        choice = choose(
            offers,
            choosing.parts,
            strategies,
            limit,
            cap=choosing.domain_cap,
            stands=None if store is None else stands,
            retry_failed=job.retry_failed,
        )
    keys = [f"{candidate.key:016x}" for candidate in choice.chosen]
    return {"told": told_of(choice, choosing), "keys": keys}


def _all(job: Job) -> Iterator[Article]:
    return replace(job, limit=None).articles()


def _read(path: Path) -> dict[str, Any] | None:
    """The choice of a run that did not end. One that cannot be read is made anew."""
    if not path.is_file():
        return None
    try:
        found = read_json(path)
        return {"told": dict(found["told"]), "keys": [str(key) for key in found["keys"]]}
    except (InputError, KeyError, TypeError, ValueError):
        return None


def _identity(job: Job, choosing: Choosing, question: Question) -> str:
    """Equal for commands that ask for the same choice, also where a glob names more files by now."""
    student = None if choosing.student is None else load_manifest(student_folder(choosing.student)).student_hash
    said = [
        [str(Path(file).resolve()) for file in job.files],
        sorted(job.fields.items()),
        str(job.store_file.resolve()),
        [question.request_hash, question.oracle, question.model],
        [job.limit, job.retry_failed],
        [choosing.words, choosing.seed, choosing.domain_cap, student],
        [sha256_file(path) for path in choosing.near],
        job.config.backends.get("embedder"),
        [type(sieve).__name__ for sieve in job.sieves],  # with or without screening it is another choice
    ]
    return sha256_text(canonical_json(said))[:16]
