"""How many labels there are, whose they are, and how well one oracle agrees with itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from filterkit.pipeline.audit import limits
from filterkit.pipeline.audit.records import Finding, Level, number
from filterkit.pipeline.audit.table import Table

Found = tuple[list[Finding], dict[str, Any]]


def check(table: Table) -> Found:
    """Findings amount, oracles, missing, self-consistency."""
    count = len(table.rows)
    repeats, figures = _repeats(table)
    whose = Counter(table.who[row] for row in table.first)
    figures = {"labels": count, "texts": len(table.signed), "oracles": dict(sorted(whose.items())), **figures}
    return [_amount(count), _oracles(whose), *_missing(table), repeats], figures


def _amount(count: int) -> Finding:
    figures = {"labels": count}
    labels = f"{count:,} label{'' if count == 1 else 's'}"
    if count < limits.STOP_LABELS:
        what = f"{labels}: nothing that is learnt from them could be proved"
        do = f"Label {limits.ENOUGH_LABELS:,} articles or more; nothing under {limits.STOP_LABELS} can be tested"
        return Finding(check="amount", level="stop", what=what, do=do, figures=figures)
    if count < limits.ENOUGH_LABELS:
        what = f"{labels}: the test split will have about {round(count / 10):,}, and all figures wide intervals"
        do = f"Label {limits.ENOUGH_LABELS:,} or more before you rely on a figure"
        return Finding(check="amount", level="warn", what=what, do=do, figures=figures)
    return Finding(check="amount", level="pass", what=labels, figures=figures)


def _oracles(whose: Counter[str]) -> Finding:
    figures = dict(sorted(whose.items()))
    if len(whose) > 1:
        several = ", ".join(f"{who}: {labels:,}" for who, labels in figures.items())
        what = f"the labels come from several oracles or models ({several}), which do not judge alike"
        do = "Choose one with --oracle and --model, or make one label of all: `prepare --consensus`"
        return Finding(check="oracles", level="stop", what=what, do=do, figures=figures)
    return Finding(
        check="oracles", level="pass", what=f"all labels are of {next(iter(figures), 'nobody')}", figures=figures
    )


def _missing(table: Table) -> list[Finding]:
    found = []
    shares = np.isnan(table.labels).mean(axis=0) if len(table.rows) else np.zeros(len(table.spec.names))
    for name, share in zip(table.spec.names, shares.tolist(), strict=True):
        level: Level = "stop" if share == 1 else "warn" if share > limits.UNKNOWN_SHARE else "pass"
        if level == "pass":
            continue
        what = f"{name} has no score in {share:.1%} of the labels"
        do = "Label these articles again" if share < 1 else "Label again, or take the dimension out of the filter"
        found.append(
            Finding(check="missing", level=level, dimension=name, what=what, do=do, figures={"share": number(share)})
        )
    if not found:
        most = max(shares.tolist(), default=0.0)
        what = "no score is missing" if not most else f"at most {most:.1%} of a dimension's scores are missing"
        found.append(Finding(check="missing", level="pass", what=what, figures={"share": number(most)}))
    return found


def _repeats(table: Table) -> tuple[Finding, dict[str, Any]]:
    """How far a second answer to one question is from the first."""
    if not table.repeats:
        what = "no article was labelled twice: how well the oracle agrees with itself is not known"
        do = "`filterkit compare` asks it twice about a sample; no student can be closer to it than it is to itself"
        return Finding(check="self-consistency", level="pass", what=what, do=do), {"repeats": None}
    again, first = np.array(table.repeats, dtype=np.int64).T
    apart = np.abs(table.scores[again].astype(np.float64) - table.scores[first])
    maes = [_mean(column) for column in apart.T]
    scored = [maes[i] for i in table.spec.scored if maes[i] is not None]
    mean = float(np.mean([m for m in scored if m is not None])) if scored else None
    per = dict(zip(table.spec.names, map(_or_none, maes), strict=True))
    figures = {"pairs": len(again), "mae": None if mean is None else number(mean), "per_dimension": per}
    if mean is None:
        finding = Finding(
            check="self-consistency", level="pass", what="the repeated samples share no score", figures=figures
        )
        return finding, {"repeats": figures}
    bad = mean > limits.SELF_MAE * table.range and len(again) >= limits.SELF_PAIRS
    worst = max((i for i in table.spec.scored if maes[i] is not None), key=lambda i: maes[i] or 0.0)
    what = (
        f"{len(again):,} repeated samples: the oracle differs from itself by {mean:.2f} on average, most in "
        f"{table.spec.names[worst]} ({maes[worst]:.2f}); no student's error against one answer can be shown to be "
        "below that. All findings are about the first answers; `prepare` takes the median of all"
    )
    do = "Say in the rubric what the scores mean (anchors), set temperature 0, or take a better model" if bad else ""
    level: Level = "warn" if bad else "pass"
    return Finding(check="self-consistency", level=level, what=what, do=do, figures=figures), {"repeats": figures}


def _mean(values: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _or_none(value: float | None) -> float | None:
    return None if value is None else number(value)
