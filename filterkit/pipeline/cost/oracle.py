"""What one article costs at the oracle, by the best that is known: what you say, the ledger, an estimate, a guess."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from filterkit.errors import ConfigError
from filterkit.pipeline.cost.scenario import Scenario, listed
from filterkit.pipeline.pricing import Pricing
from filterkit.records import Price
from filterkit.reply import base_model_name
from filterkit.store import Question
from filterkit.store.rows import Used

MILLION = Decimal(1_000_000)
WORDS, CHARS = 800, 4_800
"""The article that an estimate is made for, where no article was asked about yet."""
RULE_OF_THUMB = "typical-oracle"


@dataclass(frozen=True)
class OracleCost:
    """Dollars an article, and how they are known.

    source: `given` by the user, tokens of the `store`, `recorded` costs of the store, an `estimate`, or `assumed`.
    tokens are means of an article, None where the sum was made without them; measured: of so many answers.
    """

    usd: Decimal
    source: Literal["given", "tokens", "store", "recorded", "estimate", "assumed"]
    how: str
    oracle: str = ""
    model: str = ""
    input_tokens: Decimal | None = None
    output_tokens: Decimal | None = None
    measured: int = 0
    price: str = ""


@dataclass(frozen=True)
class TokenPrice:
    """Dollars per million tokens, and where they are from, in words."""

    input: Decimal
    output: Decimal
    cached_input: Decimal
    words: str

    def usd(self, input: Decimal, output: Decimal, cached: Decimal = Decimal(0)) -> Decimal:
        """Dollars for so many tokens; the cached ones are part of the input."""
        return ((input - cached) * self.input + cached * self.cached_input + output * self.output) / MILLION


@dataclass(frozen=True)
class Known:
    """What there is to find the price with; whatever is not known is None or empty.

    configured: the oracle that the filter would ask, as (name, model); pricing: its price, where its plugin is
    installed; used: what answers to `asked` took, in the store. own, listed: prices of the workspace and of plugins.
    """

    configured: tuple[str, str] = ("", "")
    pricing: Pricing | None = None
    asked: Question | None = None
    used: Used | None = None
    own: Mapping[str, Price] | None = None
    listed: Mapping[str, Price] | None = None
    scenarios: Sequence[Scenario] = ()


def oracle_cost(
    known: Known, given: Decimal | None = None, tokens: tuple[Decimal, Decimal] | None = None
) -> OracleCost:
    """The cost of one article: `given` dollars, else `tokens` (in, out) at the model's price, else what is known.

    ConfigError where tokens are given and no price is known.
    """
    name, model = known.configured
    if given is not None:
        return OracleCost(given, "given", "as you say", name, model)
    if tokens is not None:
        return _of_tokens(known, tokens)
    return _of_store(known) or _estimated(known) or _assumed(known)


def _of_tokens(known: Known, tokens: tuple[Decimal, Decimal]) -> OracleCost:
    name, model = known.configured
    price = token_price(known, model)
    if price is None:
        raise ConfigError(
            f"--articles-tokens needs a price, and none is known for {model or 'the oracle'}",
            fix="Say what an article costs with --oracle-price, or write `prices` into filterkit.yaml",
        )
    sent, out = tokens
    usd = price.usd(sent, out)
    how = f"{sent:,} tokens in and {out:,} out, as you say"
    return OracleCost(usd, "tokens", how, name, model, sent, out, price=price.words)


def _of_store(known: Known) -> OracleCost | None:
    asked, used = known.asked, known.used
    if asked is None or used is None:
        return None
    sent, cached, out = (exact(count or 0) for count in (used.input, used.cached_input, used.output))
    price = token_price(known, asked.model)
    answers = f"{used.count:,} answer{'' if used.count == 1 else 's'}"
    if price is not None and sent + out > 0:
        usd, how = price.usd(sent, out, cached), f"the tokens of {answers} in the store"
        return OracleCost(usd, "store", how, asked.oracle, asked.model, sent, out, used.count, price.words)
    if used.cost_usd is None or (used.cost_usd == 0 and sent + out == 0):
        return None  # recordings played back cost nothing, and say nothing of a new article
    how = f"what {answers} in the store cost"
    return OracleCost(exact(used.cost_usd), "recorded", how, asked.oracle, asked.model, sent, out, used.count)


def _estimated(known: Known) -> OracleCost | None:
    name, model = known.configured
    price = token_price(known, model)
    if known.pricing is None or price is None:
        return None
    sent = Decimal(known.pricing.input_tokens("x" * CHARS))
    out = exact(known.pricing.output_tokens())
    how = f"estimated for an article of {WORDS} words, as nothing was asked yet"
    return OracleCost(price.usd(sent, out), "estimate", how, name, model, sent, out, price=price.words)


def _assumed(known: Known) -> OracleCost:
    scenario = next((s for s in known.scenarios if s.name == RULE_OF_THUMB and s.price.per_article), None)
    if scenario is None or scenario.price.per_article is None:
        raise ConfigError("nothing says what an article costs at the oracle", fix="Say it with --oracle-price USD")
    how = f"assumed: {scenario.what} ({scenario.as_of}); --oracle-price says another"
    return OracleCost(scenario.price.per_article.high, "assumed", how, *known.configured)


def token_price(known: Known, model: str) -> TokenPrice | None:
    """What tokens of a model cost: by the workspace, by a plugin, by a scenario file; None where none of them says."""
    if known.pricing is not None and known.pricing.model == model:
        found = known.pricing.price
        if found is not None:
            return _token_price(found)
    else:
        for table in (known.own or {}, known.listed or {}):
            found = next((table[name] for name in _names(model) if name in table), None)
            if found is not None and not _is_over(found.until):
                return _token_price(found)
    for scenario in known.scenarios:
        per = scenario.price.per_million
        if per is not None and scenario.name in _names(model) and scenario.why_not(datetime.date.today()) is None:
            cached = per.input if per.cached_input is None else per.cached_input
            words = f"{scenario.price}, as of {scenario.as_of}, {scenario.source}"
            return TokenPrice(per.input, per.output, cached, words)
    return None


def _names(model: str) -> tuple[str, ...]:
    return (model, model.removeprefix("models/"), base_model_name(model)) if model else ()


def _is_over(until: str | None) -> bool:
    return until is not None and datetime.date.today() > datetime.date.fromisoformat(until)


def _token_price(price: Price) -> TokenPrice | None:
    """A price of the tables; None for a server that is paid by the hour."""
    if price.per_hour is not None:
        return None
    cached = price.input if price.cached_input is None else price.cached_input
    sent, out = exact(price.input), exact(price.output)
    words = f"{listed(sent)} in, {listed(out)} out per million tokens, as of {price.as_of}, {price.source}"
    return TokenPrice(sent, out, exact(cached), words)


def exact(number: float) -> Decimal:
    """The decimal number that a float is written as."""
    return Decimal(repr(float(number)))
