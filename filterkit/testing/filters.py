"""The contract suites of prefilters and postfilters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from filterkit.contracts import Postfilter, Prefilter
from filterkit.overall import overall as weighted_overall
from filterkit.records import F32, Article, Block, Pass, Verdicts
from filterkit.spec import FilterSpec
from filterkit.testing.base import BackendContract
from filterkit.testing.samples import HOSTILE_TEXTS, sample_articles

COLUMNS = ("overall", "tier", "passed", "reasons")
DTYPES = {"overall": np.float32, "tier": np.int16, "passed": np.bool_, "reasons": np.uint64}


class PrefilterContract(BackendContract):
    """Rules on text: pure, and one article at a time."""

    kind = Prefilter

    @pytest.fixture
    def articles(self) -> list[Article]:
        """Ordinary and odd articles; add some that your rules block."""
        return [*sample_articles(), Article("short", "", "hm"), *(_hostile())]

    def test_one_answer_per_article(self, make: Callable[..., Any], articles: list[Article]) -> None:
        answers = make().judge(articles)
        assert len(answers) == len(articles)
        assert all(isinstance(a, Pass | Block) for a in answers), "an answer is a Pass or a Block"

    def test_no_articles(self, make: Callable[..., Any]) -> None:
        assert make().judge([]) == []

    def test_a_block_says_which_rule_and_why(self, make: Callable[..., Any], articles: list[Article]) -> None:
        for answer in make().judge(articles):
            if isinstance(answer, Block):
                assert answer.rule.strip(), "a Block needs the name of its rule, to be counted by"
                assert answer.reason.strip(), "a Block needs a reason"

    def test_the_same_answer_again(self, make: Callable[..., Any], articles: list[Article]) -> None:
        one = make()
        first = one.judge(articles)
        assert one.judge(articles) == first
        assert make().judge(articles) == first, "another instance with the same options answers otherwise"

    def test_other_articles_do_not_matter(self, make: Callable[..., Any], articles: list[Article]) -> None:
        one = make()
        together = one.judge(articles)
        assert [one.judge([a])[0] for a in articles] == together, "alone, an article gets another answer"
        assert one.judge(articles[::-1]) == together[::-1], "in another order, articles get other answers"

    def test_articles_are_left_as_they_are(self, make: Callable[..., Any], articles: list[Article]) -> None:
        before = copy.deepcopy(articles)
        make().judge(articles)
        assert articles == before

    @pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=lambda t: f"{len(t)}-characters")
    def test_any_text_is_judged(self, make: Callable[..., Any], text: str) -> None:
        assert len(make().judge([Article("hostile", text[:1000], text)])) == 1


def _hostile() -> list[Article]:
    return [Article(f"hostile-{i}", "", text) for i, text in enumerate(HOSTILE_TEXTS)]


class PostfilterContract(BackendContract):
    """Arithmetic on columns of scores. Override `spec` with a filter whose options your postfilter understands."""

    kind = Postfilter

    @pytest.fixture
    def scores(self, spec: FilterSpec) -> F32:
        """[n, d] over the whole scale, with the corners, and two rows of NaN."""
        scale, d = spec.scale, len(spec.names)
        rows = np.random.default_rng(0).uniform(scale.min, scale.max, (200, d))
        rows[0], rows[1] = scale.min, scale.max
        rows[2:60] = np.round(rows[2:60])
        rows[[7, 100]] = np.nan
        return rows.astype(np.float32)

    @pytest.fixture
    def many(self, scores: F32) -> list[Article]:
        """An article per row of scores."""
        return sample_articles(len(scores))

    def judge(self, one: Postfilter[Any], articles: Sequence[Article] | None, scores: F32) -> Verdicts:
        """Verdicts on scores whose overall was computed as the core does."""
        return one.judge(articles, scores, weighted_overall(scores, one.spec.weights), None)

    def test_tiers_and_rules_are_named(self, make: Callable[..., Any]) -> None:
        one = make()
        for names in (one.tiers, one.rules):
            assert isinstance(names, tuple)
            assert all(isinstance(n, str) and n.strip() for n in names)
            assert len(set(names)) == len(names), f"a name stands twice in {names}"
        assert len(one.rules) <= 64, "reasons has 64 bits"

    def test_columns_have_their_shapes(self, make: Callable[..., Any], scores: F32, many: list[Article]) -> None:
        verdicts = self.judge(make(), many, scores)
        for name in COLUMNS:
            column = getattr(verdicts, name)
            assert column.shape == (len(scores),), f"{name} has shape {column.shape}"
            assert column.dtype == DTYPES[name], f"{name} is {column.dtype}, not {np.dtype(DTYPES[name])}"

    def test_no_rows(self, make: Callable[..., Any], scores: F32) -> None:
        verdicts = self.judge(make(), [], scores[:0])
        for name in COLUMNS:
            assert getattr(verdicts, name).shape == (0,)

    def test_a_row_without_scores_is_not_judged(
        self, make: Callable[..., Any], scores: F32, many: list[Article]
    ) -> None:
        verdicts = self.judge(make(), many, scores)
        failed = np.isnan(scores).any(axis=1)
        assert np.isnan(verdicts.overall[failed]).all(), "overall must be NaN where the scores are"
        assert (verdicts.tier[failed] == -1).all(), "tier must be -1 where the scores are NaN"
        assert not verdicts.passed[failed].any(), "a row without scores passed"
        assert not verdicts.reasons[failed].any(), "a row without scores has reasons"

    def test_one_unknown_score_is_enough(self, make: Callable[..., Any], scores: F32) -> None:
        partly = scores[:3].copy()
        partly[1, -1] = np.nan
        verdicts = self.judge(make(), None, partly)
        assert np.isnan(verdicts.overall[1])
        assert not verdicts.passed[1]

    def test_a_row_with_scores_is_judged(self, make: Callable[..., Any], spec: FilterSpec, scores: F32) -> None:
        one = make()
        verdicts = self.judge(one, None, scores)
        fine = ~np.isnan(scores).any(axis=1)
        overall = verdicts.overall[fine]
        assert np.isfinite(overall).all(), "a row with all its scores got no overall"
        assert (overall >= spec.scale.min).all(), "an overall lies below the scale"
        assert (overall <= spec.scale.max).all(), "an overall lies above the scale"
        lowest = 0 if one.tiers else -1
        assert (verdicts.tier[fine] >= lowest).all(), "a judged row has no tier"
        assert (verdicts.tier < max(len(one.tiers), 0)).all(), "tier points past the last tier"

    def test_reasons_name_rules(self, make: Callable[..., Any], scores: F32) -> None:
        one = make()
        bits = int(np.bitwise_or.reduce(self.judge(one, None, scores).reasons))
        assert bits >> len(one.rules) == 0, "a reason's bit stands for no rule"

    def test_the_order_of_rows_does_not_matter(
        self, make: Callable[..., Any], scores: F32, many: list[Article]
    ) -> None:
        one = make()
        order = np.random.default_rng(1).permutation(len(scores))
        straight, mixed = self.judge(one, many, scores), self.judge(one, [many[i] for i in order], scores[order])
        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(mixed, name), getattr(straight, name)[order], err_msg=name)

    def test_blocks_give_the_same_as_the_whole(
        self, make: Callable[..., Any], scores: F32, many: list[Article]
    ) -> None:
        one = make()
        whole = self.judge(one, many, scores)
        parts = [self.judge(one, many[i : i + 33], scores[i : i + 33]) for i in range(0, len(scores), 33)]
        for name in COLUMNS:
            joined = np.concatenate([getattr(part, name) for part in parts])
            np.testing.assert_array_equal(joined, getattr(whole, name), err_msg=name)

    def test_scores_alone_are_enough(self, make: Callable[..., Any], scores: F32, many: list[Article]) -> None:
        one = make()
        without = self.judge(one, None, scores)
        assert without.overall.shape == (len(scores),)

    def test_an_interval_may_come_along(self, make: Callable[..., Any], scores: F32) -> None:
        one = make()
        interval = np.stack([scores - 0.5, scores + 0.5], axis=-1)
        verdicts = one.judge(None, scores, weighted_overall(scores, one.spec.weights), interval)
        assert verdicts.overall.shape == (len(scores),)

    def test_what_it_is_given_is_left_as_it_is(self, make: Callable[..., Any], scores: F32) -> None:
        one = make()
        overall = weighted_overall(scores, one.spec.weights)
        before = scores.copy(), overall.copy()
        one.judge(None, scores, overall, None)
        np.testing.assert_array_equal(scores, before[0], err_msg="scores were changed in place")
        np.testing.assert_array_equal(overall, before[1], err_msg="overall was changed in place")
