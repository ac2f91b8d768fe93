"""What `filterkit label` says: before, after, and of a pilot."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from math import ceil

import click

from filterkit.cli.common import counted, print_table
from filterkit.cli.progress import plain, short, usd
from filterkit.io import Rejects
from filterkit.pipeline.estimate import SHORT_CHARS, Estimate, Older
from filterkit.pipeline.pilot import PilotReport, Projection, Rates
from filterkit.pipeline.tally import LabelReport
from filterkit.records import Price
from filterkit.spec import FilterSpec
from filterkit.store import Spent

BARS = " ▁▂▃▄▅▆▇█"


def show_report(report: LabelReport, rejects: Rejects, samples: int = 1) -> None:
    """What a run did; of several `samples` an article counts once for each."""
    cost = "unknown cost" if report.cost_usd is None else usd(report.cost_usd)
    click.echo(
        f"{_wanted(report.read, samples)}: {report.new:,} labelled now, {report.already:,} were already, "
        f"{report.duplicates:,} with the same text, {report.failed:,} failed{in_jobs(report.in_jobs)}. "
        f"{counted(report.attempts, 'request')}, {cost}."
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
        click.echo(f"  {unread(rejects, 'could not')}", err=True)
    if report.stopped:
        click.echo("Stopped. Run the same command again to go on.", err=True)


def _wanted(read: int, samples: int) -> str:
    return counted(read, "article") if samples == 1 else f"{counted(read, 'answer')}, {samples} for each article"


def in_jobs(count: int) -> str:
    """Articles that nobody waits for, because they are out in batch jobs."""
    return f", {count:,} out in batch jobs" if count else ""


def unread(rejects: Rejects, could_not: str) -> str:
    """The lines that are no articles, and why the first one is none."""
    where = "" if rejects.path is None else f"; all are in {rejects.path}"
    first = "" if rejects.count == 1 else "the first of them "
    return f"{counted(rejects.count, 'line')} {could_not} be read: {first}{plain(rejects.first or '')}{where}"


def warn_of_nothing(read: int, rejects: Rejects) -> None:
    """Files without a line in them."""
    if not read and not rejects.count:
        click.echo("Warning: no articles: the files are empty", err=True)


def of_budget(spent: Spent, max_cost: float | None) -> str:
    """Money of all runs, and what of it nobody knows."""
    unknown = f" and {counted(spent.unknown, 'request')} of unknown cost" if spent.unknown else ""
    return f"{usd(spent.usd)}{'' if max_cost is None else f' of {usd(max_cost)}'}{unknown}"


def held(spent: Spent) -> str:
    """The part of it that nobody has asked for yet, and maybe never will."""
    return f", {usd(spent.held_usd)} of it held for requests without an answer" if spent.held_usd else ""


def show_changes(older: Sequence[Older], found: Estimate) -> None:
    """That there are labels which the present question does not use, and what asking again costs."""
    if not found.again:
        return
    share = None if found.usd is None else found.usd * found.again / found.to_ask
    price = "at an unknown price" if share is None else f"about {usd(share)}{_of_price(found)}"
    for group in older:
        if not (found.again - found.again_changed if group.same_rubric else found.again_changed):
            continue  # about other articles
        if group.same_rubric:
            others = sorted({f"{c.question.oracle} {c.question.model}".strip() for c in group.counts})
            click.echo(
                f"another oracle or model: {_were(group)} by {plain(', '.join(others))}, whose labels are not used",
                err=True,
            )
        else:
            click.echo(f"the rubric (or its settings) changed since {_were(group)}", err=True)
    again = f"{found.again:,} of these will be asked again, {price}"
    click.echo(f"  {again}; {found.to_ask:,} will be asked in all", err=True)


def _were(group: Older) -> str:
    return f"{counted(group.labels, 'article')} {'was' if group.labels == 1 else 'were'} labelled"


def _of_price(found: Estimate) -> str:
    return f" ({plain(found.model, 80)}, price of {found.price.as_of})" if found.price else ""


def show_estimate(found: Estimate, rejects: Rejects, spent: Spent, max_cost: float | None, samples: int = 1) -> None:
    """A dry run; of several `samples` an article counts once for each."""
    click.echo(
        f"{_wanted(found.read, samples)}: {found.to_ask:,} to be asked, {found.already:,} labelled already, "
        f"{found.duplicates:,} with the same text, {found.failed_before:,} failed before"
        f"{' (--retry-failed asks again)' if found.failed_before else ''}{in_jobs(found.in_jobs)}."
    )
    if found.short:
        click.echo(f"  {found.short:,} of those to be asked are shorter than {SHORT_CHARS} characters: real articles?")
    if found.shortened:
        click.echo(f"  {found.shortened:,} are longer than the filter's input.oracle.max_chars and are shortened")
    if rejects.count:
        click.echo(f"  {unread(rejects, 'cannot')}")
    if found.to_ask:
        means = f"mean of {counted(found.measured, 'answer')} so far"
        source = "counted" if found.counted else means if found.measured else "estimated from the texts' length"
        output = means if found.measured else "estimated from the dimensions"
        click.echo(f"  tokens in   {short(found.input_tokens)} ({source})")
        click.echo(f"  tokens out  {short(found.output_tokens)} ({output}), at most {short(found.most_output_tokens)}")
        _show_price(found)
        if max_cost is not None:
            left = max(0.0, max_cost - spent.usd)
            enough = "" if found.usd is None or found.usd <= left else ": not enough for all"
            click.echo(f"  budget      {of_budget(spent, max_cost)} is spent{held(spent)}{enough}")
    click.echo("Nothing was sent.")


def _show_price(found: Estimate) -> None:
    if found.usd is None:
        click.echo(f"  price       unknown: {found.why_unknown}. {found.fix}")
        return
    most = "" if found.most_usd is None else f", at most {usd(found.most_usd)}"
    click.echo(f"  price       {usd(found.usd)} expected{most}, if each is answered at the first attempt")
    if found.price is not None:
        price = found.price
        if found.batch_share != 1.0:
            click.echo(f"              in batch jobs, at {found.batch_share:.0%} of the live price")
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


def show_pilot(pilot: PilotReport, spec: FilterSpec, now: int) -> None:
    """How the sample's scores lie, and what they took. now: how many of its requests are of this run."""
    n = max(1, pilot.labelled)
    middle = (spec.scale.min + spec.scale.max) / 2
    click.echo(f"\nThe scores of {pilot.labelled:,} of {counted(pilot.size, 'article')}:")
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
    if not pilot.attempts:
        click.echo("The sample took no request.")
        return
    each = "" if pilot.cost_usd is None or not pilot.labelled else f", {usd(pilot.cost_usd / n)} each"
    cost = "unknown cost" if pilot.cost_usd is None else f"{usd(pilot.cost_usd)}{each}"
    earlier = f" ({now:,} now, {pilot.attempts - now:,} in earlier runs)" if pilot.attempts > now else ""
    tokens = f"; {took} for an article" if took and pilot.labelled else ""
    click.echo(f"The sample took {counted(pilot.attempts, 'request')}{earlier}, {cost}{tokens}.")


def _row(rates: Rates) -> tuple[str, ...]:
    highest = max(*rates.histogram, 1)
    bars = "".join(BARS[ceil(count / highest * (len(BARS) - 1))] for count in rates.histogram)
    mean, median = ("–" if value is None else f"{value:.2f}" for value in (rates.mean, rates.median))
    shares = (f"{share:.0%}" for share in (rates.at_floor, rates.at_ceiling, rates.upper_half))
    name = rates.name if rates.role == "score" else f"{rates.name} (flag)"
    return (name, mean, median, *shares, f"|{bars}|")


def show_way_on(pilot: PilotReport, report: LabelReport, failed: int, spent: float, max_cost: float | None) -> None:
    """What the rest costs, and the command that labels it.

    report: of the pilot's own run; failed: articles of all that failed finally; spent: dollars so far, the pilot
    included.
    """
    rest = pilot.rest
    if report.failed and not pilot.labelled:
        first = f", the first of them: {plain(report.failures[0][1])}" if report.failures else ""
        click.echo(f"All of the sample failed{first}. Mend that before more is asked, and try again:")
        click.echo(f"  {_again(sys.argv[1:], '--retry-failed')}")
        return
    if not rest.to_ask:
        if failed:
            click.echo(f"There is no rest, but {counted(failed, 'article')} failed. To ask about them again:")
            click.echo(f"  {_again(_without_pilot(sys.argv[1:]), '--retry-failed')}")
        else:
            click.echo("There is no rest: everything else is labelled.")
        return
    click.echo(f"The rest: {counted(rest.to_ask, 'article')}, {_price_of(rest)}.")
    budget = ""
    if max_cost is None and rest.budget_usd:
        budget = f" --max-cost {ceil((spent + rest.budget_usd) * 100 - 1e-6) / 100:.2f}"
    click.echo(f"Go on: {_again(_without_pilot(sys.argv[1:]))}{budget}")


def _price_of(rest: Projection) -> str:
    """What the rest is expected to cost."""
    if rest.usd is None:
        return "at an unknown price"
    if rest.estimated:
        return f"about {usd(rest.usd)} (estimated: no answer of the sample says what one costs)"
    low, high = ("" if end is None else usd(end) for end in (rest.low_usd, rest.high_usd))
    between = f" ({low} to {high} in 95 of 100 cases)" if low != high else ""
    return f"about {usd(rest.usd)}{between}"


def _again(arguments: Sequence[str], *more: str) -> str:
    """A command line that can be typed."""
    return shlex.join(["filterkit", *arguments, *(one for one in more if one not in arguments)])


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
