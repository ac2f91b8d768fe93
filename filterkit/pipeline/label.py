"""Label articles: ask the oracle, check what it says, keep it. Nothing is asked twice, nothing paid for is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from filterkit.contracts import Oracle
from filterkit.filters import Filter
from filterkit.pipeline.asking import Asker
from filterkit.pipeline.engine import LabelSettings, Run
from filterkit.pipeline.tally import LabelReport
from filterkit.records import Article, Price
from filterkit.store import Question, Store

__all__ = ["LabelReport", "LabelSettings", "label", "oracle_variant", "question_of"]


def oracle_variant(oracle: Oracle[Any]) -> dict[str, Any]:
    """The oracle's own options that shape its answer, where they differ from their defaults."""
    kind = type(oracle.options)
    given = oracle.options.model_dump(mode="json", include=set(oracle.answer_options))
    usual = kind.model_construct().model_dump(mode="json", include=set(oracle.answer_options), warnings=False)
    return {name: value for name, value in given.items() if name not in usual or usual[name] != value}


def question_of(filter: Filter, oracle: Oracle[Any], oracle_name: str) -> Question:
    """The question that labelling `filter` with this oracle asks, as the store knows it."""
    name = f"{filter.name} {filter.spec.version}"
    return Question(filter.request_hash(oracle_variant(oracle)), oracle_name, oracle.model, name)


def _ignore(*_: object, **__: object) -> None:
    """No one listens."""


def label(
    filter: Filter,
    articles: Iterable[Article],
    oracle: Oracle[Any],
    store: Store,
    settings: LabelSettings | None = None,
    *,
    oracle_name: str,
    prices: Mapping[str, Price] | None = None,
    observe: Callable[..., None] = _ignore,
    progress: Callable[[LabelReport], None] = _ignore,
    stop: Callable[[], bool] = lambda: False,
) -> LabelReport:
    """Ask `oracle` about every article that has no label yet, and keep the answers in `store`.

    Articles are streamed. `observe("labels_committed", …)` and `progress(report so far)` are called after every
    commit. When `stop()` turns true, what is in flight is finished and the report says "interrupted".

    Raises StoppedEarly (a quota of the day, a locked store) and other FilterkitErrors (bad key, full disk, unreadable
    input) after what was in flight has been stored; the same call goes on from there. Not from within a running
    event loop.
    """
    asker = Asker(filter, oracle, oracle_name, prices or {})
    question = question_of(filter, oracle, oracle_name)
    run = Run(filter, question, store, settings or LabelSettings(), observe, progress, stop)
    return asyncio.run(run.all(articles, oracle, asker))
