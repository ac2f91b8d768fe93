"""Trainers that break a promise."""

import json
import pickle
import random
from pathlib import Path

import numpy as np
from catching import caught_by, expose

from filterkit.contracts import TrainJob
from filterkit.errors import InputError, StoppedEarly
from filterkit.records import TrainedStudent
from filterkit.testing import TrainerContract
from filterkit.testing.toys import ToyTrainer, register_toys

register_toys()


@caught_by("test_it_says_what_it_produces")
class ProducesNothing(ToyTrainer):
    produces = ()


@caught_by("test_a_plan_is_numbers")
class PlansInWords(ToyTrainer):
    def plan(self, job: TrainJob | None) -> dict[str, float | str]:
        return {"seconds": float("nan")}


@caught_by("test_a_plan_is_numbers")
class PlansByTraining(ToyTrainer):
    def plan(self, job: TrainJob | None) -> dict[str, float | str]:
        if job is not None:
            self.train(job)
        return {"seconds": 1.0}


@caught_by("test_a_plan_is_numbers")
class PlansOnPaper(ToyTrainer):
    def plan(self, job: TrainJob | None) -> dict[str, float | str]:
        self.ctx.workdir.mkdir(parents=True, exist_ok=True)
        (self.ctx.workdir / "plan.json").write_text("{}")
        return {"seconds": 1.0, "card": "fits"}


@caught_by("test_a_plan_is_numbers")
class PlansNothingInWords(ToyTrainer):
    def plan(self, job: TrainJob | None) -> dict[str, float | str]:
        return {"card": ""}


@caught_by("test_it_says_whether_processes_train_together")
class TrainsTogetherMaybe(ToyTrainer):
    distributed = None


@caught_by("test_it_leaves_a_student")
class ProducesSomethingElse(ToyTrainer):
    produces = ("toy-2",)


@caught_by("test_it_leaves_a_student")
class LeavesHalf(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        student = super().train(job)
        (job.out / "toy.json").write_text('{"means": [1')
        return student


@caught_by("test_what_it_says_can_be_written_down")
class HyperparametersThatAreObjects(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        return super().train(job).model_copy(update={"hyperparameters": {"out": Path("x")}})


@caught_by("test_what_it_says_can_be_written_down")
class LossBecameNaN(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        return super().train(job).model_copy(update={"history": [{"loss": float("nan")}]})


@caught_by("test_files_are_safe")
class Pickles(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        student = super().train(job)
        (job.out / "state.pkl").write_bytes(pickle.dumps([1]))
        return student


@caught_by("test_files_are_safe")
class PicklesUnderAnotherName(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        student = super().train(job)
        (job.out / "weights.safetensors").write_bytes(pickle.dumps(list(range(1000))))
        return student


@caught_by("test_files_are_safe")
class LinksToTheData(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        student = super().train(job)
        (job.out / "vocabulary.jsonl").symlink_to(job.train.path)
        return student


@caught_by("test_files_are_safe")
class WritesTheManifest(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        student = super().train(job)
        (job.out / "filterkit.json").write_text("{}")
        return student


@caught_by("test_the_seed_fixes_the_result")
class ForgetsTheSeed(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        student = super().train(job)
        path = job.out / "toy.json"
        data = json.loads(path.read_text())
        data["means"] = [m + random.random() for m in data["means"]]
        data["words"] = {w: [v + random.random() for v in vs] for w, vs in data["words"].items()}
        path.write_text(json.dumps(data))
        return student


@caught_by("test_unknown_targets_are_masked")
class TakesUnknownForANumber(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        if np.isnan(job.train.targets.mean()):
            super().train(job)
            (job.out / "toy.json").write_text(json.dumps({"means": [float("nan")] * 3, "words": {}}))
            return TrainedStudent(format="toy")
        return super().train(job)


@caught_by("test_leftovers_of_a_killed_run_do_no_harm")
class ShipsLeftovers(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        kept = {p: p.read_bytes() for p in job.out.iterdir()}
        student = super().train(job)
        for path, data in kept.items():
            if not path.exists():
                path.write_bytes(data)
        return student


@caught_by("test_leftovers_of_a_killed_run_do_no_harm")
class GoesOnFromLeftovers(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        if (job.out / "toy.json").exists():
            return TrainedStudent(format="toy")
        return super().train(job)


@caught_by("test_only_the_given_data_is_read")
class LooksAtTheTest(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        (job.train.path.parent / "test.jsonl").read_text()
        return super().train(job)


@caught_by("test_only_the_given_data_is_read")
class WritesIntoTheData(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        (job.train.path.parent / "train.cache").write_text("tokens")
        return super().train(job)


@caught_by("test_the_job_is_left_as_it_is")
class ScalesInPlace(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        job.train.targets[:] = job.train.targets / 10
        return super().train(job)


@caught_by("test_a_stopped_training_goes_on")
class StaysStopped(ToyTrainer):
    def train(self, job: TrainJob) -> TrainedStudent:
        mark = self.ctx.workdir / "running"
        if mark.exists():
            raise InputError("another training is running", where=mark)
        if self.ctx.stop():
            mark.touch()
            raise StoppedEarly("stopped")
        return super().train(job)


expose(globals(), TrainerContract)
