"""Sealed jobs: all that training needs, in one file that goes to another machine. The test split stays at home.

The student that comes back is an ordinary one: its run id is that of the same training at home.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import posixpath
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import StringConstraints, ValidationError

from filterkit import __version__
from filterkit.errors import ConfigError, FilterkitError, InputError, PluginError
from filterkit.explain import explain
from filterkit.files import sha256_file
from filterkit.filters import Filter, load_filter
from filterkit.manifest import DataInfo, FileEntry
from filterkit.options import check_options
from filterkit.pipeline.data import Data, read_split
from filterkit.pipeline.tars import check_name, copy_member, members, read_member, write_tar
from filterkit.pipeline.train import TrainRequest
from filterkit.plugins import KNOWN_DISTS, plugins
from filterkit.records import Record, canonical_json, sha256_text

HEAD = "job.json"
_LARGEST_HEAD = 4 * 2**20
_FILTER, _TRAIN, _VAL = "filter/filter.yaml", "data/train.jsonl", "data/val.jsonl"
_PACKAGE = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$"
_Package = Annotated[str, StringConstraints(pattern=_PACKAGE)]


class SealedJob(Record):
    """job.json, the first file of a sealed job: what is to be trained, and the SHA-256 of every other file.

    packages: the dists that packed it, with the trainer's where it was installed. `hash` stands beside these in the
    file, and covers them.
    """

    job: Literal[1] = 1
    filter: str
    version: str
    target_hash: str
    trainer: str
    options: dict[str, Any]
    seed: int
    data: DataInfo
    files: dict[str, FileEntry]
    packages: dict[_Package, _Package]

    @property
    def hash(self) -> str:
        """Fingerprint of the job."""
        return sha256_text(canonical_json(self.model_dump(mode="json")))

    @property
    def packed_by(self) -> str:
        """The filterkit that packed it."""
        return self.packages["filterkit"]

    def request(self, options: Mapping[str, Any], seed: int, root: Path) -> TrainRequest:
        """To train it with these options: the run id is that of the same training where it was packed."""
        return TrainRequest(self.trainer, options, seed, root=root, version=self.packed_by, job=self.hash)


@dataclass(frozen=True)
class Unpacked:
    """A sealed job with its files."""

    sealed: SealedJob
    filter: Filter
    data: Data


def pack_job(filter: Filter, data: Data, request: TrainRequest, path: Path) -> SealedJob:
    """Seal the job in the file `path`, which appears whole or not at all. Equal jobs are equal files.

    Options are checked where the trainer is installed, else a warning says that they were not; a warning names
    options that are paths. InputError when something else lies at `path`.
    """
    _check_replaceable(path)
    packages = {"filterkit": __version__, **_check_trainer(request)}
    prompt = posixpath.normpath(filter.spec.prompt)
    check_name(prompt, filter.path)
    read = {
        _FILTER: (filter.path / "filter.yaml").read_bytes(),
        f"filter/{prompt}": (filter.path / prompt).read_bytes(),
        _TRAIN: Path(data.splits["train"].split.path).read_bytes(),
        _VAL: Path(data.splits["val"].split.path).read_bytes(),
    }
    sealed = SealedJob(
        filter=filter.name,
        version=filter.spec.version,
        target_hash=filter.spec.target_hash,
        trainer=request.trainer,
        options=dict(request.options),
        seed=request.seed,
        data=data.info,
        files={n: FileEntry(size=len(b), sha256=hashlib.sha256(b).hexdigest()) for n, b in sorted(read.items())},
        packages=packages,
    )
    head = {**sealed.model_dump(mode="json"), "hash": sealed.hash}
    text = json.dumps(head, indent=2, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"
    write_tar(path, {HEAD: text.encode("utf-8"), **{name: read[name] for name in sealed.files}})
    for name, value in _paths(request.options, request.root):
        warnings.warn(f"option {name} is the path {value!r}, which must exist where the job runs", stacklevel=2)
    return sealed


def read_sealed(path: Path) -> SealedJob:
    """What a job says of itself; its other files are checked by `unpack_job`. InputError when `path` holds no job."""
    found = members(path)
    if HEAD not in found:
        raise InputError(f"is no sealed job (it holds no {HEAD})", where=path, fix="Make one: filterkit train --pack")
    try:
        head = json.loads(read_member(path, found[HEAD], _LARGEST_HEAD))
    except (ValueError, RecursionError) as error:
        raise InputError(f"is damaged ({HEAD} is not valid JSON)", where=path) from error
    if not isinstance(head, dict):
        raise InputError(f"is damaged ({HEAD} is not an object)", where=path)
    if isinstance(head.get("job"), int) and head["job"] > 1:
        raise InputError(f"was packed by a newer filterkit (job {head['job']})", where=path, fix="Upgrade filterkit")
    said = head.pop("hash", None)
    try:
        sealed = SealedJob.model_validate(head)
    except ValidationError as error:
        raise InputError(f"is not a valid job ({explain(error)[0][1]})", where=path) from error
    if said != sealed.hash or "filterkit" not in sealed.packages:
        raise InputError(f"is damaged or was altered (the hash in {HEAD} is another)", where=path, fix="Pack it again")
    _check_listed(sealed, {name: member.size for name, member in found.items() if name != HEAD}, path)
    return sealed


def unpack_job(path: Path, folder: Path) -> Unpacked:
    """The job's files in `folder` (one that is there is used if it is whole), loaded and checked against its hashes.

    InputError on a job that is damaged, altered or of a newer filterkit.
    """
    sealed = read_sealed(path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        if not _whole(sealed, folder):
            shutil.rmtree(folder, ignore_errors=True)
            _extract(sealed, path, folder)
        return load_unpacked(sealed, folder, path)
    except FilterkitError:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # where it was made for this
            folder.parent.rmdir()
        raise


def load_unpacked(sealed: SealedJob, folder: Path, path: Path) -> Unpacked:
    """A job whose files lie in `folder`, having come from `path`."""
    try:
        filter = load_filter(folder / "filter")
    except FilterkitError as error:
        raise InputError(f"its filter cannot be used here ({error.what})", where=path) from error
    info = sealed.data
    if filter.name != sealed.filter or filter.spec.target_hash != sealed.target_hash:
        raise InputError("its filter is not the one that it names", where=path, fix="Pack it again")
    if info.request_hash != filter.request_hash(info.variant):
        raise InputError("its labels are of another rubric than its filter's", where=path, fix="Pack it again")
    files = {name: folder / "data" / f"{name}.jsonl" for name in ("train", "val")}
    splits = {name: read_split(filter.spec, file, weighted=info.weighted) for name, file in files.items()}
    return Unpacked(sealed, filter, Data(info, splits))


def check_runs_here(sealed: SealedJob, options: Mapping[str, Any], where: Path) -> None:
    """PluginError with the install command where the job's trainer is not installed, ConfigError on its options.

    Warns where another filterkit packed it.
    """
    name = sealed.trainer
    if not plugins().claims("trainer", name) and name not in KNOWN_DISTS:
        for dist, version in sealed.packages.items():
            if dist != "filterkit":
                raise PluginError(
                    f"there is no trainer {name!r} here", where=where, fix=f"Install it: pip install {dist}=={version}"
                )
    check_options(plugins().load("trainer", name), "trainer", name, options)
    if sealed.packed_by != __version__:
        warnings.warn(f"the job was packed by filterkit {sealed.packed_by}, and this is {__version__}", stacklevel=2)


def _check_replaceable(path: Path) -> None:
    if not path.exists():
        return
    try:
        read_sealed(path)
    except FilterkitError as error:
        raise ConfigError("is there already, and is no sealed job", where=path, fix="Name another file") from error


def _check_trainer(request: TrainRequest) -> dict[str, str]:
    """The trainer's dist and version, its options having been checked; empty where it is not installed here."""
    name = request.trainer
    claims = plugins().claims("trainer", name)
    if not claims and name in KNOWN_DISTS:
        warnings.warn(
            f"trainer {name!r} is not installed here, so its options were not checked "
            f"(to check them: pip install {KNOWN_DISTS[name]})",
            stacklevel=2,
        )
        return {}
    check_options(plugins().load("trainer", name), "trainer", name, request.options)
    return {
        claim.dist: claim.version
        for claim in claims
        if claim.dist != "filterkit" and re.match(_PACKAGE, claim.dist) and re.match(_PACKAGE, claim.version)
    }


def _check_listed(sealed: SealedJob, sizes: Mapping[str, int], path: Path) -> None:
    """The archive holds exactly what the job lists, and that is what a job consists of."""
    for name in sealed.files:
        check_name(name, path)
    others = [name for name in sealed.files if name not in (_FILTER, _TRAIN, _VAL)]
    prompts = [name for name in others if name.startswith("filter/")]
    if len(others) != 1 or others != prompts or len(sealed.files) != 4:
        raise InputError("is not a valid job (it must list a filter, its prompt, train and val)", where=path)
    stray = sorted(set(sizes) - set(sealed.files))
    if stray:
        raise InputError(f"holds {stray[0]!r}, which the job does not list", where=path)
    for name, entry in sealed.files.items():
        if name not in sizes:
            raise InputError(f"is cut short: {name} is missing", where=path, fix="Copy it again")
        if sizes[name] != entry.size:
            raise InputError(f"{name} has another size than the job says", where=path, fix="Copy it again")


def _extract(sealed: SealedJob, path: Path, folder: Path) -> None:
    """The job's files, checked, in `folder`, which appears whole."""
    found = members(path)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}-"))
    try:
        for name, entry in sealed.files.items():
            copy_member(path, found[name], aside / name)
            if sha256_file(aside / name) != entry.sha256:
                raise InputError(f"{name} is damaged or was altered (its SHA-256 is another)", where=path)
        with contextlib.suppress(OSError):  # another process of this job was quicker
            aside.replace(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _whole(sealed: SealedJob, folder: Path) -> bool:
    return all(
        (folder / name).is_file() and sha256_file(folder / name) == entry.sha256 for name, entry in sealed.files.items()
    )


def _paths(options: Mapping[str, Any], root: Path) -> Iterator[tuple[str, str]]:
    """Options that name files or folders of this machine."""
    for name, value in options.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, Mapping):
                yield from ((f"{name}.{inner}", path) for inner, path in _paths(one, root))
            elif isinstance(one, str) and _is_path(one, root):
                yield name, one


def _is_path(text: str, root: Path) -> bool:
    if text.startswith(("/", "./", "../", "~", ".\\", "..\\")) or Path(text).is_absolute():
        return True
    try:
        return bool(text.strip()) and (root / text).exists()
    except (OSError, ValueError):
        return False
