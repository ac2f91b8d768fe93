"""A filter's policy: the weighted overall, which is the core's, and the backends that turn scores into verdicts."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from filterkit.contracts import Context, Postfilter, Prefilter
from filterkit.options import make_backend
from filterkit.records import F32
from filterkit.spec import FilterSpec

DECIMALS = 4
"""Of scores and overalls. They are rounded before they are judged, so that nobody reads 7.0 below the tier from 7."""
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


def overall(scores: F32, weights: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]]) -> F32:
    """Weighted mean [n] of scores [n, d]; columns of weight 0 (flags) do not count, a NaN score makes it NaN.

    Summed in float64 and rounded to 4 decimals, so that a score of exactly 7 everywhere is an overall of 7.
    """
    w = np.asarray(weights, dtype=np.float64)
    counted = np.flatnonzero(w)
    total = np.zeros(len(scores), dtype=np.float64)
    for column in counted:
        total += w[column] * scores[:, column]
    return rounded(total / w.sum())


def rounded(values: np.ndarray[Any, np.dtype[np.float64]]) -> F32:
    """Values to so many decimals as scores have, float32."""
    kept: F32 = np.round(values, DECIMALS).astype(np.float32)
    return kept
