"""Everything that is measured of predictions against labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from filterkit.errors import InputError
from filterkit.metrics.binary import binary
from filterkit.metrics.bootstrap import F64, FEWEST, Resamples
from filterkit.metrics.coverage import coverage
from filterkit.metrics.cuts import cuts
from filterkit.metrics.means import average, mean_intervals
from filterkit.metrics.mixups import mixed_up
from filterkit.metrics.pairs import BANDS, Column, describe
from filterkit.metrics.ranking import fisher
from filterkit.metrics.records import CoverageMetrics, Interval, Metrics, TierMetrics
from filterkit.metrics.tiers import Tiers, tiers

SMALL = 200
FEW_BEST = 10
_DECIMALS = 10
"""Of overalls: sums that are equal but for rounding errors are ties."""


def measure(
    predictions: ArrayLike,
    labels: ArrayLike,
    names: Sequence[str],
    counted: Sequence[int],
    *,
    weights: Sequence[float] | None = None,
    scale: tuple[float, float] | None = None,
    flags: Mapping[str, float] | None = None,
    threshold: float | None = None,
    decided: Tiers | None = None,
    tiers_left_out: str | None = None,
    intervals: ArrayLike | None = None,
    overall_intervals: ArrayLike | None = None,
    missing_intervals: str | None = None,
    nominal: float = 0.9,
    groups: Sequence[str] | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> Metrics:
    """Metrics of predictions [n, d] against labels [n, d] in scale units; NaN = unknown, left out.

    `counted` are the columns that the means are over (scores, not flags), `weights` [d] those of the overall
    (default: equal over `counted`), `scale` its ends, for bands and gains. `flags`: name -> threshold; `threshold`
    on the overall. `decided`: what the policy makes of both. intervals [n, d, 2] and overall_intervals [n, 2] promise
    `nominal`. `groups` [n]: rows that are drawn together. InputError on shapes that do not fit.
    """
    p, t = as_matrix(predictions, names, "predictions"), as_matrix(labels, names, "labels")
    if p.shape != t.shape:
        raise InputError(f"predictions have shape {p.shape}, labels {t.shape}")
    n, d = p.shape
    resamples = Resamples(n, groups, rounds, seed)
    share: F64 = np.asarray(np.isin(np.arange(d), counted) if weights is None else weights, np.float64)
    whole = Column(overall(p, share), overall(t, share))
    edges = None if scale is None else np.linspace(*scale, BANDS + 1).tolist()

    columns = [Column(p[:, i], t[:, i]) for i in range(d)]
    correlations = _correlations([*columns, whole], counted, resamples)
    each = {
        name: describe(columns[i], resamples, edges=edges, spearman=correlations.get(i)) for i, name in enumerate(names)
    }
    scored = [columns[i] for i in counted]
    means, undefined = average([each[names[i]] for i in counted])
    found = mean_intervals(scored, resamples)
    if "mean" in correlations:
        found["spearman"] = correlations["mean"]
    total = describe(whole, resamples, edges=edges, spearman=correlations.get(d))
    judged = tiers(decided, resamples) if decided is not None else None
    return Metrics(
        n=n,
        failed=int(np.isnan(p).any(axis=1).sum()),
        unknown=int(np.isnan(t).sum()),
        **means,
        per_dimension=each,
        overall=total,
        flags={name: binary(columns[names.index(name)], at, resamples) for name, at in (flags or {}).items()},
        at_threshold=None if threshold is None else binary(whole, threshold, resamples),
        tiers=judged,
        tiers_left_out=tiers_left_out if decided is None else None,
        cuts=cuts(whole, _least(whole, scale), resamples),
        coverage=_coverage(
            t, whole, names, counted, resamples, intervals, overall_intervals, nominal, missing_intervals
        ),
        mixed_up=mixed_up(p, t, names, counted, resamples),
        rounds=resamples.rounds,
        rank_rounds=resamples.rank_rounds,
        small=_small(n, means["mae"], found.get("mae"), judged),
        intervals=found,
        undefined=undefined,
    )


def as_matrix(values: ArrayLike, names: Sequence[str], what: str) -> F64:
    """Values as float64 [n, d]; InputError where they are not, or are infinite."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be numbers in an array [n, {len(names)}] ({error})") from error
    if array.ndim != 2 or array.shape[1] != len(names):
        raise InputError(f"{what} must have shape [n, {len(names)}], not {list(array.shape)}")
    if np.isinf(array).any():
        raise InputError(f"{what} must be finite (NaN marks what is missing)")
    return array


def overall(scores: F64, weights: F64) -> F64:
    """Weighted mean [n] of scores [n, d] in float64; columns of weight 0 do not count, a NaN score makes it NaN."""
    counted = np.flatnonzero(weights)
    if not len(counted):
        return np.full(len(scores), np.nan)
    mean: F64 = np.round(scores[:, counted] @ weights[counted] / weights[counted].sum(), _DECIMALS)
    return mean


def _least(whole: Column, scale: tuple[float, float] | None) -> float:
    """The overall that is worth nothing: the scale's least, or where that is not known the least there is."""
    if scale is not None:
        return scale[0]
    return float(whole.t.min()) if whole.n else 0.0


def _correlations(columns: Sequence[Column], counted: Sequence[int], resamples: Resamples) -> dict[int | str, Interval]:
    """Intervals of Spearman's correlation by column, and under "mean" that of the mean over `counted`."""
    ranked = {i: c.ranked for i, c in enumerate(columns) if c.ranked and resamples.standing_for(c.known) >= FEWEST}
    if not ranked:
        return {}
    drawn = np.concatenate(
        [np.stack([pair.correlation(b) for pair in ranked.values()], axis=1) for b in resamples.row_blocks()]
    )
    place = {i: at for at, i in enumerate(ranked)}
    found: dict[int | str, Interval] = {}
    for i, at in place.items():
        found[i] = fisher(
            columns[i].spearman or 0.0, _deviation(drawn[:, at]), resamples.standing_for(columns[i].known)
        )
    scored = [i for i in counted if columns[i].ranked]
    if scored and all(i in ranked for i in scored):
        value = float(np.mean([columns[i].spearman for i in scored]))
        units = min(resamples.standing_for(columns[i].known) for i in scored)
        found["mean"] = fisher(value, _deviation(drawn[:, [place[i] for i in scored]].mean(axis=1)), units)
    return found


def _deviation(values: F64) -> float:
    """Standard deviation over the resamples in which the figure is defined."""
    known = values[~np.isnan(values)]
    return float(known.std()) if len(known) else 0.0


def _coverage(
    labels: F64,
    whole: Column,
    names: Sequence[str],
    counted: Sequence[int],
    resamples: Resamples,
    intervals: ArrayLike | None,
    overall_intervals: ArrayLike | None,
    nominal: float,
    missing: str | None,
) -> CoverageMetrics | None:
    if intervals is None:
        return None
    n, d = labels.shape
    ends = _ends(intervals, (n, d, 2), "intervals")
    of_overall = None if overall_intervals is None else _ends(overall_intervals, (n, 2), "overall_intervals")
    return coverage(
        labels,
        ends,
        names,
        counted,
        resamples,
        overall=None if of_overall is None else (whole.label, of_overall),
        nominal=nominal,
        missing=missing,
    )


def _ends(values: ArrayLike, shape: tuple[int, ...], what: str) -> F64:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be numbers ({error})") from error
    if array.shape != shape:
        raise InputError(f"{what} must have shape {list(shape)}, not {list(array.shape)}")
    return array


def _small(n: int, mae: float | None, interval: Interval | None, judged: TierMetrics | None) -> str | None:
    """What a small test means, in words; None where it is large enough."""
    said = []
    if n < FEWEST:
        said.append(f"{_articles(n, 'test ')} cannot prove anything: an interval needs {FEWEST}")
    elif n < SMALL and interval is not None and mae is not None:
        half = (interval.high - interval.low) / 2
        said.append(f"{n} test articles: the MAE of {mae:.2f} may be off by {half:.2f}, and {4 * n:,} would halve that")
    elif n < SMALL:
        said.append(f"{n} test articles are few")
    if judged is not None and (best := sum(judged.confusion[0])) < FEW_BEST:
        said.append(f"the best tier, {judged.names[0]}, has {_articles(best)} in the test")
    return f"{'; '.join(said)}. Label more." if said else None


def _articles(n: int, kind: str = "") -> str:
    return f"{n or 'no'} {kind}article{'s' * (n != 1)}"
