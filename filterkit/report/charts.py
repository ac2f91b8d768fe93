"""Charts as plain SVG: a square frame with axes, and what is drawn inside of it.

A frame is 240 units wide, so that a chart reads the same on a phone, on paper and in a grid. Points are one path of
strokes without length (round ends make dots of them), in half units: eight bytes a point instead of fifty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from filterkit.report.elements import Child, append, el
from filterkit.report.figures import short

F64 = NDArray[np.float64]
WIDTH = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 8, 8, 36
_LAYERS = 5
"""Paths that points are dealt to: within one path, strokes that overlap are not any darker."""
_DENSITY_CELLS = 24
_DENSITY_STEPS = 5


@dataclass(frozen=True)
class Span:
    """One axis: from where to where, and what it shows."""

    low: float
    high: float
    title: str

    def ticks(self, most: int = 7) -> list[float]:
        """Round numbers within the span, at most `most` of them."""
        rough = (self.high - self.low) / max(most - 1, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(k * step, 10) for k in range(first, last + 1)]


def around(values: Iterable[float | None], title: str, *, least: float | None = None) -> Span:
    """A span that holds all finite `values`, with some room; from `least` where given."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    low = low if least is None else min(low, least)
    room = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
    return Span(low if low == least else low - room, high + room, title)


class Frame:
    """A chart in the making: axes, then whatever is added; x and y are in the units of their spans."""

    def __init__(self, x: Span, y: Span, title: str, description: str, *, height: int = 228) -> None:
        self.x, self.y, self.height = x, y, height
        self.svg = el("svg", el("title", title), el("desc", description), viewBox=f"0 0 {WIDTH} {height}", role="img")
        self.svg.set("class", "chart")
        self._axes()

    def px(self, value: float) -> float:
        """Units from the left."""
        return _LEFT + (value - self.x.low) / (self.x.high - self.x.low) * (WIDTH - _LEFT - _RIGHT)

    def py(self, value: float) -> float:
        """Units from the top."""
        inner = self.height - _TOP - _BOTTOM
        return _TOP + inner - (value - self.y.low) / (self.y.high - self.y.low) * inner

    def add(self, *children: Child) -> None:
        """Put elements into the chart, above what is there."""
        append(self.svg, children)

    def _axes(self) -> None:
        bottom, right = self.height - _BOTTOM, WIDTH - _RIGHT
        grid, names = [], []
        for tick in self.x.ticks():
            at = round(self.px(tick), 1)
            grid.append(f"M{at:g} {_TOP}V{bottom}")
            names.append(el("text", short(tick), x=f"{at:g}", y=bottom + 13, text_anchor="middle"))
        for tick in self.y.ticks():
            at = round(self.py(tick), 1)
            grid.append(f"M{_LEFT} {at:g}H{right}")
            names.append(el("text", short(tick), x=_LEFT - 5, y=f"{at + 3.5:g}", text_anchor="end"))
        middle = (_TOP + bottom) / 2
        self.add(
            el("path", d="".join(grid), class_="grid"),
            el("g", names, class_="ticks"),
            el(
                "text",
                self.x.title,
                x=(_LEFT + right) / 2,
                y=self.height - 5,
                text_anchor="middle",
                class_="axis-title",
            ),
            el(
                "text",
                self.y.title,
                transform=f"translate(11 {middle:g}) rotate(-90)",
                text_anchor="middle",
                class_="axis-title",
            ),
        )

    def identity(self, reach: float | None = None) -> None:
        """The line on which both are equal, with a band of `reach` to both sides."""
        low, high = max(self.x.low, self.y.low), min(self.x.high, self.y.high)
        if reach is not None:
            corners = [(low, low), (low, low + reach), (high - reach, high), (high, high), (high, high - reach)]
            self.add(el("path", d=self.line([*corners, (low + reach, low)]) + "z", class_="band"))
        self.add(el("path", d=self.line([(low, low), (high, high)]), class_="identity"))

    def level(self, y: float, class_: str = "identity") -> None:
        """A level line at `y`."""
        self.add(el("path", d=self.line([(self.x.low, y), (self.x.high, y)]), class_=class_))

    def line(self, points: Sequence[tuple[float, float]]) -> str:
        """Path data through `points`."""
        return "M" + "L".join(f"{self.px(x):.1f} {self.py(y):.1f}" for x, y in points)

    def dots(self, points: Sequence[tuple[float, float]], *, hollow: bool = False) -> None:
        """A few points, one by one."""
        kind = "hollow" if hollow else "dot"
        marks = [el("circle", cx=f"{self.px(x):.1f}", cy=f"{self.py(y):.1f}", r=3.4) for x, y in points]
        self.add(el("g", marks, class_=kind))

    def scatter(self, x: F64, y: F64) -> None:
        """Many points [n], dealt to a few translucent paths so that crowds show."""
        columns = np.rint(2 * self.px_all(x)).astype(int)
        rows = np.rint(2 * self.py_all(y)).astype(int)
        layers: list[Child] = []
        for start in range(min(_LAYERS, len(x))):
            pairs = sorted({*zip(columns[start::_LAYERS].tolist(), rows[start::_LAYERS].tolist(), strict=True)})
            layers.append(el("path", d="".join(f"M{a} {b}h0" for a, b in pairs)))
        self.add(el("g", layers, transform="scale(.5)", class_="points"))

    def density(self, x: F64, y: F64) -> None:
        """Counts of points [n] in square cells, in steps that grow by a constant factor; darker holds more."""
        edges = [np.linspace(s.low, s.high, _DENSITY_CELLS + 1) for s in (self.x, self.y)]
        counts = np.histogram2d(np.clip(x, self.x.low, self.x.high), np.clip(y, self.y.low, self.y.high), bins=edges)[0]
        most = max(float(counts.max()), 1.0)
        step = np.ceil(np.log1p(counts) / np.log1p(most) * _DENSITY_STEPS).astype(int)
        wide = (WIDTH - _LEFT - _RIGHT) / _DENSITY_CELLS
        high = (self.height - _TOP - _BOTTOM) / _DENSITY_CELLS
        cells: list[Child] = []
        for one in range(1, _DENSITY_STEPS + 1):
            places = np.argwhere(step == one)
            corners = [(self.px(float(edges[0][i])), self.py(float(edges[1][j + 1]))) for i, j in places]
            d = "".join(f"M{a:.1f} {b:.1f}h{wide:.1f}v{high:.1f}h-{wide:.1f}z" for a, b in corners)
            if d:
                cells.append(el("path", d=d, fill_opacity=f"{0.12 + 0.88 * (one - 1) / (_DENSITY_STEPS - 1):.2f}"))
        self.add(el("g", cells, class_="density"))

    def px_all(self, values: F64) -> F64:
        """`px` of an array."""
        return np.asarray(_LEFT + (values - self.x.low) / (self.x.high - self.x.low) * (WIDTH - _LEFT - _RIGHT))

    def py_all(self, values: F64) -> F64:
        """`py` of an array."""
        inner = self.height - _TOP - _BOTTOM
        return np.asarray(_TOP + inner - (values - self.y.low) / (self.y.high - self.y.low) * inner)

    def whisker(self, x: float, low: float, high: float, class_: str = "reach") -> None:
        """An upright line from `low` to `high`."""
        self.add(el("path", d=self.line([(x, low), (x, high)]), class_=class_))

    def box(self, left: float, right: float, low: float, high: float) -> None:
        """A pale box."""
        self.add(el("path", d=self.line([(left, low), (left, high), (right, high), (right, low)]) + "z", class_="box"))


def multiples(charts: Iterable[tuple[str, str, Element]]) -> Element:
    """Small charts of one kind side by side: (name, what to note, chart)."""
    figures = [
        el("figure", el("figcaption", el("b", name), el("small", told)), chart, class_="panel")
        for name, told, chart in charts
    ]
    return el("div", figures, class_="multiples")


def legend(*entries: tuple[str, str]) -> Element:
    """What the marks mean: (class of the mark, words)."""
    marks = {
        "dot": lambda: el("circle", cx=8, cy=7, r=4, class_="dot"),
        "hollow": lambda: el("circle", cx=8, cy=7, r=4, class_="hollow"),
    }
    items = []
    for kind, words in entries:
        mark = marks[kind]() if kind in marks else el("path", d="M0 7H16", class_=kind)
        items.append(
            el("li", el("svg", mark, width=16, height=14, aria_hidden="true", class_="chart-mark"), f" {words}")
        )
    return el("ul", items, class_="legend")
