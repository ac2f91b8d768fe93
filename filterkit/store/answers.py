"""All answers that a question got about some texts, found by the texts."""

from __future__ import annotations

from collections.abc import Sequence

from filterkit.store import queries
from filterkit.store.base import StoreFile
from filterkit.store.rows import Question, unpack_json


def answers(store: StoreFile, question: Question, sent_hashes: Sequence[str]) -> list[list[dict[str, float]]]:
    """The scores of every sample about each text (hex SHA-256 of what is sent), the first sample first."""
    with store.reading() as db:
        number = store.find_question(db, question)
        if number is None:
            return [[] for _ in sent_hashes]
        found = (db.execute(queries.FIND_ANSWERS, (number, bytes.fromhex(one))).fetchall() for one in sent_hashes)
        return [[unpack_json(scores) for (scores,) in rows] for rows in found]
