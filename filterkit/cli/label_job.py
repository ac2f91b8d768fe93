"""What `filterkit label` was asked to do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import click

from filterkit.cli.common import F
from filterkit.config import Config
from filterkit.filters import Filter
from filterkit.io import Rejects, read_articles
from filterkit.pipeline.judgement.again import NotFailed
from filterkit.records import Article
from filterkit.store import Question

ASKS = (
    "Do not ask for confirmation. Only asked on a terminal, and only where these articles have labels "
    "of another rubric or model."
)


def spending_options(command: F) -> F:
    """--max-cost USD and --yes"""
    command = click.option("--yes", is_flag=True, help=ASKS)(command)
    return click.option(
        "--max-cost",
        "max_cost",
        type=click.FloatRange(min=0, min_open=True),
        callback=_finite,
        metavar="USD",
        help="What this rubric's labels by this oracle and model may cost, earlier runs included.",
    )(command)


def _finite(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("name an amount of dollars")
    return value


class Sieve(Protocol):
    """A decision about every article, made before anything is asked."""

    def keep(self, articles: Iterable[Article]) -> Iterator[Article]:
        """The articles that are to be asked about, in their order; each pass over the files gives the same."""
        ...


@dataclass(frozen=True)
class Job:
    """What the command line asks to have labelled.

    samples: how many answers each question gets; sample: the number of the one that this job is about. sieves decide
    before the limit counts, `after` of what it leaves; told is what they say to --json.
    """

    filter: Filter
    config: Config
    files: tuple[str, ...]
    fields: dict[str, str]
    store_file: Path
    limit: int | None = None
    retry_failed: bool = False
    max_cost: float | None = None
    yes: bool = False
    as_json: bool = False
    sieves: tuple[Sieve, ...] = ()
    samples: int = 1
    sample: int = 0
    after: tuple[Sieve, ...] = ()
    batch: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)

    def articles(self, rejects: Rejects | None = None) -> Iterator[Article]:
        """The articles from their beginning, up to the limit, without what a sieve holds back.

        InputError for files of another format.
        """
        found = read_articles(self.files, self.fields, rejects)
        for sieve in self.sieves:
            found = sieve.keep(found)
        return self.left_of(islice(found, self.limit))

    def left_of(self, articles: Iterable[Article]) -> Iterator[Article]:
        """What the sieves behind the limit leave of some articles."""
        found = iter(articles)
        for sieve in self.after:
            found = sieve.keep(found)
        return found

    def with_sieve(self, sieve: Sieve, told: Mapping[str, Any] | None = None) -> Job:
        """The same job, of what the sieve lets through. `told`: what --json says of it, by a name of its own."""
        return replace(self, sieves=(*self.sieves, sieve), told={**self.told, **(told or {})})

    def each_answer(self, question: Question) -> Iterator[Job]:
        """This job for each of the answers that it asks for: all articles get a first one before any gets a second."""
        yield replace(self, samples=1)
        again = replace(self, samples=1, after=(*self.after, NotFailed(self.filter.spec, question, self.store_file)))
        for sample in range(1, self.samples):
            yield replace(again, sample=sample)
