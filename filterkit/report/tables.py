"""Tables, and the strips of a dot and its interval that stand in their cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from filterkit.metrics.records import Interval
from filterkit.report.elements import Child, append, el
from filterkit.report.figures import Notes, number, share

Cell = Child | Sequence[Child]
_WIDE = 4
"""A table of so many columns may be wider than a phone, and can then be scrolled by keyboard."""


@dataclass(frozen=True)
class Head:
    """One column: its title, and whether it holds numbers, a strip, or text."""

    title: Cell
    kind: str = "number"


def table(caption: str, heads: Sequence[Head], rows: Sequence[Sequence[Cell]], notes: Notes | None = None) -> Element:
    """A table whose first column names its rows, inside of a box that scrolls when it is wider than the page."""
    top = el("tr", [el("th", h.title, scope="col", class_=h.kind) for h in heads])
    body = el("tbody")
    for row in rows:
        name = breakable(row[0]) if isinstance(row[0], str) else row[0]
        cells = [el("td", c, class_=h.kind) for h, c in zip(heads[1:], row[1:], strict=True)]
        body.append(el("tr", el("th", name, scope="row", class_=heads[0].kind), cells))
    whole = el("table", el("caption", caption), el("thead", top), body)
    scrolls = {"tabindex": "0", "role": "region", "aria-label": caption} if len(heads) >= _WIDE else {}
    box = el("div", whole, class_="scroll", **scrolls)
    return el("div", box, notes.below() if notes else None, class_="table")


def breakable(name: str) -> list[Child]:
    """A name that may be broken after its underscores."""
    first, *rest = name.split("_")
    return [first, *(part for later in rest for part in ("_", el("wbr"), later))]


def behind(summary: str, *children: Child) -> Element:
    """Figures that a chart shows, folded away."""
    return el("details", el("summary", summary), *children, class_="data")


@dataclass(frozen=True)
class Range:
    """What a strip spans."""

    low: float
    high: float

    def at(self, value: float) -> str:
        """Where `value` lies, in percent; what lies outside is put at the edge."""
        part = (value - self.low) / (self.high - self.low)
        return f"{100 * min(max(part, 0), 1):.1f}%"


def spanning(values: Sequence[float | None], *, least: float | None = None, most: float | None = None) -> Range:
    """A range that holds all of `values` that are finite, and `least` and `most` where given."""
    known = [v for v in (*values, least, most) if v is not None and math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high - low < 1e-9:
        high = low + 1
    room = 0.04 * (high - low)
    return Range(low if least == low else low - room, high if most == high else high + room)


def scale_head(title: str, range_: Range, marks: Sequence[tuple[float, str]] = (), *, percent: bool = False) -> Head:
    """Head of a column of strips: what is shown, from where to where, and what the upright marks are."""
    digits = 0 if range_.high - range_.low > 20 else 1 if range_.high - range_.low > 2 else 2

    def said(value: float) -> str:
        return share(value) if percent else number(value, digits)

    ends = [el("span", said(range_.low)), el("span", said(range_.high))]
    told = ", ".join(f"{name} at {said(at)}" for at, name in marks)
    return Head([title, el("span", *ends, class_="ends"), el("small", told) if told else None], "strip")


def strip(
    range_: Range,
    title: str,
    point: float | None,
    interval: Interval | None = None,
    *,
    line: float | None = None,
    other: float | None = None,
) -> Element:
    """A dot with its interval on a line. `line`: an upright mark (a limit, zero); `other`: a hollow dot beside."""
    svg = el("svg", el("title", title), class_="strip", role="img", width="100%", height="22")
    append(svg, el("line", x1="0%", x2="100%", y1=11, y2=11, class_="axis"))
    if line is not None:
        append(svg, el("line", x1=range_.at(line), x2=range_.at(line), y1=2, y2=20, class_="mark"))
    if interval is not None:
        append(svg, el("line", x1=range_.at(interval.low), x2=range_.at(interval.high), y1=11, y2=11, class_="reach"))
    elif other is not None and point is not None:
        append(svg, el("line", x1=range_.at(other), x2=range_.at(point), y1=11, y2=11, class_="link"))
    if other is not None:
        append(svg, el("circle", cx=range_.at(other), cy=11, r=4, class_="hollow"))
    if point is not None:
        append(svg, el("circle", cx=range_.at(point), cy=11, r=4.5, class_="dot"))
    return svg


def stacked(parts: Sequence[tuple[str, float]], title: str) -> Element:
    """Shares of a whole, laid end to end, first the darkest."""
    svg = el("svg", el("title", title), class_="stack", role="img", width="100%", height="18")
    total = sum(amount for _, amount in parts)
    start = 0.0
    for i, (name, amount) in enumerate(parts):
        width = 100 * amount / total if total else 0.0
        strength = 1 - 0.82 * i / max(len(parts) - 1, 1)
        tip = el("title", f"{name}: {number(width, 0)} %")
        bar = el("rect", tip, x=f"{start:.2f}%", y=0, width=f"{width:.2f}%", height=18, fill_opacity=f"{strength:.2f}")
        append(svg, bar)
        start += width
    return svg
