"""Calibration before and after: what the student said, what it says now, and what the oracle says there."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np

from filterkit.calibrator import DimensionMap
from filterkit.report.charts import F64, Frame, Span, legend, multiples
from filterkit.report.contents import Contents
from filterkit.report.elements import el
from filterkit.report.figures import digits_of, number, signed
from filterkit.report.section import Section
from filterkit.report.tables import Cell, Head, behind, table

_BINS = 8
_LEAST = 3
"""A bin of fewer articles says nothing."""
_METHODS = {
    "shift_scale": "shift and scale",
    "l1_isotonic": "monotone median",
    "l1_map": "from all dimensions together",
}
Bins = list[tuple[float, float, int]]


def calibration(contents: Contents) -> Section:
    """Per dimension the map, and the oracle's mean where the student says so much, before and after."""
    maps = contents.manifest.calibrator.maps
    charts: list[tuple[str, str, Element]] = []
    rows: list[list[Cell]] = []
    for column, name in enumerate(contents.spec.names):
        before, after = _bins(contents, column, raw=True), _bins(contents, column, raw=False)
        one = maps[column] if column < len(maps) else DimensionMap()
        charts.append((name, _told(contents, column, one), _chart(contents, name, one, before, after)))
        rows += [
            [name, when, *_cells(contents, bin_)]
            for when, bins in (("before", before), ("after", after))
            for bin_ in bins
        ]
    heads = [
        Head("Dimension", "name"),
        Head("when", "name"),
        Head("student's mean"),
        Head("oracle's mean"),
        Head("articles"),
    ]
    notes = None if contents.judged.raw is not None else "What the student said before calibration is not known here."
    changed = any(one.method != "none" for one in maps)
    lead = (
        "The oracle's mean score where the student says so much. On the diagonal the student means what it says. The "
        "map is what calibration makes of a raw score; it was chosen on the validation articles, never on these."
    )
    if not changed:
        lead += " Here the scores are left as they are: no map was better by more than chance."
    kinds = [("dot", "after calibration")]
    if contents.judged.raw is not None and changed:
        kinds += [("hollow", "before"), ("map", "the map")]
    return Section(
        "calibration",
        "Calibration",
        lead,
        (
            el("p", notes, class_="missing") if notes else None,
            legend(*kinds),
            multiples(charts),
            behind("Figures behind these charts", table("Student's and oracle's means", heads, rows)),
        ),
    )


def _told(contents: Contents, column: int, one: DimensionMap) -> str:
    gain = contents.manifest.calibrator.gain
    if one.method == "none":
        return "left as it is"
    saved = f", error {signed(-gain[column], digits_of(contents.spec.scale))} in cross-validation" if gain else ""
    return f"{_METHODS.get(one.method, one.method)}{saved}"


def _bins(contents: Contents, column: int, *, raw: bool) -> Bins:
    """Mean of the student, mean of the oracle and articles, in bins of about equal size by the student's score."""
    judged = contents.judged
    source = judged.raw if raw else judged.scores
    if source is None:
        return []
    said, label = source[:, column].astype(np.float64), judged.labels[:, column].astype(np.float64)
    both = np.isfinite(said) & np.isfinite(label)
    said, label = said[both], label[both]
    if len(said) < _LEAST:
        return []
    edges = np.unique(np.quantile(said, np.linspace(0, 1, _BINS + 1)[1:-1]))
    place = np.searchsorted(edges, said, side="right")
    return [_bin(said[place == k], label[place == k]) for k in range(len(edges) + 1) if (place == k).sum() >= _LEAST]


def _bin(said: F64, label: F64) -> tuple[float, float, int]:
    return float(said.mean()), float(label.mean()), len(said)


def _cells(contents: Contents, bin_: tuple[float, float, int]) -> list[Cell]:
    digits = digits_of(contents.spec.scale)
    return [number(bin_[0], digits), number(bin_[1], digits), f"{bin_[2]:,}"]


def _chart(contents: Contents, name: str, one: DimensionMap, before: Bins, after: Bins) -> Element:
    scale = contents.spec.scale
    room = 0.03 * (scale.max - scale.min)
    low, high = scale.min - room, scale.max + room
    described = f"{len(after)} groups of articles after calibration: " + _words(after) if after else "Too few articles."
    frame = Frame(Span(low, high, "student says"), Span(low, high, "oracle says"), f"{name}: calibration", described)
    frame.identity()
    if one.x:
        frame.add(el("path", d=frame.line(_inside(one, scale.min, scale.max)), class_="map"))
    if one.method != "none":
        frame.dots(_within(before, scale.min, scale.max), hollow=True)
    frame.dots(_within(after, scale.min, scale.max))
    return frame.svg


def _within(bins: Bins, low: float, high: float) -> list[tuple[float, float]]:
    return [(min(max(x, low), high), y) for x, y, _ in bins]


def _inside(one: DimensionMap, low: float, high: float) -> Sequence[tuple[float, float]]:
    """The map as points over the scale, with its kinks."""
    xs = np.unique(np.clip(np.array([low, *one.x, high]), low, high))
    ys = np.clip(np.interp(xs, one.x, one.y), low, high)
    return [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]


def _words(bins: Bins) -> str:
    return "; ".join(f"{number(x, 1)} means {number(y, 1)}" for x, y, _ in bins)
