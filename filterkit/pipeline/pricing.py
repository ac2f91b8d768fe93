"""What requests cost: before they are sent (expected, and at most) and after."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from filterkit.contracts import Batch, Oracle
from filterkit.errors import ConfigError
from filterkit.filters import Filter
from filterkit.pipeline.question import Requests
from filterkit.records import Price, Usage
from filterkit.reply import base_model_name
from filterkit.spec import FilterSpec

BYTES_PER_TOKEN = 4.0
"""A rule of thumb for UTF-8 in any language; a pilot measures what it is for your articles and model."""
MOST_PER_ESTIMATE = 1.5
"""A text takes at most so many times the tokens that were estimated: what an attempt reserves."""


class Pricing:
    """The price of one oracle's answers about one filter.

    `price` is None where it is unknown, and `why_unknown` says why in words. `listed` are the price tables of plugins,
    `own` what the workspace says, which comes first. `batch`: of its answers in batch jobs, which are charged at
    `batch_share` of the price.
    """

    def __init__(
        self,
        filter: Filter,
        oracle: Oracle[Any],
        *,
        listed: Mapping[str, Price] | None = None,
        own: Mapping[str, Price] | None = None,
        batch: bool = False,
    ) -> None:
        self._oracle, self._listed, self._own = oracle, listed or {}, own or {}
        self._share = oracle.list_price_share
        self.batch_share = oracle.batch_price_share if batch and isinstance(oracle, Batch) else 1.0
        self._requests = Requests(filter, oracle)
        self._most_output = filter.spec.generation.max_output_tokens
        self.model = oracle.model
        self.price, self.why_unknown = self._find(oracle.model)
        empty = self._requests.make("", "")
        self.counted = oracle.count_tokens(empty) is not None
        fixed = (empty.system, empty.user, json.dumps(empty.json_schema))
        self._fixed_tokens = sum(_estimate(text) for text in fixed)
        self._output = _expected_output(filter.spec)

    def _find(self, model: str) -> tuple[Price | None, str]:
        names = (model, model.removeprefix("models/"), base_model_name(model))
        for table, share in ((self._own, 1.0), (self._listed, self._share)):
            price = next((table[name] for name in names if name in table), None)
            if price is None or share is None:
                continue
            if price.until and datetime.date.today() > datetime.date.fromisoformat(price.until):
                return None, f"the known price of {model} held until {price.until}"
            return _share_of(price, share * self.batch_share), ""
        return None, f"no price is known for {model or 'this model'}"

    def require(self) -> None:
        """ConfigError when nothing says what a request costs, so that no budget can be kept."""
        if self.price is not None or self._oracle.reports_cost:
            return
        entry = f"{json.dumps(self.model)}: {{input: 0.10, output: 0.40, as_of: 2026-01-31, source: the bill}}"
        raise ConfigError(
            f"a budget needs a price, and {self.why_unknown}",
            fix=f"Write dollars per million tokens into filterkit.yaml, as in `prices: {{{entry}}}`",
        )

    def input_tokens(self, text: str) -> int:
        """Input tokens of a request about `text`, counted by the oracle where `counted`, else estimated."""
        if self.counted:
            return self._oracle.count_tokens(self._requests.make("", text)) or 0
        return round(self._fixed_tokens + _estimate(text))

    def output_tokens(self) -> float:
        """Output tokens of an answer, estimated from the dimensions; what was measured is better."""
        return self._output

    @property
    def most_output_tokens(self) -> int:
        """Output tokens that an answer is cut off at."""
        return self._most_output

    def usd(self, input_tokens: float, output_tokens: float) -> float | None:
        """Dollars for so many tokens, none of them cached; None: unknown, or not priced by tokens."""
        if self.price is None or self.price.per_hour is not None:
            return None
        return (input_tokens * self.price.input + output_tokens * self.price.output) / 1e6

    def reserve_usd(self, input_tokens: float) -> float | None:
        """Dollars that one attempt costs at most (on one's own server: if nothing else is in flight); None: unknown."""
        if self.price is not None and self.price.per_hour is not None:
            return self.price.per_hour / 3600 * self._requests.timeout_s
        most = input_tokens if self.counted else input_tokens * MOST_PER_ESTIMATE
        return self.usd(most, self._most_output)

    def cost_usd(self, usage: Usage, server_s: float = 0.0, *, rerouted_to: str | None = None) -> float | None:
        """Dollars of one reply that took `server_s` seconds of a server of its own; None: unknown."""
        if usage.cost_usd is not None:
            return usage.cost_usd
        price = self.price if rerouted_to is None else self._find(rerouted_to)[0]
        if price is None:
            return None
        if price.per_hour is not None:
            return price.per_hour / 3600 * server_s
        return price.cost(usage)


def _share_of(price: Price, share: float) -> Price:
    """A list price at the share of it that is charged."""
    if share == 1.0:
        return price
    cached = None if price.cached_input is None else price.cached_input * share
    return price.model_copy(
        update={"input": price.input * share, "output": price.output * share, "cached_input": cached}
    )


def _estimate(text: str) -> float:
    return len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN


def _expected_output(spec: FilterSpec) -> float:
    """A key, a number and punctuation for each dimension, and a sentence where evidence is asked for."""
    sentence = 35 if spec.evidence == "short" else 0
    return 4 + sum(len(name) / BYTES_PER_TOKEN + 6 + sentence for name in spec.names)
