"""The errors of one column of predictions, and their means over columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from filterkit.metrics.bootstrap import F64, Ratio, Resamples
from filterkit.metrics.ranking import Mask, RankPair
from filterkit.metrics.records import Band, DimensionMetrics, Interval

BANDS = 5
NO_PAIR = "no article has both a prediction and a label"
SAME_LABELS = "all labels are the same"
SAME_PREDICTIONS = "all predictions are the same"
ONE_PAIR = "one article alone has no order"


@dataclass(frozen=True)
class Column:
    """Predictions [n] beside labels [n], NaN where there is none."""

    prediction: F64
    label: F64

    @cached_property
    def known(self) -> Mask:
        """Rows that have both."""
        both: Mask = ~(np.isnan(self.prediction) | np.isnan(self.label))
        return both

    @cached_property
    def n(self) -> int:
        return int(self.known.sum())

    @cached_property
    def p(self) -> F64:
        return self.prediction[self.known]

    @cached_property
    def t(self) -> F64:
        return self.label[self.known]

    @cached_property
    def error(self) -> F64:
        return self.p - self.t

    @cached_property
    def median(self) -> float:
        return float(np.median(self.t))

    @cached_property
    def same_labels(self) -> bool:
        return bool((self.t == self.t[:1]).all())

    @cached_property
    def same_predictions(self) -> bool:
        return bool((self.p == self.p[:1]).all())

    def spread(self, values: F64) -> F64:
        """Values of the known rows as a column of all rows [n], 0 where a pair is missing."""
        whole = np.zeros(len(self.known))
        whole[self.known] = values
        return whole

    @cached_property
    def ones(self) -> F64:
        return self.known.astype(np.float64)

    @cached_property
    def absolute(self) -> F64:
        return self.spread(np.abs(self.error))

    @cached_property
    def squared(self) -> F64:
        return self.spread(self.error**2)

    @cached_property
    def within_1(self) -> F64:
        return self.spread((np.abs(self.error) <= 1).astype(np.float64))

    @cached_property
    def from_median(self) -> F64:
        return self.spread(np.abs(self.t - self.median))

    @cached_property
    def from_mean(self) -> F64:
        """Squared distance of labels from their mean, as fresh articles would have it: the mean is their own."""
        return self.spread((self.t - self.t.mean()) ** 2) * (self.n / max(1, self.n - 1))

    @cached_property
    def ranked(self) -> RankPair | None:
        """The pair of columns as ranks; None where one of them has no order."""
        if self.n < 2 or self.same_labels or self.same_predictions:
            return None
        return RankPair(self.prediction, self.label, self.known)

    @cached_property
    def spearman(self) -> float | None:
        return None if self.ranked is None else float(self.ranked.correlation(np.ones((1, len(self.known))))[0])


def describe(
    column: Column, resamples: Resamples, *, edges: Sequence[float] | None = None, spearman: Interval | None = None
) -> DimensionMetrics:
    """The errors of one column. `edges` of the bands of labels; `spearman`: the interval of the rank correlation."""
    if not column.n:
        names = ("mae", "rmse", "r2", "bias", "spearman", "within_1", "median", "median_mae", "median_gain")
        return DimensionMetrics(n=0, undefined=dict.fromkeys(names, NO_PAIR))
    figures = {
        "mae": Ratio(column.absolute, column.ones, "log"),
        "bias": Ratio(column.spread(column.error), column.ones),
        "rmse": Ratio(column.squared, column.ones, "log"),
        "median_mae": Ratio(column.from_median, column.ones, "log"),
    }
    undefined: dict[str, str] = {}
    r2 = gain = None
    mae, median_mae = float(np.abs(column.error).mean()), float(np.abs(column.t - column.median).mean())
    if column.same_labels:
        undefined = dict.fromkeys(("r2", "median_gain"), ONE_PAIR.replace("order", "spread"))
        if column.n > 1:
            undefined = dict.fromkeys(("r2", "median_gain"), SAME_LABELS)
    else:
        r2 = float(1 - (column.error**2).sum() / ((column.t - column.t.mean()) ** 2).sum())
        gain = 1 - mae / median_mae
        figures["r2"] = Ratio(column.squared, column.from_mean, "log")
        figures["median_gain"] = Ratio(column.absolute, column.from_median, "log")
    if column.spearman is None:
        undefined["spearman"] = why_no_order(column)
    bands = band_masks(column, edges)
    figures |= {f"{figure} {at}": r for at, (_, _, rows) in enumerate(bands) for figure, r in _in_band(column, rows)}
    found = finished(resamples.studentized(figures), r2)
    within = resamples.share(column.within_1, column.ones)
    own = {k: i for k, i in found.items() if " " not in k}
    return DimensionMetrics(
        n=column.n,
        mae=mae,
        rmse=float(np.sqrt((column.error**2).mean())),
        r2=r2,
        bias=float(column.error.mean()),
        spearman=column.spearman,
        within_1=float((np.abs(column.error) <= 1).mean()),
        median=column.median,
        median_mae=median_mae,
        median_gain=gain,
        bands=tuple(_band(column, at, *band, found) for at, band in enumerate(bands)),
        intervals=own | ({"spearman": spearman} if spearman else {}) | ({"within_1": within} if within else {}),
        undefined=undefined,
    )


def finished(intervals: dict[str, Interval], r2: float | None) -> dict[str, Interval]:
    """The intervals that were asked as ratios, as those of the figures they are named after.

    That of R² is moved to where fresh articles would have it (`from_mean`), and still holds the `r2` of these.
    """
    done = dict(intervals)
    if "rmse" in done:
        done["rmse"] = Interval(low=done["rmse"].low ** 0.5, high=done["rmse"].high ** 0.5)
    for name in {"r2", "median_gain"} & set(done):
        done[name] = Interval(low=1 - done[name].high, high=1 - done[name].low)
    if "r2" in done and r2 is not None:
        done["r2"] = Interval(low=min(r2, done["r2"].low), high=max(r2, done["r2"].high))
    return done


def why_no_order(column: Column) -> str:
    """Why there is no rank correlation."""
    if column.n < 2:
        return ONE_PAIR if column.n else NO_PAIR
    return SAME_LABELS if column.same_labels else SAME_PREDICTIONS


def band_masks(column: Column, edges: Sequence[float] | None) -> list[tuple[float, float, Mask]]:
    """Least and upper end of each band of labels, and its rows [n]; the last holds its upper end too."""
    if edges is None:
        return []
    at = np.clip(np.searchsorted(edges, column.label, side="right") - 1, 0, len(edges) - 2)
    return [(edges[i], edges[i + 1], column.known & (at == i)) for i in range(len(edges) - 1)]


def _in_band(column: Column, rows: Mask) -> list[tuple[str, Ratio]]:
    inside = rows.astype(np.float64)
    bias = column.spread(column.error) * inside
    return [("mae", Ratio(column.absolute * inside, inside, "log")), ("bias", Ratio(bias, inside))]


def _band(column: Column, at: int, low: float, high: float, rows: Mask, found: dict[str, Interval]) -> Band:
    inside = column.prediction[rows] - column.label[rows]
    named = {figure: found[f"{figure} {at}"] for figure in ("mae", "bias") if f"{figure} {at}" in found}
    if not len(inside):
        undefined = dict.fromkeys(("mae", "bias"), "no label lies in this band")
        return Band(low=low, high=high, n=0, mae=None, bias=None, undefined=undefined)
    mae, bias = float(np.abs(inside).mean()), float(inside.mean())
    return Band(low=low, high=high, n=len(inside), mae=mae, bias=bias, intervals=named)
