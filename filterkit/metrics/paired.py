"""Two students on the same articles: every figure's difference, drawn together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filterkit.metrics.bootstrap import F64, FEWEST, Ratio, Resamples, student_t
from filterkit.metrics.cuts import depths
from filterkit.metrics.means import mean_of, mean_over
from filterkit.metrics.pairs import Column
from filterkit.metrics.ranking import Mask, Ranking
from filterkit.metrics.records import Difference, Interval
from filterkit.metrics.tiers import Tiers

_NO_ROW = "no article was scored by both"
_FEW = "too few articles for an interval"


@dataclass(frozen=True)
class Pair:
    """Two students' predictions [n, d] of articles with labels [n, d], NaN where unknown: only what both scored counts.

    `overalls`: first student's, second student's, oracle's [n]; `tiers`: of both, where the policy has any.
    """

    first: F64
    second: F64
    labels: F64
    overalls: tuple[F64, F64, F64]
    tiers: tuple[Tiers, Tiers] | None = None


def differences(
    pair: Pair, names: Sequence[str], counted: Sequence[int], least: float | None, resamples: Resamples
) -> tuple[Difference, ...]:
    """MAE (mean, overall and per dimension), Spearman, tier accuracy, recall of the best tier and NDCG, compared.

    `least`: the overall that is worth nothing; None: the least there is.
    """
    known = ~(np.isnan(pair.first) | np.isnan(pair.second) | np.isnan(pair.labels))
    columns = [known[:, i] for i in range(len(names))]
    absolute = [np.where(known, np.abs(np.nan_to_num(p - pair.labels)), 0) for p in (pair.first, pair.second)]
    one, two, oracle = pair.overalls
    whole = ~(np.isnan(one) | np.isnan(two) | np.isnan(oracle))
    sums = {"mae": _mean_errors(absolute, known, counted)}
    off = [np.where(whole, np.abs(np.nan_to_num(o - oracle)), 0) for o in (one, two)]
    sums["overall_mae"] = _sums(off[0], off[1], whole)
    sums |= {f"mae:{name}": _sums(absolute[0][:, i], absolute[1][:, i], columns[i]) for i, name in enumerate(names)}
    found = {name: _of_sums(name, parts, True, resamples) for name, parts in sums.items()}
    found["spearman"] = _correlations(pair, known, counted, resamples)
    if pair.tiers is not None:
        found |= _tiers(*pair.tiers, resamples)
    ndcg = _ndcg(pair, whole, least, resamples)
    if ndcg is not None:
        found[ndcg.name] = ndcg
    order = ["mae", "overall_mae", "spearman", *(k for k in found if k.startswith(("tier", "recall", "ndcg")))]
    return tuple(found[name] for name in (*order, *(f"mae:{n}" for n in names)))


@dataclass(frozen=True)
class _Sums:
    """Both students' sums [n] of a figure, over the same asked rows [n]."""

    first: F64
    second: F64
    asked: F64


def _sums(first: F64, second: F64, asked: Mask) -> _Sums:
    return _Sums(first.astype(np.float64), second.astype(np.float64), asked.astype(np.float64))


def _mean_errors(absolute: Sequence[F64], known: Mask, counted: Sequence[int]) -> _Sums:
    """Both students' mean over scored dimensions of the mean errors."""
    some = list(counted)
    parts = [mean_over(values[:, some], known[:, some]) for values in absolute]
    if parts[0] is None or parts[1] is None:
        nothing = np.zeros(len(known))
        return _Sums(nothing, nothing, nothing)
    return _Sums(parts[0].above, parts[1].above, parts[0].below)


def _of_sums(name: str, sums: _Sums, lower: bool, resamples: Resamples, none: str = _NO_ROW) -> Difference:
    total = sums.asked.sum()
    if not total:
        return _difference(name, None, None, None, lower, none)
    interval = resamples.studentized({name: Ratio(sums.first - sums.second, sums.asked)}).get(name)
    return _difference(name, float(sums.first.sum() / total), float(sums.second.sum() / total), interval, lower)


def _difference(
    name: str, first: float | None, second: float | None, interval: Interval | None, lower: bool, why: str = _FEW
) -> Difference:
    """A figure of both; the better one is said when the interval leaves 0 out."""
    better = None
    undefined = {}
    for key, value in (("first", first), ("second", second)):
        if value is None:
            undefined[key] = why
    gap = None if first is None or second is None else first - second
    if gap is None:
        undefined["difference"] = why
    elif interval is not None and (interval.low > 0 or interval.high < 0):
        better = "first" if (interval.high < 0) == lower else "second"
    return Difference.model_validate(
        {
            "name": name,
            "first": first,
            "second": second,
            "difference": gap,
            "lower_is_better": lower,
            "better": better,
            "intervals": {"difference": interval} if interval is not None and gap is not None else {},
            "undefined": undefined,
        }
    )


def _correlations(pair: Pair, known: Mask, counted: Sequence[int], resamples: Resamples) -> Difference:
    """Mean rank correlation; a dimension that one of them always answers alike counts as 0 for that one."""
    both = []
    for i in counted:
        labels = np.where(known[:, i], pair.labels[:, i], np.nan)
        ours = [Column(np.where(known[:, i], p[:, i], np.nan), labels) for p in (pair.first, pair.second)]
        if ours[0].n > 1 and not ours[0].same_labels:
            both.append(ours)
    values = [mean_of([columns[which].spearman or 0.0 for columns in both]) for which in (0, 1)]
    enough = all(resamples.standing_for(columns[0].known) >= FEWEST for columns in both)
    if not both or not enough:
        return _difference("spearman", values[0], values[1], None, False, "no scored dimension has labels that differ")

    def gap(counts: F64) -> F64:
        each = [_correlation(a, counts) - _correlation(b, counts) for a, b in both]
        mean: F64 = np.mean(each, axis=0)
        return mean

    return _difference("spearman", values[0], values[1], _drawn(gap, values, resamples), False)


def _correlation(column: Column, counts: F64) -> F64:
    if column.ranked is None:
        return np.zeros(len(counts))
    return np.nan_to_num(column.ranked.correlation(counts))


def _drawn(gap: Callable[[F64], F64], values: Sequence[float | None], resamples: Resamples) -> Interval | None:
    """The difference of two values with Student's t and the standard deviation of `gap` over resamples."""
    first, second = values
    if first is None or second is None:
        return None
    drawn = np.concatenate([gap(block) for block in resamples.row_blocks()])
    half = student_t(resamples.units - 1) * float(np.nanstd(drawn))
    return Interval(low=first - second - half, high=first - second + half)


def _tiers(first: Tiers, second: Tiers, resamples: Resamples) -> Mapping[str, Difference]:
    judged = (first.tier >= 0) & (second.tier >= 0) & (first.oracle_tier >= 0)
    best = judged & (first.oracle_tier == 0)
    hits = [judged & (t.tier == t.oracle_tier) for t in (first, second)]
    recall = f"recall:{first.names[0]}"
    none = f"the oracle puts no article into {first.names[0]}"
    return {
        "tier_accuracy": _of_sums("tier_accuracy", _sums(hits[0], hits[1], judged), False, resamples),
        recall: _of_sums(recall, _sums(hits[0] & best, hits[1] & best, best), False, resamples, none),
    }


def _ndcg(pair: Pair, whole: Mask, least: float | None, resamples: Resamples) -> Difference | None:
    """NDCG at the deepest of the usual cuts; None where there are too few articles for any."""
    rows = np.flatnonzero(whole)
    ks = depths(len(rows))
    if not ks:
        return None
    one, two, oracle = (o[rows] for o in pair.overalls)
    gains = np.maximum(oracle - (oracle.min() if least is None else least), 0)
    k = ks[-1]
    name = f"ndcg@{k}"
    if not gains.any():
        return _difference(name, None, None, None, False, "every overall by the oracle is the least there is")
    rankings = [Ranking(o, oracle, gains) for o in (one, two)]
    values = [float(r.ndcg(np.ones((1, len(rows))), [k])[0, 0]) for r in rankings]
    if resamples.standing_for(whole) < FEWEST:
        return _difference(name, values[0], values[1], None, False)

    def gap(counts: F64) -> F64:
        one, two = (r.ndcg(counts[:, rows], [k])[:, 0] for r in rankings)
        return one - two

    return _difference(name, values[0], values[1], _drawn(gap, values, resamples), False)
