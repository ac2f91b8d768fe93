"""Decisions: tiers and how they are confused, ranking at the top, flags, and yes or no at the threshold."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from filterkit.metrics.records import BinaryMetrics, Metrics, TierMetrics
from filterkit.report.contents import Contents
from filterkit.report.elements import clip, el
from filterkit.report.figures import Notes, number, share, short
from filterkit.report.section import Section
from filterkit.report.tables import Cell, Head, Range, scale_head, strip, table

_WHOLE = Range(0.0, 1.0)


def tiers(contents: Contents) -> Section | None:
    """Confusion of tiers, recall and precision of each, how many each gets, and ranking at the top."""
    metrics = contents.metrics
    found, ranking = metrics.tiers, _ranking(metrics)
    if found is None and metrics.tiers_left_out is None and ranking is None:
        return None
    if found is None:
        why = el("p", f"There are no tiers: {clip(metrics.tiers_left_out or 'the filter has none', 300)}.")
        return Section("tiers", "Tiers and ranking", None, (why, ranking))
    notes = Notes()
    accuracy = notes.value(found.accuracy, found, "accuracy", percent=True)
    ranked = notes.value(found.average_precision, found, "average_precision")
    best = clip(found.names[0], 60) if found.names else "best"
    return Section(
        "tiers",
        "Tiers and ranking",
        "The tier that the student's scores lead to, against the one that the oracle's lead to, both under the "
        "filter's policy.",
        (
            el(
                "dl",
                el("div", el("dt", "Same tier"), el("dd", accuracy)),
                el("div", el("dt", f"Average precision of “{best}”"), el("dd", ranked)),
                class_="facts",
            ),
            notes.below(),
            el("h3", "Which tiers are mixed up"),
            _confusion(found),
            el("h3", "Each tier"),
            _each_tier(found),
            ranking,
        ),
    )


def _confusion(found: TierMetrics) -> Element:
    names = [clip(name, 60) for name in found.names]
    heads = [Head("oracle ↓   student →", "name"), *(Head(name) for name in names), Head("all")]
    rows: list[list[Cell]] = []
    for i, name in enumerate(names):
        total = sum(found.confusion[i])
        cells: list[Cell] = [name]
        for j, count in enumerate(found.confusion[i]):
            part = count / total if total else None
            same = "same" if i == j else ""
            cells.append(
                el("span", f"{count:,}", el("small", share(part)), class_=f"heat {same}".strip(), style=_shade(part))
            )
        rows.append([*cells, f"{total:,}"])
    whole = table(
        "Articles by the oracle's tier (rows) and the student's (columns), with shares of the row", heads, rows
    )
    whole.set("class", "table confusion")
    return whole


def _shade(part: float | None) -> str:
    return f"--share:{part or 0:.2f}"


def _each_tier(found: TierMetrics) -> Element:
    notes = Notes()
    heads = [
        Head("Tier", "name"),
        scale_head("Recall", _WHOLE, percent=True),
        Head("recall"),
        scale_head("Precision", _WHOLE, percent=True),
        Head("precision"),
        Head("by the oracle"),
        Head("by the student"),
    ]
    total = sum(map(sum, found.confusion))
    rows: list[list[Cell]] = []
    for i, name in enumerate(found.names):
        oracle, student = sum(found.confusion[i]), sum(row[i] for row in found.confusion)
        cells: list[Cell] = [clip(name, 60)]
        for kind, values in (("recall", found.recall), ("precision", found.precision)):
            key, value = f"{kind}:{name}", values.get(name)
            title = f"{kind} of {clip(name, 60)}: {share(value)}"
            cells += [
                strip(_WHOLE, title, value, found.intervals.get(key)),
                notes.value(value, found, key, percent=True),
            ]
        rows.append([*cells, _amount(oracle, total), _amount(student, total)])
    return table("Recall, precision and prevalence of each tier", heads, rows, notes)


def _amount(count: int, total: int) -> Element:
    return el("span", f"{count:,}", el("small", share(count / total if total else None)), class_="figure")


def _ranking(metrics: Metrics) -> Element | None:
    if not metrics.cuts:
        return None
    notes = Notes()
    heads = [
        Head("First k", "name"),
        scale_head("Recall at k", _WHOLE, percent=True),
        Head("recall"),
        scale_head("NDCG at k", _WHOLE),
        Head("NDCG"),
    ]
    rows: list[list[Cell]] = [
        [
            f"{cut.k:,}",
            strip(_WHOLE, f"recall at {cut.k:,}: {share(cut.recall)}", cut.recall, cut.intervals.get("recall")),
            notes.cell(cut, "recall", percent=True),
            strip(_WHOLE, f"NDCG at {cut.k:,}: {number(cut.ndcg)}", cut.ndcg, cut.intervals.get("ndcg")),
            notes.cell(cut, "ndcg"),
        ]
        for cut in metrics.cuts
    ]
    lead = el("p", "Of the oracle's first k articles, how many the student puts among its first k.", class_="lead")
    return el("div", el("h3", "Ranking at the top"), lead, table("Ranking at the top", heads, rows, notes))


def flags(contents: Contents) -> Section | None:
    """Flags, and the overall at the filter's threshold, as yes or no."""
    metrics = contents.metrics
    each: list[tuple[str, BinaryMetrics]] = list(metrics.flags.items())
    if metrics.at_threshold is not None:
        each = [("overall", metrics.at_threshold), *each]
    if not each:
        return None
    notes = Notes()
    heads = [
        Head("Score", "name"),
        Head("yes from"),
        Head("oracle yes"),
        Head("student yes"),
        Head("precision"),
        Head("recall"),
        scale_head("F1", _WHOLE),
        Head("F1"),
    ]
    rows: list[list[Cell]] = [
        [
            name,
            short(one.threshold),
            f"{one.positives:,}",
            f"{one.predicted:,}",
            notes.cell(one, "precision", percent=True),
            notes.cell(one, "recall", percent=True),
            strip(_WHOLE, f"F1 of {name}: {number(one.f1)}", one.f1, one.intervals.get("f1")),
            notes.cell(one, "f1"),
        ]
        for name, one in each
    ]
    title = "Yes or no" if metrics.at_threshold is not None else "Flags"
    return Section("flags", title, "At or above its threshold a score means yes.", (table(title, heads, rows, notes),))
