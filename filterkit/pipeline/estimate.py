"""What labelling will ask and cost, found out before anything is sent, in one pass and constant memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from filterkit.errors import ConfigError
from filterkit.filters import Filter
from filterkit.pipeline.pricing import MOST_PER_ESTIMATE, Pricing
from filterkit.prompt import sent_text
from filterkit.records import Article, Price, sha256_text
from filterkit.store import Key, Question, QuestionCount, Store
from filterkit.store.rows import Used

SHORT_CHARS = 200
"""A text below this is seldom an article: a teaser, a cookie notice, an error page."""
CHUNK = 500


@dataclass
class Estimate:
    """What labelling some articles would ask, and what it would cost.

    read = already + failed_before + in_jobs + duplicates + to_ask. already: labelled before; failed_before: failed
    finally, and not to be asked again; in_jobs: out in a batch job; duplicates: with the text of another one; to_ask:
    questions, of which `again` were labelled under other questions about the same filter, again_changed of them under
    another rubric. short: to be asked although under SHORT_CHARS characters; shortened: to be asked without their end
    or middle, as the filter says.

    request_tokens are the input tokens of all requests, text by text: `counted` by the oracle, or else estimated.
    input_tokens and output_tokens are to be expected, most_output_tokens where every answer is as long as may be.
    measured: they are means of so many earlier answers to this question (where tokens are counted, the output only).
    batch_share: what is charged for an answer in a batch job, as a share of a live one's price; 1 when live.
    usd and most_usd are dollars for one answer to each (one that is asked for again costs again), None when unknown:
    `why_unknown` says why, `fix` what to do about it.
    """

    read: int = 0
    already: int = 0
    failed_before: int = 0
    in_jobs: int = 0
    duplicates: int = 0
    to_ask: int = 0
    again: int = 0
    again_changed: int = 0
    short: int = 0
    shortened: int = 0
    request_tokens: int = 0
    counted: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    most_output_tokens: int = 0
    measured: int = 0
    model: str = ""
    batch_share: float = 1.0
    price: Price | None = None
    usd: float | None = None
    most_usd: float | None = None
    why_unknown: str = ""
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "price": None if self.price is None else self.price.model_dump()}


@dataclass
class Older:
    """Labels of a filter that answer other questions than the one about to be asked, newest first.

    same_rubric: only the oracle or its model is another one. labels: articles labelled under the largest of them.
    """

    same_rubric: bool
    counts: list[QuestionCount]

    @property
    def labels(self) -> int:
        return max(count.labels for count in self.counts)


Each = Callable[[Article, str, bool], None]
"""Called for every text once: its article, hex SHA-256 of what is sent, whether it is to be asked."""


def estimate(
    filter: Filter,
    articles: Iterable[Article],
    pricing: Pricing,
    question: Question,
    store: Store | None,
    *,
    retry_failed: bool = False,
    older: Sequence[Older] = (),
    each: Each | None = None,
    sample: int = 0,
) -> Estimate:
    """Look at every article, and ask nothing. `store` is None where there is none yet; it is only read.

    `older` are labels of other questions (`older_labels`) to look for; `each` gets every text once. `sample` is the
    number of the answer that is asked for, as LabelSettings has it.
    """
    result = Estimate(
        model=pricing.model, counted=pricing.counted, price=pricing.price, batch_share=pricing.batch_share
    )
    walk = _Walk(filter, pricing, question, store, retry_failed, older, each, result, sample)
    source = iter(articles)
    with walk.seen:
        while chunk := list(islice(source, CHUNK)):
            walk.take(chunk)
    _price(result, pricing, None if store is None else store.usage(question))
    return result


def older_labels(store: Store, question: Question) -> list[Older]:
    """What else the store holds of this filter. An estimate tells whether any of it is about the articles at hand.

    First labels of other rubrics (or settings), then labels of this very rubric by another oracle or model.
    """
    counts = store.of_filter(question.filter_name.split(" ")[0])
    others = [c for c in counts if c.question != question and c.labels]
    same = [c for c in others if c.question.request_hash == question.request_hash]
    changed = [c for c in others if c.question.request_hash != question.request_hash]
    return [Older(kind, group) for kind, group in ((False, changed), (True, same)) if group]


class _Walk:
    """The pass over the articles, a chunk at a time."""

    def __init__(
        self,
        filter: Filter,
        pricing: Pricing,
        question: Question,
        store: Store | None,
        retry_failed: bool,
        older: Sequence[Older],
        each: Each | None,
        result: Estimate,
        sample: int,
    ) -> None:
        self._spec, self._pricing, self._question, self._store = filter.spec, pricing, question, store
        self._retry_failed, self._each, self._result = retry_failed, each, result
        self._older, self._sample = older, sample
        self.seen = Seen()

    def take(self, chunk: list[Article]) -> None:
        """Count some articles."""
        result = self._result
        fresh: list[tuple[Article, str, str]] = []
        for article in chunk:
            text = sent_text(self._spec, article)
            sent_hash = sha256_text(text)
            if self.seen.add(sent_hash):
                fresh.append((article, text, sent_hash))
        result.read += len(chunk)
        result.duplicates += len(chunk) - len(fresh)
        asked: list[Key] = []
        keys = [Key(sent_hash, self._sample) for _, _, sent_hash in fresh]
        for (article, text, sent_hash), kind in zip(fresh, self._kinds(self._question, keys), strict=True):
            to_ask = kind == "free" or (kind == "failed" and self._retry_failed)
            if to_ask:
                asked.append(Key(sent_hash))
                self._count(article, text)
            else:
                result.already += kind == "labelled"
                result.failed_before += kind == "failed"
                result.in_jobs += kind == "in_job"
            if self._each is not None:
                self._each(article, sent_hash, to_ask)
        self._labelled_elsewhere(asked)

    def _count(self, article: Article, text: str) -> None:
        result = self._result
        result.to_ask += 1
        result.short += len(text) < SHORT_CHARS
        result.shortened += len(article.text) > self._spec.input.oracle.max_chars
        result.request_tokens += self._pricing.input_tokens(text)

    def _kinds(self, question: Question, keys: Sequence[Key]) -> Iterator[str]:
        if self._store is None:
            return iter(["free"] * len(keys))
        return (state.kind for state in self._store.states(question, keys))

    def _labelled_elsewhere(self, left: list[Key]) -> None:
        """Count which of these were labelled under an older question."""
        for group in self._older:
            before = len(left)
            for count in group.counts:
                kinds = self._kinds(count.question, left)
                left = [key for key, kind in zip(left, kinds, strict=True) if kind != "labelled"]
            self._result.again += before - len(left)
            self._result.again_changed += 0 if group.same_rubric else before - len(left)


class Seen:
    """Which hashes came before. They lie in a temporary file: a set of a million would take 100 MB."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -16000"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE seen (hash INTEGER PRIMARY KEY)")
        self._db.execute("BEGIN")

    def __enter__(self) -> Seen:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, sent_hash: str) -> bool:
        """Whether this one is new. 64 bits of it are kept: two of a million meet once in 40 million runs."""
        number = int(sent_hash[:16], 16) - 2**63
        return self._db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (number,)).rowcount == 1


def _price(result: Estimate, pricing: Pricing, usage: Used | None) -> None:
    """Expected tokens and dollars for what is to be asked."""
    count = result.to_ask
    input_tokens, output_tokens = float(result.request_tokens), count * pricing.output_tokens()
    if usage is not None:
        result.measured = usage.count
        output_tokens = count * usage.output
        if not result.counted:
            input_tokens = count * usage.input
    result.input_tokens, result.output_tokens = round(input_tokens), round(output_tokens)
    result.most_output_tokens = count * pricing.most_output_tokens
    result.usd = pricing.usd(input_tokens, output_tokens)
    if result.usd is None and usage is not None and usage.cost_usd is not None:
        result.usd = count * usage.cost_usd
    most_input = result.request_tokens * (1.0 if result.counted else MOST_PER_ESTIMATE)
    result.most_usd = pricing.usd(max(most_input, input_tokens), result.most_output_tokens)
    if count == 0:
        result.usd = result.most_usd = 0.0
    if result.usd is None:
        result.why_unknown, result.fix = _unknown(pricing)


def _unknown(pricing: Pricing) -> tuple[str, str]:
    """Why no price can be told beforehand, and what to do about it."""
    if pricing.price is not None:
        return f"the server costs ${pricing.price.per_hour:.2f} an hour", "--pilot measures how long an answer takes"
    try:
        pricing.require()
    except ConfigError as error:
        return pricing.why_unknown, error.fix or ""
    return "the oracle says only afterwards what an answer cost", "--pilot measures it"
