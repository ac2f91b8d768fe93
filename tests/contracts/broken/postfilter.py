"""Postfilters that break a promise."""

from collections.abc import Sequence

import numpy as np
from catching import caught_by, expose

from filterkit.builtin.overall import OverallPostfilter
from filterkit.records import F32, Article, Verdicts
from filterkit.testing import PostfilterContract


class Changed(OverallPostfilter):
    """Judges as `overall`, and then spoils a column."""

    def judge(self, articles: Sequence[Article] | None, scores: F32, overall: F32, interval: F32 | None) -> Verdicts:
        good = super().judge(articles, scores, overall, interval)
        columns = {name: getattr(good, name) for name in ("overall", "tier", "passed", "reasons")}
        return Verdicts(**(columns | self.spoil(good, scores)))

    def spoil(self, good: Verdicts, scores: F32) -> dict[str, np.ndarray]:
        raise NotImplementedError


@caught_by("test_tiers_and_rules_are_named")
class TwoRulesOfOneName(OverallPostfilter):
    rules = ("cap", "cap")


@caught_by("test_tiers_and_rules_are_named")
class TooManyRules(OverallPostfilter):
    rules = tuple(f"rule-{i}" for i in range(65))


@caught_by("test_columns_have_their_shapes")
class WideTiers(Changed):
    def spoil(self, good: Verdicts, scores: F32) -> dict[str, np.ndarray]:
        return {"tier": good.tier.astype(np.int64)}


@caught_by("test_columns_have_their_shapes")
class DropsWhatFailed(Changed):
    def spoil(self, good: Verdicts, scores: F32) -> dict[str, np.ndarray]:
        return {"passed": good.passed[~np.isnan(good.overall)]}


@caught_by("test_no_rows")
class NeedsARow(Changed):
    def spoil(self, good: Verdicts, scores: F32) -> dict[str, np.ndarray]:
        assert np.max(good.passed) >= 0
        return {}


@caught_by("test_a_row_without_scores_is_not_judged")
class NaNSlipsPast(Changed):
    def spoil(self, good: Verdicts, scores: F32) -> dict[str, np.ndarray]:
        return {"passed": ~(good.overall < 4)}


@caught_by("test_a_row_without_scores_is_not_judged")
class NaNBecomesZero(Changed):
    def spoil(self, good: Verdicts, scores: F32) -> dict[str, np.ndarray]:
        return {"overall": np.nan_to_num(good.overall)}


@caught_by("test_one_unknown_score_is_enough")
class LooksAtTheOverallOnly(OverallPostfilter):
    def judge(self, articles: Sequence[Article] | None, scores: F32, overall: F32, interval: F32 | None) -> Verdicts:
        return super().judge(articles, np.repeat(overall[:, None], 3, axis=1), overall, interval)


@caught_by("test_a_row_with_scores_is_judged")
class LosesTheLowest(Changed):
    def spoil(self, good: Verdicts, scores: F32) -> dict[str, np.ndarray]:
        return {"overall": np.where(good.overall == 0, np.nan, good.overall).astype(np.float32)}


@caught_by("test_a_row_with_scores_is_judged")
class PastTheLastTier(Changed):
    tiers = ("high", "low")

    def spoil(self, good: Verdicts, scores: F32) -> dict[str, np.ndarray]:
        return {"tier": np.where(np.isnan(good.overall), -1, np.where(good.overall > 5, 1, 2)).astype(np.int16)}


@caught_by("test_reasons_name_rules")
class NamelessReason(Changed):
    rules = ("cap",)

    def spoil(self, good: Verdicts, scores: F32) -> dict[str, np.ndarray]:
        return {"reasons": np.where(good.overall > 5, np.uint64(2), np.uint64(0))}


@caught_by("test_the_order_of_rows_does_not_matter")
class JudgesByTheRowBefore(Changed):
    def spoil(self, good: Verdicts, scores: F32) -> dict[str, np.ndarray]:
        return {"passed": good.passed & np.roll(good.passed & (good.overall > 5), 1)}


@caught_by("test_blocks_give_the_same_as_the_whole")
class PassesTheBestTenth(Changed):
    def spoil(self, good: Verdicts, scores: F32) -> dict[str, np.ndarray]:
        known = good.overall[~np.isnan(good.overall)]
        return {"passed": good.overall >= (np.quantile(known, 0.9) if len(known) else 0)}


@caught_by("test_scores_alone_are_enough")
class NeedsArticles(OverallPostfilter):
    def judge(self, articles: Sequence[Article] | None, scores: F32, overall: F32, interval: F32 | None) -> Verdicts:
        assert len(articles) == len(scores)
        return super().judge(articles, scores, overall, interval)


@caught_by("test_an_interval_may_come_along")
class FlatInterval(OverallPostfilter):
    def judge(self, articles: Sequence[Article] | None, scores: F32, overall: F32, interval: F32 | None) -> Verdicts:
        if interval is not None:
            _low, _high = interval
        return super().judge(articles, scores, overall, interval)


@caught_by("test_what_it_is_given_is_left_as_it_is")
class CapsInPlace(OverallPostfilter):
    def judge(self, articles: Sequence[Article] | None, scores: F32, overall: F32, interval: F32 | None) -> Verdicts:
        overall[scores[:, 0] < 5] = 3
        return super().judge(articles, scores, overall, interval)


expose(globals(), PostfilterContract)
