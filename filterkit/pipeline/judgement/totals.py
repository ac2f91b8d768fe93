"""Several passes over the same articles, one for each answer asked for, told as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from filterkit.pipeline.estimate import Estimate
from filterkit.pipeline.pilot import PilotReport, Projection
from filterkit.pipeline.tally import SHOWN_FAILURES, LabelReport


def estimated_together(found: Sequence[Estimate]) -> Estimate:
    """One estimate for all answers: articles count once for each. What is said of their question is said once."""
    first = found[0]
    counts = [f.name for f in fields(Estimate) if type(getattr(first, f.name)) is int and f.name != "measured"]
    unknown = next((one for one in found if one.why_unknown), first)
    return replace(
        first,
        **{name: sum(getattr(one, name) for one in found) for name in counts},
        usd=_sum([one.usd for one in found]),
        most_usd=_sum([one.most_usd for one in found]),
        why_unknown=unknown.why_unknown,
        fix=unknown.fix,
    )


def labelled_together(reports: Sequence[LabelReport]) -> LabelReport:
    """One report for all answers: articles count once for each."""
    last = reports[-1]
    counts = [f.name for f in fields(LabelReport) if type(getattr(last, f.name)) is int]
    return replace(
        last,
        **{name: sum(getattr(one, name) for one in reports) for name in counts if name not in ("in_flight", "window")},
        cost_usd=_sum([one.cost_usd for one in reports]),
        errors=_counts([one.errors for one in reports]),
        versions=_counts([one.versions for one in reports]),
        last_error=next((one.last_error for one in reversed(reports) if one.last_error), ""),
        failures=[failure for one in reports for failure in one.failures][:SHOWN_FAILURES],
    )


def piloted_together(pilots: Sequence[PilotReport]) -> PilotReport:
    """The scores of the first answers, and what all of them took and will take."""
    first = pilots[0]
    rests = [pilot.rest for pilot in pilots]
    return replace(
        first,
        cost_usd=_sum([one.cost_usd for one in pilots]),
        input_tokens=_sum([one.input_tokens for one in pilots]),
        output_tokens=_sum([one.output_tokens for one in pilots]),
        attempts=sum(one.attempts for one in pilots),
        rest=Projection(
            sum(rest.to_ask for rest in rests),
            # the ends are added, too: answers about one article are long together, so their errors do not cancel
            **{name: _sum([getattr(rest, name) for rest in rests]) for name in _PROJECTED},
            estimated=any(rest.estimated for rest in rests),
        ),
    )


_PROJECTED = ("usd", "low_usd", "high_usd", "budget_usd", "input_tokens", "output_tokens")


def _sum(values: Sequence[Any]) -> Any:
    """The sum, or None when a part of it is unknown."""
    return None if any(value is None for value in values) else sum(values)


def _counts(parts: Sequence[dict[str, int]]) -> dict[str, int]:
    return dict(sum((Counter(part) for part in parts), Counter()))
