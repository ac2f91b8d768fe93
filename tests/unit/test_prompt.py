"""The question to the oracle, and what counts as an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterkit.prompt import (
    EVIDENCE_CHARS,
    BadReply,
    fence,
    parse_reply,
    reply_schema,
    request_hash,
    rubric_text,
    sent_text,
    shorten,
    student_text,
    system_text,
)
from filterkit.records import Article
from filterkit.spec import FilterSpec


def spec(**changes: Any) -> FilterSpec:
    """Two scores and a flag."""
    return FilterSpec.model_validate(
        {
            "schema": 1,
            "name": "news",
            "version": "1",
            "dimensions": [
                {"name": "help", "weight": 0.5, "description": "they help"},
                {"name": "novelty", "weight": 0.5},
                {"name": "is_advert", "role": "flag"},
            ],
            **changes,
        }
    )


GOOD = {"help": 7, "novelty": 2.5, "is_advert": 0}


def test_the_schema_asks_for_every_dimension_in_order_and_nothing_else() -> None:
    schema = reply_schema(spec())
    assert schema["required"] == ["help", "novelty", "is_advert"]
    assert list(schema["properties"]) == schema["required"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["help"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 10,
        "description": "they help",
    }


def test_evidence_is_asked_before_its_score() -> None:
    asked = reply_schema(spec(evidence="short"))["properties"]["help"]
    assert list(asked["properties"]) == ["evidence", "score"]
    assert asked["required"] == ["evidence", "score"]


@pytest.mark.parametrize(
    ("scale", "kind"),
    [
        ({"step": 1}, "integer"),
        ({"step": 2}, "integer"),
        ({"step": 0.5}, "number"),
        ({}, "number"),
        ({"min": 0.5, "max": 10, "step": 1}, "number"),
    ],
)
def test_whole_numbers_are_asked_for_where_all_steps_are_whole(scale: dict[str, float], kind: str) -> None:
    assert reply_schema(spec(scale=scale))["properties"]["help"]["type"] == kind


def test_what_the_schema_allows_is_what_the_parser_takes() -> None:
    label = parse_reply(spec(), json.dumps(GOOD))
    assert label.scores == GOOD
    assert not label.evidence


def test_evidence_is_kept_and_bounded() -> None:
    reply = {name: {"evidence": "x" * 9999, "score": value} for name, value in GOOD.items()}
    label = parse_reply(spec(evidence="short"), json.dumps(reply))
    assert label.scores == GOOD
    assert {len(words) for words in label.evidence.values()} == {EVIDENCE_CHARS}


BAD_REPLIES = {
    "no JSON": ("help: 7", "not valid JSON"),
    "fenced JSON": ("```json\n{}\n```", "not valid JSON"),
    "truncated": (json.dumps(GOOD)[:-5], "not valid JSON"),
    "list": ("[7, 2, 0]", "must be a JSON object"),
    "null": ("null", "must be a JSON object"),
    "missing": (json.dumps({"help": 7, "novelty": 2}), "'is_advert' is missing"),
    "unknown": (json.dumps({**GOOD, "tier": 1}), "unknown dimension 'tier'"),
    "twice": ('{"help": 1, "help": 9, "novelty": 1, "is_advert": 0}', "a key appears twice"),
    "text": (json.dumps({**GOOD, "help": "7"}), "must be a number, not str"),
    "true": (json.dumps({**GOOD, "help": True}), "must be a number, not bool"),
    "nothing": (json.dumps({**GOOD, "help": None}), "must be a number, not NoneType"),
    "too high": (json.dumps({**GOOD, "help": 10.01}), "outside of 0 to 10"),
    "too low": (json.dumps({**GOOD, "help": -0.01}), "outside of 0 to 10"),
    "NaN": ('{"help": NaN, "novelty": 1, "is_advert": 0}', "outside of 0 to 10"),
    "infinite": ('{"help": 1e999, "novelty": 1, "is_advert": 0}', "outside of 0 to 10"),
    "gigantic": (json.dumps({**GOOD, "help": 10**400}), "outside of 0 to 10"),
    "too long a number": ('{"help": ' + "9" * 5000 + "}", "not valid JSON"),
    "deep": ("[" * 200_000, "nested too deeply|not valid JSON"),
}


@pytest.mark.parametrize("case", BAD_REPLIES)
def test_what_does_not_answer_the_question_is_refused(case: str) -> None:
    text, expected = BAD_REPLIES[case]
    with pytest.raises(BadReply, match=expected):
        parse_reply(spec(), text)


@pytest.mark.parametrize(
    "value", [7, {"score": 7}, {"evidence": "x", "score": 7, "why": "y"}, {"evidence": 1, "score": 7}, [7, "x"]]
)
def test_evidence_must_come_as_asked(value: object) -> None:
    reply = {name: {"evidence": "x", "score": 1} for name in GOOD} | {"help": value}
    with pytest.raises(BadReply, match="'help'"):
        parse_reply(spec(evidence="short"), json.dumps(reply))


def test_a_score_between_the_steps_is_refused() -> None:
    stepped = spec(scale={"min": 0, "max": 10, "step": 0.5})
    assert parse_reply(stepped, json.dumps(GOOD)).scores["novelty"] == 2.5
    with pytest.raises(BadReply, match=r"2\.6, not a multiple of 0\.5"):
        parse_reply(stepped, json.dumps({**GOOD, "novelty": 2.6}))


def test_the_rubric_is_the_same_for_every_article() -> None:
    assert rubric_text("Score it.\n\n\n{{article}}\n\n") == "Score it.\n\n"


def test_an_article_is_put_in_literally() -> None:
    article = Article("1", "Title", "Use {{article}} and {0} and $name and \\1")
    assert "Use {{article}} and {0} and $name and \\1" in fence(sent_text(spec(), article))


@given(st.text())
def test_no_text_can_close_its_fence(text: str) -> None:
    fenced = fence(text)
    opening = fenced.split("\n", 1)[0]
    code = opening.removeprefix("<article ").removesuffix(">")
    assert code not in text
    assert fenced.endswith(f"\n</article {code}>")
    assert fence(text) == fenced


def test_equal_texts_are_asked_about_in_equal_words() -> None:
    assert fence("a text") != fence("a text ")
    assert request_hash(spec(), "Score it. {{article}}") == request_hash(spec(), "Score it. {{article}}")


def test_the_system_text_names_the_scale() -> None:
    assert "from 1 to 5, in steps of 0.5." in system_text(spec(scale={"min": 1, "max": 5, "step": 0.5}))
    assert "from 0 to 10." in system_text(spec())


@given(st.text(max_size=300), st.integers(100, 200), st.sampled_from(["head", "head+tail"]))
def test_a_text_is_cut_to_its_length_and_keeps_its_head(text: str, length: int, keep: Any) -> None:
    cut = shorten(text, length, keep)
    assert len(cut) == min(len(text), length)
    assert cut[:40] == text[:40]
    if keep == "head+tail":
        assert cut[-40:] == text[-40:]


def test_a_lone_surrogate_is_replaced_in_what_is_sent() -> None:
    sent = sent_text(spec(), Article("1", "", "a\ud800b"))
    sent.encode()
    assert sent == "a\ufffdb"


def test_the_student_is_never_shown_a_gigantic_text() -> None:
    short = spec(input={"student": {"max_tokens": 16}})
    assert len(student_text(short, Article("1", "", "word " * 100_000))) == 16 * 32
