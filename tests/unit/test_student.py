"""A student in use: any iterable of articles in, scores and verdicts out, in order, one failure at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from helpers import FILTER, Workspace, unlabelled, write_filter

import filterkit
from filterkit import forced
from filterkit.articles import to_article
from filterkit.calibrator import Calibrator, DimensionMap, OverallInterval, Spread
from filterkit.contracts import Context, Options, Postfilter
from filterkit.errors import FilterkitError
from filterkit.judging import as_article
from filterkit.look import Look
from filterkit.manifest import Forced, save_manifest
from filterkit.options import make_backend
from filterkit.overall import overall
from filterkit.records import F32, Article, Verdicts
from filterkit.spec import FilterSpec
from filterkit.student import Student


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


REMOTE = """
import numpy as np
from filterkit.api import Model, Prediction, Scorer, hookimpl

class There(Scorer):
    def __init__(self, ref, d): self.ref, self.d = ref, d
    def predict(self, encoded):
        return Prediction(np.full((len(encoded), self.d), float(self.ref.rpartition("/")[2]), dtype=np.float32))

class Elsewhere(Model):
    remote = True
    def student_hash(self, ref): return "f" * 64 if "another" in ref else None
    def load(self, ref, *, device="auto", threads=None, shared=None): return There(ref, len(self.spec.names))

@hookimpl
def register_models(register):
    register("elsewhere", "fk_elsewhere.plugin:Elsewhere", schemes=("away",))
"""


def test_what_was_read_is_judged_as_by_judge(student: Student) -> None:
    given = [*ROWS[:5], {"content": "unscorable words"}, {"title": "no content"}, ROWS[6]]
    articles = [as_article(one) for one in given]
    read = student.read(articles)
    assert [v.to_dict() for v in student.verdicts(articles, read)] == [v.to_dict() for v in student.judge(given)]


def test_scores_from_elsewhere_are_calibrated_and_judged_here(ready: Workspace, toys: None, local_site: Any) -> None:
    local_site.add("fk-elsewhere", plugin=REMOTE)
    here = filterkit.load_student(ready / "student", ready.filter)
    away = filterkit.load_student(ready / "student", ready.filter, remote="away://host/3")
    assert (away.read([to_article(ROWS[0])]).scores == 3.0).all()
    expected = here.calibrate(np.full((1, 3), 3.0, dtype=np.float32))
    assert (away.score(ROWS[:1]) == expected).all()
    (ready / "student" / "toy.json").unlink()
    filterkit.load_student(ready / "student", ready.filter, remote="away://host/3")  # needs no weights here


@pytest.mark.parametrize(
    ("address", "options", "error"),
    [
        ("gopher://x", {}, "no model reads addresses that begin with gopher://"),
        ("away://host/3", {"use": "toy"}, "reads folders"),
        ("away://another/3", {}, "scores with student ffffffffffff"),
        ("away://host/3", {"colour": "red"}, "colour"),
    ],
)
def test_an_address_that_nobody_reads(
    ready: Workspace, toys: None, local_site: Any, address: str, options: dict[str, Any], error: str
) -> None:
    local_site.add("fk-elsewhere", plugin=REMOTE)
    with pytest.raises(FilterkitError, match=error):
        filterkit.load_student(ready / "student", ready.filter, remote=address, remote_options=options)


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


class Halves(Postfilter[Options]):
    """Tiers good (from 5) and rest. Nothing written by somebody who pays is good."""

    Options = Options
    tiers = ("good", "rest")
    rules = ("paid",)
    seen: list[F32 | None]

    def judge(self, articles: Sequence[Article] | None, scores: F32, overall: F32, interval: F32 | None) -> Verdicts:
        self.seen.append(interval)
        paid = scores[:, 2] >= 5
        capped = np.where(paid, np.minimum(overall, 3), overall).astype(np.float32)
        judged = np.isfinite(capped)
        return Verdicts(
            overall=capped,
            tier=np.where(judged, np.where(capped >= 5, 0, 1), -1).astype(np.int16),
            passed=judged & (capped >= 5),
            reasons=paid.astype(np.uint64),
        )


def knowing(student: Student, half: float = 0.5, weights: tuple[float, ...] | None = None) -> Student:
    """The student with intervals of two points a dimension (the flag: none) and twice `half` of the overall."""
    spread = Spread(x=(0.0,), y=(1.0,))
    d = len(student.spec.names)
    student.manifest = student.manifest.model_copy(
        update={
            "calibrator": Calibrator(
                maps=(DimensionMap(),) * d,
                spreads=(spread, spread, None),
                reasons=(None, None, "no labels"),
            ),
            "overall_interval": OverallInterval(
                weights=weights or tuple(student.spec.weights), spread=Spread(x=(0.0,), y=(half,))
            ),
        }
    )
    halves = Halves(Options(), student.spec, Context(workdir=None))  # type: ignore[arg-type]
    halves.seen = []
    student.__dict__["postfilter"] = halves
    return student


def test_training_leaves_intervals_of_its_own(student: Student) -> None:
    calibrator = student.manifest.calibrator
    assert len(calibrator.spreads) == 3
    assert all(calibrator.spreads)
    assert student.manifest.overall_interval.weights == (0.75, 0.25, 0.0)
    look = student.look([to_article(r) for r in ROWS[:100]])
    assert look.intervals is not None
    assert look.intervals.shape == (100, 3, 2)
    assert look.overall_intervals is not None
    assert look.sure is None, "the postfilter `overall` has no tiers"


def test_intervals_lie_on_the_scale_around_their_score(student: Student) -> None:
    scores = np.array([[0, 0.4, 5], [9.8, 10, 0], [np.nan] * 3], dtype=np.float32)
    found = knowing(student).intervals(scores)
    assert found is not None
    assert found[:2, :2].tolist() == pytest.approx(np.array([[[0, 1], [0, 1.4]], [[8.8, 10], [9, 10]]]))
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 2]).all(), "of the flag nothing is known"
    random = np.random.default_rng(0).uniform(0, 10, (2000, 3))
    scores = student.calibrate(random.astype(np.float32))
    found = student.intervals(scores)
    assert found is not None
    assert ((found[:, :2, 0] <= scores[:, :2]) & (scores[:, :2] <= found[:, :2, 1])).all()
    assert ((found[:, :2] >= 0) & (found[:, :2] <= 10)).all()


def test_who_is_sure_has_both_ends_in_one_tier(student: Student) -> None:
    """An advert's cap counts at both ends: it is surely not good, although its overall before the cap might be."""
    articles = [to_article(r) for r in ROWS[:400]]
    verdicts = list(knowing(student, half=1.0).judge(articles))
    scores = student.score(articles)
    total = student.overall(scores)
    for verdict, whole, row in zip(verdicts, total.tolist(), scores.tolist(), strict=True):
        assert verdict.overall_interval is not None
        low, high = verdict.overall_interval
        assert verdict.overall is not None
        assert low <= verdict.overall <= high
        if row[2] >= 5:
            assert verdict.sure
            assert high <= 3
        else:
            assert verdict.sure == (not whole - 1 < 5 <= whole + 1)
            assert (low, high) == pytest.approx((max(whole - 1, 0), min(whole + 1, 10)), abs=1e-3)
        shown = json.loads(json.dumps(verdict.to_dict()))
        assert shown["sure"] is verdict.sure
        assert shown["overall_interval"] == list(verdict.overall_interval)
    assert {v.sure for v in verdicts} == {True, False}
    look = student.look(articles)
    assert look.sure is not None
    assert look.sure.tolist() == [v.sure for v in verdicts]
    assert student.postfilter.seen[0] is not None, "a postfilter may use the intervals of the scores"  # type: ignore[attr-defined]


def test_a_cap_is_as_doubtful_as_the_score_that_decides_on_it(student: Student) -> None:
    """A flag of 6, give or take 2, may well be below 5: then the cap of an advert is not certain."""
    knowing(student, half=1.0)
    calibrator = student.manifest.calibrator
    known = calibrator.model_copy(update={"spreads": (*calibrator.spreads[:2], Spread(x=(0.0,), y=(2.0,)))})
    student.manifest = student.manifest.model_copy(update={"calibrator": known})
    scores = np.array([[8, 8, 6], [8, 8, 10], [8, 8, 4], [8, 8, 0]], dtype=np.float32)
    verdicts, around = student._judged([], scores)
    assert verdicts.overall.tolist() == [3, 3, 8, 8]
    assert around is not None
    assert around.sure is not None
    assert around.sure.tolist() == [False, True, False, True]
    assert np.round(around.under_caps, 2).tolist() == [[3, 9], [3, 3], [3, 9], [7, 9]]


def test_other_weights_than_the_interval_was_made_for(student: Student) -> None:
    """Somebody changed the filter's weights since: then nobody knows, until it is validated again."""
    verdict = next(knowing(student, weights=(0.5, 0.5, 0.0)).judge(ROWS[:1]))
    assert (verdict.overall_interval, verdict.sure) == (None, None)
    look = student.look([to_article(ROWS[0])])
    assert (look.overall_intervals, look.sure) == (None, None)
    assert look.intervals is not None


def test_what_failed_is_not_sure(student: Student) -> None:
    articles = [to_article(ROWS[0]), Article("empty", "title", " "), to_article(ROWS[1])]
    look = knowing(student, half=0.0).look(articles)
    assert look.sure is not None
    assert look.sure.tolist() == [True, False, True]
    assert look.overall_intervals is not None
    assert np.isnan(look.overall_intervals[1]).all()
    verdict = list(student.judge(articles))[1]
    assert (verdict.overall_interval, verdict.sure) == (None, None)


def test_a_look_is_kept_as_json_taken_apart_and_joined(student: Student) -> None:
    articles = [to_article(r) for r in ROWS[:20]] + [Article("empty", "title", " ")]
    look = knowing(student).look(articles)
    again = Look.from_lists(json.loads(json.dumps(look.to_lists(), allow_nan=False)))
    halves = Look.concatenate([again.take(np.arange(10, 21)), again.take(np.arange(10))])
    back = halves.take(np.argsort(np.concatenate([np.arange(10, 21), np.arange(10)])))
    for name in ("raw", "scores", "intervals", "overall_intervals", "sure"):
        np.testing.assert_array_equal(getattr(back, name), getattr(look, name))
    knows_less = Look(look.raw, look.scores, None, None, None)
    joined = Look.concatenate([look, knows_less])
    assert joined.sure is not None
    assert not joined.sure[21:].any()
    assert joined.intervals is not None
    assert np.isnan(joined.intervals[21:]).all()
    assert Look.concatenate([knows_less, knows_less]).sure is None


def test_a_student_that_was_forced_says_so_once(ready: Workspace, toys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forced, "_told", set())
    manifest = filterkit.load_student(ready / "student", ready.filter).manifest
    why = Forced(
        reason="the board\x1b[2J wants\nit " + "x" * 500, gates="mae is 1.2, the limit 1", at=datetime.now(UTC)
    )
    save_manifest(ready / "student", manifest.model_copy(update={"forced": why}))
    with pytest.warns(UserWarning, match="its gates refused it") as told:
        loaded = [filterkit.load_student(ready / "student", ready.filter) for _ in range(3)]
    for one in loaded:
        one.close()
    [message] = [str(w.message) for w in told]
    assert message.startswith(
        "tiny: this student was shipped although its gates refused it (mae is 1.2, the limit 1): "
    )
    assert "the board[2J wants it xx" in message
    assert message.isprintable()
    assert len(message) < 400
