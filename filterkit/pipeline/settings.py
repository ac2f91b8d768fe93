"""How to label."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LabelSettings:
    """How to label.

    concurrency: requests in flight at most. requests_per_minute, tokens_per_minute: limits to keep to. max_attempts:
    requests per question before it counts as failed (answers of "too many requests" do not count). limit: only the
    first so many articles. max_cost_usd: what this question (rubric, oracle, model) may cost in all, earlier runs and
    other processes on the store included. retry_failed: ask again what failed in earlier runs. lease_s: seconds after
    which a labeller that stands still loses its questions. backoff_s: first pause before asking again, doubled each
    time up to a minute. patience_s: seconds of nothing but "too many requests", or nothing but errors of the
    provider, after which the run stops. settle_s: seconds until a batch job that the provider does not know is asked
    for once more, before it counts as never submitted.
    """

    concurrency: int = 64
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_attempts: int = 4
    limit: int | None = None
    max_cost_usd: float | None = None
    retry_failed: bool = False
    lease_s: float = 60.0
    backoff_s: float = 0.5
    patience_s: float = 600.0
    settle_s: float = 20.0
    sample: int = 0
