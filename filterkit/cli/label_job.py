"""What `filterkit label` was asked to do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import click

from filterkit.cli.common import F
from filterkit.config import Config
from filterkit.filters import Filter
from filterkit.io import Rejects, read_articles
from filterkit.records import Article

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
    """What the command line asks to have labelled."""

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

    def articles(self, rejects: Rejects | None = None) -> Iterator[Article]:
        """The articles from their beginning, without what a sieve holds back, up to the limit.

        InputError for files of another format.
        """
        found = read_articles(self.files, self.fields, rejects)
        for sieve in self.sieves:
            found = sieve.keep(found)
        return islice(found, self.limit)

    def with_sieve(self, sieve: Sieve) -> Job:
        """The same job, of what the sieve lets through."""
        return replace(self, sieves=(*self.sieves, sieve))
