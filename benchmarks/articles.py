"""Invented articles, for benchmarks of speed: as long as news is, and about nothing."""

from __future__ import annotations

import numpy as np

from filterkit.records import F32

QUANTILES = (0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1)
LENGTHS = (34, 48, 60, 110, 260, 420, 1100, 2000)
"""Words at these quantiles."""
WORDS = """
the of and to in a is that for it was on are as with they be at one have this from by hot but some what there we can out
other were all your when up use word how said an each she which do their time if will way about many then them would
write like so these her long make thing see him two has look more day could go come did my sound no most number who over
know water than call first people may down side been now find any new work part take get
"""
"""So common that tokenizers have a token for each."""
DIMENSIONS = 8


def invented(n: int) -> tuple[list[str], F32]:
    """n texts, and scores [n, 8] from 0 to 10 that mean nothing. The same for the same n."""
    random = np.random.default_rng(0)
    lengths = np.interp((np.arange(n) + 0.5) / n, QUANTILES, LENGTHS).astype(int)
    words = WORDS.split()
    texts = [" ".join(random.choice(words, length)) for length in random.permutation(lengths)]
    return texts, random.uniform(0, 10, (n, DIMENSIONS)).astype(np.float32)
