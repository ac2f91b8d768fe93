"""How unsure a student is of an article: the spread of what it holds possible, or the width of its intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from filterkit.errors import ConfigError
from filterkit.judging import BaseStudent
from filterkit.prompt import student_text
from filterkit.records import F32, Article, Prediction

_PROBE = Article("", "", "A text of a few words.")


def check_unsure(student: BaseStudent, where: Any) -> None:
    """ConfigError where a student never says how sure it is: found out before a pool is read for it."""
    if not np.isfinite(doubts(student, [_PROBE])).all():
        raise ConfigError(
            "this student does not say how sure it is, so nothing can be chosen by that",
            where=where,
            fix="Validate it (its intervals tell), train another format, or choose by --select diverse",
        )


def doubts(student: BaseStudent, articles: Sequence[Article]) -> F32:
    """How unsure the student is of each article [n], in scale units; NaN where it cannot say, or reads nothing.

    The standard deviation of each dimension's distribution or, where the model gives none, the width of its calibrated
    interval; then the mean over dimensions, by their weights in the overall.
    """
    texts = [student_text(student.spec, article) for article in articles]
    weights = np.asarray(student.spec.weights, dtype=np.float64)
    step = max(1, student.scorer.max_batch)
    found = np.full(len(texts), np.nan, dtype=np.float32)
    for start in range(0, len(texts), step):
        piece = slice(start, start + step)
        said = student.scorer.predict(student.scorer.encode(texts[piece]))
        spread = _spread(said)
        if spread is None:
            spread = _width(student, said)
        if spread is not None:
            found[piece] = spread @ weights
    for row, article in enumerate(articles):
        if not article.content.strip():
            found[row] = np.nan
    return found


def _spread(said: Prediction) -> Any:
    """Standard deviations [n, d] of the model's distributions; None where it gives none."""
    if said.probs is None or said.bins is None:
        return None
    shares, bins = said.probs.astype(np.float64), said.bins.astype(np.float64)
    mean = (shares * bins).sum(axis=-1)
    return np.sqrt(np.maximum((shares * bins**2).sum(axis=-1) - mean**2, 0))


def _width(student: BaseStudent, said: Prediction) -> Any:
    """Widths [n, d] of the calibrated intervals, 0 where the calibrator knows none; None where it knows none at all."""
    intervals = student.intervals(student.calibrate(said.scores))
    if intervals is None:
        return None
    known = [spread is not None for spread in student.manifest.calibrator.spreads]
    return np.where(known, (intervals[..., 1] - intervals[..., 0]).astype(np.float64), 0.0)
