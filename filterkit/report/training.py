"""What else was seen: how sure the student is, how it learnt, and what the splits hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from xml.etree.ElementTree import Element

import numpy as np

from filterkit.metrics.records import CoverageMetrics
from filterkit.report.charts import Frame, around, multiples
from filterkit.report.contents import Contents
from filterkit.report.elements import clip, el
from filterkit.report.figures import Notes, digits_of, number, share
from filterkit.report.section import Section
from filterkit.report.tables import Cell, Head, behind, scale_head, spanning, stacked, strip, table

_CLOCKS = ("step", "steps", "epoch", "epochs", "round", "iteration")
_MEASURES = ("mae", "loss", "rmse", "mse", "error", "acc", "spearman", "r2", "f1", "recall", "precision")
_SIDES = (("train", "val"), ("train", "validation"), ("train", "eval"), ("training", "validation"))
_ABSURD = 1e100
"""No axis reaches so far; NaN and infinity do not come to it either."""
_MOST_CURVES = 12
_MOST_POINTS = 400
Curve = list[tuple[float, float]]


def uncertainty(contents: Contents) -> Section:
    """Coverage and width of the prediction intervals, and the share of articles without a sure verdict."""
    cover, calibrator = contents.metrics.coverage, contents.manifest.calibrator
    title = "How sure it is"
    if cover is None:
        reasons = sorted({reason for reason in calibrator.reasons if reason})
        why = "; ".join(clip(reason, 200) for reason in reasons[:3]) or "no interval was fitted"
        return Section("uncertainty", title, None, (el("p", f"The student gives no prediction intervals: {why}."),))
    digits, notes = digits_of(contents.spec.scale), Notes()
    facts = [
        el(
            "div",
            el("dt", "Scores inside of their interval"),
            el("dd", notes.value(cover.mean, cover, "mean", percent=True)),
        ),
        el("div", el("dt", "Overall inside"), el("dd", notes.value(cover.overall, cover, "overall", percent=True))),
        el("div", el("dt", "Mean width"), el("dd", notes.value(cover.width, cover, "width", digits))),
    ]
    unsure = _unsure(contents)
    if unsure is not None:
        facts.append(el("div", el("dt", "Articles of which the tier is not sure"), el("dd", unsure)))
    return Section(
        "uncertainty",
        title,
        "With every score the student gives an interval that is to hold the oracle's score "
        f"{share(cover.nominal)} of the time.",
        (el("dl", facts, class_="facts"), notes.below(), _coverage(contents, cover)),
    )


def _unsure(contents: Contents) -> str | None:
    judged = contents.judged
    if judged.sure is None or not judged.tiers:
        return None
    sure = judged.sure[judged.tier >= 0]
    return share(float(1 - sure.mean())) if len(sure) else None


def _coverage(contents: Contents, cover: CoverageMetrics) -> Element:
    digits, notes, widths = digits_of(contents.spec.scale), Notes(), _widths(contents)
    lows = [interval.low for interval in cover.intervals.values()]
    across = spanning([*cover.per_dimension.values(), *lows, cover.nominal], most=1.0)
    marks = [(cover.nominal, "promised")]
    heads = [
        Head("Dimension", "name"),
        scale_head("Coverage", across, marks, percent=True),
        Head("coverage"),
        Head("mean width"),
    ]
    rows: list[list[Cell]] = [
        [
            name,
            strip(across, f"{name}: {share(part)} covered", part, cover.intervals.get(name), line=cover.nominal),
            notes.value(part, cover, name, percent=True),
            number(widths.get(name), digits),
        ]
        for name, part in cover.per_dimension.items()
    ]
    return table("Coverage of the prediction intervals", heads, rows, notes)


def _widths(contents: Contents) -> Mapping[str, float | None]:
    intervals = contents.judged.intervals
    if intervals is None:
        return {}
    width = (intervals[:, :, 1] - intervals[:, :, 0]).astype(np.float64)
    known = [column[np.isfinite(column)] for column in width.T]
    return {
        name: float(column.mean()) if len(column) else None
        for name, column in zip(contents.spec.names, known, strict=True)
    }


def learning(contents: Contents) -> Section | None:
    """What the trainer recorded as it went, one chart per figure; training and validation share one."""
    history = contents.manifest.history
    clock = next((k for k in _CLOCKS if _rises([row[k] for row in history if k in row])), None)
    curves = {
        name: curve
        for name in {name: None for row in history for name in row}
        if name != clock and len(curve := _curve(history, name, clock)) >= 2
    }
    measures = {name: curve for name, curve in curves.items() if any(m in name.lower() for m in _MEASURES)}
    groups = _grouped(measures or curves)
    if not groups:
        return None
    charts = [_curve_chart(name, group, clock or "entry") for name, group in list(groups.items())[:_MOST_CURVES]]
    left = len(groups) - len(charts)
    heads = [Head("Figure", "name"), Head("entries"), Head("first"), Head("best low"), Head("best high"), Head("last")]
    rows: list[list[Cell]] = []
    for name, curve in curves.items():
        values = [y for _, y in curve]
        told = [f"{v:.4g}" for v in (values[0], min(values), max(values), values[-1])]
        rows.append([clip(name, 80), f"{len(values):,}", *told])
    return Section(
        "learning",
        "How it learnt",
        "As the trainer recorded it." + (f" {left} more figures stand in the table." if left else ""),
        (multiples(charts), behind("Figures behind these charts", table("What the trainer recorded", heads, rows))),
    )


def _rises(values: Sequence[float]) -> bool:
    return len(values) >= 2 and all(b > a for a, b in pairwise(values))


def _curve(history: Sequence[Mapping[str, float]], name: str, clock: str | None) -> Curve:
    points = [
        (float(row.get(clock, i) if clock else i), float(row[name])) for i, row in enumerate(history, 1) if name in row
    ]
    return [(x, y) for x, y in points if abs(x) < _ABSURD and abs(y) < _ABSURD]


def _grouped(curves: Mapping[str, Curve]) -> dict[str, dict[str, Curve]]:
    """Curves by chart: train_X and val_X make one."""
    groups: dict[str, dict[str, Curve]] = {}
    for name, curve in curves.items():
        pair = next(
            (
                (side, name[len(side) + 1 :])
                for sides in _SIDES
                for side in sides
                if name.startswith((f"{side}_", f"{side}/"))
            ),
            None,
        )
        side, measure = pair or ("", name)
        groups.setdefault(measure, {})[side or name] = curve
    return groups


def _curve_chart(name: str, group: Mapping[str, Curve], clock: str) -> tuple[str, str, Element]:
    ordered = sorted(group.items(), key=lambda item: item[0].startswith("train"))
    styles = ("curve", "curve second")
    told = ", ".join(
        f"{clip(side, 40)} ({'solid' if i == 0 else 'dashed'}) {_from_to(curve)}" if len(group) > 1 else _from_to(curve)
        for i, (side, curve) in enumerate(ordered)
    )
    everything = [point for curve in group.values() for point in curve]
    x, y = around([x for x, _ in everything], clock), around([y for _, y in everything], "")
    frame = Frame(x, y, f"{clip(name, 80)} as the student learnt", told, height=170)
    for (_, curve), style in zip(ordered, styles, strict=False):
        thin = [*curve[: -1 : math.ceil(len(curve) / _MOST_POINTS)], curve[-1]]
        frame.add(el("path", d=frame.line(thin), class_=style))
    return clip(name, 60), told, frame.svg


def _from_to(curve: Curve) -> str:
    return f"{curve[0][1]:.3g} → {curve[-1][1]:.3g}"


def prevalence(contents: Contents) -> Section | None:
    """How many articles of each tier every split holds."""
    splits = contents.prevalence
    if not splits or not any(sum(parts.values()) for parts in splits.values()):
        return None
    names = list({name: None for parts in splits.values() for name in parts})
    heads = [Head("Split", "name"), Head("shares", "strip"), *(Head(clip(name, 40)) for name in names), Head("all")]
    rows: list[list[Cell]] = []
    for split, parts in splits.items():
        total = sum(parts.values())
        title = f"{split}: " + ", ".join(
            f"{name} {share(count / total if total else None)}" for name, count in parts.items()
        )
        bar = stacked([(clip(name, 40), float(parts.get(name, 0))) for name in names], title)
        cells: list[Cell] = [
            el(
                "span",
                f"{parts.get(n, 0):,}",
                el("small", share(parts.get(n, 0) / total if total else None)),
                class_="figure",
            )
            for n in names
        ]
        rows.append([clip(split, 40), bar, *cells, f"{total:,}"])
    lead = "By the oracle's labels. The bar runs through the columns from left to right, dark to light."
    return Section("prevalence", "What the splits hold", lead, (table("Articles per split", heads, rows),))
