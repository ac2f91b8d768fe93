"""train: splits in, a student's folder out. The trainer learns; the core checks, calibrates, hashes and publishes."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from filterkit import __version__
from filterkit.calibrator import Calibrator, OverallInterval
from filterkit.contracts import Context, Scorer, Trainer, TrainJob
from filterkit.contracts.base import environment_secret
from filterkit.errors import ArtifactError, ConfigError, PluginError
from filterkit.files import locked, publish_folder, restore_folder
from filterkit.filters import Filter
from filterkit.manifest import (
    FILE_NAME,
    Manifest,
    describe_files,
    load_manifest,
    save_manifest,
    student_hash,
)
from filterkit.options import check_options, make_backend
from filterkit.pipeline.calibrate import fit
from filterkit.pipeline.data import Data
from filterkit.pipeline.ranks import LINGER_S, Follower, Ranks
from filterkit.plugins import plugins
from filterkit.records import F32, Split, TrainedStudent, canonical_json, sha256_text

Progress = Callable[[dict[str, Any]], None]
"""Gets what a trainer emits: step, steps, epoch, loss, … as it has them."""


def _tell_nobody(_: dict[str, Any]) -> None:
    """No one watches."""


@dataclass(frozen=True)
class TrainRequest:
    """Which trainer, with which options, and the seed of all that is random. `root`: where relative paths start.

    `version`: the filterkit that asked, and `job` the hash of the sealed job that it asked with, if any.
    """

    trainer: str
    options: Mapping[str, Any]
    seed: int = 0
    device: str = "auto"
    root: Path = Path()
    version: str = __version__
    job: str | None = None

    def run_id(self, data_fingerprint: str) -> str:
        """The same for the same job on the same data: a killed run is found again by it, wherever it ran."""
        return sha256_text(
            canonical_json(
                [self.trainer, deciding(self.trainer, self.options), self.seed, data_fingerprint, self.version]
            )
        )[:16]


def deciding(trainer: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options without those that change nothing of what comes of a training, where its trainer is here to say."""
    aside = plugins().load("trainer", trainer).Options.aside if plugins().claims("trainer", trainer) else frozenset()
    return {name: value for name, value in options.items() if name not in aside}


@dataclass(frozen=True)
class TrainReport:
    """The student that was trained, or found to be there already."""

    folder: Path
    manifest: Manifest
    already_there: bool


@dataclass(frozen=True)
class Learning:
    """A student that was learnt but not published: what the trainer said, its calibrator and the interval of its
    overall under the filter's weights (both from the val split), and its scorer, which whoever asked for it closes."""

    trained: TrainedStudent
    calibrator: Calibrator
    overall_interval: OverallInterval
    scorer: Scorer


def work_folder(output_dir: Path) -> Path:
    """Where what becomes of `output_dir` is worked on: on the same disk, beside it."""
    return output_dir.absolute().parent / f".{output_dir.absolute().name}.work"


@contextlib.contextmanager
def at_work(filter_name: str, output_dir: Path) -> Iterator[Path]:
    """The work folder, for as long as its lock is held. It stays where the block fails, for the next attempt.

    ConfigError when publishing would replace anything but a student of this filter; StoppedEarly when another
    process is at it.
    """
    work = work_folder(output_dir)
    with locked(work / "lock", f"the student {output_dir}"):
        restore_folder(output_dir)
        check_free(filter_name, output_dir)
        yield work
        shutil.rmtree(work, ignore_errors=True)


def train(
    filter: Filter,
    data: Data,
    output_dir: Path,
    request: TrainRequest,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = _tell_nobody,
    begins: Callable[[], None] = lambda: None,
) -> TrainReport:
    """Train a student on data's train and val splits into `output_dir`, which appears whole or not at all.

    The same request on the same data again finds the student there and does nothing; another student of the filter,
    or a damaged one, is replaced. `progress` gets what the trainer emits; `begins` is called when it is about to
    train. Raises ConfigError (also when something else lies in `output_dir`), PluginError, ArtifactError;
    StoppedEarly when `stop()` turned true.
    """
    output_dir = output_dir.absolute()
    run_id = request.run_id(data.info.fingerprint)
    with at_work(filter.name, output_dir) as work:
        found = already_there(filter, output_dir, run_id)
        if found is not None:
            return TrainReport(output_dir, found, already_there=True)
        context = _context(filter, _trainer_folder(work, run_id), request.root, stop, progress)
        made = _make(filter, data, output_dir, _staging(work, run_id), request, run_id, context, begins)
        return TrainReport(output_dir, made, already_there=False)


def trains_together(request: TrainRequest) -> bool:
    """Whether the trainer can train in several processes. PluginError, ConfigError where it cannot be had at all."""
    trainer = plugins().load("trainer", request.trainer)
    check_options(trainer, "trainer", request.trainer, request.options)
    together: bool = trainer.distributed  # type: ignore[attr-defined]
    return together


def train_along(
    load: Callable[[], tuple[Filter, Data]],
    data_fingerprint: str,
    output_dir: Path,
    request: TrainRequest,
    ranks: Ranks,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """What a process other than 0 of a launch does, where the trainer trains together: it comes along, writing nothing.

    `load` is called when process 0 has begun. The exit code that process 0 ends with, if that can be known. Raises
    what is wrong in this process alone.
    """
    run_id, work = request.run_id(data_fingerprint), work_folder(output_dir)
    leader = Follower(work, ranks, functools.partial(_is_there, output_dir, run_id, {}), stop)
    code = leader.wait_for_training()
    if code is not None:
        return code
    try:
        filter, data = load()
        context = Context(workdir=_trainer_folder(work, run_id), stop=stop, root=request.root)
        learner = make_backend("trainer", request.trainer, request.options, filter.spec, context)
        try:
            learner.train(_job(data, _staging(work, run_id), request, run_id))
        finally:
            learner.close()
    except Exception:
        code = leader.outcome(within_s=LINGER_S)
        if code is None or code == 0:
            raise
        return code
    return leader.outcome() or 0


def plan(filter: Filter, data: Data | None, output_dir: Path, request: TrainRequest) -> Mapping[str, float | str]:
    """What training would take, as the trainer tells it; nothing is trained or written.

    Without data, for the filter and the options alone.
    """
    run_id = request.run_id(data.info.fingerprint if data else "")
    work = work_folder(output_dir)
    context = Context(workdir=_trainer_folder(work, run_id), root=request.root)
    trainer: Trainer[Any] = make_backend("trainer", request.trainer, request.options, filter.spec, context)
    try:
        return trainer.plan(_job(data, _staging(work, run_id), request, run_id) if data else None)
    finally:
        trainer.close()


def _trainer_folder(work: Path, run_id: str) -> Path:
    return work / f"trainer-{run_id}"


def _staging(work: Path, run_id: str) -> Path:
    return work / f"student-{run_id}"


def _job(data: Data, out: Path, request: TrainRequest, run_id: str) -> TrainJob:
    return TrainJob(data.splits["train"].split, data.splits["val"].split, out, request.seed, run_id)


def learn(
    filter: Filter,
    train_split: Split,
    val_split: Split,
    out: Path,
    request: TrainRequest,
    run_id: str,
    context: Context,
    begins: Callable[[], None] = lambda: None,
) -> Learning:
    """One student in folder `out`."""
    trainer = make_backend("trainer", request.trainer, request.options, filter.spec, context)
    out.mkdir(parents=True, exist_ok=True)
    context.workdir.mkdir(parents=True, exist_ok=True)
    begins()
    try:
        trained: TrainedStudent = trainer.train(TrainJob(train_split, val_split, out, request.seed, run_id))
    finally:
        trainer.close()
    model = make_backend("model", trained.format, {}, filter.spec, context)
    scorer: Scorer = model.load(str(out), device=request.device)
    predictions = raw_scores(scorer, val_split.texts, len(filter.spec.names))
    spec = filter.spec
    fitted = fit(predictions, val_split.targets, seed=request.seed, scale=(spec.scale.min, spec.scale.max))
    return Learning(trained, fitted.calibrator, fitted.overall(spec.weights), scorer)


def raw_scores(scorer: Scorer, texts: list[str], dimensions: int) -> F32:
    """Uncalibrated scores [n, d] of texts, in the scorer's batches."""
    step = max(1, scorer.max_batch)
    parts = [scorer.predict(scorer.encode(texts[i : i + step])).scores for i in range(0, len(texts), step)]
    return np.concatenate([np.empty((0, dimensions), dtype=np.float32), *parts])


def _context(filter: Filter, workdir: Path, root: Path, stop: Callable[[], bool], progress: Progress) -> Context:
    def emit(event: str, **values: Any) -> None:
        if event == "training_progress":
            progress(values)
            plugins().observe(event, filter_name=filter.name, values=values)

    return Context(workdir=workdir, secret=environment_secret, emit=emit, stop=stop, root=root)


def check_free(filter_name: str, folder: Path) -> None:
    """ConfigError when publishing here would replace anything but a student of this filter."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / FILE_NAME).is_file():
        raise ConfigError("is not empty and holds no student", where=folder, fix="Choose another --output-dir")
    try:
        name = load_manifest(folder, verify=False).spec.name
    except ArtifactError:  # a damaged one
        return
    if name != filter_name:
        raise ConfigError(f"holds a student of filter {name!r}", where=folder, fix="Choose another --output-dir")


def _is_there(folder: Path, run_id: str, seen: dict[int, bool]) -> bool:
    """Whether `folder` holds an undamaged student of this very run. Looked at anew only when it changed (`seen`)."""
    try:
        at = (folder / FILE_NAME).stat().st_mtime_ns
        if at not in seen:
            seen[at] = load_manifest(folder, verify=False).run_id == run_id and load_manifest(folder).run_id == run_id
        return seen[at]
    except OSError:
        return False
    except ArtifactError:
        seen[at] = False
        return False


def already_there(filter: Filter, folder: Path, run_id: str) -> Manifest | None:
    """The manifest of an undamaged student of this very run, if `folder` holds it."""
    try:
        if load_manifest(folder, verify=False).run_id != run_id:
            return None
        manifest = load_manifest(folder)
    except ArtifactError:
        return None
    if manifest.policy_hash != filter.spec.policy_hash:  # the filter's arithmetic changed: same weights, new spec
        manifest = manifest.model_copy(update={"spec": filter.spec, "policy_hash": filter.spec.policy_hash})
        save_manifest(folder, manifest)
    return manifest


def _make(
    filter: Filter,
    data: Data,
    output_dir: Path,
    staging: Path,
    request: TrainRequest,
    run_id: str,
    context: Context,
    begins: Callable[[], None],
) -> Manifest:
    started = datetime.now(UTC)
    train_split, val_split = data.splits["train"].split, data.splits["val"].split
    learning = learn(filter, train_split, val_split, staging, request, run_id, context, begins)
    learning.scorer.close()
    trained, calibrator = learning.trained, learning.calibrator
    _check_format(request.trainer, trained.format)
    files = describe_files(staging)
    manifest = Manifest(
        spec=filter.spec,
        request_hash=data.info.request_hash,
        target_hash=filter.spec.target_hash,
        policy_hash=filter.spec.policy_hash,
        student_hash=student_hash(files, filter.spec.target_hash, calibrator),
        run_id=run_id,
        job=request.job,
        files=files,
        trainer=request.trainer,
        trainer_options=dict(request.options),
        seed=request.seed,
        calibrator=calibrator,
        overall_interval=learning.overall_interval,
        data=data.info,
        packages=_packages(request.trainer, trained.format),
        created=started,
        **trained.model_dump(),
    )
    save_manifest(staging, manifest)
    publish_folder(staging, output_dir)
    return manifest


def _check_format(trainer: str, made: str) -> None:
    produces = plugins().load("trainer", trainer).produces  # type: ignore[attr-defined]
    if made not in produces:
        raise PluginError(
            f"made a {made!r} student, but says that it produces {', '.join(produces)}", where=f"trainer {trainer!r}"
        )


def _packages(trainer: str, model: str) -> dict[str, str]:
    """Versions of what a reader of the artifact would want to know."""
    dists = {e.dist for kind, name in (("trainer", trainer), ("model", model)) for e in plugins().claims(kind, name)}
    found = {"python": ".".join(map(str, sys.version_info[:3])), "filterkit": __version__}
    for dist in sorted({*dists, "numpy", "scikit-learn", "torch", "transformers", "peft"}):
        try:
            found[dist] = importlib.metadata.version(dist)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
