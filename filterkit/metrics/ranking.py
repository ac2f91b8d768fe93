"""Figures of ranks: Spearman's correlation, the first k, average precision; plain and over resamples.

Each is written once, over counts [rounds, n] of how often every row was drawn: all ones give the figure itself.
Rows are put into order once and only counted anew. Definitions are those of scipy.stats.spearmanr and scikit-learn's
ndcg_score and average_precision_score, on the drawn rows.

Intervals take the standard deviation over resamples and go to the scale on which the figure is spread evenly: Fisher's
(1915) for a correlation, Wilson's for what lies from 0 to 1. Percentiles would not do: an article drawn twice is a tie,
so resampled correlations lie below the real one (measured in benchmarks/evaluation.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from filterkit.metrics.bootstrap import F64, student_t
from filterkit.metrics.records import Interval

Mask = NDArray[np.bool_]


class Order:
    """Rows of values [n] from the least up, equal ones in one group."""

    def __init__(self, values: F64) -> None:
        self.rows = np.argsort(values, kind="stable")
        ordered = values[self.rows]
        fresh = np.ones(len(values), np.bool_)
        fresh[1:] = ordered[1:] != ordered[:-1]
        self.starts = np.flatnonzero(fresh)
        self.group = np.empty(len(values), np.intp)
        self.group[self.rows] = np.cumsum(fresh) - 1

    def sums(self, values: F64) -> F64:
        """Values [rounds, n] summed within each group [rounds, groups]."""
        ordered: F64 = values[:, self.rows]
        if 0 < len(self.starts) < ordered.shape[1]:
            ordered = np.add.reduceat(ordered, self.starts, axis=1)
        return ordered


def ranks(values: F64) -> F64:
    """Ranks from 1; equal values share the mean of their ranks."""
    one = np.ones((1, len(values)))
    centred: F64 = _centred_ranks(Order(np.asarray(values, np.float64)), one)[0]
    return centred + (len(values) + 1) / 2


def spearman(a: F64, b: F64) -> float | None:
    """Rank correlation of two columns, ties at their mean rank; None when one of them is constant."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if len(a) < 2 or (a == a[0]).all() or (b == b[0]).all():
        return None
    return float(RankPair(a, b).correlation(np.ones((1, len(a))))[0])


class RankPair:
    """Two columns [n] whose ranks are compared, over the rows that are `known` [n] (default: all)."""

    def __init__(self, a: F64, b: F64, known: Mask | None = None) -> None:
        self.rows = None if known is None or known.all() else np.flatnonzero(known)
        self.a, self.b = (Order(c if self.rows is None else c[self.rows]) for c in (a, b))

    def correlation(self, counts: F64) -> F64:
        """Spearman's correlation [rounds] of drawn rows; NaN where a column is constant."""
        drawn = counts if self.rows is None else counts[:, self.rows]
        a, b = _centred_ranks(self.a, drawn), _centred_ranks(self.b, drawn)
        weighted = drawn * a
        across, aa = np.einsum("rn,rn->r", weighted, b), np.einsum("rn,rn->r", weighted, a)
        np.multiply(drawn, b, out=weighted)
        spread = aa * np.einsum("rn,rn->r", weighted, b)
        with np.errstate(divide="ignore", invalid="ignore"):
            found: F64 = np.clip(np.where(spread > 0, across / np.sqrt(spread), np.nan), -1, 1)
        return found


def _centred_ranks(order: Order, counts: F64) -> F64:
    """Rank of every row less the mean rank [rounds, n]; equal rows share theirs."""
    each = order.sums(counts)
    upto = np.cumsum(each, axis=1)
    centred = upto - each / 2 - upto[:, -1:] / 2
    ranked: F64 = centred[:, order.group]
    return ranked


class Ranking:
    """Rows as the student orders them, and as the oracle does: overalls [n]; gains [n] >= 0 rise with the oracle's."""

    def __init__(self, student: F64, oracle: F64, gains: F64) -> None:
        self.student, self.oracle = Order(-student), Order(-oracle)
        self.gains = gains

    def recall(self, counts: F64, ks: Sequence[int]) -> F64:
        """Share [rounds, ks] of the oracle's first k among the student's first k, of drawn rows.

        Ties at the end of the student's k places share the places that are left; of the oracle's ties there, any may
        fill its last places. So the order of the rows does not matter, and the oracle's own scores reach 1.
        """
        each, theirs = self.student.sums(counts), self.oracle.sums(counts)
        before, theirs_before = np.cumsum(each, axis=1) - each, np.cumsum(theirs, axis=1) - theirs
        found = np.empty((len(counts), len(ks)))
        for at, k in enumerate(ks):
            with np.errstate(divide="ignore", invalid="ignore"):
                chosen = np.where(each > 0, np.clip(k - before, 0, each) / each, 0)
            hits = self.oracle.sums(chosen[:, self.student.group] * counts)
            found[:, at] = np.minimum(hits, np.clip(k - theirs_before, 0, theirs)).sum(axis=1) / k
        return found

    def ndcg(self, counts: F64, ks: Sequence[int]) -> F64:
        """Normalised discounted cumulative gain [rounds, ks] of the student's first k; NaN where there is no gain.

        Järvelin & Kekäläinen 2002, with ties averaged (McSherry & Najork 2008), as scikit-learn's ndcg_score.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            found: F64 = self._gain(self.student, counts, ks) / self._gain(self.oracle, counts, ks)
        return found

    def _gain(self, order: Order, counts: F64, ks: Sequence[int]) -> F64:
        """Discounted gain [rounds, ks] of the first k in an order, equal rows at the mean of their gains."""
        each = order.sums(counts)
        upto = np.cumsum(each, axis=1).astype(np.intp)
        with np.errstate(divide="ignore", invalid="ignore"):
            gains = np.where(each > 0, order.sums(counts * self.gains) / each, 0)
        found = np.empty((len(counts), len(ks)))
        steps = 1 / np.log2(np.arange(2, max(ks) + 2))
        for at, k in enumerate(ks):
            discounts = np.concatenate([[0.0], np.cumsum(steps[:k])])
            places = np.diff(discounts[np.minimum(upto, k)], axis=1, prepend=0.0)
            found[:, at] = np.einsum("rg,rg->r", gains, places)
        return found


class Search:
    """Rows [n] that are right or not, found in the order of `scores` [n], best first."""

    def __init__(self, scores: F64, right: Mask) -> None:
        self.order = Order(-scores)
        self.right = right.astype(np.float64)

    def average_precision(self, counts: F64) -> F64:
        """Precision at every threshold, weighted by the recall it adds [rounds]; NaN with nothing right."""
        found = self.order.sums(counts * self.right)
        right, seen = np.cumsum(found, axis=1), np.cumsum(self.order.sums(counts), axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.where(seen > 0, right / seen, 0)
            average: F64 = (precision * found).sum(axis=1) / right[:, -1]
        return average


def fisher(correlation: float, deviation: float, units: int) -> Interval:
    """Interval of a correlation whose standard deviation over resamples is known, on Fisher's scale."""
    if abs(correlation) >= 1 or deviation <= 0:
        return Interval(low=correlation, high=correlation)
    half = student_t(units - 1) * deviation / (1 - correlation**2)
    middle = np.arctanh(correlation)
    return Interval(low=float(np.tanh(middle - half)), high=float(np.tanh(middle + half)))
