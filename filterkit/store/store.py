"""The store's door. Every call is one transaction on a batch: group what can be grouped."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence

from filterkit.records import Article
from filterkit.store import queries
from filterkit.store.attempts import any_job_out, close_attempt, open_attempts, settled
from filterkit.store.base import inserted
from filterkit.store.funds import Funds
from filterkit.store.owners import Owner
from filterkit.store.rows import Key, Outcome, Question, State, nano, pack, pack_article, text_hash
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
        """Where each question stands, in order: free, labelled, out in a job, or failed. Writes nothing."""
        with self.reading() as db:
            number = self.find_question(db, question)
            if number is None:
                return [State("free")] * len(keys)
            jobs = any_job_out(db, number)
            return [settled(db, number, key, jobs) or State("free") for key in keys]

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
        none is known. The store's own `limits` bind all questions together; the reason of a state "unaffordable" is
        whose budget it was (funds.Scope). Questions that failed before the Unix time `retry_failed_before` may be asked
        again.
        """
        reserves = [nano(usd) for usd in reserved_usd or [None] * len(keys)]
        with self.writing() as db:
            now = time.time()
            number = self.question_id(db, question)
            dead = self.owners.bury_dead(db, owner.id)
            funds = Funds(db, number, max_usd, self.limits, now=now)
            states = open_attempts(db, number, keys, owner.id, funds, reserves, retry_failed_before, now)
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
        reserve would break the budget `max_usd` or the store's, as in `claim`, or where another labeller took the
        question over while this one stood still.)
        """
        by = None if owner is None else owner.id
        with self.writing() as db:
            now = time.time()
            for attempt in unsent:
                db.execute(queries.RELEASE_ATTEMPT, {"now": now, "attempt": attempt, "owner": by})
            return [close_attempt(db, outcome, max_usd, self.limits, now) for outcome in outcomes]

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
