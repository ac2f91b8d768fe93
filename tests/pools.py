"""Articles as strategies are offered them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import numpy as np

from filterkit.pipeline.choose.candidates import Offer, offer
from filterkit.pipeline.choose.choice import Choice, Stands, choose
from filterkit.pipeline.choose.mix import parse_mix
from filterkit.pipeline.choose.strategies import Diverse, Near, Random, Strategy, Stratified, Uncertain
from filterkit.records import F32, Article, sha256_text


def made(n: int, sources: Sequence[str] = ("a",), hosts: int = 0, start: int = 0) -> list[Offer]:
    """n articles that take turns with their sources, and with hosts if there are any."""
    found = []
    for i in range(start, start + n):
        url = f"https://www.host{i % hosts}.org/{i}" if hosts else None
        article = Article(f"a{i}", f"Title {i}", f"Text of {i}.", url, sources[i % len(sources)], language="en")
        found.append(offer(article, sha256_text(article.text), {"id": article.id, "row": i}))
    return found


def embed(texts: Sequence[str]) -> F32:
    """A direction for each text, as good as drawn."""
    rows = [np.random.default_rng(int(sha256_text(text)[:8], 16)).standard_normal(8) for text in texts]
    vectors = np.array(rows, dtype=np.float32).reshape(len(texts), 8)
    unit: F32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def long_texts(articles: Sequence[Article]) -> F32:
    """A student that is the less sure the higher the number in the text."""
    return np.array([float(article.content.split()[-1].rstrip(".")) for article in articles], dtype=np.float32)


def strategies(names: Iterable[str], size: int, cap: int | None = None, seed: int = 0) -> dict[str, Strategy]:
    examples = [one.article for one in made(3)]
    each: dict[str, Strategy] = {
        "random": Random(size, cap, seed),
        "stratified": Stratified(size, cap, seed),
        "near": Near(size, cap, seed, embed, examples),
        "uncertain": Uncertain(size, cap, seed, long_texts),
        "diverse": Diverse(size, cap, seed, embed),
    }
    return {name: each[name] for name in names}


def chosen(
    offers: Iterable[Offer],
    mix: str,
    limit: int,
    *,
    cap: int | None = None,
    seed: int = 0,
    labelled: Iterable[Offer] = (),
    stands: Stands | None = None,
) -> Choice:
    parts = parse_mix(mix)
    done = {one.sent_hash for one in labelled}
    return choose(
        offers,
        parts,
        strategies([part.strategy for part in parts], limit, cap, seed),
        limit,
        cap=cap,
        stands=stands or (lambda hashes: ["labelled" if one in done else "free" for one in hashes]),
    )


def keys(choice: Choice) -> list[int]:
    return [candidate.key for candidate in choice.chosen]


def shuffled(offers: Sequence[Offer], seed: int) -> list[Offer]:
    return random.Random(seed).sample(offers, len(offers))
