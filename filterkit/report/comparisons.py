"""The student beside others: parts of the articles, other labels, another student."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from filterkit.metrics.records import Difference, Interval, Slice
from filterkit.report.contents import Contents
from filterkit.report.elements import clip, el
from filterkit.report.figures import Notes, between, counted, digits_of, number, signed
from filterkit.report.section import Section
from filterkit.report.tables import Cell, Head, Range, behind, scale_head, spanning, strip, table

_KINDS = {"language": "By language", "source": "By source", "length": "By length"}
_WHO = {"oracle": "another model", "repeat": "the oracle's second answer", "people": "people"}
_MOST_SLICES = 20


def slices(contents: Contents) -> Section | None:
    """Error by language, source and length, with the slice that is surely worst by name."""
    if not contents.slices:
        return None
    across = spanning([v for one in contents.slices for v in (one.worse, *_ends(one.intervals.get("worse")), 0.0)])
    groups = [(kind, [one for one in contents.slices if one.kind == kind]) for kind in _KINDS]
    content = [_slice_table(contents, kind, group, across) for kind, group in groups if group]
    return Section("slices", "Slices", _worst(contents), tuple(content))


def _worst(contents: Contents) -> str:
    digits = digits_of(contents.spec.scale)
    known = [one for one in contents.slices if one.worse is not None]
    if not known:
        return "No part of the articles could be held against the others."
    sure = [one for one in known if one.intervals.get("worse", Interval(low=0, high=0)).low > 0]
    worst = max(sure or known, key=lambda one: one.worse or 0.0)
    name = f"the {worst.kind} “{clip(worst.name, 60)}” ({counted(worst.n)})"
    if not sure:
        error = number(worst.mae, digits)
        return f"No part is surely worse than the others. The largest error is that of {name}: {error}."
    interval = between(worst.intervals.get("worse"), digits)
    return (
        f"Worst is {name}: its mean absolute error is {number(worst.mae, digits)}, "
        f"{number(worst.worse, digits)} more than that of all others ({interval})."
    )


def _slice_table(contents: Contents, kind: str, group: Sequence[Slice], across: Range) -> Element:
    digits, notes = digits_of(contents.spec.scale), Notes()
    heads = [
        Head(kind.capitalize(), "name"),
        Head("articles"),
        Head("MAE"),
        scale_head("Less or more error than the rest", across),
        Head("than the rest"),
        Head("bias"),
    ]
    ordered = sorted(group, key=lambda one: -(one.mae or 0.0)) if kind != "length" else list(group)
    rows: list[list[Cell]] = [
        [
            clip(one.name, 80),
            f"{one.n:,}",
            notes.cell(one, "mae", digits),
            strip(across, _slice_title(one, digits), one.worse, one.intervals.get("worse"), line=0.0),
            _signed(notes, one, "worse", digits),
            _signed(notes, one, "bias", digits),
        ]
        for one in ordered[:_MOST_SLICES]
    ]
    more = len(ordered) - len(rows)
    cut = el("p", f"{more} more are left out here; validation.json has all of them.", class_="lead") if more else None
    return el("div", el("h3", _KINDS[kind]), table(_KINDS[kind], heads, rows, notes), cut)


def _slice_title(one: Slice, digits: int) -> str:
    interval = between(one.intervals.get("worse"), digits)
    than = f"{clip(one.name, 80)}: {signed(one.worse, digits)} than the rest"
    return than + (f", between {interval}" if interval else "")


def _signed(notes: Notes, one: Slice | Difference, name: str, digits: int) -> Element:
    value: float | None = getattr(one, name)
    if value is None:
        return notes.mark(one.undefined.get(name))
    interval = between(one.intervals.get(name), digits)
    return el("span", signed(value, digits), el("small", interval) if interval else None, class_="figure")


def references(contents: Contents) -> Section | None:
    """How far other labels are from the oracle's: what a perfect student could not beat."""
    if not contents.references:
        return None
    digits, notes = digits_of(contents.spec.scale), Notes()
    across = spanning(
        [v for one in contents.references for v in (one.mae, one.student_mae, *_ends(one.intervals.get("mae")))],
        least=0.0,
    )
    heads = [
        Head("Who", "name"),
        Head("what", "name"),
        Head("articles"),
        scale_head("Distance to the oracle", across),
        Head("its MAE"),
        Head("student's MAE"),
        Head("its Spearman"),
    ]
    rows: list[list[Cell]] = [
        [
            clip(one.who, 80),
            _WHO[one.kind],
            f"{one.n:,}",
            strip(
                across,
                f"{clip(one.who, 80)}: {number(one.mae, digits)}; the student: {number(one.student_mae, digits)}",
                one.student_mae,
                one.intervals.get("student_mae"),
                other=one.mae,
            ),
            notes.cell(one, "mae", digits),
            notes.cell(one, "student_mae", digits),
            notes.cell(one, "spearman"),
        ]
        for one in contents.references
    ]
    return Section(
        "references",
        "Beside other judges",
        "How far others are from the same oracle on the same articles (hollow), and how far the student is (filled). A "
        "student that is as near as a second oracle has nothing left to learn from this one.",
        (table("Other judges", heads, rows, notes), _by_dimension(contents, digits)),
    )


def _ends(interval: Interval | None) -> tuple[float, ...]:
    return (interval.low, interval.high) if interval else ()


def _by_dimension(contents: Contents, digits: int) -> Element | None:
    known = [one for one in contents.references if one.per_dimension]
    if not known:
        return None
    heads = [Head("Dimension", "name"), *(Head(clip(one.who, 40)) for one in known), Head("student, all articles")]
    rows: list[list[Cell]] = []
    for name in contents.spec.names:
        own = contents.metrics.per_dimension.get(name)
        others = [number(one.per_dimension.get(name), digits) for one in known]
        rows.append([name, *others, number(own.mae if own else None, digits)])
    return behind("Per dimension", table("Mean absolute error against the oracle, per dimension", heads, rows))


def comparison(contents: Contents) -> Section | None:
    """Paired differences with another student on the same articles."""
    found = contents.comparison
    if found is None:
        return None
    digits, notes = digits_of(contents.spec.scale), Notes()
    other = f"{clip(found.other, 80)} ({found.other_hash[:12]})"
    said = {
        "first": f"This student is better than {other}.",
        "second": f"The other student, {other}, is better.",
        None: f"It cannot be told whether this student or {other} is better.",
    }[found.better]
    heads = [
        Head("Figure", "name"),
        Head("this"),
        Head("other"),
        Head("difference", "strip"),
        Head("this − other"),
        Head("better", "name"),
    ]
    rows: list[list[Cell]] = [_difference(one, digits, notes) for one in found.differences]
    note = el("p", clip(found.note, 500), class_="lead") if found.note else None
    lead = f"{said} Paired on the same {counted(found.n)}; the mark is no difference."
    return Section("comparison", "Against another student", lead, (note, table("Differences", heads, rows, notes)))


def _difference(one: Difference, digits: int, notes: Notes) -> list[Cell]:
    interval = one.intervals.get("difference")
    reach = max((abs(v) for v in (one.difference, *_ends(interval)) if v is not None), default=0.0) or 1.0
    name = one.name.replace("_", " ")
    title = f"{name}: {signed(one.difference, digits)}" + (f", between {between(interval, digits)}" if interval else "")
    return [
        el(
            "span", name, el("small", "lower is better" if one.lower_is_better else "higher is better"), class_="figure"
        ),
        number(one.first, digits),
        number(one.second, digits),
        strip(Range(-1.1 * reach, 1.1 * reach), title, one.difference, interval, line=0.0),
        _signed(notes, one, "difference", digits),
        {"first": "this", "second": "other", None: "cannot tell"}[one.better],
    ]
