"""`filterkit label --second … --referee …`: one oracle labels, then another, then a third what they disagree about."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from filterkit.cli import label_words as words
from filterkit.cli.common import Stop, counted, print_json
from filterkit.cli.judges import Panel, Wanted, panel_of
from filterkit.cli.label_job import Job
from filterkit.cli.label_pilot import run_pilot
from filterkit.cli.label_run import as_data, estimated, exit_code, label_all, look_first, refused_budget
from filterkit.cli.label_samples import label_samples
from filterkit.cli.main import INTERRUPTED
from filterkit.cli.progress import plain, usd
from filterkit.cli.steps import before_labelling
from filterkit.errors import ConfigError
from filterkit.io import Rejects
from filterkit.pipeline.estimate import Estimate
from filterkit.pipeline.judgement.again import Counts, Disputed
from filterkit.pipeline.label import LabelReport

LabelOne = Callable[[Job, float, Callable[[], bool]], tuple[LabelReport, Rejects]]
PARTS = ("first", "second", "referee")


@dataclass(frozen=True)
class Court:
    """The jobs of the two judges and of the referee (None: there is none), who gets only what they dispute."""

    first: Job
    second: Job
    referee: Job | None
    panel: Panel

    @classmethod
    def of(cls, job: Job, panel: Panel) -> Court:
        """The job split among the judges of a panel."""
        first, second, *third = (replace(job, config=config) for config in panel.configs)
        court = cls(first, second, None, panel)
        if not third:
            return court
        return replace(court, referee=replace(third[0], after=(*job.after, court.disputed())))

    def disputed(self, *, unlabelled: bool = False) -> Disputed:
        """What the two disagree about; with `unlabelled` also what not both have judged yet."""
        ours, theirs = self.panel.questions[:2]
        tolerance = self.panel.rule.tolerance
        return Disputed(self.first.filter.spec, ours, theirs, tolerance, self.first.store_file, unlabelled)

    @property
    def jobs(self) -> dict[str, Job]:
        """The jobs by their part."""
        found = zip(PARTS, (self.first, self.second, self.referee), strict=True)
        return {part: job for part, job in found if job is not None}


def judges_of(job: Job, workspace: Path | None, wanted: Wanted) -> Panel | None:
    """Who judges, if more than one does. A batch job asks one oracle, and it is said that the others are not asked."""
    panel = panel_of(job.filter, job.config, workspace, wanted, job.store_file)
    if panel is not None and job.batch:
        said = "note: --batch asks the first oracle alone; the same command without --batch then asks the other judges"
        click.echo(said, err=True)
        return None
    return panel


def label_consensus(job: Job, panel: Panel, label_one: LabelOne = label_all) -> int:
    """Label with all judges. The exit code."""
    with Stop() as stop:
        done, code = ask_judges(job, panel, stop, label_one)
    if job.as_json:
        print_json({**done, **job.told})
    elif code != INTERRUPTED:
        click.echo(f"Make one label of them: {_prepare_with(Court.of(job, panel))}")
    return code


def ask_judges(
    job: Job, panel: Panel, stop: Callable[[], bool], label_one: LabelOne = label_all
) -> tuple[dict[str, Any], int]:
    """Label with the first judge, then with the second, then have the referee asked what they dispute.

    Every part goes on where it stopped. --max-cost is for each judge. `label_one` labels the articles of one job with
    one answer each. Returns what --json prints, by part, and the exit code.
    """
    court = Court.of(job, panel)
    spent = {part: look_first(one) for part, one in court.jobs.items() if part != "referee"}
    if court.referee is not None and (refusal := _refused(court.referee)) is not None:
        raise refusal
    done: dict[str, Any] = {}
    code = 0
    for part, one in court.jobs.items():
        if part == "referee" and not done["disputes"]["disputed"]:
            break
        _head(job, part, panel)
        report, rejects = label_samples(one, spent.get(part, 0.0), stop, label_one)
        done[part] = as_data(report, rejects)
        code = max(code, exit_code(report, rejects))
        if report.stopped:
            break
        if part == "second":
            done["disputes"] = _tell_disputes(court)
    return done, code


def _refused(job: Job) -> ConfigError | None:
    with before_labelling(job.filter, job.config, job.store_file) as labelling:
        return refused_budget(job, labelling)


def _head(job: Job, part: str, panel: Panel) -> None:
    if not job.as_json:
        click.echo(f"{part}: {plain(str(panel.rule.judges[PARTS.index(part)]), 100)}")


def _tell_disputes(court: Court) -> dict[str, Any]:
    """How often the two are too far apart, said on stdout and returned as data."""
    counts = court.disputed().count(court.first.articles())
    if not court.first.as_json:
        click.echo(_disputes(court, counts))
    return {"read": counts.read, "both": counts.both, "disputed": counts.disputed, "tolerance": _tolerance(court)}


def _tolerance(court: Court) -> float:
    return court.panel.rule.tolerance


def _disputes(court: Court, counts: Counts) -> str:
    apart = f"they differ by more than {_tolerance(court):g} on some dimension of {counts.disputed:,}"
    share = "" if counts.share is None else f" ({counts.share:.0%})"
    then = "" if court.referee is not None else ": without a referee these get no common label" * bool(counts.disputed)
    return f"Of {counted(counts.both, 'article')} that both have judged {apart}{share}{then}."


def _prepare_with(court: Court) -> str:
    """The command that makes training data of it."""
    rule, options = court.panel.rule, court.first.config
    arguments = ["filterkit", "prepare", court.first.filter.name, "--consensus"]
    if options.settings.consensus.second is None:
        for part, judge in zip(PARTS[1:], rule.judges[1:], strict=False):
            arguments += [f"--{part}", f"{judge.oracle}:{judge.model}" if judge.model else judge.oracle]
    if rule.tolerance != options.settings.consensus.tolerance:
        arguments += ["--tolerance", f"{rule.tolerance:g}"]
    return plain(shlex.join(arguments), 500)


# Beforehand


def say_what_consensus_takes(job: Job, panel: Panel) -> int:
    """--dry-run: what the first two will be asked is known, what the referee will is estimated."""
    court = Court.of(job, panel)
    said: dict[str, Any] = {"dry_run": True, "samples": job.samples}
    refusals: list[ConfigError] = []
    for part, one in court.jobs.items():
        rejects = Rejects()
        _head(job, part, panel)
        if part == "referee":
            said[part] = _say_referee(court)
        else:
            with before_labelling(one.filter, one.config, one.store_file) as labelling:
                found, spent = estimated(labelling, one, rejects=rejects), labelling.spent
            said[part] = {**found.to_dict(), "rejected": rejects.count, "spent_usd": spent.usd}
            if not job.as_json:
                words.show_estimate(found, rejects, spent, job.max_cost, job.samples)
        refusal = _refused(one)
        refusals += [refusal] if refusal else []
    if job.as_json:
        print_json({**said, "refused": str(refusals[0]) if refusals else None})
    if refusals:
        click.echo("Without --dry-run this will be refused, as follows.", err=True)
        raise refusals[0]
    return 0


def _say_referee(court: Court) -> dict[str, Any]:
    """What the referee will be asked: what is disputed already, and the same share of what is not judged yet."""
    assert court.referee is not None
    maybe = replace(court.referee, after=(*court.first.after, court.disputed(unlabelled=True)))
    with before_labelling(maybe.filter, maybe.config, maybe.store_file) as labelling:
        counts = court.disputed().count(court.first.articles())
        sure, most = estimated(labelling, court.referee), estimated(labelling, maybe)
    open_articles = most.to_ask - sure.to_ask
    to_ask = None if counts.share is None else sure.to_ask + round(counts.share * open_articles)
    expected = _expected_usd(counts, sure, most)
    if not court.first.as_json:
        _show_referee(court, counts, most, to_ask, expected)
    return {
        "estimated": bool(open_articles),
        "judged_by_both": counts.both,
        "disputed": counts.disputed,
        "share": counts.share,
        "to_ask": to_ask,
        "usd": expected,
        "most": most.to_dict(),
    }


def _expected_usd(counts: Counts, sure: Estimate, most: Estimate) -> float | None:
    if counts.share is None or sure.usd is None or most.usd is None:
        return None
    return sure.usd + counts.share * (most.usd - sure.usd)


def _show_referee(court: Court, counts: Counts, most: Estimate, to_ask: int | None, dollars: float | None) -> None:
    if counts.both:
        click.echo(f"  {_disputes(court, counts)}")
    if to_ask is None:
        price = "at an unknown price" if most.usd is None else f"{usd(most.usd)}"
        click.echo(
            f"  how much they will dispute is not known: {counted(most.to_ask, 'question')} at most, {price}. "
            "A pilot tells (--pilot)."
        )
        return
    price = "at an unknown price" if dollars is None else f"about {usd(dollars)}"
    guess = "" if counts.both == counts.read else ", an estimate from what both have judged"
    click.echo(f"  about {counted(to_ask, 'question')}, {price}{guess}")


def pilot_consensus(job: Job, panel: Panel, size: int) -> int:
    """--pilot: both judges and the referee on a sample, and what the rest will take."""
    court = Court.of(job, panel)
    done: dict[str, Any] = {}
    code = 0
    with Stop() as stop:
        for part, one in court.jobs.items():
            _head(job, part, panel)
            if part == "referee":
                sample = done.pop("sample")
                disputed = court.disputed()
                report, rejects = label_all(one, 0.0, stop, disputed.keep(sample), "pilot")
                done[part] = as_data(report, rejects)
                code = max(code, exit_code(report, rejects))
            else:
                piloted = run_pilot(one, size, stop)
                done |= {part: piloted.to_dict(), "sample": piloted.articles}
                code = max(code, piloted.exit_code)
            if code == INTERRUPTED:
                break
    done.pop("sample", None)
    if code != INTERRUPTED and court.referee is not None:
        done["rest"] = _say_referee(court)
    if job.as_json:
        print_json(done)
    elif code != INTERRUPTED:
        click.echo("Go on: the same command without --pilot.")
    return code
