"""Dated scenario files: who takes how much for what, as YAML that is checked before a sum is made of it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from filterkit.errors import ConfigError
from filterkit.explain import explain
from filterkit.filters import at_line
from filterkit.yamlfile import load

SHIPPED = Path(__file__).parents[2] / "scenarios"
"""The files that filterkit brings."""
HOURS_A_DAY, DAYS_A_YEAR, MONTHS_A_YEAR = 24, 365, 12

Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Amount = Annotated[Decimal, Field(gt=0, le=10**12, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
Words = Annotated[str, Field(min_length=1, max_length=500)]
PRICED_BY = {
    "serving": ("per_hour", "per_month", "per_article", "power"),
    "training": ("per_run", "per_hour", "power"),
    "oracle": ("per_million", "per_article"),
}


_EACH = {"per_hour": "an hour", "per_month": "a month", "per_run": "a run", "per_article": "an article"}


def listed(usd: Decimal) -> str:
    """A list price, exactly, with two decimals at least."""
    places = max(2, -int(usd.normalize().as_tuple().exponent))
    return f"${usd:,.{places}f}"


class Part(BaseModel):
    """Base of what a scenario file holds: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Dollars(Part):
    """US dollars, or a range of them: sums are made with its upper end."""

    low: Usd
    high: Usd

    @model_validator(mode="before")
    @classmethod
    def _one_number(cls, value: Any) -> Any:
        return value if isinstance(value, dict | Dollars) else {"low": value, "high": value}

    @model_validator(mode="after")
    def _in_order(self) -> Dollars:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self

    def __str__(self) -> str:
        return listed(self.low) if self.low == self.high else f"{listed(self.low)}–{listed(self.high)[1:]}"


class Power(Part):
    """Electricity of a machine of one's own."""

    watts: Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = Field(
        description="drawn while it is on"
    )
    usd_per_kwh: Usd = Field(description="dollars a kilowatt-hour")

    @property
    def per_hour(self) -> Decimal:
        """Dollars an hour."""
        return self.watts / 1000 * self.usd_per_kwh


class Tokens(Part):
    """Dollars per million tokens."""

    input: Usd
    output: Usd
    cached_input: Usd | None = None


class Tariff(Part):
    """How one pays: exactly one of these, in dollars."""

    per_hour: Dollars | None = None
    per_month: Dollars | None = None
    per_run: Dollars | None = None
    per_article: Dollars | None = None
    per_million: Tokens | None = None
    power: Power | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Tariff:
        given = self.model_fields_set
        if len(given) != 1 or getattr(self, next(iter(given))) is None:
            raise ValueError(f"price takes exactly one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def by(self) -> str:
        """Which of them it is."""
        return next(iter(self.model_fields_set))

    @property
    def hourly(self) -> Decimal | None:
        """Dollars an hour, where it is paid by the hour."""
        if self.power is not None:
            return self.power.per_hour
        return None if self.per_hour is None else self.per_hour.high

    def __str__(self) -> str:
        if self.power is not None:
            return f"{self.power.watts} W at {listed(self.power.usd_per_kwh)} a kWh"
        if self.per_million is not None:
            return f"{listed(self.per_million.input)} in, {listed(self.per_million.output)} out per million tokens"
        return f"{getattr(self, self.by)} {_EACH[self.by]}"


class Capacity(Part):
    """How many articles one instance judges in an hour, and how that is known."""

    articles_per_hour: Amount
    how: Words


class Scenario(Part):
    """One way to train or to serve a student, or what an oracle takes; dated.

    student: `small` runs on one processor core (lite), `large` is a transformer that wants a GPU. runs: `always`, or
    `in_use` while articles are judged and `idle_hours` a day beside (start-up, time until it scales to zero). hours: of
    one training run. ended: why it is no option any more; until: the last day of its price. An oracle's name is that
    of its model.
    """

    name: Name
    kind: Literal["training", "serving", "oracle"]
    what: Words
    student: Literal["small", "large"] = "small"
    price: Tariff
    runs: Literal["always", "in_use"] = "always"
    idle_hours: Annotated[Decimal, Field(ge=0, lt=HOURS_A_DAY, allow_inf_nan=False)] = Decimal(0)
    hours: Amount | None = None
    capacity: Capacity | None = None
    as_of: datetime.date
    source: Words
    until: datetime.date | None = None
    ended: Words | None = None
    note: Words | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Scenario:
        if self.price.by not in PRICED_BY[self.kind]:
            raise ValueError(f"{self.kind} is priced by one of {', '.join(PRICED_BY[self.kind])}, not {self.price.by}")
        timed = self.price.hourly is not None
        if self.kind == "training" and timed and self.hours is None:
            raise ValueError("training that is paid by the hour needs `hours`, those of one run")
        if self.kind == "serving" and self.runs == "in_use" and not (timed and self.capacity):
            raise ValueError(
                "`runs: in_use` needs a price by the hour and a capacity: both make the hours that are paid"
            )
        return self

    def why_not(self, today: datetime.date) -> str | None:
        """Why it cannot be chosen (any more); None when it can."""
        if self.ended is not None:
            return self.ended
        return f"its price held until {self.until}" if self.until and today > self.until else None


class ScenarioFile(Part):
    """A file of scenarios."""

    scenarios: tuple[Scenario, ...] = Field(min_length=1, max_length=500)


def load_scenarios(more: Sequence[Path] = ()) -> list[Scenario]:
    """The scenarios of filterkit's own files and of `more`; one of the same name replaces that of an earlier file.

    ConfigError names file and line of what is wrong.
    """
    found: dict[str, Scenario] = {}
    for path in (*sorted(SHIPPED.glob("*.yaml")), *more):
        for scenario in _read(path):
            found[scenario.name] = scenario
    return list(found.values())


def _read(path: Path) -> tuple[Scenario, ...]:
    data, lines = load(path)
    try:
        scenarios = ScenarioFile.model_validate(data).scenarios
    except ValidationError as error:
        loc, what = explain(error, ScenarioFile)[0]
        raise ConfigError(at_line(path, lines, loc, what)) from error
    seen: set[str] = set()
    for index, scenario in enumerate(scenarios):
        if scenario.name in seen:
            raise ConfigError(at_line(path, lines, ("scenarios", index, "name"), f"{scenario.name!r} is there twice"))
        seen.add(scenario.name)
    return scenarios
