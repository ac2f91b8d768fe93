"""Whether verdicts that a server gave are those of the student here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from filterkit.judging import BaseStudent
from filterkit.overall import DECIMALS
from filterkit.pipeline.proof import TOLERANCE
from filterkit.records import F32, Article, Prediction

_CLOSE = TOLERANCE + 10.0**-DECIMALS
"""Scores of verdicts are rounded, so that the smallest noise can move them by one step."""
_ALIKE = ("tier", "passed", "reasons")


def different_verdict(
    student: BaseStudent, articles: Sequence[Article], raw: F32, answers: Sequence[Any]
) -> str | None:
    """What is wrong with the first answer that is not the student's verdict, in words; None when all are.

    A verdict follows from uncalibrated scores, which may differ by float noise, and noise can carry an article over the
    edge of a tier. So an answer is right when it follows from its own uncalibrated scores or from `raw` [n, d], both of
    which lie within the tolerance of the student's.
    """
    if len(answers) != len(articles):
        return f"{len(answers)} verdicts came for {len(articles)} articles"
    own = np.array([_own_raw(student, answer, row) for answer, row in zip(answers, raw, strict=True)], dtype=np.float32)
    apart = np.abs(own.astype(np.float64) - raw)
    for number in np.flatnonzero((apart > TOLERANCE).any(axis=1)).tolist():
        return f"the verdict of article {number + 1} comes of other scores than the model gave"
    expected = zip(_verdicts(student, articles, own), _verdicts(student, articles, raw), strict=True)
    for number, (answer, either) in enumerate(zip(answers, expected, strict=True), 1):
        wrong = [_difference(verdict, answer) for verdict in either]
        if all(wrong):
            return f"the verdict of article {number} is another: {wrong[0]}"
    return None


def _own_raw(student: BaseStudent, answer: Any, row: F32) -> Sequence[float]:
    """The uncalibrated scores that a verdict says it comes of; `row` where it says none."""
    said = answer.get("raw") if isinstance(answer, Mapping) else None
    if not isinstance(said, Mapping):
        return list(row)
    values: list[Any] = [said.get(name) for name in student.spec.names]
    return [float(value) for value in values] if all(map(_is_number, values)) else list(row)


def _verdicts(student: BaseStudent, articles: Sequence[Article], raw: F32) -> list[dict[str, Any]]:
    return [verdict.to_dict() for verdict in student.verdicts(articles, Prediction(raw))]


def _difference(expected: Mapping[str, Any], answer: Any) -> str | None:
    """The first field in which an answer is another than expected, in words."""
    if not isinstance(answer, Mapping):
        return "it is no JSON object"
    if ("error" in expected) or answer.get("error") is not None:
        return None if ("error" in expected) == (answer.get("error") is not None) else "one of the two is an error"
    scores = answer.get("scores")
    if not isinstance(scores, Mapping) or set(scores) != set(expected["scores"]):
        return "its dimensions"
    for name, score in expected["scores"].items():
        if not _close(score, scores[name]):
            return f"{name} is {_shown(scores[name])}, not {score:g}"
    if not _close(expected["overall"], answer.get("overall")):
        return f"overall is {_shown(answer.get('overall'))}, not {expected['overall']}"
    wrong = next((name for name in _ALIKE if answer.get(name) != expected[name]), None)
    return f"{wrong} is {_shown(answer.get(wrong))}, not {expected[wrong]}" if wrong else None


def _close(expected: float | None, found: Any) -> bool:
    if expected is None:
        return found is None
    return _is_number(found) and abs(expected - float(found)) <= _CLOSE


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: Any) -> str:
    """What a stranger answered, shortened."""
    return str(value)[:60]
