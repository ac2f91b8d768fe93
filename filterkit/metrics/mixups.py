"""Dimensions whose columns seem to be exchanged: the one mistake that a small mean error can hide."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from filterkit.metrics.bootstrap import F64, FEWEST, Resamples
from filterkit.metrics.records import MixUp

SURE = 3.0
"""Standard errors above 0 at which a gain is no chance."""
MATTERS = 0.01
"""Least gain, as a share of the two dimensions' own error: with many articles, hardly any is certain as well."""
_MOST = 1e6


def mixed_up(
    predictions: F64, labels: F64, names: Sequence[str], counted: Sequence[int], resamples: Resamples
) -> tuple[MixUp, ...]:
    """Pairs of scored dimensions whose exchange lowers the summed absolute error, judged row by row (a paired z test).

    A student whose columns were permuted in any way has such a pair: of each cycle, exchanging two neighbours puts
    one of them right. predictions and labels [n, d], NaN where unknown. The largest gain comes first.
    """
    found = []
    for i, j in combinations(counted, 2):
        pair = _exchanged(predictions[:, [i, j]], labels[:, [i, j]], resamples)
        if pair is not None:
            found.append(MixUp(dimension=names[i], other=names[j], gain=pair[0], z=pair[1]))
    return tuple(sorted(found, key=lambda m: -m.gain))


def _exchanged(p: F64, t: F64, resamples: Resamples) -> tuple[float, float] | None:
    """Gain in mean absolute error if the two columns [n, 2] were exchanged, and its z; None where there is none."""
    known = np.asarray(~np.isnan(p + t).any(axis=1), np.bool_)
    if resamples.standing_for(known) < FEWEST:
        return None
    own = np.where(known, np.abs(p - t).sum(axis=1), 0) / 2
    gain = own - np.where(known, np.abs(p[:, ::-1] - t).sum(axis=1), 0) / 2
    mean = float(gain.sum() / known.sum())
    if mean <= MATTERS * own.sum() / known.sum():
        return None
    error = resamples.variance(gain, known.astype(np.float64)) ** 0.5
    z = min(_MOST, mean / error) if error > 0 else _MOST
    return (mean, z) if z > SURE else None
