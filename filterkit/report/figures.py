"""How figures are written: digits by the scale, a minus that is one, a dash and its reason where there is no figure."""

from __future__ import annotations

import math
from xml.etree.ElementTree import Element

from filterkit.metrics.records import Interval, Measured
from filterkit.report.elements import clip, el
from filterkit.spec import Scale

DASH = "–"
PERCENT = "\N{NO-BREAK SPACE}%"
_MOST_DIGITS = 6


def number(value: float | None, digits: int = 2) -> str:
    """`value` with so many decimals; a dash for None and for what is not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:,.{digits}f}"
    return text.replace("-", "−") if text.strip("-0.,") else text.removeprefix("-")


def short(value: float) -> str:
    """`value` in as few characters as tell it: 1, 0.5, 1,234.5."""
    return f"{value:,.6g}".replace("-", "−") if math.isfinite(value) else DASH


def counted(n: int, one: str = "article", many: str | None = None) -> str:
    """`n` things: "1 article", "1,200 articles"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def share(value: float | None) -> str:
    """A share of 1 as a percentage."""
    return DASH if value is None or not math.isfinite(value) else f"{number(100 * value, 0)}{PERCENT}"


def signed(value: float | None, digits: int = 2) -> str:
    """`value` with its sign, plus included."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and text.strip("0.,") else text


def digits_of(scale: Scale) -> int:
    """Decimals that errors on this scale are told with: 2 from 0 to 10, 3 from 0 to 1."""
    return min(max(3 - round(math.log10(scale.max - scale.min)), 0), _MOST_DIGITS)


def apart(a: float | None, b: float, digits: int = 2) -> int:
    """Decimals that `a` and `b` need so that they do not look the same unless they are."""
    if a is None or a == b:
        return digits
    while digits < _MOST_DIGITS and number(a, digits) == number(b, digits):
        digits += 1
    return digits


def between(interval: Interval | None, digits: int = 2, *, percent: bool = False) -> str | None:
    """An interval in words, "0.55 to 0.71"; None for none."""
    if interval is None:
        return None
    if percent:
        return f"{number(100 * interval.low, 0)} to {number(100 * interval.high, 0)}{PERCENT}"
    return f"{number(interval.low, digits)} to {number(interval.high, digits)}"


class Notes:
    """Reasons of the figures that are missing from one table, numbered as they come."""

    def __init__(self) -> None:
        self._reasons: list[str] = []

    def mark(self, reason: str | None) -> Element:
        """A dash that points at its reason."""
        if not reason:
            return el("span", DASH)
        if reason not in self._reasons:
            self._reasons.append(reason)
        return el("span", DASH, el("sup", str(self._reasons.index(reason) + 1)), class_="missing")

    def below(self) -> Element | None:
        """The reasons, to stand below the table."""
        if not self._reasons:
            return None
        lines = [
            el("li", el("sup", f"{i}"), f" {DASH}: {clip(reason, 300)}") for i, reason in enumerate(self._reasons, 1)
        ]
        return el("ul", lines, class_="notes")

    def cell(
        self, of: Measured, name: str, digits: int = 2, *, key: str | None = None, percent: bool = False
    ) -> Element:
        """The figure `name` of a record with its interval, or a dash with its reason."""
        value = getattr(of, name)
        return self.value(value, of, key or name, digits, percent=percent)

    def value(self, value: float | None, of: Measured, key: str, digits: int = 2, *, percent: bool = False) -> Element:
        """`value` with the interval or reason that `of` keeps under `key`."""
        if value is None or not math.isfinite(value):
            return self.mark(of.undefined.get(key))
        interval = between(of.intervals.get(key), digits, percent=percent)
        text = share(value) if percent else number(value, digits)
        return el("span", text, el("small", interval) if interval else None, class_="figure")
