"""A student in use: any iterable of articles in, scores and verdicts out, in order, one failure at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers import FILTER, Workspace, unlabelled, write_filter

import filterkit
from filterkit.contracts import Context
from filterkit.io import to_article
from filterkit.options import make_backend
from filterkit.records import Article
from filterkit.spec import FilterSpec
from filterkit.student import Student, overall


@pytest.fixture
def student(ready: Workspace, toys: None) -> Iterator[Student]:
    loaded = filterkit.load_student(ready / "student", ready.filter)
    yield loaded
    loaded.close()


ROWS = list(unlabelled(3000))


def test_verdicts_come_in_order_and_agree_with_the_scores(student: Student) -> None:
    verdicts = list(student.judge(ROWS))
    assert [v.article.id for v in verdicts] == [r["id"] for r in ROWS]
    scores = student.score(ROWS)
    assert scores.dtype == np.float32
    assert scores.shape == (3000, 3)
    for verdict, row in zip(verdicts[::50], scores[::50], strict=True):
        assert list(verdict.scores) == ["help", "novelty", "is_advert"]
        assert list(verdict.scores.values()) == pytest.approx(row.tolist(), abs=1e-6)
        assert verdict.overall == pytest.approx(0.75 * row[0] + 0.25 * row[1], abs=1e-4)
        assert verdict.passed


def test_a_batch_changes_nothing(student: Student) -> None:
    whole = student.score(ROWS[:600])
    assert (student.score(ROWS[:1]) == whole[:1]).all()
    one_by_one = [next(student.judge([row])).to_dict() for row in ROWS[:20]]
    assert one_by_one == [v.to_dict() for v in student.judge(ROWS[:20])]
    assert list(student.judge([])) == []
    assert student.score([]).shape == (0, 3)


BAD: list[Any] = [
    {"title": "no content"},
    {"id": 1.5, "content": "x"},
    None,
    "text",
    7,
    {},
    {"content": ["x"]},
    ("a", "b"),
]


def test_what_is_no_article_fails_alone_and_says_why(student: Student) -> None:
    given = [ROWS[0], *BAD, Article("kept", "title", "  "), {**ROWS[1], "content": "unscorable words"}, ROWS[2]]
    verdicts = list(student.judge(given))
    assert len(verdicts) == len(given)
    assert [v.error is None for v in verdicts] == [True, *[False] * (len(given) - 2), True]
    for verdict in verdicts[1:-1]:
        assert verdict.error
        assert (verdict.scores, verdict.overall, verdict.tier, verdict.passed) == ({}, None, None, False)
    assert verdicts[-2].error == "the toy cannot score this"
    assert verdicts[-3].article.id == "kept"
    scores = student.score(given)
    assert np.isnan(scores[1:-1]).all()
    assert np.isfinite(scores[[0, -1]]).all()
    assert (scores[-1] == student.score([ROWS[2]])[0]).all()


def test_a_generator_is_streamed(student: Student) -> None:
    taken = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal taken
        while True:
            taken += 1
            yield ROWS[taken % len(ROWS)]

    verdicts = student.judge(endless())
    assert next(verdicts).error is None
    assert taken <= 2048


def test_articles_and_mappings_are_the_same(student: Student) -> None:
    assert (student.score([to_article(ROWS[0])]) == student.score([ROWS[0]])).all()


def with_pass_at(spec: FilterSpec, pass_at: float) -> Any:
    return make_backend("postfilter", "overall", {"pass_at": pass_at}, spec, Context(workdir=None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "weights", [(0.14, 0.19, 0.38, 0.10, 0.08, 0.04, 0.02, 0.05), (1 / 3, 1 / 3, 1 / 3), (0.1,) * 10]
)
@pytest.mark.parametrize("score", [0.0, 0.7, 4.0, 7.0, 7.3, 10.0])
def test_the_overall_of_equal_scores_is_that_score(weights: tuple[float, ...], score: float) -> None:
    scores = np.full((5, len(weights)), score, dtype=np.float32)
    assert (overall(scores, weights) == np.float32(score)).all()


def test_what_is_shown_is_what_was_judged(student: Student) -> None:
    """A verdict that shows 7.0 is never below a threshold of 7, and one that shows 6.9999 always."""
    random = np.random.default_rng(0)
    raw = (7 + random.uniform(-3e-4, 3e-4, (5000, 3))).astype(np.float32)
    scores = student.calibrate(raw)
    total = student.overall(scores)
    passed = with_pass_at(student.spec, 7.0).judge(None, scores, total, None).passed
    shown = np.round(total.astype(np.float64), 4)
    assert (passed == (shown >= 7)).all()
    assert {6.9999, 7.0, 7.0001} <= set(shown.tolist())


def test_the_overall_ignores_flags_and_knows_no_value_without_its_scores() -> None:
    scores = np.array([[8, 4, np.nan], [np.nan, 4, 1], [8, 4, 10]], dtype=np.float32)
    assert overall(scores, (0.75, 0.25, 0.0)).tolist()[::2] == [7.0, 7.0]
    assert np.isnan(overall(scores, (0.75, 0.25, 0.0))[1])


def test_scores_stay_inside_the_scale(student: Student) -> None:
    wild = student.calibrate(np.array([[99, -99, 5]], dtype=np.float32))
    assert ((wild >= 0) & (wild <= 10)).all()


def test_what_the_prefilter_holds_back_is_not_scored(ready: Workspace, toys: None) -> None:
    write_filter(ready.filter, FILTER + "prefilter: {use: short, below: 40}\n")
    student = filterkit.load_student(ready / "student", ready.filter)
    long, short = unlabelled(2)
    verdicts = list(student.judge([long, {**short, "content": "brief"}, long]))
    assert [v.blocked for v in verdicts] == [False, True, False]
    assert verdicts[1].reasons == ("short",)
    assert (verdicts[1].scores, verdicts[1].overall, verdicts[1].passed) == ({}, None, False)
    assert verdicts[0].scores == verdicts[2].scores
    student.close()
