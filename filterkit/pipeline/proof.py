"""The proof of a student: the hashes of what is published, and what sample texts score here. It goes into the record
of a deployment, so that an earlier copy can be verified when the folder that it came from is gone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filterkit.contracts import Deployer, Scorer
from filterkit.errors import GateRefused, PluginError
from filterkit.files import sha256_file
from filterkit.manifest import FILE_NAME, Manifest
from filterkit.pipeline.train import raw_scores
from filterkit.records import F32, Record
from filterkit.shipped import OF_THE_TARGET
from filterkit.student import load_scorer

TOLERANCE = 1e-4
"""Largest difference, in scale units, between a score here and a score out there: float noise, no more."""

SAMPLES = [
    "Clinic reopens\n\nAfter four years without a doctor, the valley's clinic has treated 1,900 people since March.",
    "Quarterly figures\n\nThe bank's shares rose 4 percent after it announced higher fees and 300 job cuts.",
    "Der Fluss lebt wieder\n\nVierzig Jahre nach dem Fischsterben zählten Forschende an der Mulde elf Arten.",
    "Cierra la escuela\n\nEl ayuntamiento confirmó que la única escuela del pueblo cerrará en septiembre.",
    "村里通了自来水\n\n三百多户居民从上周起不用再到山下挑水，工程由村民和县里共同出资。",
    "مكتبة متنقلة\n\nتزور حافلة الكتب ست قرى كل أسبوع منذ بداية العام الدراسي.",
    "",
]
"""Texts that both copies of a student score when a deployment is verified: several languages, and none at all."""


class Sample(Record):
    """A text as the student reads it, and its uncalibrated scores in the filter's order; None where there is none."""

    text: str
    scores: tuple[float | None, ...]


@dataclass(frozen=True)
class Proof:
    """files: relative path -> hex SHA-256 of everything that is published."""

    files: dict[str, str]
    samples: tuple[Sample, ...]


def prove(student_dir: Path, manifest: Manifest, deployer: Deployer[Any]) -> Proof:
    """What a copy of this student must show. PluginError when the deployer would publish something else."""
    files = deployer.contents(student_dir)
    ours = {name: entry.sha256 for name, entry in manifest.files.items()}
    ours[FILE_NAME] = sha256_file(student_dir / FILE_NAME)
    for name, expected in ours.items():
        if files.get(name) != expected:
            said = "another " if name in files else "no "
            raise PluginError(f"would publish {said}{name}", where=deployer.target, fix="Report it to the deployer")
    scorer = load_scorer(student_dir)
    try:
        scores = raw_scores(scorer, SAMPLES, len(manifest.spec.dimensions))
    finally:
        scorer.close()
    samples = [Sample(text=text, scores=_row(row)) for text, row in zip(SAMPLES, scores, strict=True)]
    return Proof(files, tuple(samples))


def _row(scores: F32) -> tuple[float | None, ...]:
    return tuple(float(score) if math.isfinite(score) else None for score in scores)


def check_files(files: Mapping[str, str], theirs: Mapping[str, str], where: str) -> int:
    """How many files were compared. GateRefused unless exactly these lie out there, but for the target's own."""
    for name in sorted(files):
        if name not in theirs:
            raise GateRefused(f"{name} was published and is not out there", where=where)
        if theirs[name] != files[name]:
            raise GateRefused(f"{name} out there is not the file that was published", where=where)
    more = sorted(set(theirs) - set(files) - OF_THE_TARGET)
    if more:
        raise GateRefused(f"{more[0]} lies out there and was not published", where=where)
    return len(files)


def check_scores(samples: Sequence[Sample], scorer: Scorer, where: str, who: str = "the copy out there") -> float:
    """The largest difference between the samples' scores and this scorer's; GateRefused above the tolerance.

    The scorer is closed.
    """
    try:
        found = raw_scores(scorer, [sample.text for sample in samples], len(samples[0].scores))
    finally:
        scorer.close()
    difference = largest_difference(as_scores(samples), found)
    if difference is None:
        raise GateRefused(f"{who} does not score the same articles", where=where)
    if difference > TOLERANCE:
        raise GateRefused(f"{who} scores differently, by up to {difference:.4g}", where=where)
    return difference


def as_scores(samples: Sequence[Sample]) -> F32:
    """The samples' scores [n, d], NaN where there is none."""
    return np.array([[np.nan if s is None else s for s in sample.scores] for sample in samples], dtype=np.float32)


def largest_difference(ours: F32, theirs: F32) -> float | None:
    """Between two tables of scores; None when they have not the same shape, or not the same rows are scored."""
    if ours.shape != theirs.shape or (np.isfinite(ours) != np.isfinite(theirs)).any():
        return None
    difference = np.abs(ours.astype(np.float64) - theirs)
    return float(np.nanmax(difference, initial=0.0))
