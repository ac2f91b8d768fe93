"""Work that a provider does without us: submitted, left alone, looked at again, collected."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

from filterkit.errors import BackendError
from filterkit.records import OracleRequest, Record, Reply

J = TypeVar("J")


class JobState(Record):
    """Where a job stands, as its provider says.

    state: "ended" when nothing will change any more and what there is can be collected, however it ended. done, total:
    requests, None when not said. message: in the provider's words, how it stands or why it ended. poll_after_s: seconds
    until asking again makes sense.
    """

    state: Literal["waiting", "running", "ended"]
    done: int | None = None
    total: int | None = None
    message: str = ""
    poll_after_s: float = 30.0


class RemoteJobs(ABC, Generic[J]):
    """Jobs elsewhere that outlive our process.

    The core commits a token before `submit` and the handle after it. After a kill between the two it asks `find`.
    All methods raise Transient, RateLimited or Fatal where the provider cannot be asked now.
    """

    @abstractmethod
    async def submit(self, job: J, token: str) -> str:
        """Hand the job over once, under `token` (unique, [a-z0-9-], up to 40 characters); the provider's handle."""

    @abstractmethod
    async def find(self, token: str, since: float) -> str | None:
        """The handle of the job that was submitted under `token`, None when the provider has no such job.

        `since`: Unix time before which `submit` was not called. Raises CannotTell when the provider cannot say.
        """

    @abstractmethod
    async def poll(self, handle: str) -> JobState:
        """Where the job stands. Fatal when the provider does not know it (any more)."""

    @abstractmethod
    async def cancel(self, handle: str) -> None:
        """Ask the provider to stop. What is done already can still be collected once the state is "ended"."""


@dataclass(frozen=True)
class BatchItem:
    """What became of one request of a batch: a reply or an error, never both.

    error: Refused for this article's own fault; Transient(unbilled=True) for one that was never run (expired,
    cancelled); other Transient for one that failed at the provider's; Fatal where none of its kind can succeed (no
    balance, an unknown model).
    """

    key: str
    reply: Reply | None = None
    error: BackendError | None = None


class Batch(RemoteJobs[Sequence[OracleRequest]]):
    """Mix-in of an oracle whose provider answers many requests within a day, for less.

    `class GeminiOracle(Batch, Oracle[GeminiOptions])`. Replies are as those of `complete`. The core splits what is
    asked by `most_requests` and `most_bytes`, keeps the tokens, judges and stores replies, pays once.
    """

    batch_price_share: ClassVar[float] = 0.5
    """What is charged, as a share of what `complete` would cost."""
    most_requests: ClassVar[int] = 50_000
    most_bytes: ClassVar[int] = 100_000_000
    """Of all requests of one job, as `request_bytes` counts them."""

    @abstractmethod
    def request_bytes(self, request: OracleRequest) -> int:
        """Bytes that the request takes in a job."""

    @abstractmethod
    def collect(self, handle: str) -> AsyncIterator[BatchItem]:
        """What the ended job brought, streamed. May be called again. Keys may be missing, and repeat."""
