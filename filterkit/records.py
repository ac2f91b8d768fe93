"""What flows through filterkit: articles in, labels, predictions, verdicts out.

Rows that a person or a plugin looks at one by one are records; what flows by the million is columns of
numpy arrays (a pydantic object per verdict costs seconds and gigabytes per million rows).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

F32 = NDArray[np.float32]

ARTICLE_TEXT_FIELDS = ("url", "source", "published_date", "language")
"""Optional fields of an article that filterkit reads; every other field travels along untouched."""


class Record(BaseModel):
    """Base of the small immutable records: no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def canonical_json(value: Any) -> str:
    """`value` as JSON with sorted keys and no spaces: equal values give equal text, to be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sha256_text(text: str) -> str:
    """Hex SHA-256 of `text`; a lone surrogate counts as what it is instead of failing."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Article:
    """One article. `extra` holds the fields filterkit does not read; they travel to the output."""

    id: str
    title: str
    content: str
    url: str | None = None
    source: str | None = None
    published_date: str | None = None
    language: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Title and content as one text: what oracles and students read."""
        return f"{self.title}\n\n{self.content}" if self.title else self.content

    def to_dict(self) -> dict[str, Any]:
        """The article as a JSON object, unknown fields included."""
        out: dict[str, Any] = {"id": self.id, "title": self.title, "content": self.content}
        for name in ARTICLE_TEXT_FIELDS:
            value = getattr(self, name)
            if value is not None:
                out[name] = value
        return {**out, **{k: v for k, v in self.extra.items() if k not in out}}


class Usage(Record):
    """Tokens of one reply; None means the provider did not say, never 0.

    `cached_input` is part of `input`, `thinking` part of `output`. `cost_usd` is set only where the
    provider itself reports money; elsewhere the price table computes it.
    """

    input: int | None = None
    cached_input: int | None = None
    output: int | None = None
    thinking: int | None = None
    cost_usd: float | None = None


MOST_TOKENS = 10**9
"""No reply takes more tokens: whoever reports more is mistaken."""
MOST_USD = 1e6
"""No request costs more dollars: whoever reports more is mistaken, and the ledger takes no more."""


def plausible_usd(usd: float | None) -> float | None:
    """Dollars of one request as somebody reported them; None for what no request costs."""
    return usd if usd is not None and 0 <= usd <= MOST_USD else None


def plausible(usage: Usage) -> Usage:
    """What a provider reported, without what cannot be: such a part counts as not reported.

    Cached tokens are at most the input, of which they are a part, and thinking ones at most the output.
    """
    sent, cached, output, thinking = (
        count if count is not None and 0 <= count <= MOST_TOKENS else None
        for count in (usage.input, usage.cached_input, usage.output, usage.thinking)
    )
    return Usage(
        input=sent,
        cached_input=cached if cached is None or sent is None else min(cached, sent),
        output=output,
        thinking=thinking if thinking is None or output is None else min(thinking, output),
        cost_usd=plausible_usd(usage.cost_usd),
    )


class OracleRequest(Record):
    """One question to an oracle.

    `rubric` is byte-identical for a whole run (prefix caches), `article` is the fenced text. `correction` is empty, or
    says what was wrong with the answer before. `key` is unique per attempt; `timeout_s` is in seconds.
    """

    key: str
    system: str
    rubric: str
    article: str
    correction: str = ""
    json_schema: dict[str, Any]
    model: str
    temperature: float
    seed: int | None = None
    max_output_tokens: int
    timeout_s: float

    @property
    def user(self) -> str:
        """What the user's turn says, in the order that keeps prefix caches warm."""
        return self.rubric + self.article + self.correction


class Reply(Record):
    """What an oracle answered, unparsed. `model_version` is the model that the provider says replied."""

    text: str
    usage: Usage = Usage()
    model_version: str
    finish: Literal["stop", "length", "blocked", "other"] = "stop"
    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """An oracle's scores of one article, in scale units; NaN in no place, unknown dimensions are absent."""

    scores: Mapping[str, float]
    evidence: Mapping[str, str] = field(default_factory=dict)
    oracle: str | None = None
    model: str | None = None


class Price(Record):
    """US dollars per million tokens of a model, or per hour of a server of one's own, with day and place it was found.

    `until` is the last day (ISO) it holds: from the next one on the price is unknown.
    """

    input: float = Field(0.0, ge=0, description="dollars per million input tokens")
    output: float = Field(0.0, ge=0, description="dollars per million output tokens, thinking included")
    cached_input: float | None = Field(None, ge=0, description="dollars per million cached input tokens")
    per_hour: float | None = Field(None, ge=0, description="dollars per hour of one's own server")
    as_of: str = Field(description="the day it was looked up")
    source: str = Field(description="where it was looked up")
    until: str | None = Field(None, description="the last day it holds, as YYYY-MM-DD")

    @field_validator("as_of", "until", mode="before")
    @classmethod
    def _day_as_text(cls, value: Any) -> Any:
        """YAML reads an unquoted 2026-01-31 as a date."""
        return value.isoformat() if isinstance(value, date) else value

    @field_validator("until")
    @classmethod
    def _is_day(cls, value: str | None) -> str | None:
        if value is not None:
            date.fromisoformat(value)
        return value

    def cost(self, usage: Usage) -> float | None:
        """Dollars for the tokens of `usage`, or None when the provider did not report them."""
        if usage.input is None or usage.output is None:
            return None
        cached = usage.cached_input or 0
        cached_price = self.input if self.cached_input is None else self.cached_input
        return ((usage.input - cached) * self.input + cached * cached_price + usage.output * self.output) / 1e6


@dataclass(frozen=True)
class Split:
    """Rows to learn from or to be judged on.

    texts [n] as the scorer will see them; targets [n, d] in scale units, NaN = unknown (masked);
    weights [n] > 0; `path` holds the same rows as JSONL.
    """

    texts: list[str]
    targets: F32
    weights: F32
    path: Any

    def take(self, rows: NDArray[np.intp]) -> Split:
        """The given rows, in their order."""
        return Split([self.texts[i] for i in rows], self.targets[rows], self.weights[rows], self.path)


class TrainedStudent(Record):
    """What a trainer says of the files it left in `job.out`; the core hashes them and writes the manifest."""

    format: str
    hyperparameters: dict[str, Any] = {}
    history: list[dict[str, float]] = []
    base_model: str | None = None
    trainable: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class Prediction:
    """A scorer's answer for n texts.

    scores [n, d] in the filter's dimension order and scale units, uncalibrated; bins [b] centres and
    probs [n, d, b] (last axis sums to 1) where the model knows its uncertainty; errors: row -> reason,
    for exactly the rows whose scores are NaN.
    """

    scores: F32
    bins: F32 | None = None
    probs: NDArray[np.float16] | None = None
    errors: Mapping[int, str] = field(default_factory=dict)

    def take(self, rows: Sequence[int]) -> Prediction:
        """Scores and errors of the given rows, in their order."""
        errors = {at: self.errors[row] for at, row in enumerate(rows) if row in self.errors}
        return Prediction(self.scores[np.asarray(rows, dtype=np.intp)], errors=errors)


@dataclass(frozen=True)
class Verdicts:
    """A postfilter's answer for n articles, as columns.

    overall [n] in scale units after caps; tier [n] index into the postfilter's `tiers`, -1 = not judged;
    passed [n]; reasons [n], bit i set when rule i of the postfilter's `rules` applied.
    """

    overall: F32
    tier: NDArray[np.int16]
    passed: NDArray[np.bool_]
    reasons: NDArray[np.uint64]


class Deployment(Record):
    """One published copy of a student. `state` is the deployer's own, without secrets."""

    id: str
    target: str
    student_hash: str
    at: datetime
    url: str | None = None
    state: dict[str, str] = {}


class Pass(Record):
    """A prefilter lets the article through."""


class Block(Record):
    """A prefilter holds the article back; with `shadow` it is counted but let through."""

    rule: str
    reason: str
    shadow: bool = False


class Shard(Record):
    """A piece of a run: rows [first, last) of `uri`, or all of it. `id` is stable across runs."""

    id: str
    uri: str
    rows: tuple[int, int] | None = None


class ShardResult(Record):
    """What became of a shard. `error` is None when the shard was published whole."""

    shard: str
    read: int = 0
    written: int = 0
    rejected: int = 0
    failed: int = 0
    seconds: float = 0.0
    error: str | None = None
