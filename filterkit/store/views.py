"""What is in the store: labels, failures, questions, money."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from filterkit.store import queries
from filterkit.store.base import StoreFile
from filterkit.store.database import translated
from filterkit.store.funds import day_of
from filterkit.store.rows import (
    NANO,
    Failure,
    Key,
    LabelRow,
    Question,
    QuestionCount,
    Spent,
    Used,
    pack,
    unpack,
    unpack_article,
    unpack_json,
)

PAGE = 500
"""Articles looked at per query while iterating, so that memory and read transactions stay small."""


USAGE_OF = 5_000
"""Attempts that a mean of usage is made of."""


class Views(StoreFile):
    """The questions that change nothing."""

    def labelled(self, request_hash: str, *, oracle: str | None = None, model: str | None = None) -> Iterator[LabelRow]:
        """Every label of a request with its article, in the order the articles came in; streamed.

        Of an edited article only labels of its newest version count. Several oracles, models or samples give several
        rows for one article, unless `oracle` and `model` narrow them down.
        """
        query = queries.LABELLED.format(which=queries.NARROWED)
        return self._label_rows(query, request_hash, oracle, model)

    def labels_of(self, questions: Sequence[Question]) -> Iterator[LabelRow]:
        """Every label of these questions with its article, as `labelled` gives them; streamed."""
        with self.reading() as db:
            numbers = [self.find_question(db, question) for question in questions]
        which = f"q.id IN ({', '.join(str(number) for number in numbers if number is not None)})"
        return self._label_rows(queries.LABELLED.format(which=which))

    def failures(self, request_hash: str, *, oracle: str | None = None, model: str | None = None) -> Iterator[Failure]:
        """The articles whose question failed finally, and why; streamed."""
        for row in self._pages(queries.FAILED.format(which=queries.NARROWED), request_hash, oracle, model):
            yield Failure(*(unpack(value) for value in row))

    def questions(self) -> list[QuestionCount]:
        """Every question with its counts, the one labelled last first."""
        with self.reading() as db:
            rows = db.execute(queries.COUNTS).fetchall()
        counts = [
            QuestionCount(Question(digest, unpack(oracle), unpack(model), unpack(name)), labels, failures, newest)
            for digest, oracle, model, name, labels, failures, newest in rows
        ]
        return sorted(counts, key=lambda c: (-(c.newest or 0.0), c.question.oracle, c.question.model))

    def of_filter(self, name: str) -> list[QuestionCount]:
        """Every question with labels that the filter `name` has asked, whatever its version or rubric then."""
        return [c for c in self.questions() if c.labels and c.question.filter_name.split(" ")[0] == name]

    def usage(self, question: Question) -> Used | None:
        """What an answer took on average, over the newest thousands of them; None when nothing is known."""
        with self.reading() as db:
            number = self.find_question(db, question)
            count, sent, cached, output, cost = db.execute(queries.USED, (number, USAGE_OF)).fetchone()
        return Used(count, sent, cached, output, None if cost is None else cost / NANO) if count else None

    def spent(self, question: Question | None = None) -> Spent:
        """Money spent on one question, or on all: see `Spent`. Holds across crashes and processes."""
        with self.reading() as db:
            number = None if question is None else self.find_question(db, question) or -1
            spent, held, unknown = db.execute(queries.SPENT, {"question": number}).fetchone()
        return Spent(spent / NANO, held / NANO, unknown)

    def scores(self, question: Question, keys: Sequence[Key]) -> list[dict[str, float] | None]:
        """The scores of each key's label, in order; None where it has none."""
        with self.reading() as db:
            number = self.find_question(db, question)
            names = [(number, bytes.fromhex(key.sent_hash), key.sample) for key in keys]
            rows = [db.execute(queries.FIND_SCORES, name).fetchone() for name in names]
        return [None if row is None else unpack_json(row[0]) for row in rows]

    def spent_on(self, now: float) -> float:
        """Dollars of all attempts that were opened on the calendar day, UTC, of a Unix time; counted as in `spent`."""
        with self.reading() as db:
            spent: int = db.execute(queries.SPENT_ON, (day_of(now),)).fetchone()[0]
        return spent / NANO

    def _label_rows(self, query: str, *narrowed: str | None) -> Iterator[LabelRow]:
        for body, scores, evidence, by, asked, version, sample, sent_hash in self._pages(query, *narrowed):
            with translated(self.path):
                row = LabelRow(
                    unpack_article(body),
                    unpack_json(scores),
                    unpack_json(evidence) if evidence else {},
                    unpack(by),
                    unpack(asked),
                    unpack(version) if version is not None else None,
                    sample,
                    sent_hash.hex(),
                )
            yield row

    def _pages(
        self, query: str, request_hash: str | None = None, oracle: str | None = None, model: str | None = None
    ) -> Iterator[tuple[Any, ...]]:
        values = {
            "request": request_hash,
            "oracle": None if oracle is None else pack(oracle),
            "model": None if model is None else pack(model),
        }
        with self.reading() as db:
            last = db.execute("SELECT COALESCE(max(seq), 0) FROM articles").fetchone()[0]
        for start in range(0, last, PAGE):
            with self.reading() as db:
                rows = db.execute(query, {**values, "after": start, "upto": start + PAGE}).fetchall()
            yield from rows
