"""One look at every article before anything is asked: which of them are not worth a label."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from filterkit.contracts import Prefilter
from filterkit.errors import InputError
from filterkit.pipeline.nearby import plain, signatures
from filterkit.pipeline.screen.boilerplate import boilerplate
from filterkit.pipeline.screen.columns import Ids, Names, Signatures
from filterkit.pipeline.screen.duplicates import FEW_CHARS, Columns, Like, hashes, near_duplicates
from filterkit.pipeline.screen.passages import SourcePassages
from filterkit.pipeline.screen.records import Kind, LeftOut, ScreenReport
from filterkit.prompt import sent_text
from filterkit.records import Article, Block, sha256_text
from filterkit.spec import FilterSpec

MOST_ARTICLES = 5_000_000
"""More are a corpus, which is deduplicated by tools that spread over many machines."""
TOO_MANY = (
    f"more than {MOST_ARTICLES:,} articles are a corpus: have it deduplicated elsewhere (datatrove, NeMo Curator), "
    "then label without screening"
)
WAY_OUT = "--no-screen, or in filterkit.yaml label: {screen: {near_duplicates: null}}"

Standing = Literal["free", "labelled", "failed"]
Standings = Callable[[Sequence[str]], Sequence[str]]
"""For hex SHA-256 of texts, where the question about each stands: free to be asked, labelled, or failed for good."""
Located = tuple[str, int, Article]
"""A file, a line in it from 1, and the article there."""

_STANDINGS = {"free": 0, "labelled": 1, "failed": 2, "in_job": 1}  # out in a batch job: as good as labelled
_NEAR = 0
"""The reason's number of near-duplicates; -1 is none."""


def text_key(spec: FilterSpec, article: Article) -> int:
    """Which question the article is: 64 bits of the hash of what is sent of it."""
    return _key(sha256_text(sent_text(spec, article)))


def _key(sent_hash: str) -> int:
    return int(sent_hash[:16], 16)


@dataclass(frozen=True)
class _Reason:
    """what: how counts call it; words: what else there is to say of one article."""

    kind: Kind
    what: str = ""
    words: str = ""


@dataclass(frozen=True)
class Decision:
    """What screening came to. keys: `text_key` of what is left out."""

    keys: frozenset[int]
    report: ScreenReport
    left_out: Callable[[], Iterator[LeftOut]]


class Screening:
    """Collects articles, then decides about them; the same articles in the same order give the same decision.

    near_duplicates: the similarity (0 to 1) from which on a text is one, None: they are not looked for. prefilter: the
    filter's, None: it holds nothing back. What is labelled already is never left out, and nothing that failed stands in
    for another. Texts are not kept; what is lies in temporary files, so close it.
    """

    def __init__(
        self,
        spec: FilterSpec,
        standings: Standings,
        *,
        near_duplicates: float | None = None,
        boilerplate: bool = True,
        prefilter: Prefilter[Any] | None = None,
    ) -> None:
        self._spec, self._standings = spec, standings
        self._similar, self._boilerplate, self._prefilter = near_duplicates, boilerplate, prefilter
        self._signatures, self._ids = Signatures(), Ids()
        self._passages = SourcePassages()
        self._files = Names()
        self._file, self._line = array("I"), array("Q")
        self._key, self._standing, self._reason = array("Q"), array("B"), array("i")
        self._plain, self._template, self._few = array("Q"), array("Q"), array("B")
        self._reasons = Names()
        self._reasons.number(_Reason("near-duplicate"))
        self._held = _Held()

    def close(self) -> None:
        """Give the temporary files back."""
        self._signatures.close()
        self._ids.close()

    def __len__(self) -> int:
        return len(self._key)

    def add(self, chunk: Sequence[Located]) -> None:
        """Look at some articles. InputError when there are too many to look for near-duplicates."""
        first = len(self)
        if self._similar is not None and first + len(chunk) > MOST_ARTICLES:
            raise InputError(TOO_MANY, fix=f"Say {WAY_OUT}")
        articles = [article for _, _, article in chunk]
        texts = [sent_text(self._spec, article) for article in articles]
        hashed = [sha256_text(text) for text in texts]
        standings = [_STANDINGS[kind] for kind in self._standings(hashed)]
        self._key.extend([_key(one) for one in hashed])
        self._standing.extend(standings)
        self._reason.extend(self._own_reasons(first, articles, standings))
        self._ids.add([article.id for article in articles])
        self._file.extend([self._files.number(file) for file, _, _ in chunk])
        self._line.extend([line for _, line, _ in chunk])
        if self._similar is not None:
            compared = [plain(text) for text in texts]
            whole, template = zip(*map(hashes, compared), strict=True) if compared else ((), ())
            self._plain.extend(whole)
            self._template.extend(template)
            self._few.extend([len(text) < FEW_CHARS for text in compared])
            self._signatures.add(signatures(compared))

    def _own_reasons(self, first: int, articles: Sequence[Article], standings: Sequence[int]) -> list[int]:
        """For each article the number of the reason why it is left out for itself, -1 where there is none."""
        kinds = boilerplate(articles) if self._boilerplate else [""] * len(articles)
        answers = [None] * len(articles) if self._prefilter is None else self._prefilter.judge(articles)
        reasons: list[int] = []
        for row, (article, standing, kind, answer) in enumerate(
            zip(articles, standings, kinds, answers, strict=True), first
        ):
            reason = -1
            if standing == _STANDINGS["free"]:
                if isinstance(answer, Block):
                    self._held.add(row, article, answer)
                if isinstance(answer, Block) and not answer.shadow:
                    reason = self._reasons.number(_Reason("prefilter", answer.rule, answer.rule))
                elif kind:
                    reason = self._reasons.number(_Reason("boilerplate", kind, kind))
                elif self._boilerplate and row < MOST_ARTICLES:
                    self._passages.add(row, article)
            reasons.append(reason)
        return reasons

    def decide(self) -> Decision:
        """What becomes of the articles so far. More may be added afterwards, and decided about again."""
        reason = np.array(self._reason, dtype=np.int64)
        for row, titles in self._passages.filled().items():
            words = f"passages that stand under {titles:,} titles of its source"
            reason[row] = self._reasons.number(_Reason("boilerplate", "repeated passages", words))
        keys, first, text = np.unique(np.array(self._key, dtype=np.uint64), return_index=True, return_inverse=True)
        out = np.bincount(text, reason < 0, minlength=len(keys)) == 0  # a copy that is fine is asked about, for all
        like = self._near_duplicates(first, out)
        like_of: dict[int, Like] = {}
        for row, found in like.items():
            out[text[row]] = True
            like_of[int(text[row])] = found
        near = np.isin(text, np.fromiter(like_of, dtype=np.int64, count=len(like_of)))
        reason[near] = _NEAR
        reason[~out[text]] = -1

        def left_out() -> Iterator[LeftOut]:
            for row in np.flatnonzero(reason >= 0).tolist():
                yield self._left_out(row, self._reasons.names[reason[row]], like_of.get(int(text[row])))

        return Decision(frozenset(keys[out].tolist()), self._report(reason, int((~out).sum())), left_out)

    def _near_duplicates(self, first: NDArray[np.intp], out: NDArray[np.bool_]) -> dict[int, Like]:
        """By the first row of a text, for those that repeat another."""
        if self._similar is None or not len(self):
            return {}
        rows = np.sort(first[~out])
        standing = np.array(self._standing)[rows]
        labelled = rows[standing == _STANDINGS["labelled"]]
        order = np.concatenate([labelled, rows[standing == _STANDINGS["free"]]]).tolist()
        columns = Columns(
            signed=self._signatures.all(),
            plain=np.array(self._plain, dtype=np.uint64),
            template=np.array(self._template, dtype=np.uint64),
            few=np.array(self._few, dtype=np.bool_),
        )
        return near_duplicates(columns, order, labelled.tolist(), self._similar)

    def _left_out(self, row: int, reason: _Reason, like: Like | None) -> LeftOut:
        where = self._ids[row], self._files.names[self._file[row]], self._line[row]
        if like is None:
            return LeftOut(*where, reason.kind, reason.words)
        return LeftOut(*where, reason.kind, like=self._ids[like.row], similarity=round(like.similarity, 2))

    def _report(self, reason: NDArray[np.int64], texts: int) -> ScreenReport:
        report = ScreenReport(read=len(reason), kept=int((reason < 0).sum()))
        report.copies = report.kept - texts
        counts = Counter(reason[reason >= 0].tolist())
        for number, count in sorted(counts.items()):
            why: _Reason = self._reasons.names[number]
            if why.kind == "near-duplicate":
                report.near_duplicates += count
            elif why.kind == "prefilter":
                report.prefilter += count
            else:
                report.boilerplate += count
                report.boilerplate_by[why.what] += count
        self._held.count(report, reason)
        return report


class _Held:
    """What the prefilter said: the rows that it holds back or would, with rule, language and source."""

    def __init__(self) -> None:
        self._rules, self._languages, self._sources = Names(), Names(), Names()
        self._rows, self._rule = array("I"), array("I")
        self._language, self._source = array("I"), array("I")

    def add(self, row: int, article: Article, block: Block) -> None:
        self._rows.append(row)
        self._rule.append(self._rules.number((block.rule, block.shadow)))
        self._language.append(self._languages.number(article.language or "unknown"))
        self._source.append(self._sources.number(article.source or "unknown"))

    def count(self, report: ScreenReport, reason: NDArray[np.int64]) -> None:
        """Into the report: of blocked articles those that are left out for that, of the others those that are kept."""
        for row, rule, language, source in zip(self._rows, self._rule, self._language, self._source, strict=True):
            name, shadow = self._rules.names[rule]
            by_language = report.shadowed_by if shadow else report.blocked_by
            by_source = report.shadowed_by_source if shadow else report.blocked_by_source
            if reason[row] < 0 if shadow else reason[row] > _NEAR:
                by_language[f"{name}/{self._languages.names[language]}"] += 1
                by_source[f"{name}/{self._sources.names[source]}"] += 1
