"""What the fake answers: scores that follow from the article's text alone, and the ways an answer goes wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

Finish = Literal["stop", "length", "blocked", "refused"]

PROSE = "I have read the article with pleasure. On the whole it deserves a seven, perhaps an eight."
_TYPES = {1: "string", 2: "number", 3: "integer", 4: "boolean", 5: "array", 6: "object"}  # Gemini's, as numbers
_OPENING = re.compile(r"^<article (\S+)>\n", re.MULTILINE)
_BOUNDS = re.compile(r"\bnumbers from (-?[\d.]*\d) to (-?[\d.]*\d)(?:, in steps of ([\d.]*\d))?")


@dataclass(frozen=True)
class Field:
    """One score of an answer, as a schema asks for it. `wrapped`: its object's keys, of which one is "score"."""

    name: str
    low: float
    high: float
    step: float
    whole: bool
    wrapped: tuple[str, ...] = ()


def expected_scores(text: str, schema: Mapping[str, Any], *, step: float | None = None) -> dict[str, float]:
    """The scores that the fake gives the article `text` under a JSON schema: what a label must hold to be right.

    `text` is the article as sent, without its fence. `step` is the scale's, where it is no whole number and the
    schema cannot say it. Bounds that the schema does not give are 0 and 10.
    """
    return {field.name: _score(text, field) for field in fields(schema, step=step)}


def fields(
    schema: Mapping[str, Any], *, low: float = 0.0, high: float = 10.0, step: float | None = None
) -> list[Field]:
    """The scores that a schema asks for, in its order; `low`, `high` and `step` are for what it does not say."""
    found = []
    for name, part in (schema.get("properties") or {}).items():
        inner = part.get("properties") or {}
        wrapped = tuple(inner) if _kind(part) == "object" else ()
        number = inner.get("score", {}) if wrapped else part
        bottom, top = float(number.get("minimum", low)), float(number.get("maximum", high))
        whole = _kind(number) == "integer"
        by = number.get("multipleOf") or step or (1 if whole else (top - bottom) / 100)
        found.append(Field(name, bottom, top, float(by), whole, wrapped))
    return found


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "")
    return _TYPES.get(kind, "") if isinstance(kind, int) else str(kind).lower()


def _score(text: str, field: Field) -> float:
    steps = int((field.high - field.low) / field.step + 1e-9)
    digest = sha256(f"{field.name}\n{text}".encode("utf-8", "surrogatepass")).digest()
    return round(field.low + int.from_bytes(digest[:8]) % (steps + 1) * field.step, 9)


def _off(score: float, field: Field, bias: float, wobble: float, key: str) -> float:
    """A score on the scale and its steps, off by `bias` and by what `key` makes of up to `wobble`."""
    if not bias and not wobble:
        return score
    digest = sha256(f"{field.name}\n{key}".encode("utf-8", "surrogatepass")).digest()
    score += bias + wobble * (int.from_bytes(digest[:8]) / 2**63 - 1)
    steps = round((min(max(score, field.low), field.high) - field.low) / field.step)
    return round(field.low + steps * field.step, 9)


def article_of(user: str) -> str:
    """The article in a user's turn: what stands between its two fence lines, or all of it when there is no fence.

    The right fence is the one whose code is made from what it encloses; others are part of an article.
    """
    found = ""
    for opening in _OPENING.finditer(user):
        code = opening.group(1)
        end = user.find(f"\n</article {code}>", opening.end() - 1)
        while end >= 0:
            text = user[opening.end() : end]
            if sha256(text.encode("utf-8", "surrogatepass")).hexdigest().startswith(code):
                return text
            found = found or text
            end = user.find(f"\n</article {code}>", end + 1)
    return found or user


def schema_in(text: str) -> dict[str, Any] | None:
    """The JSON schema of an object that stands somewhere in `text`."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and isinstance(value.get("properties"), dict):
            return value
        start = text.find("{", start + 1)
    return None


def fields_asked(schema: Mapping[str, Any], system: str) -> list[Field]:
    """The scores asked for. What the schema says nothing of (bounds, steps) is looked up in the system text."""
    said = _BOUNDS.search(system)
    if said is None:
        return fields(schema)
    low, high, step = said.groups()
    return fields(schema, low=float(low), high=float(high), step=float(step) if step else None)


def answer(
    asked: Sequence[Field], article: str, *, bias: float = 0.0, wobble: float = 0.0, turn: int = 0
) -> dict[str, Any]:
    """The right answer about an article; with `bias` and `wobble` off by the one always, by up to the other from turn
    to turn, in points."""
    out: dict[str, Any] = {}
    for field in asked:
        score = _off(_score(article, field), field, bias, wobble, f"{turn}\n{article}")
        value = int(score) if field.whole else score
        if field.wrapped:
            quote = " ".join(article.split()[:8])
            out[field.name] = {key: value if key == "score" else quote for key in field.wrapped}
        else:
            out[field.name] = value
    return out


def written(right: Mapping[str, Any], asked: Sequence[Field], fault: str) -> tuple[str, Finish]:
    """An answer as text, gone wrong in the way of `fault` (others are none of this function's), and how it finished."""
    if fault in ("blocked", "refused"):
        return "", "blocked" if fault == "blocked" else "refused"
    if fault == "empty":
        return "", "stop"
    if fault == "malformed":
        return PROSE, "stop"
    text = json.dumps(_spoilt(right, asked, fault), ensure_ascii=False)
    if fault == "sloppy":
        text = re.sub(r'"(\w+)":', r"'\1':", text)[:-1] + ",}"
    elif fault == "fenced":
        text = f"```json\n{text}\n```"
    elif fault == "duplicate":
        name, value = next(iter(right.items()))
        text = f"{text[:-1]}, {json.dumps(name)}: {json.dumps(_with_score(value, 1))}}}"
    elif fault == "truncated":
        return text[: len(text) // 2], "length"
    elif fault == "cut_silently":  # within the last number, where mending the braces would give a wrong score
        bare = text.rstrip("} ")
        number = re.search(r"[-\d.]+$", bare)
        text = bare[: max(number.start() + 1, len(bare) - 1)] if number else bare
    return text, "stop"


def _spoilt(right: Mapping[str, Any], asked: Sequence[Field], fault: str) -> dict[str, Any]:
    out = dict(right)
    if not out:
        return out
    spoil = asked[len(json.dumps(out)) % len(asked)]  # another one from article to article
    if fault == "missing":
        del out[spoil.name]
    elif fault == "extra":
        out["overall"] = next(iter(out.values()))
    elif fault == "out_of_range":
        out[spoil.name] = _with_score(out[spoil.name], spoil.high + 1)
    elif fault == "wrong_type":
        out[spoil.name] = _with_score(out[spoil.name], "seven")
    elif fault == "nan":
        out[spoil.name] = _with_score(out[spoil.name], float("nan"))
    return out


def _with_score(value: Any, score: Any) -> Any:
    return {**value, "score": score} if isinstance(value, dict) else score
