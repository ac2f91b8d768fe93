"""What budgets leave to spend: of one question, and of everything that a store has asked.

Money is in billionths of a dollar. What is spent is read once in each transaction from sums that triggers keep, so that
a store with millions of attempts says as quickly as an empty one what is left.
"""

from __future__ import annotations

import datetime
import sqlite3
from dataclasses import dataclass
from typing import Literal

from filterkit.store import queries
from filterkit.store.rows import nano_budget

DAY_S = 86_400

Scope = Literal["question", "total", "day"]
"""Whose budget: of one question, of all that a store asks, of what it asks on one day."""


@dataclass(frozen=True)
class Limits:
    """What all requests of a store may cost, in dollars, whatever they ask and whichever process sends them.

    total_usd: in all; per_day_usd: those whose attempts are opened on one calendar day, UTC. None: no limit.
    """

    total_usd: float | None = None
    per_day_usd: float | None = None

    def __bool__(self) -> bool:
        return self.total_usd is not None or self.per_day_usd is not None


NO_LIMITS = Limits()


def day_of(now: float) -> int:
    """The calendar day, UTC, of a Unix time: days since 1970."""
    return int(now // DAY_S)


def date_of(day: int) -> str:
    """A day as people write it: 2026-11-23."""
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).isoformat()


@dataclass
class _Account:
    """One budget: what it leaves, and what was spent of it."""

    scope: Scope
    left: int
    spent: int


class Funds:
    """What the budgets leave for a question, open attempts at their reserve, in one write transaction.

    An attempt without a reserve counts at the largest cost that one of its question ever had. Ask `refusal` before an
    attempt is opened, open it with `reserve`, then `take` it. Without a budget nothing is refused or looked up.
    """

    def __init__(
        self, db: sqlite3.Connection, question: int, max_usd: float | None, limits: Limits, *, now: float
    ) -> None:
        """`max_usd`: the question's own budget. `now`: the Unix time at which attempts will be opened."""
        self._accounts: list[_Account] = []
        self._dearest = 0
        if max_usd is not None or limits:
            spent, self._dearest, blind = db.execute(queries.FUNDS, (question,)).fetchone()
            self._open("question", max_usd, spent, blind * self._dearest)
        if limits:
            day = day_of(now)
            spent, today = db.execute(queries.FUNDS_OF_ALL, (day,)).fetchone()
            blind, blind_today = db.execute(queries.BLIND_OF_ALL, (day * DAY_S, (day + 1) * DAY_S)).fetchone()
            self._open("total", limits.total_usd, spent, blind)
            self._open("day", limits.per_day_usd, today, blind_today)

    def _open(self, scope: Scope, usd: float | None, spent: int, blind: int) -> None:
        if usd is not None:
            self._accounts.append(_Account(scope, nano_budget(usd) - spent - blind, spent))

    def reserve(self, reserved: int | None) -> int | None:
        """What an attempt is opened with. Unknown stays unknown where no budget asks for it."""
        return self._dearest or None if reserved is None else reserved

    def refusal(self, reserved: int | None) -> Scope | None:
        """Whose budget does not allow another attempt; None when one may be opened.

        With a budget of nothing, what costs nothing may.
        """
        for account in self._accounts:
            used_up = account.left <= 0 and (account.spent > 0 or reserved is None)
            if used_up or (self.reserve(reserved) or 0) > account.left:
                return account.scope
        return None

    def take(self, reserved: int | None) -> None:
        """An attempt was opened."""
        took = self.reserve(reserved) or 0
        for account in self._accounts:
            account.left, account.spent = account.left - took, account.spent + took
