"""Every figure against scikit-learn and scipy, on random and degenerate input."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from filterkit.errors import InputError
from filterkit.metrics import Metrics, Tiers, measure, ranks, spearman
from filterkit.metrics.bootstrap import Resamples
from filterkit.metrics.cuts import depths
from filterkit.metrics.ranking import Ranking, Search

NAMES = ("help", "novelty", "is_advert")


def table(seed: int, n: int = 200, d: int = 3) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 11, (n, d)).astype(float)  # whole numbers: many ties
    return np.round(labels + random.normal(0, 2, (n, d)), 1), labels


def near(value: float) -> Any:
    return pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_same_numbers_as_scikit_learn_and_scipy(seed: int) -> None:
    p, t = table(seed)
    found = measure(p, t, NAMES, (0, 1), scale=(0, 10))
    for i, name in enumerate(NAMES):
        one, a, b = found.per_dimension[name], t[:, i], p[:, i]
        median = np.full(200, np.median(a))
        assert one.n == 200
        assert one.mae == near(sk.mean_absolute_error(a, b))
        assert one.rmse == near(sk.root_mean_squared_error(a, b))
        assert one.r2 == near(sk.r2_score(a, b))
        assert one.spearman == near(stats.spearmanr(b, a).statistic)
        assert one.median_mae == near(sk.mean_absolute_error(a, median))
        assert one.median_gain == near(1 - sk.mean_absolute_error(a, b) / sk.mean_absolute_error(a, median))
        assert one.bias == near((b - a).mean())
        assert one.within_1 == near((np.abs(b - a) <= 1).mean())
        assert sum(band.n for band in one.bands) == 200
        top = one.bands[-1]
        inside = (a >= 8) & (a <= 10)
        assert (top.n, top.mae, top.bias) == (
            inside.sum(),
            near(np.abs(b - a)[inside].mean()),
            near((b - a)[inside].mean()),
        )
    scored = (t[:, :2], p[:, :2])
    assert found.mae == near(sk.mean_absolute_error(*scored))
    assert found.rmse == near(sk.root_mean_squared_error(*scored))
    assert found.r2 == near(sk.r2_score(*scored))
    assert found.overall.mae == near(sk.mean_absolute_error(t[:, :2].mean(axis=1), p[:, :2].mean(axis=1)))
    assert (found.n, found.failed, found.unknown) == (200, 0, 0)


values = st.integers(0, 10).map(float)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[float], list[float]]:
    n = draw(st.integers(2, 30))
    return draw(st.lists(values, min_size=n, max_size=n)), draw(st.lists(values, min_size=n, max_size=n))


@settings(max_examples=150, deadline=None)
@given(pairs())
def test_ranking_by_scores_that_tie(pair: tuple[list[float], list[float]]) -> None:
    student, oracle = np.array(pair[0]), np.array(pair[1])
    one = np.ones((1, len(student)))
    assert ranks(student).tolist() == stats.rankdata(student).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rho = stats.spearmanr(student, oracle).statistic
    found = spearman(student, oracle)
    assert found is None if np.isnan(rho) else found == near(rho)
    ranking = Ranking(student, oracle, oracle)
    for k in {1, 2, len(student) // 2, len(student)} - {0}:
        if oracle.any():
            assert ranking.ndcg(one, [k])[0, 0] == near(sk.ndcg_score([oracle], [student], k=k))
    right = oracle >= 6
    if right.any():
        assert Search(student, right).average_precision(one)[0] == near(sk.average_precision_score(right, student))


@settings(max_examples=100, deadline=None)
@given(pairs(), st.integers(0, 2**32 - 1))
def test_a_row_that_is_drawn_twice_counts_as_two_rows(pair: tuple[list[float], list[float]], seed: int) -> None:
    """So that figures over resamples are those of the resampled rows."""
    student, oracle = np.array(pair[0]), np.array(pair[1])
    n = len(student)
    rows = np.random.default_rng(seed).integers(0, n, n)
    counts = np.bincount(rows, minlength=n)[None].astype(float)
    one = np.ones((1, n))
    whole, drawn = Ranking(student, oracle, oracle), Ranking(student[rows], oracle[rows], oracle[rows])
    ks = [1, max(1, n // 2)]
    assert whole.recall(counts, ks)[0] == near(drawn.recall(one, ks)[0])
    if oracle[rows].any():
        assert whole.ndcg(counts, ks)[0] == near(drawn.ndcg(one, ks)[0])
    right = oracle >= 6
    if right[rows].any():
        found = Search(student, right).average_precision(counts)[0]
        assert found == near(Search(student[rows], right[rows]).average_precision(one)[0])


def test_the_first_k_share_ties_and_do_not_depend_on_the_order_of_rows() -> None:
    random = np.random.default_rng(1)
    oracle = random.integers(0, 4, 60).astype(float)
    one = np.ones((1, 60))
    own = Ranking(oracle, oracle, oracle)
    assert own.recall(one, [5, 10, 30])[0].tolist() == [1, 1, 1], "the oracle's own scores find all"
    student = random.integers(0, 4, 60).astype(float)
    order = random.permutation(60)
    straight = Ranking(student, oracle, oracle).recall(one, [5, 10, 30])
    assert Ranking(student[order], oracle[order], oracle[order]).recall(one, [5, 10, 30])[0] == near(straight[0])
    steps, constant = np.arange(60.0), np.zeros(60)
    assert Ranking(constant, steps, steps).recall(one, [6])[0, 0] == near(0.1), "no order finds what chance would"
    assert Ranking(-steps, steps, steps).recall(one, [30])[0, 0] == 0


@pytest.mark.parametrize(
    ("n", "ks"),
    [(1, []), (4, []), (5, []), (12, [1]), (25, [2, 10]), (100, [10, 20, 50]), (3000, [10, 20, 50, 100, 300])],
)
def test_how_deep_is_looked(n: int, ks: list[int]) -> None:
    assert [k for k in depths(n) if k] == ks


def test_flags_and_the_threshold_as_scikit_learn_counts_them() -> None:
    p, t = table(3)
    found = measure(p, t, NAMES, (0, 1), flags={"is_advert": 5.0}, threshold=6.0)
    yes, said = t[:, 2] >= 5, p[:, 2] >= 5
    flag = found.flags["is_advert"]
    assert (flag.positives, flag.predicted) == (yes.sum(), said.sum())
    assert flag.precision == near(sk.precision_score(yes, said))
    assert flag.recall == near(sk.recall_score(yes, said))
    assert flag.f1 == near(sk.f1_score(yes, said))
    assert found.at_threshold is not None
    assert found.at_threshold.f1 == near(sk.f1_score(t[:, :2].mean(axis=1) >= 6, p[:, :2].mean(axis=1) >= 6))
    for one in (flag, found.at_threshold):
        for name in ("precision", "recall", "f1"):
            assert one.intervals[name].low < getattr(one, name) < one.intervals[name].high


def test_tiers_as_scikit_learn_counts_them() -> None:
    p, t = table(4)
    totals, oracle = p[:, 0], t[:, 0]

    def tier(scores: Any) -> Any:
        return np.select([scores >= 7, scores >= 4], [0, 1], 2).astype(np.int16)

    decided = Tiers(("high", "middle", "rest"), tier(totals), tier(oracle), totals)
    found = measure(p, t, NAMES, (0, 1), decided=decided).tiers
    assert found is not None
    assert found.accuracy == near(sk.accuracy_score(tier(oracle), tier(totals)))
    assert np.array_equal(found.confusion, sk.confusion_matrix(tier(oracle), tier(totals)))
    for i, name in enumerate(decided.names):
        assert found.recall[name] == near(sk.recall_score(tier(oracle) == i, tier(totals) == i))
        assert found.precision[name] == near(sk.precision_score(tier(oracle) == i, tier(totals) == i))
    assert found.average_precision == near(sk.average_precision_score(tier(oracle) == 0, totals))


def test_what_is_unknown_is_left_out() -> None:
    p, t = table(1)
    p[:7, 0], t[5:20, 0] = np.nan, np.nan
    found = measure(p, t, NAMES, (0, 1, 2))
    one = found.per_dimension["help"]
    assert one.n == 180
    assert one.mae == near(sk.mean_absolute_error(t[20:, 0], p[20:, 0]))
    assert one.spearman == near(stats.spearmanr(p[20:, 0], t[20:, 0]).statistic)
    assert (found.failed, found.unknown) == (7, 15)
    assert found.mae == near(np.mean([m.mae for m in found.per_dimension.values()]))
    mae = found.intervals["mae"]
    assert mae.low < found.mae < mae.high  # type: ignore[operator]


def numbers(metrics: Metrics) -> list[float]:
    """Every number in there; JSON has no NaN, and `Record` refuses it."""
    found: list[float] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for part in value.values():
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)
        elif isinstance(value, float):
            found.append(value)

    walk(metrics.model_dump(mode="json"))
    return found


ODD = {
    "nobody": (np.empty((0, 3)), np.empty((0, 3))),
    "one article": (np.full((1, 3), 2.0), np.full((1, 3), 5.0)),
    "two articles": (np.arange(6.0).reshape(2, 3), np.ones((2, 3))),
    "constant labels": (np.arange(150.0).reshape(50, 3) % 11, np.full((50, 3), 5.0)),
    "constant predictions": (np.full((50, 3), 5.0), np.arange(150.0).reshape(50, 3) % 11),
    "both constant": (np.full((50, 3), 5.0), np.full((50, 3), 5.0)),
    "perfect": (np.arange(150.0).reshape(50, 3) % 11, np.arange(150.0).reshape(50, 3) % 11),
    "always off by the same": (np.arange(150.0).reshape(50, 3) % 11 + 0.3, np.arange(150.0).reshape(50, 3) % 11),
    "nothing predicted": (np.full((50, 3), np.nan), np.ones((50, 3))),
    "nothing known": (np.ones((50, 3)), np.full((50, 3), np.nan)),
    "never together": (np.where(np.eye(50, 3) > 0, np.nan, 1.0), np.where(np.eye(50, 3) > 0, 1.0, np.nan)),
    "one that differs": (np.r_[np.zeros((49, 3)), np.ones((1, 3))], np.r_[np.zeros((49, 3)), np.full((1, 3), 9.0)]),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("odd", ODD)
def test_what_is_undefined_is_none_with_a_reason_and_never_a_warning(odd: str) -> None:
    p, t = ODD[odd]
    tier = np.zeros(len(p), np.int16)
    ends = np.stack([p - 1, p + 1], axis=-1)
    found = measure(
        p,
        t,
        NAMES,
        (0, 1),
        scale=(0, 10),
        flags={"is_advert": 5},
        threshold=6,
        decided=Tiers(("high", "rest"), tier, tier + 1, np.nan_to_num(p[:, 0])),
        intervals=ends,
        overall_intervals=ends[:, 0],
    )
    assert np.isfinite(numbers(found)).all()
    for part in (found, *found.per_dimension.values(), found.overall, *found.flags.values(), *found.cuts):
        for name, value in part:
            if value is None and name not in ("tiers_left_out", "small"):
                assert part.undefined[name], (name, part)
        for name, interval in part.intervals.items():
            assert interval.low <= getattr(part, name) + 1e-9
            assert interval.high >= getattr(part, name) - 1e-9


def test_constant_and_lonely_values_have_no_rank_correlation_and_no_r2() -> None:
    one = measure([[1.0]], [[3.0]], ["a"], [0]).per_dimension["a"]
    assert (one.mae, one.rmse, one.bias, one.r2, one.spearman, one.median_mae) == (2, 2, -2, None, None, 0)
    flat = measure(*ODD["constant labels"], NAMES, (0, 1, 2))
    assert (flat.r2, flat.spearman, flat.median_gain) == (None, None, None)
    assert flat.undefined["spearman"] == "all labels are the same"
    assert measure(*ODD["constant predictions"], NAMES, (0,)).undefined["spearman"] == "all predictions are the same"
    assert spearman(np.array([1.0]), np.array([2.0])) is None


def test_the_mean_is_of_the_dimensions_that_are_defined() -> None:
    p, t = table(2)
    t[:, 1] = 4
    found = measure(p, t, NAMES, (0, 1))
    assert found.spearman == found.per_dimension["help"].spearman
    assert found.r2 == found.per_dimension["help"].r2
    assert found.mae == near(sk.mean_absolute_error(t[:, :2], p[:, :2]))


def test_coverage_counts_labels_on_the_ends() -> None:
    t = np.tile([[1.0, 2.0]], (40, 1))
    ends = np.empty((40, 2, 2))
    ends[:, 0] = [0, 1]
    ends[:, 1] = [0, 1.9]
    ends[:10, 1] = np.nan
    found = measure(t, t, ["a", "b"], (0, 1), intervals=ends, overall_intervals=ends[:, 0] + 0.5).coverage
    assert found is not None
    assert (found.per_dimension, found.mean, found.overall) == ({"a": 1.0, "b": 0.0}, 0.5, 1.0)
    assert found.width == near((1 + 1.9) / 2)
    assert found.intervals["a"].low < 0.95, "forty of forty is not certain"


def test_small_tests_are_said_to_be_small() -> None:
    p, t = table(5, 39)
    said = measure(p, t, NAMES, (0, 1)).small
    assert said is not None
    assert said.startswith("39 test articles: the MAE of ")
    assert "156 would halve that" in said
    assert "Label more" in said
    assert measure(*table(5, 400), NAMES, (0, 1)).small is None
    tier = np.r_[np.zeros(3, np.int16), np.ones(397, np.int16)]
    decided = Tiers(("high", "rest"), tier, tier, np.zeros(400))
    said = measure(*table(5, 400), NAMES, (0, 1), decided=decided).small
    assert said is not None
    assert "the best tier, high, has 3 articles in the test" in said


@pytest.mark.parametrize(
    ("p", "t"),
    [
        ([[1.0, 2.0]], [[1.0]]),
        ([1.0, 2.0], [1.0, 2.0]),
        ([[1.0], [2.0]], [[1.0]]),
        ([["x"]], [[1.0]]),
        ([[1.0], [2.0, 3.0]], [[1.0], [2.0]]),
        ([[np.inf]], [[1.0]]),
        ([[1.0]], [[-np.inf]]),
    ],
)
def test_what_does_not_fit_is_one_clear_error(p: Any, t: Any) -> None:
    with pytest.raises(InputError):
        measure(p, t, ["a"], [0])


def test_groups_and_rounds_that_cannot_be_meant() -> None:
    with pytest.raises(InputError, match="3 groups were given for 5 articles"):
        Resamples(5, ["a", "b", "c"])
    with pytest.raises(InputError, match="50 rounds are too few"):
        Resamples(5, rounds=50)
