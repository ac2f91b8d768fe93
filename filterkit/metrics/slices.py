"""Parts of the articles that the student may be worse on than on the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from filterkit.metrics.bootstrap import F64, Ratio, Resamples
from filterkit.metrics.means import mean_over
from filterkit.metrics.ranking import Mask
from filterkit.metrics.records import Slice

FEWEST = 10
"""Articles that a slice of its own has at least; the others of its kind are lumped."""
OTHERS = "all others"
Kind = Literal["language", "source", "length"]


def slices_of(kind: Kind, values: Sequence[str], error: F64, resamples: Resamples) -> tuple[Slice, ...]:
    """One slice per value that at least ten articles have, and one of all others; the worst first.

    values [n] name the slice of each article, error [n, d] is prediction - label of the scored dimensions, NaN where
    unknown. Empty where all articles are alike: there is nothing to hold the slice against.
    """
    counts = Counter(values)
    names = [name for name, count in counts.items() if count >= FEWEST]
    kept = set(names)
    named = np.array([v if v in kept else OTHERS for v in values], dtype=object)
    if len(kept) < len(counts):
        names.append(OTHERS)
    if len(names) < 2:
        return ()
    found = [_slice(kind, name, np.asarray(named == name, np.bool_), error, resamples) for name in names]
    return tuple(sorted(found, key=lambda s: -(s.worse if s.worse is not None else -np.inf)))


def worst(slices: Sequence[Slice]) -> Slice | None:
    """The slice with the largest error above the others', of those where that is no chance; None when there is none.

    Never what was lumped together: that is no place to look.
    """
    named = [s for s in slices if s.name != OTHERS]
    sure = [s for s in named if s.worse is not None and (i := s.intervals.get("worse")) is not None and i.low > 0]
    return max(sure, key=lambda s: s.worse or 0.0, default=None)


def _slice(kind: Kind, name: str, inside: Mask, error: F64, resamples: Resamples) -> Slice:
    known, absolute = ~np.isnan(error), np.abs(error)
    here, there = (mean_over(absolute, known & rows[:, None]) for rows in (inside, ~inside))
    mae, rest = _value(here), _value(there)
    bias = mean_over(error, known & inside[:, None])
    undefined, intervals = {}, {}
    worse = None
    if mae is None:
        undefined = dict.fromkeys(("mae", "bias", "worse"), "no article of it has both a prediction and a label")
    if rest is None:
        undefined |= dict.fromkeys(("rest", "worse"), "no other article has both a prediction and a label")
    if here is not None and there is not None and mae is not None and rest is not None:
        worse = mae - rest
        difference = Ratio(here.above, here.below, "plain", (there.above, there.below))
        intervals = resamples.studentized({"worse": difference})
    return Slice(
        kind=kind,
        name=name,
        n=int(inside.sum()),
        mae=mae,
        bias=_value(bias),
        rest=rest,
        worse=worse,
        intervals=intervals,
        undefined=undefined,
    )


def _value(ratio: Ratio | None) -> float | None:
    return None if ratio is None else float(ratio.above.sum() / ratio.below.sum())
