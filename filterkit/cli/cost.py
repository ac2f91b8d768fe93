"""filterkit cost"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filterkit.cli.common import (
    FILE,
    backend_options,
    configure,
    filter_argument,
    json_option,
    load,
    print_json,
    store_option,
    store_path,
    workspace_option,
)
from filterkit.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from filterkit.config import Config
    from filterkit.filters import Filter
    from filterkit.pipeline.cost.scenario import Scenario
    from filterkit.pipeline.pricing import Pricing
    from filterkit.store import Question, QuestionCount
    from filterkit.store.rows import Used

MOST = Decimal(1_000_000)


def _amount(least: Decimal | int, most: Decimal | int, what: str, *, whole: bool = False) -> Any:
    """A callback that reads a number exactly as it is written, and refuses what makes no sense in one line."""

    def read(text: str, option: str) -> Decimal:
        try:
            number = Decimal(text.replace(",", ""))
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite() or not least <= number <= most or (whole and number != int(number)):
            raise ConfigError(f"takes {what}, not {text[:40]!r}", where=option)
        return number

    def callback(_context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        option = parameter.opts[0]
        if value is None or not isinstance(value, tuple):
            return None if value is None else read(value, option)
        return tuple(read(text, option) for text in value)

    return callback


_DOLLARS = _amount(0, MOST, "dollars from 0 to 1,000,000")
_TOKENS = _amount(0, 10**9, "two numbers of tokens from 0 to 1,000,000,000")


@click.command()
@filter_argument
@click.option(
    "--per-day",
    default="4000",
    show_default=True,
    metavar="N",
    callback=_amount(1, 10**12, "a whole number of articles from 1 to 1,000,000,000,000", whole=True),
    help="Articles a day to be judged.",
)
@click.option(
    "--days",
    default="365",
    show_default=True,
    metavar="N",
    callback=_amount(1, 366, "a whole number of days from 1 to 366", whole=True),
    help="Days of a year on which articles come; what is always on is paid all year.",
)
@click.option(
    "--oracle-price",
    "--oracle-price-per-article",
    "oracle_price",
    metavar="USD",
    callback=_DOLLARS,
    help="What an article costs at the oracle, instead of what the store and the price tables say.",
)
@click.option(
    "--articles-tokens",
    nargs=2,
    metavar="IN OUT",
    callback=_TOKENS,
    help="Tokens of an article at the oracle, rubric included, instead of those in the store.",
)
@click.option(
    "--labels-planned",
    metavar="N",
    callback=_amount(0, 10**9, "a whole number of labels from 0 to 1,000,000,000", whole=True),
    help="Labels that the student will have learnt from, those that are there included.",
)
@click.option(
    "--throughput",
    metavar="N",
    callback=_amount(Decimal("0.001"), 10**12, "articles an hour, above 0"),
    help="Articles that one instance judges in an hour, as you measured it, for all ways to serve.",
)
@click.option(
    "--endpoint-price",
    metavar="USD",
    callback=_DOLLARS,
    help="Add an endpoint of yours that is always on, at so many dollars an hour.",
)
@click.option("--scenarios", multiple=True, type=FILE, metavar="FILE", help="Scenarios of your own; may be repeated.")
@backend_options("oracle")
@store_option
@workspace_option
@json_option
def command(
    filter_name: str | None,
    filter_option: str | None,
    per_day: Decimal,
    days: Decimal,
    oracle_price: Decimal | None,
    articles_tokens: tuple[Decimal, Decimal] | None,
    labels_planned: Decimal | None,
    throughput: Decimal | None,
    endpoint_price: Decimal | None,
    scenarios: tuple[Path, ...],
    oracle: str | None,
    options: tuple[str, ...],
    store: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Compute what labelling, training and serving cost, against asking the oracle for everything.

    Prices of training and serving are those of dated scenario files. What an article costs at the oracle is the mean of
    what its answers in the label store took, where there are any. Nothing is asked, and no key is needed.
    """
    from filterkit.cli.budget_words import show_standing, standing_of
    from filterkit.cli.cost_words import show
    from filterkit.pipeline.cost.oracle import Known, oracle_cost
    from filterkit.pipeline.cost.scenario import load_scenarios
    from filterkit.pipeline.cost.sums import Volume, cost_report, labelling_cost
    from filterkit.plugins import plugins

    filter = load(filter_name, filter_option, workspace)
    config = configure(filter, workspace, "oracle", oracle, options)
    found = _with_own(load_scenarios(scenarios), throughput, endpoint_price)
    store_file, chosen = store_path(config, store), oracle is not None
    configured = _configured(filter, config, store_file, chosen=chosen)
    stored = _stored(filter, store_file, configured, chosen=chosen)
    known = Known(
        (configured.name, configured.model),
        configured.pricing,
        stored.asked,
        stored.used,
        config.settings.prices,
        plugins().prices,
        found,
    )
    asking = oracle_cost(known, oracle_price, articles_tokens)
    planned = None if labels_planned is None else int(labels_planned)
    report = cost_report(
        f"{filter.name} {filter.spec.version}",
        Volume(int(per_day), int(days)),
        asking,
        labelling_cost(stored.labels, stored.spent, planned, asking.usd),
        found,
        datetime.date.today(),
    )
    budget = standing_of(config, store_file)
    if as_json:
        print_json({**report.to_dict(), "budget": None if budget is None else budget.to_dict()})
    else:
        show(report)
        show_standing(budget)
    return 0


def _with_own(found: list[Scenario], throughput: Decimal | None, endpoint_price: Decimal | None) -> list[Scenario]:
    """The scenarios with what the command line says of them."""
    from filterkit.pipeline.cost.scenario import Capacity, Dollars, Scenario, Tariff

    if endpoint_price is not None:
        found.append(
            Scenario(
                name="your-endpoint",
                kind="serving",
                student="large",
                what="an endpoint of yours, always on",
                price=Tariff(per_hour=Dollars(low=endpoint_price, high=endpoint_price)),
                as_of=datetime.date.today(),
                source="--endpoint-price",
            )
        )
    if throughput is None:
        return found
    measured = Capacity(articles_per_hour=throughput, how="as you measured it (--throughput)")
    return [s.model_copy(update={"capacity": measured}) if s.kind == "serving" else s for s in found]


@dataclass(frozen=True)
class _Configured:
    """The oracle that the filter would ask: name, model, its price where its plugin is there, its question's hashes."""

    name: str = ""
    model: str = ""
    pricing: Pricing | None = None
    hashes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Stored:
    """What the store tells: labels of the present rubric; dollars for all labels of the filter, those of them that are
    only reserved, and requests of unknown cost; what answers to the nearest question took."""

    labels: int = 0
    spent: tuple[Decimal, Decimal, int] = (Decimal(0), Decimal(0), 0)
    asked: Question | None = None
    used: Used | None = None


def _configured(filter: Filter, config: Config, store_file: Path, *, chosen: bool) -> _Configured:
    """chosen: it was named on the command line, so that its plugin must be there."""
    from filterkit.cli.steps import before_labelling

    own = frozenset({filter.request_hash()})
    if not config.backends.get("oracle", {}).get("use"):
        return _Configured(hashes=own)
    name, given = config.backend("oracle")
    try:
        with before_labelling(filter, config, store_file) as labelling:
            question = labelling.question
            return _Configured(name, question.model, labelling.pricing, own | {question.request_hash})
    except PluginError:  # what was asked stands in the store, also where who asked is gone
        if chosen:
            raise
        return _Configured(name, str(given.get("model", "")), hashes=own)


def _stored(filter: Filter, file: Path, configured: _Configured, *, chosen: bool) -> _Stored:
    """chosen: no other oracle's answers will do."""
    from filterkit.pipeline.cost.oracle import exact
    from filterkit.store import Store

    if not file.is_file():
        return _Stored()
    with Store(file, create=False) as store:
        counts = [c for c in store.questions() if c.question.filter_name.split(" ")[0] == filter.name]
        costs = [store.spent(c.question) for c in counts]
        near = ((q, store.usage(q)) for q in _nearest(counts, configured, chosen=chosen))
        asked, used = next(((q, used) for q, used in near if used is not None), (None, None))
    usd, held = (sum(map(exact, some), Decimal(0)) for some in ([c.usd for c in costs], [c.held_usd for c in costs]))
    return _Stored(
        labels=max((c.labels for c in counts if c.question.request_hash in configured.hashes), default=0),
        spent=(usd, held, sum(c.unknown for c in costs)),
        asked=asked,
        used=used,
    )


def _nearest(counts: Sequence[QuestionCount], configured: _Configured, *, chosen: bool) -> list[Question]:
    """The filter's questions, the one that would be asked now first, then the same oracle's, then the newest."""

    def far(count: QuestionCount) -> tuple[bool, bool, bool]:
        question = count.question
        return (
            question.oracle != configured.name,
            question.model != configured.model,
            question.request_hash not in configured.hashes,
        )

    near = [c.question for c in sorted(counts, key=far)]  # stable: newest first among equals
    return [question for question in near if question.oracle == configured.name] if chosen else near
