"""What goes in and out of the store, and how it lies there.

Text that others wrote (articles, evidence, names, errors) lies as UTF-8 bytes with surrogates passed through:
SQLite text can hold neither a lone surrogate nor, safely, a NUL. Money lies in whole billionths of a dollar,
so that sums are exact.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from filterkit.errors import StoreError
from filterkit.records import ARTICLE_TEXT_FIELDS, MOST_USD, Article, Label, Usage, sha256_text

ERROR_CHARS = 1_000
NANO = 1_000_000_000
MOST_BUDGET_USD = 9e9
NO_USAGE = Usage()


@dataclass(frozen=True)
class Question:
    """Who is asked what: the fingerprint of the request, the oracle's name and the model asked for.

    `filter_name` only tells people which filter asked first; it is no part of the key.
    """

    request_hash: str
    oracle: str
    model: str
    filter_name: str = field(default="", compare=False)


class Key(NamedTuple):
    """One question about one text: hex SHA-256 of what is sent, and the number of the sample."""

    sent_hash: str
    sample: int = 0


class State(NamedTuple):
    """Where a question stands.

    free: may be asked; claimed: `attempt` was opened for it just now; labelled; failed: finally, for `reason`;
    elsewhere: in flight at another living labeller; in_job: out in a batch job, for hours maybe; unaffordable: its
    reserve would break a budget now, `reason` says whose. `owner` is the number of who labelled or failed it.
    """

    kind: Literal["free", "claimed", "labelled", "failed", "elsewhere", "in_job", "unaffordable"]
    attempt: int | None = None
    owner: int | None = None
    reason: str = ""


Result = Literal["labelled", "bad", "refused", "transient", "limited", "rerouted", "fatal", "broken"]


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended.

    `label` only for "labelled"; `cost_usd` None when unknown, which counts at the attempt's reserved cost.
    `final`: the question is recorded as failed, for `error`. `again`: the next attempt is opened in the same
    transaction, so that no other labeller takes the question in between, at `reserved_usd` until its cost is known.
    """

    attempt: int
    result: Result
    label: Label | None = None
    usage: Usage = NO_USAGE
    cost_usd: float | None = None
    latency_s: float | None = None
    model_version: str | None = None
    error: str = ""
    final: bool = False
    again: bool = False
    reserved_usd: float | None = None


class LabelRow(NamedTuple):
    """One label with its article, as training data. Scores in scale units."""

    article: Article
    scores: dict[str, float]
    evidence: dict[str, str]
    oracle: str
    model: str
    model_version: str | None
    sample: int
    sent_hash: str


class Failure(NamedTuple):
    """An article that failed finally."""

    article_id: str
    reason: str
    oracle: str
    model: str


class QuestionCount(NamedTuple):
    """A question the store knows, with its counts. `newest` is the Unix time of its last label, None without one."""

    question: Question
    labels: int
    failures: int
    newest: float | None


class Spent(NamedTuple):
    """Money of attempts: completed ones at their cost, open, lost and unpriced ones at their reserved cost.

    usd: the sum, in dollars; held_usd: the part of it that is only reserved; unknown: attempts with neither.
    """

    usd: float
    held_usd: float
    unknown: int


@dataclass(frozen=True)
class Used:
    """What an answer of a question took: means over the attempts that brought a label and said how many tokens.

    count: of how many attempts. input, cached_input (part of input) and output in tokens, cost_usd in dollars; the
    cached part and the cost are None where no attempt knew them.
    """

    count: int
    input: float
    cached_input: float | None
    output: float
    cost_usd: float | None


def pack(text: str) -> bytes:
    """Any text as bytes."""
    return text.encode("utf-8", "surrogatepass")


def unpack(data: bytes) -> str:
    """The text of `pack`."""
    return data.decode("utf-8", "surrogatepass")


def text_hash(article: Article) -> bytes:
    """What tells whether an article was edited: of title and content alone."""
    return bytes.fromhex(sha256_text(article.text))[:16]


def pack_json(value: Any) -> bytes:
    return pack(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def unpack_json(data: bytes) -> Any:
    return json.loads(unpack(data))


def pack_article(article: Article) -> bytes:
    return pack_json(article.to_dict())


def unpack_article(data: bytes) -> Article:
    fields: dict[str, Any] = unpack_json(data)
    known = {name: fields.pop(name) for name in ("id", "title", "content", *ARTICLE_TEXT_FIELDS) if name in fields}
    return Article(**known, extra=fields)


def pack_scores(scores: Mapping[str, float]) -> bytes:
    """Scores as JSON. Refuses an empty set and whatever is not a finite number: nothing of that kind gets in."""
    for name, score in scores.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise StoreError(f"the store takes finite numbers only, and the score of {name!r} is {score!r}")
    if not scores:
        raise StoreError("the store takes no label without scores")
    return pack_json({name: float(score) for name, score in scores.items()})


def nano(usd: float | None) -> int | None:
    """Dollars in whole billionths; None stays unknown.

    Refuses negative and non-finite money, and what no request costs: sums would outgrow SQLite's integers.
    """
    if usd is None:
        return None
    if not 0 <= usd <= MOST_USD:
        raise StoreError(f"the ledger takes no cost of {usd!r} dollars")
    return round(usd * NANO)


def nano_budget(usd: float) -> int:
    """A budget in whole billionths, rounded as what is reserved: a budget of just one request's reserve lets it go.

    One that is larger than any ledger's sum counts as that.
    """
    if not 0 <= usd < math.inf:
        raise StoreError(f"a budget of {usd!r} dollars makes no sense")
    return round(min(usd, MOST_BUDGET_USD) * NANO)
