"""A shipped student that answers requests; a copy of this module runs on the endpoint, where no plugin is looked up."""

from __future__ import annotations

import importlib
import json
import logging
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filterkit.api import (
    ArtifactError,
    BaseStudent,
    Context,
    FilterkitError,
    FilterSpec,
    Manifest,
    Postfilter,
    Prefilter,
    Scorer,
    answer_rows,
    load_manifest,
    read_request,
    tell_forced,
    write_answer,
)

FILTER = "runtime/filter.json"
"""The filter whose policy is applied; the one in the student's manifest may be older than its tiers and caps."""
_ROWS_AT_ONCE = 64
"""Between so many rows another thread's request gets its turn."""


class ShippedStudent(BaseStudent):
    """A student whose pre- and postfilter were made beforehand. Not thread-safe."""

    def __init__(
        self,
        spec: FilterSpec,
        manifest: Manifest,
        scorer: Scorer,
        postfilter: Postfilter[Any],
        prefilter: Prefilter[Any] | None,
    ) -> None:
        super().__init__(spec, manifest, scorer)
        self._postfilter = postfilter
        self._prefilter = prefilter

    @property
    def postfilter(self) -> Postfilter[Any]:
        return self._postfilter

    @property
    def prefilter(self) -> Prefilter[Any] | None:
        return self._prefilter


class Endpoint:
    """The student in a folder. model, postfilter, prefilter: where their classes live ("package.module:Class").

    Raises ArtifactError when the folder is damaged.
    """

    def __init__(self, folder: Path, *, model: str, postfilter: str, prefilter: str) -> None:
        manifest = load_manifest(folder)
        spec = _filter(folder, manifest)
        self._student = ShippedStudent(
            spec,
            manifest,
            _made(model, {}, spec).load(str(folder)),
            _made(postfilter, spec.postfilter.options, spec),
            _made(prefilter, spec.prefilter.options, spec) if spec.prefilter else None,
        )
        self._turn = threading.Lock()
        tell_forced(manifest)

    def answer(self, data: Any) -> Any:
        """What the request in `data` gets. The inference toolkit makes a 400 with the text of what is raised here.

        ValueError says what is wrong with a request; RuntimeError: scoring failed, and the log says why.
        """
        try:
            request = read_request(data)
            answers: list[Any] = []
            for start in range(0, len(request.rows), _ROWS_AT_ONCE):
                with self._turn:
                    answers += answer_rows(self._student, request.rows[start : start + _ROWS_AT_ONCE])
            return write_answer(request, answers)
        except FilterkitError as error:
            raise ValueError(str(error)) from None
        except Exception:
            logging.getLogger(__name__).exception("scoring failed")
            raise RuntimeError("scoring failed; the log of the endpoint says why") from None


def _filter(folder: Path, manifest: Manifest) -> FilterSpec:
    try:
        spec = FilterSpec.model_validate(json.loads((folder / FILTER).read_bytes()))
    except (OSError, ValueError) as error:
        raise ArtifactError("is missing or damaged", where=folder / FILTER, fix="Deploy again") from error
    if spec.target_hash != manifest.target_hash:
        raise ArtifactError("asks for other dimensions than the student answers", where=folder / FILTER)
    return spec


def _made(target: str, options: Mapping[str, Any], spec: FilterSpec) -> Any:
    """An instance of the backend that lives at `target`."""
    module, _, name = target.partition(":")
    backend = getattr(importlib.import_module(module), name)
    context = Context(workdir=Path(tempfile.gettempdir()))
    return backend(backend.Options.model_validate(dict(options)), spec, context)
