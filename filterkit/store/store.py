"""The store's door. Every call is one transaction on a batch: group what can be grouped."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence

from filterkit.contracts import redact
from filterkit.errors import StoreError
from filterkit.records import Article
from filterkit.store import queries
from filterkit.store.base import inserted
from filterkit.store.owners import Owner
from filterkit.store.rows import (
    ERROR_CHARS,
    Key,
    Outcome,
    Question,
    State,
    nano,
    nano_budget,
    pack,
    pack_article,
    pack_json,
    pack_scores,
    text_hash,
    unpack,
)
from filterkit.store.views import Views


class Store(Views):
    """One SQLite file that keeps articles, labels and the ledger of money, shared by any number of processes.

    Threads may take turns on one Store. Methods raise StoreError (the file cannot be used, the disk is full) or
    StoppedEarly (locked by another process for `busy_timeout_s` seconds); then nothing of that call was written.
    """

    # Articles and where their questions stand

    def put_articles(self, question: Question, rows: Iterable[tuple[Article, str]]) -> None:
        """Keep articles, each with the hex SHA-256 of what `question` sends of it.

        An id that was known with another content is an edit: the newest version replaces the older one.
        """
        with self.writing() as db:
            request = self.request_id(db, question)
            for article, sent_hash in rows:
                name, text = pack(article.id), text_hash(article)
                db.execute(queries.PUT_ARTICLE, (name, text, pack_article(article)))
                db.execute(queries.PUT_READING, (request, text, bytes.fromhex(sent_hash), name))

    def states(self, question: Question, keys: Sequence[Key]) -> list[State]:
        """Where each question stands, in order: free, labelled or failed. Writes nothing."""
        with self.reading() as db:
            number = self.find_question(db, question)
            if number is None:
                return [State("free")] * len(keys)
            return [_settled(db, number, key) or State("free") for key in keys]

    def claim(
        self,
        question: Question,
        keys: Sequence[Key],
        owner: Owner,
        *,
        reserved_usd: Sequence[float | None] | None = None,
        max_usd: float | None = None,
        retry_failed_before: float | None = None,
    ) -> list[State]:
        """Open an attempt for each question that may be asked now, and say where the others stand, in order.

        Committed when this returns: only then may a request leave. `reserved_usd`, one for each key, is what an
        attempt counts until its cost is known (None: unknown). With `max_usd` no attempt is opened whose reserve
        would bring what `question` has cost, in all runs and processes, above it, and none at all once that is used
        up; a reserve that is unknown then is the largest cost that an attempt of `question` ever had, nothing while
        none is known. Questions that failed before the Unix time `retry_failed_before` may be asked again.
        """
        reserves = [nano(usd) for usd in reserved_usd or [None] * len(keys)]
        with self.writing() as db:
            number = self.question_id(db, question)
            dead = self.owners.bury_dead(db, owner.id)
            funds = None if max_usd is None else _Funds(db, number, nano_budget(max_usd))
            states: list[State] = []
            for key, reserved in zip(keys, reserves, strict=True):
                state = _settled(db, number, key, retry_failed_before)
                if state is None and funds is not None and not funds.allow(reserved):
                    state = State("unaffordable")
                elif state is None:
                    name = (number, bytes.fromhex(key.sent_hash), key.sample)
                    attempt = _open_attempt(db, name, owner.id, funds.reserve(reserved) if funds else reserved)
                    state = State("elsewhere") if attempt is None else State("claimed", attempt, owner.id)
                    if funds is not None and attempt is not None:
                        funds.take(reserved)
                states.append(state)
        for lock in dead:
            self.owners.remove(lock)
        return states

    def complete(
        self,
        outcomes: Sequence[Outcome],
        *,
        max_usd: float | None = None,
        unsent: Sequence[int] = (),
        owner: Owner | None = None,
    ) -> list[int | None]:
        """Close attempts with what became of them, labels included; all of it is durable when this returns.

        `unsent` are attempts whose request never left: they cost nothing, are no attempts in any count, and their
        questions are free. Only those of `owner` are taken back, if it is given. Doing so twice changes nothing.

        For each outcome with `again` the number of the next attempt; else None. (None with `again` too where its
        reserve would break the budget `max_usd`, as in `claim`, or where another labeller took the question over
        while this one stood still.)
        """
        now = time.time()
        budget = None if max_usd is None else nano_budget(max_usd)
        by = None if owner is None else owner.id
        with self.writing() as db:
            for attempt in unsent:
                db.execute(queries.RELEASE_ATTEMPT, {"now": now, "attempt": attempt, "owner": by})
            return [_complete(db, outcome, budget, now) for outcome in outcomes]

    # Labellers

    @contextlib.contextmanager
    def owner(self, lease_s: float = 60.0) -> Iterator[Owner]:
        """Be a labeller for the block. Call `renew` well within every `lease_s` seconds.

        Attempts still open at the end (an error, a second Ctrl-C) count as sent and are free to be asked anew.
        """
        owner: Owner | None = None
        try:
            with self.writing() as db:
                self.owners.bury_dead(db, me=0)
                self.owners.sweep(db)
                owner = self.owners.enlist(lease_s)
                row = (owner.name, time.time() + lease_s)
                owner.id = inserted(db.execute("INSERT INTO owners (name, lease_until) VALUES (?, ?)", row))
            yield owner
            with self.writing() as db:
                self.owners.bury(db, owner.id)
            self.owners.remove(owner.name)
        finally:
            if owner is not None:
                owner.lock.release()  # after an error the others find the lock free, and bury this owner themselves

    def renew(self, owner: Owner) -> None:
        """Lengthen the lease by its full time from now on, also when others took it for dead meanwhile."""
        with self.writing() as db:
            until = time.time() + owner.lease_s
            db.execute("UPDATE owners SET lease_until = ?, ended = NULL WHERE id = ?", (until, owner.id))


def _settled(db: sqlite3.Connection, question: int, key: Key, retry_failed_before: float | None = None) -> State | None:
    """Labelled, or failed finally; None when neither."""
    values = (question, bytes.fromhex(key.sent_hash), key.sample)
    label = db.execute(queries.FIND_LABEL, values).fetchone()
    if label is not None:
        return State("labelled", owner=label[0])
    failure = db.execute(queries.FIND_FAILURE, values).fetchone()
    if failure is None or (retry_failed_before is not None and failure[2] < retry_failed_before):
        return None
    return State("failed", owner=failure[0], reason=unpack(failure[1]))


def _open_attempt(db: sqlite3.Connection, key: tuple[int, bytes, int], owner: int, reserved: int | None) -> int | None:
    """The number of a new attempt at (question, hash, sample), or None: a unique index says that one is open."""
    opened = db.execute(queries.OPEN_ATTEMPT, (*key, owner, time.time(), reserved))
    return inserted(opened) if opened.rowcount else None


class _Funds:
    """What a budget leaves for a question, in billionths of a dollar, open attempts at their reserve.

    An attempt without a reserve counts at the largest cost so far.
    """

    def __init__(self, db: sqlite3.Connection, question: int, budget: int) -> None:
        self.spent, self.dearest, blind = db.execute(queries.FUNDS, (question,)).fetchone()
        self.left = budget - self.spent - blind * self.dearest

    def reserve(self, reserved: int | None) -> int | None:
        """What an attempt is opened with."""
        return self.dearest or None if reserved is None else reserved

    def allow(self, reserved: int | None) -> bool:
        """Whether an attempt may be opened. With a budget of nothing, what costs nothing may."""
        used_up = self.left <= 0 and (self.spent > 0 or reserved is None)
        return not used_up and (self.reserve(reserved) or 0) <= self.left

    def take(self, reserved: int | None) -> None:
        """An attempt was opened."""
        took = self.reserve(reserved) or 0
        self.left, self.spent = self.left - took, self.spent + took


def _complete(db: sqlite3.Connection, outcome: Outcome, budget: int | None, now: float) -> int | None:
    """Close one attempt; returns the number of the next one, where one was asked for and could be opened."""
    found = db.execute(queries.FIND_ATTEMPT, (outcome.attempt,)).fetchone()
    if found is None:
        raise StoreError(f"there is no attempt {outcome.attempt} in the store")
    key, owner = found[:3], found[3]
    version = None if outcome.model_version is None else pack(outcome.model_version)
    error = pack(redact(outcome.error)[:ERROR_CHARS])
    used = outcome.usage
    tokens = (used.input, used.cached_input, used.output, used.thinking)
    closing = (outcome.result, now, nano(outcome.cost_usd), *tokens, outcome.latency_s, version, error or None)
    db.execute(queries.CLOSE_ATTEMPT, (*closing, outcome.attempt))
    if outcome.label is not None:
        evidence = pack_json(dict(outcome.label.evidence)) if outcome.label.evidence else None
        # The first label stands: a labeller that stood still for longer than its lease may come with a second one.
        db.execute(queries.ADD_LABEL, (*key, owner, now, version, pack_scores(outcome.label.scores), evidence))
        db.execute(queries.DROP_FAILURE, key)
    elif outcome.final:
        db.execute(queries.ADD_FAILURE, (*key, owner, now, error))
    elif outcome.again:
        reserved = nano(outcome.reserved_usd)
        funds = None if budget is None else _Funds(db, key[0], budget)
        if funds is None or funds.allow(reserved):
            return _open_attempt(db, key, owner, funds.reserve(reserved) if funds else reserved)
    return None
