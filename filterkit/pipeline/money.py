"""What is said when a budget leaves no room for another request."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from filterkit.errors import StoppedEarly
from filterkit.store import Question, Store
from filterkit.store.funds import DAY_S, Scope, date_of, day_of

KEPT = "what was labelled is kept"


class OutOfMoney(StoppedEarly):
    """A budget leaves no room for another request. `scope`: whose budget it is."""

    def __init__(self, what: str, *, scope: Scope = "question", **more: Any) -> None:
        super().__init__(what, **more)
        self.scope = scope


def out_of_money(
    store: Store, question: Question, scope: Scope, max_usd: float | None, reserves: Iterable[float | None]
) -> OutOfMoney:
    """The error for a budget that is used up. `reserves`: of the requests that wait, in dollars.

    It says which budget, what is spent of it, what the next request may cost, and how or when to go on.
    """
    least = min((usd for usd in reserves if usd is not None), default=None)
    next_one = f", and the next request may cost ${least:.4f}" if least else ""
    if scope == "question":
        return _of_question(store, question, max_usd or 0.0, least, next_one)
    if scope == "total":
        spent = store.spent()
        what = (
            f"the workspace's budget of ${store.limits.total_usd:.4f} is used up: ${spent.usd:.4f} for all questions"
            f"{_held(spent.held_usd)}{next_one}"
        )
        return OutOfMoney(what, scope=scope, fix=f"Raise budget.total_usd in filterkit.yaml to go on; {KEPT}")
    return _of_day(store, least, next_one)


def _of_question(store: Store, question: Question, cap: float, least: float | None, next_one: str) -> OutOfMoney:
    spent = store.spent(question)
    what = (
        f"the budget of ${cap:.4f} for this rubric, oracle and model is used up: ${spent.usd:.4f} in all runs"
        f"{_held(spent.held_usd)}{next_one}"
    )
    enough = f", {spent.usd + least:.4f} at least" if least else ""
    return OutOfMoney(what, scope="question", fix=f"Give a higher --max-cost to go on{enough}; {KEPT}")


def _of_day(store: Store, least: float | None, next_one: str) -> OutOfMoney:
    now = time.time()
    today, limit = day_of(now), store.limits.per_day_usd or 0.0
    what = (
        f"the workspace's budget of ${limit:.4f} a day is used up: ${store.spent_on(now):.4f} on {date_of(today)} (UTC)"
        f"{next_one}"
    )
    if least is not None and least > limit:
        return OutOfMoney(
            what,
            scope="day",
            fix=f"No day's budget is enough for it: raise budget.per_day_usd in filterkit.yaml; {KEPT}",
        )
    minutes = int((today + 1) * DAY_S - now) // 60
    fix = (
        f"Run the same command again from {date_of(today + 1)} 00:00 UTC on (in {minutes // 60} h {minutes % 60} min), "
        f"or raise budget.per_day_usd in filterkit.yaml; {KEPT}"
    )
    return OutOfMoney(what, scope="day", fix=fix)


def _held(usd: float) -> str:
    return f", ${usd:.4f} of it for requests whose cost is unknown" if usd else ""
