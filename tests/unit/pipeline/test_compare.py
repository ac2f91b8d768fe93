"""What compare measures, against scikit-learn; and which articles it draws."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import labelled
from sklearn.metrics import cohen_kappa_score

from filterkit.articles import to_article
from filterkit.metrics.bootstrap import Resamples
from filterkit.pipeline.compare.agreement import _TierFigures, cohens_kappa
from filterkit.pipeline.compare.draw import draw, sent_hash
from filterkit.pipeline.pilot import Sample
from filterkit.testing import tiny_spec


@pytest.mark.parametrize("seed", range(10))
def test_kappa_is_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 3, (2, 50))
    b[:30] = a[:30]
    confusion = np.zeros((1, 3, 3))
    np.add.at(confusion[0], (a, b), 1)
    assert cohens_kappa(confusion)[0] == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)


def test_kappa_says_nothing_where_chance_agrees_always() -> None:
    same = np.zeros(30, np.intp)
    found = _TierFigures(("high", "low"), same, same, Resamples(30)).agreement()
    assert (found.accuracy, found.kappa) == (1.0, None)
    assert "same one tier" in found.undefined["kappa"]
    assert "kappa" not in found.intervals
    few = _TierFigures(("high", "low"), same[:4], same[:4], Resamples(4)).agreement()
    assert few.intervals == {}, "four articles prove nothing"


def test_kappas_interval_covers_it() -> None:
    """Of 200 pairs of judges whose true kappa is known, about 95 % of the intervals hold it."""
    true = np.array([[0.3, 0.1], [0.1, 0.5]])
    expected = float(cohens_kappa(true[None])[0])
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        cells = random.choice(4, 150, p=true.ravel())
        found = _TierFigures(("high", "low"), cells // 2, cells % 2, Resamples(150, rounds=400)).agreement()
        hits += found.intervals["kappa"].low <= expected <= found.intervals["kappa"].high
    assert 182 <= hits <= 198


def test_a_sample_is_one_of_texts_and_the_same_whatever_comes_twice() -> None:
    spec = tiny_spec()
    articles = [to_article(row) for row in labelled(300)]
    drawn = draw(articles, spec, 40, 0)
    assert len(drawn) == 40
    assert [a.id for a in drawn] == sorted(a.id for a in drawn), "in the order of the input"
    again = draw([*articles, *reversed(articles)], spec, 40, 0)
    assert {a.id for a in again} == {a.id for a in drawn}
    assert {a.id for a in draw(articles, spec, 40, 1)} != {a.id for a in drawn}
    assert len(draw(articles[:7], spec, 40, 0)) == 7


def test_the_sample_holds_that_of_a_pilot() -> None:
    spec = tiny_spec()
    articles = [to_article(row) for row in labelled(300)]
    pilot = Sample(20)
    for article in articles:
        pilot.offer(article, sent_hash(spec, article), True)
    assert {a.id for a in pilot.articles} <= {a.id for a in draw(articles, spec, 40, 0)}


def test_what_more_judges_have_labels_of_comes_first() -> None:
    spec = tiny_spec()
    articles = [to_article(row) for row in labelled(1200)]
    both, one = {a.id for a in articles[700:710]}, {a.id for a in articles[:20]}
    drawn = draw(articles, spec, 25, 0, lambda some: [2 * (a.id in both) + (a.id in one) for a in some])
    assert len(drawn) == 25
    assert both < {a.id for a in drawn} <= both | one, "and what none has is left out"
