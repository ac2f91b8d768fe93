"""All that a student says of some articles, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterkit.records import F32


@dataclass(frozen=True)
class Look:
    """Of n articles and d dimensions, in scale units; rows that failed are NaN, and not sure.

    raw [n, d] before calibration and scores [n, d] after it; intervals [n, d, 2] the prediction interval of each score,
    NaN where the calibrator knows none; overall_intervals [n, 2] that of the weighted overall before caps; sure [n]
    whether both its ends lie in one tier under the same caps. The last three are None where there are none at all.
    """

    raw: F32
    scores: F32
    intervals: F32 | None
    overall_intervals: F32 | None
    sure: NDArray[np.bool_] | None

    def take(self, rows: NDArray[np.intp]) -> Look:
        """The given rows, in their order."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        taken: dict[str, Any] = {name: None if c is None else c[rows] for name, c in columns.items()}
        return Look(**taken)

    def to_lists(self) -> dict[str, Any]:
        """As what JSON can hold: nested lists with None for NaN."""
        return {f.name: _nested(getattr(self, f.name)) for f in fields(self)}

    @staticmethod
    def from_lists(given: Mapping[str, Any]) -> Look:
        """What `to_lists` made."""
        columns: dict[str, Any] = {
            name: None if column is None else np.array(column, dtype=np.bool_ if name == "sure" else np.float32)
            for name, column in given.items()
        }
        return Look(**columns)

    @staticmethod
    def concatenate(parts: Sequence[Look]) -> Look:
        """The rows of all parts, one after the other. What only some of them know is NaN, or not sure, for the rest."""
        joined: dict[str, Any] = {}
        for f in fields(Look):
            columns = [getattr(part, f.name) for part in parts]
            known = next((c for c in columns if c is not None), None)
            if known is not None:
                blank = False if f.name == "sure" else np.nan
                columns = [
                    np.full((len(part.scores), *known.shape[1:]), blank, known.dtype) if c is None else c
                    for part, c in zip(parts, columns, strict=True)
                ]
            joined[f.name] = None if known is None else np.concatenate(columns)
        return Look(**joined)


def _nested(column: NDArray[Any] | None) -> Any:
    if column is None or column.dtype == np.bool_:
        return None if column is None else column.tolist()
    kept = column.astype(object)
    kept[np.isnan(column)] = None
    return kept.tolist()
