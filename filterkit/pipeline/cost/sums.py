"""The sums: each way to serve a student, for a year of so many articles a day, against the oracle. All in Decimal."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal

from filterkit.pipeline.cost.oracle import OracleCost
from filterkit.pipeline.cost.scenario import DAYS_A_YEAR, HOURS_A_DAY, MONTHS_A_YEAR, Scenario

ASSUMED_LABELS = 5_000
"""Labels that a first student is counted with where none are there and none are planned."""


@dataclass(frozen=True)
class Volume:
    """Articles a day, on so many days of a year."""

    per_day: int
    days: int = DAYS_A_YEAR

    @property
    def per_year(self) -> int:
        return self.per_day * self.days


@dataclass(frozen=True)
class LabellingCost:
    """Labels that are there, what was spent on them, and what those to come will cost.

    held_usd: part of spent_usd that is only reserved, for requests without an answer; unknown: requests of unknown
    cost, which are in no sum. assumed: nobody said how many labels are planned.
    """

    labels: int
    spent_usd: Decimal
    held_usd: Decimal
    unknown: int
    planned: int
    assumed: bool
    to_label: int
    to_come_usd: Decimal

    @property
    def usd(self) -> Decimal:
        """Both together."""
        return self.spent_usd + self.to_come_usd


@dataclass(frozen=True)
class Training:
    """One way to train, and what a run costs."""

    scenario: Scenario
    usd: Decimal
    why_not: str | None


@dataclass(frozen=True)
class Option:
    """One way to serve. Dollars and shares are exact; saving is negative where the oracle is cheaper.

    one_off_usd: labelling and the cheapest training for its student. yearly_usd: serving alone. break_even_per_day:
    articles a day from which serving costs no more than the oracle, whatever came before; break_even_first_year: from
    which all of it is paid back within a year; None: never. why_not: why it cannot be chosen.
    """

    scenario: Scenario
    training: str | None
    one_off_usd: Decimal
    yearly_usd: Decimal
    saving_usd: Decimal
    saving_share: Decimal | None
    instances: int
    hours_per_day: Decimal | None
    break_even_per_day: int | None
    break_even_first_year: int | None
    payback_days: Decimal | None
    why_not: str | None

    @property
    def first_year_usd(self) -> Decimal:
        return self.one_off_usd + self.yearly_usd

    @property
    def verdict(self) -> Literal["not available", "oracle is cheaper", "as cheap", "student is cheaper"]:
        """Who is cheaper to run, from year to year."""
        if self.why_not is not None:
            return "not available"
        if self.saving_usd < 0:
            return "oracle is cheaper"
        return "student is cheaper" if self.saving_usd > 0 else "as cheap"


@dataclass(frozen=True)
class CostReport:
    """Everything that `filterkit cost` says. cheapest: the option with the smallest first year, of those there are."""

    filter: str
    volume: Volume
    oracle: OracleCost
    labelling: LabellingCost
    trainings: list[Training]
    options: list[Option]

    @property
    def oracle_yearly_usd(self) -> Decimal:
        return self.oracle.usd * self.volume.per_year

    @property
    def cheapest(self) -> Option | None:
        there = [option for option in self.options if option.why_not is None]
        return min(there, key=lambda option: option.first_year_usd, default=None)

    @property
    def cheapest_rented(self) -> Option | None:
        """The cheapest one that needs no machine of one's own."""
        there = [o for o in self.options if o.why_not is None and o.scenario.price.power is None]
        return min(there, key=lambda option: option.first_year_usd, default=None)

    @property
    def oracle_is_cheaper(self) -> bool:
        """Whether no option is cheaper within its first year, labelling and training included."""
        return self.cheapest is None or self.cheapest.first_year_usd >= self.oracle_yearly_usd

    def to_dict(self) -> dict[str, Any]:
        """As plain data; money in dollars."""
        oracle, labelling = self.oracle, self.labelling
        return {
            "filter": self.filter,
            "per_day": self.volume.per_day,
            "days": self.volume.days,
            "oracle": {
                "name": oracle.oracle or None,
                "model": oracle.model or None,
                "usd_per_article": float(oracle.usd),
                "yearly_usd": float(self.oracle_yearly_usd),
                "source": oracle.source,
                "how": oracle.how,
                "price": oracle.price or None,
                "input_tokens": _number(oracle.input_tokens),
                "output_tokens": _number(oracle.output_tokens),
                "measured": oracle.measured,
            },
            "labelling": {
                "labels": labelling.labels,
                "spent_usd": float(labelling.spent_usd),
                "held_usd": float(labelling.held_usd),
                "unknown_costs": labelling.unknown,
                "planned": labelling.planned,
                "planned_is_assumed": labelling.assumed,
                "to_label": labelling.to_label,
                "to_come_usd": float(labelling.to_come_usd),
                "usd": float(labelling.usd),
            },
            "training": [
                {**_head(t.scenario), "usd": float(t.usd), "available": t.why_not is None, "why_not": t.why_not}
                for t in self.trainings
            ],
            "options": [_option(option) for option in self.options],
            "cheapest": None if self.cheapest is None else self.cheapest.scenario.name,
            "cheapest_rented": None if self.cheapest_rented is None else self.cheapest_rented.scenario.name,
            "oracle_is_cheaper": self.oracle_is_cheaper,
        }


def _head(scenario: Scenario) -> dict[str, Any]:
    return {
        "name": scenario.name,
        "what": scenario.what,
        "student": scenario.student,
        "price": str(scenario.price),
        "as_of": scenario.as_of.isoformat(),
        "until": None if scenario.until is None else scenario.until.isoformat(),
        "source": scenario.source,
        "note": scenario.note,
    }


def _option(option: Option) -> dict[str, Any]:
    capacity = option.scenario.capacity
    return {
        **_head(option.scenario),
        "available": option.why_not is None,
        "why_not": option.why_not,
        "training": option.training,
        "one_off_usd": float(option.one_off_usd),
        "yearly_usd": float(option.yearly_usd),
        "first_year_usd": float(option.first_year_usd),
        "saving_usd": float(option.saving_usd),
        "saving_share": _number(option.saving_share),
        "verdict": option.verdict,
        "instances": option.instances,
        "hours_per_day": _number(option.hours_per_day),
        "articles_per_hour": None if capacity is None else float(capacity.articles_per_hour),
        "capacity_how": None if capacity is None else capacity.how,
        "break_even_per_day": option.break_even_per_day,
        "break_even_first_year_per_day": option.break_even_first_year,
        "payback_days": _number(option.payback_days),
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def labelling_cost(
    labels: int, spent: tuple[Decimal, Decimal, int], planned: int | None, per_article: Decimal
) -> LabellingCost:
    """What labelling took and will take. spent: dollars, those of them that are only reserved, unknown costs."""
    assumed = planned is None and not labels
    wanted = planned if planned is not None else labels or ASSUMED_LABELS
    to_label = max(0, wanted - labels)
    return LabellingCost(labels, *spent, wanted, assumed, to_label, to_label * per_article)


def cost_report(
    filter: str,
    volume: Volume,
    oracle: OracleCost,
    labelling: LabellingCost,
    scenarios: Sequence[Scenario],
    today: datetime.date,
) -> CostReport:
    """The sums for every scenario; ways to serve by what they cost a year, those that cannot be chosen last."""
    trainings = [Training(s, _training_usd(s), s.why_not(today)) for s in scenarios if s.kind == "training"]
    options = [
        _sum_up(s, volume, oracle.usd, labelling.usd, trainings, today) for s in scenarios if s.kind == "serving"
    ]
    options.sort(key=lambda option: (option.why_not is not None, option.yearly_usd))
    return CostReport(filter, volume, oracle, labelling, trainings, options)


def _training_usd(scenario: Scenario) -> Decimal:
    hourly = scenario.price.hourly
    if hourly is not None:
        return hourly * (scenario.hours or 0)
    assert scenario.price.per_run is not None
    return scenario.price.per_run.high


def _sum_up(
    scenario: Scenario,
    volume: Volume,
    oracle_usd: Decimal,
    labelling_usd: Decimal,
    trainings: Sequence[Training],
    today: datetime.date,
) -> Option:
    fits = [t for t in trainings if t.scenario.student == scenario.student and t.why_not is None]
    training = min(fits, key=lambda t: t.usd, default=None)
    one_off = labelling_usd + (training.usd if training else Decimal(0))
    serving = _Serving(scenario, volume)
    yearly, asking = serving.yearly_usd, oracle_usd * volume.per_year
    saving = asking - yearly
    return Option(
        scenario=scenario,
        training=None if training is None else training.scenario.name,
        one_off_usd=one_off,
        yearly_usd=yearly,
        saving_usd=saving,
        saving_share=saving / asking if asking else None,
        instances=serving.instances,
        hours_per_day=serving.hours_per_day,
        break_even_per_day=serving.break_even(oracle_usd),
        break_even_first_year=serving.break_even(oracle_usd, one_off),
        payback_days=one_off / saving * DAYS_A_YEAR if saving > 0 else None,
        why_not=scenario.why_not(today),
    )


class _Serving:
    """One scenario at one volume: a fixed sum a year for each instance, and a sum for each article."""

    def __init__(self, scenario: Scenario, volume: Volume) -> None:
        self._scenario, self._volume = scenario, volume
        price, hourly = scenario.price, scenario.price.hourly
        self._hours = HOURS_A_DAY - (scenario.idle_hours if scenario.runs == "in_use" else 0)
        self._per_hour = scenario.capacity.articles_per_hour if scenario.capacity else None
        self.fixed = self.each = Decimal(0)
        if price.per_article is not None:
            self.each = price.per_article.high
        elif price.per_month is not None:
            self.fixed = price.per_month.high * MONTHS_A_YEAR
        elif hourly is not None and scenario.runs == "always":
            self.fixed = hourly * HOURS_A_DAY * DAYS_A_YEAR
        elif hourly is not None and self._per_hour is not None:
            self.fixed = hourly * scenario.idle_hours * volume.days
            self.each = hourly / self._per_hour

    @property
    def instances(self) -> int:
        """How many it takes to get through a day's articles within the day."""
        if self._per_hour is None:
            return 1
        return max(1, _ceiling(self._volume.per_day / (self._per_hour * self._hours)))

    @property
    def hours_per_day(self) -> Decimal | None:
        """Hours that are paid for on a day, of all instances; None where it is not paid by the hour."""
        if self._scenario.price.hourly is None:
            return None
        if self._scenario.runs == "always":
            return Decimal(HOURS_A_DAY * self.instances)
        assert self._per_hour is not None
        return self._scenario.idle_hours * self.instances + self._volume.per_day / self._per_hour

    @property
    def yearly_usd(self) -> Decimal:
        return self.fixed * self.instances + self.each * self._volume.per_year

    def break_even(self, oracle_usd: Decimal, one_off: Decimal = Decimal(0)) -> int | None:
        """The least articles a day at which it costs no more than the oracle, with `one_off` in the first year.

        One that needs k instances pays the fixed part k times: k is the first number of them that can judge so many.
        """
        gain = (oracle_usd - self.each) * self._volume.days  # a year, of one article a day
        if gain <= 0:
            return None
        instances = 1
        if self._per_hour is not None:
            room = gain * self._per_hour * self._hours - self.fixed  # what a full instance earns beyond its own cost
            if room < 0 or (room == 0 and one_off > 0):
                return None
            instances = max(1, _ceiling(one_off / room)) if room else 1
        return _ceiling((self.fixed * instances + one_off) / gain)


def _ceiling(number: Decimal) -> int:
    return int(number.to_integral_value(rounding=ROUND_CEILING))
