"""What several answers about one article come to: medians, spread, weights, a consensus."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path
from typing import Any

import pytest
from helpers import FILTER, write_filter

from filterkit.articles import to_article
from filterkit.filters import load_filter
from filterkit.pipeline.judgement.consensus import Judge, Rule, agree, disputed
from filterkit.pipeline.judgement.samples import Merged, Rows, merge_samples
from filterkit.pipeline.judgement.weights import LEAST, pooled_spread, row_weights
from filterkit.records import Label
from filterkit.spec import FilterSpec

A, B, C = Judge("a", "m"), Judge("b", "m"), Judge("c", "m")


@pytest.fixture
def spec(tmp_path: Path) -> FilterSpec:
    return load_filter(write_filter(tmp_path / "tiny")).spec


def rows(*answers: Any, id: str = "x", by: Judge = A, evidence: bool = False) -> Rows:
    """Answers (help, novelty, is_advert; None unknown) about one article, in the order of their samples."""
    out: Rows = []
    for sample, scores in enumerate(answers):
        article = to_article({"id": id, "title": id, "content": f"text of {id}", "sample": sample, "kept": "as it is"})
        known = {n: float(s) for n, s in zip(("help", "novelty", "is_advert"), scores, strict=True) if s is not None}
        words = {"help": f"answer {sample}"} if evidence else {}
        out.append((article, Label(known, words, *by)))
    return out


def only(merged: Merged) -> tuple[dict[str, Any], Label]:
    ((article, label),) = merged.rows
    return article.to_dict(), label


def test_the_label_is_the_median_of_each_dimension_with_its_spread(spec: FilterSpec) -> None:
    article, label = only(merge_samples(spec, rows((2, 9, 0), (8, 5, 10), (3, 6, 10))))
    assert label.scores == {"help": 3, "novelty": 6, "is_advert": 10}  # of a flag the majority
    assert article["samples"] == 3
    assert article["spread"] == pytest.approx({"help": 3.214550, "novelty": 2.081666, "is_advert": 5.773503})
    assert "sample" not in article
    assert article["kept"] == "as it is"
    assert (label.oracle, label.model) == ("a", "m")


def test_of_two_answers_the_label_is_the_middle(spec: FilterSpec) -> None:
    article, label = only(merge_samples(spec, rows((2, 9, 0), (5, 9, 10))))
    assert label.scores == {"help": 3.5, "novelty": 9, "is_advert": 5}
    assert article["spread"]["novelty"] == 0


def test_a_score_that_an_answer_does_not_know_is_no_answer(spec: FilterSpec) -> None:
    article, label = only(merge_samples(spec, rows((2, None, 0), (4, None, 0), (9, 7, None))))
    assert label.scores == {"help": 4, "novelty": 7, "is_advert": 0}
    assert article["spread"]["novelty"] is None
    _, label = only(merge_samples(spec, rows((2, None, 0), (4, None, 0))))
    assert "novelty" not in label.scores


def test_the_evidence_is_of_the_answer_nearest_to_the_label(spec: FilterSpec) -> None:
    _, label = only(merge_samples(spec, rows((9, 9, 0), (3, 5, 0), (2, 4, 0), evidence=True)))
    assert label.evidence == {"help": "answer 1"}


def test_missing_samples_and_single_ones_are_as_many_answers_as_there_are(spec: FilterSpec) -> None:
    given = [*rows((1, 1, 0), (2, 1, 0), (9, 1, 0), id="three")[1:], *rows((4, 4, 0), id="one")]
    merged = merge_samples(spec, given)
    assert dict(merged.answers) == {2: 1, 1: 1}
    assert {a.id: (label.scores["help"], a.extra["spread"] is None) for a, label in merged.rows} == {
        "three": (5.5, False),
        "one": (4, True),
    }


def test_one_sample_given_twice_counts_once_and_a_contradiction_is_told(spec: FilterSpec) -> None:
    given = [*rows((1, 1, 0), (5, 1, 0)), *rows((1, 1, 0)), *rows((9, 1, 0), (5, 1, 0))[1:]]
    merged = merge_samples(spec, given)
    assert (merged.same, merged.contradictions) == (2, [])
    assert merged.rows[0][1].scores["help"] == 3
    assert merge_samples(spec, [*given, *rows((7, 1, 0))]).contradictions == ["x"]


def test_answers_about_another_text_or_of_another_oracle_are_not_mixed_in(spec: FilterSpec) -> None:
    edited = [(to_article({**a.to_dict(), "content": "edited"}), label) for a, label in rows((9, 9, 0), (9, 9, 0))]
    merged = merge_samples(spec, [*rows((1, 1, 0), (3, 1, 0)), *edited, *rows((5, 5, 0), by=B)])
    assert sorted(label.scores["help"] for _, label in merged.rows) == [2, 5, 9]


def test_the_order_of_the_answers_does_not_matter(spec: FilterSpec) -> None:
    given = [r for i in range(6) for r in rows((i, 9 - i, 0), (9, i, 10), (4, 4, 0), id=f"n{i}", evidence=True)]
    expected = merge_samples(spec, given)
    for seed in range(5):
        random.Random(seed).shuffle(given)
        assert merge_samples(spec, given) == expected


# Weights


def test_the_pooled_spread_is_that_of_all_articles(spec: FilterSpec) -> None:
    given = [*rows((2, 5, 0), (4, 5, 0), id="p"), *rows((1, 5, 0), (1, 5, 0), (7, 5, 10), id="q"), *rows((3, 3, 0))]
    pooled = pooled_spread(spec, merge_samples(spec, given).rows)
    # by hand: squared deviations from each article's mean, 2 and 24, over 1 + 2 degrees of freedom
    assert pooled["help"] == pytest.approx(math.sqrt((2 + 24) / 3))
    assert pooled["novelty"] == 0


def weights(spec: FilterSpec, given: Rows) -> dict[str, float]:
    merged = merge_samples(spec, given).rows
    found = row_weights(spec, merged, pooled_spread(spec, merged))
    return {article.id: weight for (article, _), weight in zip(merged, found, strict=True)}


def test_rows_weigh_more_with_more_answers_and_less_where_these_differ(spec: FilterSpec) -> None:
    given = [
        *rows((5, 5, 0), (5, 5, 0), (5, 5, 0), id="agreed"),
        *rows((4, 5, 0), (5, 5, 0), (6, 4, 0), id="usual"),
        *rows((0, 9, 0), (5, 0, 0), (10, 5, 0), id="torn"),
        *rows((5, 5, 0), id="single"),
    ]
    found = weights(spec, given)
    assert found["agreed"] > found["usual"] > found["torn"]
    assert found["agreed"] > found["single"]
    assert sum(found.values()) / 4 == pytest.approx(1, abs=1e-5)


def test_a_row_with_one_answer_counts_as_one_that_differs_as_usual(spec: FilterSpec) -> None:
    """1 / (1 + 1) of one answer, 1 / (1 + 1/3) of three that differ just as the pool."""
    given = [*rows((4, 4, 0), (5, 5, 0), (6, 6, 0), id="three"), *rows((5, 5, 0), id="single")]
    found = weights(spec, given)
    assert found["three"] / found["single"] == pytest.approx(1.5, rel=1e-4)


def test_a_row_s_own_spread_is_drawn_towards_the_pooled_one(spec: FilterSpec) -> None:
    """Two answers that spread by 2, in a pool of 1: (4 * 1 + 1 * 2²) / (4 + 1) = 1.6, divided by two answers 0.8."""
    given = [*rows((3, 5, 0), (3 + 2 * math.sqrt(2), 5, 0), id="two"), *rows((5, 5, 0), id="single")]
    merged = merge_samples(spec, given).rows
    assert [article.id for article, _ in merged] == ["single", "two"]
    single, two = row_weights(spec, merged, {"help": 1.0})
    assert two / single == pytest.approx((1 / 1.8) / (1 / 2), rel=1e-4)


def test_flags_and_dimensions_on_which_answers_never_differ_do_not_count(spec: FilterSpec) -> None:
    torn_flag = [*rows((4, 5, 0), (6, 5, 10), id="flagged"), *rows((4, 5, 0), (6, 5, 0), id="plain")]
    found = weights(spec, torn_flag)
    assert found["flagged"] == found["plain"]
    same = [*rows((4, 5, 0), (4, 5, 0), id="p"), *rows((6, 5, 0), id="q")]
    assert set(weights(spec, same).values()) == {1.0}


def test_no_row_is_thrown_away(spec: FilterSpec) -> None:
    quiet = [r for i in range(200) for r in rows((5, 5, 0), (5.1, 5, 0), id=f"n{i}")]
    found = weights(spec, [*quiet, *rows((0, 5, 0), (10, 5, 0), id="torn")])
    assert found["torn"] == LEAST


# Consensus

RULE = Rule(A, B, C, tolerance=2)


def judged(spec: FilterSpec, a: Any, b: Any, c: Any = None, rule: Rule = RULE) -> Any:
    given = [r for scores, by in ((a, A), (b, B), (c, C)) if scores for r in rows(scores, by=by, evidence=True)]
    return agree(spec, merge_samples(spec, given).rows, rule)


def test_where_two_judges_agree_the_label_is_their_mean(spec: FilterSpec) -> None:
    found = judged(spec, (4, 6, 0), (6, 5, 0), (9, 9, 9))
    ((article, label),) = found.rows
    assert label.scores == {"help": 5, "novelty": 5.5, "is_advert": 0}  # the referee was not needed, and does not count
    assert article.extra["judges"] == ["a m", "b m"]
    assert article.extra["disagreement"] == {"help": 2, "novelty": 1, "is_advert": 0}
    assert (article.extra["refereed"], found.refereed, label.oracle) == (False, 0, "consensus")


def test_where_they_do_not_the_referee_decides_on_that_dimension(spec: FilterSpec) -> None:
    found = judged(spec, (1, 6, 0), (8, 5, 0), (7, 0, 0))
    ((article, label),) = found.rows
    assert label.scores == {"help": 7, "novelty": 5.5, "is_advert": 0}
    assert (article.extra["refereed"], found.refereed) == (True, 1)
    assert article.extra["judges"] == ["a m", "b m", "c m"]


def test_a_flag_that_they_dispute_is_a_dispute(spec: FilterSpec) -> None:
    assert judged(spec, (5, 5, 0), (5, 5, 10)).left_out["undecided"] == 1
    ((_, label),) = judged(spec, (5, 5, 0), (5, 5, 10), (5, 5, 10)).rows
    assert label.scores["is_advert"] == 10


def test_what_cannot_be_decided_is_left_out_and_counted(spec: FilterSpec) -> None:
    assert judged(spec, (1, 5, 0), (8, 5, 0)).left_out == {"undecided": 1}
    assert judged(spec, (1, 5, 0), (8, 5, 0), (None, 5, 0)).left_out == {"undecided": 1}
    assert judged(spec, (1, 5, 0), (8, 5, 0), (5, 5, 0), Rule(A, B)).left_out == {"undecided": 1, "others": 1}
    assert judged(spec, (1, 5, 0), None, (5, 5, 0)).left_out == {"one_judge": 1}
    assert not judged(spec, (1, 5, 0), None, (5, 5, 0)).rows


def test_a_score_that_one_judge_does_not_know_is_the_other_s(spec: FilterSpec) -> None:
    ((article, label),) = judged(spec, (4, None, 0), (6, 3, None)).rows
    assert label.scores == {"help": 5, "novelty": 3, "is_advert": 0}
    assert article.extra["disagreement"] == {"help": 2}


def test_the_evidence_is_of_the_judge_nearest_to_the_label(spec: FilterSpec) -> None:
    given = [*rows((1, 5, 0), by=A, evidence=True), *rows((8, 5, 0), by=B, evidence=True)]
    given += [(a, Label(label.scores, {"help": "the referee's"}, *C)) for a, label in rows((7, 5, 0), by=C)]
    ((_, label),) = agree(spec, merge_samples(spec, given).rows, RULE).rows
    assert label.evidence == {"help": "the referee's"}


def test_judges_are_held_against_each_other_by_their_medians(spec: FilterSpec) -> None:
    given = [*rows((0, 5, 0), (5, 5, 0), (6, 5, 0), by=A), *rows((6, 5, 0), by=B)]
    ((article, label),) = agree(spec, merge_samples(spec, given).rows, RULE).rows
    assert (label.scores["help"], article.extra["samples"]) == (5.5, 4)


@pytest.mark.parametrize(("apart", "answer"), [(2.0, False), (2.1, True), (1.9999999999, False)])
def test_the_tolerance_itself_is_agreement(spec: FilterSpec, apart: float, answer: bool) -> None:
    assert disputed(spec, {"help": 3.1}, {"help": 3.1 + apart}, 2.0) is answer


def test_the_order_of_the_judges_rows_does_not_matter(spec: FilterSpec) -> None:
    given = [r for scores, by in (((1, 5, 0), A), ((8, 5, 0), B), ((7, 5, 0), C)) for r in rows(scores, by=by)]
    expected = agree(spec, merge_samples(spec, given).rows, RULE)
    for order in itertools.permutations(given):
        assert agree(spec, merge_samples(spec, order).rows, RULE) == expected


def test_medians_may_lie_between_the_steps_of_the_scale(tmp_path: Path) -> None:
    spec = load_filter(write_filter(tmp_path / "whole", f"{FILTER}scale: {{min: 0, max: 10, step: 1}}\n")).spec
    _, label = only(merge_samples(spec, rows((2, 9, 0), (3, 9, 0))))
    assert label.scores["help"] == 2.5
