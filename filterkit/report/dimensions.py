"""How close the student comes, dimension by dimension: scores against scores, errors, residuals per band."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from xml.etree.ElementTree import Element

import numpy as np

from filterkit.metrics.records import Band, DimensionMetrics
from filterkit.report.charts import F64, Frame, Span, around, legend, multiples
from filterkit.report.contents import Contents
from filterkit.report.elements import el
from filterkit.report.figures import Notes, between, counted, digits_of, number, short, signed
from filterkit.report.section import Section, overall_pairs, pairs
from filterkit.report.tables import Cell, Head, Range, behind, breakable, scale_head, spanning, strip, table

DENSE = 2_000
"""More points than this are drawn as a grid of counts."""
_SPREAD = 0.22
"""Labels on a grid are spread by at most so many steps to each side, so that crowds show."""


def scores(contents: Contents) -> Section:
    """Predicted against oracle, and the errors with their intervals beside the constant median."""
    drawn = [(name, *pairs(contents, i)) for i, name in enumerate(contents.spec.names)]
    whole = overall_pairs(contents)
    dense = max((len(x) for _, x, _ in drawn), default=0) > DENSE
    charts = [("overall", *_told(contents, contents.metrics.overall), _against(contents, "overall", *whole))]
    charts += [
        (name, *_told(contents, contents.metrics.per_dimension.get(name)), _against(contents, name, x, y))
        for name, x, y in drawn
    ]
    crowd = (
        "Each cell is a group of articles, the darker the more (in steps that grow by a factor)."
        if dense
        else "Each dot is an article. Where the oracle gives whole numbers, dots are spread a little sideways."
    )
    return Section(
        "scores",
        "Student against oracle",
        f"{crowd} On the line both agree; within the band they differ by at most one point.",
        (
            multiples(charts),
            behind("Figures behind these charts", _binned(contents, [("overall", *whole), *drawn])),
            el("h3", "Errors"),
            _errors(contents),
        ),
    )


def _told(contents: Contents, of: DimensionMetrics | None) -> tuple[str]:
    digits = digits_of(contents.spec.scale)
    if of is None or of.mae is None:
        return ("no pair of scores",)
    return (f"error {number(of.mae, digits)}, rank correlation {number(of.spearman)}",)


def _against(contents: Contents, name: str, label: F64, score: F64) -> Element:
    scale = contents.spec.scale
    room = 0.03 * (scale.max - scale.min)
    x = Span(scale.min - room, scale.max + room, "oracle")
    y = Span(scale.min - room, scale.max + room, "student")
    described = f"{counted(len(label))}. " + (
        f"The oracle's scores have the mean {number(float(label.mean()))}, the student's {number(float(score.mean()))}."
        if len(label)
        else "There is no article that both scored."
    )
    frame = Frame(x, y, f"{name}: the student's scores against the oracle's", described)
    frame.identity(reach=1.0 if scale.max - scale.min > 2 else None)
    x_at, y_at = (np.clip(values, scale.min, scale.max) for values in (label, score))
    if len(label) > DENSE:
        frame.density(x_at, y_at)
    elif len(label):
        frame.scatter(_spread(x_at, scale.max - scale.min), y_at)
    return frame.svg


def _spread(label: F64, width: float) -> F64:
    """Labels moved sideways by the golden ratio's turns, if they lie on a coarse grid; else as they are."""
    values = np.unique(label)
    if len(values) < 2 or len(values) > 24:
        return label
    step = min(float(np.diff(values).min()), width / 10)
    turns = (np.arange(len(label)) * 0.6180339887) % 1 - 0.5
    return np.asarray(label + 2 * _SPREAD * step * turns)


def bands_of(contents: Contents) -> list[tuple[float, float]]:
    """Five bands of equal width over the scale."""
    scale = contents.spec.scale
    edges = np.linspace(scale.min, scale.max, 6)
    return [(float(a), float(b)) for a, b in pairwise(edges)]


def _binned(contents: Contents, drawn: Sequence[tuple[str, F64, F64]]) -> Element:
    digits, bands = digits_of(contents.spec.scale), bands_of(contents)
    heads = [Head("Dimension", "name"), *(Head(f"oracle {short(a)} to {short(b)}") for a, b in bands)]
    rows: list[list[Cell]] = []
    for name, x, y in drawn:
        cells: list[Cell] = [name]
        for i, (low, high) in enumerate(bands):
            here = y[(x >= low) & ((x <= high) if i == len(bands) - 1 else (x < high))]
            mean = number(float(here.mean()), digits) if len(here) else "–"
            cells.append(el("span", mean, el("small", counted(len(here))), class_="figure"))
        rows.append(cells)
    return table("Mean score of the student by band of the oracle's score", heads, rows)


def _errors(contents: Contents) -> Element:
    metrics, digits, notes = contents.metrics, digits_of(contents.spec.scale), Notes()
    each = [("overall", metrics.overall), *metrics.per_dimension.items()]
    reach: list[float | None] = []
    for _, one in each:
        interval = one.intervals.get("mae")
        reach += [one.mae, one.median_mae, interval.high if interval else None]
    across = spanning(reach, least=0.0)
    heads = [
        Head("Dimension", "name"),
        scale_head("Mean absolute error", across),
        Head("MAE"),
        Head("constant median"),
        Head("RMSE"),
        Head("R²"),
        Head("bias"),
        Head("Spearman"),
        Head("within 1"),
    ]
    rows = [_error_row(name, one, digits, across, notes) for name, one in each]
    marks = legend(("dot", "the student, with its 95 % interval"), ("hollow", "always answering the median"))
    return el("div", marks, table("Errors per dimension", heads, rows, notes))


def _error_row(name: str, one: DimensionMetrics, digits: int, across: Range, notes: Notes) -> list[Cell]:
    interval = one.intervals.get("mae")
    title = f"{name}: error {number(one.mae, digits)}"
    title += f", between {between(interval, digits)}" if interval else ""
    title += f"; the median's {number(one.median_mae, digits)}"
    median: Cell = notes.mark(one.undefined.get("median_mae"))
    if one.median_mae is not None:
        answer = el("small", f"answer {number(one.median, digits)}")
        median = el("span", number(one.median_mae, digits), answer, class_="figure")
    return [
        [*breakable(name), el("small", counted(one.n))],
        strip(across, title, one.mae, interval, other=one.median_mae),
        notes.cell(one, "mae", digits),
        median,
        notes.cell(one, "rmse", digits),
        notes.cell(one, "r2"),
        _bias(one, digits, notes),
        notes.cell(one, "spearman"),
        notes.cell(one, "within_1", percent=True),
    ]


def _bias(one: DimensionMetrics | Band, digits: int, notes: Notes) -> Element:
    if one.bias is None:
        return notes.mark(one.undefined.get("bias"))
    interval = between(one.intervals.get("bias"), digits)
    return el("span", signed(one.bias, digits), el("small", interval) if interval else None, class_="figure")


def residuals(contents: Contents) -> Section | None:
    """Mean error, signed and not, per band of the oracle's score."""
    metrics = contents.metrics
    each = [("overall", metrics.overall), *metrics.per_dimension.items()]
    each = [(name, one) for name, one in each if any(band.n for band in one.bands)]
    if not each:
        return None
    y = _residual_span([one for _, one in each])
    charts = [
        (name, _worst_band(one, digits_of(contents.spec.scale)), _residual_chart(name, one, y)) for name, one in each
    ]
    return Section(
        "residuals",
        "Where it errs",
        "By the score that the oracle gave. Above zero the student scores too high, below too low; the box shows the "
        "mean absolute error to both sides.",
        (
            legend(("dot", "mean difference, with its 95 % interval"), ("box", "mean absolute error")),
            multiples(charts),
            behind("Figures behind these charts", _band_table(contents, each)),
        ),
    )


def _worst_band(one: DimensionMetrics, digits: int) -> str:
    known = [b for b in one.bands if b.mae is not None]
    if not known:
        return ""
    worst = max(known, key=lambda b: b.mae or 0.0)
    return f"largest error at {short(worst.low)} to {short(worst.high)}: {number(worst.mae, digits)}"


def _residual_span(each: Sequence[DimensionMetrics]) -> Span:
    """One span for all charts, so that they can be held against one another."""
    reach: list[float | None] = []
    for band in (band for one in each for band in one.bands):
        interval = band.intervals.get("bias")
        reach += [band.mae, -(band.mae or 0.0), band.bias, *((interval.low, interval.high) if interval else ())]
    return around(reach, "student − oracle")


def _residual_chart(name: str, one: DimensionMetrics, y: Span) -> Element:
    known = [b for b in one.bands if b.mae is not None]
    x = Span(one.bands[0].low, one.bands[-1].high, "oracle's score")
    frame = Frame(x, y, f"{name}: errors by the oracle's score", _words(known), height=190)
    for band in known:
        inset = 0.12 * (band.high - band.low)
        frame.box(band.low + inset, band.high - inset, -(band.mae or 0.0), band.mae or 0.0)
    frame.level(0.0)
    points = []
    for band in known:
        if band.bias is None:
            continue
        middle, interval = (band.low + band.high) / 2, band.intervals.get("bias")
        if interval is not None:
            frame.whisker(middle, interval.low, interval.high)
        points.append((middle, band.bias))
    frame.dots(points)
    return frame.svg


def _words(bands: Sequence[Band]) -> str:
    return "; ".join(f"{short(b.low)} to {short(b.high)}: {signed(b.bias)} of {b.n:,}" for b in bands)


def _band_table(contents: Contents, each: Sequence[tuple[str, DimensionMetrics]]) -> Element:
    digits, notes = digits_of(contents.spec.scale), Notes()
    heads = [Head("Dimension", "name"), Head("oracle's score"), Head("articles"), Head("MAE"), Head("mean difference")]
    rows: list[list[Cell]] = [
        [
            name,
            f"{short(band.low)} to {short(band.high)}",
            f"{band.n:,}",
            notes.cell(band, "mae", digits),
            _bias(band, digits, notes),
        ]
        for name, one in each
        for band in one.bands
    ]
    return table("Errors by band of the oracle's score", heads, rows, notes)
