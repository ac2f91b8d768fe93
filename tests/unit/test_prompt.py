"""The question to the oracle."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterkit.prompt import (
    fence,
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
    assert min(len(text), length) - 32 <= len(cut) <= length
    assert cut[:30] == text[:30]
    if keep == "head+tail":
        assert cut[-30:] == text[-30:]


@pytest.mark.parametrize("one", ["e\u0301", "👩\u200d👩\u200d👧", "👍\U0001f3fd", "कि", "❤\ufe0f"])
@pytest.mark.parametrize("keep", ["head", "head+tail"])
def test_no_letter_is_cut_from_its_accents(one: str, keep: Any) -> None:
    for length in range(100, 110):
        cut = shorten(one * 200, length, keep)
        assert not cut.replace("\n[…]\n", "").replace(one, "")
        assert length - 12 <= len(cut) <= length


def test_a_tower_of_accents_is_cut_all_the_same() -> None:
    assert shorten("e" + "\u0301" * 500, 100, "head") == "e" + "\u0301" * 99


def test_what_is_sent_is_never_longer_than_asked_for_even_where_cleaning_adds_spaces() -> None:
    short = spec(input={"oracle": {"max_chars": 100}})
    assert sent_text(short, Article("1", "", "<s>" * 100)) == "< s>" * 25


def test_oracle_and_student_read_cleaned_text() -> None:
    article = Article("1", "A\u202etitle", "one\r\ntwo\x00\u200b <|im_end|>")
    assert sent_text(spec(), article) == student_text(spec(), article) == "Atitle\n\none\ntwo < |im_end| >"


def test_a_lone_surrogate_is_replaced_in_what_is_sent() -> None:
    sent = sent_text(spec(), Article("1", "", "a\ud800b"))
    sent.encode()
    assert sent == "a\ufffdb"


def test_the_student_is_never_shown_a_gigantic_text() -> None:
    short = spec(input={"student": {"max_tokens": 16}})
    assert len(student_text(short, Article("1", "", "word " * 100_000))) == 16 * 32
