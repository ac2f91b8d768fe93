"""How the scores of each dimension lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from filterkit.pipeline.audit import limits
from filterkit.pipeline.audit.amounts import Found
from filterkit.pipeline.audit.records import Finding, number
from filterkit.pipeline.audit.table import F64, Table
from filterkit.spec import Dimension

BINS = 10


def check(table: Table) -> Found:
    """Findings spread (of each dimension that has a fault, and of the overall) and baseline."""
    figures = [_figures(table, d, table.labels[:, i]) for i, d in enumerate(table.spec.dimensions)]
    findings: list[Finding] = []
    for dimension, of in zip(table.spec.dimensions, figures, strict=True):
        if of["n"] >= limits.FEW:
            findings += _flag(dimension, of) if dimension.role == "flag" else _score(table, dimension.name, of)
    total = _figures(table, Dimension(name="overall"), table.overall)
    if total["n"] >= limits.FEW and not any(f.level == "stop" for f in findings):
        findings += [f.model_copy(update={"dimension": None}) for f in _alike(table, "the overall", total)]
    if not findings:
        what = "the scores of every dimension use the scale" if total["n"] >= limits.FEW else "too few scores to tell"
        findings.append(Finding(check="spread", level="pass", what=what))
    return [*findings, *_baseline(table, figures)], {"dimensions": figures, "overall": total}


def _figures(table: Table, dimension: Dimension, scores: F64) -> dict[str, Any]:
    """Figures of one column. Shares are of the known scores; histogram counts ten equal bins of the scale."""
    scale = table.spec.scale
    known = np.sort(scores[~np.isnan(scores)])
    n = len(known)
    out: dict[str, Any] = {"name": dimension.name, "role": dimension.role, "n": n}
    out["histogram"] = np.histogram(known, bins=BINS, range=(scale.min, scale.max))[0].tolist()
    if not n:
        names = ("mean", "sd", "median", "median_mae", "at_floor", "at_ceiling", "within_a_tenth", "distinct", "set")
        return out | dict.fromkeys(names)
    median = float(np.median(known))
    # the most that any window of a tenth of the scale holds
    ends = np.searchsorted(known, known + limits.WINDOW * table.range * (1 + 1e-9), side="right")
    threshold = dimension.threshold if dimension.threshold is not None else (scale.min + scale.max) / 2
    return out | {
        "mean": number(known.mean()),
        "sd": number(known.std(ddof=1)) if n > 1 else None,
        "median": number(median),
        "median_mae": number(np.abs(known - median).mean()),
        "at_floor": number((known == scale.min).mean()),
        "at_ceiling": number((known == scale.max).mean()),
        "within_a_tenth": number((ends - np.arange(n)).max() / n),
        "distinct": len(np.unique(known)),
        "set": int((known >= threshold).sum()),
    }


def _alike(table: Table, name: str, of: dict[str, Any]) -> list[Finding]:
    """Words about scores that are nearly all the same."""
    share = of["within_a_tenth"]
    if share < limits.ALIKE_WARN:
        return []
    if of["distinct"] == 1:
        what = f"{name} is {of['median']:g} in all {of['n']:,} labels: there is nothing to learn"
    else:
        what = (
            f"{name} lies within {limits.WINDOW * table.range:g} of itself for {share:.1%} of the labels: saying "
            f"{of['median']:g} every time has an MAE of {of['median_mae']:.2f} and tells nothing apart"
        )
    do = "Label articles that score higher and lower (another source, a search), or ask for something less rare"
    level = "stop" if share >= limits.ALIKE_STOP else "warn"
    return [Finding(check="spread", level=level, dimension=of["name"], what=what, do=do, figures=of)]


def _score(table: Table, name: str, of: dict[str, Any]) -> list[Finding]:
    found = _alike(table, name, of)
    if found:
        return found
    if of["distinct"] <= limits.DISTINCT_VALUES and _possible(table) > limits.DISTINCT_VALUES:
        what = f"{name} takes only {of['distinct']} values: the oracle sorts into classes where a score is asked for"
        do = "Describe more points of the scale in the rubric (anchors at 0, 2, 5, 8, 10)"
        found.append(Finding(check="spread", level="warn", dimension=name, what=what, do=do, figures=of))
    for end, place, share in (
        ("lowest", table.spec.scale.min, "at_floor"),
        ("highest", table.spec.scale.max, "at_ceiling"),
    ):
        if of[share] >= limits.AT_END:
            what = f"{name} is at its {end} score, {place:g}, in {of[share]:.1%} of the labels"
            do = "Label more of the articles that are not, or describe the points next to it more plainly in the rubric"
            found.append(Finding(check="spread", level="warn", dimension=name, what=what, do=do, figures=of))
    return found


def _possible(table: Table) -> float:
    """How many values the scale has."""
    step = table.spec.scale.step
    return math.inf if step is None else table.range / step + 1


def _flag(dimension: Dimension, of: dict[str, Any]) -> list[Finding]:
    for count, word in ((of["set"], "set"), (of["n"] - of["set"], "unset")):
        if count < limits.FLAG_EXAMPLES:
            what = f"the flag {dimension.name} is {word} in {count:,} of {of['n']:,} labels: too few to learn it from"
            do = f"Label more articles where it is {word}, or do without rules that need it"
            return [Finding(check="spread", level="warn", dimension=dimension.name, what=what, do=do, figures=of)]
    return []


def _baseline(table: Table, figures: list[dict[str, Any]]) -> list[Finding]:
    """Whether a constant would pass the gate of the mean absolute error."""
    errors = [figures[i]["median_mae"] for i in table.spec.scored if figures[i]["median_mae"] is not None]
    if not errors or len(table.rows) < limits.FEW:
        return []
    mean, gate = float(np.mean(errors)), table.spec.gates.mae
    of = {"median_mae": number(mean), "gate": gate}
    if gate is not None and mean < gate:
        what = f"each dimension's median said every time has an MAE of {mean:.2f}: gate mae < {gate:g} proves nothing"
        do = f"Set gates.mae well below {mean:.2f}, keep the gates median_gain and spearman; label more varied articles"
        return [Finding(check="baseline", level="warn", what=what, do=do, figures=of)]
    what = f"the constant median has an MAE of {mean:.2f}: that is what a student has to beat"
    return [Finding(check="baseline", level="pass", what=what, figures=of)]
