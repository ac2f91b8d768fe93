"""What the checks look at: one pass over the labelled articles that keeps numbers, not texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from filterkit.pipeline.audit.limits import BYTES_PER_TOKEN
from filterkit.pipeline.audit.passages import Passages
from filterkit.pipeline.data import declared_group
from filterkit.pipeline.judgement.samples import sample_of
from filterkit.pipeline.nearby import HASHES, grouped, signature
from filterkit.pipeline.split import rough_overall
from filterkit.prompt import sent_text, student_text
from filterkit.records import F32, Article, Label, sha256_text
from filterkit.spec import FilterSpec
from filterkit.untrusted import clean

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Embed = Callable[[Sequence[str]], F32]

BATCH = 256
TITLE_CHARS = 160


@dataclass
class Table:
    """Labels as columns [n], and the different texts [t] that they are labels of; `text` leads from one to the other.

    scores [n, d] in scale units, NaN = unknown. first: the rows that count, one for each text and oracle; second looks
    are in `repeats` (other samples, as row and its first row), and in `same`, where the sample is the same.
    signed [t, 128] MinHash signatures, features [t, k]; sizes in UTF-8 bytes: of the whole text, of what the oracle and
    of what the student gets at most.
    """

    spec: FilterSpec
    ids: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    who: list[str] = field(default_factory=list)
    text: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    repeats: list[tuple[int, int]] = field(default_factory=list)
    same: list[tuple[int, int]] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    declared: list[str | None] = field(default_factory=list)
    sent_bytes: list[int] = field(default_factory=list)
    whole_chars: list[int] = field(default_factory=list)
    passages: Passages = field(default_factory=Passages)
    scores: F32 = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    signed: NDArray[np.uint32] = field(default_factory=lambda: np.empty((0, 0), dtype=np.uint32))
    features: F32 = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def rows(self) -> I64:
        """The rows that count, as indices."""
        return np.array(self.first, dtype=np.int64)

    @cached_property
    def row_of(self) -> I64:
        """The first row of each text [t]."""
        return np.unique(np.array(self.text, dtype=np.int64), return_index=True)[1]

    @cached_property
    def labels(self) -> F64:
        """Scores [m, d] of the rows that count."""
        return self.scores[self.rows].astype(np.float64)

    @cached_property
    def overall(self) -> F64:
        """Weighted overall [m] of the rows that count, over the scores that are known."""
        return rough_overall(self.spec, self.scores[self.rows])

    @cached_property
    def groups(self) -> I64:
        """Of each text [t] the first text of its group of near-duplicates."""
        return np.array(grouped(self.signed, self.declared), dtype=np.int64)

    @cached_property
    def row_groups(self) -> I64:
        """Of each row that counts [m] the group of its text."""
        return self.groups[np.array(self.text, dtype=np.int64)[self.rows]] if len(self.rows) else self.rows

    @property
    def range(self) -> float:
        """Length of the scale."""
        return self.spec.scale.max - self.spec.scale.min

    @property
    def student_bytes(self) -> float:
        """About so much the student reads."""
        return self.spec.input.student.max_tokens * BYTES_PER_TOKEN


def gather(spec: FilterSpec, labelled: Iterable[tuple[Article, Label]], embed: Embed) -> Table:
    """The table of the labelled articles; each different text is embedded once."""
    table = Table(spec)
    scores: list[list[float]] = []
    signed: list[NDArray[np.uint32]] = []
    features: list[F32] = []
    waiting: list[str] = []
    text_of: dict[str, int] = {}
    text_of_id: dict[str, int] = {}
    first_of: dict[tuple[int, str], tuple[int, int]] = {}  # text and oracle -> place in `first`, sample
    for row, (article, label) in enumerate(labelled):
        sent = sent_text(spec, article)
        text = text_of.setdefault(sha256_text(sent), len(text_of))
        if text == len(signed):
            signed.append(signature(sent))
            waiting.append(student_text(spec, article))
            table.declared.append(declared_group(article))
            table.sent_bytes.append(len(sent.encode("utf-8", "replace")))
            table.whole_chars.append(len(clean(article.text)))
            table.passages.add(text, article.title, sent)
            if len(waiting) == BATCH:
                features.append(embed(waiting))
                waiting = []
        table.ids.append(article.id)
        table.titles.append(article.title[:TITLE_CHARS])
        table.languages.append(article.language or "")
        table.sources.append(article.source or "")
        table.who.append(f"{label.oracle or 'unknown'} {label.model or ''}".strip())
        table.text.append(text)
        scores.append([label.scores.get(name, np.nan) for name in spec.names])
        if text_of_id.setdefault(article.id, text) != text:
            table.conflicts.append(article.id)
        _count(table, first_of, row, sample_of(article))
    features.append(embed(waiting))
    table.scores = np.array(scores, dtype=np.float32).reshape(-1, len(spec.names))
    table.signed = np.array(signed, dtype=np.uint32).reshape(-1, HASHES)
    table.features = np.concatenate([part for part in features if len(part)] or features)
    return table


def _count(table: Table, first_of: dict[tuple[int, str], tuple[int, int]], row: int, sample: int) -> None:
    """Whether the row is the first of its text and oracle, or a second look at it."""
    key = table.text[row], table.who[row]
    if key not in first_of:
        first_of[key] = len(table.first), sample
        table.first.append(row)
        return
    place, of_first = first_of[key]
    if sample == of_first:
        table.same.append((row, table.first[place]))
    else:
        table.repeats.append((row, table.first[place]))
