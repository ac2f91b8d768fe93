"""The wire of scoring servers: `POST /` with {"inputs": …, "parameters": …}, as Hugging Face's servers take it.

An input is a text as the student reads it, or an article as an object. The answer is a verdict for each, with the hash
of the student whose it is; or, where the
parameters speak of labels (`top_k`, `function_to_apply`), the uncalibrated scores as a plain text-classification server
gives them: [[{"label": …, "score": …}, …], …], best first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from filterkit.errors import InputError
from filterkit.judging import BaseStudent, Verdict, as_article
from filterkit.overall import DECIMALS
from filterkit.records import Article, Prediction

MAX_CHARS = 1_000_000
"""Characters of one input. No student reads as many, and cutting a text into tokens takes time."""
MAX_INPUTS = 1024
"""Inputs of one request, unless a server says otherwise."""
_LABEL_PARAMETERS = {"top_k", "function_to_apply"}
_PARAMETERS = {*_LABEL_PARAMETERS, "truncation", "return_all_scores", "padding", "max_length"}
"""What clients of text-classification servers send. A student always truncates, and to what it was trained with."""


class TooLarge(InputError):
    """More inputs, or longer ones, than a server takes at once."""


@dataclass(frozen=True, slots=True)
class InferenceRow:
    """One input. labels: whether the answer is uncalibrated scores instead of a verdict."""

    article: Article
    labels: bool


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """What was asked. single: one input that did not stand in a list; top_k: labels wanted of each, None all."""

    rows: tuple[InferenceRow, ...]
    single: bool
    labels: bool
    top_k: int | None


def parse_json(body: bytes) -> Any:
    """JSON that anybody sent. InputError: it is none, it is nested without end, or holds NaN or Infinity."""
    try:
        return json.loads(body.decode(), parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise InputError("the body is not UTF-8") from error
    except RecursionError as error:
        raise InputError("the body is nested too deeply") from error
    except ValueError as error:
        raise InputError(f"the body is not valid JSON ({error})") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number in JSON")


def read_request(body: Any, *, max_inputs: int = MAX_INPUTS) -> InferenceRequest:
    """The request in a parsed body. InputError says what is wrong with it, TooLarge that it asks for too much."""
    if not isinstance(body, Mapping) or "inputs" not in body:
        raise InputError('the body must be a JSON object with "inputs"')
    parameters = body.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise InputError('"parameters" must be an object')
    unknown = sorted(str(name)[:60] for name in parameters if name not in _PARAMETERS)
    if unknown:
        raise InputError(f"unknown parameter {unknown[0]!r}")
    given = body["inputs"]
    single = not isinstance(given, list)
    inputs = [given] if single else given
    if len(inputs) > max_inputs:
        raise TooLarge(f"{len(inputs):,} inputs in one request; at most {max_inputs:,} are taken")
    labels = bool(_LABEL_PARAMETERS & parameters.keys())
    rows = tuple(InferenceRow(read_input(one), labels) for one in inputs)
    return InferenceRequest(rows, single, labels, _top_k(parameters.get("top_k")))


def _top_k(given: Any) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise InputError('"top_k" must be a whole number from 1, or null for all')
    return given


def read_input(given: Any) -> Article:
    """One input as an article; a text is one without a title. InputError when it is neither; TooLarge."""
    if isinstance(given, str):
        article = Article("", "", given)
    elif isinstance(given, Mapping):
        article = as_article(given)
    else:
        raise InputError(f"an input must be a text or an article, not {type(given).__name__}")
    if len(article.title) + len(article.content) > MAX_CHARS:
        raise TooLarge(f"an input is longer than {MAX_CHARS:,} characters")
    return article


def answer_rows(student: BaseStudent, rows: Sequence[InferenceRow]) -> list[Any]:
    """An answer that JSON can hold for every row, in order; rows of several requests may be mixed."""
    articles = [row.article for row in rows]
    raw = student.read(articles)
    scores = [_named(student, row) for row in np.round(raw.scores.astype(np.float64), 6).tolist()]
    answers: list[Any] = [_labels(one) if row.labels else None for one, row in zip(scores, rows, strict=True)]
    judged = [at for at, row in enumerate(rows) if not row.labels]
    if judged:
        part = raw.take(judged)
        verdicts = student.verdicts([articles[at] for at in judged], part)
        intervals = _intervals(student, part)
        whose = student.manifest.student_hash
        for at, verdict, interval in zip(judged, verdicts, intervals, strict=True):
            answers[at] = {**_shown(verdict, interval, scores[at]), "student_hash": whose}
    return answers


def _named(student: BaseStudent, row: list[float]) -> dict[str, float]:
    """A row of scores by dimension; none where one of them is no number."""
    return dict(zip(student.spec.names, row, strict=True)) if all(map(math.isfinite, row)) else {}


def _labels(scores: Mapping[str, float]) -> list[dict[str, Any]]:
    """As text-classification servers answer; without an element where there are no scores."""
    ranked = sorted(scores.items(), key=lambda one: -one[1])
    return [{"label": name, "score": score} for name, score in ranked]


def _intervals(student: BaseStudent, raw: Prediction) -> list[dict[str, list[float]]]:
    """The interval of every dimension that has one, for each row."""
    found = student.intervals(student.calibrate(raw.scores))
    if found is None:
        return [{} for _ in raw.scores]
    rows = np.round(found.astype(np.float64), DECIMALS).tolist()
    names = student.spec.names
    return [{n: ends for n, ends in zip(names, row, strict=True) if math.isfinite(sum(ends))} for row in rows]


def _shown(verdict: Verdict, intervals: Mapping[str, Any], raw: Mapping[str, float]) -> dict[str, Any]:
    """A verdict with the interval of each calibrated score, and the scores before calibration."""
    if verdict.blocked:
        return {**verdict.to_dict(), "blocked": True}
    known = {"intervals": dict(intervals), "raw": dict(raw)} if verdict.scores else {"intervals": {}, "raw": {}}
    return {**verdict.to_dict(), **known}


def write_answer(request: InferenceRequest, answers: Sequence[Any]) -> Any:
    """The answers of one request as its body: labels always as a list of lists, cut to `top_k`."""
    if request.labels:
        return [one[: request.top_k] for one in answers]
    return answers[0] if request.single else list(answers)
