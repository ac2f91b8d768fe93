"""What the prefilter `rules` costs beside what one would write instead, on one core.

    python benchmarks/prefilter.py [--megabytes 20] [--runs 3] [--phrases 200]

Articles are invented, as long as news is: words drawn by frequency from a vocabulary of 40,000 that is made of each
script's letters. One rule asks for two of the phrases in title or content, and none of ten others. The ways beside it
look for the same phrases with Python's re (one alternation, or one pattern per phrase, as whole words) and with
`phrase in text`. They are timed on a tenth of the articles, and "held back" is of that tenth for all. Times are seconds
of the processor; in the first pass the automaton builds its states. The last rows have patterns that are made to be
slow, on texts made for them; a way that has not come back after ten seconds is stopped, and the row says so.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from filterkit_postfilter.rules import RulesPrefilter
from filterkit_postfilter.rules_options import RulesOptions

from filterkit.api import Article, Block, Context
from filterkit.testing.samples import tiny_spec

Way = Callable[[Sequence[Article]], int]
"""Counts the articles that it holds back."""

SCRIPTS = {
    "English": ("abcdefghijklmnopqrstuvwxyz", " ", (2, 10)),
    "French": ("abcdefghilmnopqrstuvéèêàçô", " ", (2, 10)),
    "Russian": ("абвгдежзийклмнопрстуфхцчшщыьэюя", " ", (2, 10)),
    "Chinese": ("".join(map(chr, range(0x4E00, 0x5A00))), "", (1, 3)),
    "Thai": ("กขคงจชซญดตถทธนบปผพฟมยรลวศสหอ", "", (2, 6)),
}
VOCABULARY = 40_000
WORDS = (60, 1200)
HOSTILE = {
    "(a+)+$": (25, 35, 1_000_000),
    "a.{900}[xyz]": (100_000, 200_000),
}
"""Patterns, and lengths of the texts that they are tried on: the first for backtracking, the second for automata."""
STOPPED_AFTER_S = 10
LISTED = 10


def vocabulary(script: str, random: np.random.Generator) -> list[str]:
    """Invented words of a script, the frequent ones first."""
    letters, _, (shortest, longest) = SCRIPTS[script]
    pool = np.array(list(letters))
    return ["".join(random.choice(pool, random.integers(shortest, longest + 1))) for _ in range(VOCABULARY)]


def invented(script: str, words: Sequence[str], characters: int, random: np.random.Generator) -> list[Article]:
    """Articles of so many characters together; the frequencies of words fall as Zipf's law says."""
    share = 1 / np.arange(1, VOCABULARY + 1)
    between = SCRIPTS[script][1]
    articles: list[Article] = []
    while characters > 0:
        drawn = random.choice(VOCABULARY, random.integers(*WORDS), p=share / share.sum())
        text = between.join(words[i] for i in drawn)
        articles.append(Article(str(len(articles)), text[:60], text.capitalize(), language=script))
        characters -= len(text) + 60
    return articles


def rules(of: Sequence[str], none_of: Sequence[str], at_least: int) -> Way:
    rule = {"name": "r", "text": {"at_least": at_least, "of": list(of), "none_of": list(none_of)}}
    options = RulesOptions.model_validate({"block": [rule]})
    prefilter = RulesPrefilter(options, tiny_spec(), Context(workdir=Path(tempfile.gettempdir())))
    return lambda articles: sum(isinstance(answer, Block) for answer in prefilter.judge(articles))


def one_alternation(of: Sequence[str], none_of: Sequence[str], at_least: int) -> Way:
    wanted, unwanted = (re.compile(rf"\b(?:{'|'.join(terms) or '(?!)'})\b", re.IGNORECASE) for terms in (of, none_of))

    def way(articles: Sequence[Article]) -> int:
        held = 0
        for article in articles:
            text = article.text
            held += len({m.lower() for m in wanted.findall(text)}) >= at_least and not unwanted.search(text)
        return held

    return way


def one_pattern_each(of: Sequence[str], none_of: Sequence[str], at_least: int) -> Way:
    wanted, unwanted = ([re.compile(rf"\b{term}\b", re.IGNORECASE) for term in terms] for terms in (of, none_of))

    def way(articles: Sequence[Article]) -> int:
        held = 0
        for article in articles:
            text = article.text
            found = sum(pattern.search(text) is not None for pattern in wanted)
            held += found >= at_least and not any(pattern.search(text) for pattern in unwanted)
        return held

    return way


def substrings(of: Sequence[str], none_of: Sequence[str], at_least: int) -> Way:
    def way(articles: Sequence[Article]) -> int:
        held = 0
        for article in articles:
            text = article.text.lower()
            held += sum(term in text for term in of) >= at_least and not any(term in text for term in none_of)
        return held

    return way


WAYS = {
    "rules": rules,
    "re, one alternation": one_alternation,
    "re, a pattern each": one_pattern_each,
    "`in`, a loop": substrings,
}


def measured(way: Way, articles: Sequence[Article], runs: int) -> tuple[float, float]:
    """Seconds of the processor for the first pass, and the median of `runs` others."""
    seconds = []
    for _ in range(1 + runs):
        started = time.process_time()
        way(articles)
        seconds.append(time.process_time() - started)
    return seconds[0], statistics.median(seconds[1:])


def hostile(name: str, pattern: str, characters: int) -> float | None:
    """Seconds that the hostile pattern takes on one text; None: it was stopped."""
    process = multiprocessing.get_context("fork").Process(target=partial(_judge_hostile, name, pattern, characters))
    started = time.perf_counter()
    process.start()
    process.join(STOPPED_AFTER_S)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return time.perf_counter() - started


def _judge_hostile(name: str, pattern: str, characters: int) -> None:
    letters = "a" if pattern.startswith("(") else "ab"
    text = "".join(np.random.default_rng(1).choice(list(letters), characters - 1)) + "!"
    if name == "rules":
        rules([f"re:{pattern}"], [], 1)([Article("a", "", text)])
    else:
        re.search(pattern, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=20, help="UTF-8 of each language (default 20)")
    parser.add_argument("--runs", type=int, default=3, help="timed passes after the first; the median is shown")
    parser.add_argument("--phrases", type=int, default=200, help="phrases that are looked for (default 200)")
    args = parser.parse_args()
    if args.megabytes <= 0 or args.runs < 1 or not 2 <= args.phrases <= VOCABULARY // 4:
        parser.error("--megabytes and --runs are positive, --phrases from 2 on")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    print(f"{args.phrases} phrases, {args.megabytes:g} MB of each language, one core, ", end="")
    print(f"median of {args.runs}; Python {platform.python_version()}, {platform.machine()}")
    print(f"{'':10} {'':22} {'MB/s':>8} {'first pass':>11} {'articles/s':>11} {'held back':>10}")
    for script in SCRIPTS:
        random = np.random.default_rng(7)
        words = vocabulary(script, random)
        wide = len(words[0].encode()) / len(words[0])
        articles = invented(script, words, int(args.megabytes * 1e6 / wide), random)
        few = articles[: max(1, len(articles) // 10)]
        long_enough = [w for w in words[1000:] if len(w) >= SCRIPTS[script][2][1] - 2]
        terms = list(random.choice(long_enough, args.phrases + LISTED, replace=False))
        for name, way in WAYS.items():
            looked_at = articles if name == "rules" else few
            made = way(terms[LISTED:], terms[:LISTED], 2)
            first, again = measured(made, looked_at, args.runs if name == "rules" else 1)
            size = sum(len(a.title.encode()) + len(a.content.encode()) for a in looked_at) / 1e6
            figures = f"{size / again:8.1f} {size / first:11.1f} {len(looked_at) / again:11,.0f}"
            print(f"{script:10} {name:22} {figures} {made(few) / len(few):10.1%}", flush=True)
    for pattern, lengths in HOSTILE.items():
        for characters, name in product(lengths, ("rules", "re")):
            seconds = hostile(name, pattern, characters)
            said = f"stopped after {STOPPED_AFTER_S} s" if seconds is None else f"{seconds:.2f} s"
            print(f"{'hostile':10} {name:22} {pattern} on {characters:,} characters: {said}")


if __name__ == "__main__":
    main()
