"""Labels that do not fit their texts: what texts like it lead to expect, and what the oracle said.

A ridge regression on vectors of the texts foretells each label from the labels of other texts (five folds,
near-duplicates kept together). A label far from that, measured by how far labels usually are from it, is a slip of the
oracle, a rare case, or something that the vectors do not see: a person has to look. Cross-validated disagreement as in
confident learning (Northcutt, Jiang, Chuang 2021), for scores instead of classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from filterkit.pipeline.audit import limits
from filterkit.pipeline.audit.records import Finding, Level, Suspect, number
from filterkit.pipeline.audit.structure import folds
from filterkit.pipeline.audit.table import F64, I64, Table
from filterkit.records import F32

PENALTIES = (0.1, 1.0, 10.0, 100.0)
BLOCK = 4096
BANDS = 10
"""Parts of the labels, by what was foretold, of which each is judged by its own scatter."""
BAND_ROWS = 50


def check(table: Table, features: str) -> tuple[list[Finding], dict[str, object], list[Suspect]]:
    """Finding suspects; `features` names what the vectors are."""
    rows = table.rows
    if len(rows) < limits.SUSPECT_ROWS:
        what = f"under {limits.SUSPECT_ROWS} labels: too few to doubt one of them"
        return [Finding(check="suspects", level="pass", what=what)], {"suspects": None}, []
    x = standardised(table.features[np.array(table.text, dtype=np.int64)[rows]])
    fold = folds(table.row_groups)
    understood: dict[str, float | None] = {}
    suspects: list[Suspect] = []
    for columns, known in _alike_known(table):
        y = table.labels[known][:, columns]
        expected = foretell(x if len(known) == len(x) else x[known], y, fold[known])
        for place, column in enumerate(columns):
            name, labels = table.spec.names[column], y[:, place]
            varies = float(((labels - labels.mean()) ** 2).sum()) if len(known) else 0.0
            if expected is None or not varies:
                understood[name] = None
                continue
            guess = np.clip(expected[:, place], table.spec.scale.min, table.spec.scale.max)
            understood[name] = r2 = number(1 - float(((labels - guess) ** 2).sum()) / varies)
            if r2 is not None and r2 >= limits.KNOWS:
                suspects += _far_off(table, name, rows[known], labels, guess)
    suspects.sort(key=lambda s: -abs(s.z))
    return [_finding(table, suspects, understood)], {"suspects": {"features": features, "r2": understood}}, suspects


def _alike_known(table: Table) -> Iterator[tuple[list[int], I64]]:
    """The scored columns, those that are known in the same rows together, and these rows."""
    alike: dict[bytes, list[int]] = {}
    known = ~np.isnan(table.labels)
    for column in table.spec.scored:
        alike.setdefault(known[:, column].tobytes(), []).append(column)
    for columns in alike.values():
        yield columns, np.flatnonzero(known[:, columns[0]])


def standardised(x: F32) -> F32:
    """Vectors [n, k] around their mean, in units of their mean spread, with a column of ones: [n, k + 1]."""
    out = np.ones((len(x), x.shape[1] + 1), dtype=np.float32)
    np.subtract(x, x.mean(axis=0), out=out[:, :-1])
    out[:, :-1] /= x.std(axis=0).mean() or 1.0
    return out


def foretell(x: F32, y: F64, fold: I64) -> F64 | None:
    """Out-of-fold predictions [n, m] of y [n, m] by ridge regression on `standardised` x; None: too few rows.

    The penalty is chosen for each column by its own squared error: one number of four, which is no way to fit noise.
    """
    if len(y) < limits.SUSPECT_ROWS or len(np.unique(fold)) < 2:
        return None
    parts = [np.flatnonzero(fold == k) for k in range(limits.FOLDS)]
    each = [_sums(x, y, part) for part in parts]
    gram, target = sum(g for g, _ in each), sum(t for _, t in each)
    ridge = np.diag([1.0] * (x.shape[1] - 1) + [1e-9])
    best, least = np.zeros(y.shape), np.full(y.shape[1], np.inf)
    for penalty in PENALTIES:
        guess = np.empty(y.shape)
        for part, (own_gram, own_target) in zip(parts, each, strict=True):
            strength = penalty * (len(y) - len(part)) / 100
            weights = np.linalg.solve(gram - own_gram + strength * ridge, target - own_target)
            guess[part] = x[part] @ weights.astype(np.float32)
        error = ((guess - y) ** 2).sum(axis=0)
        better = error < least
        best[:, better], least[better] = guess[:, better], error[better]
    return best


def _sums(x: F32, y: F64, part: I64) -> tuple[F64, F64]:
    """x'x and x'y over some rows, in double precision and in blocks, so that no copy of x is made."""
    gram, target = np.zeros((x.shape[1], x.shape[1])), np.zeros((x.shape[1], y.shape[1]))
    for start in range(0, len(part), BLOCK):
        rows = part[start : start + BLOCK]
        block = x[rows].astype(np.float64)
        gram += block.T @ block
        target += block.T @ y[rows]
    return gram, target


def _far_off(table: Table, name: str, rows: I64, y: F64, expected: F64) -> list[Suspect]:
    z = standard(y - expected, expected, limits.SUSPECT_LEAST * table.range)
    found = np.flatnonzero(
        (np.abs(z) >= limits.SUSPECT_Z) & (np.abs(y - expected) >= limits.SUSPECT_POINTS * table.range)
    )
    return [
        Suspect(table.ids[rows[i]], table.titles[rows[i]], name, float(y[i]), float(expected[i]), float(z[i]))
        for i in found.tolist()
    ]


def standard(errors: F64, expected: F64, least: float) -> F64:
    """Errors [n] in robust standard deviations (median, and 1.4826 times the median absolute deviation).

    Where high scores are foretold they scatter more than where low ones are, so each band of what was foretold is held
    against itself; no band counts as tighter than `least`.
    """
    bands = max(1, min(BANDS, len(errors) // BAND_ROWS))
    out = np.empty(len(errors))
    for part in np.array_split(np.argsort(expected, kind="stable"), bands):
        centre = np.median(errors[part])
        spread = 1.4826 * np.median(np.abs(errors[part] - centre))
        out[part] = (errors[part] - centre) / max(spread, least)
    return out


def _finding(table: Table, suspects: list[Suspect], understood: dict[str, float | None]) -> Finding:
    blind = [name for name, r2 in understood.items() if r2 is None or r2 < limits.KNOWS]
    articles = len({s.id for s in suspects})
    share = articles / len(table.rows)
    figures = {"articles": articles, "labels": len(suspects), "not_judged": blind}
    left = f"; not judged, as the texts do not foretell them: {', '.join(blind)}" if blind else ""
    if len(blind) == len(understood):
        what = "no label could be doubted: its text foretells no dimension well enough"
        return Finding(check="suspects", level="pass", what=what, figures=figures)
    if not suspects:
        what = f"no label is far from what texts like it lead to expect{left}"
        return Finding(check="suspects", level="pass", what=what, figures=figures)
    things = "1 article" if articles == 1 else f"{articles:,} articles"
    most, times = Counter(s.dimension for s in suspects).most_common(1)[0]
    what = f"{things} ({share:.1%}) with labels that do not fit the text, most often in {most} ({times:,}){left}"
    do = "Read the first of them (`filterkit audit` lists them, --output has all): a slip is labelled again"
    level: Level = "warn" if share > limits.SUSPECT_SHARE else "pass"
    return Finding(check="suspects", level=level, what=what, do=do, figures=figures)
