"""Languages and sources: who is rare, who dominates, and whose labels lie elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from filterkit.pipeline.audit import limits
from filterkit.pipeline.audit.amounts import Found
from filterkit.pipeline.audit.records import Finding, number
from filterkit.pipeline.audit.table import F64, Table

LISTED = 20


def check(table: Table) -> Found:
    """Findings language and source."""
    languages = np.array([table.languages[row].strip().lower() for row in table.first], dtype=object)
    sources = np.array([table.sources[row].strip() for row in table.first], dtype=object)
    by_language, by_source = _means(table.overall, languages), _means(table.overall, sources)
    figures = {"languages": by_language, "sources": by_source}
    if len(table.first) < limits.FEW:
        what = "too few labels to tell how languages and sources differ"
        return [Finding(check="language", level="pass", what=what)], figures
    return [*_languages(table, by_language), *_sources(table, by_source, sources)], figures


def _means(overall: F64, names: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """For each name, the most frequent first: labels, share, mean overall, how far from all others, and its z."""
    out = []
    kinds, which, counts = np.unique(names.astype(str), return_inverse=True, return_counts=True)
    sums = np.bincount(which, overall, minlength=len(kinds))
    squares = np.bincount(which, overall**2, minlength=len(kinds))
    n, total, square = len(overall), overall.sum(), (overall**2).sum()
    for k in np.argsort(-counts, kind="stable").tolist():
        count, rest = int(counts[k]), int(n - counts[k])
        apart = z = None
        if count > 1 and rest > 1:
            apart = sums[k] / count - (total - sums[k]) / rest
            error = np.sqrt(
                max(0.0, squares[k] / count - (sums[k] / count) ** 2) / count
                + max(0.0, (square - squares[k]) / rest - ((total - sums[k]) / rest) ** 2) / rest
            )
            z = number(apart / error) if error > 0 else None
        out.append(
            {
                "name": str(kinds[k]),
                "labels": count,
                "share": number(count / n),
                "mean_overall": number(sums[k] / count),
                "apart": None if apart is None else number(apart),
                "z": z,
            }
        )
    return out


def _languages(table: Table, rows: list[dict[str, Any]]) -> list[Finding]:
    total = len(table.first)
    known = [row for row in rows if row["name"]]
    unknown = total - sum(row["labels"] for row in known)
    found = []
    if unknown > limits.NO_LANGUAGE_SHARE * total:
        what = f"the field `language` is missing in {unknown:,} of {total:,} articles: none can be looked at by itself"
        do = "Fill in `language` (en, nl, zh …), so that validation can show where the student is weak"
        found.append(Finding(check="language", level="warn", what=what, do=do, figures={"unknown": unknown}))
    few = [row for row in known if row["labels"] < limits.LANGUAGE_EXAMPLES]
    if few and len(known) > 1:
        names = ", ".join(f"{row['name']} ({row['labels']})" for row in few[:LISTED])
        more = f" and {len(few) - LISTED} more" if len(few) > LISTED else ""
        what = f"too few labels to test the student in {names}{more}"
        do = f"Label {limits.LANGUAGE_EXAMPLES} or more in each language that you will use the filter for"
        found.append(Finding(check="language", level="warn", what=what, do=do, figures={"languages": few}))
    elsewhere = [row for row in known if row["labels"] >= limits.SKEW_EXAMPLES and _apart(table, row)]
    if elsewhere:
        means = ", ".join(f"{row['name']} {row['mean_overall']:.1f} ({row['labels']:,})" for row in elsewhere[:LISTED])
        what = f"the overall lies elsewhere in some languages than in the others: {means} on average"
        do = "Look whether it is the news that differs; if not, say in the rubric that the language does not count"
        found.append(Finding(check="language", level="warn", what=what, do=do, figures={"languages": elsewhere}))
    if not found:
        count = len(known)
        what = f"{count} language{'' if count == 1 else 's'}"
        if known:
            what += f", most often {known[0]['name']} ({known[0]['share']:.0%})"
        found.append(Finding(check="language", level="pass", what=what, figures={"unknown": unknown}))
    return found


def _apart(table: Table, row: dict[str, Any]) -> bool:
    if row["apart"] is None or row["z"] is None:
        return False
    return bool(abs(row["apart"]) > limits.SKEW * table.range and abs(row["z"]) > limits.SKEW_Z)


def _sources(table: Table, rows: list[dict[str, Any]], sources: np.ndarray[Any, Any]) -> list[Finding]:
    total = len(table.first)
    known = [row for row in rows if row["name"]]
    if not known:
        return [Finding(check="source", level="pass", what="the field `source` is missing: no source can be looked at")]
    found = []
    if known[0]["share"] > limits.ONE_SOURCE_SHARE and len(rows) > 1:
        what = f"{known[0]['share']:.0%} of the labels are of one source, {known[0]['name']}"
        do = "Label articles of others too: a student learns one paper's habits"
        found.append(Finding(check="source", level="warn", what=what, do=do, figures=known[0]))
    explained = _explained(table.overall, sources.astype(str))
    if explained is not None and explained > limits.SOURCE_EXPLAINS:
        what = f"the source alone explains {explained:.0%} of the overall's variance"
        do = "Label articles of each source that score high and low, or a student learns the source and not the news"
        found.append(Finding(check="source", level="warn", what=what, do=do, figures={"explained": explained}))
    if not found:
        count = len(known)
        share = (
            "" if explained is None else f"; the source explains {max(0.0, explained):.0%} of the overall's variance"
        )
        what = (
            f"{count} source{'' if count == 1 else 's'}, the most frequent with {known[0]['labels'] / total:.0%}{share}"
        )
        found.append(Finding(check="source", level="pass", what=what, figures={"explained": explained}))
    return found


def _explained(overall: F64, sources: np.ndarray[Any, Any]) -> float | None:
    """Share of the variance [0, 1] that the sources explain, corrected for how many there are (ε², Kelley 1935)."""
    kinds, which = np.unique(sources, return_inverse=True)
    n, k = len(overall), len(kinds)
    if k < 2 or n - k < limits.FEW:
        return None
    means = np.bincount(which, overall) / np.bincount(which)
    within = float(((overall - means[which]) ** 2).sum()) / (n - k)
    around = float(((overall - overall.mean()) ** 2).sum()) / (n - 1)
    return number(1 - within / around) if around > 0 else None
