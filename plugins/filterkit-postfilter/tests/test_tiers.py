"""What a filter author and an operator see of the postfilter `tiers`."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filterkit_postfilter.tiers import BLOCK_ROWS, TiersOptions, TiersPostfilter
from pydantic import ValidationError

from filterkit.api import Context, Dimension, FilterSpec, InputError, Scale, SpecError, Verdicts

TIERS = [{"name": "impact", "at_least": 7}, {"name": "connection", "at_least": 4}, {"name": "rest"}]
BENEFIT, WONDER, ADVERT = 0, 1, 2

Make = Callable[..., TiersPostfilter]


def spec_of(**scale: float) -> FilterSpec:
    return FilterSpec(
        schema_version=1,
        name="sample",
        version="1",
        scale=Scale(**(scale or {"min": 0, "max": 10})),
        dimensions=(
            Dimension(name="benefit", weight=0.6),
            Dimension(name="wonder", weight=0.4),
            Dimension(name="is_advert", role="flag"),
        ),
    )


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(spec: FilterSpec | None = None, **options: Any) -> TiersPostfilter:
        chosen = TiersOptions.model_validate({"tiers": TIERS} | options)
        return TiersPostfilter(chosen, spec or spec_of(), Context(workdir=tmp_path))

    return build


def judge(postfilter: TiersPostfilter, rows: list[list[float]], overall: list[float] | None = None) -> Verdicts:
    scores = np.array(rows, np.float32).reshape(-1, 3)
    given = scores @ np.array([0.6, 0.4, 0], np.float32) if overall is None else np.array(overall, np.float32)
    return postfilter.judge(None, scores, given, None)


def named(postfilter: TiersPostfilter, verdicts: Verdicts, row: int) -> list[str]:
    return [name for bit, name in enumerate(postfilter.rules) if int(verdicts.reasons[row]) >> bit & 1]


def tier_names(postfilter: TiersPostfilter, verdicts: Verdicts) -> list[str]:
    return [postfilter.tiers[t] for t in verdicts.tier]


# Gatekeepers


def test_a_gatekeeper_caps_below_its_bound_and_not_at_it(make: Make) -> None:
    postfilter = make(gatekeepers=[{"dimension": "benefit", "below": 5, "cap": 3}])
    verdicts = judge(postfilter, [[4.9, 9, 0], [5, 9, 0]], overall=[6, 6])
    assert verdicts.overall.tolist() == [3, 6]
    assert tier_names(postfilter, verdicts) == ["rest", "connection"]
    assert named(postfilter, verdicts, 0) == ["gatekeeper:benefit"]
    assert named(postfilter, verdicts, 1) == []


def test_the_exception_needs_all_of_its_conditions(make: Make) -> None:
    unless = [{"dimension": "wonder", "at_least": 7}, {"dimension": "benefit", "at_least": 3}]
    postfilter = make(gatekeepers=[{"dimension": "benefit", "below": 5, "cap": 3, "unless": unless}])
    verdicts = judge(postfilter, [[3, 7, 0], [2.9, 7, 0], [3, 6.9, 0], [1, 1, 0]], overall=[6, 6, 6, 6])
    assert verdicts.overall.tolist() == [6, 3, 3, 3]
    assert [named(postfilter, verdicts, i) for i in range(4)] == [[]] + [["gatekeeper:benefit"]] * 3


def test_an_exception_may_ask_for_a_low_score(make: Make) -> None:
    unless = [{"dimension": "is_advert", "below": 2}]
    postfilter = make(gatekeepers=[{"dimension": "benefit", "below": 5, "cap": 3, "unless": unless}])
    assert judge(postfilter, [[1, 1, 1.9], [1, 1, 2]], overall=[6, 6]).overall.tolist() == [6, 3]


# Caps


def test_a_cap_needs_all_of_its_conditions(make: Make) -> None:
    when = [{"dimension": "is_advert", "at_least": 5}, {"dimension": "wonder", "below": 8}]
    postfilter = make(caps=[{"name": "adverts", "cap": 2, "when": when}])
    verdicts = judge(postfilter, [[9, 7, 5], [9, 8, 5], [9, 7, 4]], overall=[8, 8, 8])
    assert verdicts.overall.tolist() == [2, 8, 8]
    assert [named(postfilter, verdicts, i) for i in range(3)] == [["adverts"], [], []]


def test_every_rule_that_holds_is_named_and_the_lowest_cap_wins(make: Make) -> None:
    postfilter = make(
        gatekeepers=[{"name": "floor", "dimension": "benefit", "below": 5, "cap": 3}],
        caps=[
            {"name": "adverts", "cap": 2, "when": [{"dimension": "is_advert", "at_least": 5}]},
            {"name": "dull", "cap": 6, "when": [{"dimension": "wonder", "below": 1}]},
        ],
    )
    assert postfilter.rules == ("floor", "adverts", "dull")
    verdicts = judge(postfilter, [[1, 0, 9], [9, 0, 0]], overall=[9, 9])
    assert verdicts.overall.tolist() == [2, 6]
    assert named(postfilter, verdicts, 0) == ["floor", "adverts", "dull"]
    assert named(postfilter, verdicts, 1) == ["dull"]


def test_a_rule_is_named_even_where_it_lowers_nothing(make: Make) -> None:
    postfilter = make(gatekeepers=[{"name": "floor", "dimension": "benefit", "below": 5, "cap": 3}])
    verdicts = judge(postfilter, [[1, 1, 0]])
    assert verdicts.overall.tolist() == [1]
    assert named(postfilter, verdicts, 0) == ["floor"]


def test_sixty_four_rules_use_every_bit(make: Make) -> None:
    when = [{"dimension": "is_advert", "at_least": 5}]
    postfilter = make(caps=[{"name": f"cap{i}", "cap": 2, "when": when} for i in range(64)])
    verdicts = judge(postfilter, [[9, 9, 9], [9, 9, 0]])
    assert verdicts.reasons.tolist() == [2**64 - 1, 0]


# Tiers


@pytest.mark.parametrize(
    ("overall", "tier", "passed"),
    [
        (10, "impact", True),
        (7, "impact", True),
        (6.9, "connection", True),
        (4, "connection", True),
        (3.9, "rest", False),
    ],
)
def test_tiers_begin_at_their_bound(make: Make, overall: float, tier: str, passed: bool) -> None:
    postfilter = make()
    verdicts = judge(postfilter, [[5, 5, 0]], overall=[overall])
    assert tier_names(postfilter, verdicts) == [tier]
    assert verdicts.passed.tolist() == [passed]


@pytest.mark.parametrize(
    ("lowest", "passed"), [("impact", [True, False, False]), ("connection", [True, True, False]), ("rest", [True] * 3)]
)
def test_pass_names_the_lowest_tier_that_passes(make: Make, lowest: str, passed: list[bool]) -> None:
    verdicts = judge(make(**{"pass": lowest}), [[5, 5, 0]] * 3, overall=[8, 5, 1])
    assert verdicts.passed.tolist() == passed


def test_a_single_tier_passes_everything(make: Make) -> None:
    verdicts = judge(make(tiers=[{"name": "all"}]), [[0, 0, 0], [9, 9, 0]])
    assert verdicts.tier.tolist() == [0, 0]
    assert verdicts.passed.tolist() == [True, True]


# Rounding


@pytest.mark.parametrize("score", [7, 4])
def test_a_weighted_mean_of_scores_at_a_bound_reaches_it(make: Make, score: float) -> None:
    weights = np.array([0.14, 0.19, 0.38, 0.10, 0.08, 0.04, 0.02, 0.05], np.float32)
    sums: list[float] = []
    for order in (weights, weights[::-1], np.sort(weights), np.sort(weights)[::-1]):
        one_by_one = np.cumsum(order * np.float32(score), dtype=np.float32)[-1]
        sums += [float(one_by_one), float(order @ np.full(8, score, np.float32))]
    assert min(sums) < score, "no sum was rounded down, so this shows nothing"
    verdicts = judge(make(), [[5, 5, 0]] * len(sums), overall=sums)
    assert set(verdicts.tier.tolist()) == {0 if score == 7 else 1}


def test_a_score_short_by_rounding_reaches_a_bound_and_one_short_by_more_does_not(make: Make) -> None:
    postfilter = make(
        gatekeepers=[{"name": "floor", "dimension": "benefit", "below": 5, "cap": 3}],
        caps=[{"name": "adverts", "cap": 2, "when": [{"dimension": "is_advert", "at_least": 5}]}],
    )
    verdicts = judge(postfilter, [[4.999999, 9, 4.999999], [4.9999, 9, 4.9999]], overall=[6.999999, 6.9999])
    assert named(postfilter, verdicts, 0) == ["adverts"]
    assert named(postfilter, verdicts, 1) == ["floor"]
    uncapped = judge(make(), [[5, 5, 0]] * 2, overall=[6.999999, 6.9999])
    assert uncapped.tier.tolist() == [0, 1]


def test_slack_follows_the_scale(make: Make) -> None:
    tiers = [{"name": "high", "at_least": 70}, {"name": "low"}]
    postfilter = make(spec_of(min=0, max=100), tiers=tiers)
    below_70 = np.nextafter(np.float32(70), np.float32(0))  # 7.6e-6 below: more than the slack of a 0-10 scale allows
    assert judge(postfilter, [[5, 5, 0]] * 2, overall=[float(below_70) - 7e-6, 69.99]).tier.tolist() == [0, 1]
    tiers = [{"name": "high", "at_least": 0.5}, {"name": "low"}]
    postfilter = make(spec_of(min=-1, max=1), tiers=tiers)
    assert judge(postfilter, [[0, 0, 0]] * 2, overall=[0.4999999, 0.49999]).tier.tolist() == [0, 1]


def test_bounds_that_float32_cannot_hold_count_as_written(make: Make) -> None:
    postfilter = make(tiers=[{"name": "high", "at_least": 6.7}, {"name": "low"}])
    assert judge(postfilter, [[5, 5, 0]] * 2, overall=[6.7, 6.6999]).tier.tolist() == [0, 1]


def test_a_cap_at_a_tier_bound_leaves_the_article_in_that_tier(make: Make) -> None:
    tiers = [{"name": "high", "at_least": 3.3}, {"name": "low"}]
    postfilter = make(tiers=tiers, gatekeepers=[{"dimension": "benefit", "below": 5, "cap": 3.3}])
    assert judge(postfilter, [[1, 1, 0]], overall=[9]).tier.tolist() == [0]


# Rows


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [BENEFIT, WONDER, ADVERT, "overall"])
def test_a_row_without_scores_is_not_judged(make: Make, bad: float, column: int | str) -> None:
    postfilter = make(tiers=[{"name": "all"}], gatekeepers=[{"dimension": "wonder", "below": 5, "cap": 3}])
    scores = np.full((3, 3), 1, np.float32)
    overall = np.full(3, 1, np.float32)
    if isinstance(column, int):
        scores[1, column] = bad
    else:
        overall[1] = bad
    verdicts = postfilter.judge(None, scores, overall, None)
    assert np.isnan(verdicts.overall).tolist() == [False, True, False]
    assert verdicts.tier.tolist() == [0, -1, 0]
    assert verdicts.passed.tolist() == [True, False, True]
    assert verdicts.reasons.tolist() == [1, 0, 1]


def test_no_rows_give_no_verdicts(make: Make) -> None:
    verdicts = judge(make(gatekeepers=[{"dimension": "benefit", "below": 5, "cap": 3}]), [])
    assert [len(c) for c in (verdicts.overall, verdicts.tier, verdicts.passed, verdicts.reasons)] == [0] * 4


def test_columns_have_the_promised_types(make: Make) -> None:
    doubles: Any = np.zeros((2, 3))  # as a notebook would hand them over
    verdicts = make().judge(None, doubles, doubles[:, 0], None)
    assert verdicts.overall.dtype == np.float32
    assert verdicts.tier.dtype == np.int16
    assert verdicts.passed.dtype == np.bool_
    assert verdicts.reasons.dtype == np.uint64


def test_inputs_stay_as_they_were(make: Make) -> None:
    postfilter = make(gatekeepers=[{"dimension": "benefit", "below": 5, "cap": 3}])
    for order in ("C", "F"):
        scores = np.full((4, 3), 1, np.float32, order=order)
        overall = np.full(4, 9, np.float32)
        scores[2] = np.nan
        before = scores.copy()
        postfilter.judge(None, scores, overall, None)
        np.testing.assert_array_equal(scores, before)
        assert overall.tolist() == [9] * 4


@pytest.mark.parametrize(("scores", "overall"), [((4, 2), (4,)), ((4, 3), (3,)), ((3,), (3,)), ((4, 3), (4, 1))])
def test_shapes_that_do_not_fit_are_refused(make: Make, scores: tuple[int, ...], overall: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"are not \[n, 3\] and \[n\]"):
        make().judge(None, np.zeros(scores, np.float32), np.zeros(overall, np.float32), None)


def test_a_million_rows_need_little_memory_beyond_their_verdicts(make: Make) -> None:
    rules = [{"name": f"cap{i}", "cap": 2, "when": [{"dimension": "is_advert", "at_least": 5}]} for i in range(8)]
    postfilter = make(caps=rules)
    n = 1_000_000
    scores, overall = np.zeros((n, 3), np.float32), np.zeros(n, np.float32)
    tracemalloc.start()
    try:
        verdicts = postfilter.judge(None, scores, overall, None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    kept = sum(c.nbytes for c in (verdicts.overall, verdicts.tier, verdicts.passed, verdicts.reasons))
    assert peak - kept < 60 * BLOCK_ROWS


# What is refused


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"tiers": []}, "at least 1 item"),
        ({"tiers": [{"name": "a", "at_least": 5}]}, "the last tier 'a' takes the rest and has no at_least"),
        ({"tiers": [{"name": "a"}, {"name": "b"}]}, "tier 'a' needs at_least"),
        (
            {"tiers": [{"name": "a", "at_least": 5}, {"name": "b", "at_least": 5}, {"name": "c"}]},
            "at_least of tier 'b' must be less",
        ),
        ({"tiers": [{"name": "a", "at_least": 5}, {"name": "a"}]}, "two tiers are called 'a'"),
        ({"pass": "conection"}, "pass names no tier: 'conection' (did you mean 'connection'?)"),
        (
            {"gatekeepers": [{"dimension": "wonder", "below": 5, "cap": 3}] * 2},
            "two rules are called 'gatekeeper:wonder'",
        ),
        ({"caps": [{"name": "a", "cap": 3, "when": []}]}, "at least 1 item"),
        ({"caps": [{"name": "a", "cap": 3, "when": [{"dimension": "wonder"}]}]}, "exactly one of at_least and below"),
        (
            {"caps": [{"name": "a", "cap": 3, "when": [{"dimension": "wonder", "at_least": 1, "below": 2}]}]},
            "exactly one of at_least and below",
        ),
        (
            {"caps": [{"name": f"a{i}", "cap": 3, "when": [{"dimension": "wonder", "below": 2}]} for i in range(65)]},
            "65 gatekeepers and caps are more than 64",
        ),
        ({"gatekeeper": []}, "Extra inputs are not permitted"),
        ({"gatekeepers": [{"dimension": "wonder", "below": float("nan"), "cap": 3}]}, "finite number"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(make: Make, options: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make(**options)
    assert what in str(caught.value)


def test_unknown_dimensions_are_refused_by_rule_with_a_guess(make: Make) -> None:
    with pytest.raises(SpecError) as caught:
        make(
            gatekeepers=[
                {
                    "name": "floor",
                    "dimension": "benefit",
                    "below": 5,
                    "cap": 3,
                    "unless": [{"dimension": "wondr", "below": 2}],
                }
            ],
            caps=[{"name": "adverts", "cap": 2, "when": [{"dimension": "is_add", "at_least": 5}]}],
        )
    said = str(caught.value)
    assert "gatekeeper 'floor' names an unknown dimension, 'wondr' (did you mean 'wonder'?)" in said
    assert "cap 'adverts' names an unknown dimension, 'is_add'" in said
    assert "benefit, wonder, is_advert" in said


def test_a_gatekeeper_of_an_unknown_dimension_is_refused(make: Make) -> None:
    with pytest.raises(SpecError, match="gatekeeper 'gatekeeper:benefits' names an unknown dimension"):
        make(gatekeepers=[{"dimension": "benefits", "below": 5, "cap": 3}])


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (
            {"gatekeepers": [{"dimension": "wonder", "below": 5, "cap": 11}]},
            "the cap of gatekeeper 'gatekeeper:wonder' (11)",
        ),
        ({"gatekeepers": [{"dimension": "wonder", "below": 50, "cap": 3}]}, "the bound of wonder in gatekeeper"),
        (
            {"caps": [{"name": "a", "cap": -1, "when": [{"dimension": "wonder", "below": 5}]}]},
            "the cap of cap 'a' (-1)",
        ),
        (
            {"caps": [{"name": "a", "cap": 1, "when": [{"dimension": "wonder", "at_least": 70}]}]},
            "the bound of wonder in cap 'a' (70)",
        ),
        ({"tiers": [{"name": "a", "at_least": 70}, {"name": "b"}]}, "at_least of tier 'a' (70)"),
    ],
)
def test_numbers_outside_of_the_scale_are_refused(make: Make, options: dict[str, Any], what: str) -> None:
    with pytest.raises(SpecError) as caught:
        make(**options)
    assert what in str(caught.value)
    assert "lies outside of the scale, 0 to 10" in str(caught.value)
