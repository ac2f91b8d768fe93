"""The contract suite of trainers."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from filterkit.contracts import Context, Model, Trainer, TrainJob
from filterkit.errors import StoppedEarly
from filterkit.manifest import OWN_FILES, UNSAFE_SUFFIXES
from filterkit.plugins import plugins
from filterkit.records import F32, TrainedStudent
from filterkit.spec import FilterSpec
from filterkit.testing.base import BackendContract, opened_files, same_bytes
from filterkit.testing.samples import fake_context, make_split, sample_articles


class TrainerContract(BackendContract):
    """Trains on a few dozen invented articles. Override `options` with the quickest settings your trainer has.

    The student is loaded through the registered model of its format; override `model` where it is not installed.
    """

    kind = Trainer
    rows: ClassVar[int] = 40
    tolerance: ClassVar[float] = 0.01
    """How far, as a share of the scale, scores may differ between two trainings with one seed."""

    @pytest.fixture
    def job(self, spec: FilterSpec, tmp_path: Path) -> TrainJob:
        """A training job; test.jsonl lies beside its data, and is none of the trainer's business."""
        articles = sample_articles(self.rows + 20)
        train = make_split(spec, tmp_path / "data" / "train.jsonl", articles[: self.rows])
        val = make_split(spec, tmp_path / "data" / "val.jsonl", articles[self.rows : -10])
        make_split(spec, tmp_path / "data" / "test.jsonl", articles[-10:])
        out = tmp_path / "out"
        out.mkdir()
        return TrainJob(train, val, out, seed=7, run_id="contract")

    @pytest.fixture
    def model(self, spec: FilterSpec, context: Context) -> Callable[[str], Model[Any]]:
        """Format -> the model that reads it."""

        def find(name: str) -> Model[Any]:
            found = plugins().load("model", name)
            assert issubclass(found, Model)
            return found(found.Options.model_validate({}), spec, context)

        return find

    @pytest.fixture
    def scores(self, model: Callable[[str], Model[Any]], job: TrainJob) -> Callable[[TrainedStudent, Path], F32]:
        """What a student says of the validation texts."""

        def predict(student: TrainedStudent, out: Path) -> F32:
            scorer = model(student.format).load(str(out), device="cpu", threads=1)
            try:
                step = scorer.max_batch
                parts = [job.val.texts[i : i + step] for i in range(0, len(job.val.texts), step)]
                return np.concatenate([scorer.predict(scorer.encode(part)).scores for part in parts])
            finally:
                scorer.close()

        return predict

    def elsewhere(self, job: TrainJob, name: str) -> TrainJob:
        """The same job into another folder."""
        out = job.out.parent / name
        out.mkdir()
        return dataclasses.replace(job, out=out)

    def test_it_says_what_it_produces(self, backend: type[Trainer[Any]]) -> None:
        assert isinstance(backend.produces, tuple)
        assert backend.produces, "produces names the model kinds whose artifacts it makes"

    def test_it_says_whether_processes_train_together(self, backend: type[Trainer[Any]]) -> None:
        assert isinstance(backend.distributed, bool), "distributed is True or False, and the class says it"

    def test_a_plan_is_numbers(self, make: Callable[..., Any], job: TrainJob, context: Context) -> None:
        before = same_bytes(context.workdir) if context.workdir.is_dir() else {}
        for plan in (make().plan(None), make().plan(job)):
            for name, value in plan.items():
                assert isinstance(name, str), plan
                told = bool(value) if isinstance(value, str) else math.isfinite(value) and value >= 0
                assert told, f"{name} is {value!r}: a plan is finite numbers that are not negative, and words"
        assert not list(job.out.iterdir()), "plan() must not begin to train"
        after = same_bytes(context.workdir) if context.workdir.is_dir() else {}
        assert after == before, "plan() writes nothing, not even into its work folder"

    def test_it_leaves_a_student(
        self,
        make: Callable[..., Any],
        backend: type[Trainer[Any]],
        job: TrainJob,
        scores: Callable[..., F32],
        spec: FilterSpec,
    ) -> None:
        student = make().train(job)
        assert isinstance(student, TrainedStudent)
        assert student.format in backend.produces, f"produces does not name {student.format!r}"
        found = scores(student, job.out)
        assert found.shape == (len(job.val.texts), len(spec.names))
        assert np.isfinite(found).all()

    def test_what_it_says_can_be_written_down(self, make: Callable[..., Any], job: TrainJob) -> None:
        student = make().train(job)
        json.dumps(student.hyperparameters, allow_nan=False)
        json.dumps(student.history, allow_nan=False)

    def test_files_are_safe(self, make: Callable[..., Any], job: TrainJob) -> None:
        make().train(job)
        files = [p for p in job.out.rglob("*") if not p.is_dir()]
        assert files, "train() left nothing in job.out"
        for path in files:
            assert not path.is_symlink(), f"{path.name} is a link: an artifact is self-contained"
            assert path.suffix not in UNSAFE_SUFFIXES, f"{path.name}: nothing in an artifact is ever unpickled or run"
            assert path.name not in OWN_FILES, f"{path.name} is filterkit's to write"
            assert _is_safetensors(path) or _is_text(path), f"{path.name} is neither safetensors nor text"

    def test_the_seed_fixes_the_result(
        self, make: Callable[..., Any], job: TrainJob, scores: Callable[..., F32]
    ) -> None:
        again = self.elsewhere(job, "again")
        first = scores(make().train(job), job.out)
        second = scores(make().train(again), again.out)
        self.close_to(first, second, "two trainings with one seed differ")

    def test_unknown_targets_are_masked(
        self, make: Callable[..., Any], spec: FilterSpec, job: TrainJob, tmp_path: Path, scores: Callable[..., F32]
    ) -> None:
        articles = sample_articles(self.rows + 10)
        train = make_split(spec, tmp_path / "masked" / "train.jsonl", articles[: self.rows], unknown=0.4)
        val = make_split(spec, tmp_path / "masked" / "val.jsonl", articles[self.rows :], unknown=0.4)
        masked = dataclasses.replace(job, train=train, val=val)
        found = scores(make().train(masked), job.out)
        assert np.isfinite(found).all(), "an unknown (NaN) target spoilt the student: leave it out of the loss"

    def test_leftovers_of_a_killed_run_do_no_harm(
        self, make: Callable[..., Any], job: TrainJob, scores: Callable[..., F32]
    ) -> None:
        clean = self.elsewhere(job, "clean")
        expected = scores(make().train(clean), clean.out)
        names = sorted(same_bytes(clean.out))
        for name in names:
            (job.out / name).parent.mkdir(parents=True, exist_ok=True)
            (job.out / name).write_bytes(b"half a fil")
        (job.out / "half-done.tmp").write_bytes(b"\x80\x04 left by a killed run")
        found = scores(make().train(job), job.out)
        self.close_to(found, expected, "leftovers in job.out changed the student")
        assert sorted(same_bytes(job.out)) == names, "leftovers in job.out became part of the student"

    def test_only_the_given_data_is_read(self, make: Callable[..., Any], job: TrainJob) -> None:
        data = job.out.parent / "data"
        before = same_bytes(data)
        with opened_files() as opened:
            make().train(job)
        assert not [name for name in opened if "test.jsonl" in name], "the trainer opened the test split"
        assert same_bytes(data) == before, "the trainer changed the prepared data"

    def test_the_job_is_left_as_it_is(self, make: Callable[..., Any], job: TrainJob) -> None:
        before = job.train.targets.copy(), job.train.weights.copy(), list(job.train.texts)
        make().train(job)
        np.testing.assert_array_equal(job.train.targets, before[0], err_msg="targets were changed in place")
        np.testing.assert_array_equal(job.train.weights, before[1], err_msg="weights were changed in place")
        assert job.train.texts == before[2]

    def test_a_stopped_training_goes_on(
        self, make: Callable[..., Any], job: TrainJob, context: Context, scores: Callable[..., F32]
    ) -> None:
        trainer = make(ctx=fake_context(context.workdir, stop=lambda: True))
        with contextlib.suppress(StoppedEarly):  # the right answer, though a quick trainer may just finish
            trainer.train(job)
        student = make().train(job)
        assert np.isfinite(scores(student, job.out)).all()

    def close_to(self, found: F32, expected: F32, why: str) -> None:
        """Compare scores of the validation texts within the tolerance."""
        assert found.shape == expected.shape, why
        far = self.tolerance * max(1.0, float(np.ptp(expected)))
        assert np.allclose(found, expected, atol=far, rtol=0), why


def _is_safetensors(path: Path) -> bool:
    """The format's own frame: 8 bytes that give the length of a JSON header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if path.suffix != ".safetensors" or not 2 <= length <= path.stat().st_size - 8:
            return False
        return file.read(1) == b"{"


def _is_text(path: Path) -> bool:
    try:
        return "\x00" not in path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
