"""What someone who trains a lite student would notice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filterkit_lite.embedding import StaticEmbedding, find_embedding
from filterkit_lite.encoder import Encoder
from filterkit_lite.model import LiteModel
from filterkit_lite.trainer import LiteTrainer
from safetensors.numpy import save_file

from filterkit.api import (
    ArtifactError,
    ConfigError,
    FilterSpec,
    InputError,
    Prediction,
    Split,
    TrainedStudent,
    TrainJob,
)
from filterkit.testing.samples import fake_context, make_split, sample_articles, tiny_spec

HARD_TEXTS = [
    "",
    " ",
    "\ud800",
    "一二三四五六七八九十" * 50,
    "هذا نص قصير عن الجيران",
    "x" * 300_000,
    "\x00\x01",
    "A",
    "🎉",
]


def job(folder: Path, texts: list[str], targets: Any, weights: Any = None, seed: int = 0) -> TrainJob:
    targets = np.asarray(targets, dtype=np.float32)
    out = folder / f"out-{len(list(folder.iterdir()))}"
    out.mkdir()
    weights = np.ones(len(texts), np.float32) if weights is None else np.asarray(weights, np.float32)
    train = Split(texts, targets, weights, folder / "train.jsonl")
    return TrainJob(train, Split([], targets[:0], weights[:0], folder / "val.jsonl"), out, seed, "run")


def train(spec: FilterSpec, task: TrainJob, **options: Any) -> TrainedStudent:
    made = LiteTrainer.Options.model_validate(options)
    return LiteTrainer(made, spec, fake_context(task.out.parent)).train(task)


def score(spec: FilterSpec, folder: Path, texts: list[str]) -> Prediction:
    scorer = LiteModel(LiteModel.Options(), spec, fake_context(folder)).load(str(folder), threads=1)
    return scorer.predict(scorer.encode(texts))


def sample(spec: FilterSpec, folder: Path, n: int) -> tuple[list[str], Any]:
    split = make_split(spec, folder / "sample" / "rows.jsonl", sample_articles(n))
    return list(split.texts), split.targets


def one_dimension(**scale: float) -> FilterSpec:
    return tiny_spec(dimensions=[{"name": "help", "weight": 1}], scale=scale or {"min": 0, "max": 10})


def test_it_beats_the_constant_median(tmp_path: Path) -> None:
    spec = tiny_spec()
    texts, targets = sample(spec, tmp_path, 200)
    task = job(tmp_path, texts[:150], targets[:150])
    student = train(spec, task)
    found = score(spec, task.out, texts[150:]).scores
    error = np.abs(found - targets[150:]).mean()
    constant = np.abs(np.median(targets[:150], axis=0) - targets[150:]).mean()
    assert error < 0.7 * constant
    searched = [row["cv_mae"] for row in student.history]
    assert searched
    assert error == pytest.approx(min(searched), rel=0.35), "cross-validation promised something else"


@pytest.mark.parametrize("n", [1, 2, 3, 10])
@pytest.mark.parametrize("scale", [{"min": 0, "max": 10}, {"min": -1, "max": 1}, {"min": 1, "max": 1000}])
def test_few_labels_and_any_scale(tmp_path: Path, n: int, scale: dict[str, float]) -> None:
    spec = one_dimension(**scale)
    texts, targets = sample(spec, tmp_path, n)
    task = job(tmp_path, texts, targets)
    train(spec, task)
    found = score(spec, task.out, [*texts, *HARD_TEXTS])
    assert np.isfinite(found.scores).all()
    assert (found.scores >= scale["min"]).all()
    assert (found.scores <= scale["max"]).all()
    assert found.bins is not None
    assert found.bins[[0, -1]].tolist() == [scale["min"], scale["max"]]
    assert not found.errors


@pytest.mark.parametrize("embedding", ["wordllama", "none"])
def test_any_text_can_be_learnt_from(tmp_path: Path, embedding: str) -> None:
    spec = one_dimension()
    task = job(tmp_path, HARD_TEXTS * 3, np.tile(np.arange(len(HARD_TEXTS)), 3)[:, None])
    train(spec, task, embedding=embedding)
    assert np.isfinite(score(spec, task.out, HARD_TEXTS).scores).all()


def test_all_texts_alike(tmp_path: Path) -> None:
    spec = one_dimension()
    task = job(tmp_path, ["the same"] * 30, [[4.0]] * 20 + [[6.0]] * 10)
    train(spec, task)
    assert score(spec, task.out, ["the same"]).scores[0, 0] == pytest.approx(4, abs=0.3)


def test_constant_and_unknown_dimensions(tmp_path: Path) -> None:
    spec = tiny_spec()
    texts, targets = sample(spec, tmp_path, 60)
    targets = targets.copy()
    targets[:, 1] = 3
    targets[:, 2] = np.nan
    task = job(tmp_path, texts, targets)
    train(spec, task)
    found = score(spec, task.out, texts)
    assert found.scores[:, 1] == pytest.approx(3, abs=0.05)
    assert found.probs is not None
    np.testing.assert_allclose(found.probs[:, 2], 1 / 21, atol=1e-3, err_msg="nothing known: every score is as likely")
    np.testing.assert_allclose(found.scores[:, 2], 5, atol=0.01)


def test_nothing_known_at_all(tmp_path: Path) -> None:
    spec = one_dimension()
    task = job(tmp_path, ["a text", "and another"] * 20, np.full((40, 1), np.nan))
    train(spec, task)
    np.testing.assert_allclose(score(spec, task.out, ["a third"]).scores, 5, atol=0.01)


def test_an_unknown_target_is_as_if_its_row_were_not_there(tmp_path: Path) -> None:
    spec = one_dimension()
    texts, targets = sample(spec, tmp_path, 80)
    masked = targets.copy()
    masked[60:] = np.nan
    whole, wrong = job(tmp_path, texts, masked), job(tmp_path, texts, np.where(np.isnan(masked), 10, masked))
    for task in (whole, wrong):
        train(spec, task, search=False)
    known = np.abs(score(spec, whole.out, texts[:60]).scores - targets[:60]).mean()
    masked_error = np.abs(score(spec, whole.out, texts[60:]).scores - targets[60:]).mean()
    wrong_error = np.abs(score(spec, wrong.out, texts[60:]).scores - targets[60:]).mean()
    assert known < masked_error < wrong_error


def test_weights_count(tmp_path: Path) -> None:
    spec = one_dimension()
    texts = ["neighbours shared their bread"] * 40
    targets = [[2.0]] * 20 + [[8.0]] * 20
    low = job(tmp_path, texts, targets, weights=[9] * 20 + [1] * 20)
    high = job(tmp_path, texts, targets, weights=[1] * 20 + [9] * 20)
    for task in (low, high):
        train(spec, task)
    assert score(spec, low.out, texts[:1]).scores[0, 0] < 3
    assert score(spec, high.out, texts[:1]).scores[0, 0] > 7


def test_only_the_ratio_of_weights_counts(tmp_path: Path) -> None:
    spec = one_dimension()
    texts, targets = sample(spec, tmp_path, 40)
    weights = np.where(np.arange(40) < 10, 3, 1)
    one, other = job(tmp_path, texts, targets, weights), job(tmp_path, texts, targets, weights * 100)
    for task in (one, other):
        train(spec, task)
    np.testing.assert_allclose(score(spec, one.out, texts).scores, score(spec, other.out, texts).scores, atol=1e-3)


def test_no_article_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no article to learn from"):
        train(one_dimension(), job(tmp_path, [], np.zeros((0, 1))))


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    spec = tiny_spec()
    texts, targets = sample(spec, tmp_path, 60)
    digests = []
    for seed in (1, 1, 2):
        task = job(tmp_path, texts, targets, seed=seed)
        train(spec, task, landmarks=20)
        digests.append({p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in task.out.iterdir()})
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]
    assert set(digests[0]) == {
        "EMBEDDING-LICENSE.txt",
        "embedding.safetensors",
        "lite.json",
        "lite.safetensors",
        "tokenizer.json",
    }
    assert "Lee Miller" in (task.out / "EMBEDDING-LICENSE.txt").read_text(encoding="utf-8")


def test_landmarks_come_close_to_the_exact_answer(tmp_path: Path) -> None:
    spec = tiny_spec()
    texts, targets = sample(spec, tmp_path, 400)
    found = []
    for landmarks in (400, 150):
        task = job(tmp_path, texts[:300], targets[:300])
        train(spec, task, landmarks=landmarks, search=False)
        found.append(score(spec, task.out, texts[300:]).scores)
    errors = [np.abs(one - targets[300:]).mean() for one in found]
    assert errors[1] < 1.3 * errors[0]


def test_the_distribution_agrees_with_the_score(tmp_path: Path) -> None:
    spec = tiny_spec()
    texts, targets = sample(spec, tmp_path, 60)
    task = job(tmp_path, texts, targets)
    train(spec, task)
    found = score(spec, task.out, texts)
    assert found.probs is not None
    assert found.bins is not None
    below = (found.probs * (found.bins < found.scores[..., None] - 0.26)).sum(axis=-1, dtype=np.float32)
    above = (found.probs * (found.bins > found.scores[..., None] + 0.26)).sum(axis=-1, dtype=np.float32)
    assert below.max() <= 0.51
    assert above.max() <= 0.51


def test_rows_do_not_depend_on_their_batch(tmp_path: Path) -> None:
    spec = tiny_spec()
    texts, targets = sample(spec, tmp_path, 90)
    task = job(tmp_path, texts, targets)
    train(spec, task)
    together = score(spec, task.out, texts).scores
    for rows in (slice(0, 1), slice(3, 10), slice(5, 71)):
        np.testing.assert_array_equal(score(spec, task.out, texts[rows]).scores, together[rows])


def test_a_stop_ends_the_search(tmp_path: Path) -> None:
    spec = tiny_spec()
    texts, targets = sample(spec, tmp_path, 60)
    task = job(tmp_path, texts, targets)
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    trainer = LiteTrainer(LiteTrainer.Options(), spec, fake_context(tmp_path, stop=stop))
    with pytest.raises(Exception, match="stopped"):
        trainer.train(task)
    assert not list(task.out.iterdir())


def test_progress_is_told(tmp_path: Path) -> None:
    spec = tiny_spec()
    texts, targets = sample(spec, tmp_path, 60)
    events: list[tuple[str, dict[str, Any]]] = []
    task = job(tmp_path, texts, targets)
    val = Split(texts[:5], targets[:5], np.ones(5, np.float32), tmp_path / "val.jsonl")
    trainer = LiteTrainer(LiteTrainer.Options(), spec, fake_context(tmp_path, events=events))
    student = trainer.train(dataclasses.replace(task, val=val))
    assert {name for name, _ in events} == {"training_progress"}
    assert [values["step"] for _, values in events] == list(range(1, len(student.history) + 1))
    assert "val_mae" in student.history[-1]


class TestArtifact:
    @pytest.fixture
    def spec(self) -> FilterSpec:
        return tiny_spec()

    @pytest.fixture
    def folder(self, spec: FilterSpec, tmp_path: Path) -> Path:
        texts, targets = sample(spec, tmp_path, 30)
        task = job(tmp_path, texts, targets)
        train(spec, task, search=False)
        return task.out

    @pytest.mark.parametrize("name", ["lite.json", "lite.safetensors", "embedding.safetensors", "tokenizer.json"])
    @pytest.mark.parametrize("how", ["missing", "empty", "half", "garbage"])
    def test_damaged_files_are_refused(self, spec: FilterSpec, folder: Path, name: str, how: str) -> None:
        path = folder / name
        data = path.read_bytes()
        if how == "missing":
            path.unlink()
        else:
            path.write_bytes({"empty": b"", "half": data[: len(data) // 2], "garbage": b"\x80\x04garbage"}[how])
        with pytest.raises(ArtifactError):
            score(spec, folder, ["a text"])

    @pytest.mark.parametrize(
        ("changed", "what"),
        [
            ({"dimensions": [{"name": "help", "weight": 1}]}, "dimensions"),
            ({"scale": {"min": 0, "max": 5}}, "scale"),
            ({"input": {"student": {"max_tokens": 64}}}, "student input"),
        ],
    )
    def test_another_filter_is_refused(self, folder: Path, changed: dict[str, Any], what: str) -> None:
        with pytest.raises(ArtifactError, match=what):
            score(tiny_spec(**changed), folder, ["a text"])

    def test_a_newer_format_is_refused(self, spec: FilterSpec, folder: Path) -> None:
        about = folder / "lite.json"
        about.write_text(json.dumps({**json.loads(about.read_text()), "format": 99}))
        with pytest.raises(ArtifactError, match="format 99"):
            score(spec, folder, ["a text"])

    def test_students_share_what_they_have_in_common(self, spec: FilterSpec, folder: Path) -> None:
        model = LiteModel(LiteModel.Options(), spec, fake_context(folder))
        shared: dict[str, Any] = {}
        one, other = model.load(str(folder), shared=shared), model.load(str(folder), shared=shared)
        assert one.share_key == other.share_key
        assert len(shared) == 1
        texts = ["neighbours helped"]
        np.testing.assert_array_equal(other.predict(one.encode(texts)).scores, one.predict(other.encode(texts)).scores)

    def test_scoring_imports_no_more_than_it_needs(self, folder: Path) -> None:
        code = (
            "import sys, filterkit_lite.model, filterkit_lite.trainer\n"
            "print(sorted({'torch', 'sklearn', 'wordllama', 'requests', 'pandas'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def embedding() -> StaticEmbedding:
    return find_embedding("wordllama", Path())


class TestReading:
    def test_only_the_head_is_read(self, embedding: StaticEmbedding) -> None:
        encoder = Encoder(embedding, 32, "head")
        same = encoder.encode(["a neighbour helped " * 200, "a neighbour helped " * 200 + "and then came rain"])
        np.testing.assert_array_equal(same.vectors[0], same.vectors[1])
        assert (same.grams[0] != same.grams[1]).nnz == 0
        assert same.length[0] == same.length[1]
        tokens = embedding.tokenise(["a neighbour helped " * 200])[0]
        np.testing.assert_allclose(same.vectors[0], embedding.pool([tokens[:32]])[0], atol=1e-6)

    def test_a_text_has_the_same_tokens_in_a_batch(
        self, embedding: StaticEmbedding, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts = ["", "A bridge opened.", "人民日报", "x" * 5000, "It rained. " * 300]
        alone = embedding.tokenise(texts)
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
        assert embedding.tokenise(texts) == alone

    def test_both_ends_are_read(self, embedding: StaticEmbedding) -> None:
        middle = "nothing of note was said that day " * 300
        encoder = Encoder(embedding, 32, "head+tail")
        first = encoder.encode([f"A bridge opened. {middle} It rained.", f"A bridge opened. {middle} It snowed."])
        assert np.abs(first.vectors[0] - first.vectors[1]).max() > 1e-3
        head = Encoder(embedding, 32, "head").encode([f"A bridge opened. {middle} It rained.", f"A bridge. {middle}"])
        assert np.abs(head.vectors[0] - head.vectors[1]).max() > 1e-3

    def test_gigantic_texts_cost_little_more_than_long_ones(self, embedding: StaticEmbedding) -> None:
        encoder = Encoder(embedding, 512, "head")
        huge = encoder.encode(["word " * 2_000_000])
        assert huge.length[0] < np.log(512 * 32)

    def test_an_embedding_of_ones_own(self, embedding: StaticEmbedding, tmp_path: Path) -> None:
        folder = tmp_path / "mine"
        folder.mkdir()
        save_file({"embeddings": embedding.stored[:, :16].copy()}, folder / "model.safetensors")
        (folder / "tokenizer.json").write_text(embedding.tokenizer_json, encoding="utf-8")
        found = find_embedding("mine", tmp_path)
        assert found.size == 16
        assert found.fingerprint != embedding.fingerprint
        save_file({"embeddings": embedding.stored[:100].copy()}, folder / "model.safetensors")
        with pytest.raises(ConfigError, match="knows token"):
            find_embedding("mine", tmp_path)
        with pytest.raises(ConfigError, match="no folder"):
            find_embedding("yours", tmp_path)
