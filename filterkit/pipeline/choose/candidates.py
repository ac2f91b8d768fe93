"""What a strategy knows of an article: its key, where it is from, and not much more."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from filterkit.articles import clean
from filterkit.records import Article, sha256_text
from filterkit.rows import dump_line

NAME_CHARS = 200
"""What is kept of the names of sources, languages and hosts, which strangers wrote."""
Stratum = tuple[str, str]
"""Source and language; empty where the article has none, which is a stratum like any other."""
Rank = tuple[float, int]
"""The higher the sooner chosen; the second number decides between equals, and is as good as drawn."""


@dataclass(slots=True, eq=False)
class Candidate:
    """An article that may be chosen.

    key: the first 64 bits of the SHA-256 of its text, under which it is known; host: of its URL, "" where there is
    none. row: all its fields, for whoever writes them in the end; packed as soon as it is kept by anybody.
    """

    key: int
    stratum: Stratum
    host: str
    row: Mapping[str, Any] | None = None
    packed: bytes = b""

    def pack(self) -> None:
        """Keep the row in the little room that many of them need."""
        if self.row is not None:
            self.packed, self.row = zlib.compress(dump_line(self.row), 1), None

    def line(self) -> bytes:
        """The row that was packed, as a line of JSON."""
        return zlib.decompress(self.packed)


class Offer(NamedTuple):
    """An article as it comes by: what is kept of it if it is, all of it, and the hex SHA-256 of its text."""

    candidate: Candidate
    article: Article
    sent_hash: str


def offer(article: Article, sent_hash: str, row: Mapping[str, Any] | None = None) -> Offer:
    """The article, with what strategies know of it; `row` if its fields are to be written in the end."""
    return Offer(Candidate(key_of(sent_hash), stratum_of(article), host_of(article), row), article, sent_hash)


def key_of(sent_hash: str) -> int:
    """The key of a text from its hex SHA-256. Two of a million texts share one in one of 40 million runs."""
    return int(sent_hash[:16], 16)


def drawn(salt: str, seed: int, key: int) -> int:
    """A number of 64 bits that is as good as drawn, the same for the same text whatever stands around it.

    `salt` keeps what is drawn for one purpose apart from what is drawn for another: the pilot, the splits.
    """
    return int(sha256_text(f"choose {salt} {seed} {key:016x}")[:16], 16)


def stratum_of(article: Article) -> Stratum:
    """Source and language, as the article names them: `en`, `EN` and `en-GB` are one language."""
    language = (article.language or "")[:NAME_CHARS].replace("_", "-").split("-")[0]
    return clean((article.source or "").strip()[:NAME_CHARS]), clean(language.strip().lower())


def host_of(article: Article) -> str:
    """The host of the article's URL without `www.`; empty where it has none, or none that can be read."""
    try:
        host = urlsplit((article.url or "").strip()).hostname or ""
    except ValueError:
        return ""
    return host.removeprefix("www.").rstrip(".")[-NAME_CHARS:]
