"""train: splits in, a student's folder out. The trainer learns; the core checks, calibrates, hashes and publishes."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from filterkit import __version__
from filterkit.calibrator import Calibrator, OverallInterval
from filterkit.contracts import Context, Scorer, TrainJob
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
from filterkit.options import make_backend
from filterkit.pipeline.calibrate import fit
from filterkit.pipeline.data import Data
from filterkit.plugins import plugins
from filterkit.records import F32, Split, TrainedStudent, canonical_json, sha256_text


@dataclass(frozen=True)
class TrainRequest:
    """Which trainer, with which options, and the seed of all that is random. `root`: where relative paths start."""

    trainer: str
    options: Mapping[str, Any]
    seed: int = 0
    device: str = "auto"
    root: Path = Path()

    def run_id(self, data_fingerprint: str) -> str:
        """The same for the same job on the same data: a killed run is found again by it."""
        return sha256_text(
            canonical_json([self.trainer, dict(self.options), self.seed, data_fingerprint, __version__])
        )[:16]


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


def train(
    filter: Filter,
    data: Data,
    output_dir: Path,
    request: TrainRequest,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> TrainReport:
    """Train a student on data's train and val splits into `output_dir`, which appears whole or not at all.

    The same request on the same data again finds the student there and does nothing; another student of the filter,
    or a damaged one, is replaced. Raises ConfigError (also when something else lies in `output_dir`), PluginError,
    ArtifactError; StoppedEarly when `stop()` turned true.
    """
    output_dir = output_dir.absolute()
    run_id = request.run_id(data.info.fingerprint)
    work = output_dir.parent / f".{output_dir.name}.work"
    with locked(work / "lock", f"the student {output_dir}"):
        restore_folder(output_dir)
        _check_free(filter, output_dir)
        there = _already_there(filter, output_dir, run_id)
        if there is None:
            context = _context(filter, work / f"trainer-{run_id}", request.root, stop)
            there = _make(filter, data, output_dir, work / f"student-{run_id}", request, run_id, context)
            report = TrainReport(output_dir, there, already_there=False)
        else:
            report = TrainReport(output_dir, there, already_there=True)
        shutil.rmtree(work, ignore_errors=True)
    return report


def learn(
    filter: Filter,
    train_split: Split,
    val_split: Split,
    out: Path,
    request: TrainRequest,
    run_id: str,
    context: Context,
) -> Learning:
    """One student in folder `out`."""
    trainer = make_backend("trainer", request.trainer, request.options, filter.spec, context)
    out.mkdir(parents=True, exist_ok=True)
    context.workdir.mkdir(parents=True, exist_ok=True)
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


def _context(filter: Filter, workdir: Path, root: Path, stop: Callable[[], bool]) -> Context:
    def emit(event: str, **values: Any) -> None:
        if event == "training_progress":
            plugins().observe(event, filter_name=filter.name, values=values)

    return Context(workdir=workdir, secret=environment_secret, emit=emit, stop=stop, root=root)


def _check_free(filter: Filter, folder: Path) -> None:
    """ConfigError when publishing here would replace anything but a student of this filter."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / FILE_NAME).is_file():
        raise ConfigError("is not empty and holds no student", where=folder, fix="Choose another --output-dir")
    try:
        name = load_manifest(folder, verify=False).spec.name
    except ArtifactError:  # a damaged one
        return
    if name != filter.name:
        raise ConfigError(f"holds a student of filter {name!r}", where=folder, fix="Choose another --output-dir")


def _already_there(filter: Filter, folder: Path, run_id: str) -> Manifest | None:
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
) -> Manifest:
    started = datetime.now(UTC)
    train_split, val_split = data.splits["train"].split, data.splits["val"].split
    learning = learn(filter, train_split, val_split, staging, request, run_id, context)
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
