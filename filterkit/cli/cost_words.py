"""What `filterkit cost` says."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal

import click

from filterkit.cli.common import counted, print_table
from filterkit.cli.progress import plain
from filterkit.pipeline.cost.scenario import DAYS_A_YEAR, Scenario, listed
from filterkit.pipeline.cost.sums import CostReport, LabellingCost, Option

VERDICTS = {"oracle is cheaper": "the oracle is cheaper", "not available": "not available for your own model"}


def show(report: CostReport) -> None:
    """What the sums rest on, the table, and what follows from it."""
    oracle, volume = report.oracle, report.volume
    who = plain(f"{oracle.oracle} {oracle.model}".strip() or "the oracle", 80)
    days = "" if volume.days == DAYS_A_YEAR else f" on {volume.days} days a year"
    click.echo(f"{report.filter}, {counted(volume.per_day, 'article')} a day{days}")
    click.echo(f"  oracle     {who}: {_fine(oracle.usd)} an article, {oracle.how}")
    if oracle.price:
        click.echo(f"             {plain(oracle.price)}")
    click.echo(f"  labelling  {_labelling(report.labelling)}")
    for training in report.trainings:
        why_not = "" if training.why_not is None else f": {training.why_not}"
        what = f"{training.scenario.what}, {training.scenario.price}: {_usd(training.usd)}{_dated(training.scenario)}"
        click.echo(f"  training   {plain(what + why_not)}")
    click.echo("")
    rows: list[tuple[str, ...]] = [
        ("ask the oracle for everything", "", "–", _usd(report.oracle_yearly_usd), "–", "–", "")
    ]
    rows += [_row(option) for option in report.options]
    print_table(("WAY TO JUDGE", "PRICE", "ONE-OFF", "A YEAR", "SAVED A YEAR", "CHEAPER FROM", ""), rows)
    for option in report.options:
        for note in _notes(option):
            click.echo(f"  {plain(f'{option.scenario.name}: {note}')}")
    click.echo("")
    for line in _conclusions(report):
        click.echo(line)
    click.echo(
        "One-off: labels and one run of the cheapest training. Cheaper from: articles a day at which serving costs no "
        "more than asking. Of a range of prices the upper end counts. --json gives every source and date."
    )


def _row(option: Option) -> tuple[str, ...]:
    saved = _usd(option.saving_usd)
    if option.saving_share is not None and option.saving_share > -10:
        almost = Decimal("0.995") <= option.saving_share < 1
        saved += " (> 99%)" if almost else f" ({option.saving_share:.0%})"
    least = option.break_even_per_day
    enough = "never" if least is None else f"{least:,} a day" if least else "always"
    verdict = VERDICTS.get(option.verdict, "")
    scenario = option.scenario
    figures = (_usd(option.one_off_usd), _usd(option.yearly_usd), saved, enough)
    return (plain(scenario.name), plain(str(scenario.price)), *figures, verdict)


def _notes(option: Option) -> Iterator[str]:
    """What to know of a way to serve, beside its sums."""
    scenario = option.scenario
    yield f"{scenario.what}{_dated(scenario)}{'' if scenario.note is None else f'; {scenario.note}'}"
    if option.why_not is not None:
        yield f"not available for your own model: {option.why_not}"
        return
    if option.instances > 1:
        yield f"{option.instances:,} instances: one cannot judge so many a day"
    if option.payback_days is not None and option.payback_days > DAYS_A_YEAR:
        yield f"pays back its one-off after {option.payback_days / DAYS_A_YEAR:,.1f} years"


def _labelling(labelling: LabellingCost) -> str:
    parts = [f"{counted(labelling.labels, 'label')} there, {_usd(labelling.spent_usd)} spent"]
    if labelling.held_usd:
        parts.append(f"{_fine(labelling.held_usd)} of it held for requests without an answer")
    if labelling.unknown:
        parts.append(f"{counted(labelling.unknown, 'request')} of unknown cost not counted")
    if labelling.to_label:
        why = " (assumed; --labels-planned says another number)" if labelling.assumed else ""
        parts.append(f"{labelling.to_label:,} to come{why}: {_usd(labelling.to_come_usd)}")
    return ", ".join(parts)


def _conclusions(report: CostReport) -> Iterator[str]:
    """Who is cheaper, in whole sentences."""
    asking, best, rented = report.oracle_yearly_usd, report.cheapest, report.cheapest_rented
    volume = f"At {counted(report.volume.per_day, 'article')} a day"
    if best is None:
        yield f"{volume} there is nothing to compare with: no way to serve is available."
        return
    if report.oracle_is_cheaper:
        yield (
            f"{volume} calling the oracle is cheaper: {_usd(asking)} a year, against {_usd(best.first_year_usd)} in "
            f"the first year of the cheapest student ({plain(best.scenario.name)}), labels and training included."
        )
        if best.break_even_first_year is not None:
            yield f"That one pays for itself within a year from {best.break_even_first_year:,} articles a day."
        return
    yield (
        f"{volume} the cheapest student is {plain(best.scenario.name)}: {_usd(best.yearly_usd)} a year instead of "
        f"{_usd(asking)}, and the one-off {_usd(best.one_off_usd)} is paid back within {_days(best)}."
    )
    if rented is not None and rented is not best:
        yield (
            f"Without a machine of your own it is {plain(rented.scenario.name)}: {_usd(rented.yearly_usd)} a year"
            f"{', and then calling the oracle is cheaper' if rented.first_year_usd >= asking else ''}."
        )
    there = [option for option in report.options if option.why_not is None]
    worse = [option.scenario.name for option in there if option.verdict == "oracle is cheaper"]
    if worse:
        names = plain(", ".join(worse))
        yield f"Calling the oracle is cheaper than {len(worse)} of {len(there)} ways to serve: {names}."


def _days(option: Option) -> str:
    days = option.payback_days
    assert days is not None  # it is cheaper in the first year
    return "a day" if days <= 1 else f"{days:,.0f} days" if days >= Decimal("1.5") else "two days"


def _dated(scenario: Scenario) -> str:
    return f" (as of {scenario.as_of})"


def _usd(usd: Decimal) -> str:
    """Dollars and cents; a sum of less than half a cent is said to be one."""
    if 0 < usd < Decimal("0.005"):
        return "< $0.01"
    text = f"${abs(usd).quantize(Decimal('0.01'), ROUND_HALF_UP):,}"
    return f"-{text}" if usd < 0 else text


def _fine(usd: Decimal) -> str:
    """Dollars with three digits that say something."""
    if usd == 0 or usd >= 1:
        return _usd(usd)
    return listed(round(usd, 2 - usd.adjusted()))
