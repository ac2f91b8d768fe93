"""What a user sees of a training: the best epoch, stops, reruns, odd data, errors, silence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import make_checkpoint
from filterkit_qwen_lora.model import HfModel
from filterkit_qwen_lora.teaching import Learner
from filterkit_qwen_lora.trainer import QwenLoraTrainer
from launching import difference, weights
from safetensors.torch import load_file, save_file

from filterkit.api import ConfigError, InputError, StoppedEarly, TrainedStudent, TrainJob
from filterkit.pipeline.train import TrainRequest
from filterkit.testing.samples import fake_context, make_split, sample_articles, tiny_spec

SPEC = tiny_spec()
QUICK: dict[str, Any] = {
    "epochs": 2,
    "lora_r": 4,
    "learning_rate": 3e-3,
    "precision": "fp32",
    "micro_batch_tokens": 10_000,
    "checkpointing": False,
}


class Run:
    """Trainings of one job in one work folder, each into folder/out."""

    def __init__(self, folder: Path, base: Path, **options: Any) -> None:
        folder.mkdir(exist_ok=True)
        articles = sample_articles(33)
        train = make_split(SPEC, folder / "train.jsonl", articles[:24])
        val = make_split(SPEC, folder / "val.jsonl", articles[24:])
        self.folder = folder
        self.options = {"base_model": str(base), **QUICK, **options}
        self.events: list[tuple[str, dict[str, Any]]] = []
        (folder / "out").mkdir()
        self.job = TrainJob(train, val, folder / "out", 5, "run")

    def __call__(self, stop: Callable[[], bool] = lambda: False, **options: Any) -> TrainedStudent:
        context = fake_context(self.folder / "work", stop=stop, events=self.events)
        chosen = QwenLoraTrainer.Options.model_validate({**self.options, **options})
        return QwenLoraTrainer(chosen, SPEC, context).train(self.job)  # type: ignore[arg-type]

    def val_mae(self) -> float:
        """Error of the student, as filterkit's scorer gives its scores."""
        model = HfModel(HfModel.Options(), SPEC, fake_context(self.folder / "work"))  # type: ignore[arg-type]
        scorer = model.load(str(self.folder / "out"), device="cpu", threads=1)
        scores = scorer.predict(scorer.encode(self.job.val.texts)).scores
        return float(np.nanmean(np.abs(scores - self.job.val.targets)))

    @property
    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "work" / "checkpoints").glob("checkpoint-*"))


@pytest.fixture
def run(checkpoint: Callable[[str], Path], tmp_path: Path) -> Callable[..., Run]:
    return lambda name="run", family="qwen2", **options: Run(tmp_path / name, checkpoint(family), **options)


class After:
    """True from the n-th call on."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self) -> bool:
        self.calls -= 1
        return self.calls < 0


def test_equal_jobs_make_equal_students(run: Callable[..., Run]) -> None:
    one, other = run("one", lora_dropout=0.1), run("other", lora_dropout=0.1)
    assert one().history[0]["train_loss"] == other().history[0]["train_loss"]
    assert difference(one.folder, other.folder) == 0


def test_the_best_epoch_is_kept(run: Callable[..., Run]) -> None:
    training = run(epochs=6, targets="plain", learning_rate=0.05, head_learning_rate=0.05)
    student = training()
    errors = [row["val_mae"] for row in student.history]
    best = int(np.argmin(errors))
    assert best < 5, "a rate that is too high makes the last epoch not the best"
    assert student.hyperparameters["best_epoch"] == best + 1
    assert training.val_mae() == pytest.approx(errors[best], abs=1e-4)


@pytest.mark.heavy
def test_last_keeps_the_last_epoch(run: Callable[..., Run]) -> None:
    training = run(epochs=6, targets="plain", learning_rate=0.05, head_learning_rate=0.05, best="last")
    student = training()
    assert student.hyperparameters["best_epoch"] == 6
    assert training.val_mae() == pytest.approx(student.history[-1]["val_mae"], abs=1e-4)


@pytest.mark.parametrize("freeze", ["none", "encoder"])
def test_early_stopping(run: Callable[..., Run], freeze: str) -> None:
    training = run(
        epochs=30, targets="plain", learning_rate=0.05, head_learning_rate=0.3, early_stopping=2, freeze=freeze
    )
    student = training()
    assert len(student.history) < 30
    assert student.hyperparameters["best_epoch"] == len(student.history) - 2
    assert training().history == student.history or freeze == "encoder", "what has ended is not taken up again"


@pytest.mark.parametrize("targets", ["histogram", "plain"])
@pytest.mark.parametrize("freeze", [pytest.param("none", marks=pytest.mark.heavy), "encoder"])
def test_it_learns(run: Callable[..., Run], targets: str, freeze: str) -> None:
    family, epochs = ("qwen2", 10) if freeze == "none" else ("bert", 40)
    training = run(
        family=family, epochs=epochs, targets=targets, freeze=freeze, learning_rate=1e-2, head_learning_rate=1e-2
    )
    training()
    median = np.median(training.job.train.targets, axis=0)
    assert training.val_mae() < 0.9 * np.abs(training.job.val.targets - median).mean()


@pytest.mark.parametrize("freeze", ["none", "encoder"])
@pytest.mark.parametrize("val", ["no rows", pytest.param("no scores", marks=pytest.mark.heavy)])
def test_a_val_split_that_says_nothing(run: Callable[..., Run], freeze: str, val: str) -> None:
    training = run(freeze=freeze)
    split = training.job.val
    if val == "no rows":
        split = split.take(np.arange(0))
    else:
        split = dataclasses.replace(split, targets=np.full_like(split.targets, np.nan))
    training.job = dataclasses.replace(training.job, val=split)
    student = training(epochs=2)
    assert [set(row) for row in student.history] == [
        {"epoch", "train_loss", "learning_rate", "examples_per_s", "seconds"}
    ] * 2
    assert student.hyperparameters["best_epoch"] == 2


def test_the_history(run: Callable[..., Run]) -> None:
    training = run(report_to=())
    history = training().history
    assert [row["epoch"] for row in history] == [1, 2]
    for row in history:
        assert {"train_loss", "val_loss", "val_mae", "val_spearman", "val_recall", "learning_rate"} <= set(row)
        assert all(np.isfinite(value) for value in row.values())
    told = [values for name, values in training.events if name == "training_progress"]
    assert [event["val_mae"] for event in told if "val_mae" in event] == [row["val_mae"] for row in history]
    assert told[-1]["step"] == told[-1]["steps"] == 6


@pytest.mark.parametrize(
    "calls", [pytest.param(0, marks=pytest.mark.heavy), 2, pytest.param(4, marks=pytest.mark.heavy)]
)
def test_stopped_and_started_again(run: Callable[..., Run], calls: int) -> None:
    unbroken, stopped = run("unbroken", lora_dropout=0.1), run("stopped", lora_dropout=0.1)
    unbroken()
    with pytest.raises(StoppedEarly, match="same command") as caught:
        stopped(stop=After(calls))
    assert caught.value.exit_code == 4
    kept = {0: [], 2: ["checkpoint-2"], 4: ["checkpoint-3", "checkpoint-4"]}
    assert stopped.checkpoints == kept[calls], "the best epoch's and the last"
    stopped()
    assert difference(unbroken.folder, stopped.folder) == 0


def test_a_stopped_embedding_goes_on(run: Callable[..., Run]) -> None:
    training = run(freeze="encoder")
    with pytest.raises(StoppedEarly):
        training(stop=After(2))
    kept = {path: path.stat().st_mtime_ns for path in (training.folder / "work" / "embeddings").iterdir()}
    assert kept
    training()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "nothing is embedded twice"


def test_embeddings_that_cannot_be_read_are_made_again(run: Callable[..., Run]) -> None:
    training = run(freeze="encoder")
    training()
    expected = weights(training.folder)
    for path in (training.folder / "work" / "embeddings").iterdir():
        path.write_bytes(b"half a fil")
    training()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(training.folder).items())


@pytest.mark.parametrize(
    "other", [pytest.param("options", marks=pytest.mark.heavy), "data", pytest.param("base", marks=pytest.mark.heavy)]
)
def test_checkpoints_of_another_job_are_not_used(run: Callable[..., Run], tmp_path: Path, other: str) -> None:
    clean, used = run("clean"), run("used")
    with pytest.raises(StoppedEarly):
        used(stop=After(4))
    for training in (clean, used):
        if other == "options":
            training.options["learning_rate"] = 1e-3
        elif other == "base":
            training.options["base_model"] = str(make_checkpoint(tmp_path / "other base", "qwen2", seed=1))
        else:
            training.job = dataclasses.replace(training.job, train=training.job.train.take(np.arange(20)))
        training()
    assert difference(clean.folder, used.folder) == 0


def test_too_little_memory_halves_the_micro_batches(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    enough, little = run("enough"), run("little")
    enough()
    forward = Learner.forward

    def small(self: Learner, ids: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        loss = forward(self, ids, *others)
        if len(ids) > 2:
            (loss * 3).backward()  # as if it failed on the way back
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss

    monkeypatch.setattr(Learner, "forward", small)
    student = little()
    assert student.hyperparameters["micro_batch_tokens"] < 400
    assert difference(enough.folder, little.folder) < 1e-4


def test_no_memory_for_one_article(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Learner, *given: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Learner, "forward", never)
    with pytest.raises(ConfigError, match=r"memory.*checkpointing"):
        run()()


@pytest.mark.parametrize("targets", ["histogram", "plain"])
def test_a_base_that_gives_no_numbers_is_told(tmp_path: Path, targets: str) -> None:
    base = make_checkpoint(tmp_path / "base", "qwen2")
    tensors = load_file(base / "model.safetensors")
    next(iter(tensors.values())).fill_(float("nan"))
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"no .*number.*lower learning_rate"):
        Run(tmp_path / "run", base, targets=targets)()


def test_odd_data(run: Callable[..., Run]) -> None:
    training = run()
    whole = training.job
    nothing_known = dataclasses.replace(whole.train, targets=np.full_like(whole.train.targets, np.nan))
    for train, said in ((whole.train.take(np.arange(0)), "no article"), (nothing_known, "known score")):
        training.job = dataclasses.replace(whole, train=train)
        with pytest.raises(InputError, match=said):
            training()
    training.job = dataclasses.replace(whole, train=whole.train.take(np.arange(1)))
    assert training().history


def test_a_tracker_that_is_missing_is_told_before_any_work(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    training = run(report_to=["trackio"])
    with pytest.raises(ConfigError, match="pip install trackio"):
        training()
    assert not (training.folder / "work").exists()


def test_nothing_is_printed(run: Callable[..., Run], capfd: pytest.CaptureFixture[str]) -> None:
    run()()
    assert capfd.readouterr() == ("", "")


def test_what_is_told_holds_no_folder_of_this_machine(run: Callable[..., Run]) -> None:
    training = run()
    student = training()
    assert str(training.folder.parent) not in student.model_dump_json()
    assert (student.base_model, student.hyperparameters["base_model"]) == ("qwen2", "qwen2")


def test_the_plan_needs_no_weights(run: Callable[..., Run]) -> None:
    training = run()
    context = fake_context(training.folder / "work")
    chosen = QwenLoraTrainer.Options.model_validate(training.options)
    plan = QwenLoraTrainer(chosen, SPEC, context).plan(None)  # type: ignore[arg-type]
    student = training()
    assert plan["trainable_parameters"] == student.trainable
    assert plan["backbone_parameters"] + plan["head_parameters"] == student.total  # type: ignore[operator]


def test_a_training_goes_on_however_its_batches_are_taken(run: Callable[..., Run]) -> None:
    unbroken, changed = run("unbroken"), run("changed")
    unbroken()
    with pytest.raises(StoppedEarly):
        changed(stop=After(4))
    changed.events.clear()
    student = changed(checkpointing=True, micro_batch_tokens=200)
    assert student.hyperparameters["checkpointing"]
    assert min(values["step"] for _, values in changed.events) > 4, "it did not begin anew"
    assert difference(unbroken.folder, changed.folder) < 1e-4


def test_options_that_change_nothing_make_no_other_training() -> None:
    def run_id(**options: Any) -> str:
        return TrainRequest("qwen-lora", {"base_model": "b", **options}).run_id("data")

    assert run_id(gpu_memory="16GB", checkpointing=True, report_to=["wandb"], checkpoint_minutes=1) == run_id()
    assert run_id(epochs=4) != run_id()


def test_what_may_not_fit_is_told_before_it_is_tried(run: Callable[..., Run]) -> None:
    with pytest.warns(UserWarning, match="may not fit a GPU of 1MB"):
        run(micro_batch_tokens=None, checkpointing=None, gpu_memory="1MB")()
