"""The strategies: each ranks the articles that come by, and keeps no more of them than it may have to give."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from filterkit.errors import PluginError
from filterkit.pipeline.choose.best import Best
from filterkit.pipeline.choose.candidates import Candidate, Offer, Stratum, drawn
from filterkit.pipeline.choose.cover import cover
from filterkit.prompt import shorten
from filterkit.records import F32, Article, sha256_text
from filterkit.untrusted import clean

SAMPLE, MOST_SAMPLED = 20_000, 200_000
"""Articles that `stratified` and `diverse` choose from: as many of the pool, drawn at random, or eight for each that
is wanted."""
KNOWN = 5_000
"""Labelled articles that `diverse` knows of."""
EMBEDDED_CHARS = 20_000
ROUNDED = 5
"""Decimals that count: the last ones depend on which texts an embedder or a student was given together."""

Embed = Callable[[Sequence[str]], F32]
Doubts = Callable[[Sequence[Article]], F32]
"""How unsure a student is of each article [n]; NaN where it cannot say."""


class Strategy(ABC):
    """Hears of all articles, and ranks those that may be chosen."""

    @abstractmethod
    def offer(self, chunk: Sequence[Offer]) -> None:
        """Articles that may be chosen."""

    def had(self, chunk: Sequence[Offer]) -> None:
        """Articles that are labelled already."""
        return

    @abstractmethod
    def ranked(self) -> list[Candidate]:
        """At most as many as can be wanted, and as the cap allows of a host; best first."""


class Random(Strategy):
    """Those whose hash is highest."""

    def __init__(self, size: int, cap: int | None, seed: int) -> None:
        self._best, self._seed = Best(size, cap), seed

    def offer(self, chunk: Sequence[Offer]) -> None:
        for candidate, _, _ in chunk:
            self._best.offer((0.0, drawn("random", self._seed, candidate.key)), candidate)

    def ranked(self) -> list[Candidate]:
        return self._best.ranked()


def sample_size(size: int) -> int:
    """How many articles are drawn to choose `size` of them."""
    return max(size, min(MOST_SAMPLED, max(SAMPLE, 8 * size)))


class Stratified(Strategy):
    """As many of every source and language as it has of all articles, those labelled already included.

    Any beginning of the ranking is stratified too. A stratum that deserves less than one is there with that chance.
    """

    def __init__(self, size: int, cap: int | None, seed: int) -> None:
        self._size, self._cap, self._seed = size, cap, seed
        self._sample = Best(sample_size(size), None if cap is None else 8 * cap)
        self._offered = 0
        self._had: Counter[Stratum] = Counter()

    def offer(self, chunk: Sequence[Offer]) -> None:
        self._offered += len(chunk)
        for candidate, _, _ in chunk:
            self._sample.offer((0.0, drawn("stratified", self._seed, candidate.key)), candidate)

    def had(self, chunk: Sequence[Offer]) -> None:
        self._had.update(candidate.stratum for candidate, _, _ in chunk)

    def ranked(self) -> list[Candidate]:
        of: dict[Stratum, list[Candidate]] = {}
        for candidate in reversed(self._sample.ranked()):
            of.setdefault(candidate.stratum, []).append(candidate)  # best last
        each = self._offered / max(1, len(self._sample))
        weight = {stratum: each * len(own) + self._had[stratum] for stratum, own in of.items()}

        def due(stratum: Stratum, taken: int) -> tuple[float, int, Stratum]:
            start = drawn(f"stratum {sha256_text(repr(stratum))}", self._seed, 0)
            return (self._had[stratum] + taken + start / 2**64) / weight[stratum], taken, stratum

        queue = [due(stratum, 0) for stratum in of]
        heapq.heapify(queue)
        chosen: list[Candidate] = []
        allowed = Cap(self._cap)
        while queue and len(chosen) < self._size:
            _, taken, stratum = heapq.heappop(queue)
            found = next(allowed.those_of(of[stratum]), None)
            if found is not None:
                chosen.append(found)
                heapq.heappush(queue, due(stratum, taken + 1))
        return chosen


class Near(Strategy):
    """Those whose embedding is nearest to that of any of the examples."""

    def __init__(self, size: int, cap: int | None, seed: int, embed: Embed, examples: Sequence[Article]) -> None:
        self._best, self._seed, self._embed = Best(size, cap), seed, embed
        self._examples = embedded(embed, examples)

    def offer(self, chunk: Sequence[Offer]) -> None:
        vectors = embedded(self._embed, [article for _, article, _ in chunk])
        nearest = (vectors @ self._examples.T).max(axis=1)
        for (candidate, _, _), similar in zip(chunk, nearest.tolist(), strict=True):
            self._best.offer((round(similar, ROUNDED), drawn("near", self._seed, candidate.key)), candidate)

    def ranked(self) -> list[Candidate]:
        return self._best.ranked()


class Uncertain(Strategy):
    """Those that a student is least sure of. What it cannot score is not chosen."""

    def __init__(self, size: int, cap: int | None, seed: int, doubts: Doubts) -> None:
        self._best, self._seed, self._doubts = Best(size, cap), seed, doubts

    def offer(self, chunk: Sequence[Offer]) -> None:
        doubts = self._doubts([article for _, article, _ in chunk])
        for (candidate, _, _), doubt in zip(chunk, doubts.tolist(), strict=True):
            if np.isfinite(doubt):
                self._best.offer((round(doubt, ROUNDED), drawn("uncertain", self._seed, candidate.key)), candidate)

    def ranked(self) -> list[Candidate]:
        return self._best.ranked()


class Diverse(Strategy):
    """Those that together tell most about all the others, given what is labelled already; see `cover`.

    It chooses from a sample of the pool that is drawn at random, as it must have all of it in memory.
    """

    def __init__(self, size: int, cap: int | None, seed: int, embed: Embed) -> None:
        self._size, self._cap, self._seed, self._embed = size, cap, seed, embed
        self._sample = _Vectors(Best(sample_size(size), None if cap is None else 8 * cap))
        self._known = _Vectors(Best(KNOWN))
        self._labelled = 0

    def offer(self, chunk: Sequence[Offer]) -> None:
        self._sample.take(chunk, self._seed, self._embed)

    def had(self, chunk: Sequence[Offer]) -> None:
        self._labelled += len(chunk)
        self._known.take(chunk, self._seed, self._embed)

    def ranked(self) -> list[Candidate]:
        candidates, pool = self._sample.all()
        if not candidates:
            return []
        _, had = self._known.all()
        each = self._labelled / max(1, len(had))
        hosts = [candidate.host for candidate in candidates]
        rows = cover(pool, had.reshape(-1, pool.shape[1]), self._size, hosts, self._cap, each)
        return [candidates[row] for row in rows]


class _Vectors:
    """A sample that is drawn at random, with the vectors of what is in it. Only what gets in is embedded."""

    def __init__(self, best: Best) -> None:
        self._best = best
        self._vectors: dict[int, F32] = {}

    def take(self, chunk: Sequence[Offer], seed: int, embed: Embed) -> None:
        wanted = []
        for candidate, article, _ in chunk:
            rank = (0.0, drawn("diverse", seed, candidate.key))
            if candidate.key not in self._vectors and self._best.wants(rank):
                wanted.append((rank, candidate, article))
        if not wanted:
            return
        vectors = embedded(embed, [article for _, _, article in wanted])
        for (rank, candidate, _), vector in zip(wanted, vectors, strict=True):
            out = self._best.offer(rank, candidate)
            if out is not candidate:
                self._vectors[candidate.key] = vector.copy()
            if out is not None and out is not candidate:
                del self._vectors[out.key]

    def all(self) -> tuple[list[Candidate], F32]:
        """What was drawn, in the order of its draw, and its vectors [n, k]."""
        candidates = self._best.ranked()
        rows = [self._vectors[candidate.key] for candidate in candidates]
        return candidates, np.array(rows, dtype=np.float32)


class Cap:
    """Counts what was taken of each host. None: as many as there are."""

    def __init__(self, cap: int | None) -> None:
        self._cap = cap
        self._taken: Counter[str] = Counter()

    def allows(self, candidate: Candidate) -> bool:
        """Whether it may be taken; if so, it counts as taken."""
        if self._cap is not None and candidate.host:
            if self._taken[candidate.host] >= self._cap:
                return False
            self._taken[candidate.host] += 1
        return True

    def those_of(self, stack: list[Candidate]) -> Iterator[Candidate]:
        """Those that may be taken, from the end of the stack, which loses what was looked at."""
        while stack:
            candidate = stack.pop()
            if self.allows(candidate):
                yield candidate


def embedded(embed: Embed, articles: Sequence[Article]) -> F32:
    """Vectors [n, k] of the articles' texts. PluginError for what is no vector."""
    vectors = embed([shorten(clean(article.text), EMBEDDED_CHARS, "head") for article in articles])
    if vectors.ndim != 2 or len(vectors) != len(articles) or not np.isfinite(vectors).all():
        raise PluginError("gave vectors that are not finite, or not one for each text", where="the embedder")
    return vectors
