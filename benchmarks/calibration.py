"""What calibration does to the mean absolute error: `filterkit.fit_calibrator` beside what one would pick instead.

    python benchmarks/calibration.py [--fits 200] [--sizes 20 200 500] [--dimensions 1] [--correlation 0.0]

Invented predictions of five shapes, on a scale of 0 to 10. Every calibrator learns from n pairs and is judged on 20,000
fresh ones; the errors are means over the fits. `isotonic` is scikit-learn's IsotonicRegression, `linear` its
LinearRegression, both always used and per dimension. `best` is the least error of any of filterkit's maps of a
dimension's own score, learnt from 20,000 pairs. `inside` is the share of fresh labels in ours's 90 % intervals, `width`
the mean width of those.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression

from filterkit import fit_calibrator
from filterkit.pipeline.calibrate_maps import MONOTONE

F64 = NDArray[np.float64]
Pairs = tuple[F64, F64]
"""Predictions and labels, [n, d] each."""

FRESH = 20_000


@dataclass(frozen=True)
class Draw:
    """Draws n rows of d dimensions, whose true scores correlate by `correlation`."""

    n: int
    d: int
    correlation: float
    random: np.random.Generator

    def normal(self) -> F64:
        shared, own = self.random.normal(size=(self.n, 1)), self.random.normal(size=(self.n, self.d))
        mixed: F64 = np.sqrt(self.correlation) * shared + np.sqrt(1 - self.correlation) * own
        return mixed

    def noise(self) -> F64:
        return self.random.normal(size=(self.n, self.d))

    def scores(self) -> F64:
        return np.clip(4 + 2 * self.normal(), 0, 10)


def unbiased(draw: Draw) -> Pairs:
    """The label lies around the prediction: no map can help."""
    p = draw.scores()
    return p, p + draw.noise()


def compressed(draw: Draw) -> Pairs:
    """Predictions keep to the middle: 0.6 of the way out."""
    t = draw.scores()
    return 4 + 0.6 * (t - 4) + 0.5 * draw.noise(), t


def shifted(draw: Draw) -> Pairs:
    """Predictions are 0.8 too low."""
    p, t = unbiased(draw)
    return p - 0.8, t


def heteroscedastic(draw: Draw) -> Pairs:
    """Unbiased, with errors that grow from 0.2 at 0 to 2.7 at 10."""
    p = draw.scores()
    return p, p + draw.noise() * (0.2 + 0.25 * p)


def floor_heavy(draw: Draw) -> Pairs:
    """85 % of the labels are 0, and their predictions are smeared above."""
    rank = np.vectorize(NormalDist().cdf)(draw.normal())
    t = np.where(rank < 0.85, 0.0, 1 + 9 * (np.maximum(rank - 0.85, 0) / 0.15) ** 1.5)
    return np.clip(0.7 * t + np.abs(draw.noise()), 0, 10), t


SHAPES: dict[str, Callable[[Draw], Pairs]] = {
    "unbiased": unbiased,
    "compressed": compressed,
    "shifted": shifted,
    "heteroscedastic": heteroscedastic,
    "floor-heavy": floor_heavy,
}


@dataclass
class Row:
    """Errors of one shape at one n, one number per fit."""

    ours: list[float] = field(default_factory=list)
    isotonic: list[float] = field(default_factory=list)
    linear: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    width: list[float] = field(default_factory=list)
    chosen: Counter[str] = field(default_factory=Counter)


def mae(a: F64, b: F64) -> float:
    return float(np.abs(a - b).mean())


def columns(fit: Callable[[F64, F64], Callable[[F64], F64]], p: F64, t: F64, fresh: F64) -> F64:
    """What maps fitted to each column make of fresh predictions."""
    return np.column_stack([fit(p[:, i], t[:, i])(fresh[:, i]) for i in range(p.shape[1])])


def isotonic(p: F64, t: F64) -> Callable[[F64], F64]:
    predict: Callable[[F64], F64] = IsotonicRegression(out_of_bounds="clip").fit(p, t).predict
    return predict


def linear(p: F64, t: F64) -> Callable[[F64], F64]:
    line = LinearRegression().fit(p[:, None], t)

    def predict(x: F64) -> F64:
        made: F64 = line.predict(x[:, None])
        return made

    return predict


def judge(shape: Callable[[Draw], Pairs], n: int, fresh: Pairs, args: argparse.Namespace) -> Row:
    row = Row()
    fresh_p, fresh_t = fresh
    for seed in range(args.fits):
        p, t = shape(Draw(n, args.dimensions, args.correlation, np.random.default_rng([n, seed])))
        made = fit_calibrator(p, t, seed=seed)
        row.ours.append(mae(made.apply(fresh_p.astype(np.float32)).astype(np.float64), fresh_t))
        row.isotonic.append(mae(columns(isotonic, p, t, fresh_p), fresh_t))
        row.linear.append(mae(columns(linear, p, t, fresh_p), fresh_t))
        ends = made.interval(fresh_p.astype(np.float32))
        row.inside.append(float(((ends[..., 0] <= fresh_t) & (fresh_t <= ends[..., 1])).mean()))
        row.width.append(float((ends[..., 1] - ends[..., 0]).mean()))
        row.chosen.update(m.method for m in made.maps)
    return row


def least(shape: Callable[[Draw], Pairs], fresh: Pairs, args: argparse.Namespace) -> float:
    """The error of the best of the maps, each learnt from as many pairs as it is judged on."""
    p, t = shape(Draw(FRESH, args.dimensions, args.correlation, np.random.default_rng(1)))
    errors = [mae(*fresh)]
    for fit in MONOTONE.values():
        maps = [fit(p[:, i], t[:, i]) for i in range(p.shape[1])]
        errors.append(mae(np.column_stack([m.apply(fresh[0], i) for i, m in enumerate(maps)]), fresh[1]))
    return min(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description="What calibration does to the error.")
    parser.add_argument("--fits", type=int, default=200, help="calibrators of each kind (default 200)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 200, 500], help="pairs to learn from")
    parser.add_argument("--dimensions", type=int, default=1, help="dimensions (default 1)")
    parser.add_argument("--correlation", type=float, default=0.0, help="of the true scores (default 0)")
    args = parser.parse_args()
    if min(args.fits, args.dimensions, *args.sizes) < 1 or not 0 <= args.correlation <= 1:
        parser.error("all numbers are at least 1, and a correlation lies between 0 and 1")
    print(f"{args.fits} fits, {FRESH:,} fresh pairs, {args.dimensions} dimension(s), correlation {args.correlation:g}")
    heads = ("none", "ours", "isotonic", "linear", "best", "inside", "width")
    print(f"{'mean absolute error':19} {'n':>5} " + " ".join(f"{h:>8}" for h in heads) + "  ours chose")
    for name, shape in SHAPES.items():
        fresh = shape(Draw(FRESH, args.dimensions, args.correlation, np.random.default_rng(0)))
        none, best = mae(*fresh), least(shape, fresh, args)
        for n in args.sizes:
            row = judge(shape, n, fresh, args)
            values = (none, *(float(np.mean(v)) for v in (row.ours, row.isotonic, row.linear)), best)
            chosen = ", ".join(f"{m} {c / row.chosen.total():.0%}" for m, c in row.chosen.most_common())
            errors = " ".join(f"{v:8.4f}" for v in values)
            print(
                f"{name:19} {n:5} {errors} {np.mean(row.inside):8.1%} {np.mean(row.width):8.2f}  {chosen}", flush=True
            )


if __name__ == "__main__":
    main()
