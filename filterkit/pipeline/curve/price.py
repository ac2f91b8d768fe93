"""What a label costs: by the ledger, or else by the price table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from filterkit.manifest import DataInfo
from filterkit.pipeline.pricing import Pricing
from filterkit.pipeline.references import label_cost
from filterkit.store import Store
from filterkit.store.rows import Used


@dataclass(frozen=True)
class LabelPrice:
    """Dollars a label, and how they are known; None where they are not, and `how` says why."""

    usd: float | None
    how: str


def paid(info: DataInfo, store: Store) -> LabelPrice | None:
    """What the labels of this data have cost on average, attempts that failed included. None: the ledger does not say.

    Labels that were brought in, or recorded, cost nothing here, and say nothing of what another would.
    """
    cost = label_cost(info, store)
    if cost is None or not cost.usd or not cost.articles:
        return None
    return LabelPrice(cost.usd / cost.articles, f"as {cost.articles:,} labels have cost so far")


def listed(pricing: Pricing, texts: Sequence[str], used: Used | None) -> LabelPrice:
    """What a label about texts like these [n > 0] would cost at the configured oracle's price."""
    if used is not None and not pricing.counted:
        sent, how = float(used.input or 0), f"the tokens of {used.count:,} answers"
    else:
        sent, how = sum(map(pricing.input_tokens, texts)) / len(texts), f"the tokens of {len(texts):,} of the texts"
    out = pricing.output_tokens() if used is None else float(used.output or 0)
    usd = pricing.usd(sent, out)
    if usd is not None and pricing.price is not None:
        return LabelPrice(usd, f"{how} at the price of {pricing.model} as of {pricing.price.as_of}")
    return LabelPrice(None, pricing.why_unknown or f"{pricing.model} is paid by the hour")
