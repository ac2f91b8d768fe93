"""Terms as a filter's author writes them, made into patterns of RE2, which takes linear time whatever they are.

RE2 (https://github.com/google/re2/wiki/Syntax) has no backreferences and no look-around, and in exchange no pattern and
no text makes it slow. What it knows of case, words and spaces is ASCII or one character at a time; here it is Unicode.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

try:
    import re2
except ImportError as error:
    raise ImportError("google-re2 is missing. Install it: pip install 'filterkit-postfilter[rules]'") from error

REGEX = "re:"
"""How a term that is a regular expression begins."""
MOST_CHARS = 1000
"""Characters of a term."""
MOST_INSTRUCTIONS = 20_000
"""Of one compiled regular expression: the time per character is proportional to it where matching is slowest."""
MOST_INSTRUCTIONS_TOGETHER = 100_000
"""Of all regular expressions of a filter, which are looked for one after the other."""
MOST_PHRASES = 20_000
"""Of a filter: a text that holds all of them takes a pass over it for each."""
SET_MEMORY = 64 << 20
"""Bytes that the automaton of all phrases may take; states beyond are built anew when they are needed."""
LONGEST_RUN = 30
"""Combining marks in a row in any natural text (Unicode's stream-safe format, UAX #15). To put more of them in order
takes quadratic time, so such a text is taken as it is."""

_NO_SPACES = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tai_Le}\p{New_Tai_Lue}"
    r"\p{Tai_Tham}\p{Tai_Viet}\p{Tibetan}\p{Javanese}\p{Balinese}\x{30FC}\x{FF70}"
)
"""Scripts that set no space between words; there, a term stands wherever its characters do."""
_WORD = r"\pL\pM\pN_"
_SPACE = r"\s\x{0B}\x{85}\pZ"
_EDGE = rf"[^{_WORD}]|[{_NO_SPACES}]"
_APOSTROPHES = "'’ʼ"

_ESCAPE = re.compile(r"\\(?:[pP](?:\{[^}]*\}|.)|x\{[^}]*\}|.)", re.DOTALL)
_POSIX_CLASS = re.compile(r"\[:\^?\w+:\]")
_CLASS_START = re.compile(r"\[\^?\]?")
_UNICODE = {"w": _WORD, "s": _SPACE, "d": r"\p{Nd}"}
_REFUSED = {
    "b": r"\b and \B know ASCII letters only; write a phrase, which keeps to whole words, or (?:^|\W) and (?:\W|$)",
    "Q": r"\Q…\E is not read; put a backslash before each special character, or write a phrase",
    "C": r"\C is half a character; write (?s:.)",
}
_REFUSED["B"] = _REFUSED["b"]


@dataclass(frozen=True)
class Patterns:
    """exact: finds a term. Of phrases, too, bare: finds its words alone, and left, right: whether these are set off
    from what stands before and behind them (`is_edge`). Of regular expressions size: their instructions."""

    exact: str
    bare: str | None = None
    left: bool = False
    right: bool = False
    size: int = 0


def compiled(pattern: str) -> Any:
    """The pattern as an object whose `search` takes UTF-8. ValueError says what is wrong with it."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else error
        raise ValueError(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)) from error


def compiled_together(several: Iterable[str]) -> Any:
    """The patterns as an object whose `Match` takes UTF-8 and gives the indices of those that it holds, in one pass.

    The index behind the last is always among them, unless memory ran out: then there are none. ValueError: too many.
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = SET_MEMORY
    together = re2.Set.SearchSet(options)
    try:
        for pattern in (*several, ""):
            together.Add(pattern)
        together.Compile()
    except re2.error as error:
        raise ValueError("there are more phrases than one automaton holds") from error
    return together


_too_many_marks = compiled(rf"\pM{{{LONGEST_RUN + 1}}}")
_word = compiled(f"[{_WORD}]")
_no_spaces = compiled(f"[{_NO_SPACES}]")
_edge = compiled(_EDGE)


def utf8(text: str) -> bytes:
    """What RE2 reads; a lone surrogate is a question mark."""
    return text.encode("utf-8", "replace")


def composed(text: str) -> str:
    """The text with its accents in the one composed spelling (NFC)."""
    return text if text.isascii() or _has_too_many_marks(text) else unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """The text without case, by Unicode's full case folding, composed: STRASSE is straße, and Σ is σ is ς."""
    if text.isascii():
        return text.lower()
    if _has_too_many_marks(text):
        return text.casefold()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _has_too_many_marks(text: str) -> bool:
    return _too_many_marks.search(utf8(text)) is not None


def patterns(term: str, cased: bool) -> Patterns:
    """What finds a term in texts that were `folded`, or `composed` where case counts. ValueError: what is wrong."""
    if len(term) > MOST_CHARS:
        raise ValueError(f"a term has at most {MOST_CHARS:,} characters, this one {len(term):,}")
    if term.startswith(REGEX):
        return _regex(term.removeprefix(REGEX), cased)
    return _phrase(term, cased)


def _phrase(term: str, cased: bool) -> Patterns:
    """Whole words, whatever spaces are between them; * at an end: the word may go on there."""
    term = term.strip()
    words = (composed(term) if cased else folded(term)).strip("*").split()
    if not words:
        raise ValueError("a term has at least one character")
    middle = f"[{_SPACE}]+".join(literal(word) for word in words)
    left = _set_off(words[0][0]) and not term.startswith("*")
    right = _set_off(words[-1][-1]) and not term.endswith("*")
    exact = (f"(?:^|{_EDGE})" if left else "") + middle + (f"(?:{_EDGE}|$)" if right else "")
    return Patterns(exact, middle, left, right)


def literal(word: str) -> str:
    """The pattern of a text that stands for itself; any apostrophe is every apostrophe."""
    return "".join(f"[{_APOSTROPHES}]" if c in _APOSTROPHES else re2.escape(c) for c in word)


def _set_off(char: str) -> bool:
    """Whether a word that begins or ends with `char` is set off from its neighbours."""
    return bool(_word.search(utf8(char))) and not _no_spaces.search(utf8(char))


@lru_cache(maxsize=4096)
def is_edge(utf8_char: bytes) -> bool:
    """Whether a word may begin behind this character, or end before it."""
    return _edge.search(utf8_char) is not None


def _regex(pattern: str, cased: bool) -> Patterns:
    if not pattern:
        raise ValueError("a regular expression stands behind re:")
    translated = _translated(composed(pattern), cased)
    pattern = translated if cased else f"(?i){translated}"
    regex = compiled(pattern)
    if regex.search(b""):
        raise ValueError("the pattern finds something in an empty text, so in every text")
    size = max(regex.programsize, regex.reverseprogramsize)
    if size > MOST_INSTRUCTIONS:
        what = f"{size:,} instructions when written out, more than {MOST_INSTRUCTIONS:,}"
        raise ValueError(f"the pattern has {what}: repeat less, or fewer classes")
    return Patterns(pattern, size=size)


def _translated(pattern: str, cased: bool) -> str:
    r"""The pattern with \w, \d and \s in Unicode's sense, and with characters spelt as the texts have them."""
    out: list[str] = []
    at, in_class = 0, False
    while at < len(pattern):
        char = pattern[at]
        token: re.Match[str] | None = None
        if char == "\\":
            token = _ESCAPE.match(pattern, at)
            out.append(_escape(token.group(), in_class) if token else char)
        elif in_class and (token := _POSIX_CLASS.match(pattern, at)):
            out.append(token.group())
        elif not in_class and (token := _CLASS_START.match(pattern, at)):
            in_class = True
            out.append(token.group())
        else:
            in_class = in_class and char != "]"
            out.append(_character(char, cased, in_class))
        at = token.end() if token else at + 1
    return "".join(out)


def _escape(escape: str, in_class: bool) -> str:
    letter = escape[1]
    if letter in _REFUSED:
        raise ValueError(_REFUSED[letter])
    members = _UNICODE.get(letter.lower())
    if members is None:
        return escape
    if letter.islower():
        return members if in_class else f"[{members}]"
    if in_class:
        raise ValueError(f"{escape} cannot stand in a class; write ({escape}|[…])")
    return f"[^{members}]"


def _character(char: str, cased: bool, in_class: bool) -> str:
    """A character that case folding makes several of is those several."""
    if cased or char.isascii() or len(several := folded(char)) == 1:
        return char
    if in_class:
        raise ValueError(f"{char} cannot stand in a class, since without case it is {several}; write ({char}|[…])")
    return f"(?:{re2.escape(several)})"
