"""Which articles another question is to be asked about, by what the label store holds of them already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from filterkit.pipeline.judgement.consensus import disputed
from filterkit.pipeline.judgement.samples import medians
from filterkit.prompt import sent_text
from filterkit.records import Article, sha256_text
from filterkit.spec import FilterSpec
from filterkit.store import Key, Question, Store
from filterkit.store.answers import answers

CHUNK = 500


@dataclass(frozen=True)
class NotFailed:
    """Articles whose first answer did not fail finally: one that an oracle cannot answer is not asked about twice."""

    spec: FilterSpec
    question: Question
    store_file: Path

    def keep(self, articles: Iterable[Article]) -> Iterator[Article]:
        """These articles, in their order."""
        if not self.store_file.is_file():
            yield from articles
            return
        with Store(self.store_file, create=False) as store:
            for chunk, hashes in _chunks(self.spec, articles):
                states = store.states(self.question, [Key(one) for one in hashes])
                yield from (article for article, state in zip(chunk, states, strict=True) if state.kind != "failed")


@dataclass
class Counts:
    """Of `read` articles `both` have labels of two judges, which differ too much in `disputed` of them."""

    read: int = 0
    both: int = 0
    disputed: int = 0

    @property
    def share(self) -> float | None:
        """Of those with both labels, how many are disputed; None where there are none."""
        return self.disputed / self.both if self.both else None


@dataclass
class Disputed:
    """Articles of which two judges differ by more than the tolerance, by the medians of all their answers.

    unlabelled: keep those, too, that have not both labels yet. counts: of the last pass.
    """

    spec: FilterSpec
    first: Question
    second: Question
    tolerance: float
    store_file: Path
    unlabelled: bool = False
    counts: Counts = field(default_factory=Counts)

    def keep(self, articles: Iterable[Article]) -> Iterator[Article]:
        """These articles, in their order."""
        self.counts = Counts()
        if not self.store_file.is_file():
            for article in articles:
                self.counts.read += 1
                if self.unlabelled:
                    yield article
            return
        with Store(self.store_file, create=False) as store:
            for chunk, hashes in _chunks(self.spec, articles):
                labels = zip(answers(store, self.first, hashes), answers(store, self.second, hashes), strict=True)
                for article, (ours, theirs) in zip(chunk, labels, strict=True):
                    if self._wanted(ours, theirs):
                        yield article

    def count(self, articles: Iterable[Article]) -> Counts:
        """How many there are; one pass over `articles`."""
        for _ in self.keep(articles):
            pass
        return self.counts

    def _wanted(self, ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> bool:
        self.counts.read += 1
        if not ours or not theirs:
            return self.unlabelled
        self.counts.both += 1
        apart = disputed(self.spec, medians(self.spec, ours), medians(self.spec, theirs), self.tolerance)
        self.counts.disputed += apart
        return apart


def _chunks(spec: FilterSpec, articles: Iterable[Article]) -> Iterator[tuple[list[Article], list[str]]]:
    """Some articles at a time, with the SHA-256 of what is sent of each."""
    source = iter(articles)
    while chunk := list(islice(source, CHUNK)):
        yield chunk, [sha256_text(sent_text(spec, article)) for article in chunk]
