"""Passages that fill most of many articles of one source: walls and notices in any language, known phrases or not."""

from __future__ import annotations

import re
from array import array
from hashlib import blake2b

import numpy as np

from filterkit.records import Article

TITLES = 10
"""A sentence under so many different titles of one source is none of theirs. Titles that differ in numbers are one."""
SHARE = 0.8
"""So much of the content is such sentences."""
MOST_CHARS = 5_000
"""Longer contents are not looked at."""
SENTENCE_CHARS, SENTENCE_CHARS_UNSPACED = 30, 12
"""Shorter sentences are repeated by chance. The second is for writing without spaces."""

_ENDS = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")
_NUMBERS = re.compile(r"\d+")


class SourcePassages:
    """Collects the sentences of articles that name their source; of each only numbers are kept."""

    def __init__(self) -> None:
        self._sentences, self._titles = array("Q"), array("Q")
        self._rows, self._chars, self._contents = array("I"), array("I"), array("I")

    def add(self, row: int, article: Article) -> None:
        """Take the article in this row."""
        if not article.source or not article.title.strip() or len(article.content) > MOST_CHARS:
            return
        sentences = [" ".join(part.split()) for part in _ENDS.split(article.content)]
        source, title = article.source.strip().lower(), _hash(_NUMBERS.sub("0", _plain(article.title)))
        chars = sum(map(len, sentences))
        for sentence in sentences:
            if len(sentence) >= (SENTENCE_CHARS if " " in sentence else SENTENCE_CHARS_UNSPACED):
                self._sentences.append(_hash(f"{source}\n{sentence.lower()}"))
                self._titles.append(title)
                self._rows.append(row)
                self._chars.append(len(sentence))
                self._contents.append(chars)

    def filled(self) -> dict[int, int]:
        """The rows whose content is nearly all such passages, and under how many titles these stand, at most."""
        if not self._rows:
            return {}
        sentences, titles = np.frombuffer(self._sentences, np.uint64), np.frombuffer(self._titles, np.uint64)
        order = np.lexsort((titles, sentences))
        sentences, titles = sentences[order], titles[order]
        new = np.concatenate([[True], sentences[1:] != sentences[:-1]])
        new_title = new | np.concatenate([[True], titles[1:] != titles[:-1]])
        which = np.cumsum(new) - 1
        under = np.bincount(which, new_title)[which].astype(np.int64)
        order, under = order[under >= TITLES], under[under >= TITLES]
        rows, where = np.unique(np.frombuffer(self._rows, np.uint32)[order], return_inverse=True)
        repeated = np.bincount(where, np.frombuffer(self._chars, np.uint32)[order], minlength=len(rows))
        whole, most = np.zeros((2, len(rows)), dtype=np.int64)
        whole[where] = np.frombuffer(self._contents, np.uint32)[order]
        np.maximum.at(most, where, under)
        full = repeated >= SHARE * whole
        return dict(zip(rows[full].tolist(), most[full].tolist(), strict=True))


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _hash(text: str) -> int:
    """64 bits, the same in every run."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
