"""What `filterkit compare` says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click

from filterkit.cli.common import counted, print_json, print_table
from filterkit.cli.progress import plain, usd
from filterkit.io import Rejects
from filterkit.metrics.records import DimensionMetrics, Interval, Metrics
from filterkit.pipeline.compare.agreement import Agreement, TierAgreement
from filterkit.pipeline.compare.judges import Candidate, Judge
from filterkit.pipeline.compare.report import CompareReport, Moved
from filterkit.pipeline.estimate import Estimate
from filterkit.records import Article

NAME = 60
"""Characters of a judge's name that are shown."""
MOVED = 10
"""Articles that moved to another tier that are shown."""


def show_estimates(found: Sequence[tuple[Candidate, Estimate]], so_far: float, max_cost: float | None) -> None:
    """What is about to be asked, on stderr."""
    seen: dict[str, int] = {}
    for candidate, one in found:
        seen[candidate.name] = seen.get(candidate.name, 0) + 1
        again = f", answer {seen[candidate.name]}" if seen[candidate.name] > 1 else ""
        price = ""
        if one.to_ask:
            price = f", {'at an unknown price' if one.usd is None else f'about {usd(one.usd)}'}"
            price += f" ({one.why_unknown})" if one.usd is None else ""
        click.echo(f"{plain(candidate.name, NAME)}{again}: {one.to_ask:,} of {one.read:,} to be asked{price}", err=True)
    if max_cost is not None:
        click.echo(f"so far {usd(so_far)} of {usd(max_cost)} is spent on these answers (--max-cost)", err=True)


def say_what_it_takes(
    found: Sequence[tuple[Candidate, Estimate]], articles: Sequence[Article], max_cost: float | None, *, as_json: bool
) -> int:
    """--dry-run, after `show_estimates`."""
    known = [one.usd for _, one in found]
    total = None if any(value is None for value in known) else sum(value for value in known if value is not None)
    if as_json:
        rows = [{"name": candidate.name, **one.to_dict()} for candidate, one in found]
        print_json({"dry_run": True, "articles": len(articles), "asked": rows, "usd": total, "max_cost_usd": max_cost})
        return 0
    price = "at an unknown price" if total is None else f"about {usd(total)}"
    enough = "" if total is None or max_cost is None or total <= max_cost else ", more than --max-cost"
    click.echo(f"{counted(sum(one.to_ask for _, one in found), 'question')} in all, {price}{enough}. Nothing was sent.")
    return 0


def show(report: CompareReport, rejects: Rejects) -> None:
    """The whole comparison."""
    click.echo(f"{counted(report.n, 'article')}, sample {report.seed}")
    head = ("JUDGE", "LABELLED", "FAILED", "PER 1,000", "", "ITSELF (MAE)")
    print_table(head, [_judge(judge, report.selves.get(judge.name)) for judge in report.judges])
    for judge in report.judges:
        for reason, count in sorted(judge.reasons.items(), key=lambda item: -item[1])[:3]:
            click.echo(f"  {plain(judge.name, NAME)}: {counted(count, 'article')} failed: {plain(reason)}", err=True)
    for own in report.selves.values():
        if own.mae == 0:
            continue  # the table above says it all
        _show_agreement(own, f"{own.first}, its answers against each other")
    for pair in report.pairs:
        _show_agreement(pair, f"{pair.first} (A) and {pair.second} (B)")
        _show_moved(report.moved(pair))
    click.echo("")
    for line in report.meaning:
        click.echo(plain(line, 1_000))
    if rejects.count:
        first = plain(rejects.first or "")
        click.echo(f"{counted(rejects.count, 'line')} could not be used, the first: {first}", err=True)


def _judge(judge: Judge, own: Agreement | None) -> tuple[str, ...]:
    price = "–" if judge.usd_per_1000 is None else usd(judge.usd_per_1000)
    itself = "–" if own is None or own.mae is None else f"{own.mae:.2f}{_interval(own.interval)}"
    name = plain(judge.name, NAME)
    return (name, f"{judge.labelled:,}", f"{judge.failed:,}", price, plain(judge.price_how, 80), itself)


def _show_agreement(found: Agreement, title: str) -> None:
    """One table: a row for each dimension, and their mean."""
    click.echo("")
    unit = "" if found.unit == "points" else ", in shares of the scale, as their scales differ"
    click.echo(f"{plain(title, 2 * NAME)}, {counted(found.n, 'common article')}{unit}")
    if found.few is not None:
        click.echo(f"  {found.few}")
    if found.metrics is not None:
        bias = "BIAS" if found.second is None else "BIAS (B - A)"
        rows = [_row(name, one) for name, one in found.metrics.per_dimension.items()]
        rows.append(_row(f"mean of {len(found.counted)}", found.metrics))
        rows += [_row("overall", found.metrics.overall)] if found.weighted else []
        print_table(("DIMENSION", "MAE", "RMSE", bias, "SPEARMAN"), rows)
    for name, why in found.left_out.items():
        click.echo(f"  {plain(name, NAME)} is left out: {why}")
    if found.tiers is not None:
        _show_tiers(found.tiers)
    elif found.n:
        click.echo(f"  tiers are left out: {plain(found.tiers_left_out or '')}")


def _show_moved(moved: Sequence[Moved]) -> None:
    """From where to where, each with its number of articles, and the first of the articles."""
    ways = Counter((one.before, one.after) for one in moved)
    if ways:
        count = ", ".join(f"{plain(a, 40)} to {plain(b, 40)} {n:,}" for (a, b), n in ways.most_common())
        click.echo(f"  moved from A to B: {count}")
    for one in moved[:MOVED]:
        click.echo(
            f"    {plain(one.id, 40)}  {plain(one.title, 60)}  {plain(one.before, 40)} to {plain(one.after, 40)}"
        )
    if len(moved) > MOVED:
        click.echo(f"    … and {len(moved) - MOVED:,} more (--json lists all)")


def _row(name: str, measured: Metrics | DimensionMetrics) -> tuple[str, ...]:
    cells = (_figure(measured, "mae"), _figure(measured, "rmse"), _figure(measured, "bias", sign="+"))
    return (name, *cells, _figure(measured, "spearman"))


def _figure(measured: Metrics | DimensionMetrics, name: str, sign: str = "") -> str:
    value = getattr(measured, name)
    if value is None:
        return "–"
    return f"{value:{sign}.2f}{_interval(measured.intervals.get(name), sign)}"


def _interval(interval: Interval | None, sign: str = "") -> str:
    return "" if interval is None else f" ({interval.low:{sign}.2f} to {interval.high:{sign}.2f})"


def _show_tiers(tiers: TierAgreement) -> None:
    accuracy = "–" if tiers.accuracy is None else f"{tiers.accuracy:.0%}"
    if (interval := tiers.intervals.get("accuracy")) is not None:
        accuracy += f" ({interval.low:.0%} to {interval.high:.0%})"
    kappa = "–" if tiers.kappa is None else f"{tiers.kappa:.2f}{_interval(tiers.intervals.get('kappa'))}"
    why = f" ({tiers.undefined['kappa']})" if "kappa" in tiers.undefined else ""
    click.echo(f"  same tier for {accuracy} of {counted(tiers.n, 'article')}; Cohen's kappa {kappa}{why}")
