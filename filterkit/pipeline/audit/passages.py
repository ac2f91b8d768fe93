"""Sentences that stand in many articles: consent walls, footers, calls to subscribe."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from filterkit.pipeline.audit.limits import PASSAGE_CHARS, PASSAGE_CHARS_UNSPACED

_ENDS = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")
_DIGITS = re.compile(r"\d+")
SHOWN_CHARS = 160


@dataclass
class Passage:
    """A sentence that was met more than once: what it says, and the texts that it stands in."""

    words: str
    chars: int
    texts: list[int]


@dataclass
class Passages:
    """Collects the sentences of texts; keeps of those met once only a number.

    chars [t]: characters of each text. titles [t]: a number for each text's title, None where it has none.
    """

    chars: list[int] = field(default_factory=list)
    titles: list[int | None] = field(default_factory=list)
    repeated: dict[int, Passage] = field(default_factory=dict)
    _once: dict[int, int] = field(default_factory=dict)

    def add(self, text: int, title: str, words: str) -> None:
        """Take the sentences of the text number `text`; case, digits and white space do not count."""
        self.chars.append(len(words))
        self.titles.append(hash(" ".join(title.lower().split())) if title.strip() else None)
        met: set[int] = set()
        for part in _ENDS.split(words):
            sentence = " ".join(part.split())
            if len(sentence) < (PASSAGE_CHARS if " " in sentence else PASSAGE_CHARS_UNSPACED):
                continue
            key = hash(_DIGITS.sub("0", sentence.lower()))
            if key in met:
                continue
            met.add(key)
            if key in self.repeated:
                self.repeated[key].texts.append(text)
            elif key in self._once:
                self.repeated[key] = Passage(sentence[:SHOWN_CHARS], len(sentence), [self._once.pop(key), text])
            else:
                self._once[key] = text
