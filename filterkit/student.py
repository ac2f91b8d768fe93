"""A student in use: texts in, calibrated scores and verdicts out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from filterkit.contracts import Context, Postfilter, Prefilter, Scorer
from filterkit.errors import ArtifactError
from filterkit.filters import Filter, load_filter
from filterkit.io import to_article
from filterkit.manifest import Manifest, load_manifest
from filterkit.options import make_backend
from filterkit.prompt import student_text
from filterkit.records import F32, Article, Block, Prediction, Verdicts
from filterkit.spec import FilterSpec

BATCH = 1024
DECIMALS = 4
"""Of scores and overalls. They are rounded before they are judged, so that nobody reads 7.0 below the tier from 7."""
_NOWHERE = Context(workdir=Path(tempfile.gettempdir()))
"""Models and postfilters keep no files of their own between runs."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One article's verdict: a row view of the columns. `error` says why there are no scores; `blocked` that a
    prefilter held the article back.

    scores: dimension -> calibrated score; overall after caps; tier None where there are none; reasons: names
    of the rules that applied.
    """

    article: Article
    scores: Mapping[str, float]
    overall: float | None
    tier: str | None
    passed: bool
    reasons: tuple[str, ...] = ()
    error: str | None = None
    blocked: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The fields that a verdict adds to its article."""
        out: dict[str, Any] = {
            "scores": dict(self.scores),
            "overall": self.overall,
            "tier": self.tier,
            "passed": self.passed,
            "reasons": list(self.reasons),
        }
        if self.error is not None:
            out["error"] = self.error
        return out


def load_scorer(folder: str | Path, *, device: str = "auto", threads: int | None = None) -> Scorer:
    """The scorer of a student's folder, uncalibrated, after its hashes were checked."""
    path = Path(folder)
    return _scorer(path, load_manifest(path), device, threads, None)


def _scorer(
    folder: Path, manifest: Manifest, device: str, threads: int | None, shared: MutableMapping[str, Any] | None
) -> Scorer:
    model = make_backend("model", manifest.format, {}, manifest.spec, _NOWHERE)
    scorer: Scorer = model.load(str(folder), device=device, threads=threads, shared=shared)
    return scorer


def make_postfilter(spec: FilterSpec) -> Postfilter[Any]:
    """The postfilter that a filter declares. PluginError says what to install when it is not there."""
    made: Postfilter[Any] = make_backend("postfilter", spec.postfilter.use, spec.postfilter.options, spec, _NOWHERE)
    return made


def make_prefilter(spec: FilterSpec) -> Prefilter[Any] | None:
    """The prefilter that a filter declares, if any. PluginError says what to install when it is not there."""
    if spec.prefilter is None:
        return None
    made: Prefilter[Any] = make_backend("prefilter", spec.prefilter.use, spec.prefilter.options, spec, _NOWHERE)
    return made


def check_policy(spec: FilterSpec) -> None:
    """Raise what making the filter's pre- and postfilter raises: before any work is done, or anything shipped."""
    for made in (make_prefilter(spec), make_postfilter(spec)):
        if made is not None:
            made.close()


class Student:
    """A trained student with its calibrator and a filter's policy. Not thread-safe."""

    def __init__(self, spec: FilterSpec, manifest: Manifest, scorer: Scorer) -> None:
        self.spec = spec
        self.manifest = manifest
        self.scorer = scorer
        self._weights = np.asarray(spec.weights, dtype=np.float64)

    @cached_property
    def postfilter(self) -> Postfilter[Any]:
        """What turns scores into verdicts; made when first needed, since scores alone need none."""
        return make_postfilter(self.spec)

    @cached_property
    def prefilter(self) -> Prefilter[Any] | None:
        """What holds articles back before the model reads them."""
        return make_prefilter(self.spec)

    def score(self, articles: Iterable[Article | Mapping[str, Any]]) -> F32:
        """Calibrated scores [n, d], float32, in the filter's dimension order; a row that failed is NaN."""
        return self.predict([_article(a) for a in articles]).scores

    def judge(self, articles: Iterable[Article | Mapping[str, Any]]) -> Iterator[Verdict]:
        """A verdict per article, in order. Articles may be dicts; one that is none gets a verdict with `error`.

        What the prefilter holds back is not scored: its verdict has `blocked` and the rule among its reasons.
        """
        source = iter(articles)
        while batch := [_article(a) for a in islice(source, BATCH)]:
            blocks = self._blocks(batch)
            open_ones = [a for a, block in zip(batch, blocks, strict=True) if block is None]
            prediction = self.predict(open_ones)
            judged = self.rows(open_ones, prediction, self.decide(open_ones, prediction.scores))
            for article, block in zip(batch, blocks, strict=True):
                if block is None:
                    yield next(judged)
                else:
                    yield Verdict(article, {}, None, None, False, (block.rule,), blocked=True)

    def _blocks(self, articles: Sequence[Article]) -> list[Block | None]:
        """For each article the prefilter's block, or None where it may pass."""
        if self.prefilter is None:
            return [None] * len(articles)
        answers = self.prefilter.judge(articles)
        return [a if isinstance(a, Block) and not a.shadow else None for a in answers]

    def predict(self, articles: Sequence[Article]) -> Prediction:
        """Calibrated predictions for n articles, inside the scale. An article without content is a failed row."""
        texts = [student_text(self.spec, a) for a in articles]
        step = max(1, self.scorer.max_batch)
        scores = np.full((len(texts), len(self.spec.names)), np.nan, dtype=np.float32)
        errors: dict[int, str] = {}
        for start in range(0, len(texts), step):
            part = self.scorer.predict(self.scorer.encode(texts[start : start + step]))
            scores[start : start + step] = self.calibrate(part.scores)
            errors.update({start + row: why for row, why in part.errors.items()})
        for row, article in enumerate(articles):
            if not article.content.strip():
                scores[row] = np.nan
                errors[row] = article.extra.get(_WRONG, "content is empty")
        for row in np.flatnonzero(~np.isfinite(scores).all(axis=1)).tolist():
            scores[row] = np.nan
            errors.setdefault(row, "the model gave no finite score")
        return Prediction(scores, errors=errors)

    def calibrate(self, scores: F32) -> F32:
        """Raw scores [n, d] through the calibrator, clipped to the scale and rounded."""
        calibrated = self.manifest.calibrator.apply(scores).astype(np.float64)
        return _rounded(np.clip(calibrated, self.spec.scale.min, self.spec.scale.max))

    def overall(self, scores: F32) -> F32:
        """Weighted mean [n] of scores [n, d], before any rule."""
        return overall(scores, self._weights)

    def decide(self, articles: Sequence[Article] | None, scores: F32) -> Verdicts:
        """The policy applied to calibrated scores [n, d]."""
        return self.postfilter.judge(articles, scores, self.overall(scores), None)

    def rows(self, articles: Sequence[Article], prediction: Prediction, verdicts: Verdicts) -> Iterator[Verdict]:
        """Columns as rows."""
        tiers, rules = self.postfilter.tiers, self.postfilter.rules
        names = self.spec.names
        scores = np.round(prediction.scores.astype(np.float64), DECIMALS).tolist()
        overalls = np.round(verdicts.overall.astype(np.float64), DECIMALS).tolist()
        columns = zip(
            articles,
            scores,
            overalls,
            verdicts.tier.tolist(),
            verdicts.passed.tolist(),
            verdicts.reasons.tolist(),
            strict=True,
        )
        for row, (article, values, total, tier, passed, bits) in enumerate(columns):
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
            )

    def close(self) -> None:
        """Free the model."""
        self.scorer.close()
        for made in (self.__dict__.get("prefilter"), self.__dict__.get("postfilter")):
            if made is not None:
                made.close()


def overall(scores: F32, weights: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]]) -> F32:
    """Weighted mean [n] of scores [n, d]; columns of weight 0 (flags) do not count, a NaN score makes it NaN.

    Summed in float64 and rounded to 4 decimals, so that a score of exactly 7 everywhere is an overall of 7.
    """
    w = np.asarray(weights, dtype=np.float64)
    counted = np.flatnonzero(w)
    total = np.zeros(len(scores), dtype=np.float64)
    for column in counted:
        total += w[column] * scores[:, column]
    return _rounded(total / w.sum())


def _rounded(values: np.ndarray[Any, np.dtype[np.float64]]) -> F32:
    rounded: F32 = np.round(values, DECIMALS).astype(np.float32)
    return rounded


def load_student(
    folder: str | Path,
    filter: Filter | str | Path | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    shared: MutableMapping[str, Any] | None = None,
) -> Student:
    """The student in a folder, under the policy it was trained with or that of `filter`.

    Raises ArtifactError when the folder is damaged, or answers another question than `filter` asks.
    """
    path = Path(folder)
    manifest = load_manifest(path)
    spec = manifest.spec
    if filter is not None:
        loaded = filter if isinstance(filter, Filter) else load_filter(filter)
        check_fits(loaded, manifest, path)
        spec = loaded.spec
    return Student(spec, manifest, _scorer(path, manifest, device, threads, shared))


def check_fits(filter: Filter, manifest: Manifest, where: Path) -> None:
    """Refuse a student that was made for another filter, other dimensions, or labels of another question."""
    if manifest.spec.name != filter.name:
        raise ArtifactError(
            f"this student was trained for filter {manifest.spec.name!r}, not {filter.name!r}", where=where
        )
    if manifest.target_hash != filter.spec.target_hash:
        raise ArtifactError(
            f"this student answers other dimensions, scale or input than {filter.name} {filter.spec.version} asks for",
            where=where,
            fix="Train again",
        )
    if manifest.request_hash != filter.request_hash(manifest.data.variant):
        raise ArtifactError(
            "this student learnt from labels of another rubric than the filter's",
            where=where,
            fix="Label, prepare and train again, or go back to the rubric it was trained with",
        )


_WRONG = "what is wrong with this article"


def _article(given: Article | Mapping[str, Any]) -> Article:
    """An article; one that cannot be read becomes an empty one that says why, so that the others are scored."""
    if isinstance(given, Article):
        return given
    if not isinstance(given, Mapping):
        return Article("", "", "", extra={_WRONG: f"an article is a mapping, not {type(given).__name__}"})
    try:
        return to_article(given)
    except ValueError as error:
        return Article(str(given.get("id", "")), "", "", extra={_WRONG: str(error)})
