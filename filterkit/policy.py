"""A filter's policy: the backends that turn scores into verdicts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from filterkit.contracts import Context, Postfilter, Prefilter
from filterkit.options import make_backend
from filterkit.spec import FilterSpec

NOWHERE = Context(workdir=Path(tempfile.gettempdir()))
"""Models and postfilters keep no files of their own between runs."""


def make_postfilter(spec: FilterSpec) -> Postfilter[Any]:
    """The postfilter that a filter declares. PluginError says what to install when it is not there."""
    made: Postfilter[Any] = make_backend("postfilter", spec.postfilter.use, spec.postfilter.options, spec, NOWHERE)
    return made


def make_prefilter(spec: FilterSpec) -> Prefilter[Any] | None:
    """The prefilter that a filter declares, if any. PluginError says what to install when it is not there."""
    if spec.prefilter is None:
        return None
    made: Prefilter[Any] = make_backend("prefilter", spec.prefilter.use, spec.prefilter.options, spec, NOWHERE)
    return made


def check_policy(spec: FilterSpec) -> None:
    """Raise what making the filter's pre- and postfilter raises: before any work is done, or anything shipped."""
    for made in (make_prefilter(spec), make_postfilter(spec)):
        if made is not None:
            made.close()
