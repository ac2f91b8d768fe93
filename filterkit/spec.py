"""What a filter is. `FilterSpec` is filter.yaml, checked; everything else about a filter derives from it.

Two of a filter's three fingerprints are here (`target_hash`, `policy_hash`); the third, of what the oracle
is asked, needs the rubric's text and stands in `filterkit.prompt`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from filterkit.records import canonical_json, sha256_text

SCHEMA = 1
"""Version of the filter.yaml format that this filterkit reads."""

Keep = Literal["head", "head+tail"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
DimensionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Part(BaseModel):
    """Base of all parts of a spec: an unknown key, NaN or infinity is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Scale(Part):
    """The range of every score."""

    min: float = Field(0.0, description="lowest score")
    max: float = Field(10.0, description="highest score")
    step: float | None = Field(None, gt=0, description="scores are multiples of this above min (1: whole numbers)")

    @model_validator(mode="after")
    def _rising(self) -> Scale:
        if self.max <= self.min:
            raise ValueError(f"max ({self.max:g}) must be above min ({self.min:g})")
        return self


class Dimension(Part):
    """One question that every article is scored on."""

    name: DimensionName = Field(description="lower-case identifier, the key of the score everywhere")
    weight: float = Field(0.0, ge=0, description="share of the overall; the weights of all scores sum to 1")
    role: Literal["score", "flag"] = Field(
        "score", description="a flag is asked and learnt, weighs nothing, feeds caps"
    )
    description: str = Field("", description="one line that says what is asked")
    anchors: dict[float, str] = Field({}, description="what some points of the scale mean")
    threshold: float | None = Field(
        None, description="a flag is set at or above this score; default: the middle of the scale"
    )

    @model_validator(mode="after")
    def _threshold_of_a_flag(self) -> Dimension:
        if self.threshold is not None and self.role != "flag":
            raise ValueError("only a flag has a threshold (the filter's own `threshold` is on the overall)")
        return self

    @model_validator(mode="after")
    def _flag_weighs_nothing(self) -> Dimension:
        if self.role == "flag" and self.weight:
            raise ValueError("a flag has no weight; remove it or make the role score")
        return self


class OracleInput(Part):
    """How much of an article the oracle reads."""

    max_chars: int = Field(20_000, ge=100, le=2_000_000, description="characters sent at most")
    keep: Keep = Field("head", description="what stays of a longer text")


class StudentInput(Part):
    """How much of an article the student reads."""

    max_tokens: int = Field(512, ge=16, le=131_072, description="tokens read at most, in the student's own tokens")
    keep: Keep = Field("head", description="what stays of a longer text")


class Input(Part):
    """How long texts are shortened, for the oracle and for the student."""

    oracle: OracleInput = Field(OracleInput(), description="what the oracle reads")
    student: StudentInput = Field(StudentInput(), description="what the student reads")


class Generation(Part):
    """How the oracle is asked to answer; part of the question, so a change asks anew."""

    temperature: float = Field(0.0, ge=0, le=2, description="0 for the most repeatable answer")
    max_output_tokens: int = Field(2048, ge=64, description="room for the answer; a longer one is refused as truncated")
    seed: int | None = Field(None, description="for providers that take one")


class Choice(BaseModel):
    """A backend by name; all other keys are its options, checked against the backend's own `Options`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: Annotated[str, Field(min_length=1)] = Field(description="name of the backend")

    @model_validator(mode="after")
    def _plain(self) -> Choice:
        try:
            canonical_json(self.model_extra)
        except (TypeError, ValueError):
            raise ValueError("options must be text, finite numbers, true or false, lists and mappings") from None
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The backend's options as written."""
        return dict(self.model_extra or {})


class Gates(Part):
    """What `validate` must show before `deploy` ships a student; null switches a gate off.

    What is compared is the worse end of the 95 % interval of the figure, not the figure itself.
    """

    mae: float | None = Field(
        1.0, gt=0, description="mean absolute error over scored dimensions below this, in scale units"
    )
    median_gain: float | None = Field(
        0.05, ge=0, lt=1, description="MAE lower than the constant median's by at least this share"
    )
    spearman: float | None = Field(
        0.3, ge=-1, lt=1, description="rank correlation, mean over scored dimensions, at least this"
    )
    top_recall: float | None = Field(
        0.3, ge=0, lt=1, description="share of the oracle's best tier that the student puts there too, at least this"
    )
    coverage: float | None = Field(
        0.75, ge=0, lt=0.9, description="share of labels inside of the 90 % prediction intervals, at least this"
    )
    f1: float | None = Field(None, ge=0, lt=1, description="F1 at the filter's `threshold`, at least this")
    unknown_labels: float | None = Field(
        0.0, ge=0, lt=1, description="share of the judged labels that are missing, at most this"
    )


UPPER_LIMITS = ("mae", "unknown_labels")
"""Gates whose figure must be small; that of all others must be large."""


class FilterSpec(Part):
    """filter.yaml: a filter, declared."""

    schema_version: Literal[1] = Field(alias="schema", description="format of this file, 1")
    name: Name = Field(description="the filter's name")
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,31}$")] = Field(
        description="the filter's version"
    )
    description: str = Field("", description="what the filter looks for, for people")
    scale: Scale = Field(Scale(), description="the range of every score")
    dimensions: tuple[Dimension, ...] = Field(
        min_length=1, max_length=64, description="what is scored, in score-vector order"
    )
    prompt: str = Field("prompt.md", description="the rubric's file, beside filter.yaml; ends with {{article}}")
    evidence: Literal["short", "none"] = Field("none", description="whether the oracle quotes a reason per score")
    generation: Generation = Field(Generation(), description="how the oracle is asked to answer")
    input: Input = Field(Input(), description="how long articles are shortened")
    prefilter: Choice | None = Field(None, description="what holds articles back before any model reads them")
    postfilter: Choice = Field(Choice(use="overall"), description="what turns scores into verdicts")
    oracle: Choice | None = Field(None, description="default oracle")
    trainer: Choice | None = Field(None, description="default trainer of the student")
    threshold: float | None = Field(
        None, description="an overall of this or more means yes; validation then reports precision, recall and F1"
    )
    gates: Gates = Field(Gates(), description="what a student must show before it ships")

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Dimension names in score-vector order, flags included."""
        return tuple(d.name for d in self.dimensions)

    @property
    def scored(self) -> tuple[int, ...]:
        """Column indices of the dimensions that are scores, not flags."""
        return tuple(i for i, d in enumerate(self.dimensions) if d.role == "score")

    @property
    def weights(self) -> tuple[float, ...]:
        """Weight of every column in the overall; flags have 0."""
        return tuple(d.weight for d in self.dimensions)

    @property
    def target_hash(self) -> str:
        """Fingerprint of what a student answers. Changed: a student trained before is refused."""
        return sha256_text(
            canonical_json(
                {
                    "dimensions": [[d.name, d.role] for d in self.dimensions],
                    "scale": self.scale.model_dump(),
                    "input": self.input.student.model_dump(),
                }
            )
        )

    @property
    def policy_hash(self) -> str:
        """Fingerprint of what is made of scores. Changed: nothing is relabelled, but gates are stale."""
        return sha256_text(
            canonical_json(
                {
                    "weights": {d.name: d.weight for d in self.dimensions},
                    "postfilter": self.postfilter.model_dump(),
                    "gates": self.gates.model_dump(),
                    "thresholds": [self.threshold, *(d.threshold for d in self.dimensions)],
                }
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain data under the keys of filter.yaml; `FilterSpec.model_validate` gives it back.

        What is None stays in: a gate that was switched off must not come back at its default.
        """
        return self.model_dump(mode="json", by_alias=True)


class Problem(NamedTuple):
    """Something wrong in a filter package: where in the YAML, and what."""

    loc: tuple[str | int, ...]
    what: str


def problems(spec: FilterSpec) -> list[Problem]:
    """What a spec's parts cannot see alone; empty when nothing is wrong."""
    found: list[Problem] = []
    seen: set[str] = set()
    for index, dimension in enumerate(spec.dimensions):
        if dimension.name in seen:
            found.append(Problem(("dimensions", index, "name"), f"two dimensions are called {dimension.name!r}"))
        seen.add(dimension.name)
        outside = [a for a in dimension.anchors if not spec.scale.min <= a <= spec.scale.max]
        for anchor in outside:
            found.append(
                Problem(
                    ("dimensions", index, "anchors"),
                    f"anchor {anchor:g} of {dimension.name!r} lies outside of the scale",
                )
            )
        if dimension.threshold is not None and not spec.scale.min <= dimension.threshold <= spec.scale.max:
            what = f"threshold {dimension.threshold:g} of {dimension.name!r} lies outside of the scale"
            found.append(Problem(("dimensions", index, "threshold"), what))
    if spec.threshold is not None and not spec.scale.min <= spec.threshold <= spec.scale.max:
        found.append(Problem(("threshold",), f"threshold {spec.threshold:g} lies outside of the scale"))
    if spec.gates.f1 is not None and spec.threshold is None:
        found.append(Problem(("gates", "f1"), "gate f1 needs the filter's `threshold`"))
    if not spec.scored:
        found.append(Problem(("dimensions",), "at least one dimension must have the role score"))
    else:
        found.extend(_weight_problems([d.weight for d in spec.dimensions if d.role == "score"]))
    return found


def _weight_problems(weights: Sequence[float]) -> list[Problem]:
    total = math.fsum(weights)
    if abs(total - 1) <= 1e-6:
        return []
    return [Problem(("dimensions",), f"the weights of the scores sum to {total:g}, not to 1")]
