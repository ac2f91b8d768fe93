"""Labels whose learning curve is known: what benchmarks/learning_curve.py holds extrapolated curves against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterkit.pipeline.curve.measure import FEWEST, Learner

F64 = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], tuple[Any, Any, Learner]]

LASTING = 0.8
"""Share of an article's error that students of any size have in common (with lite on news it is 0.6 to 0.9)."""
BRUTE, FRESH = 60, 9000
"""Students of each size, and rows they are judged on, that a true curve is measured with."""


@dataclass(frozen=True)
class World:
    """What a simulation draws its labels from.

    draw(random, n): n rows, as targets [n, d], groups [n] and a learner of them; truth(sizes): what its students err
    in expectation.
    """

    name: str
    draw: Draw
    truth: Callable[[Sequence[float]], F64]


# Learners that err as they are told to


@dataclass(frozen=True)
class Made:
    """Students of n articles err by curve(n) on average. worth: how much articles to learn from differ; hard: and those
    to be judged; alike: near-duplicates of each."""

    curve: Callable[[F64], F64]
    worth: float = 0.4
    hard: float = 0.15
    alike: int = 1

    def draw(self, random: np.random.Generator, n: int) -> tuple[Any, Any, Learner]:
        groups = np.arange(n) // min(self.alike, n // FEWEST)
        targets = random.integers(0, 11, (n, 3)).astype(np.float32)
        always = random.normal(size=(n, 3))[groups]
        difficulty = random.gamma(1 / self.hard, self.hard, n)[groups] / np.sqrt(2 / np.pi)
        value = random.normal(size=n)[groups]

        def learn(learnt: Any, held: Any, _seed: int) -> Any:
            level = self.curve(np.array([len(learnt)], dtype=float))[0] * (1 + self.worth * value[learnt].mean())
            off = np.sqrt(LASTING) * always[held] + np.sqrt(1 - LASTING) * random.normal(size=(len(held), 3))
            return (targets[held] + off * level * difficulty[held, None]).astype(np.float32)

        return targets, groups, learn

    def truth(self, sizes: Sequence[float]) -> F64:
        return self.curve(np.asarray(sizes, dtype=float))


def made_worlds() -> list[World]:
    kinds = {
        "made: flat": Made(lambda n: np.full_like(n, 1.2)),
        "made: n^-0.5": Made(lambda n: 20 * n**-0.5),
        "made: 0.9 + 4 n^-0.5": Made(lambda n: 0.9 + 4 * n**-0.5),
        "made: 3 n^-0.15": Made(lambda n: 3 * n**-0.15),
        "made: steep, 0.5 + 90 / n": Made(lambda n: 0.5 + 90 / n),
        "made: nearly saturated": Made(lambda n: 1 + 300 * n**-1.6),
        "made: straight in ln n": Made(lambda n: 2.6 - 0.22 * np.log(n)),
        "made: exponential": Made(lambda n: 0.8 + 0.7 * np.exp(-n / 250)),
        "made: late (logistic)": Made(lambda n: 0.8 + 0.8 / (1 + (n / 300) ** 2)),
        "made: two power laws": Made(lambda n: 0.5 + 2 * n**-0.3 + 40 / n),
        "made: a knee at 250": Made(lambda n: np.where(n < 250, 1.1 + 0.2 * np.log(250 / n), 1.1)),
        "made: near-duplicates": Made(lambda n: 0.9 + 4 * n**-0.5, alike=4),
        "made: uneven articles": Made(lambda n: 0.9 + 4 * n**-0.5, worth=1.0, hard=1.5),
    }
    return [World(name, kind.draw, kind.truth) for name, kind in kinds.items()]


# Ridges that learn

PENALTIES = np.geomspace(1e-3, 1e3, 10)


def ridge(x: F64, y: F64) -> tuple[F64, F64]:
    """Weights [p, d] and offset [d], with the penalty (per row) of the least leave-one-out error."""
    mean, offset = x.mean(axis=0), y.mean(axis=0)
    u, s, vt = np.linalg.svd(x - mean, full_matrices=False)
    turned = u.T @ (y - offset)
    best, kept = np.inf, PENALTIES[0]
    for one in PENALTIES:
        shrunk = s**2 / (s**2 + one * len(x))
        leverage = np.minimum((u**2 @ shrunk) + 1 / len(x), 0.999)
        error = float((((y - offset - (u * shrunk) @ turned) / (1 - leverage[:, None])) ** 2).mean())
        if error < best:
            best, kept = error, one
    weights = vt.T @ ((s / (s**2 + kept * len(x)))[:, None] * turned)
    return weights, offset - mean @ weights


@dataclass(frozen=True)
class Teacher:
    """Scores that are linear in features of unequal strength, and noise."""

    scales: F64
    weights: F64
    off: float
    rounded: bool = False

    def rows(self, random: np.random.Generator, n: int) -> tuple[F64, F64]:
        x = random.normal(size=(n, len(self.scales))) * self.scales
        signal = x @ self.weights
        y = signal + self.off * random.normal(size=signal.shape)
        if self.rounded:  # most labels at the floor
            y = np.clip(np.round(2.2 * np.exp(0.9 * y) - 1.5), 0, 10)
        return x, y

    def draw(self, random: np.random.Generator, n: int) -> tuple[Any, Any, Learner]:
        x, y = self.rows(random, n)

        def learn(learnt: Any, held: Any, _seed: int) -> Any:
            weights, offset = ridge(x[learnt], y[learnt])
            return (x[held] @ weights + offset).astype(np.float32)

        return y.astype(np.float32), np.arange(n), learn

    def truth(self, sizes: Sequence[float]) -> F64:
        random = np.random.default_rng(99)
        x, y = self.rows(random, FRESH)
        total = np.zeros(len(sizes))
        for _ in range(BRUTE):
            for at, size in enumerate(sizes):
                weights, offset = ridge(*self.rows(random, round(size)))
                total[at] += np.abs(x @ weights + offset - y).mean()
        return total / BRUTE


def teacher(p: int, decay: float, off: float, *, late: bool = False, **more: Any) -> Teacher:
    """Signal of variance 1 in p features whose strength falls as j^-decay; late: half of it in weak ones."""
    random = np.random.default_rng(p)
    scales = np.arange(1, p + 1.0) ** -decay
    weights = random.normal(size=(p, 2))
    if late:
        weights[: p // 4] *= 0.3
        scales[p // 4 :] *= 0.5
    weights /= np.sqrt(((scales[:, None] * weights) ** 2).sum(axis=0))
    return Teacher(scales, weights, off, **more)


def ridge_worlds() -> list[World]:
    kinds = {
        "ridge: easy (20 features)": teacher(20, 0.0, 0.3),
        "ridge: noisy (30)": teacher(30, 0.5, 1.5),
        "ridge: wide (400)": teacher(400, 0.6, 0.4),
        "ridge: wider than labels (1000)": teacher(1000, 0.3, 0.2),
        "ridge: floor-heavy whole scores": teacher(150, 0.5, 0.4, rounded=True),
        "ridge: a second, weak signal": teacher(200, 0.0, 0.3, late=True),
    }
    return [World(name, kind.draw, kind.truth) for name, kind in kinds.items()]
