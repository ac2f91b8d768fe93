"""Near-duplicates, and the dealing out into parts."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from helpers import words

from filterkit.pipeline.nearby import SHINGLE, deal, groups, signature, signatures


def shingles(text: str) -> set[str]:
    text = " ".join(text.lower().split())
    return {text[i : i + SHINGLE] for i in range(len(text) - SHINGLE + 1)}


def jaccard(a: str, b: str) -> float:
    one, two = shingles(a), shingles(b)
    return len(one & two) / len(one | two)


def text(seed: int, n: int = 60) -> str:
    return " ".join(words(np.random.default_rng([7, seed]), n))


def altered(original: str, share: float, seed: int) -> str:
    """`original` with a share of its words, in one stretch, replaced by others."""
    parts, other = original.split(), text(100_000 + seed).split()
    count = round(share * len(parts))
    start = random.Random(seed).randrange(len(parts) - count + 1)
    return " ".join(parts[:start] + other[:count] + parts[start + count :])


def pairs_near(target: float, share: float, n: int = 300) -> list[tuple[str, str]]:
    found = [(text(i), altered(text(i), share, i)) for i in range(n)]
    assert abs(float(np.mean([jaccard(a, b) for a, b in found])) - target) < 0.03
    return found


def found_share(pairs: list[tuple[str, str]]) -> float:
    labels = groups([t for pair in pairs for t in pair])
    return sum(labels[2 * i] == labels[2 * i + 1] for i in range(len(pairs))) / len(pairs)


def test_near_duplicates_are_found() -> None:
    near = [(a, b) for a, b in pairs_near(0.92, 0.035) if jaccard(a, b) >= 0.9]
    assert len(near) > 150
    assert found_share(near) >= 0.98


@pytest.mark.parametrize(("share", "least"), [(0.1, 0.75), (0.15, 0.7), (0.2, 0.6)])
def test_the_less_near_are_found_too(share: float, least: float) -> None:
    pairs = [(text(i), altered(text(i), share, i)) for i in range(400)]
    near = [(a, b) for a, b in pairs if jaccard(a, b) >= least]
    assert len(near) >= 300
    assert found_share(near) >= 0.99


def test_a_passage_that_all_share_hides_no_near_duplicates() -> None:
    """Two thirds as long as the article itself: it fills buckets with articles that are otherwise different."""
    wall = text(5_000, 40)
    pairs = [(f"{wall} {text(i)}", f"{wall} {altered(text(i), 0.35, i)}") for i in range(250)]
    near = [(a, b) for a, b in pairs if jaccard(a, b) >= 0.6]
    assert len(near) >= 200
    assert found_share(near) >= 0.99
    labels = groups([a for a, _ in pairs])
    assert len(set(labels)) >= 225  # sharing it alone makes no near-duplicates


def test_articles_that_share_a_passage_are_not_near_duplicates() -> None:
    assert found_share(pairs_near(0.3, 0.53)) <= 0.01


def test_different_texts_stay_alone() -> None:
    assert groups([text(i) for i in range(400)]) == list(range(400))


@pytest.mark.parametrize("language", ["zh", "ja", "th"])
def test_languages_without_spaces(language: str) -> None:
    first, size = {"zh": (0x4E00, 3000), "ja": (0x3041, 80), "th": (0x0E01, 46)}[language]
    draw = random.Random(language)
    originals = ["".join(chr(first + draw.randrange(size)) for _ in range(300)) for _ in range(60)]
    copies = [t[:150] + "。" + t[151:] for t in originals]
    labels = groups(originals + copies)
    assert sum(labels[60 + i] == i for i in range(60)) >= 59
    assert labels[:60] == list(range(60))


def test_case_and_whitespace_do_not_count() -> None:
    assert groups(["A Small Step\nfor the Village", "a small  step for the village"]) == [0, 0]
    assert (signature("One\tTwo three") == signature("one two THREE ")).all()


def test_a_signature_is_the_same_whatever_texts_stand_around_it() -> None:
    texts = [text(i, n) for i, n in enumerate([60, 1, 3000, 7, 0, 9000, 2, 60] * 3)]
    assert (signatures(texts) == np.array([signature(t) for t in texts])).all()


@pytest.mark.parametrize("n", [10, 25, 60, 300])
def test_signatures_agree_as_much_as_texts_have_in_common(n: int) -> None:
    """Without bias, and no less exactly than 128 permutations would."""
    pairs = [(text(i, n), altered(text(i, n), 0.3, i)) for i in range(300)]
    one, other = signatures(a for a, _ in pairs), signatures(b for _, b in pairs)
    true = np.array([jaccard(a, b) for a, b in pairs])
    errors = (one == other).mean(axis=1) - true
    assert abs(errors.mean()) < 0.01
    assert errors.std() < 1.15 * np.sqrt((true * (1 - true)).mean() / 128)


@pytest.mark.parametrize("odd", ["", " ", "a", "ab\ud800cd", "👩‍👩‍👧‍👦", "\x00"])
def test_odd_texts_are_alone(odd: str) -> None:
    assert groups([text(1), odd, text(2), odd]) == [0, 1, 2, 1]


def test_similarity_is_passed_on() -> None:
    """Of a chain of small changes all are one group, though its ends differ."""
    chain = [text(1)]
    for i in range(6):
        chain.append(altered(chain[-1], 0.1, i))
    assert jaccard(chain[0], chain[-1]) < 0.6
    assert set(groups(chain)) == {0}


def test_declared_groups_are_added_to_what_is_found() -> None:
    texts = [text(0), text(1), text(2), altered(text(1), 0.05, 1), text(3), text(4)]
    assert groups(texts, ["x", None, "x", "y", "y", None]) == [0, 1, 0, 1, 1, 5]
    assert groups(texts) == [0, 1, 2, 1, 4, 5]


@pytest.mark.parametrize("shares", [(8, 1, 1), (1, 1, 1, 1, 1)])
def test_every_part_gets_its_share_of_every_level(shares: tuple[int, ...]) -> None:
    parts = deal(range(1000), shares, seed=3)
    for start in range(0, 1000, 100):
        counts = Counter(parts[start : start + 100])
        assert [counts[k] for k in range(len(shares))] == [100 * s // sum(shares) for s in shares]
    assert deal(range(1000), shares, seed=3) == parts
    assert deal(range(1000), shares, seed=4) != parts


def test_the_order_says_who_is_dealt_what() -> None:
    order = [3, 1, 0, 2]
    dealt, straight = deal(order, (1, 1), 0), deal(range(4), (1, 1), 0)
    assert [dealt[i] for i in order] == straight
