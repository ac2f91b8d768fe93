"""The reading of an oracle's reply: who answered, and what. Only what certainly says every score counts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from filterkit.records import Label
from filterkit.spec import FilterSpec
from filterkit.untrusted import clean

EVIDENCE_CHARS = 500
MOST_REPAIRED_CHARS = 200_000
"""No repair is tried on a longer reply: no honest answer is so long."""


class BadReply(ValueError):
    """A reply that does not answer the question.

    The text says why, in words an oracle can be told: it quotes neither the reply nor the article, of whose words
    nothing may stand outside of the fence, and names dimensions of the filter only.
    """


def parse_reply(spec: FilterSpec, text: str) -> Label:
    """Scores (and evidence) of every dimension out of an oracle's JSON. Raises BadReply.

    One Markdown fence around the JSON is taken off. Broken punctuation is mended where json_repair is installed, and
    the mended answer counts only when the unmended text itself says the same (see `_repaired`). The caller has
    made sure that the reply was not cut off.
    """
    text = _unfenced(text)
    try:
        data = json.loads(text, object_pairs_hook=_no_duplicates, strict=False)
    except BadReply:
        raise
    except json.JSONDecodeError as error:
        label = _repaired(spec, text)
        if label is None:
            what = error.msg.partition(": ")[0]  # what follows a colon may quote the reply
            raise BadReply(
                f"the answer is not valid JSON ({what}, line {error.lineno}, column {error.colno})"
            ) from None
        return label
    except RecursionError:
        raise BadReply("the answer is nested too deeply") from None
    except ValueError:  # Python reads no whole number of over 4,300 digits
        raise BadReply("the answer is not valid JSON (a number is too long)") from None
    return _label(spec, data)


def check_score(spec: FilterSpec, name: str, value: object, *, between_steps: bool = False) -> float:
    """`value` as a score of dimension `name`; BadReply when it is no number, not finite, off the scale or its steps.

    between_steps: it is made of several answers, and may lie between them.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadReply(f"the score of {name!r} must be a number, not {type(value).__name__}")
    scale = spec.scale
    if not scale.min <= value <= scale.max:  # NaN is outside too
        raise BadReply(f"the score of {name!r} is {_shown(value)}, outside of {scale.min:g} to {scale.max:g}")
    if scale.step and not between_steps:
        steps = (value - scale.min) / scale.step
        if abs(steps - round(steps)) > 1e-6:
            raise BadReply(f"the score of {name!r} is {value:g}, not a multiple of {scale.step:g}")
    return float(value)


def _shown(value: float) -> str:
    """A number in few characters; `str` of a very long one raises."""
    try:
        return f"{value:.12g}"
    except OverflowError:
        return "gigantic"


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise BadReply("a key appears twice in the answer")
    return out


def _label(spec: FilterSpec, data: object) -> Label:
    if not isinstance(data, dict):
        raise BadReply("the answer must be a JSON object")
    strange = sum(key not in spec.names for key in data)
    if strange:
        what = "a key that is no dimension" if strange == 1 else f"{strange} keys that are no dimensions"
        raise BadReply(f"the answer has {what}")
    scores: dict[str, float] = {}
    evidence: dict[str, str] = {}
    for name in spec.names:
        if name not in data:
            raise BadReply(f"dimension {name!r} is missing")
        value = data[name]
        if spec.evidence == "short":
            value, evidence[name] = _score_and_evidence(name, value)
        scores[name] = check_score(spec, name, value)
    return Label(scores=scores, evidence=evidence)


def _score_and_evidence(name: str, value: object) -> tuple[object, str]:
    if not isinstance(value, dict) or set(value) != {"evidence", "score"}:
        raise BadReply(f"dimension {name!r} must have exactly the keys evidence and score")
    words = value["evidence"]
    if not isinstance(words, str):
        raise BadReply(f"the evidence of {name!r} must be text")
    return value["score"], clean(words)[:EVIDENCE_CHARS]


# An introduction may stand before a fenced answer. What follows one may take it back ("on second thoughts …").
_FENCED = re.compile(r"(?:[^`{}]*\n)?```(?:json)?[ \t]*\r?\n(.*)\n[ \t]*```", re.DOTALL | re.IGNORECASE)


def _unfenced(text: str) -> str:
    text = text.strip("\ufeff \t\r\n")
    fenced = _FENCED.fullmatch(text)
    return fenced[1].strip() if fenced else text


_QUOTES = "\"'“”‘’"
_NUMBER = r"\s*(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
_NEXT = r"\s*+,?+\s*+"  # possessive: a long run of spaces must not cost its square
_SCORE = re.compile(_NUMBER + _NEXT)
_WORDS = re.compile(rf"\s*([\"'])(.*)\1{_NEXT}", re.DOTALL)
_OPEN = re.compile(r"\s*\{\s*")
_CLOSED = re.compile(rf"(.*)\}}{_NEXT}", re.DOTALL)


def _repaired(spec: FilterSpec, text: str) -> Label | None:
    """The label that a slightly broken answer certainly means, or None. Raises BadReply for wrong scores.

    json_repair guesses: it closes what was cut off, drops what it cannot place, and takes the last of two scores.
    So the raw text is read a second time, by a reader (`_witness`) that knows the shape of the answer and forgives
    only punctuation. The two readings must agree in every score and in the words of the evidence.
    """
    repair = _repairer()
    said = _witness(spec, text) if repair and len(text) <= MOST_REPAIRED_CHARS else None
    if repair is None or said is None:
        return None
    try:
        data = repair(text, return_objects=True, skip_json_loads=True)
    except Exception:  # whatever trips it over a broken text: it is not repaired then
        return None
    return _label(spec, data) if _agree(data, said) else None


@cache
def _repairer() -> Callable[..., Any] | None:
    try:
        from json_repair import repair_json
    except ImportError:
        return None
    return repair_json


def _witness(spec: FilterSpec, text: str) -> dict[str, dict[str, Any]] | None:
    """What `text` says of every dimension, {"score": number, "evidence": words as written}; None when it is unclear.

    From its first brace to its last `text` must consist of each dimension's key once and what belongs to it, with
    nothing between but commas and white space. A key is looked for everywhere, so evidence that holds something like a
    key ("score: 3") makes the text unclear, and so do comments, a second answer, and a number not written as in JSON.
    """
    inner = ("evidence", "score") if spec.evidence == "short" else ()
    if set(inner) & set(spec.names):
        return None
    found = list(re.finditer(rf"[{_QUOTES}]?\b({'|'.join((*spec.names, *inner))})\b[{_QUOTES}]?\s*:", text))
    if not found or not _OPEN.fullmatch(text[: found[0].start()]) or not text.endswith("}"):
        return None
    ends = [key.start() for key in found[1:]] + [len(text) - 1]
    parts = [(key[1], text[key.end() : end]) for key, end in zip(found, ends, strict=True)]
    size = 1 + len(inner)
    groups = [parts[i : i + size] for i in range(0, len(parts), size)]
    said = {group[0][0]: _said(group) if inner else _value("score", group[0][1]) for group in groups}
    if len(groups) != len(said) or set(said) != set(spec.names) or not all(said.values()):
        return None
    return {name: value for name, value in said.items() if value}


def _said(group: list[tuple[str, str]]) -> dict[str, Any] | None:
    """Score and evidence of one dimension: its key and the two inner keys, each with what follows it."""
    if {key for key, _ in group[1:]} != {"evidence", "score"} or not _OPEN.fullmatch(group[0][1]):
        return None
    first, last = group[1:]
    closed = _CLOSED.fullmatch(last[1])
    one, other = _value(*first), _value(last[0], closed[1]) if closed else None
    return {**one, **other} if one and other else None


def _value(key: str, written: str) -> dict[str, Any] | None:
    if key == "score":
        number = _SCORE.fullmatch(written)
        return {"score": float(number[1])} if number else None
    words = _WORDS.fullmatch(written)
    return {"evidence": words[2]} if words else None


def _agree(data: object, said: dict[str, dict[str, Any]]) -> bool:
    if not isinstance(data, dict) or set(data) != set(said):
        return False
    for name, value in data.items():
        read = value if isinstance(value, dict) else {"score": value}
        if (
            set(read) != set(said[name])
            or isinstance(read["score"], bool | str)
            or read["score"] != said[name]["score"]
        ):
            return False
        if "evidence" in read and _bare(str(read["evidence"])) != _bare(said[name]["evidence"]):
            return False
    return True


def _bare(words: str) -> str:
    """`words` without what a mended string may differ in: quotes, escapes and white space."""
    words = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), words)
    return re.sub(rf"\\[bfnrt]|[\s\x08\\{_QUOTES}]", "", words)


# What a provider puts at the end of a model's name to say which snapshot of it replied: -001, -0613, -2411,
# -20250414, -2025-04-14, -09-2025, -05-20, @20250414, -latest, :latest.
_SNAPSHOT = re.compile(
    r"(?:[:@-]latest|-0\d\d|-(?:0[1-9]|1[0-2])[0-3]\d|-2\d(?:0[1-9]|1[0-2])"
    r"|[@-]20\d\d-?[01]\d-?[0-3]\d|-[01]\d-20\d\d|-[01]\d-[0-3]\d)$",
    re.IGNORECASE,
)
_LATEST = re.compile(r"[:@-]latest$", re.IGNORECASE)


def base_model_name(name: str) -> str:
    """`name` without the path before it ("models/", "publisher/") and the snapshot after it ("-001", "-2025-04-14")."""
    return _SNAPSHOT.sub("", name.strip().rpartition("/")[2])


def same_model(asked: str, replied: str, aliases: Iterable[str] = ()) -> bool:
    """Whether `replied` names the model that was `asked` for, or a snapshot of it; case does not matter.

    Another size, version, preview or publisher is another model, and so is another snapshot than one that was
    asked for. `aliases` are patterns (* stands for anything) of further names to be trusted. When no model
    was asked for by name, any will do.
    """
    if not asked.strip() or any(fnmatchcase(replied.strip().lower(), alias.strip().lower()) for alias in aliases):
        return True
    (asked_path, asked_name), (path, name) = (_path_and_name(n) for n in (asked, replied))
    if asked_path and path and asked_path != path:
        return False
    return bool(name) and (name == asked_name or _SNAPSHOT.sub("", name) == asked_name)


def _path_and_name(name: str) -> tuple[str, str]:
    """Publisher and name: ("qwen", "qwen2.5-7b") of "accounts/x/models/Qwen/Qwen2.5-7B:latest"."""
    path, _, last = re.sub(r"^(.*/)?models/", "", name.strip().lower()).rpartition("/")
    return path, _LATEST.sub("", last)
