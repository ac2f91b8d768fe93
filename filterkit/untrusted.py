"""What is taken out of text that strangers wrote, before a model or a person gets to read it."""

from __future__ import annotations

import re
from unicodedata import category

JOINER = "\u200d"
"""Makes one emoji of two, one cluster of two letters."""

# Every character that some reader takes for the end of a line is one: vertical tab, form feed, the separators
# 1C to 1E, next line, line separator, paragraph separator. No two readers then see different lines.
_LINE_ENDS = "\r\v\f\x1c-\x1e\x85\u2028\u2029"

_UNSEEN = (
    "\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f"  # control characters
    "\u202a-\u202e\u2066-\u2069"  # bidi embedding, override and isolate marks: people and models read different orders
    "\U000e0000-\U000e0fff"  # tag characters and variation selectors 17 to 256: whole messages that nobody sees
    "\u200b\u2060-\u2065\ufeff"  # zero-width space, word joiner, byte order mark: split words, hide bits
    "\u00ad\u034f"  # soft hyphen and grapheme joiner: split words, and are nothing to a reader
    "\u206a-\u206f\u17b4\u17b5\ufff0-\ufffb"  # deprecated format characters, unassigned ones, annotation marks
    "\ufe00-\ufe0d"  # variation selectors 1 to 14 choose a shape, never a meaning, and can carry bytes
    "\u3164\uffa0"  # Hangul fillers that only compatibility needs: blanks that are no space
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # format controls of shorthand and of music
)

# What scripts and emoji do need stays: joiners, left-to-right, right-to-left and Arabic letter marks, Mongolian
# selectors, the two that make an emoji of a character or not, old Korean fillers. Never many in a row, though: such
# a run is a message.
_KEPT_UNSEEN = "\u061c\u115f\u1160\u180b-\u180f\u200c-\u200f\ufe0e\ufe0f"
_MOST_IN_A_ROW = 3

# Code points that are no characters: the last two of every plane, and 32 more. U+FFFD tells that something was there;
# to take them out could join what they kept apart.
_NO_CHARACTER = re.compile("[\ufdd0-\ufdef\ufffe\uffff]")
_HIGH_NO_CHARACTERS = "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(1, 17))
_HIGH_NO_CHARACTER = re.compile(f"[{_HIGH_NO_CHARACTERS}]")
_HIGH = re.compile("[\U0001fffe-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")

# Control tokens of language models. Servers of one's own (vLLM, llama.cpp) tokenise a conversation as one text, in
# which "<|im_end|>" ends the user's turn even when it stands in an article; encoders know "[SEP]" and "</s>". The
# shapes are taken, not a list of names that the next model outgrows. A space after the first character makes plain
# text of them, which reads the same; so it does no harm where no token was meant (HTML, code, "[UPDATE]"). The tag of
# our own fence is broken in every spelling, although without its code it closes nothing.
_TOKENS = re.compile(
    r"<(?=[|｜])|[|｜](?=>)"  # <|im_start|>, <｜User｜>, <turn|>
    r"|<(?=/?[A-Za-z][A-Za-z0-9_]*>)"  # <start_of_turn>, </s>, <think>
    r"|\[(?=/?(?:[A-Z][A-Z0-9_]+|gMASK|unused[0-9]+)\])"  # [INST], [/INST], [SEP]
    r"|<(?=(?:/\s*)?(?i:article))"
)

_OPENERS = "<|｜["
_LINE_END = re.compile(f"\r\n|[{_LINE_ENDS}]")
_TAKEN_OUT = re.compile(f"[{_UNSEEN}]+")
_RUN = re.compile(f"([{_KEPT_UNSEEN}]{{{_MOST_IN_A_ROW}}})[{_KEPT_UNSEEN}]+")
_ODD_ASCII = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_ODD = re.compile(  # most articles hold none of this, and are looked at once
    f"[{_LINE_ENDS}{_UNSEEN}{_KEPT_UNSEEN}\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U0001fffe-\U0010ffff]"
)


def clean(text: str) -> str:
    """`text` without what is not there to be read; cleaning twice changes nothing more.

    Line ends become newlines; control characters, marks that turn the reading direction and characters that nobody
    sees go, but for those that scripts and emoji need; what is no character becomes U+FFFD; control tokens of language
    models become plain text. It may get longer by the spaces put into those.

    The text is not normalised (NFC): both forms of an é read the same to everybody, and an article that is quoted or
    looked up should be found as it was written.
    """
    text = legible(text)
    return _TOKENS.sub(r"\g<0> ", text) if any(opener in text for opener in _OPENERS) else text


def legible(text: str) -> str:
    """`text` for people: `clean` but for the control tokens of language models, which stay as they were written."""
    if not (_ODD_ASCII if text.isascii() else _ODD).search(text):
        return text
    if _SURROGATE.search(text):  # two halves make a character; a lone one cannot even be sent
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    text = _NO_CHARACTER.sub("\ufffd", text)
    if _HIGH.search(text):  # hardly ever, and the pattern is slow
        text = _HIGH_NO_CHARACTER.sub("\ufffd", text)
    text = _LINE_END.sub("\n", text)
    text = _TAKEN_OUT.sub("", text)
    return _RUN.sub(r"\1", text)


def continues(character: str) -> bool:
    """Whether a reader sees `character` only together with the one before it: accents, joiners, skin tones."""
    return category(character)[0] == "M" or character == JOINER or "\U0001f3fb" <= character <= "\U0001f3ff"
