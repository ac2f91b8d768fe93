"""Label articles: ask the oracle, check what it says, keep it. Nothing is asked twice, nothing paid for is lost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

from filterkit.contracts import Oracle
from filterkit.filters import Filter
from filterkit.pipeline.asking import Asker
from filterkit.pipeline.engine import Run
from filterkit.pipeline.pricing import Pricing
from filterkit.pipeline.question import oracle_variant, question_of
from filterkit.pipeline.settings import LabelSettings
from filterkit.pipeline.tally import LabelReport
from filterkit.records import Article, Price
from filterkit.store import Store

__all__ = ["LabelReport", "LabelSettings", "label", "oracle_variant", "question_of"]


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
    own_prices: Mapping[str, Price] | None = None,
    observe: Callable[..., None] = _ignore,
    progress: Callable[[LabelReport], None] = _ignore,
    stop: Callable[[], bool] = lambda: False,
) -> LabelReport:
    """Ask `oracle` about every article that has no label yet, and keep the answers in `store`.

    Articles are streamed. `observe("labels_committed", …)` is called after every commit, `progress(report so far)`
    ten times a second too. When `stop()` turns true, what is in flight is finished and the report says "interrupted".
    `prices` are list prices by model, `own_prices` what you pay, which comes first.

    Raises StoppedEarly (a quota of the day, the budget, a locked store), ConfigError (a budget without a price) and
    other FilterkitErrors (bad key, another model replied, full disk, unreadable input) after what was in flight has
    been stored; the same call goes on from there.
    """
    settings = settings or LabelSettings()
    pricing = Pricing(filter, oracle, listed=prices, own=own_prices)
    if settings.max_cost_usd is not None or store.limits:
        pricing.require()
    asker = Asker(filter, oracle, oracle_name, pricing)
    question = question_of(filter, oracle, oracle_name)

    async def work(stop: Callable[[], bool]) -> LabelReport:
        run = Run(filter, question, store, settings, pricing, observe=observe, progress=progress, stop=stop)
        return await run.all(articles, oracle, asker)

    with _less_collecting():
        return in_own_loop(work, stop)


@contextlib.contextmanager
def _less_collecting() -> Iterator[None]:
    """Look for garbage in cycles less often: SDKs make objects by the hundred a request, and next to none in cycles.

    It is a tenth of the articles a second at 256 in flight.
    """
    before = gc.get_threshold()
    gc.set_threshold(*(max(pair) for pair in zip(before, (20_000, 50, 100), strict=True)))
    try:
        yield
    finally:
        gc.set_threshold(*before)


T = TypeVar("T")


def in_own_loop(work: Callable[[Callable[[], bool]], Coroutine[Any, Any, T]], stop: Callable[[], bool]) -> T:
    """`work(stop)` to its end, also from within a running event loop (a notebook), which stands still meanwhile."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work(stop))
    interrupted = threading.Event()
    with ThreadPoolExecutor(1, "filterkit-label") as thread:
        done = thread.submit(lambda: asyncio.run(work(lambda: interrupted.is_set() or stop())))
        try:
            while not done.done():
                wait([done], timeout=0.2)  # without one, an interruption may not be heard
            return done.result()
        except BaseException:
            interrupted.set()  # what is in flight is finished before the interruption goes on
            raise
