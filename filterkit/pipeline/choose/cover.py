"""Which articles tell most about all the others: optimal design for a Gaussian process, greedily.

Each next article is the one whose label would take most away from what is unknown on average over the whole pool
(Cohn, Ghahramani and Jordan 1996; "transductive experimental design", Yu, Bi and Tresp 2006), under a kernel of the
distance between embeddings. Unlike the farthest point (k-center), that is never an outlier which tells about nothing
but itself. NOISE, what a single label leaves unknown, is high: labels scatter, and texts that are alike are not scored
alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from filterkit.records import F32

F64 = NDArray[np.float64]

LANDMARKS = 256
"""Texts that the kernel is spread out on (Nyström: Williams and Seeger 2001)."""
NOISE = 3.0
"""Variance of a label's noise, where the kernel's own is 1."""
MEDIAN_ROWS = 1000
_PIECE = 4096
_JITTER = 1e-4


def cover(
    pool: F32, had: F32, count: int, hosts: Sequence[str] = (), cap: int | None = None, each: float = 1.0
) -> list[int]:
    """Row numbers of at most `count` of the pool's unit vectors [m, k], what tells most first.

    had [h, k]: vectors of what is labelled already and so counts as known, every one for `each` labels. At most `cap`
    rows of one of the `hosts` [m] are taken; "" is none. The first rows serve as landmarks: give them in a drawn order.
    Memory is m · 256 numbers, time `count` times that.
    """
    if not len(pool):
        return []
    spread = _Kernel(pool)
    features = spread(pool)
    unknown = _Unknown(features, spread(had), each)
    full = np.zeros(len(pool), dtype=bool)
    of_host: dict[str, list[int]] = {}
    for row, host in enumerate(hosts if cap is not None else ()):
        if host:
            of_host.setdefault(host, []).append(row)
    taken: dict[str, int] = {}
    chosen: list[int] = []
    while len(chosen) < min(count, len(pool)) and not full.all():
        row = int(np.where(full, -np.inf, unknown.gain()).argmax())
        unknown.learn(row)
        chosen.append(row)
        full[row] = True
        if hosts and cap is not None and hosts[row]:
            taken[hosts[row]] = taken.get(hosts[row], 0) + 1
            if taken[hosts[row]] >= cap:
                full[of_host[hosts[row]]] = True
    return chosen


class _Kernel:
    """exp(-squared distance / its median), as dot products of features [n, r] on landmarks."""

    def __init__(self, pool: F32) -> None:
        some = pool[:MEDIAN_ROWS]
        apart = _squared_distances(some, some)[np.triu_indices(len(some), 1)]
        median = float(np.median(apart)) if len(apart) else 0.0
        self._scale = 1 / median if median > 1e-9 else 1.0
        self._landmarks = pool[:LANDMARKS]
        square = self._similar(self._landmarks).astype(np.float64)
        values, turn = np.linalg.eigh((square + square.T) / 2 + _JITTER * np.eye(len(square)))
        kept = values > _JITTER
        self._turn = (turn[:, kept] / np.sqrt(values[kept])).astype(np.float32)

    def __call__(self, rows: F32) -> F32:
        pieces = [self._similar(rows[at : at + _PIECE]) @ self._turn for at in range(0, len(rows) or 1, _PIECE)]
        features: F32 = np.concatenate(pieces)
        return features

    def _similar(self, rows: F32) -> F32:
        similar: F32 = np.exp(-self._scale * _squared_distances(rows, self._landmarks))
        return similar


class _Unknown:
    """What is unknown of every row of features [m, r], as labels come: a linear model on them with unit prior.

    With covariance A of its weights and C the rows' mean outer product, a label of row x takes
    x·ACA·x / (noise + x·A·x) off the mean variance. Both products are kept for all rows, and brought up to date in two
    passes over them for each label.
    """

    def __init__(self, features: F32, had: F32, each: float) -> None:
        self._rows = features
        size = features.shape[1]
        self._mean = (features.T @ features).astype(np.float64) / len(features)
        known = (had.T @ had).astype(np.float64) * (each / NOISE)
        self._covariance: F64 = np.linalg.inv(np.eye(size) + known).astype(np.float64)
        spread = features @ self._covariance.astype(np.float32)
        self._own: F64 = np.einsum("ij,ij->i", spread, features, dtype=np.float64)
        self._shared: F64 = np.einsum("ij,ij->i", spread @ self._mean.astype(np.float32), spread, dtype=np.float64)

    def gain(self) -> F64:
        """What a label of each row [m] would take off the mean variance."""
        return self._shared / (NOISE + self._own)

    def learn(self, row: int) -> None:
        """Account for a label of this row."""
        pull = self._covariance @ self._rows[row]
        noise = NOISE + float(self._own[row])
        moved = self._mean @ pull
        along = self._rows @ pull.astype(np.float32)
        across = self._rows @ (self._covariance @ moved).astype(np.float32)
        self._shared += along.astype(np.float64) * (along * (float(pull @ moved) / noise) - 2 * across) / noise
        self._own -= along.astype(np.float64) ** 2 / noise
        self._covariance -= np.outer(pull, pull) / noise


def _squared_distances(rows: F32, others: F32) -> F32:
    found: F32 = rows @ (-2 * others.T)
    found += np.einsum("ij,ij->i", rows, rows)[:, None]
    found += np.einsum("ij,ij->i", others, others)[None, :]
    return np.maximum(found, 0, out=found)
