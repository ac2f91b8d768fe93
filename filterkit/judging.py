"""Judging: what a student read becomes calibrated scores and verdicts.

Knows no plugin: it is also what a shipped student judges with, where no filterkit is installed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterkit.articles import to_article
from filterkit.contracts import Postfilter, Prefilter, Scorer
from filterkit.errors import PluginError
from filterkit.look import Look
from filterkit.manifest import Manifest
from filterkit.overall import DECIMALS, overall, rounded
from filterkit.prompt import student_text
from filterkit.records import F32, Article, Block, Prediction, Verdicts
from filterkit.spec import FilterSpec

BATCH = 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """One article's verdict: a row view of the columns. `error` says why there are no scores; `blocked` that a
    prefilter held the article back; `shadow` names the prefilter's rule that would have, were it not in shadow mode.

    scores: dimension -> calibrated score; overall after caps; tier None where there are none; reasons: names
    of the rules that applied. overall_interval: where the oracle's overall most likely lies after the caps, those in
    doubt included; sure: whether all of it lies in one tier. Both None where the student knows no interval, sure also
    without tiers.
    """

    article: Article
    scores: Mapping[str, float]
    overall: float | None
    tier: str | None
    passed: bool
    reasons: tuple[str, ...] = ()
    error: str | None = None
    blocked: bool = False
    shadow: str | None = None
    overall_interval: tuple[float, float] | None = None
    sure: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields that a verdict adds to its article."""
        out: dict[str, Any] = {
            "scores": dict(self.scores),
            "overall": self.overall,
            "overall_interval": None if self.overall_interval is None else list(self.overall_interval),
            "tier": self.tier,
            "sure": self.sure,
            "passed": self.passed,
            "reasons": list(self.reasons),
        }
        if self.error is not None:
            out["error"] = self.error
        return out


@dataclass(frozen=True, slots=True)
class _Range:
    """The overall's interval [n, 2] under the policy's caps, and whether all of it lies in one tier [n]."""

    under_caps: F32
    sure: NDArray[np.bool_] | None


class BaseStudent(ABC):
    """A trained student with its calibrator and a filter's policy. Not thread-safe.

    Where the policy's backends come from is said by the subclass: from the installed plugins, or from what was shipped.
    """

    def __init__(self, spec: FilterSpec, manifest: Manifest, scorer: Scorer) -> None:
        self.spec = spec
        self.manifest = manifest
        self.scorer = scorer
        self._weights = np.asarray(spec.weights, dtype=np.float64)

    @property
    @abstractmethod
    def postfilter(self) -> Postfilter[Any]:
        """What turns scores into verdicts; made when first needed, since scores alone need none."""

    @property
    @abstractmethod
    def prefilter(self) -> Prefilter[Any] | None:
        """What holds articles back before the model reads them."""

    def score(self, articles: Iterable[Article | Mapping[str, Any]]) -> F32:
        """Calibrated scores [n, d], float32, in the filter's dimension order; a row that failed is NaN."""
        return self.predict([as_article(a) for a in articles]).scores

    def judge(self, articles: Iterable[Article | Mapping[str, Any]]) -> Iterator[Verdict]:
        """A verdict per article, in order. Articles may be dicts; one that is none gets a verdict with `error`.

        What the prefilter holds back is not scored: its verdict has `blocked` and the rule among its reasons.
        """
        source = iter(articles)
        while batch := [as_article(a) for a in islice(source, BATCH)]:
            blocks = self._blocks(batch)
            open_ones = [a for a, block in zip(batch, blocks, strict=True) if _passes(block)]
            judged = self._judged_rows(open_ones, self.read(open_ones))
            yield from _blocked_or(judged, batch, blocks)

    def verdicts(self, articles: Sequence[Article], raw: Prediction) -> Iterator[Verdict]:
        """A verdict per article of what `read` said of them, in order; for whoever needs that too."""
        blocks = self._blocks(articles)
        rows = [row for row, block in enumerate(blocks) if _passes(block)]
        judged = self._judged_rows([articles[row] for row in rows], raw.take(rows))
        yield from _blocked_or(judged, articles, blocks)

    def _judged_rows(self, articles: Sequence[Article], raw: Prediction) -> Iterator[Verdict]:
        raw = _known(articles, raw)
        scores = self.calibrate(raw.scores)
        return self._rows(articles, Prediction(scores, errors=raw.errors), *self._judged(articles, scores))

    def _blocks(self, articles: Sequence[Article]) -> list[Block | None]:
        """For each article the prefilter's block, in shadow mode too, or None."""
        if self.prefilter is None:
            return [None] * len(articles)
        return [answer if isinstance(answer, Block) else None for answer in self.prefilter.judge(articles)]

    def predict(self, articles: Sequence[Article]) -> Prediction:
        """Calibrated predictions for n articles, inside the scale. An article without content is a failed row."""
        raw = _known(articles, self.read(articles))
        return Prediction(self.calibrate(raw.scores), errors=raw.errors)

    def look(self, articles: Sequence[Article]) -> Look:
        """All that the student says of n articles: scores before and after calibration, intervals, how sure it is.

        Not sure of anything (`sure` None) where the filter's postfilter is not installed.
        """
        raw = _known(articles, self.read(articles)).scores
        scores = self.calibrate(raw)
        try:
            around = self._judged(articles, scores)[1]
        except PluginError:
            around = None
        return Look(
            raw=raw,
            scores=scores,
            intervals=self.intervals(scores),
            overall_intervals=self.overall_intervals(scores),
            sure=None if around is None else around.sure,
        )

    def read(self, articles: Sequence[Article]) -> Prediction:
        """Uncalibrated predictions for n articles, as the model gives them: an empty article has scores too."""
        texts = [student_text(self.spec, a) for a in articles]
        step = max(1, self.scorer.max_batch)
        scores = np.full((len(texts), len(self.spec.names)), np.nan, dtype=np.float32)
        errors: dict[int, str] = {}
        for start in range(0, len(texts), step):
            part = self.scorer.predict(self.scorer.encode(texts[start : start + step]))
            scores[start : start + step] = part.scores
            errors.update({start + row: why for row, why in part.errors.items()})
        return Prediction(scores, errors=errors)

    def calibrate(self, scores: F32) -> F32:
        """Raw scores [n, d] through the calibrator, clipped to the scale and rounded."""
        calibrated = self.manifest.calibrator.apply(scores).astype(np.float64)
        return rounded(np.clip(calibrated, self.spec.scale.min, self.spec.scale.max))

    def overall(self, scores: F32) -> F32:
        """Weighted mean [n] of scores [n, d], before any rule."""
        return overall(scores, self._weights)

    def intervals(self, scores: F32) -> F32 | None:
        """Prediction intervals [n, d, 2] around calibrated scores [n, d], inside the scale; NaN where the calibrator
        knows none, None where it knows none at all."""
        calibrator = self.manifest.calibrator
        if all(spread is None for spread in calibrator.spreads):
            return None
        return self._on_scale(calibrator.interval_around(scores), scores)

    def overall_intervals(self, scores: F32) -> F32 | None:
        """Prediction intervals [n, 2] of the weighted overall of calibrated scores [n, d], before any rule.

        None when the manifest knows none, or one for other weights than the filter's: validate again.
        """
        known = self.manifest.overall_interval
        if known.spread is None or known.weights != tuple(self.spec.weights):
            return None
        total = self.overall(scores)
        return self._on_scale(known.spread.around(total), total)

    def _on_scale(self, ends: F32, point: F32) -> F32:
        """Intervals [..., 2] clipped to the scale and rounded as scores are; the point stays inside."""
        kept = rounded(np.clip(ends.astype(np.float64), self.spec.scale.min, self.spec.scale.max))
        np.minimum(kept[..., 0], point, out=kept[..., 0])
        np.maximum(kept[..., 1], point, out=kept[..., 1])
        return kept

    def decide(self, articles: Sequence[Article] | None, scores: F32) -> Verdicts:
        """The policy applied to calibrated scores [n, d]."""
        return self.postfilter.judge(articles, scores, self.overall(scores), self.intervals(scores))

    def _judged(self, articles: Sequence[Article], scores: F32) -> tuple[Verdicts, _Range | None]:
        """The verdicts, and between which they would lie if overall and scores were at the ends of their intervals."""
        intervals, before = self.intervals(scores), self.overall_intervals(scores)
        verdicts = self.postfilter.judge(articles, scores, self.overall(scores), intervals)
        if before is None:
            return verdicts, None
        ends = np.ascontiguousarray(before.T)
        extremes = self._extremes(scores, intervals)
        judged = [self.postfilter.judge(articles, end, total, intervals) for end in extremes for total in ends]
        overalls = np.stack([verdicts.overall, *(j.overall for j in judged)])
        alike = np.logical_and.reduce([j.tier == verdicts.tier for j in judged])
        sure = alike & (verdicts.tier >= 0) if self.postfilter.tiers else None
        return verdicts, _Range(np.stack([overalls.min(axis=0), overalls.max(axis=0)], axis=1), sure)

    def _extremes(self, scores: F32, intervals: F32 | None) -> tuple[F32, ...]:
        """Scores [n, d] at the ends of their intervals, flags at the opposite ones, where that is known: a rule that
        a score decides is as doubtful as that score."""
        if intervals is None:
            return (scores,)
        low, high = (np.where(np.isnan(end), scores, end) for end in (intervals[..., 0], intervals[..., 1]))
        flags = np.array([d.role == "flag" for d in self.spec.dimensions])
        return np.where(flags, high, low), np.where(flags, low, high)

    def _rows(
        self, articles: Sequence[Article], prediction: Prediction, verdicts: Verdicts, around: _Range | None
    ) -> Iterator[Verdict]:
        """Columns as rows."""
        tiers, rules = self.postfilter.tiers, self.postfilter.rules
        names = self.spec.names
        nothing = [None] * len(articles)
        columns = zip(
            articles,
            _shown(prediction.scores),
            _shown(verdicts.overall),
            verdicts.tier.tolist(),
            verdicts.passed.tolist(),
            verdicts.reasons.tolist(),
            nothing if around is None else map(tuple, _shown(around.under_caps)),
            nothing if around is None or around.sure is None else around.sure.tolist(),
            strict=True,
        )
        for row, (article, values, total, tier, passed, bits, ends, sure) in enumerate(columns):
            error = prediction.errors.get(row)
            if error is not None:
                yield Verdict(article, {}, None, None, False, (), error)
                continue
            reasons = tuple(rule for bit, rule in enumerate(rules) if bits >> bit & 1) if bits else ()
            yield Verdict(
                article,
                dict(zip(names, values, strict=True)),
                total,
                tiers[tier] if tiers and tier >= 0 else None,
                passed,
                reasons,
                overall_interval=ends,
                sure=sure,
            )

    def close(self) -> None:
        """Free the model."""
        self.scorer.close()
        for made in (self.__dict__.get("prefilter"), self.__dict__.get("postfilter")):
            if made is not None:
                made.close()


def _known(articles: Sequence[Article], raw: Prediction) -> Prediction:
    """Uncalibrated predictions where those of empty articles are failed rows too; failed rows are NaN, and say why."""
    scores, errors = raw.scores.copy(), dict(raw.errors)
    for row, article in enumerate(articles):
        if not article.content.strip():
            scores[row] = np.nan
            errors[row] = article.extra.get(_WRONG, "content is empty")
    for row in np.flatnonzero(~np.isfinite(scores).all(axis=1)).tolist():
        scores[row] = np.nan
        errors.setdefault(row, "the model gave no finite score")
    return Prediction(scores, errors=errors)


def _passes(block: Block | None) -> bool:
    """Whether the article goes on to the model: a rule in shadow mode holds nothing back."""
    return block is None or block.shadow


def _blocked_or(
    judged: Iterator[Verdict], articles: Sequence[Article], blocks: Sequence[Block | None]
) -> Iterator[Verdict]:
    """The next judged verdict for each article that passes."""
    for article, block in zip(articles, blocks, strict=True):
        if block is None:
            yield next(judged)
        elif block.shadow:
            yield replace(next(judged), shadow=block.rule)
        else:
            yield Verdict(article, {}, None, None, False, (block.rule,), blocked=True)


def _shown(column: F32) -> list[Any]:
    """As Python's numbers, without float32's last digits."""
    shown: list[Any] = np.round(column.astype(np.float64), DECIMALS).tolist()
    return shown


_WRONG = "what is wrong with this article"


def as_article(given: Article | Mapping[str, Any]) -> Article:
    """An article; one that cannot be read becomes an empty one that says why, so that the others are scored."""
    if isinstance(given, Article):
        return given
    if not isinstance(given, Mapping):
        return Article("", "", "", extra={_WRONG: f"an article is a mapping, not {type(given).__name__}"})
    try:
        return to_article(given)
    except ValueError as error:
        return Article(str(given.get("id", "")), "", "", extra={_WRONG: str(error)})
