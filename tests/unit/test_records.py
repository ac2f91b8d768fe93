"""What flows: articles, usage, prices."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from filterkit.records import Article, Price, Reply, Shard, Usage, canonical_json, plausible, sha256_text


def test_an_articles_own_fields_come_first_and_win() -> None:
    article = Article("1", "t", "c", language="en", extra={"content": "other", "z": 1, "id": "2"})
    assert list(article.to_dict().items()) == [
        ("id", "1"),
        ("title", "t"),
        ("content", "c"),
        ("language", "en"),
        ("z", 1),
    ]


def test_the_text_is_title_and_content() -> None:
    assert Article("1", "Title", "content").text == "Title\n\ncontent"
    assert Article("1", "", "content").text == "content"


def test_equal_values_have_equal_canonical_json() -> None:
    assert (
        canonical_json({"b": 1, "a": [1.5, "é"]})
        == canonical_json({"a": [1.5, "é"], "b": 1})
        == '{"a":[1.5,"\\u00e9"],"b":1}'
    )
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(float("nan"))
    assert sha256_text("\ud800") != sha256_text("?")


def test_a_price_counts_cached_tokens_apart() -> None:
    price = Price(input=1.0, output=10.0, cached_input=0.1, as_of="2026-01-01", source="x")
    assert price.cost(Usage(input=1_000_000, cached_input=500_000, output=100_000)) == pytest.approx(0.5 + 0.05 + 1.0)
    assert price.cost(Usage(input=1_000_000)) is None
    plain = price.model_copy(update={"cached_input": None})
    assert plain.cost(Usage(input=1_000_000, cached_input=500_000, output=0)) == pytest.approx(1.0)


@pytest.mark.parametrize("wrong", [{"cost_usd": float("nan")}, {"inputs": 3}, {"cost_usd": float("inf")}])
def test_records_take_no_unknown_key_and_no_nan(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Usage(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Shard(id="1", uri="x").id = "2"  # type: ignore[misc]
    assert Reply(text="", model_version="m").usage.output is None, "not reported is not 0"


@pytest.mark.parametrize(
    ("reported", "believed"),
    [
        ({"input": 10, "cached_input": 50, "output": 5, "thinking": 9}, {"cached_input": 10, "thinking": 5}),
        ({"input": 10**19, "cached_input": 7, "output": -1}, {"input": None, "output": None}),
        ({"input": 10**9, "cached_input": -3, "thinking": 10**9 + 1}, {"cached_input": None, "thinking": None}),
        ({"cost_usd": -0.01}, {"cost_usd": None}),
        ({"cost_usd": 9.3e9}, {"cost_usd": None}),
        ({"input": 0, "cached_input": 0, "output": 0, "cost_usd": 0.0}, {}),
        ({"cost_usd": 0.5, "input": 3}, {}),
    ],
)
def test_usage_that_cannot_be_counts_as_not_reported(reported: dict[str, Any], believed: dict[str, Any]) -> None:
    assert plausible(Usage(**reported)) == Usage(**{**reported, **believed})
    odd = Usage.model_construct(input=5, cost_usd=float("nan"))
    assert plausible(odd) == Usage(input=5)
