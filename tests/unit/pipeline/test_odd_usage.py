"""What a provider reports of a reply's usage may be nonsense; the reply is kept all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from filterkit.contracts import Context, Oracle, OracleOptions
from filterkit.filters import load_filter
from filterkit.pipeline.label import LabelSettings, label
from filterkit.records import Article, OracleRequest, Price, Reply, Usage
from filterkit.store import Store

FILTER = """
schema: 1
name: tiny
version: "1"
dimensions: [{name: good, weight: 1.0}]
generation: {max_output_tokens: 100}
"""


class Model(OracleOptions):
    model: str = "model-1"


class Odd(Oracle[Model]):
    """Reports sane usage, but for the first article."""

    Options = Model
    odd: Usage
    asked = 0

    async def complete(self, request: OracleRequest) -> Reply:
        self.asked += 1
        usage = self.odd if "text 0\n" in request.article else Usage(input=100, cached_input=50, output=10)
        return Reply(text=json.dumps({"good": 7}), usage=usage, model_version="model-1")


@pytest.mark.parametrize(
    ("odd", "cost_usd"),
    [
        ({"input": 100, "cached_input": 9_000, "output": 0}, 100 * 0.1 / 1e6),
        ({"input": 10**19, "output": 10}, None),
        ({"input": -5, "output": 10}, None),
        ({"input": 100, "output": -(10**30)}, None),
        ({"cost_usd": 1e10}, None),
        ({"cost_usd": -0.5}, None),
    ],
)
def test_a_reply_with_odd_usage_is_kept_with_all_that_came_with_it(
    tmp_path: Path, odd: dict[str, Any], cost_usd: float | None
) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "filter.yaml").write_text(FILTER)
    (folder / "prompt.md").write_text("Judge it.\n\n{{article}}\n")
    filter = load_filter(folder)
    oracle = Odd(Model(), filter.spec, Context(tmp_path))
    oracle.odd = Usage(**odd)
    price = Price(input=1.0, cached_input=0.1, output=2.0, as_of="2026-01-01", source="test")
    articles = [Article(f"a{n}", "", f"text {n}") for n in range(20)]
    with Store(tmp_path / "labels.db") as store:
        report = label(
            filter, articles, oracle, store, LabelSettings(), oracle_name="odd", own_prices={"model-1": price}
        )
        assert (report.new, report.failed, oracle.asked) == (20, 0, 20)
        sane = 19 * (50 * 1.0 + 50 * 0.1 + 10 * 2.0) / 1e6
        spent = store.spent()
        assert spent.usd - spent.held_usd == pytest.approx(sane + (cost_usd or 0.0))
        assert (spent.held_usd > 0) == (cost_usd is None), "what is unknown counts at its reserve"
