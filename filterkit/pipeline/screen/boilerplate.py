"""Texts that are no article at all: consent walls, error pages, paywalls, empty shells.

A text counts as one of them only where it is short and its own sentences say so: most of it must be sentences that
begin with a known message, or are mostly one. That an article quotes such a message is not enough.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filterkit.pipeline.nearby import SHINGLE, hashed_shingles
from filterkit.pipeline.screen.phrases import CONSENT, EMPTY, ERROR, PAYWALL
from filterkit.records import Article

MOST_CHARS = 2_000
"""A longer text has something else to say."""
OF_SENTENCE = 0.4
"""So much of a sentence is the phrase, …"""
LONG_PHRASE, NEAR_START = 18, 12
"""… or the phrase has so many characters at least and begins within so many of the sentence: after "please", "the"."""

_SENTENCE_ENDS = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+|\s[|•·]\s")
_NUMBER = re.compile(r"\d[\d.,]*")
_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True)
class _Kind:
    """phrases: so many different ones at least; most_chars: of the text; share: of it, in sentences of this kind."""

    name: str
    says: Sequence[str]
    phrases: int
    most_chars: int
    share: float


_KINDS = (
    _Kind("consent wall", CONSENT, 2, MOST_CHARS, 0.5),
    _Kind("error page", ERROR, 1, 600, 0.4),
    _Kind("paywall", PAYWALL, 1, 600, 0.7),
)


def boilerplate(articles: Sequence[Article]) -> list[str]:
    """For each article what it is instead of one, in words; empty where it is an article."""
    short = [_shown(a.content) if len(a.content) <= MOST_CHARS else "" for a in articles]
    plain = [_plain(text) for text in short]
    maybe = _has_a_part(plain)
    found: list[str] = []
    for article, shown, text, has_a_part in zip(articles, short, plain, maybe.tolist(), strict=True):
        if len(article.content) > MOST_CHARS:
            found.append("")
        elif text in EMPTY or not any(map(str.isalnum, text)):
            found.append("empty")
        else:
            found.append(_kind(shown, text) if has_a_part else "")
    return found


def _shown(content: str) -> str:
    return _TAG.sub(" ", content) if "<" in content else content


def _plain(text: str) -> str:
    """As the phrases are written, but for numbers."""
    return " ".join(text.lower().replace("’", "'").split())


def _kind(shown: str, text: str) -> str:
    """The kind of boilerplate that a text is, `text` being what is shown of it made plain."""
    text = _NUMBER.sub("0", text)
    sentences: list[str] | None = None
    for kind in _KINDS:
        found = [phrase for phrase in kind.says if phrase in text] if len(text) <= kind.most_chars else []
        if len(found) >= kind.phrases:
            if sentences is None:
                split = (_NUMBER.sub("0", _plain(s)) for s in _SENTENCE_ENDS.split(shown))
                sentences = [s for s in split if s]
            if _said(sentences, found) >= kind.share * sum(map(len, sentences)):
                return kind.name
    return ""


def _said(sentences: Sequence[str], phrases: Sequence[str]) -> int:
    """Characters of the sentences that say one of the phrases, and hardly anything else."""
    return sum(len(s) for s in sentences if any(_says(s, phrase) for phrase in phrases))


def _says(sentence: str, phrase: str) -> bool:
    at = sentence.find(phrase)
    if at < 0:
        return False
    return len(phrase) >= OF_SENTENCE * len(sentence) or (len(phrase) >= LONG_PHRASE and at <= NEAR_START)


# Hardly any article says any of these: the hash of one part of each phrase, looked up for a block of texts at once,
# saves looking for every phrase in every text.

_TABLE_BITS = 22
_LONG = SHINGLE + 3
"""Characters of a part; those of a phrase that has fewer are SHINGLE, which says enough in writing without spaces."""
_COMMON = " etaoinsrhldcumpfgwybvkxjqz"
"""Letters, the most frequent ones first."""

Slots = NDArray[np.intp]


def _slots(text: str) -> tuple[Slots, Slots]:
    """For every part of SHINGLE characters, and every one of _LONG, its place in the table of such parts."""
    hashed = hashed_shingles(text)
    both = hashed[: -(_LONG - SHINGLE)] * np.uint64(0x9E3779B97F4A7C15) ^ hashed[_LONG - SHINGLE :]
    bits = np.uint64(64 - _TABLE_BITS)
    return (hashed >> bits).astype(np.intp), (both * np.uint64(0xBF58476D1CE4E5B9) >> bits).astype(np.intp)


def _rarest_part(phrase: str, length: int) -> str:
    """The part that is least likely to be met elsewhere; no character of it may be a number's."""
    parts = [phrase[at : at + length] for at in range(len(phrase) - length + 1)]
    rank = {letter: rank for rank, letter in enumerate(_COMMON)}
    return max((p for p in parts if "0" not in p), key=lambda p: sum(rank.get(c, 30) for c in p), default="")


def _tables() -> tuple[NDArray[np.bool_], NDArray[np.bool_], tuple[str, ...]]:
    """Which slots belong to a short and to a long part of a phrase; the phrases that are too short for either."""
    short, long = np.zeros((2, 1 << _TABLE_BITS), dtype=np.bool_)
    rest: list[str] = []
    for phrase in (*CONSENT, *ERROR, *PAYWALL):
        if part := _rarest_part(phrase, _LONG):
            long[_slots(part)[1]] = True
        elif part := _rarest_part(phrase, SHINGLE):
            short[_slots(part.ljust(_LONG, "\0"))[0][0]] = True
        else:
            rest.append(phrase.replace("0", "").strip())
    return short, long, tuple(rest)


_SHORT_PARTS, _LONG_PARTS, _SHORTEST = _tables()


def _has_a_part(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Which texts [n] may hold a phrase."""
    found = np.array([any(phrase in text for phrase in _SHORTEST) for text in texts], dtype=np.bool_)
    ends = np.cumsum([len(text) + 1 for text in texts])[:-1]
    short, long = _slots("\n".join((*texts, "\0" * _LONG)))
    for at in (np.flatnonzero(_SHORT_PARTS[short]), np.flatnonzero(_LONG_PARTS[long])):
        found[np.searchsorted(ends, at, side="right")] = True
    return found
