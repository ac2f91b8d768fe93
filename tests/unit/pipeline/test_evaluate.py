"""evaluate(): what it takes, and what it makes of a filter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import FILTER, NAMES, write_filter

import filterkit
from filterkit.errors import InputError
from filterkit.filters import load_filter
from filterkit.pipeline.evaluate import evaluate

TIERS = """\
threshold: 5
postfilter:
  use: tiers
  caps: [{name: adverts, cap: 2, when: [{dimension: is_advert, at_least: 5}]}]
  tiers: [{name: high, at_least: 6}, {name: middle, at_least: 3}, {name: rest}]
"""


def table(seed: int, n: int = 200) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 11, (n, 3)).astype(float)
    return np.clip(np.round(labels + random.normal(0, 1, (n, 3)), 1), 0, 10), labels


def test_a_filter_or_a_list_of_names(tmp_path: Path) -> None:
    p, t = table(2)
    tiny = load_filter(write_filter(tmp_path))
    by_filter, by_names = filterkit.evaluate(p, t, tiny), filterkit.evaluate(p, t, list(NAMES))
    assert by_filter.metrics.per_dimension == by_names.metrics.per_dimension
    assert by_filter.metrics.mae == pytest.approx(np.abs(p - t)[:, :2].mean()), "a flag counted"
    assert by_names.metrics.mae == pytest.approx(np.abs(p - t).mean())
    assert filterkit.evaluate(p, t, tiny.spec) == by_filter
    weighted = np.abs((p - t)[:, :2] @ [0.75, 0.25]).mean()
    assert by_filter.metrics.overall.mae == pytest.approx(weighted)
    assert by_names.metrics.overall.mae == pytest.approx(np.abs((p - t).mean(axis=1)).mean())
    assert set(by_filter.metrics.flags) == {"is_advert"}
    assert by_filter.metrics.flags["is_advert"].threshold == 5


def test_the_tiers_are_those_of_the_filters_policy(tmp_path: Path) -> None:
    p, t = table(3)
    found = evaluate(p, t, load_filter(write_filter(tmp_path, FILTER + TIERS))).metrics
    assert found.tiers is not None

    def tier(scores: Any) -> Any:
        total = scores[:, :2] @ [0.75, 0.25]
        total = np.where(scores[:, 2] >= 5, np.minimum(total, 2), total)
        return np.select([total >= 6 - 1e-9, total >= 3 - 1e-9], [0, 1], 2)

    assert found.tiers.names == ("high", "middle", "rest")
    assert found.tiers.accuracy == pytest.approx((tier(p) == tier(t)).mean())
    assert found.at_threshold is not None
    assert found.at_threshold.positives == (t[:, :2] @ [0.75, 0.25] >= 5).sum()


def test_why_there_are_no_tiers_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    p, t = table(4)
    plain = evaluate(p, t, load_filter(write_filter(tmp_path / "plain")))
    assert plain.metrics.tiers_left_out == "the postfilter 'overall' knows no tiers"
    assert plain.left_out["top_recall"] == plain.metrics.tiers_left_out
    assert evaluate(p, t, NAMES).metrics.tiers_left_out == "a list of names has no tiers"
    tiered = load_filter(write_filter(tmp_path / "tiered", FILTER + TIERS))
    monkeypatch.setenv("FILTERKIT_DISABLE_PLUGINS", "filterkit-postfilter")
    monkeypatch.setattr("filterkit.plugins._plugins", None)
    found = evaluate(p, t, tiered)
    assert "filterkit-postfilter" in found.left_out["top_recall"]
    assert found.metrics.tiers is None


def test_bands_and_gains_need_a_scale() -> None:
    p, t = table(5)
    assert [band.low for band in evaluate(p, t, NAMES).metrics.per_dimension["help"].bands] == [0, 2, 4, 6, 8]
    other = evaluate(p * 10, t * 10 - 5, NAMES).metrics
    assert other.per_dimension["help"].bands == ()
    assert other.cuts[0].ndcg == pytest.approx(evaluate(p * 10, t * 10, NAMES).metrics.cuts[0].ndcg, abs=0.1)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"labels": [[11.0, 1, 1]]}, "label 11 lies outside of 0 to 10"),
        ({"labels": [[-0.5, 1, 1]]}, "label -0.5 lies outside of 0 to 10"),
        ({"labels": [[np.inf, 1, 1]]}, "labels must be finite"),
        ({"predictions": [[np.inf, 1, 1]]}, "predictions must be finite"),
        ({"predictions": [[1.0, 1]]}, r"predictions must have shape \[n, 3\]"),
        ({"labels": [[1.0, 1, 1]] * 2}, "predictions have shape"),
        ({"intervals": [[[0.0, 1]]]}, r"intervals must have shape \[1, 3, 2\]"),
        ({"overall_intervals": [[0.0, 1]] * 3, "intervals": [[[0.0, 1]] * 3]}, "overall_intervals must have shape"),
        ({"groups": ["a", "b"]}, "2 groups were given for 1 articles"),
        ({"rounds": 3}, "3 rounds are too few"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    given: dict[str, Any] = {"predictions": [[1.0, 1, 1]], "labels": [[1.0, 1, 1]], **change}
    with pytest.raises(InputError, match=what):
        evaluate(filter=load_filter(write_filter(tmp_path)), **given)


def test_two_dimensions_of_one_name() -> None:
    with pytest.raises(InputError, match="two dimensions have one name"):
        evaluate([[1.0, 1]], [[1.0, 1]], ["a", "a"])


def test_figures_are_reproducible() -> None:
    p, t = table(6)
    assert evaluate(p, t, NAMES) == evaluate(p, t, NAMES)
    order = np.random.default_rng(0).permutation(len(p))
    straight, shuffled = evaluate(p, t, NAMES).metrics, evaluate(p[order], t[order], NAMES).metrics
    assert shuffled.spearman == pytest.approx(straight.spearman, abs=1e-12)
    assert [c.recall for c in shuffled.cuts] == pytest.approx([c.recall for c in straight.cuts], abs=1e-12)
