"""What `filterkit label` says: before, after, and of a pilot."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from math import ceil

import click

from filterkit.cli.common import print_table
from filterkit.cli.progress import plain, short, usd
from filterkit.io import Rejects
from filterkit.pipeline.estimate import SHORT_CHARS, Estimate, Older
from filterkit.pipeline.pilot import PilotReport, Rates
from filterkit.pipeline.tally import LabelReport
from filterkit.records import Price
from filterkit.spec import FilterSpec

BARS = " ▁▂▃▄▅▆▇█"


def show_report(report: LabelReport, rejects: Rejects) -> None:
    """What a run did."""
    cost = "unknown cost" if report.cost_usd is None else usd(report.cost_usd)
    click.echo(
        f"{report.read:,} articles: {report.new:,} labelled now, {report.already:,} were already, "
        f"{report.duplicates:,} with the same text, {report.failed:,} failed. "
        f"{report.attempts:,} requests, {cost}."
    )
    if report.input_tokens or report.output_tokens:
        cached = f" ({short(report.cached_tokens)} of them cached)" if report.cached_tokens else ""
        click.echo(f"  {short(report.input_tokens)} tokens in{cached}, {short(report.output_tokens)} out")
    if len(report.versions) > 1:
        replied = ", ".join(f"{plain(name, 80)} ({count:,})" for name, count in sorted(report.versions.items()))
        click.echo(f"  more than one model replied: {replied}", err=True)
    for article_id, reason in report.failures[:5]:
        click.echo(f"  failed: {plain(article_id, 80)}: {plain(reason)}", err=True)
    if report.failed:
        more = f"… and {report.failed - 5:,} more. " if report.failed > 5 else ""
        click.echo(f"  {more}`--retry-failed` asks again.", err=True)
    if rejects.count:
        click.echo(f"  {rejects.count:,} lines could not be read; they are in {rejects.path}", err=True)
    if report.stopped:
        click.echo("Stopped. Run the same command again to go on.", err=True)


def show_changes(older: Sequence[Older], found: Estimate) -> None:
    """That there are labels which the present question does not use, and what asking again costs."""
    if not older or not found.to_ask:
        return
    share = None if found.usd is None else found.usd * found.again / found.to_ask
    price = "at an unknown price" if share is None else f"about {usd(share)}{_of_price(found)}"
    for group in older:
        if group.same_rubric:
            others = sorted({f"{c.question.oracle} {c.question.model}".strip() for c in group.counts})
            click.echo(
                f"another oracle or model: {group.labels:,} articles were labelled by {plain(', '.join(others))}, "
                "whose labels are not used",
                err=True,
            )
        else:
            click.echo(f"the rubric (or its settings) changed since {group.labels:,} articles were labelled", err=True)
    again = f"{found.again:,} of these will be asked again, {price}" if found.again else "none of these is asked again"
    click.echo(f"  {again}; {found.to_ask:,} will be asked in all", err=True)


def _of_price(found: Estimate) -> str:
    return f" ({plain(found.model, 80)}, price of {found.price.as_of})" if found.price else ""


def show_estimate(found: Estimate, rejects: Rejects, spent: float, max_cost: float | None) -> None:
    """A dry run."""
    click.echo(
        f"{found.read:,} articles: {found.to_ask:,} to be asked, {found.already:,} labelled already, "
        f"{found.duplicates:,} with the same text, {found.failed_before:,} failed before"
        f"{' (--retry-failed asks again)' if found.failed_before else ''}."
    )
    if found.short:
        click.echo(f"  {found.short:,} of those to be asked are shorter than {SHORT_CHARS} characters: real articles?")
    if found.shortened:
        click.echo(f"  {found.shortened:,} are longer than the filter's input.oracle.max_chars and are shortened")
    if rejects.count:
        click.echo(f"  {rejects.count:,} lines cannot be read, the first of them {plain(rejects.first or '')}")
    if found.to_ask:
        means = f"mean of {found.measured:,} answers so far"
        counted = "counted" if found.counted else means if found.measured else "estimated from the texts' length"
        output = means if found.measured else "estimated from the dimensions"
        click.echo(f"  tokens in   {short(found.input_tokens)} ({counted})")
        click.echo(f"  tokens out  {short(found.output_tokens)} ({output}), at most {short(found.most_output_tokens)}")
        _show_price(found)
        if max_cost is not None:
            left = max(0.0, max_cost - spent)
            enough = "" if found.usd is None or found.usd <= left else ": not enough for all"
            click.echo(f"  budget      {usd(spent)} of {usd(max_cost)} is spent{enough}")
    click.echo("Nothing was sent.")


def _show_price(found: Estimate) -> None:
    if found.usd is None:
        click.echo(f"  price       unknown: {found.why_unknown}. {found.fix}")
        return
    most = "" if found.most_usd is None else f", at most {usd(found.most_usd)}"
    click.echo(f"  price       {usd(found.usd)} expected{most}, if each is answered at the first attempt")
    if found.price is not None:
        price = found.price
        click.echo(
            f"              {plain(found.model, 80)}: {_rate(price)}, as of {price.as_of}, {plain(price.source)}"
        )


def _rate(price: Price) -> str:
    """A list price in words."""
    if price.per_hour is not None:
        return f"{_listed(price.per_hour)} an hour"
    cached = "" if price.cached_input is None else f" ({_listed(price.cached_input)} cached)"
    return f"{_listed(price.input)} in{cached}, {_listed(price.output)} out per million tokens"


def _listed(price: float) -> str:
    """A list price, exactly, with two decimals at least."""
    return f"${price:.2f}" if round(price, 2) == price else f"${price:g}"


def show_pilot(pilot: PilotReport, spec: FilterSpec) -> None:
    """How the sample's scores lie, and what the rest will take."""
    n = max(1, pilot.labelled)
    middle = (spec.scale.min + spec.scale.max) / 2
    click.echo(f"\nThe scores of {pilot.labelled:,} of {pilot.size:,} articles:")
    ends = f"{spec.scale.min:g} to {spec.scale.max:g}"
    head = ("dimension", "mean", "median", f"at {spec.scale.min:g}", f"at {spec.scale.max:g}", f"≥ {middle:g}", ends)
    if pilot.labelled:
        print_table(head, [_row(rates) for rates in pilot.dimensions])
        click.echo(f"overall: {pilot.overall:.2f} on average")
    if pilot.tiers:
        click.echo("tiers: " + ", ".join(f"{name} {count:,} ({count / n:.0%})" for name, count in pilot.tiers.items()))
    if pilot.tiers_left_out:
        click.echo(f"tiers are left out: {pilot.tiers_left_out}")
    for warning in pilot.warnings:
        click.echo(f"! {warning}")
    took = "" if pilot.input_tokens is None else f"{pilot.input_tokens / n:,.0f} tokens in"
    if pilot.output_tokens is not None:
        took += f", {pilot.output_tokens / n:,.0f} out"
    cost = "unknown cost" if pilot.cost_usd is None else f"{usd(pilot.cost_usd)}, {usd(pilot.cost_usd / n)} each"
    click.echo(f"The sample took {pilot.attempts:,} requests, {cost}{f'; {took} for an article' if took else ''}.")


def _row(rates: Rates) -> tuple[str, ...]:
    highest = max(*rates.histogram, 1)
    bars = "".join(BARS[ceil(count / highest * (len(BARS) - 1))] for count in rates.histogram)
    mean, median = ("–" if value is None else f"{value:.2f}" for value in (rates.mean, rates.median))
    shares = (f"{share:.0%}" for share in (rates.at_floor, rates.at_ceiling, rates.upper_half))
    name = rates.name if rates.role == "score" else f"{rates.name} (flag)"
    return (name, mean, median, *shares, f"|{bars}|")


def show_way_on(pilot: PilotReport, spent: float, max_cost: float | None) -> None:
    """What the rest costs, and the command that labels it. spent: dollars so far, the pilot included."""
    rest = pilot.rest
    if not rest.to_ask:
        click.echo("There is no rest: everything else is labelled.")
        return
    if rest.usd is None:
        click.echo(f"The rest: {rest.to_ask:,} articles, at an unknown price.")
    else:
        between = ""
        if rest.low_usd is not None and rest.high_usd is not None and rest.high_usd > 0:
            between = f" ({usd(rest.low_usd)} to {usd(rest.high_usd)} in 95 of 100 cases)"
        click.echo(f"The rest: {rest.to_ask:,} articles, about {usd(rest.usd)}{between}.")
    budget = ""
    if max_cost is None and rest.budget_usd:
        budget = f" --max-cost {ceil((spent + rest.budget_usd) * 100 - 1e-6) / 100:g}"
    click.echo(f"Go on: {shlex.join(['filterkit', *_without_pilot(sys.argv[1:])])}{budget}")


def _without_pilot(arguments: Sequence[str]) -> list[str]:
    """The command line without --pilot and its number."""
    out: list[str] = []
    left_out = False
    for argument in arguments:
        if argument.startswith("--pilot"):
            left_out = argument == "--pilot"
        elif left_out and argument.isdecimal():
            left_out = False
        else:
            out.append(argument)
            left_out = False
    return out
