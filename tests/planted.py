"""Pairs of texts of a known Jaccard similarity, of character 5-grams or of words."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache

from filterkit.pipeline.screen import Decision, Screening
from filterkit.records import Article
from filterkit.testing.samples import tiny_spec

LETTERS = {
    "latin": ("abcdefghijklmnopqrstuvwxyz", " "),
    "cyrillic": ("абвгдежзийклмнопрстуфхцчшщыьэюя", " "),
    "chinese": ("".join(map(chr, range(0x4E00, 0x5600))), ""),
    "thai": ("กขคงจชซญดตถทธนบปผพฟมยรลวศสหอ", ""),
}


@cache
def vocabulary(script: str) -> list[str]:
    """5,000 invented words."""
    draw, letters = random.Random(script), LETTERS[script][0]
    lengths = (1, 3) if script == "chinese" else (2, 9)
    return ["".join(draw.choices(letters, k=draw.randint(*lengths))) for _ in range(5000)]


def grams(text: str) -> set[str]:
    """Character 5-grams."""
    return {text[i : i + 5] for i in range(len(text) - 4)}


def word_set(text: str) -> set[str]:
    return set(text.split())


def jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def planted(
    script: str, seed: int, target: float, shingles: Callable[[str], set[str]] = grams, words: int = 80
) -> tuple[str, str]:
    """Two texts, one of them with single words replaced all over until only `target` is left in common."""
    draw = random.Random(f"{script} {seed}")
    known, between = vocabulary(script), LETTERS[script][1]
    one = draw.choices(known, k=words)
    other, best = list(one), list(one)
    for at in draw.sample(range(words), words):
        other[at] = draw.choice(known)
        if jaccard(shingles(between.join(one)), shingles(between.join(other))) < target:
            break
        best = list(other)
    return between.join(one), between.join(best)


def screened(
    articles: Sequence[Article],
    *,
    near_duplicates: float | None = 0.75,
    labelled: Sequence[str] = (),
    failed: Sequence[str] = (),
    boilerplate: bool = True,
) -> Decision:
    """What screening decides; `labelled` and `failed` are ids of articles whose question is settled."""
    standing = {**dict.fromkeys(labelled, "labelled"), **dict.fromkeys(failed, "failed")}
    waiting = iter([standing.get(article.id, "free") for article in articles])
    screening = Screening(
        tiny_spec(),
        lambda hashes: [next(waiting) for _ in hashes],
        near_duplicates=near_duplicates,
        boilerplate=boilerplate,
    )
    for start in range(0, len(articles), 100):
        part = enumerate(articles[start : start + 100], start + 1)
        screening.add([("in.jsonl", line, article) for line, article in part])
    return screening.decide()


def texts(*contents: str) -> list[Article]:
    return [Article(f"t{i}", "", content) for i, content in enumerate(contents)]


def left_out(decision: Decision) -> dict[str, str | None]:
    """Id -> the id that it is like."""
    return {one.id: one.like for one in decision.left_out()}
