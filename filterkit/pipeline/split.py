"""Who goes to train, val and test: groups of articles, stratified by what the filter's policy makes of their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filterkit.errors import PluginError
from filterkit.overall import overall
from filterkit.pipeline.nearby import deal
from filterkit.policy import make_postfilter
from filterkit.records import F32
from filterkit.spec import FilterSpec

F64 = NDArray[np.float64]

HAND = 10
"""Of so many groups one goes to val and one to test."""
LARGE_ROWS, LARGE_SHARE = 5, 0.01
"""A group of at least so many rows that is more than this share of all goes to train: copies of one text prove nothing
in a test, and would fill it."""


@dataclass(frozen=True)
class Piece:
    """What is dealt: a group of `rows` rows; its first one has the id `key`, the tier `tier`, the overall `total`."""

    key: str
    rows: int
    tier: int
    total: float


def rough_overall(spec: FilterSpec, scores: F32) -> F64:
    """Weighted mean [n] of the known scores of each row of [n, d]; the scale's least where none with a weight is."""
    weights = np.where(np.isnan(scores), 0.0, np.asarray(spec.weights))
    total = weights.sum(axis=1)
    summed = (weights * np.nan_to_num(scores)).sum(axis=1)
    mean: F64 = np.divide(summed, total, out=np.full(len(scores), spec.scale.min), where=total > 0)
    return mean


def tiers(spec: FilterSpec, scores: F32) -> tuple[tuple[str, ...], list[int]]:
    """The tiers of the filter, best first, and which of them each row of scores [n, d] is in; no names: it has none.

    An unknown score is taken to be as the known ones are on average, an unknown flag to be unset. PluginError when the
    filter's postfilter is not installed.
    """
    postfilter = make_postfilter(spec)
    try:
        guess = rough_overall(spec, scores)[:, None]
        is_score = np.array([d.role == "score" for d in spec.dimensions])
        filled: F32 = np.where(np.isnan(scores), np.where(is_score, guess, spec.scale.min), scores).astype(np.float32)
        which: list[int] = postfilter.judge(None, filled, overall(filled, spec.weights), None).tier.tolist()
        return postfilter.tiers, which
    finally:
        postfilter.close()


def standing(spec: FilterSpec, scores: F32) -> list[tuple[int, float]]:
    """Tier (0 is the best; all 0 where there are none) and overall of every row of scores [n, d]."""
    totals: list[float] = rough_overall(spec, scores).tolist()
    try:
        names, which = tiers(spec, scores)
    except PluginError:  # labels can be split without it; then the overall is what counts
        names, which = (), []
    return list(zip(which if names else [0] * len(totals), totals, strict=True))


def split(pieces: Sequence[Piece], seed: int) -> list[int]:
    """Part (0 train, 1 val, 2 test) of every piece: about 80/10/10 of the rows, in every tier and at every overall.

    A tier of ten rows and more has some in each part, if it has three pieces. Needs at least 3 pieces.
    """
    rows = sum(piece.rows for piece in pieces)
    small = [i for i, p in enumerate(pieces) if p.rows < LARGE_ROWS or p.rows <= LARGE_SHARE * rows]
    if len(small) < 3:
        small = list(range(len(pieces)))
    small.sort(key=lambda i: (pieces[i].tier, pieces[i].total, pieces[i].key))
    parts = [0] * len(pieces)
    if len(small) < HAND:
        parts[small[len(small) // 3]], parts[small[2 * len(small) // 3]] = 1, 2
        return parts
    # the fewer rows there are to deal, the larger the share of them that makes a tenth of all
    hand = max(3, round(HAND * sum(pieces[i].rows for i in small) / rows))
    order = _whole_hands_first([pieces[i].tier for i in small], hand)
    for place, part in enumerate(deal(range(len(order)), (hand - 2, 1, 1), seed)):
        parts[small[order[place]]] = part
    _none_is_left_out(pieces, small, parts, seed)
    return parts


def _none_is_left_out(pieces: Sequence[Piece], small: Sequence[int], parts: list[int], seed: int) -> None:
    """See that every tier of ten rows has some in val and test, though it be of few pieces; for each that is moved
    there, one of the most frequent tier goes back to train."""
    random = np.random.default_rng(seed)
    rows: Counter[int] = Counter()
    for piece in pieces:
        rows[piece.tier] += piece.rows
    often = rows.most_common(1)[0][0]
    for tier in sorted(rows):
        members = [i for i in small if pieces[i].tier == tier]
        if rows[tier] < HAND or len(members) < 3:
            continue
        for part in (1, 2):
            if any(parts[i] == part for i in members):
                continue
            parts[random.choice([i for i in members if parts[i] == 0])] = part
            back = [i for i in small if pieces[i].tier == often and parts[i] == part]
            if len(back) > 1:
                parts[random.choice(back)] = 0


def _whole_hands_first(tiers: Sequence[int], hand: int) -> list[int]:
    """Indices of `tiers`, so that each run of `hand` lies within one tier, for as long as that is possible."""
    whole: list[int] = []
    rest: list[int] = []
    for tier, count in sorted(Counter(tiers).items()):
        members = [i for i, t in enumerate(tiers) if t == tier]
        # what is over is taken from all of the tier's range, not from its best or its worst
        over = {members[int((k + 0.5) * count / (count % hand))] for k in range(count % hand)}
        whole += [i for i in members if i not in over]
        rest += [i for i in members if i in over]
    return whole + rest
