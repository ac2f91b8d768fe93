"""A calibrator: one small map per dimension from a student's scores to a corrected one, and how far that may be off.

Data, not code: it is written as JSON into a manifest and applied with numpy alone.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from filterkit.errors import InputError
from filterkit.records import F32, Record

F64 = NDArray[np.float64]

Method = Literal["none", "shift", "shift_scale", "isotonic", "l1_isotonic", "l1_map"]

LARGEST = float(np.finfo(np.float32).max)
"""Of a score: predictions are float32."""


class DimensionMap(Record):
    """How one dimension is corrected; `none` leaves it as it is.

    All but l1_map are piecewise linear through the points (x, y) of the dimension's own score, never falling, and
    constant beyond the ends. l1_map adds to the own score `offset` and, for every dimension k, `weights[k]` times how
    far its score, kept inside of `low[k]` to `high[k]` (what was seen), lies from `centres[k]`, which also stands in
    for a score that is missing.
    """

    method: Method = "none"
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    offset: float = 0.0
    weights: tuple[float, ...] = ()
    centres: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _monotone(self) -> DimensionMap:
        if len(self.x) != len(self.y) or (self.method in ("none", "l1_map")) != (not self.x):
            raise ValueError("a calibration map needs as many x as y, and points unless it is none or l1_map")
        if any(b <= a for a, b in zip(self.x, self.x[1:], strict=False)):
            raise ValueError("the x of a calibration map must rise")
        if any(b < a for a, b in zip(self.y, self.y[1:], strict=False)):
            raise ValueError("the y of a calibration map must not fall")
        return self

    @model_validator(mode="after")
    def _complete(self) -> DimensionMap:
        sizes = {len(self.weights), len(self.centres), len(self.low), len(self.high)}
        if len(sizes) > 1 or (self.method == "l1_map") != bool(self.weights):
            raise ValueError("an l1_map, and no other, has one weight, centre, low and high per dimension")
        if any(low > high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError("the low of an l1_map must not lie above its high")
        return self

    def apply(self, scores: F64, own: int) -> F64:
        """The corrected score [n] of dimension `own`, from the uncorrected ones [n, d]; NaN where the own is NaN."""
        column: F64 = scores[:, own]
        if self.method == "none":
            return column
        if self.method == "l1_map":
            known = np.where(np.isnan(scores), self.centres, scores)
            off = np.clip(known, self.low, self.high) - np.asarray(self.centres)
            mapped: F64 = np.clip(column + self.offset + off @ np.asarray(self.weights), -LARGEST, LARGEST)
        else:
            mapped = np.interp(column, self.x, self.y)
        return mapped


class Spread(Record):
    """Half the width of a prediction interval, in scale units: piecewise linear over the calibrated score, constant
    beyond the ends."""

    x: tuple[float, ...] = Field(min_length=1)
    y: tuple[float, ...]

    @model_validator(mode="after")
    def _function(self) -> Spread:
        if len(self.x) != len(self.y) or any(b <= a for a, b in zip(self.x, self.x[1:], strict=False)):
            raise ValueError("a spread needs as many x as y, and the x must rise")
        if min(self.y) < 0:
            raise ValueError("a spread must not be negative")
        return self

    def around(self, scores: F32) -> F32:
        """Intervals [n, 2] around calibrated scores [n]; NaN around NaN.

        One float32 wider at both ends than computed, so that rounding leaves no label out that equals the score.
        """
        half = np.interp(np.asarray(scores, dtype=np.float64), self.x, self.y)
        ends = np.stack([scores - half, scores + half], axis=1).astype(np.float32)
        return np.nextafter(ends, np.array([-np.inf, np.inf], dtype=np.float32))


class OverallInterval(Record):
    """The spread of the overall under these `weights`; `spread` None, with the reason, where it is not known."""

    weights: tuple[float, ...] = ()
    spread: Spread | None = None
    reason: str | None = None


class Calibrator(Record):
    """One map per dimension. `gain` is the mean absolute error saved, as cross-validation saw it, per dimension.

    `spreads`: per dimension the interval that holds a label with probability `coverage`, or None with its reason.
    """

    maps: tuple[DimensionMap, ...]
    gain: tuple[float, ...] = Field(())
    coverage: float = Field(0.9, gt=0, lt=1)
    spreads: tuple[Spread | None, ...] = ()
    reasons: tuple[str | None, ...] = ()

    @model_validator(mode="after")
    def _one_each(self) -> Calibrator:
        d = len(self.maps)
        if any(len(m.weights) not in (0, d) for m in self.maps):
            raise ValueError("an l1_map needs one weight per dimension")
        if len(self.spreads) not in (0, d) or len(self.reasons) not in (0, d):
            raise ValueError("a calibrator has one spread and one reason per dimension, or none")
        return self

    def apply(self, predictions: F32) -> F32:
        """Calibrated copy of predictions [n, d]; NaN stays NaN. InputError when d is another."""
        scores = np.array(predictions, dtype=np.float32, copy=True)
        if scores.ndim != 2 or scores.shape[1] != len(self.maps):
            raise InputError(f"the calibrator knows {len(self.maps)} dimensions, not an array {scores.shape}")
        raw = scores.astype(np.float64)
        for column, one in enumerate(self.maps):
            if one.method != "none":
                scores[:, column] = one.apply(raw, column)
        return scores

    def interval(self, predictions: F32) -> F32:
        """Prediction intervals [n, d, 2] (low, high) around the calibrated scores of uncalibrated predictions [n, d].

        A new article's label lies inside with probability `coverage`, on average over articles like those of the
        validation split. Not clipped to any scale. NaN where a score is, or where `spreads` knows none (`reasons` says
        why). InputError when d is another.
        """
        return self.interval_around(self.apply(predictions))

    def interval_around(self, scores: F32) -> F32:
        """As `interval`, around scores [n, d] that are calibrated already."""
        out = np.full((*scores.shape, 2), np.nan, dtype=np.float32)
        for column, spread in enumerate(self.spreads):
            if spread is not None:
                out[:, column] = spread.around(scores[:, column])
        return out
