"""The workspace's budget in words: what it allows, and what of it is spent."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filterkit.cli.common import limits_of
from filterkit.cli.progress import usd

if TYPE_CHECKING:
    from filterkit.config import Config
    from filterkit.store import Limits, Store


@dataclass(frozen=True)
class Standing:
    """A workspace's budget and what its label store has spent of it, in dollars; open requests at their reserve.

    day: today's date, UTC. total_usd, per_day_usd: None where there is no such limit.
    """

    total_usd: float | None
    per_day_usd: float | None
    spent_usd: float
    spent_today_usd: float
    day: str

    @property
    def left_usd(self) -> float:
        """What may still be spent today."""
        pairs = ((self.total_usd, self.spent_usd), (self.per_day_usd, self.spent_today_usd))
        return min(max(0.0, limit - spent) for limit, spent in pairs if limit is not None)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "left_usd": self.left_usd}

    def __str__(self) -> str:
        parts = []
        if self.total_usd is not None:
            parts.append(f"{usd(self.spent_usd)} of {usd(self.total_usd)} is spent")
        if self.per_day_usd is not None:
            verb = "" if parts else " is spent"
            parts.append(f"{usd(self.spent_today_usd)} of {usd(self.per_day_usd)}{verb} today ({self.day}, UTC)")
        return f"workspace budget: {', '.join(parts)}"


def standing(limits: Limits, store: Store | None) -> Standing | None:
    """How a budget stands; None without one. `store` is None where there is none yet."""
    from filterkit.store.funds import date_of, day_of

    if not limits:
        return None
    now = time.time()
    spent = 0.0 if store is None else store.spent().usd
    today = 0.0 if store is None else store.spent_on(now)
    return Standing(limits.total_usd, limits.per_day_usd, spent, today, date_of(day_of(now)))


def standing_of(config: Config, store_file: Path) -> Standing | None:
    """How the budget of a workspace stands. Opens the label store only where there is a budget."""
    from filterkit.store import Store

    limits = limits_of(config)
    if not limits or not store_file.is_file():
        return standing(limits, None)
    with Store(store_file, create=False) as store:
        return standing(limits, store)


def show_standing(found: Standing | None, *, needed: float | None = None, err: bool = False) -> None:
    """One line, where there is a budget. `needed`: dollars that are about to be spent."""
    if found is not None:
        enough = ": not enough for all" if needed is not None and needed > found.left_usd else ""
        click.echo(f"{found}{enough}", err=err)
