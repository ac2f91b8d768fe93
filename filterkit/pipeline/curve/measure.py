"""What students err that learnt from growing shares of the labels, on articles that none of them saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filterkit.errors import InputError
from filterkit.records import F32

F64 = NDArray[np.float64]
Index = NDArray[np.intp]
Learner = Callable[[Index, Index, int], F32]
"""learner(learnt, held, seed): scores [t, d] of the rows `held` [t], by a student that learnt from rows `learnt`."""

FEWEST = 60
"""Texts below which there is no curve: its largest student learns from four fifths of them."""
FOLDS = 5
"""A draw holds one fifth out: its largest student learns from the share of the labels that prepare gives to train."""
STEPS = 6
REACH = 8.0
"""The largest size over the smallest. Further down a student is of another sort: hardly any word is known to it."""
SMALLEST = 20
"""Articles to learn from: of fewer, `lite` does not choose its hyper-parameters, and learns another way."""
COPIES = 4
"""Students of one small size in a draw, of different articles, so that the curve's left end is known as well."""


@dataclass(frozen=True)
class Plan:
    """Sizes [s], rising, how many students of each a draw trains, and the rows that each draw holds out."""

    sizes: tuple[int, ...]
    copies: tuple[int, ...]
    held: tuple[Index, ...]

    @property
    def trainings(self) -> int:
        """How many students are trained."""
        return len(self.held) * sum(self.copies)


@dataclass(frozen=True)
class Draw:
    """Rows held out [t], and for every size the errors [copies, t] of its students about them, in scale units."""

    held: Index
    errors: tuple[F64, ...]


@dataclass(frozen=True)
class Measured:
    """The draws of a plan. groups [n]: rows with the same number are near-duplicates and count as one."""

    sizes: tuple[int, ...]
    groups: Index
    draws: tuple[Draw, ...]


def plan(groups: Index, draws: int, seed: int = 0) -> Plan:
    """Sizes and held-out rows for rows in groups [n], none of which is ever on both sides.

    InputError when there are fewer than FEWEST groups.
    """
    found = len(np.unique(groups))
    if found < FEWEST:
        raise InputError(
            f"a learning curve needs {FEWEST} labelled texts that differ, and there are {found:,}",
            fix="Label more: filterkit label",
        )
    held = tuple(_held_out(groups, draws, seed))
    largest = min(len(groups) - len(rows) for rows in held)
    smallest = max(SMALLEST, largest / REACH)
    sizes = tuple(round(float(size)) for size in np.geomspace(smallest, largest, STEPS))
    return Plan(sizes, tuple(min(COPIES, largest // size) for size in sizes), held)


def _held_out(groups: Index, draws: int, seed: int) -> Iterator[Index]:
    """The rows of every draw: each five of them share all rows among them, as evenly as groups allow."""
    numbers, members = np.unique(groups, return_inverse=True)
    rows = np.bincount(members)
    for draw in range(draws):
        if draw % FOLDS == 0:
            random = np.random.default_rng([seed, draw])
            order = random.permutation(len(numbers))
            order = order[np.argsort(-rows[order], kind="stable")]
            fold, filled = np.zeros(len(numbers), dtype=np.intp), np.zeros(FOLDS)
            for group in order:
                fold[group] = np.argmin(filled)
                filled[fold[group]] += rows[group]
        yield np.flatnonzero(fold[members] == draw % FOLDS)


def measure(
    targets: F32,
    groups: Index,
    learner: Learner,
    plan: Plan,
    *,
    seed: int = 0,
    trained: Callable[[int, int, float], None] = lambda _done, _size, _error: None,
) -> Measured:
    """Train the plan's students on rows of targets [n, d] (NaN: unknown) and hold them against what was held out.

    An article's error is its mean over dimensions, so that the mean over articles is the MAE that `validate` shows.
    `trained` hears after each how many are done, the size, and its MAE.
    """
    share = np.isfinite(targets).mean(axis=0)
    known = np.flatnonzero(share > 0)
    draws: list[Draw] = []
    done = 0
    for number, held in enumerate(plan.held):
        pool = np.setdiff1d(np.arange(len(targets)), held)
        errors: list[F64] = []
        for at, (size, copies) in enumerate(zip(plan.sizes, plan.copies, strict=True)):
            random = np.random.default_rng([seed, number, at])
            parts = np.array_split(random.permutation(pool)[: size * copies], copies)
            of_size = np.empty((copies, len(held)))
            for copy, learnt in enumerate(parts):
                scores = learner(np.sort(learnt), held, seed + number)
                apart = np.abs(scores[:, known].astype(np.float64) - targets[held][:, known])
                of_size[copy] = (np.nan_to_num(apart) / share[known]).mean(axis=1)
                done += 1
                trained(done, size, float(of_size[copy].mean()))
            errors.append(of_size)
        draws.append(Draw(held, tuple(errors)))
    return Measured(plan.sizes, groups, tuple(draws))


def means(measured: Measured) -> F64:
    """MAE [s] of each size, over all articles that were held out."""
    return np.asarray(_of_articles(measured)[1].mean(axis=0), dtype=np.float64)


def noise(measured: Measured) -> F64:
    """Covariance [s, s] of those means as estimates of what a student of that size errs on any articles.

    Of the articles that were held out: they are the same for all sizes, so this part moves the whole curve up or down.
    Of the articles that were learnt from: they are drawn from the same few labels again and again, so that more draws
    take only a part of it away (Nadeau & Bengio, "Inference for the generalization error", 2003).
    """
    rows, errors = _of_articles(measured)
    sums = _by_group(errors - errors.mean(axis=0), measured.groups[rows])
    held: F64 = sums.T @ sums / len(rows) ** 2 * len(sums) / max(1, len(sums) - 1)
    sizes = np.array(measured.sizes, dtype=np.float64)
    students = np.array([sum(len(draw.errors[at]) for draw in measured.draws) for at in range(len(sizes))])
    spread = _training_noise(measured)
    seen = np.minimum(sizes / len(measured.groups), 1.0)
    learnt = spread / len(measured.groups) + np.diag(spread / sizes * (1 - seen) / students)
    level = errors.mean(axis=0)
    total: F64 = held + learnt * np.outer(level, level)
    return total


def _of_articles(measured: Measured) -> tuple[Index, F64]:
    """The rows that were held out [m], and the mean error of each at every size [m, s]."""
    total = np.zeros((len(measured.groups), len(measured.sizes)))
    times = np.zeros(len(measured.groups))
    for draw in measured.draws:
        total[draw.held] += np.stack([of_size.mean(axis=0) for of_size in draw.errors], axis=1)
        times[draw.held] += 1
    rows = np.flatnonzero(times)
    return rows, total[rows] / times[rows, None]


def _by_group(values: F64, groups: Index) -> F64:
    """Sums [g, …] of the rows of values [n, …] that share a group."""
    _, members = np.unique(groups, return_inverse=True)
    total: F64 = np.zeros((members.max() + 1, *values.shape[1:]))
    np.add.at(total, members, values)
    return total


def _training_noise(measured: Measured) -> float:
    """k, where ln MAE of students that learnt from other n articles has variance k / n: from pairs in the same draw.

    What a single article does to a student falls as 1 / n, and so does the variance of n of them.
    """
    found: list[float] = []
    for draw in measured.draws:
        groups = measured.groups[draw.held]
        for size, errors in zip(measured.sizes, draw.errors, strict=True):
            for one in range(len(errors)):
                for other in range(one):
                    apart = errors[one] - errors[other]
                    of_articles = (_by_group(apart - apart.mean(), groups) ** 2).sum() / len(apart) ** 2
                    found.append(size * (apart.mean() ** 2 - of_articles) / (2 * errors.mean() ** 2))
    return max(0.0, float(np.mean(found))) if found else 0.0
