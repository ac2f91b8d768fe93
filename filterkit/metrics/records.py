"""What measuring gives. A value that is undefined is None, with its reason in `undefined`; never NaN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from filterkit.records import Record


class Interval(Record):
    """A 95 % confidence interval of the figure that it is named after."""

    low: float
    high: float


class Measured(Record):
    """Base: figures with, by the name of the field, their intervals, and the reasons of those that are None."""

    intervals: Mapping[str, Interval] = {}
    undefined: Mapping[str, str] = {}


class Band(Measured):
    """The errors of the rows whose label lies in [low, high) (the last band holds its upper end too)."""

    low: float
    high: float
    n: int
    mae: float | None
    bias: float | None


class DimensionMetrics(Measured):
    """Errors of one column, in scale units, over `n` pairs of a finite prediction and a known label.

    `bias` is the mean of prediction - label; `within_1` the share of errors of at most one point; `median` the best
    constant, `median_mae` its error, `median_gain` the share by which `mae` is below that.
    """

    n: int
    mae: float | None = None
    rmse: float | None = None
    r2: float | None = None
    bias: float | None = None
    spearman: float | None = None
    within_1: float | None = None
    median: float | None = None
    median_mae: float | None = None
    median_gain: float | None = None
    bands: tuple[Band, ...] = ()


class BinaryMetrics(Measured):
    """Yes or no at `threshold` (at or above it is yes): of a flag, or of the overall where the filter names one.

    `positives` rows that the oracle says yes to, `predicted` rows that the student does.
    """

    threshold: float
    n: int
    positives: int
    predicted: int
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None


class TierMetrics(Measured):
    """How often the student's scores lead to the tier that the oracle's lead to, both under the filter's policy.

    `confusion[i][j]` rows whose oracle tier is `names[i]` and whose tier by the student is `names[j]`, best tier
    first. Intervals are named accuracy, average_precision, recall:TIER, precision:TIER. `average_precision` is of
    ranking by the student's overall (after caps) against the oracle's top tier.
    """

    names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    accuracy: float | None = None
    recall: Mapping[str, float | None] = {}
    precision: Mapping[str, float | None] = {}
    average_precision: float | None = None


class Cut(Measured):
    """The k rows that the student's overall puts first: `recall`, the share of the oracle's first k among them
    (ties shared out), and `ndcg`, with the oracle's overall above the scale's least as gain."""

    k: int
    recall: float | None = None
    ndcg: float | None = None


class CoverageMetrics(Measured):
    """How many labels lie in the student's prediction intervals, which promise `nominal`.

    `mean` over scored dimensions; intervals are named mean, overall, and by dimension. `width`: mean width of the
    intervals of scored dimensions, in scale units.
    """

    nominal: float
    mean: float | None = None
    overall: float | None = None
    per_dimension: Mapping[str, float | None] = {}
    width: float | None = None


class MixUp(Record):
    """Two dimensions whose predictions fit each other's labels better than their own: `gain` in mean absolute error,
    in scale units, if they were exchanged; `z` that gain over its standard error."""

    dimension: str
    other: str
    gain: float
    z: float


class Metrics(Measured):
    """Everything measured of predictions [n, d] against labels [n, d].

    mae … median_gain are unweighted means over the scored dimensions where they are defined (median_gain: of the two
    means). `overall` is of the weighted overall, before caps. `n` rows given, `failed` rows without a prediction,
    `unknown` labels that are missing. `rounds` and `rank_rounds`: bootstrap resamples behind the intervals of sums and
    of ranks. `small`: in words, when there are too few rows to prove much.
    """

    n: int
    failed: int
    unknown: int
    mae: float | None
    rmse: float | None
    r2: float | None
    bias: float | None
    spearman: float | None
    within_1: float | None
    median_mae: float | None
    median_gain: float | None
    per_dimension: Mapping[str, DimensionMetrics]
    overall: DimensionMetrics
    flags: Mapping[str, BinaryMetrics] = {}
    at_threshold: BinaryMetrics | None = None
    tiers: TierMetrics | None = None
    tiers_left_out: str | None = None
    cuts: tuple[Cut, ...] = ()
    coverage: CoverageMetrics | None = None
    mixed_up: tuple[MixUp, ...] = ()
    rounds: int = 0
    rank_rounds: int = 0
    small: str | None = None


class Slice(Measured):
    """Part of the articles: those of one language, source or length. `mae` is of the scored dimensions, `rest` of all
    others, `worse` how much more with its interval under that name; None where a part is empty."""

    kind: Literal["language", "source", "length"]
    name: str
    n: int
    mae: float | None
    bias: float | None
    rest: float | None
    worse: float | None


class Reference(Measured):
    """Other labels of the same articles, held against the oracle's: another model, a second answer, people.

    That is what a perfect student of this oracle could not beat. `n` articles that both labelled.
    """

    who: str
    kind: Literal["oracle", "repeat", "people"]
    n: int
    mae: float | None
    spearman: float | None
    student_mae: float | None
    per_dimension: Mapping[str, float | None] = {}


class Difference(Measured):
    """One figure of two students on the same articles: `first` - `second` with the interval named difference.

    `better` by the interval: "first", "second", or None where it cannot be told. `lower_is_better` of the figure.
    """

    name: str
    first: float | None
    second: float | None
    difference: float | None
    lower_is_better: bool
    better: Literal["first", "second"] | None


class Comparison(Record):
    """Two students on the same `n` articles. `better` is by the MAE over scored dimensions; `note` what to know."""

    other: str
    other_hash: str
    n: int
    differences: tuple[Difference, ...]
    better: Literal["first", "second"] | None
    note: str | None = None
