"""A student that was trained elsewhere comes home: believed in nothing that can be checked, then published whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filterkit.contracts import Scorer
from filterkit.errors import ArtifactError, FilterkitError
from filterkit.files import publish_folder
from filterkit.filters import Filter
from filterkit.manifest import FILE_NAME, OWN_FILES, Manifest, load_manifest, save_manifest
from filterkit.options import make_backend
from filterkit.pipeline.data import Data
from filterkit.pipeline.jobs import HEAD, SealedJob
from filterkit.pipeline.tars import check_name, copy_member, members
from filterkit.pipeline.train import TrainRequest, already_there, at_work, deciding, raw_scores
from filterkit.plugins import plugins
from filterkit.policy import NOWHERE
from filterkit.records import canonical_json
from filterkit.student import check_fits
from filterkit.untrusted import legible

TRIED = 8
"""Articles of the val split that a student scores before it is taken."""
_LARGEST_MANIFEST = 64 * 2**20


@dataclass(frozen=True)
class ImportReport:
    """The student that is home now. `tried`: how many articles it scored here; None where its format is not
    installed."""

    folder: Path
    manifest: Manifest
    already_there: bool
    tried: int | None


def import_student(
    filter: Filter, data: Data, source: Path, output_dir: Path, *, sealed: SealedJob | None = None
) -> ImportReport:
    """Take the student in `source`, its folder or a tar of that, home to `output_dir`, whole or not at all.

    It replaces an old one there. It must fit the filter and have learnt from `data`; with `sealed`, be what that job
    asked for. What validation said elsewhere is dropped, and so is the mark of a forced deployment: both are made
    here. Raises ArtifactError or InputError on what is damaged, altered, unsafe, of another filter, other data or
    another job; ConfigError when something else lies in `output_dir`; StoppedEarly when another process is at it.
    """
    with at_work(filter.name, output_dir) as work:
        staging = work / "import"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        try:
            claimed = _fetch(source, staging)
            check_fits(filter, claimed, source)
            _check_data(data, claimed, source)
            if sealed is not None:
                _check_job(sealed, claimed, source)
            manifest = _our_manifest(filter, data, claimed)
            found = _there_already(filter, output_dir, manifest, source)
            tried = _try(filter, data, manifest.format, staging, source)
            if found is None:
                save_manifest(staging, manifest)
                publish_folder(staging, output_dir.absolute())
            return ImportReport(output_dir, found or manifest, found is not None, tried)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _fetch(source: Path, staging: Path) -> Manifest:
    """The student's own files and its manifest in `staging`, every file as the manifest says."""
    try:
        if source.is_dir():
            _copy_folder(source, staging)
        else:
            _copy_tar(source, staging)
        return load_manifest(staging)
    except ArtifactError as error:  # it is not the staging that has to be mended
        raise ArtifactError(error.what, where=source, fix=error.fix or "Copy it again, or train again") from error


def _copy_folder(source: Path, staging: Path) -> None:
    paths = {path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*"))}
    for name, path in paths.items():
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ArtifactError(f"{name!r} is no plain file")
    if FILE_NAME not in paths:
        raise ArtifactError(f"there is no student here (no {FILE_NAME})")
    shutil.copyfile(paths[FILE_NAME], staging / FILE_NAME)
    sizes = {name: path.stat().st_size for name, path in paths.items() if path.is_file()}
    for name in _listed(staging, sizes, source):
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(paths[name], staging / name)


def _copy_tar(source: Path, staging: Path) -> None:
    found = members(source)
    heads = sorted((n for n in found if f"/{n}".endswith(f"/{FILE_NAME}")), key=len)
    if not heads:
        fix = "This is the job; its student is what --job makes of it" if HEAD in found else None
        raise ArtifactError(f"there is no student in it (no {FILE_NAME})", fix=fix)
    folder = heads[0].removesuffix(FILE_NAME)
    inside = {name.removeprefix(folder): member for name, member in found.items() if name.startswith(folder)}
    if len(inside) < len(found):
        raise ArtifactError(f"{min(set(found) - {folder + n for n in inside})} is not part of the student")
    if inside[FILE_NAME].size > _LARGEST_MANIFEST:
        raise ArtifactError(f"its {FILE_NAME} is too large")
    copy_member(source, inside[FILE_NAME], staging / FILE_NAME)
    for name in _listed(staging, {name: member.size for name, member in inside.items()}, source):
        copy_member(source, inside[name], staging / name)


def _listed(staging: Path, sizes: Mapping[str, int], source: Path) -> Iterator[str]:
    """The files that the manifest in `staging` lists, each there in the size it says, and nothing else is."""
    files = load_manifest(staging, verify=False).files
    stray = sorted(set(sizes) - set(files) - OWN_FILES)
    if stray:
        raise ArtifactError(f"{stray[0]!r} is not in the manifest", fix="Remove it")
    for name, entry in files.items():
        check_name(name, source)
        if sizes.get(name) != entry.size:
            raise ArtifactError(f"{name} is {'cut short or altered' if name in sizes else 'missing'}")
        yield name


def _check_data(data: Data, claimed: Manifest, source: Path) -> None:
    if claimed.data.fingerprint != data.info.fingerprint:
        raise ArtifactError(
            "this student learnt from other splits than those here",
            where=source,
            fix="Name the folder that it was packed from: --data-dir",
        )


def _check_job(sealed: SealedJob, claimed: Manifest, source: Path) -> None:
    """ArtifactError that names the first thing in which the student is not what the job asked for."""
    asked: dict[str, Any] = {"trainer": sealed.trainer, "seed": sealed.seed, "target_hash": sealed.target_hash}
    asked |= {"data": sealed.data.fingerprint, **_options(sealed.trainer, sealed.options)}
    got: dict[str, Any] = {"trainer": claimed.trainer, "seed": claimed.seed, "target_hash": claimed.target_hash}
    got |= {"data": claimed.data.fingerprint, **_options(claimed.trainer, claimed.trainer_options)}
    for name in sorted({*asked, *got}):
        if canonical_json(asked.get(name)) != canonical_json(got.get(name)):
            raise ArtifactError(
                f"this student is not what the job asked for: {name} is {_shown(got, name)}, not {_shown(asked, name)}",
                where=source,
                fix="Leave --job out to take it as it is",
            )
    if claimed.job != sealed.hash:
        said = "with another job" if claimed.job else "without a job"
        raise ArtifactError(f"this student was trained {said}", where=source, fix="Leave --job out to take it as it is")


def _options(trainer: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {f"option {name}": value for name, value in deciding(trainer, options).items()}


def _shown(values: Mapping[str, Any], name: str) -> str:
    return legible(repr(values[name]))[:80] if name in values else "not given"


def _our_manifest(filter: Filter, data: Data, claimed: Manifest) -> Manifest:
    """What the student is here. Of what was said of it elsewhere, only what it is made of remains.

    Its run id is that of the same training at home, which thus finds it.
    """
    request = TrainRequest(claimed.trainer, claimed.trainer_options, claimed.seed)
    return claimed.model_copy(
        update={
            "spec": filter.spec,
            "policy_hash": filter.spec.policy_hash,
            "request_hash": data.info.request_hash,
            "data": data.info,
            "run_id": request.run_id(data.info.fingerprint),
            "metrics": None,
            "gates": None,
            "forced": None,
        }
    )


def _there_already(filter: Filter, output_dir: Path, manifest: Manifest, source: Path) -> Manifest | None:
    """The manifest of this very student where it is home already, with what was validated here."""
    if source.resolve() == output_dir.resolve():
        return None
    found = already_there(filter, output_dir, manifest.run_id)
    return found if found is not None and found.student_hash == manifest.student_hash else None


def _try(filter: Filter, data: Data, format: str, staging: Path, source: Path) -> int | None:
    """Score some articles of the val split with it. ArtifactError where that cannot be done here."""
    if not plugins().claims("model", format):
        return None
    texts = data.splits["val"].split.texts[:TRIED]
    model = make_backend("model", format, {}, filter.spec, NOWHERE)
    try:
        scorer: Scorer = model.load(str(staging))
        scores = raw_scores(scorer, texts, len(filter.spec.names))
        scorer.close()
    except FilterkitError as error:
        raise ArtifactError(f"cannot be used here: {error.what}", where=source, fix=error.fix) from error
    except Exception as error:
        raise ArtifactError(f"cannot be used here ({type(error).__name__}: {error})", where=source) from error
    if scores.shape != (len(texts), len(filter.spec.names)) or not np.isfinite(scores).all():
        raise ArtifactError("does not score the articles of the val split", where=source, fix="Train again")
    return len(texts)
