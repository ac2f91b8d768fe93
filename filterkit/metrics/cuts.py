"""The rows that the student puts first, against those that the oracle does."""

from __future__ import annotations

import numpy as np

from filterkit.metrics.bootstrap import F64, FEWEST, Resamples, wilson
from filterkit.metrics.pairs import Column
from filterkit.metrics.ranking import Ranking
from filterkit.metrics.records import Cut, Interval

KS = (10, 20, 50, 100)


def depths(n: int) -> list[int]:
    """The k at which n articles are cut: 10, 20, 50, 100 and a tenth of them, where that is at most half of them."""
    return sorted({k for k in (*KS, round(n / 10)) if 0 < k <= n / 2})


def cuts(overall: Column, least: float, resamples: Resamples) -> tuple[Cut, ...]:
    """Recall and NDCG at every depth, of ranking by the overall. `least`: the overall that is worth nothing."""
    ks = depths(overall.n)
    if not ks:
        return ()
    ranking = Ranking(overall.p, overall.t, np.maximum(overall.t - least, 0))
    if resamples.standing_for(overall.known) < FEWEST:
        return tuple(_cut(ranking, overall, k, {}) for k in ks)
    drawn = _drawn(ranking, overall, ks, resamples)
    return tuple(
        _cut(ranking, overall, k, {name: values[:, at] for name, values in drawn.items()}) for at, k in enumerate(ks)
    )


def _drawn(ranking: Ranking, overall: Column, ks: list[int], resamples: Resamples) -> dict[str, F64]:
    """Recall and NDCG of resamples [rank rounds, depths], and recall of a resample of each."""
    rows = np.flatnonzero(overall.known)
    parts: dict[str, list[F64]] = {"recall": [], "again": [], "ndcg": []}
    for once, twice in resamples.nested_row_blocks():
        counts, again = once[:, rows], twice[:, rows]
        parts["recall"].append(ranking.recall(counts, ks))
        parts["again"].append(ranking.recall(again, ks))
        parts["ndcg"].append(ranking.ndcg(counts, ks))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _cut(ranking: Ranking, overall: Column, k: int, drawn: dict[str, F64]) -> Cut:
    one = np.ones((1, overall.n))
    recall = ndcg = None
    undefined: dict[str, str] = {}
    intervals: dict[str, Interval] = {}
    if overall.same_labels:
        undefined["recall"] = "the oracle puts no article before another"
    else:
        recall = float(ranking.recall(one, [k])[0, 0])
    if not ranking.gains.any():
        undefined["ndcg"] = "every overall by the oracle is the least there is"
    else:
        ndcg = float(ranking.ndcg(one, [k])[0, 0])
    if drawn and recall is not None:
        intervals["recall"] = wilson(recall, _variance(drawn["recall"], drawn["again"]), k)
    if drawn and ndcg is not None:
        intervals["ndcg"] = wilson(ndcg, float(np.nanvar(drawn["ndcg"])), k)
    return Cut(k=k, recall=recall, ndcg=ndcg, intervals=intervals, undefined=undefined)


def _variance(values: F64, again: F64) -> float:
    """The variance of recall from its variance over resamples, which is too large (a sharp edge at k, and doubles).

    How much too large is read from a second level (Hall 1992, section 1.4): resamples of resamples vary around
    resamples by as much more than these vary around the sample.
    """
    first, second = float(np.var(values)), float(np.var(again - values))
    return first**2 / second if second > 0 else first
