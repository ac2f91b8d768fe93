"""validate: how close a student comes to the oracle on articles it did not learn from, and whether that is enough."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from filterkit.contracts import Context
from filterkit.errors import ArtifactError, InputError
from filterkit.files import locked, read_json, write_json
from filterkit.filters import Filter
from filterkit.manifest import Gate, GateRecord, Manifest, load_manifest, save_manifest
from filterkit.metrics import Metrics, measure
from filterkit.pipeline.data import Data
from filterkit.pipeline.nearby import deal
from filterkit.pipeline.train import TrainRequest, learn, raw_scores, subset
from filterkit.plugins import plugins
from filterkit.records import F32, Split
from filterkit.spec import FilterSpec, Gates
from filterkit.student import check_fits, load_student, overall


@dataclass(frozen=True)
class Evaluation:
    """Metrics of predictions, and each gate's answer to them."""

    metrics: Metrics
    gates: tuple[Gate, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(g.passed for g in self.gates)


@dataclass(frozen=True)
class ValidationReport:
    """What validation found. `method` says which articles it was held against."""

    evaluation: Evaluation
    overall_mae: float | None
    record: GateRecord
    looser: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "method": self.record.method,
            "metrics": self.evaluation.metrics.model_dump(mode="json"),
            "overall_mae": self.overall_mae,
            "gates": self.record.model_dump(mode="json"),
            "loosened": list(self.looser),
            "passed": self.record.passed,
        }


def evaluate(
    predictions: ArrayLike,
    labels: ArrayLike,
    filter: Filter | FilterSpec | Sequence[str],
    *,
    gates: Gates | None = None,
) -> Evaluation:
    """Metrics of predictions [n, d] against labels [n, d], and the gates' answers.

    `filter` is a filter or a list of dimension names (then all count, under the default gates). A NaN label is
    unknown and left out; a NaN prediction is a row that failed, and fails a gate. InputError on other shapes.
    """
    spec = filter.spec if isinstance(filter, Filter) else filter
    if isinstance(spec, FilterSpec):
        names, counted, asked = spec.names, spec.scored, gates or spec.gates
    else:
        names, counted, asked = tuple(spec), tuple(range(len(spec))), gates or Gates()
    if isinstance(spec, FilterSpec):
        _check_scale(labels, spec)
    metrics = measure(predictions, labels, names, counted)
    return Evaluation(metrics, _gates(metrics, asked))


def _check_scale(labels: ArrayLike, spec: FilterSpec) -> None:
    known = np.asarray(labels, dtype=np.float64)
    outside = known[(known < spec.scale.min) | (known > spec.scale.max)]
    if outside.size:
        raise InputError(f"label {outside[0]:g} lies outside of {spec.scale.min:g} to {spec.scale.max:g}")


def _gates(metrics: Metrics, asked: Gates) -> tuple[Gate, ...]:
    """Every gate is answered, also when nothing could be measured: then it fails."""
    found = [
        Gate(
            name="all_scored",
            value=float(metrics.failed),
            limit=0.0,
            passed=metrics.failed == 0 and metrics.n > 0,
            why="articles that the student could not score",
        )
    ]
    if asked.mae is not None:
        found.append(
            Gate(
                name="mae",
                value=metrics.mae,
                limit=asked.mae,
                passed=metrics.mae is not None and metrics.mae < asked.mae,
                why="mean absolute error, in scale units, below the limit",
            )
        )
    if asked.median_gain is not None:
        gain = 1 - metrics.mae / metrics.median_mae if metrics.mae is not None and metrics.median_mae else None
        found.append(
            Gate(
                name="median_gain",
                value=gain,
                limit=asked.median_gain,
                passed=gain is not None and gain >= asked.median_gain and gain > 0,
                why="share by which the error is below that of always answering the median",
            )
        )
    return tuple(found)


def validate(
    filter: Filter,
    student_dir: Path,
    data: Data,
    work: Path,
    *,
    folds: int = 0,
    gates: Gates | None = None,
    looser: Sequence[str] = (),
    root: Path = Path(),
    stop: Callable[[], bool] = lambda: False,
) -> ValidationReport:
    """Hold a student against the test split, or with `folds` >= 2 its recipe against every article, out of fold.

    Out of fold, the same trainer with the same options is trained anew for each fold, so that every article is
    judged by a student that saw neither it nor its near-duplicates; a finished fold is kept in `work` and not trained
    again after a kill. Writes validation.json and the gate record into the student's folder. Raises ArtifactError
    when student, data and filter do not belong together, InputError when there are too few articles for the folds.
    """
    manifest = load_manifest(student_dir)
    check_fits(filter, manifest, student_dir)
    if manifest.data.fingerprint != data.info.fingerprint:
        raise ArtifactError(
            "the student was trained on other splits than these: its test articles may be among what it learnt",
            where=student_dir,
            fix="Give the --data-dir it was trained with, or train again",
        )
    asked = gates or filter.spec.gates
    if folds >= 2:
        with locked(work / "lock", f"the validation of {filter.name}"):
            predictions, labels = _out_of_fold(filter, manifest, data, work, folds, stop, root)
            shutil.rmtree(work, ignore_errors=True)
        method = f"out of fold, {folds} folds, {len(labels)} articles"
    else:
        test = data.splits["test"]
        student = load_student(student_dir, filter)
        predictions, labels = student.predict(test.articles).scores, test.split.targets
        student.close()
        method = f"test split, {len(labels)} articles"
    report = _report(filter, manifest, predictions, labels, asked, method, tuple(looser))
    _write(filter, student_dir, manifest, report)
    return report


def _report(
    filter: Filter,
    manifest: Manifest,
    predictions: F32,
    labels: F32,
    asked: Gates,
    method: str,
    looser: tuple[str, ...],
) -> ValidationReport:
    evaluation = evaluate(predictions, labels, filter, gates=asked)
    weights = filter.spec.weights
    whole = np.isfinite(labels).all(axis=1) & np.isfinite(predictions).all(axis=1)
    error = np.abs(overall(predictions[whole], weights) - overall(labels[whole], weights))
    record = GateRecord(
        student_hash=manifest.student_hash,
        policy_hash=filter.spec.policy_hash,
        data_fingerprint=manifest.data.fingerprint,
        method=method,
        at=datetime.now(UTC),
        gates=evaluation.gates,
    )
    if manifest.gates and manifest.gates.model_copy(update={"at": record.at}) == record:
        record = manifest.gates  # said before: nothing changes, and what was deployed stays the same
    return ValidationReport(evaluation, float(error.mean()) if len(error) else None, record, looser)


def _write(filter: Filter, folder: Path, manifest: Manifest, report: ValidationReport) -> None:
    write_json(folder / "validation.json", report.to_dict())
    updated = manifest.model_copy(
        update={
            "spec": filter.spec,
            "policy_hash": filter.spec.policy_hash,
            "metrics": report.evaluation.metrics.model_dump(mode="json"),
            "gates": report.record,
        }
    )
    save_manifest(folder, updated)
    plugins().observe(
        "student_validated",
        filter_name=filter.name,
        student=folder,
        metrics=report.evaluation.metrics.model_dump(mode="json"),
        passed=report.record.passed,
    )


def _out_of_fold(
    filter: Filter,
    manifest: Manifest,
    data: Data,
    work: Path,
    folds: int,
    stop: Callable[[], bool],
    root: Path,
) -> tuple[F32, F32]:
    """Calibrated predictions [n, d] of all labelled articles by students that did not see them, and the labels."""
    everything = _joined(data)
    names = [g for rows in data.splits.values() for g in rows.groups]
    if len(set(names)) < 2 * folds:
        raise InputError(f"{len(set(names))} groups of articles are too few for {folds} folds", fix="Lower --folds")
    half = _halves(everything, names, filter.spec.weights, folds, manifest.seed)
    predictions = np.full_like(everything.targets, np.nan)
    for k in range(folds):
        held, val = half // 2 == k, half == (2 * k + 2) % (2 * folds)  # half of the next fold calibrates
        out = work / f"{manifest.run_id}-{filter.spec.policy_hash[:8]}-{k}-of-{folds}"
        kept = out / "predictions.json"
        if not kept.is_file():
            parts = [subset(everything, np.flatnonzero(rows)) for rows in (~held & ~val, val, held)]
            scores = _one_fold(filter, manifest, parts[0], parts[1], parts[2].texts, out, stop, root)
            write_json(kept, [[None if np.isnan(v) else v for v in row] for row in scores.tolist()])
            shutil.rmtree(out / "student", ignore_errors=True)
        predictions[held] = np.array(read_json(kept), dtype=np.float32)
    return predictions, everything.targets


def _one_fold(
    filter: Filter,
    manifest: Manifest,
    learnt: Split,
    val: Split,
    held: list[str],
    out: Path,
    stop: Callable[[], bool],
    root: Path,
) -> F32:
    """Calibrated predictions [n, d] of the held-out texts by a student of the same recipe."""
    request = TrainRequest(manifest.trainer, manifest.trainer_options, manifest.seed)
    context = Context(workdir=out / "trainer", stop=stop, root=root)
    _, calibrator, scorer = learn(
        filter, learnt, val, out / "student", request, f"{manifest.run_id}-{out.name}", context
    )
    raw = raw_scores(scorer, held, len(filter.spec.names))
    scorer.close()
    clipped: F32 = np.clip(calibrator.apply(raw), filter.spec.scale.min, filter.spec.scale.max)
    return clipped


def _joined(data: Data) -> Split:
    parts = [rows.split for rows in data.splits.values()]
    return Split(
        texts=[t for p in parts for t in p.texts],
        targets=np.concatenate([p.targets for p in parts]),
        weights=np.concatenate([p.weights for p in parts]),
        path=parts[0].path,
    )


def _halves(
    split: Split, groups: Sequence[str], weights: Sequence[float], folds: int, seed: int
) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Half fold (2k and 2k + 1 make fold k) of every row, stratified by the overall; a group shares one."""
    known = np.nan_to_num(split.targets, nan=0.0)
    totals = overall(known, weights)
    leader = {g: i for i, g in reversed(list(enumerate(groups)))}
    leaders = sorted(leader.values(), key=lambda i: (float(totals[i]), i))
    position = {i: n for n, i in enumerate(leaders)}
    dealt = deal(range(len(leaders)), [1] * (2 * folds), seed)
    return np.array([dealt[position[leader[g]]] for g in groups], dtype=np.intp)
