"""Losses, weights and measures: what is masked, what counts how much."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from filterkit_qwen_lora.evaluate import measure, rank_value, spearman
from filterkit_qwen_lora.histogram import centres
from filterkit_qwen_lora.losses import Counted, masked_sum, overall, plain_losses, row_weights
from filterkit_qwen_lora.ridge import choose, fit
from filterkit_qwen_lora.teaching import Lesson

NAN = float("nan")


def lesson(targets: str = "histogram", loss: str = "l1") -> Lesson:
    return Lesson(targets, loss, centres(0, 10, 21), 0.6, 0.0, 10.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["histogram", "l1", "huber", "mse"])
def test_an_unknown_target_has_no_part_in_loss_and_gradient(kind: str) -> None:
    taught = lesson("histogram") if kind == "histogram" else lesson("plain", kind)
    answers = torch.randn(3, 2, 21).log_softmax(-1) if kind == "histogram" else torch.randn(3, 2)
    answers.requires_grad_(True)
    weights = torch.tensor([1.0, 2.0, 1.0])
    taught.loss_sum(answers, torch.tensor([[4.0, NAN], [7.0, 1.0], [NAN, NAN]]), weights).backward()
    assert answers.grad is not None
    assert torch.isfinite(answers.grad).all()
    assert not answers.grad[0, 1].any()
    assert not answers.grad[2].any()
    assert answers.grad[1, 1].any()


@pytest.mark.parametrize(("kind", "expected"), [("l1", 3.0), ("huber", 2.5), ("mse", 9.0)])
def test_plain_losses_are_those_of_a_scale_of_ten(kind: str, expected: float) -> None:
    on_ten = plain_losses(kind, torch.tensor([[5.0]]), torch.tensor([[2.0]]), 10.0)  # type: ignore[arg-type]
    on_one = plain_losses(kind, torch.tensor([[0.5]]), torch.tensor([[0.2]]), 1.0)  # type: ignore[arg-type]
    assert float(on_ten) == pytest.approx(expected)
    assert float(on_one) == pytest.approx(expected)


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    answers, weights = torch.randn(6, 3), torch.rand(6) + 0.5
    targets = torch.where(torch.rand(6, 3) < 0.3, torch.nan, torch.rand(6, 3) * 10)
    taught = lesson("plain")
    whole = taught.loss_sum(answers, targets, weights)
    parts = sum(taught.loss_sum(answers[i : i + 2], targets[i : i + 2], weights[i : i + 2]) for i in (0, 2, 4))
    assert float(whole) == pytest.approx(float(parts), rel=1e-5)


def test_a_batch_counts_its_rows_times_what_a_row_counts_on_average() -> None:
    targets = np.array([[1.0, NAN], [2.0, 3.0]], dtype=np.float32)
    assert Counted.of(targets, np.array([1.0, 3.0], dtype=np.float32)).of_batch(4) == pytest.approx((1 + 6) / 2 * 4)
    assert Counted.of(targets * NAN, np.ones(2, dtype=np.float32)).of_batch(4) == 4


def test_the_best_histogram_is_the_softened_target() -> None:
    taught, targets = lesson(), torch.tensor([[3.2]])
    perfect = taught.prior(targets)[None]
    other = taught.prior(torch.tensor([[6.0]]))[None]
    one = torch.ones(1)
    assert float(taught.loss_sum(perfect, targets, one)) < float(taught.loss_sum(other, targets, one))
    assert float(taught.scores(perfect)) == pytest.approx(3.2, abs=0.1)


def test_plain_scores_are_cut_to_the_scale_as_the_scorer_does() -> None:
    assert lesson("plain").scores(torch.tensor([[-1.0, 11.0]])).tolist() == [[0.0, 10.0]]


def test_a_dimension_nobody_knows_starts_uniform() -> None:
    prior = lesson().prior(torch.tensor([[NAN, 5.0]]))
    assert float(prior[0].max() - prior[0].min()) == 0
    assert float(prior[1].max() - prior[1].min()) > 1


def test_rarity_weighs_the_few_high_ones_up_and_keeps_the_mean() -> None:
    overalls = np.array([1.0] * 8 + [5.0, 9.0], dtype=np.float32)
    given = np.ones(10, dtype=np.float32)
    assert row_weights(overalls, given, 0.0).tolist() == [1.0] * 10
    weights = row_weights(overalls, given, 1.0)
    assert weights.mean() == pytest.approx(1)
    assert weights[9] / weights[0] == pytest.approx(10)
    assert weights[8] / weights[0] == pytest.approx(5)
    assert row_weights(overalls, given, 0.5)[9] / row_weights(overalls, given, 0.5)[0] == pytest.approx(10**0.5)


def test_rarity_is_bounded_and_takes_what_is_unknown_for_common() -> None:
    overalls = np.array([1.0] * 999 + [9.0], dtype=np.float32)
    weights = row_weights(overalls, np.ones(1000, dtype=np.float32), 1.0)
    assert weights[-1] / weights[0] == pytest.approx(10)
    unknown = row_weights(np.array([NAN, 1.0, 9.0], dtype=np.float32), np.ones(3, dtype=np.float32), 1.0)
    assert unknown[0] == unknown[1] < unknown[2]


def test_given_weights_count() -> None:
    weights = row_weights(np.full(3, NAN, np.float32), np.array([1, 1, 4], dtype=np.float32), 1.0)
    assert weights.tolist() == [0.5, 0.5, 2.0]


def test_the_overall_is_over_what_is_known() -> None:
    targets = np.array([[4.0, 8.0, 1.0], [NAN, 8.0, 1.0], [NAN, NAN, 1.0]], dtype=np.float32)
    found = overall(targets, np.array([0.75, 0.25, 0.0]))
    assert found[:2].tolist() == [5.0, 8.0]
    assert np.isnan(found[2])


def test_measures() -> None:
    targets = np.array([[1, 2], [2, NAN], [3, 4], [4, 6]], dtype=np.float32)
    scores = np.array([[1, 2], [2, 9], [3, 4], [4, 4]], dtype=np.float32)
    found = measure(scores, targets, np.array([1.0, 0.0]), recall_at=2)
    assert found["val_mae"] == pytest.approx(2 / 7)
    assert found["val_spearman"] == pytest.approx((1 + 0.866025) / 2, abs=1e-5)
    assert found["val_recall"] == 1
    assert measure(scores[::-1], targets, np.array([1.0, 0.0]), recall_at=2)["val_recall"] == 0


def test_measures_that_are_undefined_are_left_out() -> None:
    nothing = np.full((3, 2), NAN, dtype=np.float32)
    assert measure(np.zeros((3, 2), np.float32), nothing, np.array([0.5, 0.5]), 5) == {}
    assert measure(np.zeros((0, 2), np.float32), nothing[:0], np.array([0.5, 0.5]), 5) == {}
    same = measure(np.zeros((3, 2), np.float32), np.ones((3, 2), np.float32), np.array([0.5, 0.5]), 5)
    assert set(same) == {"val_mae", "val_recall"}


def test_constant_scores_have_no_rank_correlation() -> None:
    assert spearman(np.zeros(4, np.float32), np.arange(4, dtype=np.float32)) == 0


def test_less_error_and_more_correlation_are_better() -> None:
    assert rank_value({"val_mae": 1.0}, "mae") > rank_value({"val_mae": 2.0}, "mae")  # type: ignore[operator]
    assert rank_value({"val_spearman": 0.5}, "spearman") > rank_value({"val_spearman": 0.4}, "spearman")  # type: ignore[operator]
    worse, better = {"val_recall": 0.5, "val_mae": 2.0}, {"val_recall": 0.5, "val_mae": 1.0}
    assert rank_value(better, "recall") > rank_value(worse, "recall")  # type: ignore[operator]
    assert rank_value({"val_mae": 1.0}, "last") is None
    assert rank_value({}, "mae") is None


@pytest.mark.parametrize("bias", [True, False])
def test_ridge_finds_a_linear_map(bias: bool) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 6)).astype(np.float32)
    truth = features @ random.normal(size=(6, 2)).astype(np.float32) + (3.0 if bias else 0.0)
    rows = np.ones(200, dtype=np.float32)
    chosen = choose(fit(features, truth, rows, bias=bias), features, truth)
    assert np.abs(chosen(features) - truth).max() < 0.01
    assert bool(chosen.bias.any()) == bias


def test_ridge_on_fewer_rows_than_features_is_chosen_by_what_it_has_not_seen() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(260, 100)).astype(np.float32)
    truth = features[:, :1] * 2 + random.normal(size=(260, 1)).astype(np.float32) * 2
    truth[5] = NAN
    fits = fit(features[:60], truth[:60], np.ones(60, dtype=np.float32), bias=False)
    chosen = choose(fits, features[60:], truth[60:])
    loosest = fits[min(fits)]
    errors = [np.abs(each(features[60:]) - truth[60:]).mean() for each in (chosen, loosest)]
    assert errors[0] < errors[1]


def test_masked_sum_of_nothing_is_zero() -> None:
    assert float(masked_sum(torch.ones(2, 2), torch.full((2, 2), NAN), torch.ones(2))) == 0
