"""Out of fold: the same recipe trained anew for each part of the labels, each judging what it has not seen."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filterkit.contracts import Context
from filterkit.errors import InputError
from filterkit.files import read_json, write_json
from filterkit.filters import Filter
from filterkit.manifest import Manifest
from filterkit.overall import overall
from filterkit.pipeline.data import Data, Rows
from filterkit.pipeline.nearby import deal
from filterkit.pipeline.train import TrainRequest, learn
from filterkit.records import F32, Split
from filterkit.student import Look, Student

Index = NDArray[np.intp]


def joined(data: Data) -> Rows:
    """All splits as one."""
    parts = list(data.splits.values())
    return Rows(
        Split(
            texts=[t for p in parts for t in p.split.texts],
            targets=np.concatenate([p.split.targets for p in parts]),
            weights=np.concatenate([p.split.weights for p in parts]),
            path=parts[0].split.path,
        ),
        [a for p in parts for a in p.articles],
        [label for p in parts for label in p.labels],
        [g for p in parts for g in p.groups],
    )


def out_of_fold(
    filter: Filter, manifest: Manifest, rows: Rows, work: Path, folds: int, stop: Callable[[], bool], root: Path
) -> Look:
    """What students of the same recipe say of all rows, each of rows that it did not see.

    A finished fold is kept in `work` and not trained again after a kill. InputError when there are too few articles.
    """
    if len(set(rows.groups)) < 2 * folds:
        raise InputError(
            f"{len(set(rows.groups))} groups of articles are too few for {folds} folds", fix="Lower --folds"
        )
    half = halves(rows.split, rows.groups, filter.spec.weights, folds, manifest.seed)
    kept: list[Look] = []
    order: list[Index] = []
    for k in range(folds):
        held = np.flatnonzero(half // 2 == k)
        val = np.flatnonzero(half == 2 * ((k + 1) % folds))  # half of the next fold calibrates
        learnt = np.flatnonzero((half // 2 != k) & (half != 2 * ((k + 1) % folds)))
        # what a fold says depends on the recipe, the data and the weights; a rerun after a change starts anew
        out = work / f"{manifest.run_id}-{manifest.data.fingerprint[:8]}-{filter.spec.policy_hash[:8]}-{k}-of-{folds}"
        if not (out / "look.json").is_file():
            look = _one_fold(filter, manifest, rows, (learnt, val, held), out, stop, root)
            write_json(out / "look.json", look.to_lists())
            shutil.rmtree(out / "student", ignore_errors=True)
        kept.append(Look.from_lists(read_json(out / "look.json")))
        order.append(held)
    return Look.concatenate(kept).take(np.argsort(np.concatenate(order)))


def _one_fold(
    filter: Filter,
    manifest: Manifest,
    rows: Rows,
    parts: tuple[Index, Index, Index],
    out: Path,
    stop: Callable[[], bool],
    root: Path,
) -> Look:
    """What a student of the same recipe, trained and calibrated on the first two parts, says of the third."""
    learnt, val, held = parts
    request = TrainRequest(manifest.trainer, manifest.trainer_options, manifest.seed)
    context = Context(workdir=out / "trainer", stop=stop, root=root)
    learning = learn(
        filter,
        rows.split.take(learnt),
        rows.split.take(val),
        out / "student",
        request,
        f"{manifest.run_id}-{out.name}",
        context,
    )
    own = manifest.model_copy(update={"calibrator": learning.calibrator, "overall_interval": learning.overall_interval})
    student = Student(filter.spec, own, learning.scorer)
    try:
        return student.look([rows.articles[i] for i in held])
    finally:
        student.close()


def halves(split: Split, groups: Sequence[str], weights: Sequence[float], folds: int, seed: int) -> Index:
    """Half fold (2k and 2k + 1 make fold k) of every row, stratified by the overall; a group shares one."""
    known: F32 = np.nan_to_num(split.targets, nan=0.0)
    totals = overall(known, weights)
    leader = {g: i for i, g in reversed(list(enumerate(groups)))}
    leaders = sorted(leader.values(), key=lambda i: (float(totals[i]), i))
    position = {i: n for n, i in enumerate(leaders)}
    dealt = deal(range(len(leaders)), [1] * (2 * folds), seed)
    return np.array([dealt[position[leader[g]]] for g in groups], dtype=np.intp)
