"""Who is compared by `filterkit compare`, and on which articles."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filterkit.cli.common import configure
from filterkit.cli.steps import before_labelling
from filterkit.config import Config
from filterkit.errors import ConfigError, InputError, PluginError
from filterkit.filters import Filter
from filterkit.io import Rejects, parse_fields, read_articles
from filterkit.pipeline.compare.draw import Covered, draw
from filterkit.pipeline.compare.judges import Candidate, LabelFile
from filterkit.records import Article
from filterkit.store import Question, Store


@dataclass(frozen=True)
class Named:
    """One --oracle: [LABEL=]NAME[:MODEL]."""

    text: str
    label: str
    use: str | None
    model: str | None

    def names(self, option: str) -> str | None:
        """The longest of its names that an option `NAME.key=value` begins with."""
        known = [name for name in (self.label, self.text, self.use) if name and option.startswith(f"{name}.")]
        return max(known, key=len, default=None)


def parse_oracle(text: str) -> Named:
    """`gemini`, `openai:gpt-6-luna` or `cheap=openai:gpt-6-luna`. ConfigError for anything else."""
    head, equals, rest = text.partition("=")
    label, named = (head, rest) if equals and ":" not in head else ("", text)
    use, colon, model = named.partition(":")
    if not use or (colon and not model) or (equals and not (label or ":" in head)):
        raise ConfigError(f"--oracle takes NAME, NAME:MODEL or LABEL=NAME:MODEL, not {text[:80]!r}")
    return Named(text, label, use, model or None)


@dataclass
class Job:
    """What the command line asks to be compared, and what was found to compare."""

    store_file: Path
    asked: list[tuple[Candidate, Config]]
    files: list[LabelFile]
    rejects: Rejects
    repeat: int = 1
    stored: bool = False
    retry_failed: bool = False
    max_cost: float | None = None
    as_json: bool = False
    articles: list[Article] = field(default_factory=list)

    @property
    def candidates(self) -> list[Candidate]:
        return [candidate for candidate, _ in self.asked]

    @contextlib.contextmanager
    def store(self) -> Iterator[Store | None]:
        """The label store; None where there is none yet."""
        if not self.store_file.is_file():
            yield None
            return
        with Store(self.store_file, create=False) as store:
            yield store


def who_is_asked(
    filters: Sequence[Filter],
    filter_names: Sequence[str],
    oracles: Sequence[str],
    options: Sequence[str],
    workspace: Path | None,
    job: Job,
) -> list[tuple[Candidate, Config]]:
    """The oracles whose labels are wanted, each with its configuration."""
    if len(filters) > 1 and len(oracles) > 1:
        raise ConfigError("several filters and several oracles are too much at once", fix="Compare one or the other")
    if not oracles and job.stored and len(filters) == 1:
        config = configure(filters[0], workspace, options=tuple(options))
        return [(candidate, config) for candidate in _stored(filters[0], config, job)]
    named = [parse_oracle(text) for text in oracles] or [Named("", "", None, None)]
    only_files = not oracles and bool(job.files) and len(filters) == 1
    if only_files and len(job.files) > 1:
        return []  # files are held against each other; nobody is asked who was not named
    found: list[tuple[Candidate, Config]] = []
    for number, filter in enumerate(filters):
        for one in named:
            more = {"oracle.model": one.model}
            config = configure(filter, workspace, "oracle", one.use, _options_of(one, options, named), more)
            if only_files and not config.backends.get("oracle", {}).get("use"):
                return []  # labels of files alone
            candidate = _candidate(filter, config, one, job)
            if len(filters) > 1:
                candidate = _renamed(candidate, _filter_label(filters, filter_names, number))
            found.append((candidate, config))
    return found


def _options_of(one: Named, options: Sequence[str], named: Sequence[Named]) -> tuple[str, ...]:
    """The -O that are for one oracle, without its name in front."""
    mine: list[str] = []
    for option in options:
        owners = {id(other): other.names(option) for other in named}
        best = max((len(name) for name in owners.values() if name), default=0)
        if not best:
            mine.append(option)
        elif (name := owners[id(one)]) and len(name) == best:
            mine.append(option[len(name) + 1 :])
    return tuple(mine)


def _candidate(filter: Filter, config: Config, one: Named, job: Job) -> Candidate:
    """One oracle as its configuration names it. With --stored its plugin may be missing."""
    try:
        with before_labelling(filter, config, job.store_file) as labelling:
            question, pricing = labelling.question, labelling.pricing
    except PluginError:
        if not job.stored:
            raise
        name, given = config.backend("oracle")
        question, pricing = Question(filter.request_hash(), name, str(given.get("model", "")), filter.name), None
    return Candidate(one.label or _who(question), filter, question, pricing)


def _who(question: Question) -> str:
    return ":".join(part for part in (question.oracle, question.model) if part)


def _renamed(candidate: Candidate, name: str) -> Candidate:
    return Candidate(name, candidate.filter, candidate.question, candidate.pricing)


def _filter_label(filters: Sequence[Filter], typed: Sequence[str], number: int) -> str:
    """A filter's name and version, or what was typed where that is the same twice."""
    names = [f"{filter.name} {filter.spec.version}" for filter in filters]
    return names[number] if names.count(names[number]) == 1 else typed[number]


def _stored(filter: Filter, config: Config, job: Job) -> list[Candidate]:
    """Every oracle and model that the store has labels of under this rubric."""
    hashes = {filter.request_hash()}
    pricing: dict[Question, Any] = {}
    if config.backends.get("oracle", {}).get("use"):
        with contextlib.suppress(PluginError), before_labelling(filter, config, job.store_file) as labelling:
            hashes.add(labelling.question.request_hash)
            pricing[labelling.question] = labelling.pricing
    with job.store() as store:
        counts = [] if store is None else store.of_filter(filter.name)
    questions = [count.question for count in counts if count.question.request_hash in hashes]
    return [Candidate(_who(q), filter, q, pricing.get(q)) for q in sorted(questions, key=_who)]


def check_judges(job: Job) -> None:
    """ConfigError when there is nothing to compare, or one judge twice."""
    names = [candidate.name for candidate in job.candidates] + [one.name for one in job.files]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two judges are called {name!r}", fix="Name another model, or give a label: --oracle LABEL=NAME:MODEL"
            )
    for number, candidate in enumerate(job.candidates):
        same = [c for c in job.candidates[:number] if c.question == candidate.question]
        spec = candidate.filter.spec
        if same and same[0].filter.spec.version != spec.version:
            if same[0].filter.spec.policy_hash != spec.policy_hash:
                continue  # the same answers, to be weighed in two ways
            raise ConfigError(
                f"{same[0].name!r} and {candidate.name!r} ask and weigh the same",
                fix="Edit the rubric or the policy of one of them first",
            )
        if same:
            raise ConfigError(
                f"{same[0].name!r} and {candidate.name!r} ask the same model the same: their answers are shared",
                fix="Name another model (--oracle LABEL=NAME:MODEL), or say --repeat 2 to compare it with itself",
            )
    if len(names) > 1 or (names and (job.repeat > 1 or job.stored)):
        return
    if not names and job.stored:
        raise InputError("holds no labels for this rubric", where=job.store_file, fix="Leave --stored away to ask")
    raise ConfigError(
        f"there is nothing to compare {names[0] if names else 'anything'} with",
        fix="Give a second --oracle, a second FILTER or --labels FILE; or --repeat 2, to compare an oracle with itself",
    )


def draw_articles(job: Job, filter: Filter, files: Sequence[str], fields: str | None, limit: int, seed: int) -> None:
    """The sample, into the job. InputError when there is none."""
    asks = bool(job.asked) and not job.stored
    source: Iterable[Article]
    if files:
        source = read_articles(files, parse_fields(fields), job.rejects)
    elif job.files:
        source = (article for one in job.files for article in one.articles)
    elif job.stored:
        source = _stored_articles(job)
    else:
        raise ConfigError("there are no articles to compare on", fix="Name them: --articles FILE")
    several = len({id(candidate.filter) for candidate in job.candidates}) > 1
    with job.store() as store:
        if asks and several and not job.files and store is not None:
            covered: Covered | None = _preferred(_coverage(job, store))
        else:
            covered = None if asks and not job.files else _coverage(job, store if job.stored else None)
        job.articles = draw(source, filter.spec, limit, seed, covered)
    if not job.articles:
        why = "no article of these has a label of any of the judges" if covered else "there are no articles"
        raise InputError(why, where=files[0] if files else None, fix="Labels are found by an article's text or id")


def _preferred(covered: Covered) -> Covered:
    """Articles that versions of a rubric have labels of come first, so that little has to be asked; others after."""
    return lambda articles: [count + 1 for count in covered(articles)]


def _stored_articles(job: Job) -> Iterator[Article]:
    with job.store() as store:
        if store is not None:
            for row in store.labels_of([candidate.question for candidate in job.candidates]):
                yield row.article


def _coverage(job: Job, store: Store | None) -> Covered:
    """How many judges have labels of an article: those of files and, given a store, those in it."""

    def covered(articles: Sequence[Article]) -> list[int]:
        counts = [sum(one.label(article) is not None for one in job.files) for article in articles]
        for candidate in job.candidates if store is not None else ():
            assert store is not None
            states = store.states(candidate.question, candidate.keys(articles))
            counts = [n + (state.kind == "labelled") for n, state in zip(counts, states, strict=True)]
        return counts

    return covered
