"""Model `hf-sequence-classification` keeps the contract of models, and runs a student well."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from filterkit_qwen_lora.artifact import load_student
from filterkit_qwen_lora.model import HfModel, HfScorer, inner_batches, pick_device
from students import make_student, small_spec

from filterkit.api import ConfigError, FilterSpec
from filterkit.testing import ModelContract
from filterkit.testing.samples import fake_context, sample_articles

SPEC = small_spec()
TEXTS = [article.text for article in sample_articles(8)]


@pytest.fixture(scope="module")
def artifact_of(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Family -> a student of it, made once."""

    @cache
    def find(family: str, histogram: bool) -> Path:
        return make_student(tmp_path_factory.mktemp(family), checkpoint(family), SPEC, histogram=histogram)

    return find


class Contract(ModelContract):
    family: ClassVar[str]
    histogram: ClassVar[bool] = True

    @pytest.fixture
    def backend(self) -> type[HfModel]:
        return HfModel

    @pytest.fixture
    def spec(self) -> FilterSpec:
        return SPEC

    @pytest.fixture
    def artifact(self, artifact_of: Callable[..., Path]) -> Path:
        return artifact_of(self.family, self.histogram)


class TestDecoder(Contract):
    family = "qwen2"


class TestEncoderWithoutHistogram(Contract):
    family = "modernbert"
    histogram = False


@pytest.mark.heavy
class TestEncoderDecoder(Contract):
    family = "t5"


@pytest.fixture
def student(artifact_of: Callable[..., Path]) -> Path:
    return artifact_of("llama", True)


@pytest.fixture
def load(student: Path, tmp_path: Path) -> Callable[..., HfScorer]:
    def build(shared: dict[str, Any] | None = None, folder: Path = student, **options: Any) -> HfScorer:
        model = HfModel(HfModel.Options.model_validate(options), SPEC, fake_context(tmp_path))
        return model.load(str(folder), device="cpu", threads=1, shared=shared)

    return build


def test_the_better_head_answers_unless_asked_otherwise(load: Callable[..., HfScorer]) -> None:
    best, plain = load(), load(head="plain")
    with_bins, without = best.predict(best.encode(TEXTS)), plain.predict(plain.encode(TEXTS))
    assert with_bins.bins is not None
    assert with_bins.probs is not None
    assert with_bins.probs.dtype == np.float16
    assert without.bins is None
    assert not np.allclose(with_bins.scores, without.scores)
    # a median: half of the mass lies at or below its bin
    below = (with_bins.probs * (with_bins.bins <= with_bins.scores[..., None] + 0.25)).sum(axis=-1)
    assert (below >= 0.45).all()


def test_plain_scores_of_a_student_without_histogram_stay_in_the_scale(
    load: Callable[..., HfScorer], checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = make_student(tmp_path / "a", checkpoint("llama"), SPEC, histogram=False)
    raw, bounded = load(folder=folder, head="plain"), load(folder=folder)
    as_it_is = raw.predict(raw.encode(TEXTS)).scores
    assert as_it_is.min() < 0, "the test needs a score outside of the scale"
    np.testing.assert_array_equal(bounded.predict(bounded.encode(TEXTS)).scores, as_it_is.clip(0, 10))


@pytest.mark.parametrize("options", [{}, {"head": "plain"}])
def test_a_row_that_is_not_finite_is_an_error_and_spoils_no_other(
    options: dict[str, Any], load: Callable[..., HfScorer]
) -> None:
    scorer = load(**options)
    clean = scorer.predict(scorer.encode(TEXTS)).scores
    rows = scorer.encode([*TEXTS[:3], "zzz", *TEXTS[3:]])
    poisoned = int(rows[3][-1])
    assert not any(poisoned in row for i, row in enumerate(rows) if i != 3)
    embedding = scorer._loaded.network.transformer.get_input_embeddings()
    embedding.weight[poisoned] = torch.inf
    prediction = scorer.predict(rows)
    assert set(prediction.errors) == {3}
    assert np.isnan(prediction.scores[3]).all()
    np.testing.assert_allclose(np.delete(prediction.scores, 3, axis=0), clean, atol=1e-4)
    if prediction.probs is not None:
        assert np.allclose(prediction.probs.astype(float).sum(axis=-1), 1, atol=0.01)


def test_a_row_of_which_one_dimension_failed_has_no_scores(load: Callable[..., HfScorer]) -> None:
    scorer = load(head="plain")
    scorer._loaded.network.head.weight[1] = torch.nan
    prediction = scorer.predict(scorer.encode(TEXTS))
    assert set(prediction.errors) == set(range(len(TEXTS)))
    assert np.isnan(prediction.scores).all()


def test_filters_that_share_a_folder_share_its_weights(load: Callable[..., HfScorer]) -> None:
    shared: dict[str, Any] = {}
    one, other = load(shared), load(shared)
    assert one._loaded is other._loaded
    one.close()
    assert np.isfinite(other.predict(other.encode(TEXTS)).scores).all()
    assert load(shared, precision="bf16")._loaded is not other._loaded


def test_the_precision_asked_for_is_computed_in(load: Callable[..., HfScorer]) -> None:
    full, half = load(), load(precision="bf16")
    assert half._loaded.network.transformer.dtype == torch.bfloat16
    exact, rounded = full.predict(full.encode(TEXTS)).scores, half.predict(half.encode(TEXTS)).scores
    assert rounded.dtype == np.float32
    assert 0 < np.abs(exact - rounded).max() < 0.5


def test_too_little_memory_halves_the_batch(load: Callable[..., HfScorer], monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = load()
    clean = scorer.predict(scorer.encode(TEXTS)).scores
    forward, sizes = HfScorer._forward, []

    def tight(self: HfScorer, rows: list[Any]) -> Any:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError
        return forward(self, rows)

    monkeypatch.setattr(HfScorer, "_forward", tight)
    np.testing.assert_allclose(scorer.predict(scorer.encode(TEXTS)).scores, clean, atol=1e-4)
    assert max(sizes) > 2, "nothing was too big"
    sizes.clear()
    scorer.predict(scorer.encode(TEXTS))
    assert max(sizes) < len(TEXTS), "it should have learnt from it"


def test_threads_are_given_back(load: Callable[..., HfScorer]) -> None:
    before = torch.get_num_threads()
    scorer = load()
    scorer.predict(scorer.encode(TEXTS))
    assert torch.get_num_threads() == before


def test_a_device_that_is_not_there_is_one_line() -> None:
    assert pick_device("cpu") == "cpu"
    for name in ("cuda:7", "toaster"):
        with pytest.raises(ConfigError, match="device"):
            pick_device(name)


def test_inner_batches_hold_every_row_once_and_little_padding() -> None:
    lengths = [5, 100, 7, 90, 3, 1000, 8]
    groups = list(inner_batches(lengths, 200))
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    assert all(len(group) == 1 or len(group) * max(lengths[i] for i in group) <= 200 for group in groups)
    assert [5] in groups, "a row longer than the bound goes alone"
    assert list(inner_batches([], 10)) == []


def test_both_ends_are_read_where_the_filter_says_so(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    spec = small_spec(input={"student": {"max_tokens": 64, "keep": "head+tail"}})
    loaded = load_student(make_student(tmp_path / "a", checkpoint("bert"), spec), spec)
    start, end = "the road " * 200, "the market " * 200
    one, other = loaded.reader.encode([start + end, start + start])
    assert not np.array_equal(one, other)
