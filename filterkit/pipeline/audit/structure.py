"""How the dimensions hang together, and which carry nothing new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from filterkit.pipeline.audit import limits
from filterkit.pipeline.audit.amounts import Found
from filterkit.pipeline.audit.records import Finding, number
from filterkit.pipeline.audit.table import F64, Table


def check(table: Table) -> Found:
    """Findings redundant and one-component, over the scored dimensions that vary."""
    spec = table.spec
    names = spec.names
    pearson = correlations(table.labels)
    spearman = correlations(np.column_stack([ranks(column) for column in table.labels.T]))
    figures: dict[str, Any] = {"names": list(names), "pearson": _plain(pearson), "spearman": _plain(spearman)}
    varied = [i for i in spec.scored if not np.isnan(pearson[i, i])]
    figures["first_component"] = share = _first_component(pearson[varied][:, varied])
    explained = {names[i]: _explained(table.labels, i, varied, table.row_groups) for i in varied}
    figures["explained"] = explained
    if len(table.rows) < limits.STOP_LABELS or len(varied) < 2:
        what = "too few labels or dimensions to tell how the dimensions hang together"
        return [Finding(check="redundant", level="pass", what=what)], {"correlation": figures}
    findings = _redundant(names, varied, pearson, explained)
    findings.append(_one_component(share, len(varied)))
    return findings, {"correlation": figures}


def correlations(columns: F64) -> F64:
    """Pearson's correlation [d, d] of columns [n, d], of each pair over the rows where both are known.

    NaN where a column does not vary there, on the diagonal too.
    """
    d = columns.shape[1]
    out = np.full((d, d), np.nan)
    for i in range(d):
        for j in range(i, d):
            both = ~(np.isnan(columns[:, i]) | np.isnan(columns[:, j]))
            a, b = columns[both, i], columns[both, j]
            if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
                continue
            a, b = a - a.mean(), b - b.mean()
            out[i, j] = out[j, i] = np.clip((a @ b) / np.sqrt((a @ a) * (b @ b)), -1, 1)
    return out


def ranks(values: F64) -> F64:
    """Ranks [n] of values [n], equal ones sharing their mean rank; NaN stays."""
    known = ~np.isnan(values)
    _, which, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    out = np.full(len(values), np.nan)
    out[known] = (last - (counts - 1) / 2)[which]
    return out


def _first_component(correlation: F64) -> float | None:
    """Share of the variance of the standardised dimensions that one principal component has."""
    if len(correlation) < 2 or np.isnan(correlation).any():
        return None
    values = np.clip(np.linalg.eigvalsh(correlation), 0, None)
    return number(values[-1] / values.sum())


def _explained(labels: F64, target: int, varied: Sequence[int], groups: np.ndarray[Any, Any]) -> float | None:
    """Out-of-fold R² of one dimension by linear regression on the others, near-duplicates kept together."""
    others = [i for i in varied if i != target]
    rows = np.flatnonzero(~np.isnan(labels[:, [target, *others]]).any(axis=1))
    if not others or len(rows) < max(limits.STOP_LABELS, 5 * len(others)):
        return None
    x = np.column_stack([np.ones(len(rows)), labels[rows][:, others]])
    y = labels[rows, target]
    guess = np.empty(len(rows))
    fold = folds(groups[rows])
    for k in range(limits.FOLDS):
        out = fold == k
        if out.all() or not out.any():
            return None
        guess[out] = x[out] @ np.linalg.lstsq(x[~out], y[~out], rcond=None)[0]
    varies = float(((y - y.mean()) ** 2).sum())
    return number(1 - float(((y - guess) ** 2).sum()) / varies) if varies else None


def folds(groups: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A fold for each row [n]; rows of one group are in one fold."""
    _, which = np.unique(groups, return_inverse=True)
    dealt = np.random.default_rng(0).permutation(int(which.max(initial=-1)) + 1) % limits.FOLDS
    return np.asarray(dealt[which], dtype=np.int64)


def _redundant(
    names: Sequence[str], varied: Sequence[int], pearson: F64, explained: dict[str, float | None]
) -> list[Finding]:
    found = []
    paired: set[str] = set()
    for place, i in enumerate(varied):
        for j in varied[place + 1 :]:
            r = float(pearson[i, j])
            if abs(r) > limits.CORRELATED:
                paired |= {names[i], names[j]}
                what = f"{names[i]} and {names[j]} are nearly the same (r = {r:.3f})"
                do = "Make one of the two, or say in the rubric what sets them apart"
                figures = {"dimensions": [names[i], names[j]], "r": number(r)}
                found.append(
                    Finding(check="redundant", level="warn", dimension=names[j], what=what, do=do, figures=figures)
                )
    for name, r2 in explained.items():
        if r2 is not None and r2 > limits.EXPLAINED and name not in paired:
            what = f"{name} carries nothing new: the other dimensions predict it (R² = {r2:.2f}, cross-validated)"
            do = "Take it out and give its weight to the others, or say in the rubric what it alone asks for"
            found.append(Finding(check="redundant", level="warn", dimension=name, what=what, do=do, figures={"r2": r2}))
    if not found:
        known = {name: r2 for name, r2 in explained.items() if r2 is not None}
        most = max(known, key=lambda name: known[name], default=None)
        tail = "" if most is None else f"; the others predict most of {most} (R² = {known[most]:.2f})"
        found.append(Finding(check="redundant", level="pass", what=f"each dimension has something of its own{tail}"))
    return found


def _one_component(share: float | None, dimensions: int) -> Finding:
    figures = {"share": share}
    if share is None:
        what = "the first principal component is not defined: two dimensions are never known together"
        return Finding(check="one-component", level="pass", what=what, figures=figures)
    what = f"one principal component has {share:.0%} of the variance of {dimensions} dimensions"
    if share > limits.ONE_COMPONENT and dimensions > 2:
        do = "The oracle gives one verdict in several columns: set the dimensions apart in the rubric, or ask for fewer"
        return Finding(check="one-component", level="warn", what=what, do=do, figures=figures)
    return Finding(check="one-component", level="pass", what=what, figures=figures)


def _plain(matrix: F64) -> list[list[float | None]]:
    return [[number(value) for value in row] for row in matrix]
