"""The arithmetic inside lite, against slow and plain ways to the same numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from filterkit_lite import ngrams, ridge
from filterkit_lite.features import NgramSpace, Projector
from filterkit_lite.histogram import centres, distributions, medians, soften

BINS = centres(0, 10, 21)
HALF = np.array([0.0], dtype=np.float32)


def rows(n: int) -> tuple[Any, Any, Any]:
    """Rows [n, 4], a kernel between them [n, n], targets [n, 2, 1]."""
    random = np.random.default_rng(3)
    x = random.standard_normal((n, 4)).astype(np.float32)
    targets = np.stack([x[:, 0] + x[:, 1] ** 2, np.sin(x[:, 2])], axis=1) + 0.1 * random.standard_normal((n, 2))
    return x, np.exp(-0.2 * ridge.squared_distances(x, x).astype(np.float64)), targets[..., None].astype(np.float32)


class TestHistogram:
    def test_the_median_of_a_softened_target_is_the_target(self) -> None:
        targets = np.linspace(1, 9, 33, dtype=np.float32)
        np.testing.assert_allclose(medians(soften(targets, BINS, 0.6), BINS), targets, atol=0.02)

    @pytest.mark.parametrize("width", [1e-3, 0.4, 50.0])
    def test_any_width_makes_a_histogram(self, width: float) -> None:
        soft = soften(np.array([0, 0.25, 3.3, 10], dtype=np.float32), BINS, width)
        np.testing.assert_allclose(soft.sum(axis=-1), 1, atol=1e-5)
        assert (soft >= 0).all()

    def test_what_is_no_distribution_becomes_one(self) -> None:
        raw = np.random.default_rng(0).normal(0.05, 0.5, (50, 3, 21))
        found = distributions(raw)
        assert (found >= 0).all()
        np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)

    def test_a_distribution_stays_what_it_is(self) -> None:
        proper = np.random.default_rng(0).dirichlet(np.ones(21), 20).astype(np.float32)
        np.testing.assert_allclose(distributions(proper), proper, atol=1e-5)


class TestRidge:
    def test_a_kernel_that_rounding_made_indefinite(self) -> None:
        _, kernel, targets = rows(40)
        values, vectors = np.linalg.eigh(kernel)
        values[0] = -0.01
        bent = (vectors * values) @ vectors.T
        known, weights = np.ones((40, 2), dtype=np.bool_), np.ones(40, dtype=np.float32)
        fitted, _ = ridge.fit(lambda piece: bent[piece], bent, targets, known, weights, 0.1, HALF)
        assert np.isfinite(fitted.alpha).all()

    def test_with_all_rows_as_landmarks_it_is_kernel_ridge(self) -> None:
        _, kernel, targets = rows(60)
        fitted, _ = ridge.fit(
            lambda piece: kernel[piece], kernel, targets, np.ones((60, 2), np.bool_), np.ones(60, np.float32), 0.3, HALF
        )
        mean = targets[..., 0].mean(axis=0)
        plain = kernel @ np.linalg.solve(kernel + 0.3 * np.eye(60), targets[..., 0] - mean) + mean
        np.testing.assert_allclose(fitted(kernel)[..., 0], plain, atol=2e-3)

    def test_answers_left_out_are_those_of_fits_without_the_row(self) -> None:
        _, kernel, targets = rows(40)
        known = np.ones((40, 2), np.bool_)
        known[::4, 1] = False

        def fit(mask: Any, left_out: bool) -> Any:
            return ridge.fit(
                lambda piece: kernel[piece],
                kernel,
                targets,
                mask,
                np.ones(40, np.float32),
                0.3,
                HALF,
                left_out=left_out,
            )

        fitted, quick = fit(known, True)
        slow = np.zeros_like(targets)
        for row in range(40):
            without = known.copy()
            without[row] = False
            slow[row] = fit(without, False)[0](kernel[row : row + 1])
        # not exactly: the closed form keeps the mean that the row had a part in
        assert np.abs(quick - slow).mean() < 0.2 * np.abs(fitted(kernel) - slow)[known].mean()

    def test_a_weight_of_three_is_three_rows(self) -> None:
        _, kernel, targets = rows(30)
        thrice = np.concatenate([np.arange(30), np.arange(10), np.arange(10)])
        weights = np.where(np.arange(30) < 10, 3, 1).astype(np.float32)
        known = np.ones((50, 2), np.bool_)
        # the penalty stands beside weights of mean 1
        one, _ = ridge.fit(lambda p: kernel[p], kernel, targets, known[:30], weights, 0.3 * 30 / 50, HALF)
        other, _ = ridge.fit(
            lambda p: kernel[thrice][p], kernel, targets[thrice], known, np.ones(50, np.float32), 0.3, HALF
        )
        np.testing.assert_allclose(one(kernel), other(kernel), atol=1e-3)

    def test_pieces_add_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _, kernel, targets = rows(50)
        arguments = (kernel, targets, np.ones((50, 2), np.bool_), np.ones(50, np.float32), 0.3, HALF)
        whole = ridge.fit(lambda piece: kernel[piece], *arguments, left_out=True)
        monkeypatch.setattr(ridge, "PIECE", 7)
        pieces = ridge.fit(lambda piece: kernel[piece], *arguments, left_out=True)
        np.testing.assert_allclose(pieces[0](kernel), whole[0](kernel), atol=1e-4)
        np.testing.assert_allclose(pieces[1], whole[1], atol=1e-4)


class TestNgrams:
    TEXTS = ["The bridge opened on Tuesday", "De brug ging open", "大桥今天开放了 新闻", "a b", "", "  ", "ß ẞ"]

    def test_counts_are_those_of_a_plain_loop(self) -> None:
        found = ngrams.count([*self.TEXTS, "banana banana"])
        for row, text in enumerate([*self.TEXTS, "banana banana"]):
            grams: Counter[str] = Counter()
            for word in text.split():
                padded = f" {word} "
                grams.update(padded[i : i + n] for n in (3, 4, 5) for i in range(len(padded) - n + 1))
            assert sorted(found[row].data) == sorted(grams.values())

    def test_rows_do_not_run_into_each_other(self) -> None:
        together = ngrams.count(self.TEXTS)
        for row, text in enumerate(self.TEXTS):
            assert (together[row] != ngrams.count([text])[0]).nnz == 0

    def test_no_texts(self) -> None:
        assert ngrams.count([]).shape == (0, ngrams.BUCKETS)

    def test_texts_alike_are_near(self) -> None:
        texts = [f"{noun} {verb} today" for noun in ("bridges", "schools", "rivers") for verb in ("open", "close")] * 3
        space = NgramSpace.fit(ngrams.count(texts), vocabulary=1000, components=8, seed=0)
        found = Projector(space)(ngrams.count(["bridges open", "bridges opened", "rivers close"]))
        near = found @ found.T
        assert near[0, 1] > near[0, 2]
