"""Prefilter: holds articles back before any model reads them. Postfilter: turns scores into verdicts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from filterkit.contracts.base import Backend, O
from filterkit.records import F32, Article, Block, Pass, Verdicts


class Prefilter(Backend[O]):
    """Rules on text. The core counts per language and source what is blocked."""

    @abstractmethod
    def judge(self, articles: Sequence[Article]) -> list[Pass | Block]:
        """One answer per article, in order; pure, and independent of the other articles."""


class Postfilter(Backend[O]):
    """Arithmetic on scores, in columns. Its constructor raises SpecError when a rule names what the filter lacks."""

    @property
    @abstractmethod
    def tiers(self) -> tuple[str, ...]:
        """Names of the tiers, best first; empty when this postfilter knows none."""

    @property
    @abstractmethod
    def rules(self) -> tuple[str, ...]:
        """Names of at most 64 rules, in the order of the bits in `Verdicts.reasons`."""

    @abstractmethod
    def judge(self, articles: Sequence[Article] | None, scores: F32, overall: F32, interval: F32 | None) -> Verdicts:
        """Verdicts for n rows.

        scores [n, d] calibrated, in spec order; overall [n] the core's weighted mean; interval [n, d, 2] the
        prediction interval of each score (NaN where there is none), or None; articles [n], or None where only scores
        are at hand (during validation). A row with NaN scores gets overall NaN, tier -1, not passed, no reasons.
        """
