"""Confidence intervals (95 %): articles, or whole groups of them, are drawn again with replacement.

One scheme each for three sorts of figure, chosen by their measured coverage (benchmarks/evaluation.py):

- A mean or a ratio of sums (MAE, RMSE, R², bias, the gain over the median): the studentized bootstrap (Efron &
  Tibshirani 1993, ch. 12; Hall 1992, ch. 3). Each resample's figure is held against that resample's own standard
  error by the delta method, so that skewed errors are not covered too seldom, as they are by percentiles. The ends are
  moved out by Student's t over the normal point (Hesterberg 2014), with as many degrees of freedom as there are
  articles that effectively make up the sum: a few large errors are a small sample.
- A share of yes or no (accuracy, recall, precision, coverage): Wilson's score interval (1927) on the effective number
  of articles, share (1 - share) / variance (Korn & Graubard 1998). Four out of four is not certain.
- A figure of ranks: see `filterkit.metrics.ranking`.

An article that the figure does not ask counts as zero in both sums, so every figure sees the same draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filterkit.errors import InputError
from filterkit.metrics.records import Interval

F64 = NDArray[np.float64]

LEVEL = 0.95
Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""
FEWEST = 10
"""Independent articles (or groups) below which no interval is given: it would not hold what it promises."""
FEWEST_ROUNDS = 100
_MOST_DRAWS = 200_000_000
"""Draws kept, a byte each: above 200,000 groups there are fewer rounds, which such an n does not miss."""
_RANKED_ROWS = 1_200_000
"""Rows that are ranked anew in all rounds together: 400 rounds up to 3,000 articles, 200 from 6,000 on."""
_BLOCK = 1_000_000
_PRODUCT = 4_000_000
"""Numbers worked on at a time: by rows, and in a matrix product."""
_NOTHING = 1e-7
"""A standard error this small is a rounding error of sums of squares."""
_WIDEST = np.log(100)
"""On the log scale: ends more than a hundredfold apart (tenfold, of RMSE) come of a few errors, and say nothing."""
_FIGURES = 12
"""Figures worked on at a time: they take 5 columns of n numbers each."""


@dataclass(frozen=True)
class Ratio:
    """A figure that is a sum [n] over a sum [n]; `minus`, if given, is another such figure that is taken away.

    `scale`: where its distribution is closest to even. "log" for what lies above 0, "plain" for the rest.
    """

    above: F64
    below: F64
    scale: Literal["plain", "log"] = "plain"
    minus: tuple[F64, F64] | None = None

    @property
    def sums(self) -> list[F64]:
        return [self.above, self.below, *(self.minus or ())]


class Resamples:
    """`rounds` resamples of n articles; those that share a value of `groups` [n] are drawn together.

    The same seed gives the same draws. `units` is the number of groups; `rank_rounds` the resamples behind figures of
    ranks, fewer where n is large: each costs a pass over all articles.
    """

    def __init__(self, n: int, groups: Sequence[str] | None = None, rounds: int = 1000, seed: int = 0) -> None:
        if rounds < FEWEST_ROUNDS:
            raise InputError(f"{rounds} rounds are too few for an interval", fix=f"Give at least {FEWEST_ROUNDS}")
        if groups is not None and len(groups) != n:
            raise InputError(f"{len(groups)} groups were given for {n} articles")
        self.n, self.seed = n, seed
        self.of: NDArray[np.intp] | None = None
        self.units = n
        if groups is not None and n:
            names, of = np.unique(np.asarray(groups), return_inverse=True)
            if len(names) < n:
                self.of, self.units = of, len(names)
        self.rounds = min(rounds, max(FEWEST_ROUNDS, _MOST_DRAWS // max(1, self.units)))
        self.rank_rounds = min(self.rounds, int(np.clip(_RANKED_ROWS // max(1, n), 200, 400)))

    def per_unit(self, values: F64) -> F64:
        """Sums [units, …] of the rows of values [n, …]."""
        if self.of is None:
            return values
        total = np.zeros((self.units, *values.shape[1:]))
        np.add.at(total, self.of, values)
        return total

    @cached_property
    def _counts(self) -> NDArray[np.uint8]:
        """How often each unit was drawn [rounds, units]; more than 255 times does not happen."""
        random = np.random.default_rng(self.seed)
        counts = np.empty((self.rounds, self.units), np.uint8)
        step = max(1, _BLOCK // self.units)
        for start in range(0, self.rounds, step):
            rounds = min(step, self.rounds - start)
            drawn = random.integers(0, self.units, (rounds, self.units), dtype=np.int32)
            drawn += np.arange(rounds, dtype=np.int32)[:, None] * np.int32(self.units)
            counts[start : start + rounds] = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        return counts

    def _totals(self, table: F64) -> F64:
        """Sums [rounds, columns] of a table [units, columns] over the drawn units of every round."""
        total = np.zeros((self.rounds, table.shape[1]))
        step = max(1, _PRODUCT // self.rounds)
        for start in range(0, self.units, step):  # all rounds at once: a matrix product that the processor likes
            units = slice(start, start + step)
            total += self._counts[:, units].astype(np.float64) @ table[units]
        return total

    def blocks(self, rounds: int | None = None) -> Iterator[F64]:
        """Counts of the units [some rounds, units], block by block."""
        counts = self._counts[:rounds]
        step = max(1, _BLOCK // self.units)
        for start in range(0, len(counts), step):
            yield counts[start : start + step].astype(np.float64)

    def row_blocks(self) -> Iterator[F64]:
        """Counts of the rows [some rounds, n] of the rounds behind figures of ranks."""
        for block in self.blocks(self.rank_rounds):
            yield self._rows(block)

    def nested_row_blocks(self) -> Iterator[tuple[F64, F64]]:
        """Those counts, and beside each round those of one resample of that resample."""
        random = np.random.default_rng([self.seed, 1])
        for block in self.blocks(self.rank_rounds):
            again = random.multinomial(self.units, block / self.units).astype(np.float64)
            yield self._rows(block), self._rows(again)

    def _rows(self, counts: F64) -> F64:
        return counts if self.of is None else counts[:, self.of]

    def standing_for(self, rows: NDArray[np.bool_] | F64) -> int:
        """How many units the rows that are true or not 0 stand for."""
        at = np.flatnonzero(rows)
        return len(at) if self.of is None else len(np.unique(self.of[at]))

    def variance(self, above: F64, below: F64) -> float:
        """Delta-method variance of a ratio of sums, over units."""
        total = below.sum()
        rest = self.per_unit(above - above.sum() / total * below)
        return float((rest**2).sum() / total**2)

    def studentized(self, figures: Mapping[str, Ratio]) -> dict[str, Interval]:
        """The intervals of figures by name; one is left out where there are too few articles behind it."""
        found: dict[str, Interval] = {}
        ready = {k: f for k, f in figures.items() if self._enough(f)}
        for name in [k for k, f in ready.items() if f.scale == "log" and not f.above.any()]:
            found[name] = Interval(low=0, high=0)  # no error at all has no logarithm
            del ready[name]
        for width in (2, 4):
            same = [k for k, f in ready.items() if len(f.sums) == width]
            for start in range(0, len(same), _FIGURES):
                names = same[start : start + _FIGURES]
                found |= self._batch({name: ready[name] for name in names}, width)
        return found

    def _enough(self, figure: Ratio) -> bool:
        return all(self.standing_for(below) >= FEWEST and below.sum() > 0 for below in figure.sums[1::2])

    def _batch(self, figures: Mapping[str, Ratio], width: int) -> dict[str, Interval]:
        """Intervals of figures that are made of the same number of sums."""
        sums = np.stack([column for f in figures.values() for column in f.sums], axis=1)
        sums = self.per_unit(sums).reshape(self.units, len(figures), width)
        pairs = [(i, j) for i in range(width) for j in range(i, width)]
        products = np.stack([sums[..., i] * sums[..., j] for i, j in pairs], axis=-1)
        table = np.concatenate([sums, products], axis=-1).reshape(self.units, -1)
        logs = np.array([f.scale == "log" for f in figures.values()])

        def judge(totals: F64) -> tuple[F64, F64]:
            by_figure = totals.reshape(-1, len(figures), width + len(pairs))
            return _on_scale(by_figure[..., :width], by_figure[..., width:], pairs, logs)

        value, error = judge(table.sum(axis=0)[None])
        values, errors = judge(self._totals(table))
        found: dict[str, Interval] = {}
        for at, (name, figure) in enumerate(figures.items()):
            point, off = float(value[0, at]), float(error[0, at])
            if not np.isfinite(point) or not np.isfinite(off):
                continue
            times = student_t(self._effective(figure) - 1)
            ends = _student(point, off, values[:, at], errors[:, at], times / Z)
            found[name] = _interval(point, off, ends, times, log=bool(logs[at]))
        return found

    def _effective(self, figure: Ratio) -> float:
        """How many units of equal size would make up the figure's sums.

        For one that may be negative: how many normal errors would tell its variance as well as these do (Satterthwaite
        1946, with the fourth moment as it is).
        """
        if figure.scale == "plain":
            most = min(self.standing_for(below) for below in figure.sums[1::2])
            off = np.zeros(self.n)
            for sign, above, below in zip((1, -1), figure.sums[::2], figure.sums[1::2], strict=False):
                off += sign * (above - above.sum() / below.sum() * below) / below.sum()
            squares = self.per_unit(off) ** 2
            spread = float((squares**2).sum() - squares.sum() ** 2 / most)
            total = float(squares.sum()) ** 2
            return most if 2 * total >= most * spread else 2 * total / spread
        parts = self.per_unit(figure.above)
        return float(parts.sum() ** 2 / (parts**2).sum())

    def share(self, hits: F64, asked: F64) -> Interval | None:
        """Wilson's interval of sum(hits) / sum(asked), both [n]; None with nothing asked."""
        total = asked.sum()
        if not total > 0:
            return None
        share = float(hits.sum() / total)
        return wilson(share, self.variance(hits, asked), self.standing_for(asked))


def student_t(freedom: float) -> float:
    """The 97.5 % point of Student's t, by its expansion around the normal one (Abramowitz & Stegun 26.7.5)."""
    f = max(2.0, freedom)
    terms = ((Z**3 + Z) / 4, (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96, (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384)
    return Z + sum(term / f**power for power, term in enumerate(terms, start=1))


def wilson(share: float, variance: float, units: int) -> Interval:
    """Wilson's score interval of a share whose estimated variance is known; `units` where that says nothing."""
    share = min(1.0, max(0.0, share))
    n = float(units)
    if variance > 1e-12 and 0 < share < 1:
        n = share * (1 - share) / variance
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return Interval(low=float(min(share, max(0.0, middle - half))), high=float(max(share, min(1.0, middle + half))))


def _on_scale(sums: F64, products: F64, pairs: Sequence[tuple[int, int]], logs: NDArray[np.bool_]) -> tuple[F64, F64]:
    """Figures [rounds, figures] on their scale, and their standard errors, from sums and sums of products."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = sums[..., 0] / sums[..., 1]
        slopes = [1 / sums[..., 1], -value / sums[..., 1]]
        if sums.shape[-1] == 4:
            other = sums[..., 2] / sums[..., 3]
            slopes += [-1 / sums[..., 3], other / sums[..., 3]]
            value = value - other
        variance = sum(
            (1 if i == j else 2) * slopes[i] * slopes[j] * products[..., at] for at, (i, j) in enumerate(pairs)
        )
        error = np.sqrt(np.maximum(variance, 0))
        return np.where(logs, np.log(value), value), np.where(logs, error / value, error)


def _interval(value: float, error: float, ends: tuple[float, float] | None, times: float, *, log: bool) -> Interval:
    """The interval between studentized `ends`; where those say nothing, `times` the standard error to both sides.

    That is so where nearly all of the figure is made by a few rows: most resamples then hold none of them.
    """
    if ends is not None and (not log or ends[1] - ends[0] <= _WIDEST):
        low, high = np.exp(ends) if log else ends
        return Interval(low=float(low), high=float(high))
    point = float(np.exp(value)) if log else value
    half = times * error * (point if log else 1.0)
    return Interval(low=max(0.0, point - half) if log else point - half, high=point + half)


def _student(value: float, error: float, values: F64, errors: F64, wider: float) -> tuple[float, float] | None:
    """Both ends of the studentized interval, or None where the resamples do not say.

    value and error: the figure and its standard error; values and errors [rounds]: those of the resamples. `wider`:
    how much further out the ends are put.
    """
    if error <= _NOTHING * max(1.0, abs(value)):
        return value, value
    sure = np.where(errors > _NOTHING * np.maximum(1.0, np.abs(value)), errors, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (values - value) / sure
    t = t[~np.isnan(t)]
    if len(t) < FEWEST_ROUNDS:
        return None
    tail = (1 - LEVEL) / 2
    with np.errstate(invalid="ignore"):
        least, most = np.quantile(t, [tail, 1 - tail], method="weibull")
    if not np.isfinite(least) or not np.isfinite(most):
        return None
    return value - wider * most * error, value - wider * least * error
