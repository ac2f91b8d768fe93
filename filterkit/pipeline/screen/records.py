"""What screening found: counts, and which article is left out why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["near-duplicate", "boilerplate", "prefilter"]


@dataclass
class ScreenReport:
    """How many articles screening looked at and left out.

    read = kept + near_duplicates + boilerplate + prefilter. copies: kept ones with the text of another kept one, which
    are one question. boilerplate_by: what they are instead; blocked_by, blocked_by_source: "rule/language" and
    "rule/source" of those that the prefilter held back; shadowed_by, shadowed_by_source: that its rules in shadow mode
    would have, and that were kept.
    """

    read: int = 0
    kept: int = 0
    copies: int = 0
    near_duplicates: int = 0
    boilerplate: int = 0
    prefilter: int = 0
    boilerplate_by: Counter[str] = field(default_factory=Counter)
    blocked_by: Counter[str] = field(default_factory=Counter)
    blocked_by_source: Counter[str] = field(default_factory=Counter)
    shadowed_by: Counter[str] = field(default_factory=Counter)
    shadowed_by_source: Counter[str] = field(default_factory=Counter)

    @property
    def left_out(self) -> int:
        """How many articles are not asked about."""
        return self.near_duplicates + self.boilerplate + self.prefilter

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        counts = {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}
        return {**counts, "left_out": self.left_out}


@dataclass(frozen=True)
class LeftOut:
    """One article that is not asked about: where it stands (line from 1), and why.

    what: the kind of boilerplate or the prefilter's rule; like: id of the kept article that it is like, and similarity
    the estimated share of character 5-grams that they have in common.
    """

    id: str
    file: str
    line: int
    reason: Kind
    what: str = ""
    like: str | None = None
    similarity: float | None = None
