"""What the old version of a rubric tells of articles: whose tier has moved since, which its student is unsure of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filterkit.filters import Filter
from filterkit.io import Rejects, read_labelled
from filterkit.judging import BaseStudent
from filterkit.metrics.bootstrap import F64
from filterkit.pipeline.choose.doubts import doubts
from filterkit.pipeline.compare.agreement import FEW, tiers_of
from filterkit.pipeline.compare.draw import sent_hash
from filterkit.records import Article
from filterkit.spec import FilterSpec
from filterkit.store import Key, Question, Store
from filterkit.store.transfer import LABEL_FIELDS

REFERENCES = 5_000
"""Articles with labels of both versions that are looked at, at most."""
PENALTY = 1.0
"""Of the regression, in squared points of the scale."""
DRAWS = 25
"""Of what the regression leaves unexplained: how likely an article is to have moved is known to within a tenth."""
_PREPARED = {*LABEL_FIELDS, "group", "weight", "samples", "spread", "judges"}
"""What `prepare` adds to an article."""


@dataclass(frozen=True)
class Told:
    """Of n articles: how likely each has moved to another tier [n], 0 where nothing is known; and how unsure the old
    student is of it [n], NaN where it cannot say."""

    moved: F64
    doubts: F64


@dataclass
class Before:
    """The old version of a rubric, what was asked for it, its student and its test set: as far as there are.

    notes: what there is not. moved: articles that changed their tier, of those that have labels of `both` versions.
    """

    new: Filter
    question: Question
    store: Store | None
    old: Filter | None = None
    old_question: Question | None = None
    student: BaseStudent | None = None
    test: Sequence[Article] = ()
    notes: list[str] = field(default_factory=list)
    both: int = 0
    moved: int = 0

    def __post_init__(self) -> None:
        self._change: _Change | None = None
        self._by_tier = False
        if self.old is None:
            return
        found = [tiers_of(spec, np.empty((0, len(spec.names)))) for spec in (self.old.spec, self.new.spec)]
        why_not = found[0].why_not or found[1].why_not
        if why_not is None and found[0].names != found[1].names:
            why_not = "the tiers of the two versions have other names"
        if why_not is not None:
            self.notes.append(f"whose tier moved is not told: {why_not}")
            return
        self._by_tier = True
        self._learn(self.old)

    def look(self, articles: Sequence[Article]) -> Told:
        """What is known of these articles."""
        moved = np.zeros(len(articles))
        unsure = np.full(len(articles), np.nan)
        if self.old is not None and self._by_tier:
            scores = self._old_scores(self.old, articles)
            known = np.isfinite(scores).all(axis=1)
            if known.any():
                moved[known] = self._shares(self.old, scores[known])
        if self.student is not None:
            unsure = doubts(self.student, articles).astype(np.float64)
        return Told(moved, unsure)

    def _learn(self, old: Filter) -> None:
        """From the articles that have labels of both versions."""
        rows = list(islice(self._labelled(), REFERENCES))
        if rows:
            articles, new_scores = [article for article, _ in rows], _matrix(self.new.spec, [s for _, s in rows])
            old_scores = self._old_scores(old, articles)
            before, after = tiers_of(old.spec, old_scores).tier, tiers_of(self.new.spec, new_scores).tier
            known = (before >= 0) & (after >= 0)
            changed = (before != after)[known]
            self.both, self.moved = len(changed), int(changed.sum())
            if self.both >= FEW and self.moved:
                self._change = _Change(self.new.spec, old_scores[known], new_scores[known])
        if self.both < FEW:
            self.notes.append(
                f"{self.both} articles have labels of both versions, too few to tell by whose tier moved: "
                "`filterkit compare` asks for more"
            )

    def _labelled(self) -> Iterator[tuple[Article, dict[str, float]]]:
        """The articles that the new rubric was asked about, with their first labels."""
        if self.store is None:
            return
        for row in self.store.labels_of([self.question]):
            if row.sample == 0:
                yield row.article, row.scores

    def _old_scores(self, old: Filter, articles: Sequence[Article]) -> F64:
        """Scores [n, d] of the old version: its labels, or else what its student says; NaN where there is neither."""
        labels: list[dict[str, float] | None] = [None] * len(articles)
        if self.store is not None and self.old_question is not None:
            keys = [Key(sent_hash(old.spec, article)) for article in articles]
            labels = self.store.scores(self.old_question, keys)
        found = _matrix(old.spec, labels)
        missing = np.flatnonzero(~np.isfinite(found).all(axis=1)).tolist()
        if self.student is not None and missing:
            found[missing] = self.student.predict([articles[row] for row in missing]).scores
        return found

    def _shares(self, old: Filter, scores: F64) -> F64:
        """For old scores [n, d]: 1 where the new policy puts them into another tier, else how likely they moved [n]."""
        before = tiers_of(old.spec, scores).tier
        shares = np.zeros(len(scores)) if self._change is None else self._change.shares(scores, before)
        columns = _carried(old.spec, self.new.spec)
        if columns is not None:
            shares[tiers_of(self.new.spec, scores[:, columns]).tier != before] = 1.0
        return shares


class _Change:
    """How the new version's scores follow from the old one's: a ridge regression, and what it leaves unexplained.

    Nearest neighbours among the old scores tell less, and far less while there are few: a rubric's change moves scores
    much alike, and a tier's border is crossed by those that are near it.
    """

    def __init__(self, new: FilterSpec, old_scores: F64, new_scores: F64) -> None:
        """Both [n, d] of the same n articles, without NaN."""
        self._new = new
        self._mean, self._target = old_scores.mean(axis=0), new_scores.mean(axis=0)
        x, y = old_scores - self._mean, new_scores - self._target
        self._weights = np.linalg.solve(x.T @ x + PENALTY * np.eye(x.shape[1]), x.T @ y)
        rest = y - x @ self._weights
        rest *= np.sqrt(len(rest) / max(1, len(rest) - x.shape[1] - 1))  # a fit leaves less than there will be
        self._rest = rest[np.random.default_rng(0).integers(0, len(rest), DRAWS)]

    def shares(self, scores: F64, before: NDArray[np.intp]) -> F64:
        """For old scores [n, d] in tiers `before` [n]: how likely another tier is under the new version [n]."""
        expected = self._target + (scores - self._mean) @ self._weights
        scale = self._new.scale
        drawn = np.clip(expected[:, None, :] + self._rest[None], scale.min, scale.max)
        after = tiers_of(self._new, drawn.reshape(-1, drawn.shape[2])).tier.reshape(len(scores), DRAWS)
        moved: F64 = (after != before[:, None]).mean(axis=1)
        return moved


def _carried(old: FilterSpec, new: FilterSpec) -> list[int] | None:
    """Where the new version's dimensions stand among the old one's; None where the old one does not have them all."""
    roles = {d.name: d.role for d in old.dimensions}
    if old.scale != new.scale or any(roles.get(d.name) != d.role for d in new.dimensions):
        return None
    return [old.names.index(name) for name in new.names]


def _matrix(spec: FilterSpec, labels: Sequence[dict[str, float] | None]) -> F64:
    """Scores [n, d] in the order of the spec; NaN where there are none."""
    rows = [[np.nan] * len(spec.names) if one is None else [one.get(n, np.nan) for n in spec.names] for one in labels]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(spec.names))


def test_articles(spec: FilterSpec, file: Path) -> list[Article]:
    """The articles of a prepared test split, without what `prepare` wrote beside them. InputError: it is not there."""
    found = []
    for article, _ in read_labelled([file], spec, Rejects()):
        found.append(replace(article, extra={k: v for k, v in article.extra.items() if k not in _PREPARED}))
    return found
