"""A student from its folder, judging with the backends that are installed."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from functools import cached_property
from pathlib import Path
from typing import Any

from filterkit.contracts import Model, Postfilter, Prefilter, Scorer
from filterkit.errors import ArtifactError, ConfigError
from filterkit.filters import Filter, load_filter
from filterkit.forced import tell_forced
from filterkit.judging import BaseStudent
from filterkit.judging import Verdict as Verdict
from filterkit.look import Look as Look
from filterkit.manifest import Manifest, load_manifest
from filterkit.options import make_backend
from filterkit.plugins import plugins
from filterkit.policy import NOWHERE, make_postfilter, make_prefilter
from filterkit.shipped import student_folder
from filterkit.spec import FilterSpec


def load_scorer(folder: str | Path, *, device: str = "auto", threads: int | None = None) -> Scorer:
    """The scorer of a student's folder, uncalibrated, after its hashes were checked."""
    path = student_folder(Path(folder))
    return _scorer(path, load_manifest(path), device, threads, None)


def _scorer(
    folder: Path, manifest: Manifest, device: str, threads: int | None, shared: MutableMapping[str, Any] | None
) -> Scorer:
    model = make_backend("model", manifest.format, {}, manifest.spec, NOWHERE)
    scorer: Scorer = model.load(str(folder), device=device, threads=threads, shared=shared)
    return scorer


def remote_model(address: str, spec: FilterSpec, options: Mapping[str, Any] = {}) -> Model[Any]:
    """The remote model that reads an address, made; `options` may name another one as `use`.

    Raises PluginError when there is none, ConfigError when it is not a remote one.
    """
    given = dict(options)
    name = str(given.pop("use", None) or plugins().reader_of(address))
    model: Model[Any] = make_backend("model", name, given, spec, NOWHERE)
    if not model.remote:
        raise ConfigError(f"model {name!r} reads folders, not addresses", where=address)
    return model


class Student(BaseStudent):
    """A student whose policy is made of installed plugins. Not thread-safe."""

    @cached_property
    def postfilter(self) -> Postfilter[Any]:
        return make_postfilter(self.spec)

    @cached_property
    def prefilter(self) -> Prefilter[Any] | None:
        return make_prefilter(self.spec)


def load_student(
    folder: str | Path,
    filter: Filter | str | Path | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    shared: MutableMapping[str, Any] | None = None,
    quiet: bool = False,
    remote: str | None = None,
    remote_options: Mapping[str, Any] = {},
) -> Student:
    """The student in a folder, under the policy it was trained with or that of `filter`.

    A folder of the deployer `local` stands for what is live in it. Raises ArtifactError when the folder is damaged, or
    answers another question than `filter` asks. Warns, once per process, of a student that was shipped although its
    gates refused it; `quiet`: not even then, as in workers whose parent has said it.

    remote: the address (https://…, hf://owner/name@revision) that scores in the folder's place; the folder then needs
    no more than its filterkit.json, which still calibrates. What says there that it is another student is refused.
    remote_options: those of the remote model, by name.
    """
    path = student_folder(Path(folder))
    manifest = load_manifest(path, verify=remote is None)
    spec = manifest.spec
    if filter is not None:
        loaded = filter if isinstance(filter, Filter) else load_filter(filter)
        check_fits(loaded, manifest, path)
        spec = loaded.spec
    if not quiet:
        tell_forced(manifest)
    if remote is None:
        return Student(spec, manifest, _scorer(path, manifest, device, threads, shared))
    model = remote_model(remote, spec, remote_options)
    check_same(model, remote, manifest, path)
    return Student(spec, manifest, model.load(remote, device=device, threads=threads, shared=shared))


def check_same(model: Model[Any], remote: str, manifest: Manifest, where: Path) -> None:
    """Refuse an address that says it scores with another student than the folder's, whose calibrator is not its."""
    theirs = model.student_hash(remote)
    if theirs is not None and theirs != manifest.student_hash:
        raise ArtifactError(
            f"scores with student {theirs[:12]}, and {where} is student {manifest.student_hash[:12]}",
            where=remote,
            fix="Name the folder of the student that is there",
        )


def check_fits(filter: Filter, manifest: Manifest, where: Path) -> None:
    """Refuse a student that was made for another filter, other dimensions, or labels of another question."""
    if manifest.spec.name != filter.name:
        raise ArtifactError(
            f"this student was trained for filter {manifest.spec.name!r}, not {filter.name!r}", where=where
        )
    if manifest.target_hash != filter.spec.target_hash:
        raise ArtifactError(
            f"this student answers other dimensions, scale or input than {filter.name} {filter.spec.version} asks for",
            where=where,
            fix="Train again",
        )
    if manifest.request_hash != filter.request_hash(manifest.data.variant):
        raise ArtifactError(
            "this student learnt from labels of another rubric than the filter's",
            where=where,
            fix="Label, prepare and train again, or go back to the rubric it was trained with",
        )
