"""The learning curve's shape, and what it says beyond the labels that there are.

The power law with an offset, MAE(n) = a + b·n^-c, is what learning curves follow over wide ranges (Hestness et al.,
"Deep learning scaling is predictable, empirically", 2017), but not all of them and not everywhere (Viering & Loog,
"The shape of learning curves: a review", 2021). So it is averaged with its neighbours, a power law that starts late
and an exponential, each weighed by how well it explains what was measured, as in Domhan, Springenberg & Hutter,
"Speeding up automatic hyperparameter optimization of deep neural networks by extrapolation of learning curves" (2015).
For each exponent the curve is linear in a and b, so the posterior is a sum over a grid and nothing has to converge.
Whatever smooth departure from these shapes the measurements leave room for is a Gaussian process over ln n (Kennedy &
O'Hagan, "Bayesian calibration of computer models", 2001).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

LEVEL = 0.90
"""Of all intervals."""
DRAWS = 256
"""Of a and b, for each shape."""
CURVES = 8192
"""Curves that the intervals are made of, drawn from those of all shapes by how likely these are."""
UNLIKELY = 12.0
"""Shapes are left out that are less likely than the best by so much, in ln."""

# What the next four are is a judgement, made so that intervals hold in simulations: benchmarks/learning_curve.py
CAUTION = 1.4
"""Variances are taken so much larger than they are estimated: of skewed errors they are more often too small."""
DEPARTURES = ((0.0, 0.4), (0.005, 0.3), (0.015, 0.2), (0.04, 0.1))
"""Standard deviation of departures as a share of the error, and how likely it is beforehand."""
DRIFT = 0.4
"""Standard deviation of ln(gain) per doubling: beyond what was measured curves bend in ways that no shape foretells."""
ENDS = 0.4
"""How likely the gain comes to an end before its time, having got anywhere up to where it was foretold to get."""

SMOOTH = 1.0
"""Length scale of departures, in units of ln n."""
_LEAST = 1e-9
"""Variance, as a share of the squared error, that a figure has at least: without, matrices have no inverse."""


@dataclass(frozen=True)
class Forecast:
    """The expected MAE of a student that learnt from `size` articles, and what it gains on the students of today.

    In scale units, with the ends of 90 % intervals. The gain is known better than the MAE: which articles happened to
    be held out moves today's figure and tomorrow's alike.
    """

    size: float
    mae: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float


@dataclass(frozen=True)
class Fit:
    """The most likely power law with an offset, MAE(n) = a + b·n^-c, and what all shapes together foretell.

    forecasts: of today first, then of the sizes that were asked for.
    """

    a: float
    b: float
    c: float
    forecasts: tuple[Forecast, ...]


def fit(sizes: Sequence[float], errors: F64, noise: F64, now: float, at: Sequence[float], seed: int = 0) -> Fit:
    """The curve through mean errors [s] > 0 with covariance noise [s, s], and forecasts for sizes `at`, above `now`.

    The same numbers give the same forecasts.
    """
    n = np.asarray(sizes, dtype=np.float64)
    points = np.array([now, *at], dtype=np.float64)
    random = np.random.default_rng(seed)
    level = np.exp(np.polyval(np.polyfit(np.log(n), np.log(errors), 2), np.log(n)))
    relative = _relative(level, errors, noise)
    found = [
        _Conditional(shape, share, likely, n, errors, relative, level)
        for shape in _shapes()
        for share, likely in DEPARTURES
    ]
    best = max(one.evidence for one in found)
    curves, weights = [], []
    for one in found:
        if one.evidence > best - UNLIKELY:
            drawn = one.curves(points, random)
            curves.append(drawn)
            weights.append(np.full(len(drawn), np.exp(one.evidence - best)))
    kept = _resampled(np.concatenate(curves), np.concatenate(weights), random)
    plain = [one for one in found if one.shape.kind == "power" and not one.departure and one.centre[0] >= 0]
    law = max(plain, key=lambda one: one.evidence, default=None)
    if law is None:  # it falls faster than any power law that ends above 0
        return Fit(0.0, float(errors[-1]), 0.0, _forecasts(points, kept, random))
    c = law.shape.exponent
    return Fit(float(law.centre[0]), float(law.centre[1] * n[-1] ** c), c, _forecasts(points, kept, random))


@dataclass(frozen=True)
class _Shape:
    """A curve that falls to 0: its height is 1 at the largest measured size. prior: how likely it is beforehand."""

    kind: str
    exponent: float
    shift: float
    prior: float

    def basis(self, share: F64) -> F64:
        """[s, 2]: what a and b are multiplied with, at sizes [s] given as shares of the largest; [s, 1] without a."""
        if self.kind == "exponential":
            heights = np.exp(self.exponent * (1 - share))
        else:
            heights = ((share + self.shift) / (1 + self.shift)) ** -self.exponent
        columns = [heights] if self.kind == "pure power" else [np.ones_like(share), heights]
        return np.stack(columns, axis=1)


def _shapes() -> Iterator[_Shape]:
    powers = np.linspace(0.2, 1.4, 25) ** 2
    yield from (_Shape("power", float(c), 0.0, 0.4 / len(powers)) for c in powers)
    yield from (_Shape("pure power", float(c), 0.0, 0.15 / len(powers)) for c in powers)
    late = [(c, d) for c in (0.5, 1.0, 2.0, 4.0) for d in (0.1, 0.3, 1.0, 3.0)]
    yield from (_Shape("late power", c, d, 0.25 / len(late)) for c, d in late)
    rates = np.geomspace(0.25, 8.0, 8)
    yield from (_Shape("exponential", float(k), 0.0, 0.2 / len(rates)) for k in rates)


def _relative(level: F64, errors: F64, noise: F64) -> F64:
    """The noise around a smooth curve `level` [s] through the errors, in proportion, with caution.

    Noise that moves all errors in proportion must not be told by the noisy errors themselves: least squares would
    lean to the smaller ones (D'Agostini, "On the use of the covariance matrix to fit correlated data", 1994).
    """
    wider = CAUTION * noise * np.outer(level / errors, level / errors)
    return np.asarray(wider + np.diag(_LEAST * level**2), dtype=np.float64)


class _Conditional:
    """What is known of the curve where its shape, and how much it departs from it, are given: a and b are Gaussian."""

    def __init__(
        self, shape: _Shape, departure: float, likely: float, n: F64, errors: F64, noise: F64, level: F64
    ) -> None:
        self.shape, self.departure, self._n, self._off = shape, departure, n, departure * level
        self._root = np.linalg.cholesky(noise + np.outer(self._off, self._off) * _alike(n, n))
        white = np.linalg.solve(self._root, np.column_stack([shape.basis(n / n[-1]), errors]))
        self._basis, self._seen = white[:, :-1], white[:, -1]
        unknowns = self._basis.shape[1]
        information = self._basis.T @ self._basis
        information += np.eye(unknowns) * (_LEAST * np.trace(information))
        self.centre = np.linalg.solve(information, self._basis.T @ self._seen)
        self._spread = np.linalg.cholesky(np.linalg.inv(information))
        left = self._seen - self._basis @ self.centre
        volume = np.log(np.diag(self._spread)).sum() - np.log(np.diag(self._root)).sum()
        volume += unknowns * np.log(np.sqrt(2 * np.pi) / level[-1])  # each is anywhere up to the last error beforehand
        self.evidence = float(volume - 0.5 * left @ left + np.log(shape.prior * likely))

    def curves(self, points: F64, random: np.random.Generator) -> F64:
        """Curves [k, p] at the points: of DRAWS those whose a, the error without end of labels, is not below 0."""
        drawn = self.centre + random.standard_normal((DRAWS, len(self.centre))) @ self._spread.T
        drawn = drawn[drawn[:, 0] >= 0]
        curves = drawn @ self.shape.basis(points / self._n[-1]).T
        if self.departure and len(drawn):
            last = self._off[-1]
            bridge = np.linalg.solve(self._root, self._off[:, None] * _alike(self._n, points) * last)
            values, vectors = np.linalg.eigh(last**2 * _alike(points, points) - bridge.T @ bridge)
            curves += (self._seen - drawn @ self._basis.T) @ bridge
            curves += random.standard_normal(curves.shape) @ (vectors * np.sqrt(np.maximum(values, 0))).T
        return np.asarray(curves, dtype=np.float64)


def _alike(one: F64, other: F64) -> F64:
    apart = np.log(one)[:, None] - np.log(other)[None, :]
    return np.asarray(np.exp(-0.5 * (apart / SMOOTH) ** 2), dtype=np.float64)


def _resampled(curves: F64, weights: F64, random: np.random.Generator) -> F64:
    """CURVES of the curves, each as often as its weight says (systematic resampling)."""
    share = np.cumsum(weights) / weights.sum()
    places = np.searchsorted(share, (np.arange(CURVES) + random.random()) / CURVES)
    return np.asarray(curves[np.minimum(places, len(curves) - 1)], dtype=np.float64)


def _forecasts(points: F64, curves: F64, random: np.random.Generator) -> tuple[Forecast, ...]:
    """Of every point. The intervals know of gains that drift and end; the middle is what the shapes say.

    More labels do no harm: a gain below 0 is noise, which is left in the MAE, so that it is not biased, and told as
    none. Today's level varies in proportion, as means of errors do.
    """
    middle = float(np.median(curves[:, 0]))
    curves = curves * (np.exp(curves[:, :1] / middle - 1) * middle / curves[:, :1])
    straight = curves[:, :1] - curves
    doublings = np.maximum(np.log2(points / points[0]), 0)
    bend = np.exp(DRIFT * random.standard_normal((len(curves), 1)) * np.sqrt(doublings))
    early = random.random((len(curves), 1)) < ENDS
    gains = straight * np.where(early, random.random((len(curves), 1)), bend)
    tail = (1 - LEVEL) / 2
    lows, highs = np.quantile(np.maximum(curves[:, :1] - gains, 0), [tail, 1 - tail], axis=0)
    least, most = np.quantile(np.maximum(gains, 0), [tail, 1 - tail], axis=0)
    maes, mids = np.median(np.maximum(curves, 0), axis=0), np.median(np.maximum(straight, 0), axis=0)
    columns = (points, maes, lows, highs, mids, least, most)
    return tuple(Forecast(*map(float, row)) for row in zip(*columns, strict=True))
