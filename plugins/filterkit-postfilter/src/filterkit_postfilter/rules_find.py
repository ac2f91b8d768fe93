"""Which terms stand in an article: one pass finds all phrases of a filter, each regular expression has its own.

Phrases share one automaton, of their bare words: what sets a word off, a thousand ranges of letters, would stand in it
once for each phrase, and a text that leads through many phrases would take minutes. Of the few that a text holds each
is looked for once more, as a whole word. A regular expression could blow the automaton up, too; alone it falls back to
RE2's slower matcher, which is linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

from filterkit.api import Article
from filterkit_postfilter.rules_patterns import (
    MOST_INSTRUCTIONS_TOGETHER,
    MOST_PHRASES,
    compiled,
    compiled_together,
    composed,
    folded,
    is_edge,
    patterns,
    utf8,
)

Part = Literal["title", "content"]
LONGEST_URL, LONGEST_HOST = 2048, 253
"""Characters of an address that are looked at, and of a host's name in DNS."""
MOST_OCCURRENCES = 1000
"""Of the words of a phrase, none of them whole words, before it is searched for by one pattern."""


class Term:
    """A phrase or a regular expression, ready to be looked for."""

    def __init__(self, written: str, cased: bool) -> None:
        self.written = written
        self.patterns = patterns(written, cased)
        self.is_phrase = self.patterns.bare is not None
        self.bare_is_exact = self.patterns.bare == self.patterns.exact

    @cached_property
    def exact(self) -> Any:
        """Compiled when first needed: most phrases stand in no article."""
        return compiled(self.patterns.exact)

    @cached_property
    def bare(self) -> Any:
        """The words of a phrase. To compile it costs a hundredth of what `exact` costs, which has all letters twice."""
        return compiled(self.patterns.bare or "")

    def stands_in(self, text: bytes) -> bool:
        """Whether the text holds the term; a phrase as whole words."""
        return self._as_words(text) if self.is_phrase else self.exact.search(text) is not None

    def _as_words(self, text: bytes) -> bool:
        at = 0
        for _ in range(MOST_OCCURRENCES):
            found = self.bare.search(text, at)
            if found is None:
                return False
            start, end = found.span()
            left = not self.patterns.left or _edge_before(text, start)
            if left and (not self.patterns.right or _edge_behind(text, end)):
                return True
            at = start + 1
        return self.exact.search(text) is not None


def _edge_before(text: bytes, at: int) -> bool:
    first = at - 1
    while first > 0 and text[first] & 0xC0 == 0x80:
        first -= 1
    return at == 0 or is_edge(text[first:at])


def _edge_behind(text: bytes, at: int) -> bool:
    end = at + 1
    while end < len(text) and text[end] & 0xC0 == 0x80:
        end += 1
    return at == len(text) or is_edge(text[at:end])


class Text:
    """Title or content as a lexicon reads it. candidates: indices of all phrases whose words it holds."""

    def __init__(self, plain: bytes, candidates: set[int]) -> None:
        self.plain = plain
        self.candidates = candidates


class Lexicon:
    """All terms of a filter that ignore case, or all that do not, by their index."""

    def __init__(self, cased: bool) -> None:
        self.terms: list[Term] = []
        self._cased = cased
        self._index: dict[str, int] = {}
        self._phrases: list[int] = []
        self._set: Any = None

    def add(self, terms: Iterable[str]) -> list[int]:
        """Indices of terms; one that was added before keeps its index."""
        return [self._add(term) for term in terms]

    def _add(self, written: str) -> int:
        if written not in self._index:
            self._index[written] = len(self.terms)
            self.terms.append(Term(written, self._cased))
        return self._index[written]

    def compile(self) -> None:
        """Make the automaton of the phrases. ValueError when they are too many."""
        self._phrases = [index for index, term in enumerate(self.terms) if term.is_phrase]
        if len(self._phrases) > MOST_PHRASES:
            raise ValueError(f"there are {len(self._phrases):,} different phrases, more than {MOST_PHRASES:,}")
        size = sum(term.patterns.size for term in self.terms)
        if size > MOST_INSTRUCTIONS_TOGETHER:
            most = f"{MOST_INSTRUCTIONS_TOGETHER:,}"
            raise ValueError(f"the regular expressions have {size:,} instructions together, more than {most}")
        self._set = compiled_together(self.terms[index].patterns.bare or "" for index in self._phrases)

    def read(self, text: str) -> Text:
        """The text, with what the automaton finds in it."""
        plain = utf8(composed(text) if self._cased else folded(text))
        return Text(plain, self._candidates(plain))

    def _candidates(self, plain: bytes) -> set[int]:
        found = self._set.Match(plain)
        if not found:  # the automaton's memory ran out
            return {index for index in self._phrases if self.terms[index].stands_in(plain)}
        return {self._phrases[i] for i in found if i < len(self._phrases)}

    def holds(self, text: Text, index: int) -> bool:
        """Whether the term stands in the text."""
        term = self.terms[index]
        if term.is_phrase and (index not in text.candidates or term.bare_is_exact):
            return index in text.candidates
        return term.stands_in(text.plain)


class Wanted:
    """Terms of one list, by their indices in a lexicon."""

    def __init__(self, lexicon: Lexicon, terms: Iterable[str]) -> None:
        indices = dict.fromkeys(lexicon.add(terms))
        self.phrases = frozenset(index for index in indices if lexicon.terms[index].is_phrase)
        self.regexes = tuple(index for index in indices if not lexicon.terms[index].is_phrase)


class View:
    """What the rules see of one article; each part is made when a rule first asks for it."""

    def __init__(self, article: Article) -> None:
        self.article = article
        self._texts: dict[tuple[Part, Lexicon], Text] = {}

    @cached_property
    def chars(self) -> int:
        """Characters of the content, without space around it."""
        return len(self.article.content.strip())

    @cached_property
    def domain(self) -> str:
        """The host of the article's address; empty where there is none."""
        return domain_of(self.article.url or "")

    def found(self, parts: Sequence[Part], lexicon: Lexicon, wanted: Wanted, enough: int) -> list[int]:
        """Up to `enough` of the wanted terms that stand in one of the parts."""
        texts = [self._text(part, lexicon) for part in parts]
        candidates = set().union(*(text.candidates & wanted.phrases for text in texts))
        found: list[int] = []
        for index in (*sorted(candidates), *wanted.regexes):
            if any(lexicon.holds(text, index) for text in texts):
                found.append(index)
                if len(found) == enough:
                    break
        return found

    def _text(self, part: Part, lexicon: Lexicon) -> Text:
        key = part, lexicon
        if key not in self._texts:
            self._texts[key] = lexicon.read(self.article.title if part == "title" else self.article.content)
        return self._texts[key]


def domain_of(url: str) -> str:
    """The host in an address, in lower case and as DNS spells it; empty where there is none."""
    url = url[:LONGEST_URL]
    try:
        host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    except ValueError:
        return ""
    return dns_name(host)


def dns_name(host: str) -> str:
    """A host's name in ASCII: bücher.example is xn--bcher-kva.example. Empty for one that is too long for DNS."""
    host = host.strip(".").lower()
    if len(host) > LONGEST_HOST:
        return ""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host
