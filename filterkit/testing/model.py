"""The contract suites of models and embedders."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from filterkit.contracts import Embedder, Model, Scorer
from filterkit.errors import FilterkitError
from filterkit.prompt import student_text
from filterkit.records import F32, Article, Prediction
from filterkit.spec import FilterSpec
from filterkit.testing.base import BackendContract, no_network, same_bytes
from filterkit.testing.samples import HOSTILE_TEXTS


class ModelContract(BackendContract):
    """Supply `backend` and `artifact`: the folder (or, for a remote model, the URL) of a student of `spec`."""

    kind = Model
    tolerance: ClassVar[float] = 0.002
    """How far, as a share of the scale, a score may move with the batch it stands in (kernels round differently)."""

    @pytest.fixture
    def artifact(self) -> str | Path:
        """Where a student of this format lies."""
        raise NotImplementedError("supply the fixture `artifact`: the folder of a student of this format")

    @pytest.fixture
    def texts(self, spec: FilterSpec, articles: list[Article]) -> list[str]:
        """What a scorer is given."""
        return [student_text(spec, article) for article in articles]

    @pytest.fixture
    def scorer(self, make: Callable[..., Any], artifact: str | Path) -> Iterator[Scorer]:
        """A loaded student."""
        loaded = make().load(str(artifact), device="cpu", threads=1)
        yield loaded
        loaded.close()

    def predict(self, scorer: Scorer, texts: Sequence[str]) -> Prediction:
        """Predictions for texts in one call."""
        return scorer.predict(scorer.encode(texts))

    def close_to(self, scores: F32, expected: F32, spec: FilterSpec, why: str) -> None:
        """Compare scores within the tolerance; NaN equals NaN."""
        assert scores.shape == expected.shape, f"{why}: {scores.shape} instead of {expected.shape}"
        far = self.tolerance * (spec.scale.max - spec.scale.min)
        assert np.allclose(scores, expected, atol=far, rtol=0, equal_nan=True), why

    def test_scores_have_their_shape(self, scorer: Scorer, spec: FilterSpec, texts: list[str]) -> None:
        scores = self.predict(scorer, texts).scores
        assert scores.shape == (len(texts), len(spec.names))
        assert scores.dtype == np.float32, f"scores are {scores.dtype}, not float32"

    def test_no_texts(self, scorer: Scorer, spec: FilterSpec) -> None:
        prediction = self.predict(scorer, [])
        assert prediction.scores.shape == (0, len(spec.names))
        assert not prediction.errors

    def test_scores_lie_in_the_scale(self, scorer: Scorer, spec: FilterSpec, texts: list[str]) -> None:
        scores = self.predict(scorer, [*texts, *HOSTILE_TEXTS]).scores
        inside = np.isnan(scores) | ((scores >= spec.scale.min) & (scores <= spec.scale.max))
        assert inside.all(), f"a score lies outside of the scale: {scores[~inside][:3]}"

    def test_ordinary_texts_are_scored(self, scorer: Scorer, texts: list[str]) -> None:
        assert np.isfinite(self.predict(scorer, texts).scores).all()

    def test_other_texts_get_other_scores(self, scorer: Scorer, texts: list[str]) -> None:
        scores = self.predict(scorer, texts).scores
        assert np.ptp(scores, axis=0).max() > 0, "every text got the same scores"

    def test_failed_rows_are_exactly_the_errors(self, scorer: Scorer, texts: list[str]) -> None:
        prediction = self.predict(scorer, [*texts, *HOSTILE_TEXTS])
        failed = set(np.flatnonzero(np.isnan(prediction.scores).any(axis=1)).tolist())
        assert failed == set(prediction.errors), "errors must name exactly the rows that are NaN"
        assert np.isnan(prediction.scores[sorted(failed)]).all(), "a failed row is NaN in every dimension"
        assert all(why.strip() for why in prediction.errors.values()), "an error needs a reason"

    def test_the_distribution_is_one(self, scorer: Scorer, spec: FilterSpec, texts: list[str]) -> None:
        prediction = self.predict(scorer, texts)
        bins, probs = prediction.bins, prediction.probs
        assert (bins is None) == (probs is None), "bins and probs come together"
        if bins is None or probs is None:
            pytest.skip("it knows no distribution")
        assert bins.ndim == 1
        assert (np.diff(bins) > 0).all(), "bins must rise"
        assert probs.shape == (len(texts), len(spec.names), len(bins))
        assert (probs >= 0).all()
        sums = probs.astype(np.float64).sum(axis=-1)
        assert np.allclose(sums, 1, atol=0.01), f"probs sum to {sums.min():.3f} … {sums.max():.3f}, not to 1"

    def test_order_is_kept(self, scorer: Scorer, spec: FilterSpec, texts: list[str]) -> None:
        straight, turned = self.predict(scorer, texts).scores, self.predict(scorer, texts[::-1]).scores
        self.close_to(turned, straight[::-1], spec, "turned round, texts get other scores")

    def test_batch_mates_do_not_matter(self, scorer: Scorer, spec: FilterSpec, texts: list[str]) -> None:
        mixed = [*texts, "one", "a much longer one " * 200]
        together = self.predict(scorer, mixed).scores
        alone = np.concatenate([self.predict(scorer, [text]).scores for text in mixed])
        self.close_to(together, alone, spec, "in a batch, a text gets other scores than alone")

    def test_hostile_texts_spoil_no_others(self, scorer: Scorer, spec: FilterSpec, texts: list[str]) -> None:
        clean = self.predict(scorer, texts).scores
        for hostile in HOSTILE_TEXTS:
            beside = self.predict(scorer, [texts[0], hostile, *texts[1:]]).scores
            assert len(beside) == len(texts) + 1
            self.close_to(np.delete(beside, 1, axis=0), clean, spec, f"beside {hostile[:30]!r}, texts get other scores")

    def test_the_same_texts_again(self, scorer: Scorer, texts: list[str]) -> None:
        first, second = self.predict(scorer, texts), self.predict(scorer, texts)
        np.testing.assert_array_equal(first.scores, second.scores)

    def test_loading_again_changes_nothing(
        self, make: Callable[..., Any], artifact: str | Path, scorer: Scorer, spec: FilterSpec, texts: list[str]
    ) -> None:
        again = make().load(str(artifact), device="cpu", threads=1, shared={})
        self.close_to(self.predict(again, texts).scores, self.predict(scorer, texts).scores, spec, "loaded again")
        again.close()

    def test_encode_may_run_in_another_thread(self, scorer: Scorer, spec: FilterSpec, texts: list[str]) -> None:
        here = self.predict(scorer, texts).scores
        encoded: list[Any] = []
        thread = threading.Thread(target=lambda: encoded.append(scorer.encode(texts)))
        thread.start()
        thread.join(60)
        assert encoded, "encode failed in another thread"
        self.close_to(scorer.predict(encoded[0]).scores, here, spec, "encoded in another thread")

    def test_a_full_batch(self, scorer: Scorer, texts: list[str]) -> None:
        assert isinstance(scorer.max_batch, int)
        assert scorer.max_batch >= 1
        full = (texts * (scorer.max_batch // len(texts) + 1))[: min(scorer.max_batch, 512)]
        assert len(self.predict(scorer, full).scores) == len(full)

    def test_a_scorer_can_be_closed_twice(self, make: Callable[..., Any], artifact: str | Path) -> None:
        scorer = make().load(str(artifact), device="cpu")
        scorer.close()
        scorer.close()

    def test_loading_changes_and_fetches_nothing(
        self, backend: type[Model[Any]], make: Callable[..., Any], artifact: str | Path, texts: list[str]
    ) -> None:
        if backend.remote:
            pytest.skip("it is remote")
        before = same_bytes(Path(artifact))
        with no_network("loading and scoring"):
            scorer = make().load(str(artifact), device="cpu")
            self.predict(scorer, texts)
            scorer.close()
        assert same_bytes(Path(artifact)) == before, "the artifact's files were changed"

    def test_a_folder_without_a_student_is_refused(
        self, backend: type[Model[Any]], make: Callable[..., Any], tmp_path: Path
    ) -> None:
        if backend.remote:
            pytest.skip("it is remote")
        empty = tmp_path / "empty"
        empty.mkdir()
        with pytest.raises(FilterkitError):
            make().load(str(empty), device="cpu")


class EmbedderContract(BackendContract):
    """Texts to vectors of unit length."""

    kind = Embedder
    tolerance: ClassVar[float] = 1e-3
    """How far a vector's entries may move with the batch the text stands in."""

    @pytest.fixture
    def texts(self, articles: list[Article]) -> list[str]:
        """Ordinary texts, all different."""
        return [article.text for article in articles]

    def test_rows_have_unit_length(self, make: Callable[..., Any], texts: list[str]) -> None:
        vectors = make().embed(texts)
        assert vectors.ndim == 2
        assert len(vectors) == len(texts)
        assert vectors.dtype == np.float32, f"vectors are {vectors.dtype}, not float32"
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3), "a row is not of unit length"

    def test_no_texts(self, make: Callable[..., Any], texts: list[str]) -> None:
        one = make()
        assert one.embed([]).shape == (0, one.embed(texts).shape[1])

    def test_any_text_has_a_vector(self, make: Callable[..., Any]) -> None:
        vectors = make().embed(list(HOSTILE_TEXTS))
        assert np.isfinite(vectors).all()
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3), "an odd text's row is not of unit length"

    def test_other_texts_do_not_matter(self, make: Callable[..., Any], texts: list[str]) -> None:
        one = make()
        together = one.embed(texts)
        alone = np.concatenate([one.embed([text]) for text in texts])
        assert np.allclose(together, alone, atol=self.tolerance), "in a batch, a text gets another vector than alone"
        assert np.allclose(one.embed(texts[::-1]), together[::-1], atol=self.tolerance), "turned round, vectors differ"

    def test_different_texts_differ(self, make: Callable[..., Any], texts: list[str]) -> None:
        vectors = make().embed(texts)
        assert np.abs(vectors - vectors[0]).max() > 0, "every text got the same vector"

    def test_the_same_text_again(self, make: Callable[..., Any], texts: list[str]) -> None:
        one = make()
        np.testing.assert_array_equal(one.embed(texts), one.embed(texts))

    def test_the_fingerprint_stands_for_the_vectors(self, make: Callable[..., Any], texts: list[str]) -> None:
        one, other = make(), make()
        before = one.fingerprint
        assert isinstance(before, str)
        assert before.strip(), "the fingerprint is empty"
        vectors = one.embed(texts)
        assert one.fingerprint == before, "the fingerprint changed with use"
        assert other.fingerprint == before, "another instance with the same options has another fingerprint"
        assert np.allclose(other.embed(texts), vectors, atol=self.tolerance), "one fingerprint, two vectors"
