"""A calibrator: one small monotone map per dimension from a student's score to a corrected one. Data, not code."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from filterkit.errors import InputError
from filterkit.records import F32, Record

Method = Literal["none", "shift", "affine", "isotonic"]


class DimensionMap(Record):
    """Piecewise linear through the points (x, y), constant beyond the ends; `none` has no points."""

    method: Method = "none"
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _monotone(self) -> DimensionMap:
        if len(self.x) != len(self.y) or (self.method == "none") != (not self.x):
            raise ValueError("a calibration map needs as many x as y, and points unless it is none")
        if any(b <= a for a, b in zip(self.x, self.x[1:], strict=False)):
            raise ValueError("the x of a calibration map must rise")
        if any(b < a for a, b in zip(self.y, self.y[1:], strict=False)):
            raise ValueError("the y of a calibration map must not fall")
        return self


class Calibrator(Record):
    """One map per dimension. `gain` is the mean absolute error saved, as cross-validation saw it, per dimension."""

    maps: tuple[DimensionMap, ...]
    gain: tuple[float, ...] = Field(())

    def apply(self, predictions: F32) -> F32:
        """Calibrated copy of predictions [n, d]; NaN stays NaN. InputError when d is another."""
        scores = np.array(predictions, dtype=np.float32, copy=True)
        if scores.ndim != 2 or scores.shape[1] != len(self.maps):
            raise InputError(f"the calibrator knows {len(self.maps)} dimensions, not an array {scores.shape}")
        for column, one in enumerate(self.maps):
            if one.method != "none":
                scores[:, column] = np.interp(scores[:, column], one.x, one.y)
        return scores
