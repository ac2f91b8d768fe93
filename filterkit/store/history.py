"""What became of some questions, one by one: their scores and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from filterkit.store import queries
from filterkit.store.base import StoreFile
from filterkit.store.rows import NANO, Key, Question, unpack_json


class Told(NamedTuple):
    """One question's scores (None: not labelled) and what all its attempts took together.

    cost_usd counts as the ledger does: what is not known at its reserve; None where there is neither, or no attempt.
    Tokens are None where no reply reported them. latency_s: seconds of its attempts.
    """

    scores: dict[str, float] | None
    attempts: int = 0
    cost_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_s: float = 0.0


def history(store: StoreFile, question: Question, keys: Sequence[Key]) -> list[Told]:
    """What became of each of `keys`, in order. Looks at all attempts of `question`: for a sample, not for millions."""
    wanted = {(bytes.fromhex(key.sent_hash), key.sample) for key in keys}
    attempts: dict[tuple[bytes, int], list[tuple[int | None, int | None, int | None, float | None]]] = {}
    told: list[Told] = []
    with store.reading() as db:
        number = store.find_question(db, question)
        if number is None:
            return [Told(None)] * len(keys)
        for sent_hash, sample, *took in db.execute(queries.ATTEMPTS, (number,)):
            if (sent_hash, sample) in wanted:
                attempts.setdefault((sent_hash, sample), []).append(tuple(took))
        for key in keys:
            name = (bytes.fromhex(key.sent_hash), key.sample)
            row = db.execute(queries.FIND_SCORES, (number, *name)).fetchone()
            told.append(_told(None if row is None else unpack_json(row[0]), attempts.get(name, [])))
    return told


def _told(
    scores: dict[str, float] | None, attempts: list[tuple[int | None, int | None, int | None, float | None]]
) -> Told:
    if not attempts:
        return Told(scores)
    costs = [cost for cost, *_ in attempts]
    known = [cost for cost in costs if cost is not None]
    inputs = [tokens for _, tokens, _, _ in attempts if tokens is not None]
    outputs = [tokens for _, _, tokens, _ in attempts if tokens is not None]
    return Told(
        scores,
        len(attempts),
        sum(known) / NANO if len(known) == len(costs) else None,
        sum(inputs) if inputs else None,
        sum(outputs) if outputs else None,
        sum(latency or 0.0 for *_, latency in attempts),
    )
