"""Models that break a promise: a scorer of each is the toy's, spoilt."""

import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catching import caught_by, expose

from filterkit.contracts import Context, Scorer
from filterkit.records import F32, Prediction
from filterkit.spec import FilterSpec
from filterkit.testing import ModelContract, make_student
from filterkit.testing.toys import ToyModel


class Spoilt(Scorer):
    """Keeps the texts beside the toy's encoding, so that variants can go wrong over either."""

    def __init__(self, toy: Scorer, model: "Broken") -> None:
        self.toy, self.model = toy, model

    def encode(self, texts: Sequence[str]) -> Any:
        return self.model.encode(list(texts))

    def predict(self, encoded: Any) -> Prediction:
        return self.model.predict(self.toy, encoded)

    def close(self) -> None:
        self.model.close_scorer()


class Broken(ToyModel):
    def load(self, ref: str, **more: Any) -> Scorer:
        return Spoilt(super().load(ref, **more), self)

    def encode(self, texts: list[str]) -> list[str]:
        return texts

    def predict(self, toy: Scorer, texts: list[str]) -> Prediction:
        good = toy.predict(toy.encode(texts))
        return Prediction(self.spoil(good.scores, texts))

    def spoil(self, scores: F32, texts: list[str]) -> F32:
        return scores

    def close_scorer(self) -> None:
        return


@caught_by("test_scores_have_their_shape")
class DoublePrecision(Broken):
    def spoil(self, scores: F32, texts: list[str]) -> F32:
        return scores.astype(np.float64)


@caught_by("test_scores_have_their_shape")
class ForgetsTheFlag(Broken):
    def spoil(self, scores: F32, texts: list[str]) -> F32:
        return scores[:, :2]


@caught_by("test_no_texts")
class NeedsAText(Broken):
    def predict(self, toy: Scorer, texts: list[str]) -> Prediction:
        assert max(len(t) for t in texts) >= 0
        return super().predict(toy, texts)


@caught_by("test_scores_lie_in_the_scale")
class RawLogits(Broken):
    def spoil(self, scores: F32, texts: list[str]) -> F32:
        return scores - 5


@caught_by("test_ordinary_texts_are_scored")
class FailsOnLongTexts(Broken):
    def predict(self, toy: Scorer, texts: list[str]) -> Prediction:
        scores = super().predict(toy, texts).scores
        failed = [i for i, text in enumerate(texts) if len(text) > 150]
        scores[failed] = np.nan
        return Prediction(scores, errors=dict.fromkeys(failed, "too long"))


@caught_by("test_other_texts_get_other_scores")
class AlwaysTheMean(Broken):
    def spoil(self, scores: F32, texts: list[str]) -> F32:
        return np.full_like(scores, 3)


@caught_by("test_failed_rows_are_exactly_the_errors")
class FailsInSilence(Broken):
    def spoil(self, scores: F32, texts: list[str]) -> F32:
        scores[[i for i, text in enumerate(texts) if not text.strip()]] = np.nan
        return scores


@caught_by("test_failed_rows_are_exactly_the_errors")
class FailsByHalf(Broken):
    def predict(self, toy: Scorer, texts: list[str]) -> Prediction:
        scores = super().predict(toy, texts).scores
        failed = [i for i, text in enumerate(texts) if not text.strip()]
        scores[failed, 0] = np.nan
        return Prediction(scores, errors=dict.fromkeys(failed, "empty"))


@caught_by("test_the_distribution_is_one")
class DistributionOfTwo(Broken):
    def predict(self, toy: Scorer, texts: list[str]) -> Prediction:
        good = toy.predict(toy.encode(texts))
        return Prediction(good.scores, bins=good.bins, probs=good.probs * 2)


@caught_by("test_the_distribution_is_one")
class BinsOnly(Broken):
    def predict(self, toy: Scorer, texts: list[str]) -> Prediction:
        good = toy.predict(toy.encode(texts))
        return Prediction(good.scores, bins=good.bins)


@caught_by("test_order_is_kept")
class SortsByLength(Broken):
    def encode(self, texts: list[str]) -> list[str]:
        return sorted(texts, key=len)


@caught_by("test_batch_mates_do_not_matter")
class NormalisesTheBatch(Broken):
    def spoil(self, scores: F32, texts: list[str]) -> F32:
        return np.clip(scores - scores.mean(axis=0) + 5, 0, 10) if len(scores) else scores


@caught_by("test_hostile_texts_spoil_no_others")
class DropsEmptyTexts(Broken):
    def encode(self, texts: list[str]) -> list[str]:
        return [text for text in texts if text.strip()]


@caught_by("test_hostile_texts_spoil_no_others")
class StumblesOverSurrogates(Broken):
    def encode(self, texts: list[str]) -> list[str]:
        return [text.encode().decode() for text in texts]


@caught_by("test_the_same_texts_again")
class DropoutLeftOn(Broken):
    def spoil(self, scores: F32, texts: list[str]) -> F32:
        return np.clip(scores + np.float32(random.random() * 1e-3), 0, 10)


@caught_by("test_loading_again_changes_nothing")
class HeadIsLost(Broken):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.head = np.float32(random.random())

    def spoil(self, scores: F32, texts: list[str]) -> F32:
        return np.clip(scores * self.head, 0, 10)


@caught_by("test_encode_may_run_in_another_thread")
class EncodesWhereItWasLoaded(Broken):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.thread = threading.get_ident()

    def encode(self, texts: list[str]) -> list[str]:
        return texts if threading.get_ident() == self.thread else texts[::-1]


@caught_by("test_a_full_batch")
class SmallerThanItSays(Broken):
    def predict(self, toy: Scorer, texts: list[str]) -> Prediction:
        if len(texts) > 40:
            raise MemoryError("out of memory")
        return super().predict(toy, texts)


@caught_by("test_a_scorer_can_be_closed_twice")
class ClosesOnce(Broken):
    closed = 0

    def close_scorer(self) -> None:
        self.closed += 1
        assert self.closed == 1


@caught_by("test_loading_changes_and_fetches_nothing")
class CachesInTheArtifact(Broken):
    def load(self, ref: str, **more: Any) -> Scorer:
        scorer = super().load(ref, **more)
        (Path(ref) / "cache.json").write_text(str(random.random()))
        return scorer


@caught_by("test_a_folder_without_a_student_is_refused")
class BareError(Broken):
    def load(self, ref: str, **more: Any) -> Scorer:
        (Path(ref) / "toy.json").read_text()
        return super().load(ref, **more)


class Suite(ModelContract):
    @pytest.fixture
    def artifact(self, tmp_path: Path, spec: FilterSpec, context: Context) -> Path:
        make_student(tmp_path / "student", spec, context)
        return tmp_path / "student"


expose(globals(), Suite)
