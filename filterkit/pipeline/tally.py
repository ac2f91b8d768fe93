"""What a labelling run still waits for, and what became of the rest. Only what is committed is counted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from filterkit.contracts import redact
from filterkit.store import Key, Outcome, Result, State

SHOWN_FAILURES = 1_000


@dataclass
class LabelReport:
    """What became of the articles.

    read = already + new + failed + duplicates + in_jobs, and what a stopped run left open.

    already: were labelled before, or by another labeller meanwhile; new: questions labelled by this run; duplicates:
    articles with the text of another one of this run, so labelled without asking; failed: articles whose question
    failed finally, in this run or (failed_before) an earlier one, the first of them with reasons in `failures`;
    in_jobs: articles whose question is out in a batch job, for which nobody waits.
    attempts: requests sent. cost_usd: of this run's replies, None when one of them has no known price; input_tokens,
    cached_tokens (part of input) and output_tokens: as reported. in_flight: requests out now, of at most `window`.
    errors: how often each kind of answer that was no label came, last_error: the newest one's words. versions: labels
    by the model that replied. stopped: "interrupted", or None when the run came to its end.
    """

    read: int = 0
    already: int = 0
    new: int = 0
    duplicates: int = 0
    failed: int = 0
    failed_before: int = 0
    in_jobs: int = 0
    attempts: int = 0
    cost_usd: float | None = 0.0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    in_flight: int = 0
    window: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    last_error: str = ""
    versions: dict[str, int] = field(default_factory=dict)
    stopped: Literal["interrupted"] | None = None
    failures: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Asked:
    """One question of this run that is not settled yet, and the articles that wait for it.

    tokens: of its request, about; attempt: the open one's number; tries: requests that count as attempts; troubles:
    errors that may pass, so far; correction: what the next request says about the answer before.
    """

    key: Key
    text: str
    article_ids: list[str]
    tokens: int = 0
    attempt: int = 0
    tries: int = 0
    troubles: int = 0
    correction: str = ""


class Tally:
    """The questions that are not settled yet, and the report. `changed` is set whenever one is settled."""

    def __init__(self) -> None:
        self.report = LabelReport()
        self.pending: dict[Key, Asked] = {}
        self.changed = asyncio.Event()

    def committed(self, asked: Asked, outcome: Outcome) -> None:
        """One attempt of this run is in the store."""
        report = self.report
        if outcome.model_version is not None:  # there was a reply
            self.paid(outcome)
        if outcome.label is not None:
            report.new += 1
            version = outcome.model_version or ""
            report.versions[version] = report.versions.get(version, 0) + 1
            self._settled(asked)
        elif outcome.final:
            tries = f" (after {asked.tries} attempts)" if asked.tries > 1 else ""
            self._failed(asked, redact(outcome.error) + tries)

    def paid(self, outcome: Outcome) -> None:
        """Count what a reply took."""
        report, usage = self.report, outcome.usage
        known = report.cost_usd is not None and outcome.cost_usd is not None
        report.cost_usd = (report.cost_usd or 0.0) + (outcome.cost_usd or 0.0) if known else None
        report.input_tokens += usage.input or 0
        report.cached_tokens += usage.cached_input or 0
        report.output_tokens += usage.output or 0

    def answered(self, result: Result, error: str) -> None:
        """A request came back, or did not."""
        self.report.attempts += 1
        if result != "labelled":
            self.report.errors[result] = self.report.errors.get(result, 0) + 1
            self.report.last_error = redact(error)

    def found(self, asked: Asked, state: State, me: int) -> None:
        """The store had the question settled: by others, or by owner `me` earlier in this run."""
        ours = state.owner == me
        if state.kind == "failed":
            self.report.failed_before += 0 if ours else len(asked.article_ids)
            self._failed(asked, state.reason)
        elif state.kind == "in_job":
            self._left_to_a_job(asked)
        elif ours:
            self.report.duplicates += 1
            self._settled(asked)
        else:
            self.report.already += 1
            self._settled(asked)

    def _failed(self, asked: Asked, reason: str) -> None:
        del self.pending[asked.key]
        self.changed.set()
        self.report.failed += len(asked.article_ids)
        room = SHOWN_FAILURES - len(self.report.failures)
        self.report.failures += [(article_id, reason) for article_id in asked.article_ids[: max(0, room)]]

    def _left_to_a_job(self, asked: Asked) -> None:
        del self.pending[asked.key]
        self.changed.set()
        self.report.in_jobs += len(asked.article_ids)

    def _settled(self, asked: Asked) -> None:
        del self.pending[asked.key]
        self.changed.set()
        self.report.duplicates += len(asked.article_ids) - 1
