"""Postfilter `overall`: the weighted overall as it is. No tiers, no caps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from filterkit.api import F32, Article, Context, FilterSpec, Options, Postfilter, SpecError, Verdicts


class OverallOptions(Options):
    """What passes."""

    pass_at: float | None = Field(
        None, description="lowest overall that passes, in scale units; unset: all that was scored"
    )


class OverallPostfilter(Postfilter[OverallOptions]):
    """Passes what was scored and reaches `pass_at`."""

    Options: ClassVar[type[Options]] = OverallOptions

    def __init__(self, options: OverallOptions, spec: FilterSpec, ctx: Context) -> None:
        super().__init__(options, spec, ctx)
        scale, pass_at = spec.scale, options.pass_at
        if pass_at is not None and not scale.min <= pass_at <= scale.max:
            raise SpecError(
                f"pass_at is {pass_at:g}, outside of {scale.min:g} to {scale.max:g}", where="postfilter overall"
            )

    @property
    def tiers(self) -> tuple[str, ...]:
        return ()

    @property
    def rules(self) -> tuple[str, ...]:
        return ()

    def judge(self, articles: Sequence[Article] | None, scores: F32, overall: F32, interval: F32 | None) -> Verdicts:
        judged = ~np.isnan(scores).any(axis=1) & ~np.isnan(overall)
        lowest = -np.inf if self.options.pass_at is None else self.options.pass_at
        return Verdicts(
            overall=np.where(judged, overall, np.nan).astype(np.float32),
            tier=np.full(len(overall), -1, np.int16),
            passed=judged & (overall >= lowest),
            reasons=np.zeros(len(overall), np.uint64),
        )
