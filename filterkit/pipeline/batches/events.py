"""What a run of batch jobs tells while it works, and at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from filterkit.contracts import JobState
from filterkit.pipeline.tally import LabelReport
from filterkit.store.jobs import JobRow


@dataclass(frozen=True)
class Event:
    """Something that happened to a job.

    submitted: accepted; found: was accepted though its submitter did not live to hear it; unsent: never arrived, so
    that its questions are free; stands: `state` is how it stands; collected: over, with the counts of `job`; lost: its
    provider does not know it any more. waiting: nothing happens for a while, for the reason `why`.
    """

    kind: Literal["submitted", "found", "unsent", "stands", "collected", "lost", "waiting"]
    job: JobRow | None = None
    state: JobState | None = None
    why: str = ""


@dataclass(frozen=True)
class Out:
    """A job that is out, and how it stood when its provider was last asked; None where it was not asked."""

    job: JobRow
    state: JobState | None = None


@dataclass
class BatchReport:
    """What became of the articles, and of the jobs.

    label: as of the live labeller; `new` are labels that this run collected, `attempts` the answers it collected. out:
    jobs that go on without us. collected, submitted: how many this run did. left: articles that are neither settled
    nor in a job, because a budget or the provider's limit holds them back, or a live labeller has them.
    """

    label: LabelReport = field(default_factory=LabelReport)
    out: list[Out] = field(default_factory=list)
    collected: int = 0
    submitted: int = 0
    left: int = 0
