"""How much a row counts in training: less where its answers disagree, more where there are more of them.

A label's error variance is v = s² / n for n answers that spread by s. The best weight of a row is 1 / (t² + v), where
t² is how far the student is off even without noise in the labels (Cochran 1937, semi-weighted means; DerSimonian and
Laird 1986). Nobody knows t before training, but a student cannot be shown to be closer to an oracle than the oracle is
to itself, so t² is at least the pooled variance p² of the oracle's answers. That floor is what stands here for it:

    weight = 1 / (1 + mean over the scored dimensions of v / p²)

so that nothing depends on the units of a dimension. The variance of two or three answers says little by itself: s² is
drawn towards p², as if that had been seen PRIOR times more (Smyth 2004, moderated variances). A row with one answer
counts as one that spreads by p. Flags do not count: their answers differ by the whole scale or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from filterkit.pipeline.judgement.samples import DIGITS, Rows
from filterkit.records import Article
from filterkit.spec import FilterSpec

PRIOR = 4
"""Degrees of freedom that the pooled variance counts beside a row's own n - 1."""
LEAST, MOST = 0.25, 4.0
"""What a weight is clipped to, where the mean of all is 1: no row is thrown away, and none rules."""


Opinions = Literal["samples", "judges"]
"""What the spread of a row is over: the samples of one oracle, or the judges of a consensus."""


def _count(article: Article, of: Opinions) -> int:
    """How many opinions a merged row is made of."""
    found = article.extra[of]
    return found if isinstance(found, int) else len(found)


def pooled_spread(spec: FilterSpec, rows: Rows, of: Opinions = "samples") -> dict[str, float]:
    """How far an answer is from another about the same article: per dimension the pooled standard deviation,
    sqrt(sum of (n - 1) s² / sum of (n - 1)) over the merged `rows`, in scale units. Dimensions that no row tells of
    are absent."""
    return {name: spread for name in spec.names if (spread := _pooled(rows, name, of)) is not None}


def _pooled(rows: Rows, name: str, of: Opinions) -> float | None:
    known = [(_count(a, of) - 1, s) for a, _ in rows if (s := _spread(a, name)) is not None]
    freedom = sum(n for n, _ in known)
    return round(math.sqrt(math.fsum(n * s * s for n, s in known) / freedom), DIGITS) if freedom else None


def _spread(article: Article, name: str) -> float | None:
    spread = article.extra.get("spread")
    return spread.get(name) if isinstance(spread, Mapping) else None


def row_weights(spec: FilterSpec, rows: Rows, pooled: Mapping[str, float], of: Opinions = "samples") -> list[float]:
    """The weight of each merged row, of mean 1 before they are clipped; all 1 where the answers never differ."""
    names = [spec.names[i] for i in spec.scored if pooled.get(spec.names[i])]
    raw = [_raw(article, _count(article, of), names, pooled) for article, _ in rows]
    mean = math.fsum(raw) / len(raw) if raw else 1.0
    return [round(min(max(weight / mean, LEAST), MOST), DIGITS) for weight in raw]


def _raw(article: Article, n: int, names: Sequence[str], pooled: Mapping[str, float]) -> float:
    ratios = [_moderated(n, _spread(article, name), pooled[name]) / n for name in names]
    return 1.0 / (1.0 + math.fsum(ratios) / len(ratios)) if ratios else 1.0


def _moderated(n: int, spread: float | None, pooled: float) -> float:
    """The variance of one answer about this article, in units of the pooled one."""
    if spread is None:
        return 1.0
    return (PRIOR + (n - 1) * (spread / pooled) ** 2) / (PRIOR + n - 1)


def with_weights(rows: Rows, weights: Iterable[float]) -> Rows:
    """The rows, each with its weight as the field `weight`."""
    return [
        (replace(article, extra={**article.extra, "weight": weight}), label)
        for (article, label), weight in zip(rows, weights, strict=True)
    ]
