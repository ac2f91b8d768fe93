"""Postfilter `tiers`: gatekeepers and caps lower the overall, then thresholds on it make tiers.

All of it is arithmetic on columns, in blocks, so a million rows cost fractions of a second and little memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator

from filterkit.api import F32, Article, Context, FilterSpec, InputError, Options, Postfilter, SpecError, Verdicts

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
Mask = NDArray[np.bool_]

MAX_RULES = 64
"""`Verdicts.reasons` has 64 bits."""

SLACK = 1e-6
"""How far short of a bound a value still reaches it, as a share of the scale's largest magnitude.

On 0–10 that is 0.00001. Scores are float32: the weighted mean of eight scores that are all exactly 7 can come out
as 6.999999. No student measures that finely, so such a value counts as what it was meant to be.
"""

BLOCK_ROWS = 1 << 16
"""Rows worked on at a time: temporary columns stay in the processor's cache, and do not grow with n."""


class Condition(Options):
    """A score or flag that reaches a bound, or stays below it."""

    dimension: str = Field(description="a score or a flag of the filter")
    at_least: float | None = Field(None, description="holds when the score is this or more, in scale units")
    below: float | None = Field(None, description="holds when the score is less than this, in scale units")

    @model_validator(mode="after")
    def _one_bound(self) -> Condition:
        if (self.at_least is None) == (self.below is None):
            raise ValueError("a condition has exactly one of at_least and below")
        return self

    @property
    def bound(self) -> float:
        """The one of at_least and below that was given."""
        bound = self.below if self.at_least is None else self.at_least
        assert bound is not None
        return bound


class Gatekeeper(Options):
    """A score that an article must reach, or its overall is capped; `unless` is the exception."""

    name: Name | None = Field(None, description="how verdicts call this rule; default gatekeeper:DIMENSION")
    dimension: str = Field(description="a score or a flag of the filter")
    below: float = Field(description="applies when the score is less than this, in scale units")
    cap: float = Field(description="the overall is at most this where the rule applies, in scale units")
    unless: tuple[Condition, ...] = Field((), description="does not apply where all of these hold")

    @property
    def label(self) -> str:
        """The name in verdicts, written or default."""
        return self.name or f"gatekeeper:{self.dimension}"

    @property
    def when(self) -> tuple[Condition, ...]:
        """What makes it apply, as the conditions of a cap."""
        return (Condition(dimension=self.dimension, below=self.below),)


class Cap(Options):
    """A limit on the overall where all of some conditions hold."""

    name: Name = Field(description="how verdicts call this rule")
    cap: float = Field(description="the overall is at most this where the rule applies, in scale units")
    when: tuple[Condition, ...] = Field(min_length=1, description="applies where all of these hold")


class Tier(Options):
    """A class of articles, by their overall after gatekeepers and caps."""

    name: Name = Field(description="the tier's name")
    at_least: float | None = Field(None, description="the least overall of this tier; the last tier has none")


class TiersOptions(Options):
    """Options of the postfilter `tiers`."""

    model_config = ConfigDict(populate_by_name=True)  # `pass` is a keyword of Python, so the field has two spellings

    gatekeepers: tuple[Gatekeeper, ...] = Field((), description="scores that an article must reach")
    caps: tuple[Cap, ...] = Field((), description="limits on the overall under conditions")
    tiers: tuple[Tier, ...] = Field(
        min_length=1, max_length=64, description="best first, at_least falling; the last takes the rest"
    )
    pass_: str | None = Field(
        None, alias="pass", description="the lowest tier that passes; default: all but the last pass"
    )

    @model_validator(mode="after")
    def _rules_can_be_told_apart(self) -> TiersOptions:
        labels = [g.label for g in self.gatekeepers] + [c.name for c in self.caps]
        for label in _repeated(labels):
            raise ValueError(f"two rules are called {label!r}; give each its own name")
        if len(labels) > MAX_RULES:
            raise ValueError(f"{len(labels)} gatekeepers and caps are more than {MAX_RULES}")
        return self

    @model_validator(mode="after")
    def _tiers_fall(self) -> TiersOptions:
        names = [t.name for t in self.tiers]
        for name in _repeated(names):
            raise ValueError(f"two tiers are called {name!r}")
        *upper, last = self.tiers
        if last.at_least is not None:
            raise ValueError(f"the last tier {last.name!r} takes the rest and has no at_least")
        least = float("inf")
        for tier in upper:
            if tier.at_least is None:
                raise ValueError(f"tier {tier.name!r} needs at_least: only the last tier takes the rest")
            if tier.at_least >= least:
                raise ValueError(f"at_least of tier {tier.name!r} must be less than that of the one before")
            least = tier.at_least
        if self.pass_ is not None and self.pass_ not in names:
            raise ValueError(f"pass names no tier: {self.pass_!r}{_guess(self.pass_, names)}")
        return self


class TiersPostfilter(Postfilter[TiersOptions]):
    """Lowers the overall by gatekeepers and caps, and says its tier.

    A rule applies to a row when its condition holds, and is then named in `reasons`, even where the overall was
    below its cap already: two caps that both hold are both named. The order of rules changes no verdict, since
    the lowest cap wins.
    """

    Options = TiersOptions

    def __init__(self, options: TiersOptions, spec: FilterSpec, ctx: Context) -> None:
        super().__init__(options, spec, ctx)
        problems = list(_problems(options, spec))
        if problems:
            fix = f"The filter's dimensions: {', '.join(spec.names)}"
            raise SpecError("; ".join(problems), where="postfilter tiers", fix=fix)
        self._rules = _compile(options, spec)
        slack = _slack(spec)
        self._bounds = [np.float32(t.at_least - slack) for t in options.tiers if t.at_least is not None]
        names = self.tiers
        self._lowest_passing = max(len(names) - 2, 0) if options.pass_ is None else names.index(options.pass_)

    @property
    def tiers(self) -> tuple[str, ...]:
        """Names of the tiers, best first."""
        return tuple(t.name for t in self.options.tiers)

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the rules: gatekeepers, then caps, in the order of the options."""
        return tuple(rule.name for rule in self._rules)

    def judge(
        self,
        articles: Sequence[Article] | None,
        scores: F32,
        overall: F32,
        interval: F32 | None,
    ) -> Verdicts:
        """Verdicts for n rows, from scores [n, d] and overall [n] in scale units alone.

        A row with a score or overall that is NaN or infinite is not judged: overall NaN, tier -1, not passed, no
        reasons. InputError when the shapes do not fit the filter.
        """
        scores, overall = np.asarray(scores), np.asarray(overall)
        n = self._count(scores, overall)
        out = Verdicts(
            overall=np.empty(n, np.float32),
            tier=np.empty(n, np.int16),
            passed=np.empty(n, np.bool_),
            reasons=np.empty(n, np.uint64),
        )
        for start in range(0, n, BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            columns = np.ascontiguousarray(scores[rows].T, dtype=np.float32)
            view = Verdicts(out.overall[rows], out.tier[rows], out.passed[rows], out.reasons[rows])
            self._judge_block(columns, overall[rows], view)
        return out

    def _count(self, scores: F32, overall: F32) -> int:
        """n, when the shapes fit."""
        d = len(self.spec.dimensions)
        if scores.ndim != 2 or scores.shape[1] != d or overall.shape != scores.shape[:1]:
            what = f"scores {scores.shape} and overall {overall.shape} are not [n, {d}] and [n]"
            raise InputError(what, where="postfilter tiers")
        return len(overall)

    def _judge_block(self, columns: F32, overall: F32, out: Verdicts) -> None:
        """Fill `out` [n], given columns [d, n] and overall [n]."""
        out.overall[:] = overall
        out.reasons[:] = 0
        out.tier[:] = 0
        for bit, rule in enumerate(self._rules):
            applies = rule.applies(columns)
            np.minimum(out.overall, rule.cap, out=out.overall, where=applies)
            np.bitwise_or(out.reasons, np.uint64(1 << bit), out=out.reasons, where=applies)
        for bound in self._bounds:
            out.tier[:] += out.overall < bound
        out.passed[:] = out.tier <= self._lowest_passing

        unjudged = ~(np.isfinite(overall) & np.isfinite(columns).all(axis=0))
        out.overall[unjudged] = np.nan
        out.tier[unjudged] = -1
        out.passed[unjudged] = False
        out.reasons[unjudged] = 0


@dataclass(frozen=True, slots=True)
class _Test:
    """A condition, ready for columns."""

    column: int
    bound: np.float32
    below: bool

    def holds(self, columns: F32) -> Mask:
        compare = np.less if self.below else np.greater_equal
        mask: Mask = compare(columns[self.column], self.bound)
        return mask


@dataclass(frozen=True, slots=True)
class _Rule:
    """A gatekeeper or a cap, ready for columns: caps where all of `when` hold, unless all of `unless` do."""

    name: str
    cap: np.float32
    when: tuple[_Test, ...]
    unless: tuple[_Test, ...] = ()

    def applies(self, columns: F32) -> Mask:
        mask = _all_hold(self.when, columns)
        if self.unless:
            mask &= ~_all_hold(self.unless, columns)
        return mask


def _all_hold(tests: Sequence[_Test], columns: F32) -> Mask:
    mask = tests[0].holds(columns)
    for test in tests[1:]:
        mask &= test.holds(columns)
    return mask


def _slack(spec: FilterSpec) -> float:
    """`SLACK` in scale units."""
    return SLACK * max(abs(spec.scale.min), abs(spec.scale.max))


def _compile(options: TiersOptions, spec: FilterSpec) -> list[_Rule]:
    slack = _slack(spec)

    def test(c: Condition) -> _Test:
        return _Test(spec.names.index(c.dimension), np.float32(c.bound - slack), below=c.at_least is None)

    def rule(name: str, cap: float, when: Sequence[Condition], unless: Sequence[Condition] = ()) -> _Rule:
        return _Rule(name, np.float32(cap), tuple(map(test, when)), tuple(map(test, unless)))

    gatekeepers = [rule(g.label, g.cap, g.when, g.unless) for g in options.gatekeepers]
    return gatekeepers + [rule(c.name, c.cap, c.when) for c in options.caps]


def _problems(options: TiersOptions, spec: FilterSpec) -> Iterator[str]:
    """What the options cannot see without the filter: unknown dimensions, numbers outside of the scale."""

    def outside(what: str, value: float) -> Iterator[str]:
        if not spec.scale.min <= value <= spec.scale.max:
            yield f"{what} ({value:g}) lies outside of the scale, {spec.scale.min:g} to {spec.scale.max:g}"

    def rule(name: str, cap: float, conditions: Sequence[Condition]) -> Iterator[str]:
        yield from outside(f"the cap of {name}", cap)
        for c in conditions:
            if c.dimension not in spec.names:
                yield f"{name} names an unknown dimension, {c.dimension!r}{_guess(c.dimension, spec.names)}"
            yield from outside(f"the bound of {c.dimension} in {name}", c.bound)

    for g in options.gatekeepers:
        yield from rule(f"gatekeeper {g.label!r}", g.cap, g.when + g.unless)
    for c in options.caps:
        yield from rule(f"cap {c.name!r}", c.cap, c.when)
    for tier in options.tiers:
        if tier.at_least is not None:
            yield from outside(f"at_least of tier {tier.name!r}", tier.at_least)


def _guess(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _repeated(names: Sequence[str]) -> Iterator[str]:
    """Names that were seen before, in order."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield name
        seen.add(name)
