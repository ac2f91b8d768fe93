"""Yes or no at a threshold: precision, recall and F1, as scikit-learn defines them."""

from __future__ import annotations

import numpy as np

from filterkit.metrics.bootstrap import Resamples
from filterkit.metrics.pairs import Column
from filterkit.metrics.records import BinaryMetrics, Interval


def binary(column: Column, threshold: float, resamples: Resamples) -> BinaryMetrics:
    """How well the student says yes where the oracle does; at or above the threshold is yes."""
    yes, said = (column.label >= threshold) & column.known, (column.prediction >= threshold) & column.known
    both, either = (yes & said).astype(np.float64), (yes | said).astype(np.float64)
    right, positives, predicted = int(both.sum()), int(yes.sum()), int(said.sum())
    intervals = {
        "precision": resamples.share(both, said.astype(np.float64)),
        "recall": resamples.share(both, yes.astype(np.float64)),
        "f1": _f1(resamples.share(both, either)),
    }
    reasons = {
        "precision": None if predicted else "the student says yes to no article",
        "recall": None if positives else "the oracle says yes to no article",
        "f1": None if positives + predicted else "neither says yes to any article",
    }
    return BinaryMetrics(
        threshold=threshold,
        n=column.n,
        positives=positives,
        predicted=predicted,
        precision=right / predicted if predicted else None,
        recall=right / positives if positives else None,
        f1=2 * right / (positives + predicted) if positives + predicted else None,
        intervals={name: i for name, i in intervals.items() if i is not None},
        undefined={name: why for name, why in reasons.items() if why is not None},
    )


def _f1(jaccard: Interval | None) -> Interval | None:
    """F1 is 2 j / (1 + j) of the share j of yes by both among yes by either, which is a plain share."""
    if jaccard is None:
        return None
    return Interval(low=2 * jaccard.low / (1 + jaccard.low), high=2 * jaccard.high / (1 + jaccard.high))
