"""What an audit says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from filterkit.records import Record

Level = Literal["pass", "warn", "stop"]
LEVELS: tuple[Level, ...] = ("stop", "warn", "pass")
"""Worst first."""


class Finding(Record):
    """One thing that was looked at.

    check: its name; what was found, in words; do: what to do about it, empty where nothing is to be done; dimension
    where it is about one; figures: what it was judged by.
    """

    check: str
    level: Level
    what: str
    do: str = ""
    dimension: str | None = None
    figures: dict[str, Any] = {}


@dataclass(frozen=True)
class Suspect:
    """A label that does not fit its text: `label` and what texts like it lead to expect, in scale units.

    z: their difference in robust standard deviations of all such differences.
    """

    id: str
    title: str
    dimension: str
    label: float
    expected: float
    z: float

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "id": self.id,
            "title": self.title,
            "dimension": self.dimension,
            "label": number(self.label),
            "expected": number(self.expected),
            "z": number(self.z),
        }


@dataclass(frozen=True)
class Audit:
    """Findings, worst first; figures by subject, as plain data; suspects, the most suspicious first."""

    findings: Sequence[Finding]
    figures: Mapping[str, Any]
    suspects: Sequence[Suspect] = field(default=())

    @property
    def level(self) -> Level:
        """That of the worst finding."""
        return next((level for level in LEVELS if any(f.level == level for f in self.findings)), "pass")

    def to_dict(self) -> dict[str, Any]:
        """As plain data, ready for JSON."""
        return {
            "level": self.level,
            "findings": [finding.model_dump(mode="json") for finding in self.findings],
            "figures": dict(self.figures),
            "suspects": [suspect.to_dict() for suspect in self.suspects],
        }


def number(value: Any) -> float | None:
    """A figure for JSON, rounded to 6 decimals; None where it is undefined."""
    value = float(value)
    return round(value, 6) if math.isfinite(value) else None
