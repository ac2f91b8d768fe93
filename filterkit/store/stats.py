"""What the labels of each question were made with, and what they took."""

from __future__ import annotations

from dataclasses import dataclass

from filterkit.store import queries
from filterkit.store.rows import NANO, Question, unpack
from filterkit.store.store import Store


@dataclass(frozen=True)
class QuestionStats:
    """One question in numbers.

    replied: labels by the model that replied ("" where it is not known). failures: articles that failed finally.
    attempts: requests, whatever came of them; tokens: sums over those that said how many, cached ones part of input,
    thinking ones part of output. known_usd: what attempts cost; held_usd: what those of unknown cost are reserved
    with; unknown: attempts with neither. in_jobs: attempts that are out in batch jobs. latency_s: median of the
    attempts. first, last: Unix times of the oldest and the newest label, None without one.
    """

    question: Question
    replied: dict[str, int]
    labels: int
    failures: int
    attempts: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    thinking_tokens: int
    known_usd: float
    held_usd: float
    unknown: int
    in_jobs: int
    latency_s: float | None
    first: float | None
    last: float | None


def stats(store: Store) -> list[QuestionStats]:
    """Every question of the store in numbers, the one labelled last first."""
    found = []
    with store.reading() as db:
        for count in store.questions():
            number = store.find_question(db, count.question)
            first = db.execute("SELECT min(at) FROM labels WHERE question = ?", (number,)).fetchone()[0]
            replied = db.execute(queries.REPLIED, (number,)).fetchall()
            attempts, timed, sent, cached, output, thinking = db.execute(queries.SUMS, (number,)).fetchone()
            latency = db.execute(queries.LATENCY, (number, max(0, timed - 1) // 2)).fetchone()
            spent, held, unknown = db.execute(queries.SPENT, {"question": number}).fetchone()
            found.append(
                QuestionStats(
                    count.question,
                    {unpack(name): labels for name, labels in replied},
                    count.labels,
                    count.failures,
                    attempts,
                    input_tokens=sent,
                    cached_tokens=cached,
                    output_tokens=output,
                    thinking_tokens=thinking,
                    known_usd=(spent - held) / NANO,
                    held_usd=held / NANO,
                    unknown=unknown,
                    in_jobs=db.execute(queries.IN_JOBS, (number,)).fetchone()[0],
                    latency_s=latency[0] if latency else None,
                    first=first,
                    last=count.newest,
                )
            )
    return found
