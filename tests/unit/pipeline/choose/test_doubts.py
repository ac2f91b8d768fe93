"""How unsure a student is: by its distributions, else by its intervals, else not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from filterkit.contracts import Scorer
from filterkit.errors import ConfigError
from filterkit.pipeline.choose.doubts import check_unsure, doubts
from filterkit.records import Article, Prediction
from filterkit.testing.samples import tiny_spec


class Says(Scorer):
    """Of a text `wide` it holds all scores possible, of any other one the middle; `silent` is a row that fails."""

    max_batch = 2

    def __init__(self, d: int, probs: bool) -> None:
        self._d, self._probs = d, probs

    def predict(self, encoded: Sequence[str]) -> Prediction:
        bins = np.array([0.0, 5.0, 10.0], dtype=np.float32)
        probs = np.zeros((len(encoded), self._d, 3), dtype=np.float16)
        probs[:, :, 1] = 1
        scores = np.full((len(encoded), self._d), 5.0, dtype=np.float32)
        errors = {}
        for row, text in enumerate(encoded):
            if "wide" in text:
                probs[row] = [0.5, 0, 0.5]
                scores[row] = 9
            if "silent" in text:
                probs[row], scores[row], errors[row] = np.nan, np.nan, "it fails"
        known = {"bins": bins, "probs": probs} if self._probs else {}
        return Prediction(scores, errors=errors, **known)  # type: ignore[arg-type]


def student(*, probs: bool = True, knows: bool = True) -> Any:
    """`intervals` are wider for higher scores, where the calibrator knows any; the last dimension never has one."""
    spec = tiny_spec()
    d = len(spec.names)

    def intervals(scores: Any) -> Any:
        if not knows:
            return None
        ends = np.stack([scores * 0.9, scores * 1.1], axis=-1)
        ends[:, -1] = np.nan
        return ends

    spreads = ([object()] * (d - 1) + [None]) if knows else [None] * d
    manifest = SimpleNamespace(calibrator=SimpleNamespace(spreads=spreads))
    return SimpleNamespace(
        spec=spec, scorer=Says(d, probs), intervals=intervals, calibrate=lambda scores: scores, manifest=manifest
    )


ARTICLES = [Article(str(i), "", text) for i, text in enumerate(["plain", "wide", "silent", "plain", " "])]


@pytest.mark.parametrize("probs", [True, False])
def test_doubt_grows_with_the_spread_and_is_nothing_where_the_student_cannot_say(probs: bool) -> None:
    plain, wide, silent, again, empty = doubts(student(probs=probs), ARTICLES)
    assert wide > plain == again
    assert np.isnan(silent)
    assert np.isnan(empty)
    if probs:
        assert (plain, wide) == (0, 5)


def test_without_distribution_and_interval_it_is_refused_with_words() -> None:
    check_unsure(student(probs=False), Path("s"))
    with pytest.raises(ConfigError, match="does not say how sure"):
        check_unsure(student(probs=False, knows=False), Path("s"))


def test_no_article_is_no_doubt() -> None:
    assert doubts(student(), []).shape == (0,)
