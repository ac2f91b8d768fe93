"""--select and what goes with it, for `label` and `sample`: options, strategies, words."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filterkit.cli.common import FILE, FOLDER, F, counted

if TYPE_CHECKING:
    from filterkit.config import Config
    from filterkit.contracts import Embedder
    from filterkit.pipeline.choose.choice import Choice
    from filterkit.pipeline.choose.mix import Part
    from filterkit.pipeline.choose.strategies import Strategy
    from filterkit.spec import FilterSpec
    from filterkit.student import Student

MOST_EXAMPLES = 10_000


@dataclass(frozen=True)
class Choosing:
    """What --select and the options beside it say. `parts` is empty where nothing is to be chosen."""

    parts: tuple[Part, ...]
    near: tuple[Path, ...]
    student: Path | None
    domain_cap: int | None
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """The strategies, in their order."""
        return tuple(part.strategy for part in self.parts)

    @property
    def words(self) -> str:
        """The mix, as --select takes it."""
        return ",".join(p.strategy if p.share == 1 else f"{p.strategy}:{p.share:g}" for p in self.parts)


def select_options(default: str | None) -> Callable[[F], F]:
    """--select and its like; the command gets them checked and as one, `choosing`."""

    def decorate(command: F) -> F:
        @click.option(
            "--select",
            default=default,
            metavar="STRATEGY",
            help="How the --limit articles are chosen: diverse (the best student for the money), random, stratified, "
            "near, uncertain, or a mix (random:0.5,near:0.5)." + (f"  [default: {default}]" if default else ""),
        )
        @click.option("--near", type=FILE, multiple=True, help="Examples to be near to, for --select near.")
        @click.option("--student", type=FOLDER, help="The student to be unsure, for --select uncertain.")
        @click.option("--domain-cap", type=click.IntRange(min=1), metavar="K", help="At most K of one URL host.")
        @click.option("--seed", type=click.IntRange(min=0), help="Another draw.  [default: 0]")
        @functools.wraps(command)
        def wrapped(
            select: str | None,
            near: tuple[Path, ...],
            student: Path | None,
            domain_cap: int | None,
            seed: int | None,
            **others: Any,
        ) -> Any:
            return command(choosing=_choosing(select, near, student, domain_cap, seed), **others)

        return wrapped  # type: ignore[return-value]

    return decorate


def _choosing(
    select: str | None, near: tuple[Path, ...], student: Path | None, domain_cap: int | None, seed: int | None
) -> Choosing:
    from filterkit.pipeline.choose.mix import parse_mix

    choosing = Choosing(() if select is None else parse_mix(select), near, student, domain_cap, seed or 0)
    beside = {"--near": ("near", bool(near)), "--student": ("uncertain", student is not None)}
    for option, (strategy, given) in beside.items():
        if given and strategy not in choosing.names:
            raise click.UsageError(f"{option} belongs to --select {strategy}")
        if not given and strategy in choosing.names:
            what = "example articles" if strategy == "near" else "the folder of a trained student"
            raise click.UsageError(f"--select {strategy} needs {option}: {what}")
    if not choosing.parts and (domain_cap is not None or seed is not None):
        raise click.UsageError("--domain-cap and --seed say how to choose: give --select, too")
    return choosing


@contextlib.contextmanager
def strategies_of(
    choosing: Choosing,
    limit: int,
    config: Config,
    spec: FilterSpec,
    filter_name: str | None,
    fields: Mapping[str, str],
) -> Iterator[Mapping[str, Strategy]]:
    """A strategy for each part, ready for a pass over the articles; what they need is opened for the block.

    filter_name: the filter that a student must be of; None: any will do. fields: the pool's columns. Raises
    PluginError where no embedder is installed, InputError where there is no example, ConfigError for a student that
    knows no doubt.
    """
    from filterkit.pipeline.choose.strategies import Diverse, Near, Random, Stratified, Uncertain

    with contextlib.ExitStack() as stack:
        embedder = None
        if {"near", "diverse"} & set(choosing.names):
            embedder = stack.enter_context(contextlib.closing(_embedder(config, spec)))
        made: dict[str, Strategy] = {}
        for name in choosing.names:
            usual = (limit, choosing.domain_cap, choosing.seed)
            if name == "random":
                made[name] = Random(*usual)
            elif name == "stratified":
                made[name] = Stratified(*usual)
            elif name == "uncertain":
                assert choosing.student is not None
                student = stack.enter_context(contextlib.closing(_student(choosing.student, filter_name)))
                made[name] = Uncertain(*usual, _doubts_of(student))
            elif embedder is not None:
                near = name == "near"
                made[name] = (
                    Near(*usual, embedder.embed, _examples(choosing.near, fields))
                    if near
                    else Diverse(*usual, embedder.embed)
                )
        yield made


def _embedder(config: Config, spec: FilterSpec) -> Embedder[Any]:
    from filterkit.cli.steps import work_dir
    from filterkit.contracts import Context
    from filterkit.options import make_backend

    name, options = config.backend("embedder")
    context = Context(workdir=work_dir(config, f"embedder-{name}"), root=config.workspace)
    made: Embedder[Any] = make_backend("embedder", name, options, spec, context)
    return made


def _student(folder: Path, filter_name: str | None) -> Student:
    """The student that is asked how sure it is. That of an older rubric of the same filter may be asked, too."""
    from filterkit.errors import ArtifactError
    from filterkit.pipeline.choose.doubts import check_unsure
    from filterkit.student import load_student

    student = load_student(folder)
    try:
        if filter_name is not None and student.spec.name != filter_name:
            raise ArtifactError(
                f"this student was trained for filter {student.spec.name!r}, not {filter_name!r}", where=folder
            )
        check_unsure(student, folder)
    except BaseException:
        student.close()
        raise
    return student


def _doubts_of(student: Student) -> Any:
    from filterkit.pipeline.choose.doubts import doubts

    return functools.partial(doubts, student)


def _examples(files: tuple[Path, ...], fields: Mapping[str, str]) -> list[Any]:
    """The articles to be near to, under the pool's columns or, where none has those, under our own names."""
    from itertools import islice

    from filterkit.cli.progress import plain
    from filterkit.errors import InputError
    from filterkit.io import Rejects, read_articles

    for columns in (fields, {}):
        rejects = Rejects()
        found = list(islice(read_articles(files, columns, rejects), MOST_EXAMPLES + 1))
        if found:
            break
    if not found:
        raise InputError("holds no article to be near to", where=files[0], fix="One JSON object a line, with content")
    if len(found) > MOST_EXAMPLES:
        raise InputError(
            f"there are more than {MOST_EXAMPLES:,} examples", where=files[0], fix="Some dozens are enough"
        )
    if rejects.count:
        click.echo(
            f"note: {counted(rejects.count, 'example')} could not be read: {plain(str(rejects.first))}", err=True
        )
    return found


def chosen_words(choosing: Choosing, told: Mapping[str, Any]) -> str:
    """One line: what was chosen (`told`: as Choice.to_dict has it) from what."""
    kinds = ((told["labelled"], "labelled already"), (told["failed_before"], "failed before"))
    known = ", ".join(f"{count:,} {kind}" for count, kind in kinds if count)
    before = f" ({known})" if known else ""
    each = ", ".join(f"{count:,} {name}" for name, count in told["strategies"].items())
    how = each if len(told["strategies"]) > 1 else choosing.words
    cap = "" if choosing.domain_cap is None else f", at most {choosing.domain_cap:,} of a host"
    return (
        f"chose {counted(told['chosen'], 'article')} of {told['free']:,}{before}: {how}{cap}; "
        f"{len(told['strata']):,} of {told['strata_in_all']:,} sources and languages, {counted(told['hosts'], 'host')}"
    )


def told_of(choice: Choice, choosing: Choosing) -> dict[str, Any]:
    """What --json says of a choice."""
    return {"select": choosing.words, "seed": choosing.seed, "domain_cap": choosing.domain_cap, **choice.to_dict()}
