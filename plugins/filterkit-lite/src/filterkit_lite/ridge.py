"""Kernel ridge regression on landmarks (Nyström), with masks, weights and closed-form leave-one-out answers.

Every row is described by its kernel with m landmarks; with all rows as landmarks this is exact kernel ridge. The
normal equations are summed up over pieces of rows, so memory is m² whatever n is; time is n·m².
Nyström: Williams and Seeger 2001; leave-one-out through the hat matrix: e.g. Rifkin and Lippert 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, eigvalsh, solve_triangular

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Known = NDArray[np.bool_]
KernelRows = Callable[[slice], F64]

PIECE = 4096
_JITTER = 1e-4


@dataclass(frozen=True)
class Ridge:
    """kernel rows [n, m] @ alpha [m, d, k] + offset [d, k] are the answers [n, d, k]."""

    alpha: F32
    offset: F32

    def __call__(self, kernel: NDArray[np.floating]) -> F32:
        """Answers [n, d, k]."""
        flat: F32 = kernel.astype(np.float32, copy=False) @ self.alpha.reshape(len(self.alpha), -1)
        answers: F32 = flat.reshape(len(kernel), *self.offset.shape) + self.offset
        return answers


def squared_distances(rows: F32, landmarks: F32) -> F32:
    """[n, m] squared Euclidean distances of rows [n, p] to landmarks [m, p]."""
    found: F32 = rows @ (-2 * landmarks.T)
    found += np.einsum("ij,ij->i", rows, rows)[:, None]
    found += np.einsum("ij,ij->i", landmarks, landmarks)[None, :]
    np.maximum(found, 0, out=found)
    return found


def fit(
    kernel_rows: KernelRows,
    square: F64,
    targets: F32,
    known: Known,
    weights: F32,
    penalty: float,
    prior: F32,
    *,
    left_out: bool = False,
) -> tuple[Ridge, F32 | None]:
    """Learn targets [n, d, k] from kernel rows [n, m], given in pieces; square [m, m] is the landmarks' own kernel.

    A target counts where known [n, d], as often as weights [n] say, relative to their mean. `penalty` is the noise
    variance relative to the kernel's scale. A dimension without a known target answers `prior` [k]. With `left_out`,
    the answers [n, d, k] that a fit without the row itself would give come back too.
    """
    n, d, k = targets.shape
    root = _root(square)
    alpha = np.zeros((len(square), d, k), dtype=np.float32)
    offset = np.tile(prior, (d, 1))
    answers = np.tile(prior, (n, d, 1)) if left_out else None

    def mapped() -> Iterator[tuple[slice, F64]]:
        """Rows as Nyström features [c, m], transposed: their dot products are the kernel."""
        for start in range(0, n, PIECE):
            piece = slice(start, min(start + PIECE, n))
            yield piece, solve_triangular(root, kernel_rows(piece).T, lower=True, check_finite=False)

    for columns in _same_mask(known):
        mask = known[:, columns[0]]
        if not mask.any():
            continue
        share = weights * mask
        share = (share / share[mask].mean()).astype(np.float64)
        wanted = targets[:, columns].reshape(n, -1)
        mean = (share @ wanted) / share.sum()
        normal = penalty * np.eye(len(square))
        right = np.zeros((len(square), len(mean)))
        for piece, features in mapped():
            weighted = features * share[piece]
            normal += weighted @ features.T
            right += weighted @ np.where(mask[piece, None], wanted[piece] - mean, 0)
        factor = cholesky(normal, lower=True, overwrite_a=True)
        beta = solve_triangular(factor.T, solve_triangular(factor, right, lower=True))
        alpha[:, columns] = solve_triangular(root.T, beta).reshape(-1, len(columns), k)
        offset[columns] = mean.reshape(-1, k)
        if answers is None:
            continue
        for piece, features in mapped():
            spread = solve_triangular(factor, features, lower=True, check_finite=False)
            pull = np.minimum(share[piece] * np.einsum("ij,ij->j", spread, spread), 0.999)[:, None]
            fitted = features.T @ beta + mean
            inside = np.where(mask[piece, None], wanted[piece] - fitted, 0)
            answers[piece, columns] = (fitted - pull / (1 - pull) * inside).reshape(-1, len(columns), k)
    return Ridge(alpha, offset.astype(np.float32)), answers


def _root(square: F64) -> F64:
    """The lower Cholesky factor of a kernel [m, m], with as much jitter as it takes: one that was made of float32
    distances may have an eigenvalue below 0."""
    eye = np.eye(len(square))
    try:
        root: F64 = cholesky(square + _JITTER * eye, lower=True)
    except LinAlgError:
        least = float(eigvalsh(square, subset_by_index=[0, 0])[0])
        root = cholesky(square + (2 * _JITTER - least) * eye, lower=True)
    return root


def _same_mask(known: Known) -> list[list[int]]:
    """The dimensions in groups whose known rows are the same: a group shares its normal equations."""
    groups: dict[bytes, list[int]] = {}
    for dimension in range(known.shape[1]):
        groups.setdefault(np.packbits(known[:, dimension]).tobytes(), []).append(dimension)
    return list(groups.values())
