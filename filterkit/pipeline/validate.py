"""validate: how close a student comes to the oracle on articles it did not learn from, and whether that is enough."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from filterkit.errors import ArtifactError, InputError
from filterkit.files import atomic_write, locked, write_json
from filterkit.filters import Filter
from filterkit.forced import tell_forced
from filterkit.manifest import Gate, GateRecord, Judgement, Manifest, load_manifest, save_manifest
from filterkit.metrics.records import Comparison, Reference, Slice
from filterkit.metrics.slices import worst
from filterkit.pipeline.calibrate import fit_overall
from filterkit.pipeline.data import Data, Rows
from filterkit.pipeline.evaluate import Evaluation, compare_students, evaluate, reference, slices
from filterkit.pipeline.folds import joined, out_of_fold
from filterkit.pipeline.judged import judged, prevalence
from filterkit.pipeline.references import Judge
from filterkit.plugins import plugins
from filterkit.report.contents import Contents, Judged, LabelCost
from filterkit.report.page import render
from filterkit.spec import Gates
from filterkit.student import Look, check_fits, load_student

AS_ITS_RECIPE = 0.05
"""By how much more, as a share of the scale, a student may err than others of its recipe: two trainings differ
somewhat, but one that went wrong, or another student in its folder, differs more."""


@dataclass(frozen=True)
class ValidationReport:
    """What validation found. `record.method` says which articles it was held against, `judgement` how their labels
    were made of several answers (None: each is one answer)."""

    evaluation: Evaluation
    record: GateRecord
    slices: tuple[Slice, ...]
    references: tuple[Reference, ...]
    comparison: Comparison | None
    judgement: Judgement | None = None

    @property
    def worst_slice(self) -> Slice | None:
        """The language, source or length where the student is surely worse than elsewhere, if there is one."""
        return worst(self.slices)

    def to_dict(self) -> dict[str, Any]:
        worst = self.worst_slice
        return {
            "method": self.record.method,
            "judgement": None if self.judgement is None else self.judgement.model_dump(mode="json"),
            "metrics": self.evaluation.metrics.model_dump(mode="json"),
            "slices": [s.model_dump(mode="json") for s in self.slices],
            "worst_slice": worst.model_dump(mode="json") if worst else None,
            "references": [r.model_dump(mode="json") for r in self.references],
            "against": self.comparison.model_dump(mode="json") if self.comparison else None,
            "gates": self.record.model_dump(mode="json"),
            "passed": self.record.passed,
        }


@dataclass(frozen=True)
class Beside:
    """What a student is shown beside: another student's folder, other judges of the articles, what the labels cost.

    `judges` is asked with the rows that are judged.
    """

    student: Path | None = None
    judges: Callable[[Rows], Sequence[Judge]] = field(default=lambda _: ())
    cost: LabelCost | None = None


def validate(
    filter: Filter,
    student_dir: Path,
    data: Data,
    work: Path,
    *,
    folds: int = 0,
    gates: Gates | None = None,
    looser: Sequence[str] = (),
    beside: Beside | None = None,
    root: Path = Path(),
    stop: Callable[[], bool] = lambda: False,
) -> ValidationReport:
    """Hold a student against the test split, or with `folds` >= 2 its recipe against every article, out of fold.

    Out of fold, the same trainer with the same options is trained anew for each fold, so that every article is
    judged by a student that saw neither it nor its near-duplicates; a finished fold is kept in `work` and not trained
    again after a kill. Writes validation.json, report.html and the gate record into the student's folder. Raises
    ArtifactError when student, data and filter do not belong together, InputError when there are too few articles for
    the folds, or no test article that was not learnt from.
    """
    beside = beside or Beside()
    manifest = _of_these_splits(filter, student_dir, data)
    manifest = _under_this_policy(filter, student_dir, manifest, data)
    tell_forced(manifest)
    rows = joined(data) if folds >= 2 else _unseen(filter, data)
    # before minutes of training: what cannot be read is said at once
    judges = beside.judges(rows)
    other = None if beside.student is None else _comparable(filter, beside.student, data, folds)
    with locked(work / "lock", f"the validation of {filter.name}"):
        look = _looked(filter, student_dir, manifest, rows, work, folds, stop, root)
        comparison = None
        if beside.student is not None and other is not None:
            theirs = _looked(filter, beside.student, other, rows, work, folds, stop, root)
            comparison = _compared(filter, beside.student, other, data, rows, look, theirs)
        shutil.rmtree(work, ignore_errors=True)
    evaluation = evaluate(
        look.scores,
        rows.split.targets,
        filter,
        gates=gates,
        intervals=look.intervals,
        overall_intervals=look.overall_intervals,
        groups=rows.groups,
        missing_intervals=_why_no_intervals(manifest) if look.intervals is None else None,
    )
    if folds >= 2:
        evaluation = _with_the_artifact(evaluation, filter, student_dir, data, look)
    record = _record(filter, manifest, evaluation, _method(folds, len(rows), len(data.splits["test"])), looser)
    report = ValidationReport(
        evaluation=evaluation,
        record=record,
        slices=slices(rows.articles, look.scores, rows.split.targets, filter, groups=rows.groups),
        references=tuple(
            reference(j.who, j.kind, j.scores, rows.split.targets, look.scores, filter, groups=rows.groups)
            for j in judges
        ),
        comparison=comparison,
        judgement=data.info.judgement,
    )
    manifest = _recorded(manifest, report)
    contents = _contents(filter, manifest, data, judged(filter, rows, look), report, beside.cost)
    _write(filter, student_dir, manifest, report, contents)
    return report


def _of_these_splits(filter: Filter, student_dir: Path, data: Data) -> Manifest:
    """The manifest of a student that answers this filter's question and has not learnt from the test split."""
    manifest = load_manifest(student_dir)
    check_fits(filter, manifest, student_dir)
    if manifest.data.fingerprint != data.info.fingerprint:
        raise ArtifactError(
            "the student was trained on other splits than these: its test articles may be among what it learnt",
            where=student_dir,
            fix="Give the --data-dir it was trained with, or train again",
        )
    return manifest


def _unseen(filter: Filter, data: Data) -> Rows:
    """The test split without what is, nearly the same, in another split too. InputError when nothing is left.

    Splits that `prepare` made hold nothing of that kind; those made elsewhere may.
    """
    learnt = {group for name, rows in data.splits.items() if name != "test" for group in rows.groups}
    test = data.splits["test"]
    unseen = np.flatnonzero([group not in learnt for group in test.groups])
    if not len(unseen):
        raise InputError(
            "every test article is in train or val too, or nearly the same: they prove nothing",
            where=test.split.path,
            fix=f"Make the splits with filterkit prepare {filter.name}, and train again; or use --folds",
        )
    return test if len(unseen) == len(test) else test.take(unseen)


def _method(folds: int, judged: int, test: int) -> str:
    """Which articles the student was held against, in words."""
    if folds >= 2:
        return f"out of fold, {folds} folds, {judged} articles"
    left_out = f" ({test - judged} more are in train or val too, or nearly the same)" if judged < test else ""
    return f"test split, {judged} articles{left_out}"


def _with_the_artifact(evaluation: Evaluation, filter: Filter, student_dir: Path, data: Data, look: Look) -> Evaluation:
    """Folds judge the recipe. That the student itself came out no worse is one gate more, asked of its test split."""
    test = data.splits["test"]
    student = load_student(student_dir, filter)
    own = student.look(test.articles).scores
    student.close()
    recipe = look.scores[-len(test) :]  # `joined` puts the test split last
    found = compare_students(own, recipe, test.split.targets, filter, groups=test.groups)
    mae = next(d for d in found if d.name == "mae")
    interval = mae.intervals.get("difference")
    surely = interval.low if interval else mae.difference
    limit = AS_ITS_RECIPE * (filter.spec.scale.max - filter.spec.scale.min)
    gate = Gate(
        name="as_its_recipe",
        value=mae.difference,
        bound=None,  # the kinder end was compared: what is not sure is let through
        limit=limit,
        passed=surely is not None and surely <= limit,
        why="by how much the student itself errs more on its test split than its recipe; refused where that is sure",
    )
    return replace(evaluation, gates=(*evaluation.gates, gate))


def _under_this_policy(filter: Filter, student_dir: Path, manifest: Manifest, data: Data) -> Manifest:
    """The manifest with the interval of the overall under this filter's weights, and with its spec."""
    manifest = manifest.model_copy(update={"spec": filter.spec, "policy_hash": filter.spec.policy_hash})
    weights = tuple(filter.spec.weights)
    if manifest.overall_interval.weights == weights:
        return manifest
    val = data.splits["val"]
    student = load_student(student_dir, filter)
    raw = student.look(val.articles).raw
    student.close()
    scale = (filter.spec.scale.min, filter.spec.scale.max)
    fitted = fit_overall(raw, val.split.targets, weights, seed=manifest.seed, scale=scale)
    return manifest.model_copy(update={"overall_interval": fitted})


def _looked(
    filter: Filter,
    student_dir: Path,
    manifest: Manifest,
    rows: Rows,
    work: Path,
    folds: int,
    stop: Callable[[], bool],
    root: Path,
) -> Look:
    """What the student, or out of fold its recipe, says of the rows."""
    if folds >= 2:
        return out_of_fold(filter, manifest, rows, work, folds, stop, root)
    student = load_student(student_dir, filter)
    student.manifest = manifest
    try:
        return student.look(rows.articles)
    finally:
        student.close()


def _comparable(filter: Filter, other_dir: Path, data: Data, folds: int) -> Manifest:
    """The manifest of another student that can be judged by the same articles."""
    other = load_manifest(other_dir)
    check_fits(filter, other, other_dir)
    tell_forced(other)
    if folds >= 2 and other.data.fingerprint != data.info.fingerprint:
        raise ArtifactError(
            "the other student was trained on other splits than these", where=other_dir, fix="Leave out --folds"
        )
    return other


def _compared(
    filter: Filter, other_dir: Path, other: Manifest, data: Data, rows: Rows, look: Look, theirs: Look
) -> Comparison:
    """The student beside another one of the same filter, on the same articles."""
    note = None
    if other.data.fingerprint != data.info.fingerprint:
        note = "the other student was trained on other splits: it may have learnt from articles that it is judged on"
    differences = compare_students(look.scores, theirs.scores, rows.split.targets, filter, groups=rows.groups)
    first = next(d for d in differences if d.name == "mae")
    return Comparison(
        other=str(other_dir),
        other_hash=other.student_hash,
        n=len(rows),
        differences=differences,
        better=first.better,
        note=note,
    )


def _why_no_intervals(manifest: Manifest) -> str:
    """Why a student that should say how far it may be off does not."""
    return next((r for r in manifest.calibrator.reasons if r), "the student was trained without any: train it again")


def _record(
    filter: Filter, manifest: Manifest, evaluation: Evaluation, method: str, looser: Sequence[str]
) -> GateRecord:
    record = GateRecord(
        student_hash=manifest.student_hash,
        policy_hash=filter.spec.policy_hash,
        data_fingerprint=manifest.data.fingerprint,
        method=method,
        at=datetime.now(UTC),
        gates=evaluation.gates,
        left_out=dict(evaluation.left_out),
        loosened=tuple(looser),
    )
    if manifest.gates and manifest.gates.model_copy(update={"at": record.at}) == record:
        return manifest.gates  # said before: nothing changes, and what was deployed stays the same
    return record


def _recorded(manifest: Manifest, report: ValidationReport) -> Manifest:
    """The manifest with what was found. Gates that pass end what was forced."""
    return manifest.model_copy(
        update={
            "metrics": report.evaluation.metrics.model_dump(mode="json"),
            "gates": report.record,
            "forced": None if report.record.passed else manifest.forced,
        }
    )


def _contents(
    filter: Filter, manifest: Manifest, data: Data, seen: Judged, report: ValidationReport, cost: LabelCost | None
) -> Contents:
    return Contents(
        spec=filter.spec,
        manifest=manifest,
        metrics=report.evaluation.metrics,
        judged=seen,
        slices=report.slices,
        references=report.references,
        comparison=report.comparison,
        cost=cost,
        prevalence=prevalence(filter, data),
        notes=report.record.loosened,
    )


def _write(filter: Filter, folder: Path, manifest: Manifest, report: ValidationReport, contents: Contents) -> None:
    """The manifest last: its gate record is what says that the other two are there."""
    write_json(folder / "validation.json", report.to_dict())
    with atomic_write(folder / "report.html") as file:
        file.write(render(contents))
    save_manifest(folder, manifest)
    plugins().observe(
        "student_validated",
        filter_name=filter.name,
        student=folder,
        metrics=report.evaluation.metrics.model_dump(mode="json"),
        passed=report.record.passed,
    )
