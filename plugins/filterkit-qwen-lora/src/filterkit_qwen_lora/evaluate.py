"""How good the scores of the val split are after an epoch, and which epoch was the best."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from filterkit_qwen_lora.losses import F32, overall

_BETTER = {"mae": -1.0, "spearman": 1.0, "recall": 1.0}


def measure(scores: F32, targets: F32, shares: NDArray[np.floating], recall_at: int) -> dict[str, float]:
    """val_mae, val_spearman and val_recall of scores [n, d] against targets [n, d], without those that are undefined.

    MAE in scale units over all known targets; Spearman's correlation as the mean over dimensions; recall of the
    `recall_at` rows (at most half of them) with the highest overall, the mean of dimensions weighted by `shares` [d].
    """
    known = np.isfinite(targets)
    found: dict[str, float] = {}
    if known.any():
        found["val_mae"] = float(np.abs(scores - targets)[known].mean(dtype=np.float64))
    correlations = [
        spearman(scores[rows, column], targets[rows, column])
        for column, rows in enumerate(known.T)
        if np.unique(targets[rows, column]).size > 1
    ]
    if correlations:
        found["val_spearman"] = float(np.mean(correlations))
    recall = _recall(scores, targets, shares, recall_at)
    if recall is not None:
        found["val_recall"] = recall
    return found


def rank_value(measures: dict[str, float], best: str) -> list[float] | None:
    """The higher the better epoch, by option `best`, equals by MAE; None when it is undefined (or `best` is "last")."""
    value = measures.get(f"val_{best}")
    return None if value is None else [_BETTER[best] * value, -measures.get("val_mae", 0.0)]


def spearman(a: F32, b: F32) -> float:
    """Rank correlation of two columns [n], ties at their mean rank; 0 when one of them is constant."""
    ranks = [_ranks(column) for column in (a, b)]
    x, y = (column - column.mean() for column in ranks)
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale else 0.0


def _ranks(column: F32) -> NDArray[np.float64]:
    _, group, counts = np.unique(column, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    ranks: NDArray[np.float64] = mean_rank[group]
    return ranks


def _recall(scores: F32, targets: F32, shares: NDArray[np.floating], recall_at: int) -> float | None:
    truth = overall(targets, shares)
    rows = np.flatnonzero(np.isfinite(truth))
    k = min(recall_at, len(rows) // 2)
    if not k:
        return None
    # the row number decides ties, so that equal scores always give the same recall
    wanted = np.argsort(-truth[rows], kind="stable")[:k]
    chosen = np.argsort(-overall(np.where(np.isfinite(targets), scores, np.nan), shares)[rows], kind="stable")[:k]
    return len(np.intersect1d(wanted, chosen)) / k
